package table

import (
	"fmt"
	"strconv"

	"hangbench/analysis"
	"hangbench/analysis/stats"
)

// DetectionMatrix is the table of detection times with a row for each scenario and a
// column for each mechanism. It has no rows for a set without a monitor.
func DetectionMatrix(set *analysis.Set) *Table {
	m := set.Matrix(func(c *analysis.Cell) bool { return c.Watched() })
	columns := []Column{TextColumn("scenario", "scenario"), TextColumn("right class", "expected_class")}
	for _, arm := range m.Arms {
		columns = append(columns, Column{arm, true, []string{arm + "_n", arm + "_verdicts", arm + "_t_d_median_ms"}})
	}
	t := New("Detection time T_D by mechanism (ms)", columns...)
	t.Flat = true
	for _, row := range m.Rows {
		class := ""
		cells := make([]Cell, 0, len(row.Cells))
		for _, c := range row.Cells {
			if c == nil {
				cells = append(cells, Cell{none, []string{"", "", ""}})
				continue
			}
			if class == "" {
				class = c.Expected()
			}
			cells = append(cells, verdicts(c))
		}
		t.Add(append([]Cell{Text(row.Title), Text(class)}, cells...)...)
	}
	t.Notes = []string{
		"a time alone: detected in every valid trial, and called by the right class; k/n: detected in k of n; in brackets: " +
			"the classes called, if any was not the right one.",
		"clean: a control without a verdict; false: a verdict on a control, or before or after a fault; undone: the fault " +
			"was removed before a verdict; –: not run.",
	}
	t.Notes = spreadNotes(t.Notes)
	return t
}

// verdicts is a cell's outcome in a few words.
func verdicts(c *analysis.Cell) Cell {
	n, td := c.Counts, c.Values(analysis.DetectTime.Of)
	median := ""
	if x, ok := stats.Median(td); ok {
		median = analysis.Number(x)
	}
	values := []string{strconv.Itoa(n.Valid), strconv.Itoa(n.Detected + n.FalseAlarms), median}
	var text string
	switch {
	case n.Valid == 0:
		return Cell{"invalid", values}
	case n.Detected > 0:
		text = spreadAs(stats.Summarize(td, Level), func(x float64) string { return strconv.FormatFloat(x, 'f', 0, 64) }).Text
		if n.Detected < n.Valid {
			text += fmt.Sprintf(" %d/%d", n.Detected, n.Valid)
		}
		if n.FalseAlarms > 0 {
			text += fmt.Sprintf(", %d false", n.FalseAlarms)
		}
	case n.FalseAlarms > 0:
		text = fmt.Sprintf("%d/%d false", n.FalseAlarms, n.Valid)
	case n.Missed > 0:
		text = "missed"
	case n.Undone > 0:
		text = "undone"
	default:
		text = "clean"
	}
	if called := c.Classes(); called != c.Expected() && called != "" {
		text += " (" + called + ")"
	}
	if n.Invalid > 0 {
		text += fmt.Sprintf(", %d invalid", n.Invalid)
	}
	return Cell{text, values}
}

// OverheadMatrix is Overhead with a row for each workload and a column for each
// mechanism. It has no rows for a set without workloads.
func OverheadMatrix(set *analysis.Set) *Table {
	m := set.Matrix(func(c *analysis.Cell) bool { return len(c.Values(analysis.Overhead.Of)) > 0 })
	columns := []Column{TextColumn("workload", "scenario"), TextColumn("operation", "operation"),
		NumberColumn("without (1/s)", "ops_per_s_without_median")}
	for _, arm := range m.Arms {
		columns = append(columns, SpreadColumn(arm, arm+"_overhead_percent"))
	}
	t := New("Overhead by mechanism: % more time for an operation with the monitor", columns...)
	t.Flat = true
	for _, row := range m.Rows {
		op := ""
		var off []float64
		var cells []Cell
		for _, c := range row.Cells {
			if c == nil {
				cells = append(cells, spreadAs(nil, signed))
				continue
			}
			op, _ = c.Work()
			off = append(off, c.Values(analysis.RateOff.Of)...)
			cells = append(cells, spreadAs(stats.Summarize(c.Values(analysis.Overhead.Of), Level), signed))
		}
		rate, ok := stats.Median(off)
		t.Add(append([]Cell{Text(row.Title), Text(op), Number(rate, ok, rounded)}, cells...)...)
	}
	t.Notes = spreadNotes([]string{
		"overhead: (on - off) / off of the time that an operation takes, from windows within one trial; the column of none " +
			"is the error of measuring.",
		"without: operations a second of the guest's clock, median over all trials of the row.",
	})
	return t
}
