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

	"hangbench/analysis"
	"hangbench/results"
)

// Timeline is one trial as its monitor saw it, sample by sample.
type Timeline struct {
	Host      string // lab or xen
	Scenario  string
	Mechanism string
	Guest     string // in a few words
	Samples   []TimelineSample
	// Fault: the trial had a fault, at time 0. Without one, time 0 is the first sample.
	Fault bool
	// Verdict is the class of the first verdict, VerdictNS its time; empty if there was
	// none.
	VerdictNS int64
	Verdict   string
	// Removed: the fault was undone, at RemovedNS.
	Removed   bool
	RemovedNS int64
	// Dropped is how many samples are missing at the end.
	Dropped int
}

// TimelineSample is the guest at one instant.
type TimelineSample struct {
	NS    int64 // of dom0's clock
	VCPUs []TimelineVCPU
	// Violations are EPT violations as the hypervisor traced them; nil if it did not.
	Violations *TimelineViolations
}

// TimelineViolations counts EPT violations by class, since some instant before the
// first sample.
type TimelineViolations struct {
	Permission, Lazy, Other uint64
}

// TimelineVCPU is one vCPU in a sample. Its counters began at some instant before the
// first sample.
type TimelineVCPU struct {
	RunNS    uint64 // time on a physical CPU
	Switches uint64 // of tasks, as the guest counts them; 0 if they could not be read
	Signals  uint64 // that the mechanism saw
	Task     string // that runs; empty if it is not known or the idle task
}

// interval is what happened between two samples.
type interval struct {
	from, to          float64   // seconds
	run               []float64 // share of the time that each vCPU ran, 0 to 1
	switches, signals float64   // a second, all vCPUs together; switches are negative if not known
	violations        []float64 // a second, by class as in violationClasses; nil if not known
}

// violationClasses returns the classes of EPT violations that a time line tells apart.
func violationClasses() []string { return []string{"permission", "lazy", "other"} }

// maxSamples bounds a time line. The width of a page shows no more.
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
		seconds := analysis.Seconds(b.NS - a.NS)
		if !(seconds > 0) {
			return nil, fmt.Errorf("figure: sample %d is not after the one before", i)
		}
		// A counter that went back counts as one that stood still.
		grown := func(was, is uint64) float64 { return max(0, float64(int64(is-was))) }
		v := interval{from: analysis.Seconds(a.NS), to: analysis.Seconds(b.NS)}
		for j := range n {
			was, is := &a.VCPUs[j], &b.VCPUs[j]
			v.run = append(v.run, min(1, grown(was.RunNS, is.RunNS)/1e9/seconds))
			v.signals += grown(was.Signals, is.Signals) / seconds
			if was.Switches == 0 || is.Switches == 0 {
				v.switches = math.Inf(-1)
			}
			v.switches += grown(was.Switches, is.Switches) / seconds
		}
		v.switches = max(v.switches, -1)
		if was, is := a.Violations, b.Violations; was != nil && is != nil {
			v.violations = []float64{
				grown(was.Permission, is.Permission) / seconds,
				grown(was.Lazy, is.Lazy) / seconds,
				grown(was.Other, is.Other) / seconds,
			}
		}
		all = append(all, v)
	}
	return all, nil
}

// laneHeight is the height of the lane of one vCPU.
const laneHeight = vg.Length(24)

// violationsHeight is the height of the panel of EPT violations.
const violationsHeight = vg.Length(66)

// Figure draws the time line. It fails when there are fewer than two samples, when they
// are not in order of time, or when they differ in the number of vCPUs.
func (t *Timeline) Figure() (*Figure, error) {
	intervals, err := t.intervals()
	if err != nil {
		return nil, err
	}
	n := len(t.Samples[0].VCPUs)
	f := &Figure{
		Name: "timeline", Title: "One trial as its monitor saw it",
		head: fmt.Sprintf("host: %s%s; %s; %s; guest: %s", t.Host, results.HostNote(t.Host), t.Scenario, t.Mechanism,
			t.Guest),
		says:   t.caption(traced(intervals)),
		values: timelineValues([]string{t.Host, t.Scenario, t.Mechanism}, intervals),
		height: 2.55*vg.Inch + vg.Length(n)*laneHeight,
		paint:  func(c draw.Canvas) { t.draw(c, intervals) },
	}
	if traced(intervals) {
		f.height += violationsHeight
	}
	return f, nil
}

