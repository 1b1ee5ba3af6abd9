package figure

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"hangbench/analysis"
	"hangbench/analysis/stats"
	"hangbench/results"
)

// scaleAxis is what a scaling figure has to the right.
type scaleAxis struct {
	name   string // of the figure
	title  string
	what   string // numbers of what
	column string // of the data
	of     func(analysis.Key) int
	// rest is what else there is to a key's guest, after a comma.
	rest func(analysis.Key) string
}

// scaleAxes returns what scaling figures are drawn over.
func scaleAxes() []scaleAxis {
	return []scaleAxis{
		{"scaling", "What changes with the number of vCPUs", "vCPUs", "vcpus",
			func(k analysis.Key) int { return k.VCPUs },
			func(k analysis.Key) string {
				if k.Neighbours == 0 {
					return ""
				}
				return fmt.Sprintf(", beside %d more", k.Neighbours)
			}},
		{"scaling-guests", "What changes with the number of guests that are monitored at once", "guests", "guests",
			func(k analysis.Key) int { return 1 + k.Neighbours },
			func(k analysis.Key) string { return fmt.Sprintf(", %d vCPU", k.VCPUs) }},
	}
}

// scaled is one arm's measure over an axis.
type scaled struct {
	arm       string
	scenarios []string // that were tried with every number on the axis
	at        []int    // numbers on the axis
	s         []*stats.Summary
}

// scalePanel is one measure of a scaling figure.
type scalePanel struct {
	title, unit string
	measure     analysis.Measure
	fault       bool // of faults only
	none        bool // without a monitor too, for comparison
	lines       []scaled
}

// arm is what a line of the figure is of: a cell without its place on the axis.
func (x *scaleAxis) arm(k analysis.Key) string {
	name := fmt.Sprintf("%s/%s, %s, %d MiB%s", k.Mechanism, k.Driver, k.Kernel, k.MemoryMiB, x.rest(k))
	if k.Thresholds != "" {
		name += ", " + k.Thresholds
	}
	return name
}

// scaling draws what changes along an axis; nil unless the set has several numbers
// on it. For every arm only scenarios count that were tried with all its numbers:
// others would compare scenarios.
func scaling(set *analysis.Set, x scaleAxis) (*Figure, error) {
	panels := []*scalePanel{
		{title: "Detection time (median)", unit: "ms", measure: analysis.DetectMS, fault: true},
		{title: "CPU time of dom0, the trial's own included (median)", unit: "% of a CPU", measure: percent(analysis.Dom0Share), none: true},
		{title: "Progress with / before (median)", unit: "ratio", measure: analysis.Progress},
		{title: "EPT violations a second (median)", unit: "violations/s", measure: analysis.PerSecond(analysis.EPTTotal)},
	}
	var arms []string
	by := make(map[string][]*analysis.Cell)
	for _, c := range set.Cells {
		a := x.arm(c.Key)
		if by[a] == nil {
			arms = append(arms, a)
		}
		by[a] = append(by[a], c)
	}
	slices.Sort(arms)
	any := false
	for _, p := range panels {
		for _, a := range arms {
			if by[a][0].Mechanism == "none" && !p.none {
				continue
			}
			if line, ok := x.scale(by[a], p); ok {
				p.lines = append(p.lines, line)
				any = true
			}
		}
	}
	if !any {
		return nil, nil
	}
	f := &Figure{
		Name: x.name, Title: x.title, width: width,
		rows: [][]string{{"host", "measure", "unit", "arm", x.column, "n", "median", "ci_lo", "ci_hi", "min", "max"}},
	}
	var shown []string // arms that have a line
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\nMedians over the trials of all scenarios that were tried with every number of %s. Whiskers: order-statistic interval of at least 95%% confidence; "+
		"where the trials are too few for one (6 are needed), their range in grey.\n", set.Caption(), x.what)
	for _, p := range panels {
		for _, l := range p.lines {
			if !slices.Contains(shown, l.arm) {
				shown = append(shown, l.arm)
			}
			fmt.Fprintf(&b, "  %s, %s, over %s:", p.title, l.arm, strings.Join(l.scenarios, ", "))
			for i, s := range l.s {
				fmt.Fprintf(&b, " %d %s %.4g %s (n = %d)", l.at[i], x.what, s.Median, p.unit, s.N)
				row := []string{set.Host, p.title, p.unit, l.arm, strconv.Itoa(l.at[i]), strconv.Itoa(s.N), number(s.Median), "", "", number(s.Min), number(s.Max)}
				if s.CI != nil {
					row[7], row[8] = number(s.CI.Lo), number(s.CI.Hi)
				}
				f.rows = append(f.rows, row)
			}
			b.WriteString(".\n")
		}
	}
	f.caption = b.String()
	f.height = 4.2*vg.Inch + vg.Length((len(shown)+2)/3)*10
	f.paint = func(c draw.Canvas) { drawScaling(sheet(c, set.Caption()), panels, shown, x.what) }
	return f, nil
}

// percent is a measure of a share, in percent.
func percent(m analysis.Measure) analysis.Measure {
	return func(t *results.Trial) (float64, bool) {
		v, ok := m(t)
		return 100 * v, ok
	}
}

