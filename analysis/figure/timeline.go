package figure

import (
	"cmp"
	"errors"
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
)

// Timeline is one trial as its monitor saw it, sample by sample.
type Timeline struct {
	Host      string // lab or xen
	Scenario  string
	Mechanism string
	Guest     string // in a few words
	Samples   []TimelineSample
	// Fault says that there was one: its instant is 0. Without, 0 is the first
	// sample.
	Fault bool
	// VerdictNS is the time of the verdict, Verdict its class; empty if there was
	// none.
	VerdictNS int64
	Verdict   string
	// Lifted says that the fault was taken back, LiftedNS when.
	Lifted   bool
	LiftedNS int64
}

// TimelineSample is the guest at one instant.
type TimelineSample struct {
	NS    int64 // of dom0's clock
	VCPUs []TimelineVCPU
	// Violations are EPT violations as the hypervisor traced them; nil if it did not.
	Violations *TimelineViolations
}

// TimelineViolations counts EPT violations by class, since some instant before
// the first sample.
type TimelineViolations struct {
	Permission, Lazy, Other uint64
}

// TimelineVCPU is one vCPU in a sample. Counters are since some instant before
// the first sample.
type TimelineVCPU struct {
	RunNS    uint64 // time on a physical CPU
	Switches uint64 // of tasks, as the guest counts them; 0 if it could not be read
	Signals  uint64 // that the mechanism saw
	Task     string // that runs, empty if it is not known or the idle task
}

// interval is what happened between two samples.
type interval struct {
	from, to          float64 // seconds
	run               []float64
	switches, signals float64   // a second, all vCPUs together; switches negative if not known
	violations        []float64 // a second, by class as in violationClasses; nil if not known
}

// violationClasses are what the violations of a time line are told apart by.
var violationClasses = []string{"permission", "lazy", "other"}

// maxSamples bounds a time line: more cannot be told apart at the width of a page.
const maxSamples = 20000

func (t *Timeline) intervals() ([]interval, error) {
	if len(t.Samples) < 2 {
		return nil, errors.New("figure: a time line needs two samples")
	}
	if len(t.Samples) > maxSamples {
		return nil, fmt.Errorf("figure: %d samples are more than a time line can show: %d", len(t.Samples), maxSamples)
	}
	n := len(t.Samples[0].VCPUs)
	var all []interval
	for i := 1; i < len(t.Samples); i++ {
		a, b := &t.Samples[i-1], &t.Samples[i]
		if len(b.VCPUs) != n || n == 0 {
			return nil, fmt.Errorf("figure: sample %d has %d vCPUs, the first %d", i, len(b.VCPUs), n)
		}
		seconds := float64(b.NS-a.NS) / 1e9
		if !(seconds > 0) {
			return nil, fmt.Errorf("figure: sample %d is not after the one before", i)
		}
		v := interval{from: float64(a.NS) / 1e9, to: float64(b.NS) / 1e9}
		for j := range n {
			was, is := &a.VCPUs[j], &b.VCPUs[j]
			v.run = append(v.run, min(1, max(0, float64(int64(is.RunNS-was.RunNS))/1e9/seconds)))
			v.signals += max(0, float64(int64(is.Signals-was.Signals))) / seconds
			if was.Switches == 0 || is.Switches == 0 {
				v.switches = math.Inf(-1)
			}
			v.switches += max(0, float64(int64(is.Switches-was.Switches))) / seconds
		}
		v.switches = max(v.switches, -1)
		if was, is := a.Violations, b.Violations; was != nil && is != nil {
			for _, n := range []int64{int64(is.Permission - was.Permission), int64(is.Lazy - was.Lazy), int64(is.Other - was.Other)} {
				v.violations = append(v.violations, max(0, float64(n))/seconds)
			}
		}
		all = append(all, v)
	}
	return all, nil
}

// Figure is the time line as a figure. It fails when the samples are fewer than
// two, out of order, or not of one number of vCPUs.
func (t *Timeline) Figure() (*Figure, error) {
	intervals, err := t.intervals()
	if err != nil {
		return nil, err
	}
	n := len(t.Samples[0].VCPUs)
	f := &Figure{
		Name: "timeline", Title: "One trial as its monitor saw it", width: width, height: 2.55*vg.Inch + vg.Length(n)*24,
		rows: [][]string{{"host", "scenario", "mechanism", "from_s", "to_s", "switches_per_s", "signals_per_s"}},
	}
	if traced(intervals) {
		f.height += violationsHeight
	}
	for _, class := range violationClasses {
		f.rows[0] = append(f.rows[0], "ept_"+class+"_per_s")
	}
	for j := range n {
		f.rows[0] = append(f.rows[0], fmt.Sprintf("vcpu%d_run_share", j))
	}
	for _, v := range intervals {
		row := []string{t.Host, t.Scenario, t.Mechanism, number(v.from), number(v.to), "", number(v.signals)}
		if v.switches >= 0 {
			row[5] = number(v.switches)
		}
		for i := range violationClasses {
			cell := ""
			if v.violations != nil {
				cell = number(v.violations[i])
			}
			row = append(row, cell)
		}
		for _, share := range v.run {
			row = append(row, number(share))
		}
		f.rows = append(f.rows, row)
	}
	f.caption = t.caption(traced(intervals))
	f.paint = func(c draw.Canvas) { t.draw(sheet(c, t.title()), intervals) }
	return f, nil
}

