// Command hangbench provisions Xen guests, hangs them on purpose, watches them
// from outside, and measures how fast, how surely and at what price the hang is
// seen. The lab's dom0 has a program of its own, hangbench-dom0.
package main

import (
	"context"
	"os"
	"time"

	"golang.org/x/term"

	"hangbench/bench/cli"
	"hangbench/bench/observe"
)

func main() {
	if observe.IsGuard() {
		observe.Guard()
	}
	env := &cli.Env{Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Now: time.Now,
		Terminal: term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("TERM") != "dumb", Width: width}
	os.Exit(cli.Main(cli.WithSignals(context.Background(), os.Stderr), env, os.Args[1:]))
}

// width returns the number of columns of the terminal, and 0 without one.
func width() int {
	columns, _, err := term.GetSize(int(os.Stderr.Fd()))
	if err != nil {
		return 0
	}
	return columns
}
