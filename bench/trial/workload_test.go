package trial_test

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"hangbench/bench/plan"
	"hangbench/bench/trial"
	"hangbench/guests/beat"
	"hangbench/guests/stress"
	"hangbench/monitor"
	"hangbench/results"
)

func workload(mechanism string) plan.Trial {
	p := job("workload-cpu", mechanism)
	p.Machine.Programs = "stress-ng"
	return p
}

// TestPaired: the workload runs in windows with the monitor off, on, on and off, each with
// the trace, and what the monitor counted in its windows is added up.
func TestPaired(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.slowWork = 1.25
	w.violations = trial.Violations{Trapped: 90, Lazy: 4, Lost: 1}
	w.counters = accessed(80, monitor.Counts{Steps: 81, Samples: 20})
	rec, err := w.run(t.Context(), workload("exec-step"))
	if err != nil {
		t.Fatal(err)
	}
	if err := rec.Validate(); err != nil || rec.Outcome != results.Clean || rec.Programs != "stress-ng" {
		t.Fatalf("%v: %+v", err, rec)
	}
	off, on := results.Window{Ops: 1000, NS: 1e9}, results.Window{Monitor: true, Ops: 800, NS: 1e9}
	want := &results.Workload{Program: "stress-ng 0.19.02", Op: stress.CPU.Op(),
		Windows: []results.Window{off, on, on, off}}
	if !reflect.DeepEqual(rec.Workload, want) {
		t.Errorf("workload %+v, want %+v", rec.Workload, want)
	}
	const watched = "trace, attach exec-step spin=500ms sample=100ms, detach, stop trace, "
	const alone = "trace, stop trace"
	if got, want := strings.Join(w.calls, ", "), alone+", "+watched+watched+alone; got != want {
		t.Errorf("calls\n%s\nwant\n%s", got, want)
	}
	if want := (results.EPT{Total: 188, Permission: 160, Suppressed: 20, Lazy: 8, TraceLost: 2}); rec.EPT != want {
		t.Errorf("violations %+v, want %+v: those of both windows", rec.EPT, want)
	}
	if rec.Events.Delivered != 160 || rec.Events.Steps != 162 || rec.Events.Samples != 40 {
		t.Errorf("events %+v", rec.Events)
	}
	seconds := uint64(workload("none").Timing.BaselineMS / 1000)
	orders := []beat.Order{{Work: uint64(stress.CPU), Seconds: trial.WarmUp}}
	for range 4 {
		orders = append(orders, beat.Order{Work: uint64(stress.CPU), Seconds: seconds})
	}
	if !slices.Equal(w.orders, orders) {
		t.Errorf("orders %+v, want %+v", w.orders, orders)
	}
	if g := rec.Guest; g.BeatsBefore == 0 || g.BeatsDuring == 0 || g.BeatsAfter == 0 || g.ProgressRatio == nil ||
		math.Abs(*g.ProgressRatio-0.8) > 1e-9 {
		t.Errorf("guest %+v", g)
	}
	// Both windows with the monitor count, none of those without.
	if least, most := 2*int64(seconds)*1e9, 2*(int64(seconds)*1e9+int64(time.Second)); rec.WindowNS < least ||
		rec.WindowNS > most {
		t.Errorf("window of %d ns, want %d to %d", rec.WindowNS, least, most)
	}
}

