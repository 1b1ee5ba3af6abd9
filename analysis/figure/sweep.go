package figure

import (
	"cmp"
	"fmt"
	"math"
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

// sweepMark is one value of a threshold in the plane of false alarms and detection
// time.
type sweepMark struct {
	analysis.SweepPoint
	share  float64         // of trials with an alarm where none is right, in percent
	alarms stats.Interval  // of share, in percent
	td     *stats.Quantile // time by which half of the faults were detected, in seconds; nil if fewer were
}

// sweepPanel is one threshold.
type sweepPanel struct {
	name  string
	quiet string // the scenarios in which no alarm is right
	marks []sweepMark
}

const (
	sweepColumns = 3
	sweepRow     = 1.75 * vg.Inch
)

// sweep draws the detection time against the false alarms for every value of every
// threshold that was varied, in a panel for each threshold.
func sweep(set *analysis.Set) (*Figure, error) {
	var panels []sweepPanel
	var arms []string
	values := [][]string{{"host", "threshold", "value", "arm", "faults", "detected", "t_d_s", "t_d_ci_lo_s", "t_d_ci_hi_s",
		"quiet", "alarms", "alarms_ci_lo_percent", "alarms_ci_hi_percent"}}
	var b strings.Builder
	b.WriteString("Each panel is a threshold of the detector, each point one of its values (written beside it): the " +
		"time by which half of the faults were detected, misses censored (whisker: 95% interval by Greenwood's formula, " +
		"open above if the trials do not bound it), over the share of trials that must have no alarm, without a fault or " +
		"with one that is undone after a time, and had one (whisker: exact 95% interval of Clopper and Pearson). A cross: " +
		"not half of the faults were detected. Left and low is good.\n")
	for _, name := range set.Swept() {
		points, err := set.Sweep(name, level)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		p := sweepPanel{name: name}
		var faults, quiet []string
		for _, pt := range points {
			iv, err := stats.ClopperPearson(pt.Alarms, pt.N, level)
			if err != nil || len(pt.Lives) == 0 {
				continue // the plane needs both
			}
			m := sweepMark{
				SweepPoint: pt,
				share:      100 * float64(pt.Alarms) / float64(pt.N),
				alarms:     stats.Interval{Lo: 100 * iv.Lo, Hi: 100 * iv.Hi},
			}
			s, err := stats.KaplanMeier(pt.Lives, level)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			row := []string{set.Host, name, strconv.FormatInt(pt.Value, 10), pt.Arm, strconv.Itoa(s.N), strconv.Itoa(s.Events),
				"", "", "", strconv.Itoa(pt.N), strconv.Itoa(pt.Alarms), analysis.Number(m.alarms.Lo), analysis.Number(m.alarms.Hi)}
			if q, ok := s.Quantile(0.5); ok {
				q.Time, q.Lo, q.Hi = q.Time/1e3, q.Lo/1e3, q.Hi/1e3
				m.td = &q
				row[6], row[7] = analysis.Number(q.Time), analysis.Number(q.Lo)
				if !math.IsInf(q.Hi, 1) {
					row[8] = analysis.Number(q.Hi)
				}
			}
			values = append(values, row)
			p.marks = append(p.marks, m)
			if !slices.Contains(arms, pt.Arm) {
				arms = append(arms, pt.Arm)
			}
			faults, quiet = append(faults, pt.Faults...), append(quiet, pt.Quiet...)
		}
		if len(p.marks) == 0 {
			continue
		}
		for _, names := range []*[]string{&faults, &quiet} {
			slices.Sort(*names)
			*names = slices.Compact(*names)
		}
		p.quiet = strings.Join(quiet, "; ")
		fmt.Fprintf(&b, "  %s: faults %s (n = %d a value); no alarm is right for %s (n = %d a value).\n", name,
			strings.Join(faults, "; "), len(p.marks[0].Lives), p.quiet, p.marks[0].N)
		panels = append(panels, p)
	}
	if len(panels) == 0 {
		return nil, nil
	}
	slices.Sort(arms)
	return &Figure{
		says:   b.String(),
		values: values,
		height: headHeight + foot + 6 + vg.Length((len(panels)+sweepColumns-1)/sweepColumns)*sweepRow,
		paint:  func(c draw.Canvas) { drawSweep(c, panels, arms) },
	}, nil
}

func drawSweep(c draw.Canvas, panels []sweepPanel, arms []string) {
	subtitle(c, "Time by which half of the faults were detected, over false alarms; beside each point the threshold")
	var keys []key
	for i, a := range arms {
		keys = append(keys, key{a, func(c *draw.Canvas, at vg.Point) { sweepDot(c, at, lineStyle(i, len(arms))) }})
	}
	legend := drawLegend(c, append(keys, whiskerKey("95% interval", rangeLine)))
	body := draw.Crop(c, 0, 0, legend, -headHeight)
	row := (body.Max.Y - body.Min.Y) / vg.Length((len(panels)+sweepColumns-1)/sweepColumns)
	breadth := (body.Max.X - body.Min.X) / sweepColumns
	for i, p := range panels {
		at := body
		at.Min.X += breadth * vg.Length(i%sweepColumns)
		at.Max.X = at.Min.X + breadth - 8
		at.Max.Y -= row * vg.Length(i/sweepColumns)
		at.Min.Y = at.Max.Y - row + 8
		p.draw(at, arms)
	}
}

func (s *sweepPanel) draw(c draw.Canvas, arms []string) {
	c.FillText(textStyle(textSize, black, text.XLeft, text.YTop), vg.Point{X: c.Min.X + 4, Y: c.Max.Y}, s.name)
	q := newPlot()
	q.Y.Tick.Length = 3
	most := 0.0
	missed := false
	for _, m := range s.marks {
		if m.td == nil {
			missed = true
			continue
		}
		most = max(most, m.td.Time)
		for _, l := range m.Lives {
			if !l.Censored {
				most = max(most, l.Time/1e3)
			}
		}
	}
	if most == 0 {
		most = 1
	}
	q.Y.Min, q.Y.Max = 0, most*1.12
	marks := ticks{n: 4, limit: q.Y.Max}
	if missed { // they have a strip of their own above the others
		q.Y.Max = most * 1.3
		marks.limit = most * 1.1
	}
	q.X.Min, q.X.Max = -4, 104
	q.X.Tick.Marker = plot.ConstantTicks{
		{Value: 0, Label: "0"}, {Value: 25}, {Value: 50, Label: "50%"}, {Value: 75}, {Value: 100, Label: "100%"},
	}
	q.Y.Tick.Marker = marks
	q.X.Label.Text = "false alarms"
	if label := q.X.Label.Text + ": " + s.quiet; textStyle(textSize, black, 0, 0).Width(label) < c.Max.X-c.Min.X-20 {
		q.X.Label.Text = label
	}
	q.Y.Label.Text = "T_D (s)"
	q.Add(guidesY{}, sweepPlotter{s, arms, most * 1.2})
	q.Draw(draw.Crop(c, 0, 0, 0, -10))
}

type sweepPlotter struct {
	p     *sweepPanel
	arms  []string
	strip float64 // where marks without a time are drawn
}

func (s sweepPlotter) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	at := func(m *sweepMark) vg.Point {
		if m.td == nil {
			return vg.Point{X: x(m.share), Y: y(s.strip)}
		}
		return vg.Point{X: x(m.share), Y: y(m.td.Time)}
	}
	for i := range s.p.marks {
		m := &s.p.marks[i]
		whisker(&c, x(m.alarms.Lo), x(m.alarms.Hi), at(m).Y, draw.LineStyle{Color: lightGrey})
	}
	for j, arm := range s.arms {
		style := lineStyle(j, len(s.arms))
		var line []vg.Point
		for i := range s.p.marks {
			if m := &s.p.marks[i]; m.Arm == arm && m.td != nil {
				line = append(line, at(m))
				if math.IsInf(m.td.Hi, 1) { // open above
					c.StrokeLine2(rangeLine, at(m).X, y(m.td.Lo), at(m).X, c.Max.Y)
				} else {
					upright(&c, at(m).X, y(m.td.Lo), min(y(m.td.Hi), c.Max.Y), rangeLine)
				}
			}
		}
		if len(line) > 1 {
			c.StrokeLines(draw.LineStyle{Color: style.Color, Width: 0.8, Dashes: style.Dashes}, line)
		}
		for i := range s.p.marks {
			m := &s.p.marks[i]
			switch {
			case m.Arm != arm:
			case m.td == nil:
				c.DrawGlyph(missMark, at(m))
			default:
				sweepDot(&c, at(m), style)
			}
		}
	}
	s.label(c, at)
}

