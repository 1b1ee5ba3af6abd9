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

// limit is the threshold of one of Linux' own watchdogs, which detect a hang from
// inside.
type limit struct {
	name     string
	detector string  // as in records
	ms       float64 // threshold as Linux sets it, in milliseconds
}

// linuxLimits returns the default thresholds of the kernel: twice watchdog_thresh of
// 10 s, CONFIG_RCU_CPU_STALL_TIMEOUT of 21 s and CONFIG_DEFAULT_HUNG_TASK_TIMEOUT of
// 120 s (Linux' admin guide on lockup watchdogs, its document on RCU stalls,
// lib/Kconfig.debug). They are drawn for comparison where the watchdog was not measured.
func linuxLimits() []limit {
	return []limit{
		{"soft lockup", "soft-lockup", 20e3}, {"RCU stall", "rcu-stall", 21e3}, {"hung task", "hung-task", 120e3},
	}
}

// curve is the survival of the hangs that one arm watched, or another observer.
type curve struct {
	label string
	other bool // an observer beside our monitor
	s     *stats.Survival
	lives []stats.Lifetime // in milliseconds
}

// hangs is the model of a figure of survival.
type hangs struct {
	curves []*curve // those of arms by label, then those of other observers
	limits []limit  // of watchdogs that were not measured
}

// survival draws the share of hangs not yet detected over time. Each arm with a monitor
// has a curve over all its faults.
func survival(set *analysis.Set) (*Figure, error) {
	if len(set.Swept()) > 0 {
		return nil, nil // a curve for each setting would not be readable
	}
	var h hangs
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
		i := slices.IndexFunc(h.curves, func(x *curve) bool { return x.label == c.Label })
		if i < 0 {
			i = len(h.curves)
			h.curves = append(h.curves, &curve{label: c.Label})
		}
		h.curves[i].lives = append(h.curves[i].lives, lives...)
	}
	if len(h.curves) == 0 {
		return nil, nil
	}
	slices.SortFunc(h.curves, func(a, b *curve) int { return strings.Compare(a.label, b.label) })
	absent := h.addOthers(set.Watchdogs())
	for _, c := range h.curves {
		s, err := stats.KaplanMeier(c.lives, level)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.label, err)
		}
		c.s = s
	}
	return &Figure{
		says:   h.caption(scenarios, absent),
		values: h.values(set.Host),
		height: 2.5*vg.Inch + vg.Length(h.legendLines())*10,
		paint:  h.draw,
	}, nil
}

// observerName is the name of an observer beside our monitor, as readers know it.
func observerName(observer string) string {
	switch observer {
	case "soft-lockup", "hard-lockup", "rcu-stall", "hung-task":
		return "guest's " + observer
	case "xen":
		return "Xen's watchdog"
	}
	return observer
}

// addOthers adds the curves of other observers, and the limits of watchdogs that were not
// measured. It returns the names of observers that did not watch.
func (h *hangs) addOthers(others []*analysis.Watchdog) (absent []string) {
	several := slices.ContainsFunc(others, func(w *analysis.Watchdog) bool { return w.Setting != others[0].Setting })
	measured := make(map[string]bool)
	for _, w := range others {
		name := observerName(w.Detector)
		if several {
			name += ", " + w.Setting
		}
		switch {
		case len(w.Lives) > 0:
			h.curves = append(h.curves, &curve{label: name, other: true, lives: w.Lives})
			measured[w.Detector] = true
		case w.Absent > 0 && !slices.Contains(absent, w.Detector):
			absent = append(absent, w.Detector)
		}
	}
	for _, w := range linuxLimits() {
		if !measured[w.detector] {
			h.limits = append(h.limits, w)
		}
	}
	return absent
}

