package table

import (
	"fmt"
	"io"
	"slices"
	"strconv"

	"hangbench/analysis"
	"hangbench/analysis/internal/csvfile"
	"hangbench/analysis/stats"
)

// Column is a column of a table that is built cell by cell.
type Column struct {
	Head    string
	Numeric bool
	CSV     []string // names of its columns in CSV, each with its unit at its end
}

// Cell is a cell in two forms: text for people and values for programs.
type Cell struct {
	Text string
	CSV  []string // one for each name of its column
}

// New returns a table without rows.
func New(title string, columns ...Column) *Table {
	t := &Table{Title: title}
	for _, c := range columns {
		t.Head = append(t.Head, c.Head)
		t.Numeric = append(t.Numeric, c.Numeric)
		t.csvHead = append(t.csvHead, c.CSV...)
	}
	return t
}

// Add appends a row.
func (t *Table) Add(cells ...Cell) {
	var text, values []string
	for _, c := range cells {
		text = append(text, c.Text)
		values = append(values, c.CSV...)
	}
	t.Rows = append(t.Rows, text)
	t.csvRows = append(t.csvRows, values)
}

// Mark says in a note and in two more columns of the CSV file what the set lacks, if it is
// not whole. A table that goes elsewhere takes it along.
func (t *Table) Mark(set *analysis.Set) {
	text := set.Incomplete()
	if text == "" {
		return
	}
	t.Notes = slices.Insert(t.Notes, 0, "Not whole: "+text+".")
	rows := set.MarkCSV(append([][]string{t.csvHead}, t.csvRows...))
	t.csvHead, t.csvRows = rows[0], rows[1:]
}

// TextColumn is a column of words, aligned left.
func TextColumn(head, name string) Column { return Column{head, false, []string{name}} }

// NumberColumn is a column of numbers without an interval.
func NumberColumn(head, name string) Column { return Column{head, true, []string{name}} }

// SpreadColumn is a column of medians with their intervals.
func SpreadColumn(head, name string) Column {
	c := Column{head, true, nil}
	for _, part := range []string{"_n", "_median", "_min", "_max", "_ci_lo", "_ci_hi", "_ci_confidence"} {
		c.CSV = append(c.CSV, name+part)
	}
	return c
}

// IntervalColumn is a column of estimates with their intervals.
func IntervalColumn(head, name string) Column {
	return Column{head, true, []string{name, name + "_ci_lo", name + "_ci_hi"}}
}

// RateColumn is a column of k of n with an interval.
func RateColumn(head, name string) Column {
	return Column{head, false, []string{name, name + "_of", name + "_ci_lo", name + "_ci_hi"}}
}

// Text is a cell of words; empty ones are shown as a dash.
func Text(s string) Cell { return Cell{orNone(s), []string{s}} }

// Int is a cell of a count.
func Int(n int) Cell { s := strconv.Itoa(n); return Cell{s, []string{s}} }

// Number is a cell of a number, or a dash where ok is false.
func Number(x float64, ok bool, text func(float64) string) Cell {
	if !ok {
		return Cell{none, []string{""}}
	}
	return Cell{text(x), []string{analysis.Number(x)}}
}

// Spread is a cell of a median with its interval or range; nil is a dash.
func Spread(s *stats.Summary) Cell { return spreadCell(s, spread(s)) }

// spreadAs is Spread with all numbers written by text.
func spreadAs(s *stats.Summary, text func(float64) string) Cell {
	shown := none
	switch {
	case s == nil:
	case s.CI != nil:
		shown = fmt.Sprintf("%s [%s, %s]", text(s.Median), text(s.CI.Lo), text(s.CI.Hi))
	case s.N > 1:
		shown = fmt.Sprintf("%s [%s..%s]", text(s.Median), text(s.Min), text(s.Max))
	default:
		shown = text(s.Median)
	}
	return spreadCell(s, shown)
}

func spreadCell(s *stats.Summary, shown string) Cell {
	if s == nil {
		return Cell{none, []string{"0", "", "", "", "", "", ""}}
	}
	c := Cell{shown, []string{strconv.Itoa(s.N), analysis.Number(s.Median), analysis.Number(s.Min),
		analysis.Number(s.Max), "", "", ""}}
	if s.CI != nil {
		copy(c.CSV[4:], []string{analysis.Number(s.CI.Lo), analysis.Number(s.CI.Hi), analysis.Number(s.CI.Confidence)})
	}
	return c
}

// Rate is a cell of k of n with the exact interval, which all rates of a report have; a
// dash for n = 0.
func Rate(k, n int) Cell {
	iv, err := stats.ClopperPearson(k, n, Level)
	if err != nil {
		return Cell{none, []string{strconv.Itoa(k), strconv.Itoa(n), "", ""}}
	}
	return Cell{
		fmt.Sprintf("%d/%d [%.0f%%, %.0f%%]", k, n, 100*iv.Lo, 100*iv.Hi),
		[]string{strconv.Itoa(k), strconv.Itoa(n), analysis.Number(iv.Lo), analysis.Number(iv.Hi)},
	}
}

// WriteCSV writes the table's values with full precision, one line for each row. common
// holds columns that have the same value in every row, such as the host; they come first.
func (t *Table) WriteCSV(w io.Writer, common ...[2]string) error {
	var names, values []string
	for _, c := range common {
		names, values = append(names, c[0]), append(values, c[1])
	}
	rows := [][]string{append(names, t.csvHead...)}
	for i, row := range t.csvRows {
		if len(row) != len(t.csvHead) {
			return fmt.Errorf("table %q: row %d has %d values, the head has %d", t.Title, i, len(row), len(t.csvHead))
		}
		rows = append(rows, slices.Concat(values, row))
	}
	return csvfile.Write(w, rows)
}
