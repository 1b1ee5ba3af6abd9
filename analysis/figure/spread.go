package figure

import (
	"fmt"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"hangbench/analysis"
	"hangbench/analysis/stats"
)

// dotsShown is how many trials of a cell are drawn one by one.
const dotsShown = 40

// fewer returns at most dotsShown of the points, evenly taken.
func fewer(points []point) []point {
	step := (len(points) + dotsShown - 1) / dotsShown
	if step <= 1 {
		return points
	}
	var shown []point
	for i := 0; i < len(points); i += step {
		shown = append(shown, points[i])
	}
	return shown
}

// spreadRow is a median with its interval and its trials.
type spreadRow struct {
	cell   *analysis.Cell
	s      *stats.Summary
	points []point
	parts  []part // of the median; nil unless it is a stacked bar
}

// summarise takes one measure out of a cell; nil if it has no value.
func summarise(c *analysis.Cell, m analysis.Measure) *spreadRow {
	r := &spreadRow{cell: c}
	var xs []float64
	for _, t := range c.Valid() {
		if x, ok := m(&t); ok {
			xs = append(xs, x)
			r.points = append(r.points, point{t.Trial, x})
		}
	}
	if r.s = stats.Summarize(xs, level); r.s == nil {
		return nil
	}
	return r
}

// say is the row in words.
func (r *spreadRow) say(unit string) string {
	s := fmt.Sprintf("  %s, %s: n = %d, median %.4g%s", r.cell.Title(), r.cell.Label, r.s.N, r.s.Median, unit)
	switch {
	case r.s.CI != nil:
		s += fmt.Sprintf(" [%.4g, %.4g]", r.s.CI.Lo, r.s.CI.Hi)
	case r.s.N > 1:
		s += fmt.Sprintf(" [%.4g..%.4g]", r.s.Min, r.s.Max)
	}
	return s + ".\n"
}

// csv are the row's values.
func (r *spreadRow) csv(host, unit string) [][]string {
	row := func(mark, trial string, x float64) []string {
		return []string{host, r.cell.Title(), r.cell.Label, mark, trial, number(x), unit}
	}
	rows := [][]string{row("median", "", r.s.Median)}
	if r.s.CI != nil {
		rows = append(rows, row("ci_lo", "", r.s.CI.Lo), row("ci_hi", "", r.s.CI.Hi))
	}
	for _, p := range r.parts {
		rows = append(rows, row("part "+p.class, "", p.length))
	}
	for _, p := range r.points {
		rows = append(rows, row("trial", strconv.Itoa(p.trial), p.value))
	}
	return rows
}

// thinned says that not all trials are drawn, if that is so.
func thinned(rows []*spreadRow) string {
	for _, r := range rows {
		if len(r.points) > dotsShown {
			return fmt.Sprintf("Of more than %d trials not every one is drawn; the CSV has all.\n", dotsShown)
		}
	}
	return ""
}

func spreadHead() []string {
	return []string{"host", "scenario", "arm", "mark", "trial", "value", "unit"}
}

const spreadSays = "Line and whiskers: median and its order-statistic interval of at least 95%% confidence; where the trials are too few for one (6 are needed), their range in grey. A dot is one trial"

// violations draws EPT violations a second by class.
func violations(set *analysis.Set) (*Figure, error) {
	var rows []*spreadRow
	occurs := make(map[string]bool)
	for _, c := range set.Cells {
		if c.Mechanism == "none" && sumOf(c, analysis.EPTTotal) == 0 {
			continue // no monitor, no trap, nothing
		}
		r := summarise(c, analysis.PerSecond(analysis.EPTTotal))
		if r == nil {
			continue
		}
		sum := sumOf(c, analysis.EPTTotal)
		for _, class := range analysis.EPTClasses() {
			if of := sumOf(c, class.Measure()); of > 0 {
				r.parts = append(r.parts, part{class.Name, r.s.Median * of / sum})
				occurs[class.Name] = true
			}
		}
		rows = append(rows, r)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	f := &Figure{Name: "violations", Title: "EPT violations a second, by class", width: width, height: spreadHeight(rows), rows: [][]string{spreadHead()}}
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\nEPT violations a second of dom0's clock between attach and detach of the monitor, as traced by the hypervisor: "+
		"a bar is as long as the median over the valid trials, its parts share it like the classes share the sum over these trials. "+spreadSays+". Arms without any are left out.\n", set.Caption())
	for _, class := range analysis.EPTClasses() {
		if occurs[class.Name] {
			fmt.Fprintf(&b, "  %s: %s.\n", class.Name, class.Meaning)
		}
	}
	b.WriteString(thinned(rows))
	for _, r := range rows {
		b.WriteString(r.say(" a second"))
		f.rows = append(f.rows, r.csv(set.Host, "violations/s")...)
	}
	f.caption = b.String()
	var keys []key
	for _, class := range analysis.EPTClasses() {
		if occurs[class.Name] {
			keys = append(keys, key{class.Name, func(c *draw.Canvas, at vg.Point) {
				box(c, classColor(class.Name), at.X-4, at.Y-3, at.X+4, at.Y+3)
			}})
		}
	}
	f.paint = func(c draw.Canvas) {
		drawSpread(sheet(c, set.Caption()), f.Title, rows, axis{label: "EPT violations a second, attach to detach"}, keys)
	}
	return f, nil
}

func sumOf(c *analysis.Cell, m analysis.Measure) float64 {
	sum := 0.0
	for _, x := range c.Values(m) {
		sum += x
	}
	return sum
}