// label writes the value of the threshold beside each point: to the right if there is
// space, else to the left, and higher if another label is there.
func (s sweepPlotter) label(c draw.Canvas, at func(*sweepMark) vg.Point) {
	sty := textStyle(textSize-1, black, text.XLeft, text.YCenter)
	const line = vg.Length(7) // height of a label
	order := make([]*sweepMark, len(s.p.marks))
	for i := range s.p.marks {
		order[i] = &s.p.marks[i]
	}
	slices.SortStableFunc(order, func(a, b *sweepMark) int { return cmp.Compare(at(a).Y, at(b).Y) })
	var taken []vg.Rectangle
	for _, m := range order {
		name := strconv.FormatInt(m.Value, 10)
		pt := at(m)
		w := sty.Width(name)
		left := pt.X + 5
		if left+w > c.Max.X {
			left = pt.X - 5 - w
		}
		y := max(pt.Y, c.Min.Y+line/2)
		clash := func() bool {
			return slices.ContainsFunc(taken, func(r vg.Rectangle) bool {
				return left < r.Max.X && r.Min.X < left+w && y-line/2 < r.Max.Y && r.Min.Y < y+line/2
			})
		}
		for clash() {
			y++
		}
		place := vg.Rectangle{Min: vg.Point{X: left, Y: y - line/2}, Max: vg.Point{X: left + w, Y: y + line/2}}
		taken = append(taken, place)
		rectangle(&c, white, place.Min.X-1, place.Min.Y, place.Max.X+1, place.Max.Y)
		c.FillText(sty, vg.Point{X: left, Y: y + 1}, name)
	}
}

func sweepDot(c *draw.Canvas, at vg.Point, style draw.LineStyle) {
	c.DrawGlyph(draw.GlyphStyle{Color: style.Color, Radius: 2.2, Shape: draw.CircleGlyph{}}, at)
}
