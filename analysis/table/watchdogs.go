package table

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hangbench/analysis"
	"hangbench/analysis/stats"
	"hangbench/results"
)

// Baselines is the table of our detection times beside those of the watchdogs of Linux
// and Xen, in the same trials. It has no rows if the trials did not observe watchdogs.
func Baselines(set *analysis.Set) *Table {
	names := set.Observers()
	var settings []string
	for _, c := range set.Cells {
		if c.Watchdogs != "" && !slices.Contains(settings, c.Watchdogs) {
			settings = append(settings, c.Watchdogs)
		}
	}
	// In the CSV each column has two: the median of the reports and their number.
	timed := func(head, name string) Column { return Column{head, true, []string{name + "_s", name + "_reports"}} }
	columns := []Column{NumberColumn("n", "n"), timed("ours", "ours")}
	for _, name := range names {
		columns = append(columns, timed(name, name))
	}
	t := table("Baselines side by side: time from fault to report (s)", columns...)
	t.Notes = []string{
		"ours: T_D of the mechanism; the others are reports of the guest's own watchdogs in the same trials, thresholds: " +
			strings.Join(settings, ", ") + ".",
		"median, with k/n if not all trials have one; -: not in this guest, or off.",
		"> t: no report until the fault was removed, t seconds after T0; in brackets: the detector needs longer than that.",
	}
	alarms, outside := false, false
	for _, c := range set.Cells {
		trials := slices.DeleteFunc(c.Valid(), func(t results.Trial) bool { return len(t.Findings) == 0 })
		if len(trials) == 0 {
			continue
		}
		var ours []float64
		for _, tr := range trials {
			if ms, ok := analysis.DetectTime.Of(&tr); ok {
				ours = append(ours, ms/1e3)
			}
		}
		text := none
		if c.Watched() && c.Fault {
			text = "missed"
			if len(ours) > 0 {
				text = seconds(ours, len(trials))
			}
		}
		row := []Cell{Text(c.Title()), Text(c.Label), Int(len(trials)), timedCell(text, ours)}
		for _, name := range names {
			text, times, alarm, out := baseline(trials, name, c.Fault)
			row = append(row, timedCell(text, times))
			alarms, outside = alarms || alarm, outside || out
		}
		t.Add(row...)
	}
	if alarms {
		t.Notes = append(t.Notes, "!: reports without a fault or before it, and how many.")
	}
	if outside {
		t.Notes = append(t.Notes, "*: a report outside the window predicted from threshold and source.")
	}
	return t
}

// Watchdogs is the table of the watchdogs of Linux and Xen: which faults they reported,
// and what they reported without a fault. It has no rows if the trials did not observe
// watchdogs.
func Watchdogs(set *analysis.Set) (*Table, error) {
	t := New("The guest's own watchdogs",
		TextColumn("detector", "detector"), TextColumn("thresholds", "setting"), NumberColumn("faults", "faults"),
		NumberColumn("reported", "reported"),
		IntervalColumn("half by (ms) [95% CI]", "t_d_ms"), NumberColumn("controls", "controls"), NumberColumn("observed (s)",
			"exposure_s"),
		NumberColumn("reports", "mistakes"), IntervalColumn("lambda_M (1/h) [95% CI]", "lambda_m_per_h"),
		NumberColumn("below (1/h)", "lambda_m_bound_per_h"),
		NumberColumn("early", "early"), NumberColumn("absent", "absent"),
	)
	t.Flat = true
	for _, w := range set.Watchdogs() {
		td, reported := Cell{none, []string{"", "", ""}}, 0
		if len(w.Lives) > 0 {
			s, err := stats.KaplanMeier(w.Lives, Level)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", w.Detector, err)
			}
			td, reported = quantile(s, 0.5), s.Events
		}
		observed, rate, below, mistakes := Text(""), Cell{none, []string{"", "", ""}}, Text(""), 0
		if slices.ContainsFunc(w.Controls, func(c stats.Watch) bool { return c.Length > 0 }) {
			q, err := stats.NewQoS(w.Controls, Level)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", w.Detector, err)
			}
			observed, rate, mistakes = Number(q.Exposure, true, tenths), perHour(q), q.Mistakes
			below = Number(3600*q.Upper, true, analysis.Significant)
		}
		t.Add(Text(w.Detector), Text(w.Setting), Int(len(w.Lives)), Int(reported), td, Int(len(w.Controls)), observed,
			Int(mistakes), rate, below, Int(w.Early), Int(w.Absent))
	}
	t.Notes = append(t.Notes,
		"faults: trials with a fault in which the detector was on; half by: censored when it was no longer observed, also "+
			"if that was before its threshold.",
		"reports: in trials without a fault, over the time that it was observed there; lambda_M: reports an hour, exact "+
			"Poisson interval; below: its one-sided 95% bound.",
		"early: reports before the fault, in trials with one; absent: trials in whose guest the detector is missing or off.",
	)
	return t, nil
}

// timedCell is a cell of times in seconds.
func timedCell(text string, times []float64) Cell {
	c := Cell{text, []string{"", strconv.Itoa(len(times))}}
	if m, ok := stats.Median(times); ok {
		c.CSV[0] = analysis.Number(m)
	}
	return c
}

// baseline writes the reports of one detector in the trials of a cell.
func baseline(trials []results.Trial, name string, fault bool) (text string, times []float64, alarm, outside bool) {
	var armed, alarms int
	var watched int64
	brief := false
	for _, t := range trials {
		f := t.Finding(name)
		if f == nil || !f.Armed {
			continue
		}
		armed++
		alarms += f.FalseAlarms
		if f.AtNS != nil {
			times = append(times, analysis.Seconds(*f.AtNS))
			outside = outside || f.ToNS > 0 && (*f.AtNS < f.FromNS || *f.AtNS > f.ToNS)
			continue
		}
		if watched == 0 || f.WatchedNS < watched {
			watched = f.WatchedNS
		}
		brief = brief || f.WatchedNS < f.ToNS
	}
	switch {
	case armed == 0:
		return "-", nil, false, false
	case len(times) > 0:
		text = seconds(times, armed)
		if outside {
			text += "*"
		}
	case !fault:
		text = none
	default:
		text = fmt.Sprintf("> %.1f", analysis.Seconds(watched))
		if brief {
			text = "(" + text + ")"
		}
	}
	if alarms > 0 {
		text += fmt.Sprintf(" %d!", alarms)
	}
	return text, times, alarms > 0, outside
}

// seconds writes the median of times, with k/n if fewer than n trials have one.
func seconds(times []float64, n int) string {
	m, ok := stats.Median(times)
	if !ok {
		return none
	}
	text := fmt.Sprintf("%.2f", m)
	if len(times) < n {
		text += fmt.Sprintf(" %d/%d", len(times), n)
	}
	return text
}
