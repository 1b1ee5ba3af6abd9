package figure

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Distances on the page, in points of 1/72 inch.
const (
	width      = 7 * vg.Inch   // full text width of a two-column page
	headHeight = vg.Length(26) // the head and a panel's title
	foot       = vg.Length(16) // a legend of one line
	legendLine = vg.Length(10) // each further line of a legend
	axisHeight = vg.Length(36) // ticks and label of the x axis
)

// sheet writes the head into the upper edge of the page and returns the page without
// its margin. A long head is written smaller, and at the smallest size it is cut.
func sheet(c draw.Canvas, head string) draw.Canvas {
	c = draw.Crop(c, 4, -6, 3, -3)
	sty := textStyle(titleSize, black, text.XLeft, text.YTop)
	for sty.Width(head) > c.Max.X-c.Min.X && sty.Font.Size > 5 {
		sty.Font.Size -= 0.25
	}
	c.FillText(sty, vg.Point{X: c.Min.X, Y: c.Max.Y}, cut(sty, head, c.Max.X-c.Min.X))
	return c
}

// cut returns s if it is at most limit long, and else as much of its beginning as fits
// with three dots behind it.
func cut(sty draw.TextStyle, s string, limit vg.Length) string {
	if sty.Width(s) <= limit {
		return s
	}
	const dots = "..."
	runes := []rune(s)
	fits := 0
	for lo, hi := 0, len(runes); lo <= hi; {
		mid := (lo + hi) / 2
		if sty.Width(string(runes[:mid])+dots) <= limit {
			fits, lo = mid, mid+1
		} else {
			hi = mid - 1
		}
	}
	return string(runes[:fits]) + dots
}

// subtitle writes the title of a panel.
func subtitle(c draw.Canvas, title string) {
	sty := textStyle(textSize, grey, text.XLeft, text.YTop)
	c.FillText(sty, vg.Point{X: c.Min.X, Y: c.Max.Y - 13}, cut(sty, title, c.Max.X-c.Min.X))
}

// panel draws a plot under its title and above its legend.
func panel(c draw.Canvas, title string, p *plot.Plot, legend []key) {
	subtitle(c, title)
	p.Draw(draw.Crop(c, 0, 0, drawLegend(c, legend), -headHeight))
}

// key is an entry of a legend.
type key struct {
	name string
	mark func(c *draw.Canvas, centre vg.Point) // at most 4 points to each side of centre
}

// drawLegend sets the keys side by side along the lower edge of c, in as many lines as
// they need, and returns the height of the legend.
func drawLegend(c draw.Canvas, keys []key) vg.Length {
	sty := textStyle(textSize, black, text.XLeft, text.YCenter)
	const before, after = vg.Length(10), vg.Length(9) // space around a name
	type entry struct {
		key
		x    vg.Length
		line int
	}
	var entries []entry
	x, line := c.Min.X, 0
	for _, k := range keys {
		k.name = cut(sty, k.name, c.Max.X-c.Min.X-before)
		wide := before + sty.Width(k.name)
		if x+wide > c.Max.X {
			x, line = c.Min.X, line+1
		}
		entries = append(entries, entry{k, x, line})
		x += wide + after
	}
	for _, e := range entries {
		y := c.Min.Y + 5 + vg.Length(line-e.line)*legendLine
		e.mark(&c, vg.Point{X: e.x + 4, Y: y})
		c.FillText(sty, vg.Point{X: e.x + before, Y: y}, e.name)
	}
	return foot + vg.Length(line)*legendLine
}

// boxKey is the key of bars of a colour.
func boxKey(name string, fill color.Color) key {
	return key{name, func(c *draw.Canvas, at vg.Point) { box(c, fill, at.X-4, at.Y-3, at.X+4, at.Y+3) }}
}

// trialKey is the key of dots that are trials.
func trialKey() key { return key{"trial", dot} }

// medianKey is the key of the lines that are medians.
func medianKey() key {
	return key{"median", func(c *draw.Canvas, at vg.Point) {
		c.StrokeLine2(medianLine, at.X, at.Y-4, at.X, at.Y+4)
	}}
}

// whiskerKey is the key of intervals.
func whiskerKey(name string, style draw.LineStyle) key {
	return key{name, func(c *draw.Canvas, at vg.Point) { whisker(c, at.X-4, at.X+4, at.Y, style) }}
}

// layout places lines of labels and data from the top down. The y coordinate of line
// n is -n.
type layout struct {
	rows   []layoutRow
	titles []plot.Tick // the name of each scenario, on a line above its rows
	titled string      // a scenario that needs no such line
}

// layoutRow is a line of data.
type layoutRow struct {
	y     float64
	label string
	count string // behind the label; it is never cut
}

func (l *layout) add(scenario, label, count string) {
	if scenario != l.titled && (len(l.titles) == 0 || l.titles[len(l.titles)-1].Label != scenario) {
		l.titles = append(l.titles, plot.Tick{Value: l.next(), Label: scenario})
	}
	l.rows = append(l.rows, layoutRow{l.next(), label, count})
}

func (l *layout) lines() int { return len(l.rows) + len(l.titles) }

func (l *layout) next() float64 { return -float64(l.lines()) }

// height is that of a page with one panel of at least so many lines.
func (l *layout) height(least int) vg.Length {
	return headHeight + foot + axisHeight + vg.Length(max(l.lines(), least))*rowPitch
}

// labelShare is the greatest share of a panel's breadth that labels take.
const labelShare = 0.6

