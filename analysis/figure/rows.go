package figure

import (
	"fmt"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"hangbench/analysis"
	"hangbench/analysis/stats"
	"hangbench/results"
)

// row is the detection times of a cell in milliseconds.
type row struct {
	cell   *analysis.Cell
	seen   []point // detected trials
	missed []point // missed trials, at their deadlines
	median float64 // of seen; meaningless without any
}

func newRow(c *analysis.Cell) row {
	r := row{cell: c}
	for _, t := range c.Valid() {
		switch t.Outcome {
		case results.Detected:
			r.seen = append(r.seen, point{t.Trial, analysis.MS(*t.DetectNS)})
		case results.Missed:
			r.missed = append(r.missed, point{t.Trial, analysis.MS(t.DeadlineNS)})
		}
	}
	r.median, _ = stats.Median(values(r.seen))
	return r
}

// summary is the row in words.
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

func drawRows(c draw.Canvas, rows []row) {
	p := newPlot()
	var l layout
	title := "Detection time"
	if first, last := rows[0].cell.Title(), rows[len(rows)-1].cell.Title(); first == last {
		title += " of " + first
		l.titled = first // it needs no line of its own
	}
	var most float64
	deadlines := make(map[float64]bool)
	misses := 0
	for _, r := range rows {
		l.add(r.cell.Title(), r.cell.Label, fmt.Sprintf("  %d/%d", r.cell.Counts.Detected, r.cell.Counts.Valid))
		most = max(most, maxOf(r.seen))
		misses += len(r.missed)
		for _, m := range r.missed {
			deadlines[m.value] = true
		}
	}
	var deadline float64 // the last
	for d := range deadlines {
		deadline = max(deadline, d)
	}
	// Misses are drawn at their deadlines if the deadlines are at most twice as far as
	// the last detection. Otherwise the axis is broken: all misses are drawn in a strip
	// at its right end.
	a := rowPlotter{rows: rows, lines: l.rows}
	p.X.Min, p.X.Max = 0, headRoom(max(most, deadline))
	marks := ticks{n: 4, limit: p.X.Max}
	p.X.Tick.Marker = marks
	if most > 0 && deadline > 2*most {
		a.broken = true
		a.breakAt, a.strip = most*1.12, most*1.25
		p.X.Max = most * 1.38
		marks.limit = most * 0.85 // its label must not lie on that of the strip
		p.X.Tick.Marker = withDeadline{marks, a.strip}
	}
	p.X.Label.Text = fmt.Sprintf("T_D (ms); k/n detected, %d missed", misses)
	p.Add(guidesX{})
	l.apply(p, c.Max.X-c.Min.X)
	p.Add(a)
	keys := []key{{"detected", seenDot}, medianKey()}
	if misses > 0 {
		name := "missed (censored at the deadline)"
		if len(deadlines) == 1 {
			name = fmt.Sprintf("missed (censored at %.10g ms)", deadline)
		}
		keys = append(keys, key{name, func(c *draw.Canvas, at vg.Point) { c.DrawGlyph(missMark, at) }})
	}
	panel(c, title, p, keys)
}

func maxOf(points []point) float64 {
	var m float64
	for _, p := range points {
		m = max(m, p.value)
	}
	return m
}

// withDeadline adds a tick for the strip of misses.
type withDeadline struct {
	ticks
	at float64
}

func (w withDeadline) Ticks(min, max float64) []plot.Tick {
	return append(w.ticks.Ticks(min, max), plot.Tick{Value: w.at, Label: "deadline"})
}

const rowReach = 0.25 // half the breadth of a row of dots, in lines

type rowPlotter struct {
	rows           []row
	lines          []layoutRow
	broken         bool // the x axis, at breakAt; misses are drawn at strip
	breakAt, strip float64
}

func (r rowPlotter) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	if r.broken {
		c.StrokeLine2(breakLine, x(r.breakAt), c.Min.Y, x(r.breakAt), c.Max.Y)
	}
	for i, row := range r.rows {
		line := r.lines[i].y
		middle, reach := y(line), y(line+rowReach)-y(line)
		seen, missed := fewer(row.seen), fewer(row.missed)
		for j, pt := range seen {
			seenDot(&c, vg.Point{X: x(pt.value), Y: middle + fan(j, len(seen), reach)})
		}
		if len(row.seen) > 0 {
			half := fan(0, len(seen), reach) + 2*markSize
			c.StrokeLine2(medianLine, x(row.median), middle-half, x(row.median), middle+half)
		}
		for j, pt := range missed {
			at := pt.value
			if r.broken {
				at = r.strip
			}
			c.DrawGlyph(missMark, vg.Point{X: x(at), Y: middle + fan(j, len(missed), reach)})
		}
	}
}
