package table

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"hangbench/analysis"
	"hangbench/analysis/stats"
)

// Level is the confidence level of all intervals in the tables.
const Level = 0.95

// none stands where there is no value.
const none = "–"

// Table is a table as text. Every row has as many cells as the head. Unless Flat is set,
// the first two columns are scenario and mechanism; for a terminal they are folded into
// one.
type Table struct {
	Title   string
	Head    []string
	Rows    [][]string
	Numeric []bool // by column: numbers, aligned right
	Notes   []string
	Flat    bool

	csvHead []string
	csvRows [][]string // the values of Rows
}

// Summary writes a caption and the tables that every run gets. As CSV it writes no table
// of these but one line for each cell of the set, with every column.
func Summary(w io.Writer, set *analysis.Set, f Format) error {
	if f == CSV {
		return writeCSV(w, set)
	}
	tables, err := Usual(set)
	if err != nil {
		return fmt.Errorf("summary: %w", err)
	}
	if err := WriteAll(w, set.Caption(), tables, f); err != nil {
		return fmt.Errorf("summary: %w", err)
	}
	return nil
}

// WriteAll writes a caption and tables. The format must not be CSV: a CSV file has one
// table.
func WriteAll(w io.Writer, caption string, tables []*Table, f Format) error {
	switch f {
	case Markdown:
		caption = markdownLine(caption)
	case LaTeX:
		caption = "% " + strings.ReplaceAll(caption, "\n", " ") + "\n% needs \\usepackage{booktabs,graphicx}"
	}
	if _, err := fmt.Fprintf(w, "%s\n\n", caption); err != nil {
		return err
	}
	for i, t := range tables {
		if i > 0 {
			if _, err := io.WriteString(w, "\n"); err != nil {
				return err
			}
		}
		if err := t.Write(w, f); err != nil {
			return err
		}
	}
	return nil
}

// Usual returns the tables that every run gets, without those that have no rows.
func Usual(set *analysis.Set) ([]*Table, error) {
	var all []*Table
	for _, k := range Kinds() {
		if !k.Usual {
			continue
		}
		t, err := k.Make(set)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", k.Name, err)
		}
		if len(t.Rows) > 0 {
			all = append(all, t)
		}
	}
	return all, nil
}

// Detection is the table of verdicts: what was detected, how fast, and how much slower
// the guest was.
func Detection(set *analysis.Set) *Table {
	t := table("Detection",
		NumberColumn("n", "n"), NumberColumn("invalid", "invalid"), RateColumn("outcome [95% CI]", "outcome"),
		TextColumn("class", "class"), SpreadColumn("T_D (ms)", "detect_ms"),
		Column{"recovered", true, []string{"recovered", "recovered_of"}}, SpreadColumn("progress", "progress"))
	t.Notes = append(t.Notes,
		"n: valid trials. Invalid ones (ground truth not confirmed) are counted and used for nothing else.")
	var ranged, interval, faults, miss bool
	for _, c := range set.Cells {
		td := stats.Summarize(c.Values(analysis.DetectTime.Of), Level)
		progress := stats.Summarize(c.Values(analysis.Progress.Of), Level)
		for _, s := range []*stats.Summary{td, progress} {
			interval = interval || s != nil && s.CI != nil
			ranged = ranged || s != nil && s.CI == nil && s.N > 1
		}
		faults = faults || td != nil
		miss = miss || c.Watched() && c.Counts.Missed > 0
		n := c.Counts
		verdicts := Rate(n.FalseAlarms, n.Valid)
		if c.Fault {
			verdicts = Rate(n.Detected, n.Valid)
		}
		if !c.Watched() {
			verdicts.CSV = []string{"", "", "", ""}
		}
		t.Add(Text(c.Title()), Text(c.Label), Int(n.Valid), Int(n.Invalid), Cell{outcome(c), verdicts.CSV}, Text(c.Classes()),
			Spread(td),
			Cell{ratio(n.Recovered, n.RecoveredOf), []string{strconv.Itoa(n.Recovered), strconv.Itoa(n.RecoveredOf)}},
			Spread(progress))
	}
	t.Notes = append(t.Notes, "outcome: faults detected, or false alarms of controls, of n, with the exact 95% interval "+
		"of Clopper and Pearson.")
	if faults {
		note := "T_D: verdict minus fault, over detected trials."
		if miss {
			note += " Misses are censored at the deadline and not averaged."
		}
		t.Notes = append(t.Notes, note)
	}
	t.Notes = append(t.Notes, "progress: the guest's progress rate with the monitor over the rate without; 1 is no cost.")
	if ranged {
		t.Notes = append(t.Notes, "a [b..c]: median, smallest and largest; too few trials for an interval (6 are needed).")
	}
	if interval {
		t.Notes = append(t.Notes, "a [b, c]: median and its order-statistic interval, of at least 95% confidence (the CSV "+
			"has the actual one).")
	}
	return t
}

