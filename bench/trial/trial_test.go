package trial_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"hangbench/bench/plan"
	"hangbench/bench/trial"
	"hangbench/guests/beat"
	"hangbench/monitor"
	"hangbench/monitor/detect"
	"hangbench/results"
	"hangbench/scenarios/inject"
	"hangbench/scenarios/sign"
	"hangbench/scenarios/suites"
)

const (
	deadlock = "spinlock-deadlock"
	idle     = "control-idle"
	busy     = "control-busy"
)

func job(scenario, mechanism string) plan.Trial {
	return plan.Trial{
		Suite: "test", Index: 3, Block: 1, Cell: results.Cell{Scenario: scenario,
			Arm:     results.Arm{Mechanism: mechanism, Driver: "xenctrl"},
			Machine: suites.Guest{Kernel: "cloud-6.12", VCPUs: 1, MemoryMiB: 160, Boot: suites.Distro}},
		Timing: suites.DefaultTiming(), Seed: 7*uint64(trial.Phase) + 123_456_789,
	}
}

// outcome is the expected outcome of a trial. A nil pointer means that the record must
// not have the value.
type outcome struct {
	outcome   results.Outcome
	reason    string // part of it
	class     string
	detectNS  *int64
	hang      bool // the record has hang_ns
	recovered *bool
	ratio     *float64
	calls     string // what was done to the guest
}

