// Command hangbench provisions Xen guests, hangs them on purpose, watches them
// from outside, and measures how fast, how surely and at what price the hang is
// seen. In the lab's dom0 it is the agent, as the first process.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"hangbench/bench/agent"
	"hangbench/bench/cli"
	"hangbench/bench/dom0"
	"hangbench/bench/exit"
	"hangbench/bench/observe"
)

func main() {
	if observe.IsGuard() {
		observe.Guard()
	}
	if agent.IsInit() {
		agent.Main()
	}
	if agent.IsBlockScript() {
		if err := dom0.ConnectDisk(os.Args[len(os.Args)-1], os.Getenv("XENBUS_PATH")); err != nil {
			fmt.Fprintln(os.Stderr, "hangbench:", err)
			os.Exit(1)
		}
		return
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
