package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"hangbench/bench/dom0cmd"
	"hangbench/bench/exit"
	"hangbench/guests/lab"
)

func (a *app) labCheck() *cobra.Command {
	c := a.command("check", "say what in the cache is damaged",
		"Read all packages, programs, discs and snapshots in the cache and say which of them are damaged, or were left by "+
			"a process that was killed. Nothing is built or removed. Exit status 1 if there are any; "+
			`"hangbench lab build" removes them.`, 0, 0)
	var lf labFlags
	lf.add(c)
	c.RunE = func(c *cobra.Command, _ []string) error { return lf.check(c.Context(), a) }
	return c
}

func (l *labFlags) check(ctx context.Context, a *app) error {
	c, err := l.open(a.Env)
	if err != nil {
		return err
	}
	found, n, err := c.Check(ctx)
	if err != nil {
		return err
	}
	for _, d := range found {
		fmt.Fprintf(a.out, "%s: %v\n", d.Path, d.Why)
	}
	if len(found) > 0 {
		fmt.Fprintf(a.out, "cache %s: %d damaged; hangbench lab build removes what is, and makes it anew when it is needed\n",
			c, len(found))
		return exit.ErrFailed
	}
	fmt.Fprintf(a.out, "cache %s is whole: %s\n", c, countText(n))
	return nil
}

// countText says what a cache has.
func countText(n lab.Counts) string {
	return fmt.Sprintf("sets of packages %d, unpacked %d, labs %d, snapshots %d",
		n.PackageSets, n.Prefixes, n.Labs, n.Snapshots)
}

// mend removes what is damaged in a cache, after a build has made anew what it needs.
func mend(ctx context.Context, a *app, c lab.Cache) error {
	a.step("check the cache")
	found, _, err := c.Check(ctx)
	if err != nil {
		return err
	}
	for _, d := range found {
		a.warn("removing %s, which is made anew when it is needed: %v", d.Path, d.Why)
	}
	return c.Mend(found)
}

// examineContents is the finding for what is in the cache.
func examineContents(ctx context.Context, c lab.Cache) dom0cmd.Finding {
	x := dom0cmd.Finding{What: "contents", Remedy: "hangbench lab build makes them anew; hangbench lab check names all"}
	switch found, n, err := c.Check(ctx); {
	case err != nil:
		x.Detail = err.Error()
	case len(found) > 0:
		x.Detail = fmt.Sprintf("%d damaged, such as %s: %v", len(found), found[0].Path, found[0].Why)
	default:
		x.OK, x.Detail = true, "whole: "+countText(n)
	}
	return x
}
