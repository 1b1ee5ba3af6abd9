package table

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"

	"hangbench/analysis"
	"hangbench/analysis/stats"
	"hangbench/results"
)

// writeCSV writes one row for each cell. Column names end in their unit; a
// field without a value is empty.
func writeCSV(w io.Writer, set *analysis.Set) error {
	cw := csv.NewWriter(w)
	head := []string{
		"host", "scenario", "kind", "mechanism", "driver",
	}
	for _, f := range (results.Cell{}).Factors() {
		head = append(head, f.Name)
	}
	head = append(head, "bounded_ms", "thresholds",
		"n", "invalid", "detected", "missed", "false_alarms", "undone", "clean", "recovered", "recovery_tried",
		"rate_of", "rate", "rate_ci_lo", "rate_ci_hi", "class")
	type column struct {
		name string
		m    analysis.Measure
	}
	columns := []column{
		{"detect_ms", analysis.DetectMS},
		{"progress_ratio", analysis.Progress},
		{"window_ms", analysis.WindowMS},
		{"dom0_share", analysis.Dom0Share},
		{"all_clear_ms", analysis.AllClearMS},
		{"ept_total", analysis.EPTTotal},
	}
	for _, class := range analysis.EPTClasses() {
		columns = append(columns, column{"ept_" + class.Name, class.Measure()})
	}
	columns = append(columns,
		column{"ept_trace_lost", analysis.TraceLost},
		column{"events_delivered", analysis.Delivered},
		column{"events_steps", analysis.Steps},
		column{"events_ring_full", analysis.RingFull},
		column{"ept_per_event", analysis.PerEvent},
	)
	// Of the guest's own watchdogs there are columns if any trial listened to them.
	watchdogs := set.Observers()
	for _, name := range watchdogs {
		columns = append(columns, column{"baseline_" + name + "_ms", analysis.FindingMS(name)})
	}
	for _, c := range columns {
		for _, part := range []string{"_n", "_median", "_min", "_max", "_ci_lo", "_ci_hi", "_ci_confidence"} {
			head = append(head, c.name+part)
		}
	}
	for _, name := range watchdogs {
		for _, part := range []string{"_armed", "_detected", "_false_alarms"} {
			head = append(head, "baseline_"+name+part)
		}
	}
	if err := cw.Write(head); err != nil {
		return fmt.Errorf("write csv: %w", err)
	}
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
		for _, v := range []int{n.Valid, n.Invalid, n.Detected, n.Missed, n.FalseAlarms, n.Undone, n.Clean, n.Recovered, n.RecoveredOf} {
			row = append(row, strconv.Itoa(v))
		}
		if iv, err := stats.Wilson(k, n.Valid, Level); err == nil && c.Watched() {
			row = append(row, rateOf, number(float64(k)/float64(n.Valid)), number(iv.Lo), number(iv.Hi))
		} else {
			row = append(row, "", "", "", "")
		}
		row = append(row, c.Classes())
		for _, col := range columns {
			s := stats.Summarize(c.Values(col.m), Level)
			if s == nil {
				row = append(row, "0", "", "", "", "", "", "")
				continue
			}
			row = append(row, strconv.Itoa(s.N), number(s.Median), number(s.Min), number(s.Max))
			if s.CI == nil {
				row = append(row, "", "", "")
			} else {
				row = append(row, number(s.CI.Lo), number(s.CI.Hi), number(s.CI.Confidence))
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
		if err := cw.Write(row); err != nil {
			return fmt.Errorf("write csv: %w", err)
		}
	}
	cw.Flush()
	if err := cw.Error(); err != nil {
		return fmt.Errorf("write csv: %w", err)
	}
	return nil
}

// number is the shortest text that reads back as x.
func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
