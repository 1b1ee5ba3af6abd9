package cli

import (
	"context"

	"hangbench/bench/dom0cmd"
)

func watchCommand(ctx context.Context, env *Env, args []string) error {
	f := flags(env, "watch", "DOMAIN", dom0cmd.WatchHelp)
	var w dom0cmd.Watch
	w.AddFlags(f)
	if err := parse(f, args, 1, 1); err != nil {
		return err
	}
	return w.Run(ctx, f.Arg(0), env.Stdout, env.Stderr)
}
