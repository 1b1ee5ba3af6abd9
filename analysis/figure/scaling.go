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

// scaleAxis is the x axis of a figure of scaling.
type scaleAxis struct {
	noun   string // of the numbers
	column string // in the values
	factor string // of the guest that the axis shows
	of     func(results.Cell) int
}

// overVCPUs counts the vCPUs of a guest.
func overVCPUs() *scaleAxis {
	return &scaleAxis{"vCPUs", "vcpus", "vcpus", func(c results.Cell) int { return c.VCPUs }}
}

// overGuests counts the guests that are monitored at once.
func overGuests() *scaleAxis {
	return &scaleAxis{"guests", "guests", "neighbours", func(c results.Cell) int { return 1 + c.Neighbours }}
}

// arm names the line of the figure that the cell belongs to: all of the cell apart from
// its scenario and its place on the axis.
func (x *scaleAxis) arm(c results.Cell) string {
	parts := []string{c.Mechanism + "/" + c.Driver}
	for _, f := range c.Factors() {
		if f.Name != x.factor && f.Label != "" {
			parts = append(parts, f.Label)
		}
	}
	if c.Thresholds != "" {
		parts = append(parts, string(c.Thresholds))
	}
	return strings.Join(parts, ", ")
}

// scaled is the measure of one arm along an axis.
type scaled struct {
	arm       string
	scenarios []string // those that were tried with every number on the axis
	at        []int    // numbers on the axis, rising
	s         []*stats.Summary
}

// scalePanel is one measure of a figure of scaling.
type scalePanel struct {
	title, unit string
	measure     analysis.Measure
	fault       bool // of faults only
	none        bool // also without a monitor, for comparison
	lines       []scaled
}

func scalePanels() []*scalePanel {
	return []*scalePanel{
		{title: "Detection time (median)", unit: "ms", measure: analysis.DetectTime.Of, fault: true},
		{title: "CPU time of dom0, the trial's own included (median)", unit: "% of a CPU",
			measure: percent(analysis.Dom0Share.Of), none: true},
		{title: "Progress with / before (median)", unit: "ratio", measure: analysis.Progress.Of},
		{title: "EPT violations a second (median)", unit: "violations/s", measure: analysis.PerSecond(analysis.EPTTotal.Of)},
	}
}

// percent is a measure of a share, in percent.
func percent(m analysis.Measure) analysis.Measure {
	return func(t *results.Trial) (float64, bool) {
		v, ok := m(t)
		return 100 * v, ok
	}
}

// figure draws what changes along the axis. It returns nil unless the set has several
// numbers on it. A line counts only the scenarios that were tried with all its numbers:
// otherwise it would compare scenarios.
func (x *scaleAxis) figure(set *analysis.Set) (*Figure, error) {
	var arms []string
	by := make(map[string][]*analysis.Cell)
	for _, c := range set.Cells {
		a := x.arm(c.Cell)
		if by[a] == nil {
			arms = append(arms, a)
		}
		by[a] = append(by[a], c)
	}
	slices.Sort(arms)
	var shown []string // arms that have a line
	panels := scalePanels()
	for _, p := range panels {
		for _, a := range arms {
			if !by[a][0].Arm.Watched() && !p.none {
				continue
			}
			if line, ok := x.scale(by[a], p); ok {
				p.lines = append(p.lines, line)
				if !slices.Contains(shown, a) {
					shown = append(shown, a)
				}
			}
		}
	}
	if len(shown) == 0 {
		return nil, nil
	}
	return &Figure{
		says:   x.caption(panels),
		values: x.values(set.Host, panels),
		height: 4.2*vg.Inch + vg.Length((len(shown)+2)/3)*10,
		paint:  func(c draw.Canvas) { drawScaling(c, panels, shown, x.noun) },
	}, nil
}

// scale makes the line of an arm from its cells. It returns false unless there are two
// numbers to compare.
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
		n := x.of(c.Cell)
		values[c.Title()][n] = xs
		if !slices.Contains(at, n) {
			at = append(at, n)
		}
	}
	slices.Sort(at)
	line := scaled{arm: x.arm(cells[0].Cell), at: at}
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

