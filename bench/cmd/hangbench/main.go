// Command hangbench provisions Xen guests, hangs them on purpose, watches them
// from outside, and measures how fast, how surely and at what price the hang is
// seen. The lab's dom0 has a program of its own, hangbench-dom0.
package main

import (
	"context"
	"os"

	"hangbench/bench/cli"
	"hangbench/bench/observe"
)

func main() {
	if observe.IsGuard() {
		observe.Guard()
	}
	os.Exit(cli.Main(cli.WithSignals(context.Background(), os.Stderr), cli.ProcessEnv(), os.Args[1:]))
}