func TestRun(t *testing.T) {
	t.Parallel()
	const (
		watched  = "trace, attach exec-step spin=500ms sample=100ms, "
		injected = watched + "hold, remove, detach, stop trace"
		only     = watched + "detach, stop trace"
	)
	ns := func(d time.Duration) *int64 { n := int64(d); return &n }
	yes, no := new(bool), new(bool)
	*yes = true
	records := openGolden(t, "run")
	for _, tc := range []struct {
		name                string
		scenario, mechanism string
		set                 func(*world)
		want                outcome
	}{
		{"detected", deadlock, "exec-step", func(w *world) { w.alarmAfterFault = 610 * time.Millisecond },
			outcome{results.Detected, "", "spin", ns(610 * time.Millisecond), true, yes, new(1.0), injected}},
		{"detected as another class", deadlock, "exec-step", func(w *world) {
			w.alarmAfterFault, w.class = 610*time.Millisecond, detect.ClassHard
		},
			outcome{results.Detected, "", "hard", ns(610 * time.Millisecond), true, yes, new(1.0), injected}},
		{"detected late", deadlock, "exec-step", func(w *world) { w.alarmAfterFault = 7900 * time.Millisecond },
			outcome{results.Detected, "", "spin", ns(7900 * time.Millisecond), true, yes, new(1.0), injected}},
		{"the guest lives on for a while", deadlock, "exec-step",
			func(w *world) { w.linger, w.alarmAfterFault = time.Second, 2*time.Second },
			outcome{results.Detected, "", "spin", ns(2 * time.Second), true, yes, new(1.0), injected}},
		{"missed", deadlock, "exec-step", nil,
			outcome{results.Missed, "", "", nil, true, yes, new(1.0), injected}},
		{"a verdict after the deadline is none", deadlock, "exec-step",
			func(w *world) { w.alarmAfterFault = 9 * time.Second },
			outcome{results.Missed, "", "", nil, true, yes, new(1.0), injected}},
		{"an alarm while the guest recovers", deadlock, "exec-step",
			func(w *world) { w.alarmAfterFault = 8030 * time.Millisecond },
			outcome{results.Missed, "", "", nil, true, yes, new(1.0), injected}},
		{"missed without a monitor", deadlock, "none", nil,
			outcome{results.Missed, "", "", nil, true, yes, new(1.0), "trace, hold, remove, stop trace"}},
		{"slow while watched", deadlock, "exec-step", func(w *world) { w.slow, w.alarmAfterFault = 2, time.Second },
			outcome{results.Detected, "", "spin", ns(time.Second), true, yes, new(0.5), injected}},
		{"false alarm in the first window", deadlock, "exec-step",
			func(w *world) { w.alarmAfterAttach = 300 * time.Millisecond },
			outcome{results.FalseAlarm, "", "spin", nil, false, nil, nil, only}},
		{"false alarm before the injection", deadlock, "exec-step",
			func(w *world) { w.alarmAfterAttach = 2300 * time.Millisecond },
			outcome{results.FalseAlarm, "", "spin", nil, false, nil, new(1.0), only}},
		{"false alarm in a control", idle, "exec-step", func(w *world) { w.alarmAfterAttach = 2300 * time.Millisecond },
			outcome{results.FalseAlarm, "", "spin", nil, false, nil, new(1.0), only}},
		{"clean", idle, "exec-step", nil,
			outcome{results.Clean, "", "", nil, false, nil, new(1.0), only}},
		{"clean without a monitor", idle, "none", nil,
			outcome{results.Clean, "", "", nil, false, nil, new(1.0), "trace, stop trace"}},
		{"verdict of before the fault", deadlock, "exec-step",
			func(w *world) { w.alarmAfterFault, w.late = 20*time.Millisecond, 30*time.Millisecond },
			outcome{results.FalseAlarm, "", "spin", nil, true, yes, new(1.0), injected}},
		{"busy and slow", busy, "exec-altp2m", func(w *world) { w.slow, w.slowWork = 2, 1.25 },
			outcome{results.Clean, "", "", nil, false, nil, new(0.8), strings.ReplaceAll(only, "exec-step", "exec-altp2m")}},

		{"verdict at the instant of the fault", deadlock, "exec-step", func(w *world) {
			w.alarmAfterFault, w.late = 20*time.Millisecond, 20*time.Millisecond
		},
			outcome{results.Detected, "", "spin", ns(0), true, yes, new(1.0), injected}},
		{"a monitor without signals", idle, "exec-step", func(w *world) { w.signals = 0 },
			outcome{results.Invalid, "exec-step gave no signal although the guest beat", "", nil, false, nil, new(1.0), only}},
		{"no signals of a guest that does not beat", idle, "exec-step", func(w *world) {
			w.signals = 0
			w.onSleep = func() { // paused from the first sleep of the window on
				w.paused = 0
				if w.stages[len(w.stages)-1] == "observe" {
					w.paused = 1
				}
			}
		},
			outcome{results.Clean, "", "", nil, false, nil, new(0.0), only}},
		{"work before the baseline only", busy, "exec-step", func(w *world) {
			w.onSleep = func() { w.lazy = w.page.Count(0).Work > 0 }
		},
			outcome{results.Clean, "", "", nil, false, nil, nil, only}},

		{"page without its mark", deadlock, "exec-step", func(w *world) { clear(w.mem) },
			outcome{results.Invalid, "lost its mark", "", nil, false, nil, nil, ""}},
		{"workload not started", busy, "exec-step", func(w *world) { w.deaf = true },
			outcome{results.Invalid, "did not start the busy workload", "", nil, false, nil, nil, ""}},
		{"workload without work", busy, "exec-step", func(w *world) { w.lazy = true },
			outcome{results.Invalid, "did not start the busy workload", "", nil, false, nil, nil, ""}},
		{"still before attach", deadlock, "exec-step", func(w *world) { w.still = true },
			outcome{results.Invalid, "stood still before the monitor was attached", "", nil, false, nil, nil, ""}},
		{"fault not injected", deadlock, "exec-step", func(w *world) { w.noSymbol = true },
			outcome{results.Invalid, "could not be injected: no symbol tasklist_lock", "", nil, false, nil, new(1.0), only}},
		{"heartbeat goes on", deadlock, "exec-step", func(w *world) {
			w.immune, w.alarmAfterFault = true,
				600*time.Millisecond
		},
			outcome{results.Invalid, "went on after the fault: 40 beats in 8000 ms", "", nil, false, nil, new(1.0), injected}},
		{"heartbeat goes on without a monitor", deadlock, "none", func(w *world) { w.immune = true },
			outcome{results.Invalid, "went on after the fault: 40 beats in 8000 ms", "", nil, false, nil, new(1.0),
				"trace, hold, remove, stop trace"}},
		{"monitor ended before the fault", deadlock, "exec-step",
			func(w *world) { w.endAfterAttach, w.detachErr = time.Second, errors.New("ring broke\nand more") },
			outcome{results.Invalid, "the monitor ended by itself; the monitor failed: ring broke; and more", "", nil, false,
				nil, nil, only}},
		{"monitor ended after the fault", deadlock, "exec-step", func(w *world) { w.endAfterAttach = 3 * time.Second },
			outcome{results.Invalid, "the monitor ended by itself", "", nil, false, nil, new(1.0), injected}},
		{"monitor fails to let go", idle, "exec-step", func(w *world) { w.detachErr = errors.New("view is busy") },
			outcome{results.Invalid, "the monitor failed: view is busy", "", nil, false, nil, new(1.0), only}},
		{"dead after detach", idle, "exec-step", func(w *world) { w.dieOnLeave = true },
			outcome{results.Invalid, "no progress after the monitor was detached", "", nil, false, nil, new(1.0), only}},
		{"never recovers", deadlock, "exec-step", func(w *world) { w.fatal, w.alarmAfterFault = true, 610*time.Millisecond },
			outcome{results.Invalid, "no progress after the monitor was detached", "", nil, true, no, new(1.0), injected}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.violations = trial.Violations{Trapped: 90, Lazy: 4, MMIO: 3, Superpage: 2, Residual: 1, Lost: 5}
			w.counters = accessed(80, monitor.Counts{Steps: 81, RingFull: 2})
			if tc.set != nil {
				tc.set(w)
			}
			p := job(tc.scenario, tc.mechanism)
			rec, err := w.run(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			records.check(t, tc.name, rec, nil, w)
			check := func(what string, got, want any) {
				t.Helper()
				if !reflect.DeepEqual(got, want) {
					g, _ := json.Marshal(got)
					w, _ := json.Marshal(want)
					t.Errorf("%s is %s, want %s", what, g, w)
				}
			}
			check("outcome", rec.Outcome, tc.want.outcome)
			if !strings.Contains(rec.Reason, tc.want.reason) || (rec.Reason == "") != (tc.want.reason == "") {
				t.Errorf("reason %q, want %q", rec.Reason, tc.want.reason)
			}
			if strings.Contains(rec.Reason, "\n") {
				t.Errorf("reason %q is more than a line", rec.Reason)
			}
			check("class", rec.Class, tc.want.class)
			check("detect_ns", rec.DetectNS, tc.want.detectNS)
			check("hang_ns is there", rec.HangNS != nil, tc.want.hang)
			check("recovered", rec.Recovered, tc.want.recovered)
			check("progress ratio", rec.Guest.ProgressRatio, tc.want.ratio)
			check("calls", strings.Join(w.calls, ", "), tc.want.calls)
			check("evidence", len(rec.Evidence) > 0, tc.want.class != "" || tc.want.outcome == results.Missed &&
				tc.mechanism != "none")
			if w.lock != 0 || w.paused != 0 || w.watching {
				t.Errorf("left behind: lock %#x, %d pauses, monitor attached: %v", w.lock, w.paused, w.watching)
			}
			if len(w.toldT0) != len(w.injectedAt) || len(w.toldT0) == 1 && w.toldT0[0] != w.injectedAt[0] {
				t.Errorf("told that the fault landed at %v, it was %v", w.toldT0, w.injectedAt)
			}
			// The log is not told of a fault that is removed because the trial broke off.
			if len(w.toldRemoved) > 1 || len(w.toldRemoved) == 1 && w.toldRemoved[0] != w.removedAt {
				t.Errorf("told that the fault was removed at %v, it was %v", w.toldRemoved, w.removedAt)
			}
			if rec.Recovered != nil && len(w.toldRemoved) == 0 {
				t.Error("not told that the fault was removed")
			}
		})
	}
}