func (t *Timeline) title() string {
	note := ""
	if t.Host == "lab" {
		note = " (emulated; virtual time)"
	}
	return fmt.Sprintf("host: %s%s; %s; %s; guest: %s", t.Host, note, t.Scenario, t.Mechanism, t.Guest)
}

func (t *Timeline) caption(traced bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\nOne trial as its monitor saw it, sample by sample. Above: task switches of the guest a second, as its own run queues count them, and the signals of the mechanism, "+
		"which sees fewer, on purpose. ", t.title())
	if traced {
		b.WriteString("In the middle: EPT violations of the guest a second by class, on a logarithmic axis, as the hypervisor traced them: permission, on the frame that the monitor restricts; lazy, an altp2m view filled; " +
			"other, devices and large pages. Those before the first sample, while the monitor attached, are not shown. ")
	}
	b.WriteString("Below: the share of the time that each vCPU ran, full height being all of it, and below it the task that ran when it was sampled, where it changed. ")
	switch {
	case !t.Fault:
		b.WriteString("There was no fault; 0 is the first sample.")
	case t.Verdict != "":
		fmt.Fprintf(&b, "0 is the instant of the fault; the verdict, %s, came %.3f s later.", t.Verdict, float64(t.VerdictNS)/1e9)
	default:
		b.WriteString("0 is the instant of the fault; there was no verdict.")
	}
	if t.Fault && t.Lifted {
		fmt.Fprintf(&b, " The fault was undone after %.3f s.", float64(t.LiftedNS)/1e9)
	}
	if !t.Fault && t.Verdict != "" {
		fmt.Fprintf(&b, " The verdict, %s, is a false alarm.", t.Verdict)
	}
	b.WriteString("\n")
	return b.String()
}

