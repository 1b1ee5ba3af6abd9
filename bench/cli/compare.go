package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hangbench/analysis/compare"
	"hangbench/analysis/export"
	"hangbench/analysis/table"
	"hangbench/bench/exit"
	"hangbench/results"
)

// compareFlags say how "compare" compares.
type compareFlags struct {
	failOn, tolerance, format string
	mix                       []string
	all, allowMissing         bool
	seed                      uint64
}

// mixable are the properties in which compared runs may differ.
var mixable = []string{"hosts", "kernels", "suites"}

func (a *app) compareCommand() *cobra.Command {
	c := a.command("compare OLD NEW", "compare two runs: what got better, what worse, how sure it is",
		"Compare two runs metric by metric. OLD and NEW are folders of runs; several boots of one experiment are separated "+
			"by commas. Exit status: 0 no regression beyond the tolerance, 1 there is one, or trials, cells or "+
			"metrics are missing on one side, 2 the runs cannot be compared.", 2, 2)
	var o compareFlags
	f := c.Flags()
	f.StringVar(&o.failOn, "fail-on", "any", "`LIST` of the metrics whose regression is a failure: any, none, or names "+
		"with tolerances of their own, as in detect_ms:5%,false_alarm")
	f.StringVar(&o.tolerance, "tolerance", "3%", "`PERCENT` that a metric may get worse by")
	f.StringSliceVar(&o.mix, "mix", nil, "`LIST` of what may differ between the runs: "+strings.Join(mixable, ", "))
	f.BoolVar(&o.allowMissing, "allow-missing", false,
		"do not fail because trials, cells or metrics are missing on one side")
	f.BoolVar(&o.all, "all", false, "print all metrics, not only those that changed")
	f.StringVar(&o.format, "format", "text", "`FORMAT` of the table: text, md, csv (of all metrics) or latex")
	f.Uint64Var(&o.seed, "seed", 1, "`NUMBER` that seeds the bootstrap")
	c.ValidArgsFunction = completeRuns
	completeFlag(c, "mix", lists(mixable...))
	completeFlag(c, "format", choices(formats...))
	c.RunE = func(c *cobra.Command, args []string) error { return o.run(c.Context(), a, args[0], args[1]) }
	return c
}

func (f *compareFlags) run(ctx context.Context, a *app, before, after string) error {
	tf, err := table.ParseFormat(f.format)
	if err != nil {
		return exit.UsageError{Err: err}
	}
	o := compare.Options{Seed: f.seed, AllowMissing: f.allowMissing}
	if o.Gate, err = compare.ParseGate(f.failOn, f.tolerance); err != nil {
		return exit.UsageError{Err: fmt.Errorf("compare: %w", err)}
	}
	for _, what := range f.mix {
		if !slices.Contains(mixable, what) {
			return exit.Usagef("compare: --mix %s: what may differ is %s", what, strings.Join(mixable, ", "))
		}
	}
	may := func(what string) bool { return slices.Contains(f.mix, what) }
	o.MixHosts, o.MixKernels, o.MixSuites = may("hosts"), may("kernels"), may("suites")
	old, err := readRuns(ctx, a, before)
	if err != nil {
		return err
	}
	next, err := readRuns(ctx, a, after)
	if err != nil {
		return err
	}
	r, err := compare.Runs(old, next, o)
	if err != nil {
		return exit.UsageError{Err: fmt.Errorf("compare: %w", err)}
	}
	for _, w := range r.Warnings {
		a.warn("%s", w)
	}
	if err := showComparison(a, r, tf, f.all); err != nil {
		return err
	}
	if r.Failed() {
		return exit.ErrFailed
	}
	return nil
}

func showComparison(a *app, r *compare.Report, f table.Format, all bool) error {
	t := r.Table(all || f == table.CSV)
	if f == table.CSV {
		for _, missing := range r.Missing {
			a.warn("missing: %s", missing)
		}
		return t.Write(a.out, f)
	}
	if len(t.Rows) > 0 {
		if err := table.WriteAll(a.out, r.Caption, []*table.Table{t}, f); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintln(a.out, r.Caption); err != nil {
		return err
	}
	comment, end := "", ""
	switch f {
	case table.LaTeX:
		comment = "% "
	case table.Markdown:
		end = "  " // a line break
	}
	text := "\n"
	for _, missing := range r.Missing {
		text += fmt.Sprintf("%sMissing: %s.%s\n", comment, missing, end)
	}
	_, err := fmt.Fprintf(a.out, "%s%s%s.\n", text, comment, r.Answer())
	return err
}

// readRuns reads runs whose folders are separated by commas.
func readRuns(ctx context.Context, a *app, list string) ([]*results.Run, error) {
	if _, err := os.Stat(filepath.Join(list, results.ManifestFile)); err == nil {
		r, err := readRun(ctx, a, list) // one folder, with commas in its name or without
		if err != nil {
			return nil, err
		}
		return []*results.Run{r}, nil
	}
	var runs []*results.Run
	for dir := range strings.SplitSeq(list, ",") {
		r, err := readRun(ctx, a, dir)
		if err != nil {
			return nil, err
		}
		runs = append(runs, r)
	}
	return runs, nil
}

// badShown is the number of damaged records that are named one by one.
const badShown = 20

// readRun reads a run. It warns of each record that it leaves out because it is
// damaged. It returns a usage error if there is no run in dir, or no trial in the run.
func readRun(ctx context.Context, a *app, dir string) (*results.Run, error) {
	r, err := readInput(ctx, func() (*results.Run, error) { return results.ReadRun(dir, planner()) })
	if err != nil {
		return nil, err
	}
	for i, bad := range r.Bad {
		if i == badShown {
			a.warn("%d more records left out", len(r.Bad)-i)
			break
		}
		a.warn("%v; left out", bad)
	}
	if len(r.Bad) > 1 {
		a.warn("%d records of %s are damaged and left out", len(r.Bad), dir)
	}
	for _, note := range r.Notes {
		a.warn("%s: %v", dir, note)
	}
	if len(r.Trials) == 0 {
		return nil, exit.UsageError{Err: noTrials(r)}
	}
	return r, nil
}

// noTrials is the error for a run of which no record can be shown.
func noTrials(r *results.Run) error {
	if len(r.Bad) == 0 {
		return errors.New(r.Dir + " has no trials yet")
	}
	foreign := 0
	for _, bad := range r.Bad {
		if errors.Is(bad, results.ErrSchema) {
			foreign++
		}
	}
	if foreign == len(r.Bad) {
		return fmt.Errorf("%s: all %d records are of another version of hangbench: %w", r.Dir, foreign, r.Bad[0])
	}
	return fmt.Errorf("%s: none of its %d records can be used: resume the run, or restore it from a copy", r.Dir,
		len(r.Bad))
}

func (a *app) exportCommand() *cobra.Command {
	c := a.command("export RUN", "print a run in the Go benchmark format, for benchstat",
		"Print a run in the Go benchmark format, one line for each valid trial, for benchstat and other programs. "+
			"RUN is its folder.", 1, 1)
	c.ValidArgsFunction = once(completeRuns)
	c.RunE = func(c *cobra.Command, args []string) error {
		r, err := readRun(c.Context(), a, args[0])
		if err != nil {
			return err
		}
		return export.Write(a.out, r)
	}
	return c
}