// TestPairedOutcomes: everything that goes wrong is in the record.
func TestPairedOutcomes(t *testing.T) {
	t.Parallel()
	change := func(f func(*beat.Sample)) func(*world) {
		return func(w *world) {
			w.delivers = func(s beat.Sample) beat.Sample {
				f(&s)
				return s
			}
		}
	}
	records := openGolden(t, "paired")
	for _, tc := range []struct {
		name, mechanism string
		set             func(*world)
		outcome         results.Outcome
		reason          string
		windows         int
	}{
		{"no monitor", "none", func(w *world) { w.slowWork = 2 }, results.Clean, "", 4},
		{"a false alarm goes on", "exec-step", func(w *world) { w.alarmAfterAttach = 300 * time.Millisecond },
			results.FalseAlarm, "", 4},
		{"the work fails", "none", change(func(s *beat.Sample) { s.Failed = true }), results.Invalid,
			"the guest could not do cpu; its console says why", 0},
		{"no time", "none", change(func(s *beat.Sample) { s.NS = 0 }), results.Invalid,
			"the guest says that it did 1000 operations of cpu in 0 ns", 0},
		{"too long", "none", change(func(s *beat.Sample) { s.NS = math.MaxUint64 }), results.Invalid, "the guest says that",
			0},
		{"too much", "none", change(func(s *beat.Sample) { s.Ops = 1 << 60 }), results.Invalid, "the guest says that", 0},
		{"no version of ours", "none", change(func(s *beat.Sample) { s.Version = 1e6 }), results.Invalid,
			"with version 1000000", 0},
		{"as much as is believed", "none", change(func(s *beat.Sample) {
			s.NS, s.Ops, s.Version = uint64(stress.MostReal), stress.MostOps, stress.MostVersion
		}), results.Clean, "", 4},
		{"a false alarm in the last window", "exec-step", func(w *world) {
			w.onSleep = func() {
				attached := func(c string) bool { return strings.HasPrefix(c, "attach ") }
				if first := slices.IndexFunc(w.calls, attached); first >= 0 && slices.ContainsFunc(w.calls[first+1:], attached) {
					w.alarmAfterAttach, w.onSleep = 300*time.Millisecond, nil
				}
			}
		}, results.FalseAlarm, "", 4},
		{"of PID 1's own", "none", change(func(s *beat.Sample) { s.Version = 0 }), results.Clean, "", 4},
		{"nothing done without the monitor", "none", change(func(s *beat.Sample) { s.Ops = 0 }), results.Invalid,
			"cpu did nothing in a window without a monitor", 0},
		{"never done", "none", func(w *world) { w.onSleep = func() { w.doneAt = w.now + 1e9 } }, results.Invalid,
			"the guest was not done with 1 s of cpu after 71 s", 0},
		{"no requests", "none", func(w *world) { w.numb = true }, results.Invalid, "was not done", 0},
		{"the trap is not armed", "exec-step", func(w *world) { w.signals = 0 }, results.Invalid, "the trap is not armed", 1},
		{"the monitor ends by itself", "exec-step", func(w *world) { w.endAfterAttach = time.Second }, results.Invalid,
			"the monitor ended by itself", 1},
		{"the monitor fails to let go", "exec-step", func(w *world) { w.detachErr = errors.New("view is busy") },
			results.Invalid, "the monitor failed: view is busy", 1},
		{"dead after detach", "exec-step", func(w *world) { w.dieOnLeave = true }, results.Invalid,
			"the guest was not done with 2 s of cpu", 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tc.set(w)
			rec, err := w.run(t.Context(), workload(tc.mechanism))
			if err != nil {
				t.Fatal(err)
			}
			records.check(t, tc.name, rec, nil, w)
			n := 0
			if rec.Workload != nil {
				n = len(rec.Workload.Windows)
			}
			if rec.Outcome != tc.outcome || !strings.Contains(rec.Reason, tc.reason) || n != tc.windows {
				t.Errorf("%s (%s) with %d windows, want %s (%s) with %d", rec.Outcome, rec.Reason, n, tc.outcome, tc.reason,
					tc.windows)
			}
			count := map[string]int{}
			for _, c := range w.calls {
				name, _, _ := strings.Cut(c, " exec-step")
				count[name]++
			}
			if count["trace"] != count["stop trace"] || count["attach"] != count["detach"] {
				t.Errorf("a trace was left running, or a monitor attached: %q", w.calls)
			}
		})
	}
}

// TestPairedHost: an error of the host is not an outcome.
func TestPairedHost(t *testing.T) {
	t.Parallel()
	broken := errors.New("no trace buffers")
	for _, set := range []func(*world){func(w *world) { w.traceErr = broken }, func(w *world) { w.stopErr = broken },
		func(w *world) { w.attachErr = broken }} {
		w := newWorld(t)
		set(w)
		if rec, err := w.run(t.Context(), workload("exec-step")); !errors.Is(err, broken) {
			t.Errorf("%v: %+v", err, rec)
		}
	}
}
