package table

import (
	"fmt"
	"math"
	"strconv"

	"hangbench/analysis"
	"hangbench/analysis/stats"
)

// Kind is a table that can be made of a set.
type Kind struct {
	Name    string
	Meaning string
	Make    func(*analysis.Set) (*Table, error)
	// Usual tables are in every summary, if they have rows.
	Usual bool
}

// Kinds returns all tables in the order of a report. A new table is a function in a file
// of its own and a line here.
func Kinds() []Kind {
	plain := func(f func(*analysis.Set) *Table) func(*analysis.Set) (*Table, error) {
		return func(s *analysis.Set) (*Table, error) { return f(s), nil }
	}
	all := []Kind{
		{"sweep", "detection times and false alarms by the value of a threshold", Sweep, true},
		{"detection", "verdicts, detection times and progress", plain(Detection), true},
		{"back-outs", "monitors that stalled the guest, noticed it and removed their trap", plain(BackOuts), true},
		{"campaign", "what became of faults whose effect nobody knew before, and the verdicts held against it",
			Campaign, true},
		{"campaign-mistakes", "each of them that was missed, called by a wrong class, or a false alarm",
			plain(CampaignMistakes), false},
		{"baselines", "our detection times beside those of the guest's own watchdogs, in the same trials",
			plain(Baselines), true},
		{"coverage", "faults detected, and called by their class, with exact intervals", plain(Coverage), false},
		{"detection-matrix", "detection times of each scenario by mechanism", plain(DetectionMatrix), false},
		{"latency", "detection times; a miss counts as longer than the deadline", Latency, false},
		{"violations", "EPT violations by class, medians", plain(Violations), true},
		{"classes", "EPT violations by class, each with its interval and rate", plain(Classes), false},
		{"overhead", "what the monitor costs workloads", plain(Overhead), false},
		{"overhead-matrix", "what the monitor costs each workload by mechanism", plain(OverheadMatrix), false},
		{"events", "what an event costs", plain(Events), false},
		{"qos", "quality of the detector: detection time and false alarms", QoS, false},
		{"disturbances", "false alarms an hour by kind of disturbance, of the monitor and of Linux's watchdogs", Disturbances,
			false},
		{"watchdogs", "what the guest's own watchdogs reported, with a fault and without", Watchdogs, false},
		{"metrics", "every metric of every cell, with its interval", plain(Metrics), false},
	}
	for i, k := range all {
		all[i].Make = func(s *analysis.Set) (*Table, error) {
			t, err := k.Make(s)
			if err == nil {
				t.Mark(s)
			}
			return t, err
		}
	}
	return all
}

func scenarioColumns() []Column {
	return []Column{TextColumn("scenario", "scenario"), TextColumn("mechanism", "mechanism")}
}

func table(title string, columns ...Column) *Table {
	return New(title, append(scenarioColumns(), columns...)...)
}

// Coverage is the table of faults that were detected and called by their class.
func Coverage(set *analysis.Set) *Table {
	t := table("Coverage: faults detected and called by their class",
		TextColumn("right class", "expected_class"), NumberColumn("n", "n"), NumberColumn("invalid", "invalid"),
		RateColumn("detected [95% CI]", "detected"), RateColumn("class right [95% CI]", "right"),
		TextColumn("called", "classes"), NumberColumn("alarms before", "early_alarms"),
	)
	for _, c := range set.Cells {
		if !c.Fault || !c.Watched() {
			continue
		}
		n := c.Counts
		t.Add(Text(c.Title()), Text(c.Label), Text(c.Expected()), Int(n.Valid), Int(n.Invalid),
			Rate(n.Detected, n.Valid), Rate(c.Right(), n.Valid),
			Text(c.Classes()), Int(n.FalseAlarms))
	}
	t.Notes = append(t.Notes,
		"detected, class right: of n valid trials, with the exact interval of Clopper and Pearson; class right: detected, "+
			"and called by the class of its fault.",
		"alarms before: verdicts before the fault. They are neither detections nor misses.",
	)
	return t
}