// traced reports whether the violations of some interval are known.
func traced(intervals []interval) bool {
	return slices.ContainsFunc(intervals, func(v interval) bool { return v.violations != nil })
}

// timelineValues has a row for each interval.
func timelineValues(trial []string, intervals []interval) [][]string {
	head := []string{"host", "scenario", "mechanism", "from_s", "to_s", "switches_per_s", "signals_per_s"}
	for _, class := range violationClasses() {
		head = append(head, "ept_"+class+"_per_s")
	}
	for j := range intervals[0].run {
		head = append(head, fmt.Sprintf("vcpu%d_run_share", j))
	}
	all := [][]string{head}
	for _, v := range intervals {
		switches := ""
		if v.switches >= 0 {
			switches = analysis.Number(v.switches)
		}
		row := append(slices.Clone(trial), analysis.Number(v.from), analysis.Number(v.to), switches,
			analysis.Number(v.signals))
		for i := range violationClasses() {
			rate := ""
			if v.violations != nil {
				rate = analysis.Number(v.violations[i])
			}
			row = append(row, rate)
		}
		for _, share := range v.run {
			row = append(row, analysis.Number(share))
		}
		all = append(all, row)
	}
	return all
}

func (t *Timeline) caption(traced bool) string {
	var b strings.Builder
	b.WriteString("One trial as its monitor saw it, sample by sample. Above: task switches of the guest a second, as " +
		"its own run queues count them, and the signals of the mechanism, which sees fewer, on purpose. ")
	if traced {
		b.WriteString("In the middle: EPT violations of the guest a second by class, on a logarithmic axis, as the " +
			"hypervisor traced them: permission, on the frame that the monitor restricts; lazy, an altp2m view filled; " +
			"other, devices and large pages. Those before the first sample, while the monitor attached, are not shown. ")
	}
	b.WriteString("Below: the share of the time that each vCPU ran, full height being all of it, and below it the task " +
		"that ran when it was sampled, where it changed. ")
	switch {
	case !t.Fault:
		b.WriteString("There was no fault; 0 is the first sample.")
	case t.Verdict != "":
		fmt.Fprintf(&b, "0 is the instant of the fault; the verdict, %s, came %.3f s later.", t.Verdict,
			analysis.Seconds(t.VerdictNS))
	default:
		b.WriteString("0 is the instant of the fault; there was no verdict.")
	}
	if t.Fault && t.Removed {
		fmt.Fprintf(&b, " The fault was undone after %.3f s.", analysis.Seconds(t.RemovedNS))
	}
	if !t.Fault && t.Verdict != "" {
		fmt.Fprintf(&b, " The verdict, %s, is a false alarm.", t.Verdict)
	}
	if t.Dropped > 0 {
		fmt.Fprintf(&b, " The end is missing: %d more observations were not recorded.", t.Dropped)
	}
	b.WriteString("\n")
	return b.String()
}

func (t *Timeline) draw(c draw.Canvas, intervals []interval) {
	first, last := intervals[0].from, intervals[len(intervals)-1].to
	for _, m := range t.marks() {
		last = max(last, m.seconds)
	}
	end := last + (last-first)*0.01
	// panel is a panel of the time line with its mark of the fault.
	panel := func() *plot.Plot {
		p := newPlot()
		p.Y.Tick.Length = 3
		p.X.Min, p.X.Max = first, end
		p.X.Tick.Marker = plot.ConstantTicks(nil)
		p.Add(hang{t, last})
		return p
	}
	lanes := vg.Length(len(t.Samples[0].VCPUs))*laneHeight + 34 // with the time axis
	middle := vg.Length(0)
	says := "Task switches of the guest, and those that the mechanism saw; below, how much of the time each vCPU ran"
	if traced(intervals) {
		middle = violationsHeight
		says = "Task switches of the guest, and those that the mechanism saw; EPT violations; " +
			"how much of the time each vCPU ran"
	}
	subtitle(c, says)

	upper := panel()
	keys := t.drawRates(upper, intervals)
	plots := []*plot.Plot{upper}
	places := []draw.Canvas{draw.Crop(c, 0, 0, foot+lanes+middle, -headHeight-9)} // the marks' names are above it

	lower := panel()
	lower.Y.Tick.Length = 0
	t.drawRuns(lower, intervals)
	place := draw.Crop(c, 0, 0, foot, 0)
	place.Max.Y = place.Min.Y + lanes
	plots, places = append(plots, lower), append(places, place)

	if middle > 0 {
		between := panel()
		keys = append(keys, t.drawViolations(between, intervals)...)
		place := draw.Crop(c, 0, 0, foot+lanes+2, 0)
		place.Max.Y = place.Min.Y + middle - 8
		plots, places = append(plots, between), append(places, place)
	}
	drawLegend(c, append(keys, boxKey("vCPU runs", green)))
	// The data of all panels begin and end at the same place, whatever their labels need.
	left, right := vg.Length(0), c.Max.X
	for i, at := range places {
		left = max(left, plots[i].DataCanvas(at).Min.X)
	}
	for i, at := range places {
		places[i] = draw.Crop(at, left-plots[i].DataCanvas(at).Min.X, 0, 0, 0)
		right = min(right, plots[i].DataCanvas(places[i]).Max.X)
	}
	for i, at := range places {
		plots[i].Draw(draw.Crop(at, 0, right-plots[i].DataCanvas(at).Max.X, 0, 0))
	}
}