// BackOuts is the table of monitors that stalled the guest, noticed it and removed their
// trap. It has no rows if none did.
func BackOuts(set *analysis.Set) *Table {
	t := table("Monitor removed its trap because it stalled the guest",
		NumberColumn("of", "of"), NumberColumn("n", "n"), SpreadColumn("removed after (ms)", "back_out_ms"))
	t.Notes = append(t.Notes, "of: valid trials; n: those in which the monitor removed its trap.",
		"removed after: from when the guest first stood still because of the monitor; median, or median "+
			"[smallest..largest].")
	for _, c := range set.Cells {
		s := stats.Summarize(c.Values(analysis.BackOut.Of), Level)
		if s == nil {
			continue
		}
		t.Add(Text(c.Title()), Text(c.Label), Int(c.Counts.Valid), Int(s.N), Spread(s))
	}
	return t
}

// Violations is the table of EPT violations by class.
func Violations(set *analysis.Set) *Table {
	type column struct {
		head   string
		metric analysis.Metric
		text   func(float64) string
	}
	columns := []column{{"window (ms)", analysis.Window, fixed}, {"total", analysis.EPTTotal, whole}}
	var meanings []string
	for _, class := range analysis.EPTClasses() {
		columns = append(columns, column{class.Short, class.Metric(), whole})
		meanings = append(meanings, class.Name+": "+class.Meaning)
	}
	columns = append(columns, column{"lost", analysis.TraceLost, whole}, column{"events", analysis.Delivered, whole},
		column{"steps", analysis.Steps, whole}, column{"per event", analysis.PerEvent, fixed})
	heads := []Column{NumberColumn("n", "n")}
	for _, col := range columns {
		heads = append(heads, NumberColumn(col.head, col.metric.Column+"_median"))
	}
	t := table("EPT violations per trial (median), attach to detach", heads...)
	for _, c := range set.Cells {
		row := []Cell{Text(c.Title()), Text(c.Label), Int(c.Counts.Valid)}
		for _, col := range columns {
			m, ok := stats.Median(c.Values(col.metric.Of))
			row = append(row, Number(m, ok, col.text))
		}
		t.Add(row...)
	}
	for pair := range slices.Chunk(meanings, 2) {
		t.Notes = append(t.Notes, strings.Join(pair, "; ")+".")
	}
	t.Notes = append(t.Notes,
		"total and classes: from the hypervisor's trace; lost: trace records that it dropped, not in total.",
		"events, steps: delivered to the monitor; per event: total over events.",
	)
	return t
}

// outcome counts a cell's verdicts.
func outcome(c *analysis.Cell) string {
	n := c.Counts
	if n.Valid == 0 || !c.Watched() {
		return none
	}
	if !c.Fault {
		return "false alarm " + rate(n.FalseAlarms, n.Valid)
	}
	s := "detected " + rate(n.Detected, n.Valid)
	if n.Undone > 0 {
		s += fmt.Sprintf(", %d undone", n.Undone)
	}
	if n.FalseAlarms > 0 {
		s += fmt.Sprintf(", %d false alarm", n.FalseAlarms)
	}
	return s
}

func rate(k, n int) string {
	iv, err := stats.ClopperPearson(k, n, Level)
	if err != nil {
		return none
	}
	return fmt.Sprintf("%d/%d [%.0f%%, %.0f%%]", k, n, 100*iv.Lo, 100*iv.Hi)
}

func ratio(k, n int) string {
	if n == 0 {
		return none
	}
	return fmt.Sprintf("%d/%d", k, n)
}

// spread is a median with its interval, or with its range, or alone.
func spread(s *stats.Summary) string {
	switch {
	case s == nil:
		return none
	case s.CI != nil:
		d := decimals(s.CI.Hi)
		return fmt.Sprintf("%.*f [%.*f, %.*f]", d, s.Median, d, s.CI.Lo, d, s.CI.Hi)
	case s.N > 1:
		d := decimals(s.Max)
		return fmt.Sprintf("%.*f [%.*f..%.*f]", d, s.Median, d, s.Min, d, s.Max)
	}
	return fmt.Sprintf("%.*f", decimals(s.Median), s.Median)
}

// whole writes the median of counts, which is a whole number or a half.
func whole(x float64) string {
	if x == math.Trunc(x) {
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
	return strconv.FormatFloat(x, 'f', 1, 64)
}

func fixed(x float64) string { return strconv.FormatFloat(x, 'f', decimals(x), 64) }

// decimals gives a value at least four significant digits.
func decimals(x float64) int {
	switch {
	case x >= 100:
		return 1
	case x >= 10:
		return 2
	}
	return 3
}

func orNone(s string) string {
	if s == "" {
		return none
	}
	return s
}