// Latency is the table of detection times. A miss is censored at the deadline.
func Latency(set *analysis.Set) (*Table, error) {
	t := table("Detection time T_D, misses censored at the deadline",
		NumberColumn("n", "n"), NumberColumn("detected", "detected"), NumberColumn("censored", "censored"),
		IntervalColumn("half by (ms) [95% CI]", "t50_ms"), IntervalColumn("90% by (ms) [95% CI]", "t90_ms"),
		NumberColumn("first (ms)", "first_ms"), NumberColumn("last (ms)", "last_ms"), NumberColumn("deadline (ms)",
			"deadline_ms"),
	)
	var warnings []string
	for _, c := range set.Cells {
		lives := c.Lifetimes()
		if !c.Watched() || len(lives) == 0 {
			continue
		}
		s, err := stats.KaplanMeier(lives, Level)
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", c.Title(), c.Label, err)
		}
		first, last, deadline := math.NaN(), math.NaN(), math.NaN()
		if n := len(s.Steps); n > 0 {
			first, last = s.Steps[0].Time, s.Steps[n-1].Time
		}
		for _, tr := range c.Trials {
			if tr.DeadlineNS > 0 {
				deadline = analysis.MS(tr.DeadlineNS)
			}
		}
		num := func(x float64) Cell { return Number(x, !math.IsNaN(x), tenths) }
		t.Add(Text(c.Title()), Text(c.Label), Int(s.N), Int(s.Events), Int(s.N-s.Events),
			quantile(s, 0.5), quantile(s, 0.9), num(first), num(last), num(deadline))
		if len(s.Warnings) > 0 {
			warnings = append(warnings, s.Warnings...)
		}
	}
	t.Notes = append(t.Notes,
		"by Kaplan and Meier over all faults, detected or not; the interval is Brookmeyer and Crowley's by Greenwood's "+
			"formula.",
		"–: fewer were detected; ∞: the trials give no upper bound.",
	)
	if len(warnings) > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("In %d of these rows few faults were detected, and the interval is rough (as "+
			"in %s).", len(warnings), warnings[0]))
	}
	return t, nil
}

// quantile is a cell of a quantile of a survival curve.
func quantile(s *stats.Survival, p float64) Cell {
	q, ok := s.Quantile(p)
	if !ok {
		return Cell{none, []string{"", analysis.Number(q.Lo), ""}}
	}
	c := Cell{fmt.Sprintf("%s [%s, %s]", tenths(q.Time), tenths(q.Lo), "∞"), []string{analysis.Number(q.Time),
		analysis.Number(q.Lo), ""}}
	if !math.IsInf(q.Hi, 1) {
		c.Text = fmt.Sprintf("%s [%s, %s]", tenths(q.Time), tenths(q.Lo), tenths(q.Hi))
		c.CSV[2] = analysis.Number(q.Hi)
	}
	return c
}

func tenths(x float64) string { return strconv.FormatFloat(x, 'f', 1, 64) }

// Classes is the table of EPT violations by class, one row each.
func Classes(set *analysis.Set) *Table {
	t := table("EPT violations by class, attach to detach",
		TextColumn("class", "class"), SpreadColumn("per trial", "violations"), SpreadColumn("per second", "violations_per_s"),
		NumberColumn("n", "n"), NumberColumn("share", "share"),
	)
	for _, c := range set.Cells {
		var all float64
		for _, x := range c.Values(analysis.EPTTotal.Of) {
			all += x
		}
		for _, class := range append(analysis.EPTClasses(), analysis.EPTClass{Name: "total", Count: nil}) {
			m := analysis.EPTTotal.Of
			if class.Count != nil {
				m = class.Metric().Of
			}
			xs := c.Values(m)
			var of float64
			for _, x := range xs {
				of += x
			}
			if of == 0 && class.Count != nil {
				continue
			}
			t.Add(Text(c.Title()), Text(c.Label), Text(class.Name), Spread(stats.Summarize(xs, Level)),
				Spread(stats.Summarize(c.Values(analysis.PerSecond(m)), Level)), Int(len(xs)),
				Number(of/all, all > 0, func(x float64) string { return fmt.Sprintf("%.1f%%", 100*x) }))
		}
	}
	t.Notes = spreadNotes(t.Notes)
	t.Notes = append(t.Notes, "Classes that do not occur in a cell are left out; share: of the violations of all its "+
		"trials. A second is one of dom0's clock.")
	return t
}