// drawRates prepares the panel of task switches and returns its legend.
func (t *Timeline) drawRates(p *plot.Plot, intervals []interval) []key {
	most := 1.0
	known := false
	for _, v := range intervals {
		most = max(most, v.switches, v.signals)
		known = known || v.switches >= 0
	}
	p.Y.Min, p.Y.Max = 0, headRoom(most)
	p.Y.Tick.Marker = ticks{n: 4, limit: p.Y.Max}
	p.Y.Label.Text = "switches a second"
	p.Add(guidesY{}, rates(intervals), marks{t, true})
	signals := boxKey("signals of the mechanism", skyBlue)
	if !known {
		return []key{signals}
	}
	return []key{{"task switches, as the guest counts", func(c *draw.Canvas, at vg.Point) {
		c.StrokeLine2(switchLine, at.X-4, at.Y, at.X+4, at.Y)
	}}, signals}
}

// drawViolations prepares the panel of EPT violations and returns its legend.
func (t *Timeline) drawViolations(p *plot.Plot, intervals []interval) []key {
	most := 10.0
	shown := make([]bool, len(violationClasses()))
	for _, v := range intervals {
		for i, rate := range v.violations {
			shown[i] = shown[i] || rate > 0
			most = max(most, rate)
		}
	}
	p.Y.Min, p.Y.Max = 1, math.Pow(10, math.Ceil(math.Log10(most)))
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Y.Label.Text = "violations/s"
	p.Add(guidesY{labelled: true}, violationRates(intervals), marks{t, false})
	var keys []key
	for i, class := range violationClasses() {
		if shown[i] {
			keys = append(keys, boxKey("EPT "+class, classColor(class)))
		}
	}
	return keys
}

// drawRuns prepares the panel of vCPUs, which has the axis of time.
func (t *Timeline) drawRuns(p *plot.Plot, intervals []interval) {
	p.X.Label.Text = "seconds since the fault"
	if !t.Fault {
		p.X.Label.Text = "seconds"
	}
	p.X.Tick.Marker = timeTicks{}
	n := len(t.Samples[0].VCPUs)
	p.Y.Min, p.Y.Max = -float64(n)+0.05, 0.05
	var names []plot.Tick
	for j := range n {
		names = append(names, plot.Tick{Value: -float64(j) - 0.42, Label: "vCPU " + strconv.Itoa(j)})
	}
	p.Y.Tick.Marker = plot.ConstantTicks(names)
	p.Add(runs{t, intervals}, marks{t, false})
}

// violationRates draws EPT violations. The rates of classes differ by orders of
// magnitude, so each class has a bar from the axis up. The bars of an interval are drawn
// from the highest to the lowest, each narrower than the one before.
type violationRates []interval

func (r violationRates) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	classes := violationClasses()
	for _, v := range r {
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
			box(&c, classColor(classes[i]), x0+narrow, y(p.Y.Min), x1-narrow, y(rate))
		}
	}
}

var switchLine = draw.LineStyle{Color: black, Width: 0.9}

// rates draws task switches as a line of steps and signals as bars. The line has a gap
// where switches are not known.
type rates []interval