func (h *hangs) caption(scenarios, absent []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "The share of hangs that a monitor has not detected yet, over the time since the fault, by Kaplan "+
		"and Meier: a miss is censored at its deadline (tick), where nobody looked any longer. Over the faults %s, each as "+
		"often as it was tried. Bands: Greenwood's 95%% interval, drawn for up to three curves.",
		strings.Join(scenarios, ", "))
	if slices.ContainsFunc(h.curves, func(c *curve) bool { return c.other }) {
		b.WriteString(" Grey to black: other observers of the same trials; without a report a trial is censored when " +
			"they stopped watching.")
	}
	if len(absent) > 0 {
		fmt.Fprintf(&b, " Not in these guests, or off: %s.", strings.Join(absent, ", "))
	}
	if len(h.limits) > 0 {
		b.WriteString(" Dashed: thresholds of Linux' own watchdogs inside the guest as it sets them, not measured here.")
	}
	b.WriteString("\n")
	for _, c := range h.curves {
		fmt.Fprintf(&b, "  %s: %d of %d detected", c.label, c.s.Events, c.s.N)
		if q, ok := c.s.Quantile(0.5); ok {
			fmt.Fprintf(&b, ", half of them by %.1f ms", q.Time)
		}
		b.WriteString(".\n")
	}
	return b.String()
}

// values has a row for each step of a curve and for each censored trial.
func (h *hangs) values(host string) [][]string {
	all := [][]string{{"host", "arm", "time_ms", "at_risk", "detected", "censored_before", "undetected", "ci_lo", "ci_hi"}}
	for _, c := range h.curves {
		for _, st := range c.s.Steps {
			row := []string{host, c.label, analysis.Number(st.Time), strconv.Itoa(st.AtRisk), strconv.Itoa(st.Events),
				strconv.Itoa(st.Censored), analysis.Number(st.Share), "", ""}
			if st.CI != nil {
				row[7], row[8] = analysis.Number(st.CI.Lo), analysis.Number(st.CI.Hi)
			}
			all = append(all, row)
		}
		for _, l := range c.lives {
			if l.Censored {
				all = append(all, []string{host, c.label, analysis.Number(l.Time), "", "0", "1",
					analysis.Number(c.s.At(l.Time)), "", ""})
			}
		}
	}
	return all
}

// legendLines is the number of lines of the legend, three curves each.
func (h *hangs) legendLines() int { return (len(h.curves) + 2) / 3 }

func (h *hangs) draw(c draw.Canvas) {
	first, last := 11e3, 0.0 // in milliseconds
	for _, k := range h.curves {
		last = max(last, k.s.Last)
		for _, l := range k.lives {
			if l.Time > 0 {
				first = min(first, l.Time)
			}
		}
	}
	p := newPlot()
	p.Y.Tick.Length = 3
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, seconds{}
	// All limits of Linux are on the axis.
	p.X.Min = math.Pow(10, math.Floor(math.Log10(first*0.9)*4)/4) // a quarter of a decade before the first
	p.X.Max = max(last*1.15, 150e3)
	p.X.Label.Text = "time since the fault (log scale)"
	p.Y.Label.Text = "share not yet detected"
	p.Y.Min, p.Y.Max = 0, 1.03
	p.Y.Tick.Marker = plot.ConstantTicks{
		{Value: 0, Label: "0"}, {Value: 0.25}, {Value: 0.5, Label: "0.5"}, {Value: 0.75}, {Value: 1, Label: "1"},
	}
	p.Add(guidesX{}, guidesY{}, h)
	legend := vg.Length(h.legendLines())*10 + 6
	subtitle(c, "Hangs not yet detected")
	sty := textStyle(textSize, black, text.XLeft, text.YCenter)
	column := (c.Max.X - c.Min.X - 30) / 3
	for i, k := range h.curves {
		at := vg.Point{
			X: c.Min.X + 30 + vg.Length(i%3)*column,
			Y: c.Min.Y + legend - 6 - vg.Length(i/3)*10,
		}
		c.StrokeLine2(h.style(i), at.X, at.Y, at.X+18, at.Y)
		count := fmt.Sprintf(" (%d of %d)", k.s.Events, k.s.N)
		label := cut(sty, k.label, column-22-4-sty.Width(count))
		c.FillText(sty, vg.Point{X: at.X + 22, Y: at.Y}, label+count)
	}
	p.Draw(draw.Crop(c, 0, 0, legend+2, -headHeight))
}