// spreadNotes appends what a [b, c] and a [b..c] mean.
func spreadNotes(notes []string) []string {
	return append(notes,
		"a [b, c]: median and its order-statistic interval, of at least 95% confidence.",
		"a [b..c]: median, smallest and largest; too few trials for an interval (6 are needed).")
}

// Overhead is the table of how much longer operations take with the monitor.
func Overhead(set *analysis.Set) *Table {
	t := table("Overhead: time of an operation with the monitor beside that without",
		NumberColumn("n", "n"), SpreadColumn("overhead (%)", "overhead_percent"),
		NumberColumn("without (1/s)", "ops_per_s_without_median"), NumberColumn("with (1/s)", "ops_per_s_with_median"),
		TextColumn("operation", "operation"), TextColumn("by", "program"),
	)
	for _, c := range set.Cells {
		s := stats.Summarize(c.Values(analysis.Overhead.Of), Level)
		if s == nil {
			continue
		}
		median := func(m analysis.Measure) Cell {
			x, ok := stats.Median(c.Values(m))
			return Number(x, ok, rounded)
		}
		op, by := c.Work()
		t.Add(Text(c.Title()), Text(c.Label), Int(s.N), spreadAs(s, signed), median(analysis.RateOff.Of),
			median(analysis.RateOn.Of), Text(op), Text(by))
	}
	t.Notes = append(t.Notes,
		"overhead: (on - off) / off of the time that an operation takes, from windows within one trial; the row of none is "+
			"the error of measuring.",
		"without, with: operations a second of the guest's clock, medians.",
	)
	t.Notes = spreadNotes(t.Notes)
	return t
}

// signed is tenths, with 0.0 for -0.0.
func signed(x float64) string {
	if s := tenths(x); s != "-0.0" {
		return s
	}
	return "0.0"
}

// rounded writes a number with at least three digits and at most two decimals.
func rounded(x float64) string {
	switch {
	case x >= 100:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case x >= 10:
		return tenths(x)
	}
	return strconv.FormatFloat(x, 'f', 2, 64)
}

// Events is the table of the cost of an event: EPT violations and single steps.
func Events(set *analysis.Set) *Table {
	t := table("Cost of events, attach to detach",
		NumberColumn("n", "n"), SpreadColumn("events", "events"), SpreadColumn("events / s", "events_per_s"),
		SpreadColumn("violations / event", "violations_per_event"), SpreadColumn("steps / event", "steps_per_event"),
		SpreadColumn("switches seen", "signals_share"), NumberColumn("ring full", "ring_full"), NumberColumn("trace lost",
			"trace_lost"),
	)
	for _, c := range set.Cells {
		events := stats.Summarize(c.Values(analysis.Delivered.Of), Level)
		if events == nil {
			continue
		}
		total := func(m analysis.Measure) Cell {
			sum := 0.0
			for _, x := range c.Values(m) {
				sum += x
			}
			return Number(sum, true, whole)
		}
		t.Add(Text(c.Title()), Text(c.Label), Int(events.N), Spread(events),
			Spread(stats.Summarize(c.Values(analysis.PerSecond(analysis.Delivered.Of)), Level)),
			Spread(stats.Summarize(c.Values(analysis.PerEvent.Of), Level)),
			Spread(stats.Summarize(c.Values(analysis.StepsPerEvent.Of), Level)),
			Spread(stats.Summarize(c.Values(analysis.Seen.Of), Level)), total(analysis.RingFull.Of),
			total(analysis.TraceLost.Of))
	}
	t.Notes = append(t.Notes,
		"switches seen: task switches the mechanism saw over those the guest counted itself; passes are limited on purpose.",
		"ring full: times the event ring had no free slot; trace lost: records the hypervisor dropped; both in all trials "+
			"together.",
	)
	t.Notes = spreadNotes(t.Notes)
	return t
}