func (x *scaleAxis) caption(panels []*scalePanel) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Medians over the trials of all scenarios that were tried with every number of %s. Whiskers: "+
		"order-statistic interval of at least 95%% confidence; where the trials are too few for one (6 are needed), their "+
		"range in grey.\n", x.noun)
	for _, p := range panels {
		for _, l := range p.lines {
			fmt.Fprintf(&b, "  %s, %s, over %s:", p.title, l.arm, strings.Join(l.scenarios, ", "))
			for i, s := range l.s {
				fmt.Fprintf(&b, " %d %s %.4g %s (n = %d)", l.at[i], x.noun, s.Median, p.unit, s.N)
			}
			b.WriteString(".\n")
		}
	}
	return b.String()
}

func (x *scaleAxis) values(host string, panels []*scalePanel) [][]string {
	all := [][]string{{"host", "measure", "unit", "arm", x.column, "n", "median", "ci_lo", "ci_hi", "min", "max"}}
	for _, p := range panels {
		for _, l := range p.lines {
			for i, s := range l.s {
				row := []string{host, p.title, p.unit, l.arm, strconv.Itoa(l.at[i]), strconv.Itoa(s.N),
					analysis.Number(s.Median), "", "",
					analysis.Number(s.Min), analysis.Number(s.Max)}
				if s.CI != nil {
					row[7], row[8] = analysis.Number(s.CI.Lo), analysis.Number(s.CI.Hi)
				}
				all = append(all, row)
			}
		}
	}
	return all
}

func drawScaling(c draw.Canvas, panels []*scalePanel, shown []string, noun string) {
	legend := vg.Length((len(shown)+2)/3)*10 + 6
	sty := textStyle(textSize, black, text.XLeft, text.YCenter)
	column := (c.Max.X - c.Min.X) / 3
	for i, a := range shown {
		at := vg.Point{
			X: c.Min.X + 4 + vg.Length(i%3)*column,
			Y: c.Min.Y + legend - 6 - vg.Length(i/3)*10,
		}
		c.StrokeLine2(lineStyle(i, len(shown)), at.X, at.Y, at.X+16, at.Y)
		name, _, _ := strings.Cut(a, ",") // the rest is in the caption
		c.FillText(sty, vg.Point{X: at.X + 20, Y: at.Y}, cut(sty, name, column-20-4-4))
	}
	const across = 2
	breadth := (c.Max.X - c.Min.X) / across
	tall := (c.Max.Y - 13 - c.Min.Y - legend) / vg.Length(len(panels)/across)
	for i, p := range panels {
		at := c
		at.Min.X = c.Min.X + vg.Length(i%across)*breadth
		at.Max.X = at.Min.X + breadth - 10
		at.Max.Y = c.Max.Y - 13 - vg.Length(i/across)*tall
		at.Min.Y = at.Max.Y - tall + 8
		at.FillText(textStyle(textSize, grey, text.XLeft, text.YTop), vg.Point{X: at.Min.X, Y: at.Max.Y}, p.title)
		at.Max.Y -= textSize + 6
		if len(p.lines) == 0 {
			at.FillText(textStyle(textSize, grey, text.XCenter, text.YCenter), at.Center(), "not measured with several "+noun)
			continue
		}
		drawScalePanel(at, p, shown, noun)
	}
}

func drawScalePanel(c draw.Canvas, p *scalePanel, shown []string, noun string) {
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
	q.X.Label.Text = noun
	q.Y.Tick.Marker = ticks{n: 4, limit: q.Y.Max}
	q.Y.Label.Text = p.unit
	q.Add(guidesY{}, scalePlotter{p, shown, at})
	q.Draw(c)
}

type scalePlotter struct {
	p     *scalePanel
	shown []string
	at    []int // numbers on the axis; that of index i is drawn at x = i
}

func (r scalePlotter) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for _, l := range r.p.lines {
		i := slices.Index(r.shown, l.arm)
		style := lineStyle(i, len(r.shown))
		aside := vg.Length(i-len(r.shown)/2) * 3 // whiskers of several arms must not cover each other
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
