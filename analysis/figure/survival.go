package figure

import (
	"fmt"
	"image/color"
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

// watchdog is one of Linux' own, which sees a hang from inside.
type watchdog struct {
	name     string
	detector string  // as in records
	ms       float64 // its threshold as Linux sets it, in milliseconds
}

// watchdogs are those of the kernel with its default thresholds: twice
// watchdog_thresh of 10 s, CONFIG_RCU_CPU_STALL_TIMEOUT of 21 s and
// CONFIG_DEFAULT_HUNG_TASK_TIMEOUT of 120 s (Linux' admin guide on lockup
// watchdogs, its document on RCU stalls, lib/Kconfig.debug). They are drawn for
// comparison where they were not measured.
func watchdogs() []watchdog {
	return []watchdog{{"soft lockup", "soft-lockup", 20e3}, {"RCU stall", "rcu-stall", 21e3}, {"hung task", "hung-task", 120e3}}
}

// curve is the survival of one arm's hangs, or of those that one of the guest's
// own watchdogs listened to.
type curve struct {
	label string
	own   bool // of the guest
	s     *stats.Survival
	lives []stats.Lifetime
}

// level is the confidence level of all intervals drawn.
const level = 0.95

// lineStyle tells curves apart by colour and, for print, by dash. Those drawn first
// are broader, so that equal curves are all seen.
func lineStyle(i, n int) draw.LineStyle {
	colors := []color.Color{blue, vermilion, green, purple, orange, skyBlue, black, grey}
	dashes := [][]vg.Length{nil, {5, 2}, {1.5, 1.5}, {7, 2, 1.5, 2}}
	return draw.LineStyle{Color: colors[i%len(colors)], Width: 1 + 1.4*vg.Length(n-1-i)/vg.Length(max(n-1, 1)), Dashes: dashes[i%len(dashes)]}
}

// survival draws the share of hangs not yet detected over time, a curve for each
// monitored arm over all its faults.
func survival(set *analysis.Set) (*Figure, error) {
	var curves []*curve
	var scenarios []string
	for _, c := range set.Cells {
		if !c.Fault || !c.Watched() {
			continue
		}
		lives := c.Lifetimes()
		if len(lives) == 0 {
			continue
		}
		if !slices.Contains(scenarios, c.Title()) {
			scenarios = append(scenarios, c.Title())
		}
		i := slices.IndexFunc(curves, func(x *curve) bool { return x.label == c.Label })
		if i < 0 {
			i = len(curves)
			curves = append(curves, &curve{label: c.Label})
		}
		curves[i].lives = append(curves[i].lives, lives...)
	}
	if len(curves) == 0 {
		return nil, nil
	}
	slices.SortFunc(curves, func(a, b *curve) int { return strings.Compare(a.label, b.label) })
	owns := set.Watchdogs()
	several := slices.ContainsFunc(owns, func(w *analysis.Watchdog) bool { return w.Setting != owns[0].Setting })
	measured := make(map[string]bool)
	var absent []string
	for _, w := range owns {
		name := "guest's " + w.Detector
		if several {
			name += ", " + w.Setting
		}
		switch {
		case len(w.Lives) > 0:
			curves = append(curves, &curve{label: name, own: true, lives: w.Lives})
			measured[w.Detector] = true
		case w.Absent > 0 && !slices.Contains(absent, w.Detector):
			absent = append(absent, w.Detector)
		}
	}
	var limits []watchdog // of those that were not measured
	for _, w := range watchdogs() {
		if !measured[w.detector] {
			limits = append(limits, w)
		}
	}
	f := &Figure{
		Name: "survival", Title: "Hangs not yet detected, over time", width: width,
		height: 2.5*vg.Inch + vg.Length((len(curves)+2)/3)*10,
		rows:   [][]string{{"host", "arm", "time_ms", "at_risk", "detected", "censored_before", "undetected", "ci_lo", "ci_hi"}},
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\nThe share of hangs that a monitor has not detected yet, over the time since the fault, by Kaplan and Meier: "+
		"a miss is censored at its deadline (tick), where nobody looked any longer. Over the faults %s, each as often as it was tried. "+
		"Bands: Greenwood's 95%% interval, drawn for up to three curves.",
		set.Caption(), strings.Join(scenarios, ", "))
	if len(measured) > 0 {
		b.WriteString(" Grey to black: the guest's own watchdogs in the same trials, without a report censored when they were no longer listened to.")
	}
	if len(absent) > 0 {
		fmt.Fprintf(&b, " Not in these guests, or off: %s.", strings.Join(absent, ", "))
	}
	if len(limits) > 0 {
		b.WriteString(" Dashed: thresholds of Linux' own watchdogs inside the guest as it sets them, not measured here.")
	}
	b.WriteString("\n")
	for _, c := range curves {
		s, err := stats.KaplanMeier(c.lives, level)
		if err != nil {
			return nil, fmt.Errorf("figure: %s: %w", c.label, err)
		}
		c.s = s
		fmt.Fprintf(&b, "  %s: %d of %d detected", c.label, s.Events, s.N)
		if q, ok := s.Quantile(0.5); ok {
			fmt.Fprintf(&b, ", half of them by %.1f ms", q.Time)
		}
		b.WriteString(".\n")
		for _, st := range s.Steps {
			row := []string{set.Host, c.label, number(st.Time), strconv.Itoa(st.AtRisk), strconv.Itoa(st.Events), strconv.Itoa(st.Censored), number(st.Share), "", ""}
			if st.CI != nil {
				row[7], row[8] = number(st.CI.Lo), number(st.CI.Hi)
			}
			f.rows = append(f.rows, row)
		}
		for _, l := range c.lives {
			if l.Censored {
				f.rows = append(f.rows, []string{set.Host, c.label, number(l.Time), "", "0", "1", number(s.At(l.Time)), "", ""})
			}
		}
	}
	f.caption = b.String()
	f.paint = func(c draw.Canvas) { drawSurvival(sheet(c, set.Caption()), curves, limits) }
	return f, nil
}

func drawSurvival(c draw.Canvas, curves []*curve, limits []watchdog) {
	first, last := math.Inf(1), 0.0
	for _, k := range curves {
		last = max(last, k.s.Last)
		for _, l := range k.lives {
			if l.Time > 0 {
				first = min(first, l.Time)
			}
		}
	}
	p := newPlot()
	p.Y.Tick.Length = 3
	if math.IsInf(first, 1) {
		first = 1
	}
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, seconds{}
	p.X.Min = math.Pow(10, math.Floor(math.Log10(first*0.9)*4)/4)
	p.X.Max = max(last*1.15, 150e3)
	p.X.Label.Text = "time since the fault (log scale)"
	p.Y.Label.Text = "share not yet detected"
	p.Y.Min, p.Y.Max = 0, 1.03
	p.Y.Tick.Marker = plot.ConstantTicks{{Value: 0, Label: "0"}, {Value: 0.25}, {Value: 0.5, Label: "0.5"}, {Value: 0.75}, {Value: 1, Label: "1"}}
	p.Add(logGuides{}, survivalPlotter{curves, limits})
	rows := (len(curves) + 2) / 3
	legend := vg.Length(rows)*10 + 6
	c.FillText(textStyle(textSize, grey, text.XLeft, text.YTop), vg.Point{X: c.Min.X, Y: c.Max.Y - 13}, "Hangs not yet detected")
	sty := textStyle(textSize, black, text.XLeft, text.YCenter)
	for i, k := range curves {
		at := vg.Point{X: c.Min.X + 30 + vg.Length(i%3)*(c.Max.X-c.Min.X-30)/3, Y: c.Min.Y + legend - 6 - vg.Length(i/3)*10}
		c.StrokeLine2(styleOf(curves, i), at.X, at.Y, at.X+18, at.Y)
		c.FillText(sty, vg.Point{X: at.X + 22, Y: at.Y}, fmt.Sprintf("%s (%d of %d)", k.label, k.s.Events, k.s.N))
	}
	p.Draw(draw.Crop(c, 0, 0, legend+2, -head))
}

type survivalPlotter struct {
	curves []*curve
	limits []watchdog
}

// styleOf is the style of the i-th curve: those of the guest's own watchdogs,
// which come last, are grey to black.
func styleOf(curves []*curve, i int) draw.LineStyle {
	ours := slices.IndexFunc(curves, func(k *curve) bool { return k.own })
	if ours < 0 || i < ours {
		if ours < 0 {
			ours = len(curves)
		}
		return lineStyle(i, ours)
	}
	n := len(curves) - ours
	light := uint8(150 - 150*(i-ours)/max(n-1, 1))
	style := lineStyle(i-ours+1, n+1)
	style.Color = color.NRGBA{light, light, light, 255}
	return style
}

func (s survivalPlotter) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	left := func(ms float64) vg.Length { return max(x(max(ms, p.X.Min)), c.Min.X) }
	sty := textStyle(textSize-1, grey, text.XRight, text.YTop)
	sty.Rotation = math.Pi / 2
	for i, w := range s.limits {
		if w.ms >= p.X.Max {
			continue
		}
		c.StrokeLine2(breakLine, x(w.ms), c.Min.Y, x(w.ms), c.Max.Y)
		at := vg.Point{X: x(w.ms) - 9.5, Y: c.Max.Y - 2}
		if i > 0 && x(w.ms)-x(s.limits[i-1].ms) < 12 {
			at.X = x(w.ms) + 2 // close to the one before
		}
		c.FillText(sty, at, w.name)
	}
	for i, k := range s.curves {
		style := styleOf(s.curves, i)
		if len(s.curves) <= 3 {
			r, g, b, _ := style.Color.RGBA()
			band := color.NRGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), 40}
			for j, st := range k.s.Steps {
				if st.CI == nil {
					continue
				}
				to := k.s.Last
				if j+1 < len(k.s.Steps) {
					to = k.s.Steps[j+1].Time
				}
				x0, x1, y0, y1 := left(st.Time), left(to), y(st.CI.Lo), y(st.CI.Hi)
				c.FillPolygon(band, []vg.Point{{X: x0, Y: y0}, {X: x1, Y: y0}, {X: x1, Y: y1}, {X: x0, Y: y1}})
			}
		}
		pts := []vg.Point{{X: c.Min.X, Y: y(1)}}
		share := 1.0
		for _, st := range k.s.Steps {
			pts = append(pts, vg.Point{X: left(st.Time), Y: y(share)}, vg.Point{X: left(st.Time), Y: y(st.Share)})
			share = st.Share
		}
		pts = append(pts, vg.Point{X: left(k.s.Last), Y: y(share)})
		c.StrokeLines(style, pts)
		for _, l := range k.lives {
			if l.Censored {
				at := y(k.s.At(l.Time))
				c.StrokeLine2(draw.LineStyle{Color: style.Color, Width: 1.2}, left(l.Time), at-3, left(l.Time), at+3)
			}
		}
	}
}

// seconds labels decades of milliseconds.
type seconds struct{}

func (seconds) Ticks(min, max float64) []plot.Tick {
	var out []plot.Tick
	for decade := math.Pow(10, math.Floor(math.Log10(min))); decade <= max; decade *= 10 {
		for m := 1.0; m < 10; m++ {
			v := m * decade
			if v < min || v > max {
				continue
			}
			t := plot.Tick{Value: v}
			if m == 1 || (m == 3 && max/min < 1e4) {
				if v >= 1000 {
					t.Label = fmt.Sprintf("%g s", v/1000)
				} else {
					t.Label = fmt.Sprintf("%g ms", v)
				}
			}
			out = append(out, t)
		}
	}
	return out
}

// logGuides are guides for both axes.
type logGuides struct{}

func (logGuides) Plot(c draw.Canvas, p *plot.Plot) {
	guides{}.Plot(c, p)
	_, y := p.Transforms(&c)
	for _, t := range p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max) {
		if t.Value > p.Y.Min {
			c.StrokeLine2(guideLine, c.Min.X, y(t.Value), c.Max.X, y(t.Value))
		}
	}
}