func (t *Timeline) draw(c draw.Canvas, intervals []interval) {
	n := len(t.Samples[0].VCPUs)
	first, last := intervals[0].from, intervals[len(intervals)-1].to
	if t.Verdict != "" {
		last = max(last, float64(t.VerdictNS)/1e9)
	}
	most := 1.0
	known := false
	for _, v := range intervals {
		most = max(most, v.switches, v.signals)
		known = known || v.switches >= 0
	}
	lanes := vg.Length(n)*24 + 34 // with the time axis
	middle := vg.Length(0)
	if traced(intervals) {
		middle = violationsHeight
	}
	p := newPlot()
	p.Y.Tick.Length = 3
	p.X.Min, p.X.Max = first, last+(last-first)*0.01
	p.Y.Min, p.Y.Max = 0, headRoom(most)
	p.Y.Tick.Marker = ticks{n: 4, limit: p.Y.Max}
	p.Y.Label.Text = "switches a second"
	p.X.Tick.Marker = plot.ConstantTicks(nil)
	p.Add(hang{t, last}, rates{intervals, known}, marks{t, true})

	q := newPlot()
	q.X.Min, q.X.Max = p.X.Min, p.X.Max
	q.X.Label.Text = "seconds since the fault"
	if !t.Fault {
		q.X.Label.Text = "seconds"
	}
	q.X.Tick.Marker = timeTicks{}
	q.Y.Min, q.Y.Max = -float64(n)+0.05, 0.05
	var names []plot.Tick
	for j := range n {
		names = append(names, plot.Tick{Value: -float64(j) - 0.42, Label: "vCPU " + strconv.Itoa(j)})
	}
	q.Y.Tick.Marker = plot.ConstantTicks(names)
	q.Add(hang{t, last}, runs{t, intervals}, marks{t, false})

	says := "Task switches of the guest, and those that the mechanism saw; below, how much of the time each vCPU ran"
	if middle > 0 {
		says = "Task switches of the guest, and those that the mechanism saw; EPT violations; how much of the time each vCPU ran"
	}
	c.FillText(textStyle(textSize, grey, text.XLeft, text.YTop), vg.Point{X: c.Min.X, Y: c.Max.Y - 13}, says)
	keys := []key{{"signals of the mechanism", func(c *draw.Canvas, at vg.Point) { box(c, skyBlue, at.X-4, at.Y-3, at.X+4, at.Y+3) }}}
	if known {
		keys = append([]key{{"task switches, as the guest counts", func(c *draw.Canvas, at vg.Point) { c.StrokeLine2(switchLine, at.X-4, at.Y, at.X+4, at.Y) }}}, keys...)
	}
	var m *plot.Plot
	if middle > 0 {
		most := 10.0
		shown := make([]bool, len(violationClasses))
		for _, v := range intervals {
			for i, rate := range v.violations {
				shown[i] = shown[i] || rate > 0
				most = max(most, rate)
			}
		}
		m = newPlot()
		m.Y.Tick.Length = 3
		m.X.Min, m.X.Max = p.X.Min, p.X.Max
		m.Y.Min, m.Y.Max = 1, math.Pow(10, math.Ceil(math.Log10(most)))
		m.Y.Scale, m.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
		m.Y.Label.Text = "violations/s"
		m.X.Tick.Marker = plot.ConstantTicks(nil)
		m.Add(hang{t, last}, ept{intervals}, marks{t, false})
		for i, class := range violationClasses {
			if shown[i] {
				keys = append(keys, key{"EPT " + class, func(c *draw.Canvas, at vg.Point) { box(c, classColor(class), at.X-4, at.Y-3, at.X+4, at.Y+3) }})
			}
		}
	}
	keys = append(keys, key{"vCPU runs", func(c *draw.Canvas, at vg.Point) { box(c, green, at.X-4, at.Y-3, at.X+4, at.Y+3) }})
	drawLegend(c, keys)
	upper := draw.Crop(c, 0, 0, foot+lanes+middle, -head-9) // room for the names of the marks
	lower := draw.Crop(c, 0, 0, foot, 0)
	lower.Max.Y = lower.Min.Y + lanes
	plots, places := []*plot.Plot{p, q}, []draw.Canvas{upper, lower}
	if m != nil {
		between := draw.Crop(c, 0, 0, foot+lanes+2, 0)
		between.Max.Y = between.Min.Y + middle - 8
		plots, places = append(plots, m), append(places, between)
	}
	// All have their data in the same columns.
	left := vg.Length(0)
	for i, at := range places {
		left = max(left, plots[i].DataCanvas(at).Min.X-at.Min.X)
	}
	for i, at := range places {
		plots[i].Draw(shifted(plots[i], at, left))
	}
}

// violationsHeight is what a panel of EPT violations adds to a time line.
const violationsHeight = vg.Length(66)

// traced reports whether the violations of some interval are known.
func traced(intervals []interval) bool {
	return slices.ContainsFunc(intervals, func(v interval) bool { return v.violations != nil })
}

// shifted is the canvas with so much taken off its left that the plot's data begin
// left of its edge.
func shifted(p *plot.Plot, c draw.Canvas, left vg.Length) draw.Canvas {
	return draw.Crop(c, left-(p.DataCanvas(c).Min.X-c.Min.X), 0, 0, 0)
}

// ept draws EPT violations, which differ by orders of magnitude between classes:
// each class has a bar from the axis up, narrower from class to class the fewer
// there are of it.
type ept struct{ intervals []interval }

func (r ept) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for _, t := range p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max) {
		if t.Value > p.Y.Min && !t.IsMinor() {
			c.StrokeLine2(guideLine, c.Min.X, y(t.Value), c.Max.X, y(t.Value))
		}
	}
	for _, v := range r.intervals {
		order := make([]int, len(v.violations))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(v.violations[j], v.violations[i]) })
		x0, x1 := x(v.from), x(v.to)
		for n, i := range order {
			rate := v.violations[i]
			if rate <= p.Y.Min {
				break
			}
			narrow := (x1 - x0) * vg.Length(n) / vg.Length(2*len(order))
			box(&c, classColor(violationClasses[i]), x0+narrow, y(p.Y.Min), x1-narrow, y(rate))
		}
	}
}

var switchLine = draw.LineStyle{Color: black, Width: 0.9}

// rates draws switches as a line of steps and signals as bars.
type rates struct {
	intervals []interval
	known     bool
}

