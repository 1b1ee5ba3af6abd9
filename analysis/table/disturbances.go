package table

import (
	"fmt"
	"slices"

	"hangbench/analysis"
	"hangbench/analysis/stats"
)

// Disturbances is the table of false alarms by kind of disturbance: those of the monitor,
// and those of the watchdogs of Linux in the same trials.
func Disturbances(set *analysis.Set) (*Table, error) {
	t := New("False alarms an hour by kind of disturbance",
		TextColumn("disturbance", "disturbance"), TextColumn("mechanism", "mechanism"), NumberColumn("n", "n"),
		NumberColumn("invalid", "invalid"), RateColumn("with an alarm [95% CI]", "trials_alarmed"),
		NumberColumn("watched (s)", "exposure_s"), NumberColumn("alarms", "mistakes"),
		IntervalColumn("1/h [95% CI]", "lambda_m_per_h"), NumberColumn("below (1/h)", "lambda_m_bound_per_h"),
		NumberColumn("Linux (s)", "linux_exposure_s"), NumberColumn("reports", "linux_mistakes"),
		IntervalColumn("1/h [95% CI]", "linux_lambda_m_per_h"), NumberColumn("below (1/h)", "linux_lambda_m_bound_per_h"),
	)
	t.Flat = true
	all := set.Disturbances()
	if len(all) == 0 {
		return t, nil
	}
	sum := analysis.Together(all)
	sum.Title = "together"
	for _, d := range append(slices.Clone(all), sum) {
		row := []Cell{Text(d.Title), Text(d.Watch), Int(d.Trials), Int(d.Invalid), Rate(d.Alarms, d.Trials)}
		for _, watches := range [][]stats.Watch{d.Monitor, d.Linux} {
			cells, err := mistakes(watches)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", d.Title, d.Watch, err)
			}
			row = append(row, cells...)
		}
		t.Add(row...)
	}
	t.Notes = append(t.Notes,
		"Every alarm is false: nothing hangs. All guests of a disturbance are in one row; with an alarm: of n trials, with "+
			"the exact interval of Clopper and Pearson.",
		"watched: by the monitor, in trials that are valid; 1/h: alarms an hour, exact Poisson interval; below: its "+
			"one-sided 95% bound.",
		"Linux: the same of the watchdogs of the guest's own kernel, all together, in the trials in which they were on.",
	)
	return t, nil
}

// mistakes are the cells of a time on watch: its length, its mistakes, and their rate with
// its interval and bound.
func mistakes(watches []stats.Watch) ([]Cell, error) {
	if !slices.ContainsFunc(watches, func(w stats.Watch) bool { return w.Length > 0 }) {
		return []Cell{Text(""), Text(""), {none, []string{"", "", ""}}, Text("")}, nil
	}
	q, err := stats.NewQoS(watches, Level)
	if err != nil {
		return nil, err
	}
	return []Cell{Number(q.Exposure, true, tenths), Int(q.Mistakes), perHour(q),
		Number(3600*q.Upper, true, analysis.Significant)}, nil
}
