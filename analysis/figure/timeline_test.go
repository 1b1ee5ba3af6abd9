package figure

import (
	"bytes"
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gonum.org/v1/plot/vg"
)

// madeUpTimeline is a made-up trial: a busy guest, and a fault at 0 after which vCPU 0
// spins and switches no more.
func madeUpTimeline(vcpus int) *Timeline {
	t := &Timeline{Host: "lab", Scenario: "spinlock-deadlock", Mechanism: "exec-step", Guest: "made up", Fault: true,
		Verdict: "spin", VerdictNS: 650e6}
	count := make([]TimelineVCPU, vcpus)
	for i := range 25 {
		ns := int64(i-12)*100e6 + int64(i%3)*1e6
		s := TimelineSample{NS: ns}
		for j := range count {
			v := &count[j]
			v.Task = []string{"", "init", "kworker/0:1"}[(i/4+j)%3]
			if ns > 0 && j == 0 {
				v.RunNS, v.Task = v.RunNS+99e6, "init"
			} else {
				v.RunNS += 20e6 + uint64(i%5)*1e6
				v.Switches += 5 + uint64(i%4)
				v.Signals += 2
			}
			s.VCPUs = append(s.VCPUs, *v)
		}
		if vcpus < 8 { // with more the hypervisor was not traced
			s.Violations = &TimelineViolations{Permission: uint64(3 * i), Lazy: uint64(40 * min(i, 14)), Other: uint64(i / 12)}
		}
		t.Samples = append(t.Samples, s)
	}
	return t
}

// timelines are made-up time lines of the shapes that the figure must survive.
func timelines() map[string]*Timeline {
	control := madeUpTimeline(2)
	control.Fault, control.Verdict = false, ""
	alarm := madeUpTimeline(1)
	alarm.Fault = false
	blind := madeUpTimeline(1) // a mechanism without signals, run queues that cannot be read
	for i := range blind.Samples {
		for j := range blind.Samples[i].VCPUs {
			blind.Samples[i].VCPUs[j].Switches, blind.Samples[i].VCPUs[j].Signals = 0, 0
		}
	}
	gap := madeUpTimeline(1) // run queues that could not be read for a while
	for i := 8; i < 11; i++ {
		gap.Samples[i].VCPUs[0].Switches = 0
	}
	quick := madeUpTimeline(1)
	quick.VerdictNS = 10e6
	late := madeUpTimeline(1) // a verdict after the last sample, and the fault undone
	late.VerdictNS, late.Removed, late.RemovedNS = 1400e6, true, 900e6
	short := madeUpTimeline(1) // the fewest samples
	short.Samples = short.Samples[11:13]
	idle := &Timeline{Host: "xen", Scenario: "control-idle", Mechanism: "poll", Guest: "made up"} // little happens
	for i := range 6 {
		idle.Samples = append(idle.Samples, TimelineSample{
			NS: int64(i) * 1e9, VCPUs: []TimelineVCPU{{RunNS: uint64(i/2) * 1e8, Switches: 7}},
			Violations: &TimelineViolations{Permission: uint64(i), Lazy: uint64(20 * i)},
		})
	}
	crowded := madeUpTimeline(2) // another task in every sample
	for i := range crowded.Samples {
		for j := range crowded.Samples[i].VCPUs {
			crowded.Samples[i].VCPUs[j].Task = []string{"kworker/u16:2-events_unbound", "init", "stress-ng"}[(i+j)%3]
		}
	}
	near := madeUpTimeline(1) // a verdict whose name has just no space in the middle of its line
	near.VerdictNS = 260e6
	begin := madeUpTimeline(1) // the fault is the first sample
	begin.Samples = begin.Samples[12:]
	end := madeUpTimeline(1) // all marks are at the right edge
	end.Samples, end.VerdictNS, end.Removed, end.RemovedNS = end.Samples[:13], 20e6, true, 30e6
	lateAlarm := madeUpTimeline(1) // a false alarm in the last sample
	lateAlarm.Fault, lateAlarm.VerdictNS = false, 1200e6
	missed := madeUpTimeline(8)
	missed.Verdict = ""
	return map[string]*Timeline{
		"one": madeUpTimeline(1), "two": madeUpTimeline(2), "control": control, "alarm": alarm, "blind": blind, "gap": gap,
		"quick": quick, "late": late, "missed": missed, "short": short, "idle": idle,
		"crowded": crowded, "near": near,
		"begin": begin, "end": end, "late-alarm": lateAlarm,
	}
}