// scale takes an arm's line out of its cells; false when there are not two numbers
// to compare.
func (x *scaleAxis) scale(cells []*analysis.Cell, p *scalePanel) (scaled, bool) {
	values := make(map[string]map[int][]float64) // by scenario and number
	var at []int
	for _, c := range cells {
		if p.fault && !c.Fault {
			continue
		}
		xs := c.Values(p.measure)
		if len(xs) == 0 {
			continue
		}
		if values[c.Title()] == nil {
			values[c.Title()] = make(map[int][]float64)
		}
		n := x.of(c.Key)
		values[c.Title()][n] = xs
		if !slices.Contains(at, n) {
			at = append(at, n)
		}
	}
	slices.Sort(at)
	line := scaled{arm: x.arm(cells[0].Key), at: at}
	for scenario, by := range values {
		if len(by) == len(at) {
			line.scenarios = append(line.scenarios, scenario)
		}
	}
	slices.Sort(line.scenarios)
	if len(at) < 2 || len(line.scenarios) == 0 {
		return scaled{}, false
	}
	for _, n := range at {
		var xs []float64
		for _, scenario := range line.scenarios {
			xs = append(xs, values[scenario][n]...)
		}
		line.s = append(line.s, stats.Summarize(xs, level))
	}
	return line, true
}

func drawScaling(c draw.Canvas, panels []*scalePanel, shown []string, what string) {
	rows := vg.Length((len(shown) + 2) / 3)
	legend := rows*10 + 6
	sty := textStyle(textSize, black, text.XLeft, text.YCenter)
	for i, a := range shown {
		at := vg.Point{X: c.Min.X + 4 + vg.Length(i%3)*(c.Max.X-c.Min.X)/3, Y: c.Min.Y + legend - 6 - vg.Length(i/3)*10}
		c.StrokeLine2(lineStyle(i, len(shown)), at.X, at.Y, at.X+16, at.Y)
		name, _, _ := strings.Cut(a, ",") // the rest is in the caption
		c.FillText(sty, vg.Point{X: at.X + 20, Y: at.Y}, name)
	}
	const across = 2
	breadth := (c.Max.X - c.Min.X) / across
	below := vg.Length((len(panels) + across - 1) / across)
	tall := (c.Max.Y - 13 - c.Min.Y - legend) / below
	for i, p := range panels {
		at := c
		at.Min.X = c.Min.X + vg.Length(i%across)*breadth
		at.Max.X = at.Min.X + breadth - 10
		at.Max.Y = c.Max.Y - 13 - vg.Length(i/across)*tall
		at.Min.Y = at.Max.Y - tall + 8
		at.FillText(textStyle(textSize, grey, text.XLeft, text.YTop), vg.Point{X: at.Min.X, Y: at.Max.Y}, p.title)
		at.Max.Y -= textSize + 6
		if len(p.lines) == 0 {
			at.FillText(textStyle(textSize, grey, text.XCenter, text.YCenter), at.Center(), "not measured with several "+what)
			continue
		}
		drawScalePanel(at, p, shown, what)
	}
}

func drawScalePanel(c draw.Canvas, p *scalePanel, shown []string, what string) {
	var at []int
	most := 0.0
	for _, l := range p.lines {
		for i, s := range l.s {
			if !slices.Contains(at, l.at[i]) {
				at = append(at, l.at[i])
			}
			if most = max(most, s.Median); s.CI != nil {
				most = max(most, s.CI.Hi)
			} else {
				most = max(most, s.Max)
			}
		}
	}
	slices.Sort(at)
	q := newPlot()
	q.Y.Tick.Length = 3
	q.X.Min, q.X.Max = -0.5, float64(len(at))-0.5
	q.Y.Min, q.Y.Max = 0, headRoom(most)
	var names []plot.Tick
	for i, n := range at {
		names = append(names, plot.Tick{Value: float64(i), Label: strconv.Itoa(n)})
	}
	q.X.Tick.Marker = plot.ConstantTicks(names)
	q.X.Label.Text = what
	q.Y.Tick.Marker = ticks{n: 4, limit: q.Y.Max}
	q.Y.Label.Text = p.unit
	q.Add(scalePlotter{p, shown, at})
	q.Draw(c)
}

type scalePlotter struct {
	p     *scalePanel
	shown []string
	at    []int
}

func (r scalePlotter) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for _, t := range p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max) {
		if t.Value > 0 {
			c.StrokeLine2(guideLine, c.Min.X, y(t.Value), c.Max.X, y(t.Value))
		}
	}
	for _, l := range r.p.lines {
		i := slices.Index(r.shown, l.arm)
		style := lineStyle(i, len(r.shown))
		aside := vg.Length(i-len(r.shown)/2) * 3 // so that whiskers do not cover each other
		var pts []vg.Point
		for j, s := range l.s {
			at := vg.Point{X: x(float64(slices.Index(r.at, l.at[j]))) + aside, Y: y(s.Median)}
			pts = append(pts, at)
			switch {
			case s.CI != nil:
				upright(&c, at.X, y(s.CI.Lo), y(s.CI.Hi), draw.LineStyle{Color: style.Color})
			case s.N > 1:
				upright(&c, at.X, y(s.Min), y(s.Max), rangeLine)
			}
		}
		c.StrokeLines(style, pts)
		for _, at := range pts {
			c.DrawGlyph(draw.GlyphStyle{Color: style.Color, Radius: 2, Shape: draw.CircleGlyph{}}, at)
		}
	}
}

// upright is a whisker from y0 to y1.
func upright(c *draw.Canvas, x, y0, y1 vg.Length, style draw.LineStyle) {
	style.Width = 0.8
	c.StrokeLine2(style, x, y0, x, y1)
	c.StrokeLine2(style, x-2, y0, x+2, y0)
	c.StrokeLine2(style, x-2, y1, x+2, y1)
}