// TestTimes: the instants of a trial. The instant of the fault moves with the seed, over
// two heartbeats.
func TestTimes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		seed  uint64
		after time.Duration // from attach to the fault
	}{
		{0, 2500 * time.Millisecond},
		{1, 2500*time.Millisecond + 1},
		{uint64(trial.Phase) - 1, 2900*time.Millisecond - 1},
		{uint64(trial.Phase), 2500 * time.Millisecond},
		{1<<64 - 1, 2500*time.Millisecond + time.Duration((1<<64-1)%uint64(trial.Phase))},
	} {
		w := newWorld(t)
		w.alarmAfterFault = time.Second
		p := job(deadlock, "exec-step")
		p.Seed = tc.seed
		rec, err := w.run(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if got := time.Duration(w.faulted - w.attached); got != tc.after {
			t.Errorf("seed %d: the fault came %v after the monitor, want %v", tc.seed, got, tc.after)
		}
		// The fault stays until the silence is beyond doubt, although the verdict came
		// before.
		if got := time.Duration(w.removedAt - w.faulted); got < 6*beat.Period || got > 6*beat.Period+2*sign.Poll {
			t.Errorf("seed %d: the fault was removed after %v", tc.seed, got)
		}
		if rec.HangNS == nil || *rec.HangNS != 0 {
			t.Errorf("seed %d: the guest stopped at once and hang_ns is %v", tc.seed, rec.HangNS)
		}
		if g := rec.Guest; g.BeatsBefore != 10 || g.BeatsDuring != 10 || g.BeatsHung != 0 || g.BeatsAfter < 2 {
			t.Errorf("seed %d: beats %+v, want 10 in each window of 2 s, none of the hung guest, and some afterwards", tc.seed,
				g)
		}
		if rec.WindowNS <= w.removedAt-w.attached {
			t.Errorf("seed %d: the window of %d ns ends before the fault was removed", tc.seed, rec.WindowNS)
		}
	}
}

