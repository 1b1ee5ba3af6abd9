package figure

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"

	"hangbench/analysis"
	"hangbench/analysis/stats"
	"hangbench/results"
)

// Overview is the model of the figure: EPT violations of every cell on the
// left, detection times of every monitored fault on the right.
type Overview struct {
	set     *analysis.Set
	bars    []bar
	rows    []row
	invalid int
}

// point is one trial's value.
type point struct {
	trial int
	value float64
}

// bar is the EPT violations of a cell: as long as the median of its trials'
// totals, split like the sum over its trials.
type bar struct {
	cell   *analysis.Cell
	length float64
	parts  []part
	points []point // totals
}

type part struct {
	class  string
	length float64
}

// row is the detection times of a cell in milliseconds.
type row struct {
	cell   *analysis.Cell
	seen   []point
	missed []point // at the deadline
	median float64 // of seen; meaningless without
}

// NewOverview takes the figure's numbers from the trials. It fails on an empty
// list and on trials of several hosts.
func NewOverview(trials []results.Trial) (*Overview, error) {
	set, err := analysis.Group(trials)
	if err != nil {
		return nil, fmt.Errorf("figure: %w", err)
	}
	o := &Overview{set: set}
	for _, c := range set.Cells {
		o.invalid += c.Counts.Invalid
		if c.Counts.Valid == 0 {
			continue
		}
		o.bars = append(o.bars, newBar(c))
		if c.Fault && c.Watched() {
			o.rows = append(o.rows, newRow(c))
		}
	}
	return o, nil
}

func newBar(c *analysis.Cell) bar {
	b := bar{cell: c}
	var sum float64
	var totals []float64
	valid := c.Valid()
	for i := range valid {
		x := float64(valid[i].EPT.Total)
		sum += x
		totals = append(totals, x)
		b.points = append(b.points, point{valid[i].Trial, x})
	}
	b.length, _ = stats.Median(totals)
	for _, class := range analysis.EPTClasses() {
		var of float64
		for i := range valid {
			of += float64(class.Count(&valid[i].EPT))
		}
		if of > 0 {
			b.parts = append(b.parts, part{class.Name, b.length * of / sum})
		}
	}
	return b
}

func newRow(c *analysis.Cell) row {
	r := row{cell: c}
	for _, t := range c.Valid() {
		switch {
		case t.Outcome == results.Detected:
			r.seen = append(r.seen, point{t.Trial, float64(*t.DetectNS) / 1e6})
		case t.Outcome == results.Missed:
			r.missed = append(r.missed, point{t.Trial, float64(t.DeadlineNS) / 1e6})
		}
	}
	r.median, _ = stats.Median(values(r.seen))
	return r
}

func values(points []point) []float64 {
	xs := make([]float64, len(points))
	for i, p := range points {
		xs[i] = p.value
	}
	return xs
}

// classes returns the classes that occur in the figure, in the usual order.
func (o *Overview) classes() []string {
	occurs := make(map[string]bool)
	for _, b := range o.bars {
		for _, p := range b.parts {
			occurs[p.class] = true
		}
	}
	var names []string
	for _, c := range analysis.EPTClasses() {
		if occurs[c.Name] {
			names = append(names, c.Name)
		}
	}
	return names
}

// Caption says what the figure shows, for a text file beside it.
func (o *Overview) Caption() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\n", o.set.Caption())
	b.WriteString("Left: EPT violations of a trial between attach and detach of the monitor, as traced by the hypervisor. " +
		"A bar is as long as the median over the valid trials; its parts share it like the classes share the sum over these trials. " +
		"A dot is one trial.\n")
	for _, c := range analysis.EPTClasses() {
		fmt.Fprintf(&b, "  %s: %s.\n", c.Name, c.Meaning)
	}
	b.WriteString("\nRight: detection time T_D, from fault to verdict, of faults with a monitor. A dot is one detected trial, the line their median; " +
		"k/n counts detected of valid trials. A cross is a miss: no verdict came before the deadline, so T_D is censored there and enters no median.\n")
	for _, r := range o.rows {
		fmt.Fprintf(&b, "  %s, %s: %s.\n", r.cell.Title(), r.cell.Label, r.summary())
	}
	if len(o.rows) == 0 {
		b.WriteString("  There is no valid trial of a fault with a monitor.\n")
	}
	for _, x := range o.bars {
		if len(x.points) > dotsShown {
			fmt.Fprintf(&b, "\nOf more than %d trials not every one is drawn; the CSV has all.\n", dotsShown)
			break
		}
	}
	fmt.Fprintf(&b, "\nInvalid trials, left out: %d.\n", o.invalid)
	return b.String()
}

// summary is a row in words.
func (r *row) summary() string {
	n := r.cell.Counts
	s := fmt.Sprintf("detected %d of %d", n.Detected, n.Valid)
	if n.Missed > 0 {
		s += fmt.Sprintf(", missed %d", n.Missed)
	}
	if n.Undone > 0 {
		s += fmt.Sprintf(", undone before %d", n.Undone)
	}
	if n.FalseAlarms > 0 {
		s += fmt.Sprintf(", alarms before the fault %d", n.FalseAlarms)
	}
	if len(r.seen) > 0 {
		s += fmt.Sprintf(", median %.1f ms", r.median)
	}
	return s
}

// WriteCSV writes every value drawn: one row for each part of a bar, dot,
// median and miss.
func (o *Overview) WriteCSV(w io.Writer) error {
	cw := csv.NewWriter(w)
	rec := func(panel string, c *analysis.Cell, mark, trial, unit string, x float64) error {
		return cw.Write([]string{o.set.Host, panel, c.Title(), c.Label, mark, trial, strconv.FormatFloat(x, 'g', -1, 64), unit})
	}
	err := cw.Write([]string{"host", "panel", "scenario", "arm", "mark", "trial", "value", "unit"})
	write := func(panel string, c *analysis.Cell, mark, trial, unit string, x float64) {
		if err == nil {
			err = rec(panel, c, mark, trial, unit, x)
		}
	}
	for _, b := range o.bars {
		write("violations", b.cell, "median", "", "violations", b.length)
		for _, p := range b.parts {
			write("violations", b.cell, "part "+p.class, "", "violations", p.length)
		}
		for _, p := range b.points {
			write("violations", b.cell, "trial", strconv.Itoa(p.trial), "violations", p.value)
		}
	}
	for _, r := range o.rows {
		if len(r.seen) > 0 {
			write("detection", r.cell, "median", "", "ms", r.median)
		}
		for _, p := range r.seen {
			write("detection", r.cell, "detected", strconv.Itoa(p.trial), "ms", p.value)
		}
		for _, p := range r.missed {
			write("detection", r.cell, "missed at deadline", strconv.Itoa(p.trial), "ms", p.value)
		}
	}
	cw.Flush()
	if err == nil {
		err = cw.Error()
	}
	if err != nil {
		return fmt.Errorf("figure: write csv: %w", err)
	}
	return nil
}
