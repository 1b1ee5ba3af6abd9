package cli

import (
	"github.com/spf13/cobra"

	"hangbench/bench/dom0"
	"hangbench/bench/dom0cmd"
)

func (a *app) watchCommand() *cobra.Command {
	c := a.command("watch DOMAIN", "monitor a guest that runs on this Xen host", dom0cmd.WatchHelp, 1, 1)
	var w dom0cmd.Watch
	w.AddFlags(c.Flags())
	completeFlag(c, "mechanism", choices(mechanisms()...))
	completeFlag(c, "driver", choices(dom0.Drivers()...))
	completeFlag(c, "guests", folders)
	c.RunE = func(c *cobra.Command, args []string) error { return w.Run(c.Context(), args[0], a.out, a.Stderr) }
	return c
}

func (a *app) recoverCommand() *cobra.Command {
	c := a.command("recover [DOMAIN]", "recover a guest whose monitor was killed", dom0cmd.RecoverHelp, 0, 1)
	var r dom0cmd.Recover
	r.AddFlags(c.Flags())
	c.RunE = func(_ *cobra.Command, args []string) error { return r.Run(args, a.out) }
	return c
}