// apply sets the y axis of a plot to the layout. breadth is that of the panel.
func (l *layout) apply(p *plot.Plot, breadth vg.Length) {
	sty := textStyle(textSize, black, 0, 0)
	var ticks []plot.Tick
	for _, r := range l.rows {
		label := cut(sty, r.label, breadth*labelShare-sty.Width(r.count))
		ticks = append(ticks, plot.Tick{Value: r.y, Label: label + r.count})
	}
	p.Y.Min, p.Y.Max = l.next()+0.3, 0.6
	p.Y.Tick.Marker = plot.ConstantTicks(ticks)
	p.Add(titles(l.titles))
}

// titles writes the names of scenarios into the panel, above their rows.
type titles []plot.Tick

func (t titles) Plot(c draw.Canvas, p *plot.Plot) {
	_, y := p.Transforms(&c)
	sty := textStyle(textSize, black, text.XLeft, text.YCenter)
	for _, tick := range t {
		at := vg.Point{X: c.Min.X + 3, Y: y(tick.Value)}
		c.FillText(sty, at, cut(sty, tick.Label, c.Max.X-at.X))
	}
}

// guidesX draws a faint vertical line at each labelled tick of the x axis, apart from
// one at its lower end.
type guidesX struct{}

func (guidesX) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	for _, t := range p.X.Tick.Marker.Ticks(p.X.Min, p.X.Max) {
		if !t.IsMinor() && t.Value > p.X.Min {
			c.StrokeLine2(guideLine, x(t.Value), c.Min.Y, x(t.Value), c.Max.Y)
		}
	}
}

// guidesY draws a faint horizontal line at each tick of the y axis above its lower
// end.
type guidesY struct{ labelled bool } // only at ticks with a label

func (g guidesY) Plot(c draw.Canvas, p *plot.Plot) {
	_, y := p.Transforms(&c)
	for _, t := range p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max) {
		if t.Value > p.Y.Min && !(g.labelled && t.IsMinor()) {
			c.StrokeLine2(guideLine, c.Min.X, y(t.Value), c.Max.X, y(t.Value))
		}
	}
}

// fan places n marks of one line side by side across the line. It returns the offset
// of mark i from the middle. Neighbours are at most a mark's size apart, and all are
// within reach of the middle.
func fan(i, n int, reach vg.Length) vg.Length {
	if n < 2 {
		return 0
	}
	pitch := min(2.2*markSize, 2*reach/vg.Length(n-1))
	return pitch * (vg.Length(n-1)/2 - vg.Length(i))
}

// headRoom returns the end of an axis whose largest value is x. It leaves space
// between the largest mark and the end.
func headRoom(x float64) float64 {
	if x <= 0 {
		return 1
	}
	return x * 1.06
}

// roundStep returns the smallest of 1, 2, 5 and 10 times a power of ten that is at
// least raw. raw is positive.
func roundStep(raw float64) float64 {
	mag := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5} {
		if raw <= m*mag {
			return m * mag
		}
	}
	return 10 * mag
}

// ticks are about n round numbers up to limit.
type ticks struct {
	n     int
	limit float64
}

func (t ticks) Ticks(min, max float64) []plot.Tick {
	limit := math.Min(t.limit, max)
	step := roundStep(limit / float64(t.n))
	var out []plot.Tick
	for i := int(math.Ceil(min / step)); float64(i)*step <= limit; i++ {
		v := float64(i) * step
		out = append(out, plot.Tick{Value: v, Label: fmt.Sprintf("%.10g", v)})
	}
	return out
}

// message is the text in the middle of an empty panel.
type message string

func (m message) Plot(c draw.Canvas, _ *plot.Plot) {
	c.FillText(textStyle(textSize, grey, text.XCenter, text.YCenter), c.Center(), string(m))
}

// emptyPanel draws a panel without data that gives the reason.
func emptyPanel(c draw.Canvas, title, why string) {
	p := newPlot()
	p.HideAxes()
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, 1, 0, 1
	p.Add(message(why))
	panel(c, title, p, nil)
}

// dot marks a trial.
func dot(c *draw.Canvas, at vg.Point) {
	c.DrawGlyph(dotMark, at)
	c.DrawGlyph(dotRing, at)
}

// seenDot marks a trial in which a fault was detected.
func seenDot(c *draw.Canvas, at vg.Point) {
	c.DrawGlyph(seenMark, at)
	c.DrawGlyph(seenRing, at)
}

// rectangle fills a rectangle.
func rectangle(c *draw.Canvas, fill color.Color, x0, y0, x1, y1 vg.Length) {
	c.FillPolygon(fill, []vg.Point{{X: x0, Y: y0}, {X: x1, Y: y0}, {X: x1, Y: y1}, {X: x0, Y: y1}})
}

// box fills a rectangle and draws its edge.
func box(c *draw.Canvas, fill color.Color, x0, y0, x1, y1 vg.Length) {
	pts := []vg.Point{{X: x0, Y: y0}, {X: x1, Y: y0}, {X: x1, Y: y1}, {X: x0, Y: y1}, {X: x0, Y: y0}}
	c.FillPolygon(fill, pts)
	c.StrokeLines(barEdge, pts)
}

// whisker draws an interval from x0 to x1.
func whisker(c *draw.Canvas, x0, x1, y vg.Length, style draw.LineStyle) {
	style.Width = whiskerWidth
	c.StrokeLine2(style, x0, y, x1, y)
	c.StrokeLine2(style, x0, y-2, x0, y+2)
	c.StrokeLine2(style, x1, y-2, x1, y+2)
}

// upright draws an interval from y0 to y1.
func upright(c *draw.Canvas, x, y0, y1 vg.Length, style draw.LineStyle) {
	style.Width = whiskerWidth
	c.StrokeLine2(style, x, y0, x, y1)
	c.StrokeLine2(style, x-2, y0, x+2, y0)
	c.StrokeLine2(style, x-2, y1, x+2, y1)
}
