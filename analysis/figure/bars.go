package figure

import (
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"hangbench/analysis"
	"hangbench/analysis/stats"
)

// bar is the EPT violations of a cell. It is as long as the median of the totals of
// the cell's trials. Its parts share it like the classes share the sum over the trials.
type bar struct {
	cell   *analysis.Cell
	length float64
	parts  []part
	points []point // totals
}

// part is the share of one class of EPT violations in a bar.
type part struct {
	class  string
	length float64
}

func newBar(c *analysis.Cell) bar {
	b := bar{cell: c}
	for _, t := range c.Valid() {
		b.points = append(b.points, point{t.Trial, float64(t.EPT.Total)})
	}
	b.length, _ = stats.Median(values(b.points))
	b.parts = partsOf(c, b.length)
	return b
}

// partsOf divides length like the classes of EPT violations divide their sum over the
// cell's valid trials. Classes without a violation have no part.
func partsOf(c *analysis.Cell, length float64) []part {
	var parts []part
	sum := sumOf(c, analysis.EPTTotal.Of)
	for _, class := range analysis.EPTClasses() {
		if of := sumOf(c, class.Metric().Of); of > 0 {
			parts = append(parts, part{class.Name, length * of / sum})
		}
	}
	return parts
}

// sumOf is the sum of a measure over the cell's valid trials.
func sumOf(c *analysis.Cell, m analysis.Measure) float64 {
	sum := 0.0
	for _, x := range c.Values(m) {
		sum += x
	}
	return sum
}

// classKeys are the legend of the classes that occur in parts, in their usual order.
func classKeys(parts []part) []key {
	var keys []key
	for _, class := range analysis.EPTClasses() {
		if slices.ContainsFunc(parts, func(p part) bool { return p.class == class.Name }) {
			keys = append(keys, boxKey(class.Name, classColor(class.Name)))
		}
	}
	return keys
}

func layoutBars(bars []bar) *layout {
	var l layout
	for _, b := range bars {
		l.add(b.cell.Title(), b.cell.Label, "")
	}
	return &l
}

func drawBars(c draw.Canvas, bars []bar) {
	const title = "Violations by class (bar: median)"
	if len(bars) == 0 {
		emptyPanel(c, title, "no valid trial")
		return
	}
	p := newPlot()
	var most float64
	var parts []part
	for _, b := range bars {
		most = max(most, b.length)
		for _, pt := range b.points {
			most = max(most, pt.value)
		}
		parts = append(parts, b.parts...)
	}
	p.X.Min, p.X.Max = 0, headRoom(most)
	p.X.Tick.Marker = ticks{n: 5, limit: p.X.Max}
	p.X.Label.Text = "EPT violations per trial, attach to detach"
	l := layoutBars(bars)
	p.Add(guidesX{})
	l.apply(p, c.Max.X-c.Min.X)
	p.Add(barPlotter{bars, l.rows})
	panel(c, title, p, append(classKeys(parts), trialKey()))
}

const barReach = 0.38 // half the breadth of a bar, in lines

type barPlotter struct {
	bars  []bar
	lines []layoutRow
}

func (b barPlotter) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for i, bar := range b.bars {
		line := b.lines[i].y
		drawParts(&c, x, bar.parts, y(line-barReach), y(line+barReach))
		shown := fewer(bar.points)
		for j, pt := range shown {
			dot(&c, vg.Point{X: x(pt.value), Y: y(line) + fan(j, len(shown), (y(line+barReach)-y(line))*0.65)})
		}
	}
}

// drawParts draws a stacked bar from x(0) to the right, between y0 and y1.
func drawParts(c *draw.Canvas, x func(float64) vg.Length, parts []part, y0, y1 vg.Length) {
	var from float64
	for _, part := range parts {
		to := from + part.length
		box(c, classColor(part.class), x(from), y0, x(to), y1)
		from = to
	}
}
