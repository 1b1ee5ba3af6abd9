package trial_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"hangbench/guests/beat"
	"hangbench/results"
)

// TestTruth: each kind of fault is confirmed by its own sign, and by no other.
func TestTruth(t *testing.T) {
	t.Parallel()
	const (
		partial = "spinlock-deadlock-partial"
		blocked = "mutex-deadlock"
		bomb    = "fork-bomb"
		monitor = "monitor-livelock"
		end     = "panic"
	)
	two := func(w *world) { w.cpus, w.spared = 2, []int{0} }
	records := openGolden(t, "truth")
	for _, tc := range []struct {
		name      string
		scenario  string
		mechanism string
		set       func(*world)
		outcome   results.Outcome
		reason    string
		silent    []int
		recovered bool
		asked     []beat.Request
	}{
		{"one vCPU of two", partial, "none", two, results.Missed, "", []int{1}, true, nil},
		{"one vCPU of two, seen", partial, "exec-step", func(w *world) { two(w); w.alarmAfterFault = time.Second },
			results.Detected, "", []int{1}, true, nil},
		{"the other one of two", partial, "none", func(w *world) { w.cpus, w.spared = 2, []int{1} },
			results.Invalid, "heartbeat went on", []int{0}, false, nil},
		{"both instead of one", partial, "none", func(w *world) { w.cpus = 2 },
			results.Invalid, "was to stop one vCPU and stopped 2", []int{0, 1}, true, nil},
		{"one instead of both", deadlock, "none", two,
			results.Invalid, "heartbeat went on", []int{1}, true, nil},

		{"work stands still", blocked, "none", func(w *world) { w.idleHands = true }, results.Missed, "", nil, true,
			[]beat.Request{beat.Pass}},
		{"work goes on", blocked, "none", func(w *world) { w.immune = true },
			results.Invalid, "work went on after the fault: 800 units in 8000 ms", nil, false, []beat.Request{beat.Pass}},
		{"never unblocked", blocked, "none", func(w *world) { w.idleHands, w.fatal = true, true },
			results.Missed, "", nil, false, []beat.Request{beat.Pass}},
		{"nobody to pass", blocked, "none", func(w *world) { w.idleHands, w.numb = true, true },
			results.Invalid, "did not take up request", nil, false, nil},

		{"work collapses", bomb, "none", func(w *world) { w.pace = 20 }, results.Missed, "", nil, true,
			[]beat.Request{beat.Bomb, beat.Kill}},
		{"work is slow", bomb, "none", func(w *world) { w.pace = 5 },
			results.Invalid, "work went on", nil, false, []beat.Request{beat.Bomb, beat.Kill}},
		{"no bomb", bomb, "none", func(w *world) { w.numb = true },
			results.Invalid, "could not be injected: the guest did not take up request", nil, false, nil},

		{"held up, and let go", monitor, "exec-step", func(w *world) {
			w.backs, w.alarmAfterFault = true,
				500*time.Millisecond
		},
			results.Detected, "", nil, true, nil},
		{"held up, and nobody sees it", monitor, "exec-step", nil, results.Missed, "", []int{0}, true, nil},
		{"let go too soon to tell", monitor, "exec-step", func(w *world) {
			w.backs, w.alarmAfterFault = true,
				100*time.Millisecond
		},
			results.Invalid, "stood still for", nil, false, nil},
		{"held up by nobody", monitor, "exec-step", func(w *world) { w.immune = true }, results.Invalid, "stood still for",
			nil, false, nil},
		{"no monitor to hold it up", monitor, "none", nil, results.Invalid, "no monitor is attached", nil, false, nil},

		{"the end", end, "none", nil, results.Missed, "", []int{0}, false, nil},
		{"the end, seen", end, "exec-step", func(w *world) { w.alarmAfterFault = time.Second }, results.Detected, "",
			[]int{0}, false, nil},
		{"not the end", end, "none", func(w *world) { w.onSleep = func() { w.how = "" } }, results.Invalid, "had not ended",
			[]int{0}, false, nil},
		{"the end of somebody else", end, "none", func(w *world) { w.immune = true }, results.Invalid, "had not ended", nil,
			false, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if tc.set != nil {
				tc.set(w)
			}
			// The bomb alone hangs nobody.
			if tc.scenario == bomb {
				w.immune = true
			}
			rec, err := w.run(t.Context(), job(tc.scenario, tc.mechanism))
			if err != nil {
				t.Fatal(err)
			}
			records.check(t, tc.name, rec, nil, w)
			if rec.Outcome != tc.outcome || !strings.Contains(rec.Reason, tc.reason) {
				t.Errorf("%s (%s), want %s (%s)", rec.Outcome, rec.Reason, tc.outcome, tc.reason)
			}
			if !reflect.DeepEqual(rec.Guest.SilentVCPUs, tc.silent) {
				t.Errorf("silent vCPUs %v, want %v", rec.Guest.SilentVCPUs, tc.silent)
			}
			if recovered := rec.Recovered != nil && *rec.Recovered; recovered != tc.recovered {
				// A trial whose truth was refuted removes the fault and ends.
				if rec.Outcome != results.Invalid {
					t.Errorf("recovered: %v, want %v", recovered, tc.recovered)
				}
			}
			if tc.scenario == end && rec.Recovered != nil {
				t.Error("a fault without a way back has recovered: yes or no")
			}
			if !slices.Equal(w.asked, tc.asked) {
				t.Errorf("requests %v, want %v", w.asked, tc.asked)
			}
			if w.lock != 0 || w.storm || w.paused != 0 || w.watching {
				t.Errorf("left behind: lock %#x, storm %v, %d pauses, monitor attached %v", w.lock, w.storm, w.paused, w.watching)
			}
			if tc.outcome == results.Missed && rec.HangNS == nil {
				t.Error("the ground truth is confirmed and has no time")
			}
		})
	}
}

func TestEndedFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endErr = errors.New("no such domain")
	if _, err := w.run(t.Context(), job("panic", "none")); !errors.Is(err, w.endErr) {
		t.Errorf("error %v, want %v", err, w.endErr)
	}
}

// TestPartialNeedsTwo: with one vCPU the same fault would be another one.
func TestPartialNeedsTwo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if rec, err := w.run(t.Context(), job("soft-lockup-partial", "none")); err == nil {
		t.Errorf("it ran: %s", rec.Outcome)
	}
}

// TestDisturb: the disturbance of a control is removed, and must have had an effect.
func TestDisturb(t *testing.T) {
	t.Parallel()
	const pause, stopped, jump = "control-pause", "control-stopped-task", "control-time-jump"
	records := openGolden(t, "disturb")
	for _, tc := range []struct {
		name, scenario string
		set            func(*world)
		outcome        results.Outcome
		reason         string
		asked          []beat.Request
	}{
		{"pause", pause, nil, results.Clean, "", nil},
		{"alarm while paused", pause, func(w *world) { w.alarmAfterAttach = 4 * time.Second }, results.FalseAlarm, "", nil},
		{"alarm before", pause, func(w *world) { w.alarmAfterAttach = time.Second }, results.FalseAlarm, "", nil},
		{"stopped task", stopped, func(w *world) { w.pace = 1000 }, results.Clean, "",
			[]beat.Request{beat.Stop, beat.Continue}},
		{"a task that is not stopped", stopped, nil, results.Invalid, "the disturbance did not take: 400 units",
			[]beat.Request{beat.Stop, beat.Continue}},
		{"time jump", jump, nil, results.Clean, "", []beat.Request{beat.Later, beat.Earlier}},
		{"no time jump", jump, func(w *world) { w.numb = true }, results.Invalid, "could not be disturbed", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if tc.set != nil {
				tc.set(w)
			}
			rec, err := w.run(t.Context(), job(tc.scenario, "exec-step"))
			if err != nil {
				t.Fatal(err)
			}
			records.check(t, tc.name, rec, nil, w)
			if rec.Outcome != tc.outcome || !strings.Contains(rec.Reason, tc.reason) {
				t.Errorf("%s (%s), want %s (%s)", rec.Outcome, rec.Reason, tc.outcome, tc.reason)
			}
			if !slices.Equal(w.asked, tc.asked) || w.paused != 0 || w.storm {
				t.Errorf("requests %v, want %v; left: %d pauses, stopped %v", w.asked, tc.asked, w.paused, w.storm)
			}
			if rec.Recovered != nil || rec.HangNS != nil {
				t.Error("a control has hung")
			}
		})
	}
}