// TestFalseAlarmGoesOn: a false alarm of a control does not end the trial. When it ends,
// and whether another follows, is measured too.
func TestFalseAlarmGoesOn(t *testing.T) {
	t.Parallel()
	for _, calm := range []time.Duration{never, 400 * time.Millisecond} {
		w := newWorld(t)
		w.alarmAfterAttach, w.calmAfterAlarm = 300*time.Millisecond, calm
		rec, err := w.run(t.Context(), job(idle, "exec-step"))
		if err != nil {
			t.Fatal(err)
		}
		p := job(idle, "exec-step")
		if rec.Outcome != results.FalseAlarm || rec.WindowNS < p.Timing.ObserveMS*1e6 || len(rec.Alarms) != 1 {
			t.Fatalf("calm after %v: %+v", calm, rec)
		}
		a := rec.Alarms[0]
		if a.Class != "spin" || a.StartNS != 300e6 {
			t.Errorf("calm after %v: alarm %+v", calm, a)
		}
		if ends := a.EndNS != nil; ends != (calm != never) || ends &&
			(*a.EndNS < a.StartNS+int64(calm) || *a.EndNS > a.StartNS+int64(calm+sign.Poll)) {
			t.Errorf("calm after %v: alarm %+v", calm, a)
		}
		if rec.Guest.ProgressRatio == nil {
			t.Errorf("calm after %v: the windows were not cut, and there is no progress", calm)
		}
		if rec.AllClearNS != nil {
			t.Errorf("calm after %v: all clear after %d ns, without a fault", calm, *rec.AllClearNS)
		}
	}
}

