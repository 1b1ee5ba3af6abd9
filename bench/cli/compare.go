package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"hangbench/analysis/compare"
	"hangbench/analysis/export"
	"hangbench/analysis/table"
	"hangbench/bench/exit"
	"hangbench/results"
)

func compareCommand(ctx context.Context, env *Env, args []string) error {
	f := flags(env, "compare", "OLD NEW", "Compare two runs metric by metric. OLD and NEW are folders of runs; several boots of one experiment are separated by commas. Exit status: 0 no regression beyond the tolerance, 1 there is one, 2 the runs cannot be compared.")
	failOn := f.String("fail-on", "any", "`LIST` of the metrics whose regression is a failure: any, none, or names with tolerances of their own, as in detect_ms:5%,false_alarm")
	tolerance := f.String("tolerance", "3%", "`PERCENT` that a metric may get worse by")
	mix := f.StringSlice("mix", nil, "`LIST` of what may differ between the runs: hosts, kernels, suites")
	all := f.Bool("all", false, "print all metrics, not only those that changed")
	format := f.String("format", "text", "`FORMAT` of the table: text, md, csv (of all metrics) or latex")
	seed := f.Uint64("seed", 1, "`NUMBER` that seeds the bootstrap")
	if err := parse(f, args, 2, 2); err != nil {
		return err
	}
	tf, err := table.ParseFormat(*format)
	if err != nil {
		return exit.UsageError{Err: err}
	}
	o := compare.Options{Seed: *seed}
	if o.Gate, err = compare.ParseGate(*failOn, *tolerance); err != nil {
		return exit.UsageError{Err: fmt.Errorf("compare: %w", err)}
	}
	for _, what := range *mix {
		if !slices.Contains([]string{"hosts", "kernels", "suites"}, what) {
			return exit.Usagef("compare: --mix %s: what may differ is hosts, kernels, suites", what)
		}
	}
	o.MixHosts, o.MixKernels, o.MixSuites = slices.Contains(*mix, "hosts"), slices.Contains(*mix, "kernels"), slices.Contains(*mix, "suites")
	old, err := readRuns(env, f.Arg(0))
	if err != nil {
		return err
	}
	next, err := readRuns(env, f.Arg(1))
	if err != nil {
		return err
	}
	r, err := compare.Runs(old, next, o)
	if err != nil {
		return exit.UsageError{Err: fmt.Errorf("compare: %w", err)}
	}
	for _, w := range r.Warnings {
		env.warn("%s", w)
	}
	if err := showComparison(env, r, tf, *all); err != nil {
		return err
	}
	if r.Failed() {
		return exit.ErrFailed
	}
	return nil
}

func showComparison(env *Env, r *compare.Report, f table.Format, all bool) error {
	t := r.Table(all || f == table.CSV)
	if f == table.CSV {
		return t.Write(env.Stdout, f)
	}
	if len(t.Rows) > 0 {
		if err := table.WriteAll(env.Stdout, r.Caption, []*table.Table{t}, f); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintln(env.Stdout, r.Caption); err != nil {
		return err
	}
	comment := ""
	if f == table.LaTeX {
		comment = "% "
	}
	_, err := fmt.Fprintf(env.Stdout, "\n%s%s.\n", comment, r.Answer())
	return err
}

// readRuns reads runs whose folders are separated by commas.
func readRuns(env *Env, list string) ([]*results.Run, error) {
	var runs []*results.Run
	for dir := range strings.SplitSeq(list, ",") {
		r, err := readRun(env, dir)
		if err != nil {
			return nil, err
		}
		runs = append(runs, r)
	}
	return runs, nil
}

// badShown is how many damaged records are named one by one.
const badShown = 20

// readRun reads a run and says on standard error what had to be left out. Not
// to find one, or a trial in it, is the caller's mistake.
func readRun(env *Env, dir string) (*results.Run, error) {
	r, err := results.ReadRun(dir)
	if err != nil {
		return nil, exit.UsageError{Err: err}
	}
	for i, bad := range r.Bad {
		if i == badShown {
			env.warn("%d more records left out", len(r.Bad)-i)
			break
		}
		env.warn("%v; left out", bad)
	}
	if len(r.Bad) > 1 {
		env.warn("%d records of %s cannot be believed and are left out", len(r.Bad), dir)
	}
	if len(r.Trials) == 0 {
		return nil, exit.UsageError{Err: errors.New(dir + " has no trials yet")}
	}
	return r, nil
}

func exportCommand(ctx context.Context, env *Env, args []string) error {
	f := flags(env, "export", "RUN", "Print a run in the Go benchmark format, one line for each valid trial, for benchstat and other programs. RUN is its folder.")
	if err := parse(f, args, 1, 1); err != nil {
		return err
	}
	r, err := readRun(env, f.Arg(0))
	if err != nil {
		return err
	}
	return export.Write(env.Stdout, r)
}
