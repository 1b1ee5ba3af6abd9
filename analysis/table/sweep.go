package table

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hangbench/analysis"
	"hangbench/analysis/stats"
)

// Sweep is the table of detection times and false alarms by the value of each
// threshold that was varied. It has no rows if none was.
func Sweep(set *analysis.Set) (*Table, error) {
	columns := []Column{
		TextColumn("threshold", "threshold"), NumberColumn("value", "value"), TextColumn("mechanism", "mechanism"),
		NumberColumn("faults", "faults"), NumberColumn("detected", "detected"), TextColumn("called", "called"),
		IntervalColumn("T_D half by (ms) [95% CI]", "t_d_ms"),
		RateColumn("alarms where none is right [95% CI]", "alarms"), TextColumn("as", "alarms_called"),
	}
	sweeps := make(map[string][]analysis.SweepPoint)
	watched := false // any control
	for _, name := range set.Swept() {
		points, err := set.Sweep(name, Level)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		sweeps[name] = points
		watched = watched || slices.ContainsFunc(points, func(p analysis.SweepPoint) bool { return p.QoS != nil })
	}
	if watched {
		columns = append(columns, NumberColumn("watched (s)", "exposure_s"), IntervalColumn("lambda_M (1/h) [95% CI]",
			"lambda_m_per_h"))
	}
	t := New("Threshold sweep: detection time against false alarms", columns...)
	t.Flat = true
	for _, name := range set.Swept() {
		points := sweeps[name]
		var faults, quiet []string
		for _, p := range points {
			td, detected := Cell{none, []string{"", "", ""}}, 0
			if len(p.Lives) > 0 {
				s, err := stats.KaplanMeier(p.Lives, Level)
				if err != nil {
					return nil, fmt.Errorf("%s %d: %w", name, p.Value, err)
				}
				td, detected = quantile(s, 0.5), s.Events
			}
			row := []Cell{Text(name), Cell{strconv.FormatInt(p.Value, 10), []string{strconv.FormatInt(p.Value, 10)}},
				Text(p.Arm),
				Int(len(p.Lives)), Int(detected), Text(strings.Join(p.Called, ", ")), td, Rate(p.Alarms, p.N),
				Text(strings.Join(p.Classes, ", "))}
			switch q := p.QoS; {
			case q != nil:
				row = append(row, Number(q.Exposure, true, tenths), perHour(q))
			case watched:
				row = append(row, Text(""), Cell{none, []string{"", "", ""}})
			}
			t.Add(row...)
			faults, quiet = merge(faults, p.Faults), merge(quiet, p.Quiet)
		}
		t.Notes = append(t.Notes, fmt.Sprintf("%s: faults %s; no alarm is right for %s.", name,
			orNone(strings.Join(faults, "; ")), orNone(strings.Join(quiet, "; "))))
	}
	t.Notes = append(t.Notes,
		"called: the classes of the verdicts; T_D: from fault to verdict, misses censored; the interval is Brookmeyer and "+
			"Crowley's, and infinite where the trials do not bound it.",
		"alarms where none is right: of n trials of controls, or of faults that are removed after the time given, with the "+
			"exact interval of Clopper and Pearson; as: the classes of these alarms.",
	)
	if watched {
		t.Notes = append(t.Notes, "watched, lambda_M: of controls alone, alarms an hour; the exact Poisson interval.")
	}
	return t, nil
}

// merge appends the names that are not there yet.
func merge(names, more []string) []string {
	seen := make(map[string]bool)
	for _, n := range names {
		seen[n] = true
	}
	for _, n := range more {
		if !seen[n] {
			names = append(names, n)
		}
	}
	return names
}

// perHour is a cell of the rate of mistakes.
func perHour(q *stats.QoS) Cell {
	const hour = 3600
	return Cell{
		fmt.Sprintf("%s [%s, %s]", analysis.Significant(hour*q.Rate), analysis.Significant(hour*q.RateCI.Lo),
			analysis.Significant(hour*q.RateCI.Hi)),
		[]string{analysis.Number(hour * q.Rate), analysis.Number(hour * q.RateCI.Lo), analysis.Number(hour * q.RateCI.Hi)},
	}
}