// TestEarlyAlarmEndsTrial: there is no fault after a false alarm.
func TestEarlyAlarmEndsTrial(t *testing.T) {
	t.Parallel()
	for _, after := range []time.Duration{300 * time.Millisecond, 2300 * time.Millisecond} {
		w := newWorld(t)
		w.alarmAfterAttach = after
		rec, err := w.run(t.Context(), job(deadlock, "exec-step"))
		if err != nil {
			t.Fatal(err)
		}
		if got := time.Duration(rec.WindowNS); got < after || got > after+sign.Poll || rec.Outcome != results.FalseAlarm ||
			w.faulted != 0 {
			t.Errorf("alarm after %v: %s, the monitor was detached after %v, the fault came at %d", after, rec.Outcome, got,
				w.faulted)
		}
	}
}

// TestNeighbours: a monitor that reports a healthy neighbour as hung has given a false
// alarm, whatever it reported of the guest. The record has the CPU time that dom0 used.
func TestNeighbours(t *testing.T) {
	t.Parallel()
	for _, alarms := range [][]monitor.Alarm{nil, {{Class: detect.ClassSoft, StartNS: 9e9}}} {
		w := newWorld(t)
		w.alarmAfterFault, w.neighbourAlarms = 610*time.Millisecond, alarms
		p := job(deadlock, "exec-step")
		p.Machine.Neighbours = 2
		rec, err := w.run(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		want := results.Detected
		if len(alarms) > 0 {
			want = results.FalseAlarm
		}
		if rec.Outcome != want || rec.Neighbours != 2 || len(rec.NeighbourAlarms) != len(alarms) {
			t.Errorf("alarms %+v: %+v", alarms, rec)
		}
		g := rec.Guest
		if window := p.Timing.BaselineMS * 1e6; g.PairedNS != window || g.Dom0BeforeNS != window/100 ||
			g.Dom0DuringNS != window/100 {
			t.Errorf("dom0 had %d ns before and %d during, of %d", g.Dom0BeforeNS, g.Dom0DuringNS, g.PairedNS)
		}
	}
}

// TestAllClear: after the fault is removed, the trial waits for the monitor's all-clear,
// for as long as the guest had to recover.
func TestAllClear(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		calm time.Duration
		want bool
	}{{0, true}, {900 * time.Millisecond, true}, {time.Hour, false}} {
		w := newWorld(t)
		w.alarmAfterFault, w.calmAfterRemoval = 1500*time.Millisecond, tc.calm
		rec, err := w.run(t.Context(), job(deadlock, "exec-step"))
		if err != nil {
			t.Fatal(err)
		}
		if rec.Outcome != results.Detected || rec.Recovered == nil || !*rec.Recovered || len(rec.Alarms) != 1 {
			t.Fatalf("calm after %v: %+v", tc.calm, rec)
		}
		got := rec.AllClearNS
		if (got != nil) != tc.want || tc.want != (rec.Alarms[0].EndNS != nil) || got != nil &&
			(*got < int64(tc.calm) || *got > int64(tc.calm+sign.Poll)) {
			t.Errorf("calm after %v: all clear %v, alarms %+v", tc.calm, got, rec.Alarms)
		}
	}
}

// TestHangTime: ground truth is the guest's last heartbeat, not the injection.
func TestHangTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.linger = time.Second
	rec, err := w.run(t.Context(), job(deadlock, "none"))
	if err != nil {
		t.Fatal(err)
	}
	if rec.HangNS == nil || *rec.HangNS < int64(time.Second-beat.Period) || *rec.HangNS > int64(time.Second+sign.Poll) {
		t.Errorf("the guest went on for %v: hang_ns is %v", w.linger, rec.HangNS)
	}
	if rec.Guest.BeatsHung != 5 {
		t.Errorf("%d beats after the fault, want 5", rec.Guest.BeatsHung)
	}
	// Without a monitor there is no reason to wait for the deadline.
	if d := time.Duration(w.removedAt - w.faulted); d > 3*time.Second {
		t.Errorf("mechanism none waited %v", d)
	}
}

// TestMissWaits: with a monitor a miss is a miss only at the deadline.
func TestMissWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.run(t.Context(), job(deadlock, "exec-step")); err != nil {
		t.Fatal(err)
	}
	if d := time.Duration(w.removedAt - w.faulted); d != 8*time.Second {
		t.Errorf("given up after %v, want 8s", d)
	}
}