func TestTimelineGolden(t *testing.T) {
	t.Parallel()
	for name, line := range timelines() {
		f, err := line.Figure()
		if err != nil {
			t.Fatal(err)
		}
		sameAsGolden(t, "timeline-"+name, f)
	}
}

// TestReadTimeline reads the panels: rates, violations, what each vCPU did, and the marks.
func TestReadTimeline(t *testing.T) {
	t.Parallel()
	for name, line := range timelines() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := line.Figure()
			if err != nil {
				t.Fatal(err)
			}
			r := record(t, f)
			x, _ := r.xAxis(t, false)
			runs := r.text(t, "vCPU 0").centre().Y + 10 // just below the upper edge of its panel
			violations := runs
			if line.Samples[0].Violations != nil {
				violations = runs + 65
			}
			rates := r.in(0, violations, r.w, r.h)
			readRates(t, line, r, rates, x)
			if violations > runs {
				readViolations(t, line, r, r.in(0, runs, r.w, violations), x)
			}
			readRuns(t, line, r, r.in(0, 30, r.w, runs), x)
			readMarks(t, line, rates, x)
		})
	}
}

// readRates reads the upper panel: a line of steps for task switches, bars for signals.
func readRates(t *testing.T, line *Timeline, r, panel *recorder, x scale) {
	t.Helper()
	y, ticks := panel.yAxis(t, false)
	panel.guidedY(t, ticks)
	panel.text(t, "switches a second")
	var steps, bars [][]float64 // from, to, rate
	known := false
	for i := 1; i < len(line.Samples); i++ {
		a, b := &line.Samples[i-1], &line.Samples[i]
		from, to := float64(a.NS)/1e9, float64(b.NS)/1e9
		switches, signals := 0.0, 0.0
		readable := true
		for j := range a.VCPUs {
			switches += float64(b.VCPUs[j].Switches) - float64(a.VCPUs[j].Switches)
			signals += float64(b.VCPUs[j].Signals) - float64(a.VCPUs[j].Signals)
			readable = readable && a.VCPUs[j].Switches > 0 && b.VCPUs[j].Switches > 0
		}
		if readable {
			known = true
			steps = append(steps, []float64{from, to, switches / (to - from)})
		}
		if signals > 0 {
			bars = append(bars, []float64{from, to, signals / (to - from)})
		}
	}
	fill := r.key(t, "signals of the mechanism")[0].color
	var got [][]float64
	for _, m := range panel.all("fill", fill) {
		b := m.bounds()
		got = append(got, []float64{x.value(b.Min.X), x.value(b.Max.X), y.value(b.Max.Y)})
		if !near(y.value(b.Min.Y), 0, 1e-6) {
			t.Errorf("a bar of signals begins at %g", y.value(b.Min.Y))
		}
	}
	sameRows(t, "signals", got, bars)
	if !known {
		if n := len(r.texts(func(s string) bool { return s == "task switches, as the guest counts" })); n > 0 {
			t.Error("the legend has switches, which are not known")
		}
		return
	}
	style := r.key(t, "task switches, as the guest counts")[0]
	got = nil
	for _, m := range panel.all("line", style.color) {
		if m.width != style.width {
			continue
		}
		for i := 0; i+1 < len(m.pts); i += 2 {
			got = append(got, []float64{x.value(m.pts[i].X), x.value(m.pts[i+1].X), y.value(m.pts[i].Y)})
			if m.pts[i].Y != m.pts[i+1].Y {
				t.Error("a step of the switches is not level")
			}
		}
	}
	sameRows(t, "switches", got, steps)
}

// sameRows compares rows of values, in order.
func sameRows(t *testing.T, what string, got, want [][]float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d are drawn, want %d", what, len(got), len(want))
		return
	}
	for i := range got {
		for j := range want[i] {
			if !near(got[i][j], want[i][j], 1e-6*(1+math.Abs(want[i][j]))) {
				t.Errorf("%s %d: %v, want %v", what, i, got[i], want[i])
				return
			}
		}
	}
}

