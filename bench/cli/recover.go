package cli

import (
	"context"

	"hangbench/bench/dom0cmd"
)

func recoverCommand(_ context.Context, env *Env, args []string) error {
	f := flags(env, "recover", "DOMAIN", dom0cmd.RecoverHelp)
	var r dom0cmd.Recover
	r.AddFlags(f)
	if err := parse(f, args, 0, 1); err != nil {
		return err
	}
	return r.Run(f.Args(), env.Stdout)
}
