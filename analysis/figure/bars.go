package figure

import (
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const barReach = 0.38 // half a bar's breadth, in lines

func layoutBars(bars []bar) *layout {
	var l layout
	for _, b := range bars {
		l.add(b.cell.Title(), b.cell.Label)
	}
	return &l
}

func (o *Overview) drawBars(c draw.Canvas) {
	const title = "Violations by class (bar: median)"
	if len(o.bars) == 0 {
		emptyPanel(c, title, "no valid trial")
		return
	}
	p := newPlot()
	var most float64
	for _, b := range o.bars {
		most = max(most, b.length)
		for _, pt := range b.points {
			most = max(most, pt.value)
		}
	}
	p.X.Min, p.X.Max = 0, headRoom(most)
	p.X.Tick.Marker = ticks{n: 5, limit: p.X.Max}
	p.X.Label.Text = "EPT violations per trial, attach to detach"
	l := layoutBars(o.bars)
	p.Add(guides{})
	l.apply(p)
	p.Add(barPlotter{o.bars, l.ticks})
	var keys []key
	for _, class := range o.classes() {
		keys = append(keys, key{class, func(c *draw.Canvas, at vg.Point) {
			box(c, classColor(class), at.X-4, at.Y-3, at.X+4, at.Y+3)
		}})
	}
	keys = append(keys, key{"trial", dot})
	panel(c, title, p, keys)
}

type barPlotter struct {
	bars  []bar
	lines []plot.Tick
}

func (b barPlotter) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for i, bar := range b.bars {
		line := b.lines[i].Value
		var from float64
		for _, part := range bar.parts {
			to := from + part.length
			box(&c, classColor(part.class), x(from), y(line-barReach), x(to), y(line+barReach))
			from = to
		}
		shown := fewer(bar.points)
		for j, pt := range shown {
			dot(&c, vg.Point{X: x(pt.value), Y: y(line) + fan(j, len(shown), (y(line+barReach)-y(line))*0.65)})
		}
	}
}

func box(c *draw.Canvas, fill interface{ RGBA() (r, g, b, a uint32) }, x0, y0, x1, y1 vg.Length) {
	pts := []vg.Point{{X: x0, Y: y0}, {X: x1, Y: y0}, {X: x1, Y: y1}, {X: x0, Y: y1}, {X: x0, Y: y0}}
	c.FillPolygon(fill, pts)
	c.StrokeLines(barEdge, pts)
}
