package figure

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

// madeUpTimeline is a made-up trial: a busy guest, and a fault at 0 after which vCPU 0
// spins and switches no more.
func madeUpTimeline(vcpus int) *Timeline {
	t := &Timeline{Host: "lab", Scenario: "spinlock-deadlock", Mechanism: "exec-step", Guest: "made up", Fault: true, Verdict: "spin", VerdictNS: 650e6}
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
	late.VerdictNS, late.Lifted, late.LiftedNS = 1400e6, true, 900e6
	missed := madeUpTimeline(8)
	missed.Verdict = ""
	return map[string]*Timeline{
		"one": madeUpTimeline(1), "two": madeUpTimeline(2), "control": control, "alarm": alarm, "blind": blind, "gap": gap,
		"quick": quick, "late": late, "missed": missed,
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
}

// TestTimelineHostile: counters that go back or jump are no rate below 0 and no
// share above 1.
func TestTimelineHostile(t *testing.T) {
	t.Parallel()
	line := madeUpTimeline(1)
	line.Samples[3].VCPUs[0] = TimelineVCPU{RunNS: math.MaxUint64, Switches: 1, Signals: math.MaxUint64, Task: "</text><script>"}
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
