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
)

// scaled is one arm's measure over the number of vCPUs.
type scaled struct {
	arm       string
	scenarios []string // that were tried with every number of vCPUs
	at        []int    // numbers of vCPUs
	s         []*stats.Summary
}

// scalePanel is one measure of a scaling figure.
type scalePanel struct {
	title, unit string
	measure     analysis.Measure
	fault       bool // of faults only
	lines       []scaled
}

// arm is what a line of the figure is of: a cell without its number of vCPUs.
func arm(k analysis.Key) string {
	name := fmt.Sprintf("%s/%s, %s, %d MiB", k.Mechanism, k.Driver, k.Kernel, k.MemoryMiB)
	if k.Thresholds != "" {
		name += ", " + k.Thresholds
	}
	return name
}

// scaling draws what changes with the number of vCPUs; nil unless the set has
// several. For every arm only scenarios count that were tried with all its numbers
// of vCPUs: others would compare scenarios.
func scaling(set *analysis.Set) (*Figure, error) {
	panels := []*scalePanel{
		{title: "Detection time (median)", unit: "ms", measure: analysis.DetectMS, fault: true},
		{title: "EPT violations a second (median)", unit: "violations/s", measure: analysis.PerSecond(analysis.EPTTotal)},
		{title: "Progress with / before (median)", unit: "ratio", measure: analysis.Progress},
	}
	var arms []string
	by := make(map[string][]*analysis.Cell)
	for _, c := range set.Cells {
		if c.Mechanism == "none" {
			continue
		}
		a := arm(c.Key)
		if by[a] == nil {
			arms = append(arms, a)
		}
		by[a] = append(by[a], c)
	}
	slices.Sort(arms)
	any := false
	for _, p := range panels {
		for _, a := range arms {
			if line, ok := scale(by[a], p); ok {
				p.lines = append(p.lines, line)
				any = true
			}
		}
	}
	if !any {
		return nil, nil
	}
	f := &Figure{
		Name: "scaling", Title: "What changes with the number of vCPUs", width: width,
		rows: [][]string{{"host", "measure", "unit", "arm", "vcpus", "n", "median", "ci_lo", "ci_hi", "min", "max"}},
	}
	var shown []string // arms that have a line
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\nMedians over the trials of all scenarios that were tried with every number of vCPUs. Whiskers: order-statistic interval of at least 95%% confidence; "+
		"where the trials are too few for one (6 are needed), their range in grey.\n", set.Caption())
	for _, p := range panels {
		for _, l := range p.lines {
			if !slices.Contains(shown, l.arm) {
				shown = append(shown, l.arm)
			}
			fmt.Fprintf(&b, "  %s, %s, over %s:", p.title, l.arm, strings.Join(l.scenarios, ", "))
			for i, s := range l.s {
				fmt.Fprintf(&b, " %d vCPU %.4g %s (n = %d)", l.at[i], s.Median, p.unit, s.N)
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
	f.height = 2.3*vg.Inch + vg.Length((len(shown)+2)/3)*10
	f.paint = func(c draw.Canvas) { drawScaling(sheet(c, set.Caption()), panels, shown) }
	return f, nil
}

// scale takes an arm's line out of its cells; false when there are not two numbers
// of vCPUs to compare.
func scale(cells []*analysis.Cell, p *scalePanel) (scaled, bool) {
	values := make(map[string]map[int][]float64) // by scenario and vCPUs
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
		values[c.Title()][c.VCPUs] = xs
		if !slices.Contains(at, c.VCPUs) {
			at = append(at, c.VCPUs)
		}
	}
	slices.Sort(at)
	line := scaled{arm: arm(cells[0].Key), at: at}
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

func drawScaling(c draw.Canvas, panels []*scalePanel, shown []string) {
	rows := vg.Length((len(shown) + 2) / 3)
	legend := rows*10 + 6
	sty := textStyle(textSize, black, text.XLeft, text.YCenter)
	for i, a := range shown {
		at := vg.Point{X: c.Min.X + 4 + vg.Length(i%3)*(c.Max.X-c.Min.X)/3, Y: c.Min.Y + legend - 6 - vg.Length(i/3)*10}
		c.StrokeLine2(lineStyle(i, len(shown)), at.X, at.Y, at.X+16, at.Y)
		name, _, _ := strings.Cut(a, ",") // the rest is in the caption
		c.FillText(sty, vg.Point{X: at.X + 20, Y: at.Y}, name)
	}
	breadth := (c.Max.X - c.Min.X) / vg.Length(len(panels))
	for i, p := range panels {
		at := c
		at.Min.X = c.Min.X + vg.Length(i)*breadth
		at.Max.X = at.Min.X + breadth - 10
		at.FillText(textStyle(textSize, grey, text.XLeft, text.YTop), vg.Point{X: at.Min.X, Y: c.Max.Y - 13}, p.title)
		at = draw.Crop(at, 0, 0, legend+2, -head)
		if len(p.lines) == 0 {
			at.FillText(textStyle(textSize, grey, text.XCenter, text.YCenter), at.Center(), "not measured with several vCPUs")
			continue
		}
		drawScalePanel(at, p, shown)
	}
}

func drawScalePanel(c draw.Canvas, p *scalePanel, shown []string) {
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
	q.X.Label.Text = "vCPUs"
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