// style returns the style of curve i. The curves of other observers are grey to black.
func (h *hangs) style(i int) draw.LineStyle {
	ours := 0
	for _, k := range h.curves {
		if !k.other {
			ours++
		}
	}
	if i < ours {
		return lineStyle(i, ours)
	}
	n := len(h.curves) - ours
	light := uint8(150 - 150*(i-ours)/max(n-1, 1))
	style := lineStyle(i-ours+1, n+1)
	style.Color = color.NRGBA{light, light, light, 255}
	return style
}

// Plot draws the limits and the curves.
func (h *hangs) Plot(c draw.Canvas, p *plot.Plot) {
	h.drawLimits(c, p)
	_, y := p.Transforms(&c)
	for i, k := range h.curves {
		style := h.style(i)
		if len(h.curves) <= 3 {
			drawBand(c, p, k, style.Color)
		}
		pts := []vg.Point{{X: c.Min.X, Y: y(1)}}
		share := 1.0
		for _, st := range k.s.Steps {
			at := inside(c, p, st.Time)
			pts = append(pts, vg.Point{X: at, Y: y(share)}, vg.Point{X: at, Y: y(st.Share)})
			share = st.Share
		}
		pts = append(pts, vg.Point{X: inside(c, p, k.s.Last), Y: y(share)})
		c.StrokeLines(style, pts)
		for _, l := range k.lives {
			if l.Censored {
				at := y(k.s.At(l.Time))
				tick := draw.LineStyle{Color: style.Color, Width: 1.2}
				c.StrokeLine2(tick, inside(c, p, l.Time), at-3, inside(c, p, l.Time), at+3)
			}
		}
	}
}

// inside returns the position of a time on the x axis. Times before its lower end, such
// as 0 on a log scale, are drawn there.
func inside(c draw.Canvas, p *plot.Plot, ms float64) vg.Length {
	x, _ := p.Transforms(&c)
	return x(max(ms, p.X.Min))
}

// drawLimits draws the thresholds of Linux' own watchdogs with their names, which stand
// at the top of the panel, or at its bottom if a curve is at the top.
func (h *hangs) drawLimits(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	sty := textStyle(textSize-1, grey, text.XRight, text.YTop)
	sty.Rotation = math.Pi / 2
	y := c.Max.Y - 2
	for _, k := range h.curves {
		if len(h.limits) > 0 && k.s.Last >= h.limits[0].ms && k.s.At(h.limits[0].ms) > 0.7 {
			sty.XAlign, y = text.XLeft, c.Min.Y+3
		}
	}
	for i, w := range h.limits {
		c.StrokeLine2(breakLine, x(w.ms), c.Min.Y, x(w.ms), c.Max.Y)
		at := vg.Point{X: x(w.ms) - 9.5, Y: y}
		if i > 0 && x(w.ms)-x(h.limits[i-1].ms) < 12 {
			at.X = x(w.ms) + 2 // to the right, because the line before is close
		}
		c.FillText(sty, at, w.name)
	}
}

// drawBand fills the intervals of a curve.
func drawBand(c draw.Canvas, p *plot.Plot, k *curve, of color.Color) {
	_, y := p.Transforms(&c)
	r, g, b, _ := of.RGBA()
	band := color.NRGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), 40}
	for j, st := range k.s.Steps {
		if st.CI == nil {
			continue
		}
		to := k.s.Last
		if j+1 < len(k.s.Steps) {
			to = k.s.Steps[j+1].Time
		}
		rectangle(&c, band, inside(c, p, st.Time), y(st.CI.Lo), inside(c, p, to), y(st.CI.Hi))
	}
}

// seconds are the ticks of a log scale of milliseconds: one for each round number, with
// a label at each decade, and at three times a decade if there are few decades.
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