// TestSlowIsNotHung: a guest that a monitor slows down eightfold beats every 1.6 s.
// Silence is measured by that pace.
func TestSlowIsNotHung(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.slow, w.immune, w.alarmAfterFault = 8, true, 500*time.Millisecond
	rec, err := w.run(t.Context(), job(deadlock, "exec-step"))
	if err != nil {
		t.Fatal(err)
	}
	if rec.Outcome != results.Invalid || !strings.Contains(rec.Reason, "went on after the fault") {
		t.Errorf("a slow guest that never hung: %s %q", rec.Outcome, rec.Reason)
	}
}

// TestEPT: violations on the trapped frame are divided into those that were delivered and
// the others.
func TestEPT(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		trapped, delivered     uint64
		permission, suppressed uint64
	}{
		{90, 80, 80, 10},
		{90, 90, 90, 0},
		{90, 95, 90, 0}, // the trace lost some
		{0, 0, 0, 0},
	} {
		w := newWorld(t)
		w.violations = trial.Violations{Trapped: tc.trapped, Lazy: 4, MMIO: 3, Superpage: 2, Residual: 1, Lost: 5}
		w.counters = accessed(tc.delivered, monitor.Counts{Steps: 7, RingFull: 6})
		rec, err := w.run(t.Context(), job(idle, "exec-step"))
		if err != nil {
			t.Fatal(err)
		}
		want := results.EPT{Total: tc.trapped + 10, Permission: tc.permission, Suppressed: tc.suppressed, Lazy: 4, MMIO: 3,
			Superpage: 2, Residual: 1, TraceLost: 5}
		if rec.EPT != want {
			t.Errorf("%d trapped, %d delivered: %+v, want %+v", tc.trapped, tc.delivered, rec.EPT, want)
		}
		if want := (results.Events{Delivered: tc.delivered, Steps: 7, RingFull: 6}); rec.Events != want {
			t.Errorf("events %+v, want %+v", rec.Events, want)
		}
		if err := rec.Validate(); err != nil {
			t.Error(err)
		}
	}
}

// TestThreshold: a suite's threshold and sampling period reach the monitor.
func TestThreshold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := job(idle, "exec-step")
	p.Thresholds, p.Timing.SampleMS = results.NewSettings(map[string]int64{"spin_ms": 50}), 20
	if _, err := w.run(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if want := "attach exec-step spin=50ms sample=20ms"; !slices.Contains(w.calls, want) {
		t.Errorf("calls %q, want %q among them", w.calls, want)
	}
	// A threshold that this program does not know ends the run.
	p.Thresholds = results.NewSettings(map[string]int64{"spinn_ms": 50})
	if _, err := newWorld(t).run(t.Context(), p); err == nil || !strings.Contains(err.Error(), "spinn_ms") {
		t.Errorf("unknown threshold: error %v", err)
	}
}

// TestStages: what the user is told, in order.
func TestStages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.alarmAfterFault = time.Second
	if _, err := w.run(t.Context(), job(deadlock, "exec-step")); err != nil {
		t.Fatal(err)
	}
	want := []string{"workload", "baseline", "attach", "observe", "inject", "remove", "detach"}
	if !slices.Equal(w.stages, want) {
		t.Errorf("stages %q, want %q", w.stages, want)
	}
}

