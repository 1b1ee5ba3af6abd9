package table

import (
	"fmt"
	"strings"

	"hangbench/analysis"
	"hangbench/analysis/stats"
	"hangbench/results"
)

// Campaign is the table of what became of faults whose effect nobody knew before, and how
// the verdicts stand against it; a row for each arm. It has no rows if there are no such
// faults.
func Campaign(set *analysis.Set) (*Table, error) {
	columns := []Column{TextColumn("mechanism", "mechanism"), NumberColumn("n", "n"), NumberColumn("invalid", "invalid")}
	for _, what := range results.Whats() {
		columns = append(columns, NumberColumn(what, strings.ReplaceAll(what, "-", "_")))
	}
	columns = append(columns, NumberColumn("grew", "grew"),
		RateColumn("partial covered [95% CI]", "partial_covered"), RateColumn("full covered [95% CI]", "full_covered"),
		RateColumn("covered [95% CI]", "covered"), RateColumn("class right [95% CI]", "right"),
		IntervalColumn("T_D half by (ms) [95% CI]", "t_d_ms"), RateColumn("false alarms [95% CI]", "false_alarms"),
		Column{"slow, called", false, []string{"slow_alarms", "slow_alarms_of"}}, NumberColumn("early", "early"))
	t := New("Campaign: faults whose effect nobody knew before", columns...)
	t.Flat = true
	for _, c := range set.Campaigns() {
		row := []Cell{Text(c.Label), Int(c.Valid), Int(c.Invalid)}
		for _, what := range results.Whats() {
			row = append(row, Int(c.What[what]))
		}
		row = append(row, Int(c.Grew))
		if !c.Watched {
			t.Add(append(row, Rate(0, 0), Rate(0, 0), Rate(0, 0), Rate(0, 0), Cell{none, []string{"", "", ""}}, Rate(0, 0),
				Cell{none, []string{"", ""}}, Int(c.Early))...)
			continue
		}
		var all analysis.Tally
		all.Add(c.Partial)
		all.Add(c.Full)
		td := Cell{none, []string{"", "", ""}}
		if len(all.Lives) > 0 {
			s, err := stats.KaplanMeier(all.Lives, Level)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.Label, err)
			}
			td = quantile(s, 0.5)
		}
		slow := Cell{ratio(c.SlowAlarms, c.Slow), []string{fmt.Sprint(c.SlowAlarms), fmt.Sprint(c.Slow)}}
		t.Add(append(row, Rate(c.Partial.Covered, c.Partial.Hangs), Rate(c.Full.Covered, c.Full.Hangs),
			Rate(all.Covered, all.Hangs), Rate(all.Right, all.Covered), td, Rate(c.Alarms, c.Calm), slow, Int(c.Early))...)
	}
	t.Notes = append(t.Notes,
		"What became of a guest is told by its own heartbeats, work, canaries and PID 1 until the deadline, and never "+
			"by the monitor. failed: a process ended and nothing stopped; partial: parts stopped and did not go on; "+
			"full: all parts.",
		"grew: hangs that were partial first and full in the end; they are in full.",
		"covered: a verdict was there when the first part stopped, or came after that and before the deadline; full "+
			"covered: with crashes. class right: of the covered ones, by where the vCPUs were that stopped.",
		"T_D: from the first part's last sign of life to the verdict, by Kaplan and Meier, misses censored at the deadline.",
		"false alarms: verdicts in trials that are not-reached, none or failed; slow, called: verdicts in trials that are "+
			"slowed; early: verdicts before the fault.",
		"The intervals of rates are those of Clopper and Pearson.",
	)
	return t, nil
}

// CampaignMistakes is the table of the trials whose verdict does not fit what became of the
// guest; a row for each.
func CampaignMistakes(set *analysis.Set) *Table {
	t := New("Campaign: hangs that were missed or called by a wrong class, and false alarms",
		NumberColumn("trial", "trial"), TextColumn("fault", "scenario"), TextColumn("mechanism", "mechanism"),
		TextColumn("mistake", "mistake"), TextColumn("became", "what"), TextColumn("called", "class"),
		TextColumn("right", "right"), NumberColumn("hung (ms)", "hung_ms"), NumberColumn("verdict (ms)", "detect_ms"),
		TextColumn("stopped or slowed", "parts"), TextColumn("evidence", "evidence"),
	)
	t.Flat = true
	for i := range set.Unknown {
		r := &set.Unknown[i]
		mistake := mistakeOf(r)
		if mistake == "" {
			continue
		}
		what, right, parts, evidence := "", "", "", r.Evidence
		if e := r.Effect; e != nil {
			what, right = e.What, strings.Join(e.Right, ", ")
			parts = strings.Join(append(append([]string{}, e.Stopped...), e.Slowed...), ", ")
			if len(evidence) == 0 || len(e.Places) > 0 {
				evidence = append(append([]string{}, e.Places...), evidence...)
			}
		}
		ms := func(ns *int64) Cell {
			if ns == nil {
				return Number(0, false, tenths)
			}
			return Number(analysis.MS(*ns), true, tenths)
		}
		t.Add(Int(r.Trial), Text(r.Scenario), Text(set.Label(r.Cell)), Text(mistake), Text(what), Text(r.Class), Text(right),
			ms(r.HangNS), ms(r.DetectNS), Text(parts), Text(strings.Join(evidence, "; ")))
	}
	return t
}

// mistakeOf says what is wrong with the verdict of a trial, and "" if nothing is.
func mistakeOf(r *results.Trial) string {
	switch {
	case !r.Arm.Watched():
		return ""
	case r.Outcome == results.Missed:
		return "missed"
	case r.Outcome == results.FalseAlarm && r.Effect == nil:
		return "before the fault"
	case r.Outcome == results.FalseAlarm:
		return "false alarm"
	case r.Outcome == results.Detected && !analysis.RightlyCalled(r):
		return "wrong class"
	}
	return ""
}
