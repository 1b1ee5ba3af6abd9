// Command hangbench provisions Xen guests, hangs them on purpose, watches them
// from outside, and measures how fast, how surely and at what price the hang is
// seen. The lab's dom0 has a program of its own, hangbench-dom0.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"hangbench/bench/cli"
	"hangbench/bench/exit"
	"hangbench/bench/observe"
)

func main() {
	if observe.IsGuard() {
		observe.Guard()
	}
	env := &cli.Env{Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Now: time.Now,
		Terminal: term.IsTerminal(int(os.Stderr.Fd()))}
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	go func() {
		<-signals
		fmt.Fprintln(os.Stderr, "\nhangbench: interrupted, cleaning up; once more to stop at once")
		cancel()
		<-signals
		// Emulators end with this process, by the kernel's hand.
		os.Exit(exit.Interrupted)
	}()
	os.Exit(cli.Main(ctx, env, os.Args[1:]))
}