// TestCancel: an interrupted trial has no record, and leaves nothing behind, at whatever
// point it was interrupted.
func TestCancel(t *testing.T) {
	t.Parallel()
	for _, stage := range []string{"workload", "baseline", "observe", "inject", "remove", "detach"} {
		t.Run(stage, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			w := newWorld(t)
			w.alarmAfterFault = time.Second
			// The failure of a monitor on the way out does not become the trial's outcome.
			w.detachErr = errors.New("view is busy")
			if stage == "detach" {
				w.detachErr = nil // here it would be the outcome
			}
			sleeps := 0
			w.onSleep = func() {
				if w.stages[len(w.stages)-1] != stage {
					return
				}
				if sleeps++; sleeps == 3 {
					cancel()
				}
			}
			rec, err := w.run(ctx, job(deadlock, "exec-step"))
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, record %+v; want %v", err, rec, context.Canceled)
			}
			count := func(call string) (n int) {
				for _, c := range w.calls {
					if c == call {
						n++
					}
				}
				return n
			}
			attached := 0
			if w.attached != 0 {
				attached = 1
			}
			if w.lock != 0 || count("remove") != count("hold") || count("detach") != attached ||
				count("trace") != count("stop trace") || w.paused != 0 {
				t.Errorf("left behind: lock %#x, %d pauses, calls %q", w.lock, w.paused, w.calls)
			}
			if faulted := w.faulted != 0; faulted != slices.Contains([]string{"inject", "remove", "detach"}, stage) {
				t.Errorf("the fault was injected: %v", faulted)
			}
			if i, j := slices.Index(w.calls, "remove"), slices.Index(w.calls, "detach"); i > j {
				t.Errorf("detached before the fault was removed: %q", w.calls)
			}
		})
	}
}

// TestHostFails: a failure of the host is an error and not an outcome. Everything that
// can be removed is removed.
func TestHostFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, tc := range []struct {
		name string
		set  func(*world)
		last string // call
	}{
		{"trace does not start", func(w *world) { w.traceErr = broken }, "trace"},
		{"monitor does not attach", func(w *world) { w.attachErr = broken }, "stop trace"},
		{"trace does not stop", func(w *world) { w.stopErr = broken }, "stop trace"},
		{"trace does not stop of an invalid trial", func(w *world) { w.stopErr, w.endAfterAttach = broken, time.Second },
			"stop trace"},
		{"fault is not removed", func(w *world) { w.removeErr = broken }, "stop trace"},
		{"fault of an invalid trial is not removed", func(w *world) { w.removeErr, w.immune = broken, true }, "stop trace"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.alarmAfterFault = time.Second
			tc.set(w)
			rec, err := w.run(t.Context(), job(deadlock, "exec-step"))
			if !errors.Is(err, broken) {
				t.Errorf("error %v, outcome %q", err, rec.Outcome)
			}
			if got := w.calls[len(w.calls)-1]; got != tc.last {
				t.Errorf("ended with %q, want %q: %q", got, tc.last, w.calls)
			}
			if w.watching {
				t.Error("the monitor is still attached")
			}
		})
	}
}

// TestNeverFree: if the place of the fault in the guest never becomes free, the trial is
// invalid, and the host has not failed.
func TestNeverFree(t *testing.T) {
	t.Parallel()
	for _, immune := range []bool{false, true} {
		w := newWorld(t)
		w.alarmAfterFault, w.immune = time.Second, immune
		w.removeErr = fmt.Errorf("made up: %w", inject.ErrBusy)
		rec, err := w.run(t.Context(), job(deadlock, "exec-step"))
		if err != nil || rec.Outcome != results.Invalid || !strings.Contains(rec.Reason, "could not be removed: ") {
			t.Errorf("immune %v: %s, %q (%v)", immune, rec.Outcome, rec.Reason, err)
		}
		if w.watching {
			t.Error("the monitor is still attached")
		}
	}
}

func TestUnknownNames(t *testing.T) {
	t.Parallel()
	for _, p := range []plan.Trial{job("no-such", "none"), job(idle, "no-such")} {
		w := newWorld(t)
		if _, err := w.run(t.Context(), p); err == nil || !strings.Contains(err.Error(), `"no-such"`) {
			t.Errorf("%s, %s: %v", p.Scenario, p.Mechanism, err)
		}
		if len(w.calls)+len(w.stages) != 0 {
			t.Errorf("something was done all the same: %q %q", w.calls, w.stages)
		}
	}
}