// readViolations reads the middle panel: a bar for each class and interval.
func readViolations(t *testing.T, line *Timeline, r, panel *recorder, x scale) {
	t.Helper()
	y, ticks := panel.yAxis(t, true)
	panel.guidedY(t, ticks)
	classes := map[string]func(*TimelineViolations) uint64{
		"permission": func(v *TimelineViolations) uint64 { return v.Permission },
		"lazy":       func(v *TimelineViolations) uint64 { return v.Lazy },
		"other":      func(v *TimelineViolations) uint64 { return v.Other },
	}
	for class, of := range classes {
		var want, got [][]float64 // middle and rate
		name, occurs := "EPT "+class, false
		for i := 1; i < len(line.Samples); i++ {
			a, b := &line.Samples[i-1], &line.Samples[i]
			from, to := float64(a.NS)/1e9, float64(b.NS)/1e9
			if rate := float64(of(b.Violations)-of(a.Violations)) / (to - from); rate > 1 { // the axis begins at 1
				want = append(want, []float64{(from + to) / 2, rate})
			}
			occurs = occurs || of(b.Violations) > of(a.Violations)
		}
		if !occurs {
			if len(r.texts(func(s string) bool { return s == name })) > 0 {
				t.Errorf("the legend has %q, which does not occur", name)
			}
			continue
		}
		for _, m := range panel.all("fill", r.key(t, name)[0].color) {
			b := m.bounds()
			got = append(got, []float64{x.value(m.centre().X), y.value(b.Max.Y)})
			if !near(y.value(b.Min.Y), 1, 1e-6) {
				t.Errorf("a bar of %s begins at %g", class, y.value(b.Min.Y))
			}
		}
		sameRows(t, class, got, want)
	}
	// A bar never hides one that is drawn before it.
	fills := panel.in(0, 0, r.w, r.h)
	fills.marks = slices.DeleteFunc(fills.marks, func(m mark) bool { return m.kind != "fill" || m.color == hangShade })
	for i, m := range fills.marks {
		for _, before := range fills.marks[:i] {
			a, b := before.bounds(), m.bounds()
			if b.Min.X <= a.Min.X && b.Max.X >= a.Max.X && b.Max.Y >= a.Max.Y {
				t.Errorf("%s hides %s", m, before)
			}
		}
	}
}

// readRuns reads the lanes of the vCPUs.
func readRuns(t *testing.T, line *Timeline, r, panel *recorder, x scale) {
	t.Helper()
	green := r.key(t, "vCPU runs")[0].color
	axis := "seconds since the fault"
	if !line.Fault {
		axis = "seconds"
	}
	r.text(t, axis)
	names := make([]vg.Length, len(line.Samples[0].VCPUs))
	for j := range names {
		names[j] = panel.text(t, "vCPU "+strconv.Itoa(j)).centre().Y
	}
	// The vertical line of the axis is as long as all lanes. A share of 1 is 0.6 of a lane.
	var height vg.Length
	for _, m := range r.in(0, 30, r.w, r.h).all("line", black) {
		if m.pts[0].X == m.pts[1].X && m.width == thin && m.bounds().Min.Y < names[len(names)-1] &&
			m.bounds().Max.Y > names[0] {
			height = 0.6 * abs(m.pts[1].Y-m.pts[0].Y) / vg.Length(len(names))
		}
	}
	for j := range names {
		lane := panel.in(0, names[j]-13, r.w, names[j]+10.5)
		var got, want [][]float64 // from, to, share
		base := vg.Length(0)
		for _, m := range lane.all("fill", green) {
			b := m.bounds()
			got = append(got, []float64{x.value(b.Min.X), x.value(b.Max.X), float64((b.Max.Y - b.Min.Y) / height)})
			base = b.Min.Y
		}
		for i := 1; i < len(line.Samples); i++ {
			a, b := &line.Samples[i-1], &line.Samples[i]
			share := float64(b.VCPUs[j].RunNS-a.VCPUs[j].RunNS) / float64(b.NS-a.NS)
			if share > 0 {
				want = append(want, []float64{float64(a.NS) / 1e9, float64(b.NS) / 1e9, min(share, 1)})
			}
		}
		sameRows(t, "vCPU "+strconv.Itoa(j), got, want)
		// Tasks are named where they change. A name may be left out for want of space only.
		tasks := make(map[float64]string)
		last := ""
		for _, s := range line.Samples {
			if task := s.VCPUs[j].Task; task != last {
				tasks[float64(s.NS)/1e9] = task
				last = task
			}
		}
		written := 0
		for _, m := range lane.texts(func(string) bool { return true }) {
			if m.size != textSize-1.5 {
				continue
			}
			written++
			found := false
			for at, task := range tasks {
				found = found || task == m.text && near(x.value(m.pts[0].X), at, 1e-6)
			}
			if !found || m.bounds().Max.Y > base {
				t.Errorf("vCPU %d: %q is written at %g s, %g", j, m.text, x.value(m.pts[0].X), m.bounds().Max.Y-base)
			}
		}
		if few := min(len(tasks), 2); written < few && len(line.Samples) > 2 {
			t.Errorf("vCPU %d has %d names of tasks", j, written)
		}
	}
}