// QoS is the table of the detector's quality of service, with the terms of Chen, Toueg
// and Aguilera (IEEE Trans. Computers 51(5), 2002); a row for each monitored arm.
func QoS(set *analysis.Set) (*Table, error) {
	t := New("Detector quality of service",
		TextColumn("mechanism", "mechanism"), NumberColumn("faults", "faults"),
		IntervalColumn("T_D half by (ms) [95% CI]", "t_d_ms"),
		NumberColumn("controls", "controls"), NumberColumn("watched (s)", "exposure_s"), NumberColumn("mistakes", "mistakes"),
		IntervalColumn("lambda_M (1/h) [95% CI]", "lambda_m_per_h"), NumberColumn("below (1/h)", "lambda_m_bound_per_h"),
		NumberColumn("T_MR (s)", "t_mr_s"), NumberColumn("T_M (s)", "t_m_s"), NumberColumn("T_G (s)", "t_g_s"),
		NumberColumn("P_A", "p_a"), NumberColumn("early", "early"),
	)
	t.Flat = true
	all, err := set.Accuracies(Level)
	if err != nil {
		return nil, err
	}
	early, unended := 0, 0
	for _, a := range all {
		var lives []stats.Lifetime
		for _, c := range set.Cells {
			if c.Label == a.Label && c.Fault {
				lives = append(lives, c.Lifetimes()...)
			}
		}
		td := Cell{none, []string{"", "", ""}}
		if len(lives) > 0 {
			s, err := stats.KaplanMeier(lives, Level)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", a.Label, err)
			}
			td = quantile(s, 0.5)
		}
		early, unended = early+a.Early, unended+a.Unended
		row := []Cell{Text(a.Label), Int(len(lives)), td, Int(a.Controls)}
		if q := a.QoS; q != nil {
			const hour = 3600
			row = append(row, Number(q.Exposure, true, tenths), Int(q.Mistakes),
				perHour(q),
				Number(hour*q.Upper, true, analysis.Significant),
				Number(q.Recurrence, !math.IsNaN(q.Recurrence), tenths),
				Number(q.Duration, q.Mistakes > 0 && a.Unended == 0, tenths), Number(q.Good, !math.IsNaN(q.Good), tenths),
				Number(q.Accuracy, a.Unended == 0, fixed))
		} else {
			row = append(row, Text(""), Text(""), Cell{none, []string{"", "", ""}}, Text(""), Text(""), Text(""), Text(""),
				Text(""))
		}
		t.Add(append(row, Int(a.Early))...)
	}
	t.Notes = append(t.Notes,
		"T_D: from fault to verdict, over all faults, misses censored. Mistakes: false alarms of controls, in the time "+
			"watched there.",
		"lambda_M: mistakes an hour, exact Poisson interval; below: its one-sided 95% bound, whose inverse T_MR is above.",
		"T_M: mean time until a mistake is taken back; T_G: from there to the next mistake; T_MR: from one mistake to the "+
			"next. T_G and T_MR need two mistakes in one trial. P_A: share of the time without a mistake.",
	)
	if unended > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%s lasted until the monitor was detached: T_M and P_A are not "+
			"known there.", analysis.Count(unended, "mistake")))
	}
	if early > 0 {
		t.Notes = append(t.Notes, "early: false alarms of faults before the fault; the time watched there is not recorded "+
			"and not counted.")
	}
	return t, nil
}