// overhead draws what the monitor costs workloads.
func overhead(set *analysis.Set) (*Figure, error) {
	var rows []*spreadRow
	for _, c := range set.Cells {
		if r := summarise(c, analysis.Overhead); r != nil {
			rows = append(rows, r)
		}
	}
	if len(rows) == 0 {
		return nil, nil
	}
	f := &Figure{Name: "overhead", Title: "What the monitor costs a guest", width: width, height: spreadHeight(rows), rows: [][]string{spreadHead()}}
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\nOverhead of the monitor by workload: (on - off) / off of the time that an operation of the workload takes, in windows with and without the monitor that alternate within one trial. "+
		"For none no monitor is attached in either: that is the error of measuring. "+spreadSays+".\n", set.Caption())
	b.WriteString(thinned(rows))
	for _, r := range rows {
		if len(f.rows) == 1 || r.cell.Title() != f.rows[len(f.rows)-1][1] {
			op, by := r.cell.Work()
			fmt.Fprintf(&b, "  %s: an operation is one %s (%s).\n", r.cell.Title(), op, by)
		}
		b.WriteString(r.say("%"))
		f.rows = append(f.rows, r.csv(set.Host, "percent")...)
	}
	f.caption = b.String()
	f.paint = func(c draw.Canvas) {
		drawSpread(sheet(c, set.Caption()), f.Title, rows, axis{label: "overhead in %: (on - off) / off of an operation's time", least: 1, zero: true}, nil)
	}
	return f, nil
}

// axis is the value axis of a figure of rows.
type axis struct {
	label string
	least float64 // value that is on the axis in any case
	zero  bool    // values may be below 0, where there is a line then
}

// oneArm is the label that all rows share, or empty.
func oneArm(rows []*spreadRow) string {
	for _, r := range rows {
		if r.cell.Label != rows[0].cell.Label {
			return ""
		}
	}
	return rows[0].cell.Label
}

func spreadLayout(rows []*spreadRow) *layout {
	var l layout
	one := oneArm(rows) != "" // named in the title: a line for each scenario
	for _, r := range rows {
		name := r.cell.Label
		if one {
			name, l.titled = r.cell.Title(), r.cell.Title()
		}
		l.add(r.cell.Title(), fmt.Sprintf("%s  n=%d", name, r.s.N))
	}
	return &l
}

func spreadHeight(rows []*spreadRow) vg.Length {
	l := spreadLayout(rows)
	return head + foot + axisRoom + vg.Length(max(len(l.ticks)+len(l.titles), 3))*rowPitch
}

func drawSpread(c draw.Canvas, title string, rows []*spreadRow, a axis, keys []key) {
	least, most := 0.0, a.least
	few, enough := false, false
	for _, r := range rows {
		most, least = max(most, r.s.Max), min(least, r.s.Min)
		few = few || r.s.CI == nil && r.s.N > 1
		enough = enough || r.s.CI != nil
	}
	p := newPlot()
	p.X.Min, p.X.Max = 0, headRoom(most)
	if a.zero {
		p.X.Min = least - (p.X.Max-least)*0.02
	}
	p.X.Tick.Marker = ticks{n: 6, limit: p.X.Max}
	p.X.Label.Text = a.label
	l := spreadLayout(rows)
	p.Add(guides{})
	l.apply(p)
	p.Add(spreadPlotter{rows, l.ticks, a.zero})
	keys = append(keys, key{"trial", dot}, key{"median", func(c *draw.Canvas, at vg.Point) {
		c.StrokeLine2(medianLine, at.X, at.Y-4, at.X, at.Y+4)
	}})
	if enough {
		keys = append(keys, key{"95% interval", func(c *draw.Canvas, at vg.Point) { whisker(c, at.X-4, at.X+4, at.Y, medianLine) }})
	}
	if few {
		keys = append(keys, key{"range, n < 6", func(c *draw.Canvas, at vg.Point) { whisker(c, at.X-4, at.X+4, at.Y, rangeLine) }})
	}
	if one := oneArm(rows); one != "" {
		title += ": " + one
	}
	panel(c, title, p, keys)
}

// rangeLine is a range that is no interval.
var rangeLine = draw.LineStyle{Color: grey, Width: 0.8}

func whisker(c *draw.Canvas, x0, x1, y vg.Length, style draw.LineStyle) {
	style.Width = 0.8
	c.StrokeLine2(style, x0, y, x1, y)
	c.StrokeLine2(style, x0, y-2, x0, y+2)
	c.StrokeLine2(style, x1, y-2, x1, y+2)
}

type spreadPlotter struct {
	rows  []*spreadRow
	lines []plot.Tick
	zero  bool
}

func (s spreadPlotter) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for i, r := range s.rows {
		line := s.lines[i].Value
		middle, reach := y(line), y(line+barReach)-y(line)
		if s.zero { // beside the rows only: titles are between them
			c.StrokeLine2(breakLine, x(0), y(line-0.5), x(0), y(line+0.5))
		}
		var from float64
		for _, part := range r.parts {
			to := from + part.length
			box(&c, classColor(part.class), x(from), middle-reach, x(to), middle+reach)
			from = to
		}
		shown := fewer(r.points)
		for j, pt := range shown {
			dot(&c, vg.Point{X: x(pt.value), Y: middle + fan(j, len(shown), reach*0.6)})
		}
		switch {
		case r.s.CI != nil:
			whisker(&c, x(r.s.CI.Lo), x(r.s.CI.Hi), middle, medianLine)
		case r.s.N > 1:
			whisker(&c, x(r.s.Min), x(r.s.Max), middle, rangeLine)
		}
		c.StrokeLine2(medianLine, x(r.s.Median), middle-reach*0.8, x(r.s.Median), middle+reach*0.8)
	}
}