func (r rates) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for _, v := range r {
		if v.signals > 0 {
			rectangle(&c, skyBlue, x(v.from), y(0), x(v.to), y(v.signals))
		}
	}
	var line []vg.Point
	for _, v := range r {
		if v.switches < 0 {
			c.StrokeLines(switchLine, line)
			line = nil
			continue
		}
		line = append(line, vg.Point{X: x(v.from), Y: y(v.switches)}, vg.Point{X: x(v.to), Y: y(v.switches)})
	}
	c.StrokeLines(switchLine, line)
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
			if v.run[j] > 0 {
				rectangle(&c, green, x(v.from), y(base), x(v.to), y(base+0.6*v.run[j]))
			}
		}
		c.StrokeLine2(guideLine, c.Min.X, y(base), c.Max.X, y(base))
		// The name of the task is written where the task changes, if there is space.
		free, last := c.Min.X, ""
		for _, s := range r.t.Samples {
			task := s.VCPUs[j].Task
			at := x(analysis.Seconds(s.NS))
			if task != last && task != "" && at >= free && at+sty.Width(task) < c.Max.X {
				c.FillText(sty, vg.Point{X: at, Y: y(base) - 1}, task)
				free = at + sty.Width(task) + 4
			}
			last = task
		}
	}
}

// hangShade is a light tint of the colour of the fault.
var hangShade = color.NRGBA{213, 94, 0, 28}

// hang shades the time from the fault to its end, or to last.
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
	if h.t.Removed {
		to = min(to, analysis.Seconds(h.t.RemovedNS))
	}
	rectangle(&c, hangShade, x(0), c.Min.Y, x(to), c.Max.Y)
}

// marks are the lines of the fault, the verdict and the end of the fault.
type marks struct {
	t     *Timeline
	named bool // with a name above each
}

// timeMark is one of the lines.
type timeMark struct {
	seconds float64
	name    string
	style   draw.LineStyle
	left    bool // the name begins at the line; otherwise the line is at its middle
}

func (t *Timeline) marks() []timeMark {
	var all []timeMark
	if t.Fault {
		all = append(all, timeMark{0, "fault", draw.LineStyle{Color: vermilion, Width: 1.3}, false})
	}
	if t.Verdict != "" {
		style := draw.LineStyle{Color: blue, Width: 1.3, Dashes: []vg.Length{4, 2}}
		all = append(all, timeMark{analysis.Seconds(t.VerdictNS), "verdict: " + t.Verdict, style, false})
	}
	if t.Fault && t.Removed {
		all = append(all, timeMark{analysis.Seconds(t.RemovedNS), "undone", draw.LineStyle{Color: green, Width: 1.3}, true})
	}
	slices.SortStableFunc(all, func(a, b timeMark) int { return cmp.Compare(a.seconds, b.seconds) })
	return all
}

func (m marks) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	all := m.t.marks()
	if !m.named {
		for _, k := range all {
			c.StrokeLine2(k.style, x(k.seconds), c.Min.Y, x(k.seconds), c.Max.Y)
		}
		return
	}
	// Names must not lie on each other. First each is moved to the right of the one
	// before, then, from the last to the first, to the left as far as the panel ends.
	const gap = vg.Length(4)
	sty := textStyle(textSize, black, text.XLeft, text.YBottom)
	left := make([]vg.Length, len(all))
	free := c.Min.X
	for i, k := range all {
		wide := sty.Width(k.name)
		left[i] = x(k.seconds)
		if crowded := i > 0 && x(k.seconds)-x(all[i-1].seconds) < 60; !k.left && !crowded {
			left[i] -= wide / 2
		}
		if i > 0 {
			left[i] = max(left[i], free)
		}
		free = left[i] + wide + gap
	}
	end := c.Max.X
	for i := len(all) - 1; i >= 0; i-- {
		left[i] = min(left[i], end-sty.Width(all[i].name))
		end = left[i] - gap
	}
	for i, k := range all {
		c.StrokeLine2(k.style, x(k.seconds), c.Min.Y, x(k.seconds), c.Max.Y)
		sty.Color = k.style.Color
		c.FillText(sty, vg.Point{X: left[i], Y: c.Max.Y + 1}, k.name)
	}
}

// timeTicks are about eight round times, before and after 0.
type timeTicks struct{}

func (timeTicks) Ticks(min, max float64) []plot.Tick {
	step := roundStep((max - min) / 8)
	var out []plot.Tick
	for i := math.Ceil(min / step); i*step <= max; i++ {
		v := i*step + 0 // not -0
		out = append(out, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'g', 6, 64)})
	}
	return out
}