func (r rates) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for _, t := range p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max) {
		if t.Value > 0 {
			c.StrokeLine2(guideLine, c.Min.X, y(t.Value), c.Max.X, y(t.Value))
		}
	}
	for _, v := range r.intervals {
		if v.signals > 0 {
			c.FillPolygon(skyBlue, []vg.Point{{X: x(v.from), Y: y(0)}, {X: x(v.to), Y: y(0)}, {X: x(v.to), Y: y(v.signals)}, {X: x(v.from), Y: y(v.signals)}})
		}
	}
	var line []vg.Point
	flush := func() {
		if len(line) > 1 {
			c.StrokeLines(switchLine, line)
		}
		line = nil
	}
	for _, v := range r.intervals {
		if v.switches < 0 {
			flush()
			continue
		}
		line = append(line, vg.Point{X: x(v.from), Y: y(v.switches)}, vg.Point{X: x(v.to), Y: y(v.switches)})
	}
	flush()
}

// runs draws a lane for each vCPU.
type runs struct {
	t         *Timeline
	intervals []interval
}

func (r runs) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	sty := textStyle(textSize-1.5, black, text.XLeft, text.YTop)
	for j := range r.t.Samples[0].VCPUs {
		base := -float64(j) - 0.6
		for _, v := range r.intervals {
			if v.run[j] == 0 {
				continue
			}
			x0, x1, y0, y1 := x(v.from), x(v.to), y(base), y(base+0.6*v.run[j])
			c.FillPolygon(green, []vg.Point{{X: x0, Y: y0}, {X: x1, Y: y0}, {X: x1, Y: y1}, {X: x0, Y: y1}})
		}
		c.StrokeLine2(guideLine, c.Min.X, y(base), c.Max.X, y(base))
		// The task's name where it changes, if there is room for it.
		free, last := c.Min.X, ""
		for _, s := range r.t.Samples {
			task := s.VCPUs[j].Task
			at := x(float64(s.NS) / 1e9)
			if task != last && task != "" && at >= free && at+sty.Width(task) < c.Max.X {
				c.FillText(sty, vg.Point{X: at, Y: y(base) - 1}, task)
				free = at + sty.Width(task) + 4
			}
			last = task
		}
	}
}

// hang shades the time from the fault to its end, or to the end of the samples.
type hang struct {
	t    *Timeline
	last float64
}

func (h hang) Plot(c draw.Canvas, p *plot.Plot) {
	if !h.t.Fault {
		return
	}
	x, _ := p.Transforms(&c)
	to := h.last
	if h.t.Lifted {
		to = min(to, float64(h.t.LiftedNS)/1e9)
	}
	c.FillPolygon(hangShade, []vg.Point{{X: x(0), Y: c.Min.Y}, {X: x(to), Y: c.Min.Y}, {X: x(to), Y: c.Max.Y}, {X: x(0), Y: c.Max.Y}})
}

// hangShade is a light tint of the colour of the fault.
var hangShade = color.NRGBA{213, 94, 0, 28}

// marks are the fault, the verdict and the end of the fault.
type marks struct {
	t     *Timeline
	named bool
}

func (m marks) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	free := c.Min.X // right of the names so far
	mark := func(at float64, name string, style draw.LineStyle, side text.XAlignment) {
		c.StrokeLine2(style, x(at), c.Min.Y, x(at), c.Max.Y)
		if !m.named {
			return
		}
		sty := textStyle(textSize, style.Color, side, text.YBottom)
		wide := sty.Width(name)
		left := x(at) + wide*vg.Length(side)
		if side == text.XLeft && left < free { // beside its line, but not on another's name
			left = free
		}
		sty.XAlign = text.XLeft
		c.FillText(sty, vg.Point{X: left, Y: c.Max.Y + 1}, name)
		free = left + wide + 4
	}
	if m.t.Fault {
		mark(0, "fault", draw.LineStyle{Color: vermilion, Width: 1.3}, text.XCenter)
	}
	if m.t.Verdict != "" {
		at := float64(m.t.VerdictNS) / 1e9
		side := text.XAlignment(text.XCenter)
		if x(at) > c.Max.X-40 {
			side = text.XRight
		}
		name := "verdict: " + m.t.Verdict
		if m.t.Fault && x(at)-x(0) < 60 {
			side = text.XLeft // beside the name of the fault
		}
		mark(at, name, draw.LineStyle{Color: blue, Width: 1.3, Dashes: []vg.Length{4, 2}}, side)
	}
	if m.t.Fault && m.t.Lifted {
		mark(float64(m.t.LiftedNS)/1e9, "undone", draw.LineStyle{Color: green, Width: 1.3}, text.XLeft)
	}
}

// timeTicks are round times, before and after 0.
type timeTicks struct{}

func (timeTicks) Ticks(min, max float64) []plot.Tick {
	step := roundStep((max - min) / 8)
	var out []plot.Tick
	for i := math.Ceil(min / step); i*step <= max; i++ {
		out = append(out, plot.Tick{Value: i * step, Label: strconv.FormatFloat(i*step, 'g', 6, 64)})
	}
	return out
}
