package trial_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hangbench/bench/trial"
	"hangbench/guests/beat"
	"hangbench/results"
	"hangbench/scenarios/suites"
)

// TestLongWindow: a long window says every 20 s how far it is.
func TestLongWindow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := job(idle, "none")
	p.Timing.ObserveMS = p.Timing.BaselineMS + 61_000
	p.Seed = 0
	if _, err := w.run(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	i := slices.Index(w.stages, "observe")
	began := w.stagesAt[i] + p.Timing.BaselineMS*1e6
	want := []string{"20 of 61 s", "40 of 61 s", "60 of 61 s"}
	for k, s := range want {
		if at := began + int64(k+1)*20e9; w.stages[i+1+k] != s || w.stagesAt[i+1+k] != at {
			t.Errorf("stage %q at %d, want %q at %d", w.stages[i+1+k], w.stagesAt[i+1+k], s, at)
		}
	}
	if got := w.stages[i+1+len(want)]; got != "detach" {
		t.Errorf("stage %q, want detach", got)
	}
}

// TestLateHost: a verdict after the deadline is none, also if the host looks so late that
// it finds it at its last look.
func TestLateHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.alarmAfterFault = 8010 * time.Millisecond
	w.onSleep = func() {
		if w.faulted != 0 && w.now == w.faulted+int64(7980*time.Millisecond) {
			w.now += int64(40 * time.Millisecond)
			w.watch()
		}
	}
	rec, err := w.run(t.Context(), job(deadlock, "exec-step"))
	if err != nil || rec.Outcome != results.Missed || rec.DetectNS != nil || len(rec.Alarms) != 1 {
		t.Errorf("%+v, %v; want a miss with an alarm", rec, err)
	}
}

func TestPairedWindows(t *testing.T) {
	t.Parallel()
	if got := trial.PairedWindows(2 * time.Second); got != 9*time.Second {
		t.Errorf("four windows of 2 s and a second to warm up take %v", got)
	}
}

// TestInterruptedInjection: a trial that is interrupted while the injector waits is
// interrupted and not invalid; a fault that is in place by then is removed.
func TestInterruptedInjection(t *testing.T) {
	t.Parallel()
	for _, scenario := range []string{deadlock, "fork-bomb", "control-limited-bomb", "control-time-jump"} {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			w := newWorld(t)
			w.immune = true
			sleeps := 0
			w.onSleep = func() {
				stage := w.stages[len(w.stages)-1]
				if stage != "inject" && stage != "disturb" {
					w.lock = 0
					if stage == "observe" {
						w.lock = 0xff // somebody holds it: the injector waits
					}
					return
				}
				if sleeps++; sleeps == 1 {
					cancel()
				}
			}
			rec, err := w.run(ctx, job(scenario, "exec-step"))
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, record %s %q", err, rec.Outcome, rec.Reason)
			}
			if slices.Contains(w.calls, "hold") || w.storm || w.watching || w.paused != 0 {
				t.Errorf("left behind: calls %q, storm %v", w.calls, w.storm)
			}
			undone := map[string][]beat.Request{
				"fork-bomb": {beat.Bomb, beat.Kill}, "control-limited-bomb": {beat.Limited, beat.Kill},
				"control-time-jump": {beat.Later, beat.Earlier},
			}
			if !slices.Equal(w.asked, undone[scenario]) {
				t.Errorf("asked for %v, want %v", w.asked, undone[scenario])
			}
		})
	}
}

// TestVerdictAtResumption: a verdict at the instant at which a guest goes on from a
// bounded fault is no false alarm; one a moment later is.
func TestVerdictAtResumption(t *testing.T) {
	t.Parallel()
	bounded := func(alarm time.Duration) results.Trial {
		w := newWorld(t)
		w.alarmAfterFault = alarm
		p := job(deadlock, "exec-step")
		p.BoundedMS = 2000
		rec, err := w.run(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		return rec
	}
	resumed := time.Duration(*bounded(never).ResumedNS)
	for alarm, want := range map[time.Duration]results.Outcome{resumed: results.Detected, resumed +
		1: results.FalseAlarm} {
		if rec := bounded(alarm); rec.Outcome != want {
			t.Errorf("alarm %v after the fault, the guest goes on after %v: %s, want %s", alarm, resumed, rec.Outcome, want)
		}
	}
}

// TestFindingAtFault: what an observer beside reports at the instant of the fault counts
// as a report, and one that fails then has watched for no time.
func TestFindingAtFault(t *testing.T) {
	t.Parallel()
	run := func(set func(*madeUp)) (results.Finding, *world, *madeUp) {
		w := newWorld(t)
		p := job(deadlock, "none")
		m := &madeUp{name: "a", w: w}
		set(m)
		env := w.env(p)
		env.Beside = []trial.Observer{m}
		rec, err := trial.Run(t.Context(), p, env)
		if err != nil || len(rec.Findings) != 1 {
			t.Fatalf("%+v, %v", rec, err)
		}
		return rec.Findings[0], w, m
	}
	_, w, m := run(func(*madeUp) {})
	before := time.Duration(w.faulted - m.attached)
	for early, want := range map[time.Duration]string{before: "1 report, 0 false alarms",
		before - 1: "0 report, 1 false alarms"} {
		f, _, _ := run(func(m *madeUp) { m.early = early })
		if got := fmt.Sprintf("%d report, %d false alarms", f.Reports, f.FalseAlarms); got != want {
			t.Errorf("reported %v after attach, the fault came after %v: %s, want %s", early, before, got, want)
		}
	}
	for after, armed := range map[time.Duration]bool{before: true, before - 20*time.Millisecond: false} {
		f, _, _ := run(func(m *madeUp) { m.diesAfterAttach = after })
		if f.Armed != armed || f.WatchedNS != 0 || f.Failed != "a ended" {
			t.Errorf("failed %v after attach, the fault came after %v: %+v", after, before, f)
		}
	}
}

// emptyJoin is an error that consists of no others.
type emptyJoin struct{}

func (emptyJoin) Error() string   { return "nothing" }
func (emptyJoin) Unwrap() []error { return nil }

// TestEmptyError: an error that consists of nothing is a failure of the host.
func TestEmptyError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := job(deadlock, "probe")
	p.Observers = []suites.Observer{{Name: "probe", Command: []string{"/bin/probe"}}}
	env := w.env(p)
	env.Watcher = &madeUp{name: "probe", w: w, attachErr: emptyJoin{}}
	if rec, err := trial.Run(t.Context(), p, env); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("%s %q, %v", rec.Outcome, rec.Reason, err)
	}
}