// readMarks reads the lines of the fault, the verdict and the end of the fault with their
// names, and the shade between.
func readMarks(t *testing.T, line *Timeline, panel *recorder, x scale) {
	t.Helper()
	marks := []struct {
		name  string
		there bool
		at    float64
		color color.NRGBA
	}{
		{"fault", line.Fault, 0, vermilion},
		{"verdict: " + line.Verdict, line.Verdict != "", float64(line.VerdictNS) / 1e9, blue},
		{"undone", line.Fault && line.Removed, float64(line.RemovedNS) / 1e9, green},
	}
	for _, m := range marks {
		texts := panel.texts(func(s string) bool { return s == m.name })
		var want []float64
		if m.there {
			want = append(want, m.at)
			if len(texts) != 1 || texts[0].color != m.color {
				t.Errorf("%q is written as %v", m.name, texts)
			} else if b := texts[0].bounds(); b.Min.X > x.at(m.at)+60 || b.Max.X < x.at(m.at)-80 {
				t.Errorf("%q is written at %g to %g, its line is at %g", m.name, b.Min.X, b.Max.X, x.at(m.at))
			}
		} else if len(texts) > 0 {
			t.Errorf("%q is written", m.name)
		}
		sameValues(t, m.name, panel.uprights(x, m.color, 1.3), want)
	}
	last := float64(line.Samples[len(line.Samples)-1].NS) / 1e9
	if line.Verdict != "" {
		last = max(last, float64(line.VerdictNS)/1e9)
	}
	if line.Removed {
		last = float64(line.RemovedNS) / 1e9
	}
	var got, want []float64
	for _, m := range panel.all("fill", hangShade) {
		got = append(got, x.value(m.bounds().Min.X), x.value(m.bounds().Max.X))
	}
	if line.Fault {
		want = []float64{0, last}
	}
	sameValues(t, "shade", got, want)
}

func TestTimelineRefuses(t *testing.T) {
	t.Parallel()
	spoiled := func(spoil func(*Timeline)) *Timeline {
		line := madeUpTimeline(2)
		spoil(line)
		return line
	}
	for name, line := range map[string]*Timeline{
		"empty":          {},
		"one sample":     spoiled(func(l *Timeline) { l.Samples = l.Samples[:1] }),
		"no vCPU":        {Samples: make([]TimelineSample, 2)},
		"a vCPU is gone": spoiled(func(l *Timeline) { l.Samples[5].VCPUs = l.Samples[5].VCPUs[:1] }),
		"a vCPU is new":  spoiled(func(l *Timeline) { l.Samples[0].VCPUs = l.Samples[0].VCPUs[:1] }),
		"backwards":      spoiled(func(l *Timeline) { l.Samples[5].NS = l.Samples[4].NS - 1 }),
		"twice":          spoiled(func(l *Timeline) { l.Samples[5].NS = l.Samples[4].NS }),
		"too many":       {Samples: make([]TimelineSample, maxSamples+1)},
	} {
		if _, err := line.Figure(); err == nil {
			t.Errorf("%s: a figure", name)
		}
	}
	most := &Timeline{Samples: make([]TimelineSample, maxSamples)}
	for i := range most.Samples {
		most.Samples[i] = TimelineSample{NS: int64(i), VCPUs: make([]TimelineVCPU, 1)}
	}
	if _, err := most.Figure(); err != nil {
		t.Errorf("%d samples: %v", maxSamples, err)
	}
}

// TestTimelineHostile: counters that go back or jump are no rate below 0 and no
// share above 1.
func TestTimelineHostile(t *testing.T) {
	t.Parallel()
	line := madeUpTimeline(1)
	line.Samples[3].VCPUs[0] = TimelineVCPU{RunNS: math.MaxUint64, Switches: 1, Signals: math.MaxUint64,
		Task: "</text><script>"}
	line.Samples[7].VCPUs[0] = TimelineVCPU{RunNS: 0, Switches: math.MaxUint64, Signals: 0}
	all, err := line.intervals()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		if v.run[0] < 0 || v.run[0] > 1 || v.signals < 0 || v.switches < -1 || math.IsNaN(v.switches) {
			t.Errorf("%+v", v)
		}
	}
	f, err := line.Figure()
	if err != nil {
		t.Fatal(err)
	}
	var svg bytes.Buffer
	if err := f.WriteSVG(&svg); err != nil || strings.Contains(svg.String(), "<script") {
		t.Errorf("a task's name became markup (%v)", err)
	}
}
