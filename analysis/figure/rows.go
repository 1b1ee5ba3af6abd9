package figure

import (
	"fmt"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const rowReach = 0.25 // half the breadth of a row of dots, in lines

func (o *Overview) drawRows(c draw.Canvas) {
	if len(o.rows) == 0 {
		emptyPanel(c, "Detection time", "no valid trial of a fault with a monitor")
		return
	}
	p := newPlot()
	var l layout
	title := "Detection time"
	if first, last := o.rows[0].cell.Title(), o.rows[len(o.rows)-1].cell.Title(); first == last {
		title += " of " + first // no line of its own for the only one
		l.titled = first
	}
	var most, deadline float64
	misses := 0
	for _, r := range o.rows {
		l.add(r.cell.Title(), fmt.Sprintf("%s  %d/%d", r.cell.Label, r.cell.Counts.Detected, r.cell.Counts.Valid))
		most = max(most, maxOf(r.seen))
		deadline = max(deadline, maxOf(r.missed))
		misses += len(r.missed)
	}
	// Misses lie where they belong when the scale allows, and else in a
	// strip of their own beyond a break of the axis.
	a := rowPlotter{rows: o.rows, lines: l.ticks}
	p.X.Min, p.X.Max = 0, headRoom(max(most, deadline))
	marks := ticks{n: 4, limit: p.X.Max}
	if misses > 0 && most > 0 && deadline > 2*most {
		a.broken = true
		a.breakAt, a.strip = most*1.12, most*1.25
		p.X.Max = most * 1.38
		marks.limit = most * 1.05
		p.X.Tick.Marker = withDeadline{marks, a.strip}
	} else {
		p.X.Tick.Marker = marks
	}
	p.X.Label.Text = fmt.Sprintf("T_D (ms); k/n detected, %d missed", misses)
	p.Add(guides{})
	l.apply(p)
	p.Add(a)
	keys := []key{
		{"detected", seenDot},
		{"median", func(c *draw.Canvas, at vg.Point) { c.StrokeLine2(medianLine, at.X, at.Y-4, at.X, at.Y+4) }},
	}
	if misses > 0 {
		name := "missed (censored at the deadline)"
		if o.oneDeadline() {
			name = fmt.Sprintf("missed (censored at %.10g ms)", deadline)
		}
		keys = append(keys, key{name, func(c *draw.Canvas, at vg.Point) { c.DrawGlyph(missMark, at) }})
	}
	panel(c, title, p, keys)
}

// oneDeadline says whether all misses have the same deadline.
func (o *Overview) oneDeadline() bool {
	at := make(map[float64]bool)
	for _, r := range o.rows {
		for _, p := range r.missed {
			at[p.value] = true
		}
	}
	return len(at) == 1
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

type rowPlotter struct {
	rows           []row
	lines          []plot.Tick
	broken         bool
	breakAt, strip float64
}

func (r rowPlotter) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	if r.broken {
		c.StrokeLine2(breakLine, x(r.breakAt), c.Min.Y, x(r.breakAt), c.Max.Y)
	}
	for i, row := range r.rows {
		line := r.lines[i].Value
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
