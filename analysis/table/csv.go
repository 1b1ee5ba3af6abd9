package table

import (
	"io"
	"strconv"

	"hangbench/analysis"
	"hangbench/analysis/internal/csvfile"
	"hangbench/analysis/stats"
	"hangbench/results"
)

// writeCSV writes one row for each cell. Column names end in their unit; a
// field without a value is empty.
func writeCSV(w io.Writer, set *analysis.Set) error {
	head := []string{
		"host", "scenario", "kind", "mechanism", "driver",
	}
	for _, f := range (results.Cell{}).Factors() {
		head = append(head, f.Name)
	}
	head = append(head, "bounded_ms", "thresholds",
		"n", "invalid", "detected", "missed", "false_alarms", "undone", "clean", "recovered", "recovery_tried",
		"rate_of", "rate", "rate_ci_lo", "rate_ci_hi", "class")
	var columns []analysis.Metric
	for _, m := range analysis.Metrics() {
		if m.Column != "" {
			columns = append(columns, m)
		}
	}
	// The guest's own watchdogs have columns if any trial has observed them.
	watchdogs := set.Observers()
	for _, name := range watchdogs {
		columns = append(columns, analysis.FindingTime(name))
	}
	for _, c := range columns {
		for _, part := range []string{"_n", "_median", "_min", "_max", "_ci_lo", "_ci_hi", "_ci_confidence"} {
			head = append(head, c.Column+part)
		}
	}
	for _, name := range watchdogs {
		for _, part := range []string{"_armed", "_detected", "_false_alarms"} {
			head = append(head, "baseline_"+name+part)
		}
	}
	rows := [][]string{head}
	for _, c := range set.Cells {
		kind, rateOf, k := "control", "false_alarms", c.Counts.FalseAlarms
		if c.Fault {
			kind, rateOf, k = "fault", "detected", c.Counts.Detected
		}
		n := c.Counts
		row := []string{set.Host, c.Scenario, kind, c.Mechanism, c.Driver}
		for _, f := range c.Factors() {
			row = append(row, f.Value)
		}
		row = append(row, strconv.FormatInt(c.BoundedMS, 10), string(c.Thresholds))
		for _, v := range []int{n.Valid, n.Invalid, n.Detected, n.Missed, n.FalseAlarms, n.Undone, n.Clean, n.Recovered,
			n.RecoveredOf} {
			row = append(row, strconv.Itoa(v))
		}
		if iv, err := stats.ClopperPearson(k, n.Valid, Level); err == nil && c.Watched() {
			row = append(row, rateOf, analysis.Number(float64(k)/float64(n.Valid)), analysis.Number(iv.Lo),
				analysis.Number(iv.Hi))
		} else {
			row = append(row, "", "", "", "")
		}
		row = append(row, c.Classes())
		for _, col := range columns {
			s := stats.Summarize(c.Values(col.Of), Level)
			if s == nil {
				row = append(row, "0", "", "", "", "", "", "")
				continue
			}
			row = append(row, strconv.Itoa(s.N), analysis.Number(s.Median), analysis.Number(s.Min), analysis.Number(s.Max))
			if s.CI == nil {
				row = append(row, "", "", "")
			} else {
				row = append(row, analysis.Number(s.CI.Lo), analysis.Number(s.CI.Hi), analysis.Number(s.CI.Confidence))
			}
		}
		for _, name := range watchdogs {
			var armed, detected, alarms int
			for _, t := range c.Valid() {
				if f := t.Finding(name); f != nil {
					alarms += f.FalseAlarms
					if f.Armed {
						armed++
					}
					if f.AtNS != nil {
						detected++
					}
				}
			}
			row = append(row, strconv.Itoa(armed), strconv.Itoa(detected), strconv.Itoa(alarms))
		}
		rows = append(rows, row)
	}
	return csvfile.Write(w, set.MarkCSV(rows))
}
