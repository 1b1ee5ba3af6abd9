// Command hangbench-dom0 is the program of the lab's dom0. It is the first process
// there (bench/agent) and the script that connects guests' disks. Started otherwise,
// it has the commands that work in a dom0:
//
//	/init watch DOMAIN      monitor a guest
//	/init recover DOMAIN    bring a guest back whose monitor was killed
//	/init run SUITE         run a suite on this host
//	/init doctor            report what this host has and lacks
//
// It is small on purpose. The lab is named by a hash of this program among others: a
// change in code that is not linked here leaves the lab, its snapshots and every
// record as they are.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"hangbench/bench/agent"
	"hangbench/bench/dom0"
	"hangbench/bench/dom0cmd"
	"hangbench/bench/exit"
	"hangbench/bench/observe"
)

func main() {
	switch {
	case observe.IsGuard():
		observe.Guard()
	case agent.IsInit():
		agent.Main()
	case agent.IsBlockScript():
		if err := dom0.ConnectDisk(os.Args[len(os.Args)-1], os.Getenv("XENBUS_PATH")); err != nil {
			fmt.Fprintln(os.Stderr, "hangbench:", err)
			os.Exit(exit.Failed)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), exit.Signals()...)
	defer stop()
	os.Exit(dom0cmd.Main(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
