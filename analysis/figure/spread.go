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

// level is the confidence level of all intervals drawn.
const level = 0.95

// dotsShown is the greatest number of trials of a cell that are drawn one by one.
const dotsShown = 40

// thinned tells the reader that not all of a cell's trials are drawn, if they are so
// many.
func thinned(trials int) string {
	if trials <= dotsShown {
		return ""
	}
	return fmt.Sprintf("Of more than %d trials not every one is drawn; the CSV has all.\n", dotsShown)
}

// fewer returns at most dotsShown of the points, evenly taken.
func fewer(points []point) []point {
	step := (len(points) + dotsShown - 1) / dotsShown
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

// summarise applies one measure to a cell. It returns nil if no trial has a value.
func summarise(c *analysis.Cell, m analysis.Measure) *spreadRow {
	r := &spreadRow{cell: c}
	for _, t := range c.Valid() {
		if x, ok := m(&t); ok {
			r.points = append(r.points, point{t.Trial, x})
		}
	}
	if r.s = stats.Summarize(values(r.points), level); r.s == nil {
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

// spread is a figure of a row for each cell.
type spread struct {
	title string
	rows  []*spreadRow
	label string  // of the value axis
	unit  string  // in the values
	least float64 // value that the axis reaches at least
	zero  bool    // values can be below 0, and there is a line at 0
	keys  []key   // in front of the usual ones
}

// whiskerCaption explains the marks of every spread.
const whiskerCaption = "Line and whiskers: median and its order-statistic interval of at least 95% confidence; " +
	"where the trials are too few for one (6 are needed), their range in grey. A dot is one trial"

// violations draws EPT violations a second by class.
func violations(set *analysis.Set) (*Figure, error) {
	var rows []*spreadRow
	var parts []part
	for _, c := range set.Cells {
		if !c.Arm.Watched() && sumOf(c, analysis.EPTTotal.Of) == 0 {
			continue // no monitor and no violation
		}
		r := summarise(c, analysis.PerSecond(analysis.EPTTotal.Of))
		if r == nil {
			continue
		}
		r.parts = partsOf(c, r.s.Median)
		parts = append(parts, r.parts...)
		rows = append(rows, r)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	s := &spread{
		title: "EPT violations a second, by class", rows: rows, keys: classKeys(parts),
		label: "EPT violations a second, attach to detach", unit: "violations/s",
	}
	var b strings.Builder
	b.WriteString("EPT violations a second of dom0's clock between attach and detach of the monitor, as traced by the " +
		"hypervisor: a bar is as long as the median over the valid trials, its parts share it like the classes share the " +
		"sum over these trials. " + whiskerCaption + ". Arms without any are left out.\n")
	for _, class := range analysis.EPTClasses() {
		for _, k := range s.keys {
			if k.name == class.Name {
				fmt.Fprintf(&b, "  %s: %s.\n", class.Name, class.Meaning)
			}
		}
	}
	b.WriteString(thinned(mostTrials(rows)))
	for _, r := range rows {
		b.WriteString(r.say(" a second"))
	}
	return s.figure(set.Host, b.String()), nil
}

// overhead draws what the monitor costs workloads.
func overhead(set *analysis.Set) (*Figure, error) {
	var rows []*spreadRow
	for _, c := range set.Cells {
		if r := summarise(c, analysis.Overhead.Of); r != nil {
			rows = append(rows, r)
		}
	}
	if len(rows) == 0 {
		return nil, nil
	}
	var b strings.Builder
	b.WriteString("Overhead of the monitor by workload: (on - off) / off of the time that an operation of the workload " +
		"takes, in windows with and without the monitor that alternate within one trial. For none no monitor is attached " +
		"in either: that is the error of measuring. " + whiskerCaption + ".\n")
	b.WriteString(thinned(mostTrials(rows)))
	for i, r := range rows {
		if i == 0 || r.cell.Title() != rows[i-1].cell.Title() {
			op, by := r.cell.Work()
			fmt.Fprintf(&b, "  %s: an operation is one %s (%s).\n", r.cell.Title(), op, by)
		}
		b.WriteString(r.say("%"))
	}
	s := &spread{title: "What the monitor costs a guest", rows: rows,
		label: "overhead in %: (on - off) / off of an operation's time", unit: "percent", least: 1, zero: true}
	return s.figure(set.Host, b.String()), nil
}

// mostTrials is the greatest number of trials of a row.
func mostTrials(rows []*spreadRow) int {
	n := 0
	for _, r := range rows {
		n = max(n, len(r.points))
	}
	return n
}

func (s *spread) figure(host, says string) *Figure {
	return &Figure{says: says, values: s.values(host), height: s.layout().height(3), paint: s.draw}
}

func (s *spread) values(host string) [][]string {
	all := [][]string{{"host", "scenario", "arm", "mark", "trial", "value", "unit"}}
	for _, r := range s.rows {
		add := func(mark, trial string, x float64) {
			all = append(all, []string{host, r.cell.Title(), r.cell.Label, mark, trial, analysis.Number(x), s.unit})
		}
		add("median", "", r.s.Median)
		if r.s.CI != nil {
			add("ci_lo", "", r.s.CI.Lo)
			add("ci_hi", "", r.s.CI.Hi)
		}
		for _, p := range r.parts {
			add("part "+p.class, "", p.length)
		}
		for _, p := range r.points {
			add("trial", strconv.Itoa(p.trial), p.value)
		}
	}
	return all
}

// oneArm is the label that all rows share, or empty.
func (s *spread) oneArm() string {
	for _, r := range s.rows {
		if r.cell.Label != s.rows[0].cell.Label {
			return ""
		}
	}
	return s.rows[0].cell.Label
}

func (s *spread) layout() *layout {
	var l layout
	one := s.oneArm() != "" // the title names it, and each scenario has one line
	for _, r := range s.rows {
		name := r.cell.Label
		if one {
			name, l.titled = r.cell.Title(), r.cell.Title()
		}
		l.add(r.cell.Title(), name, fmt.Sprintf("  n=%d", r.s.N))
	}
	return &l
}

func (s *spread) draw(c draw.Canvas) {
	least, most := 0.0, s.least
	few, enough := false, false
	for _, r := range s.rows {
		most, least = max(most, r.s.Max), min(least, r.s.Min)
		few = few || r.s.CI == nil && r.s.N > 1
		enough = enough || r.s.CI != nil
	}
	p := newPlot()
	p.X.Min, p.X.Max = 0, headRoom(most)
	if s.zero {
		p.X.Min = least - (p.X.Max-least)*0.02
	}
	p.X.Tick.Marker = ticks{n: 6, limit: p.X.Max}
	p.X.Label.Text = s.label
	l := s.layout()
	p.Add(guidesX{})
	l.apply(p, c.Max.X-c.Min.X)
	p.Add(spreadPlotter{s.rows, l.rows, s.zero})
	keys := append(s.keys[:len(s.keys):len(s.keys)], trialKey(), medianKey())
	if enough {
		keys = append(keys, whiskerKey("95% interval", medianLine))
	}
	if few {
		keys = append(keys, whiskerKey("range, n < 6", rangeLine))
	}
	title := s.title
	if one := s.oneArm(); one != "" {
		title += ": " + one
	}
	panel(c, title, p, keys)
}

type spreadPlotter struct {
	rows  []*spreadRow
	lines []layoutRow
	zero  bool
}

func (s spreadPlotter) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for i, r := range s.rows {
		line := s.lines[i].y
		middle, reach := y(line), y(line+barReach)-y(line)
		if s.zero { // beside the rows only, not through the titles between them
			c.StrokeLine2(breakLine, x(0), y(line-0.5), x(0), y(line+0.5))
		}
		drawParts(&c, x, r.parts, middle-reach, middle+reach)
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
