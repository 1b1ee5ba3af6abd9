package trial_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"hangbench/results"
)

// TestBounded: a fault that is removed after a time, with everything that guest and
// monitor can do meanwhile.
func TestBounded(t *testing.T) {
	t.Parallel()
	const whole = "trace, attach exec-step spin=500ms sample=100ms, hold, remove, detach, stop trace"
	yes, no := new(bool), new(bool)
	*yes = true
	records := openGolden(t, "bounded")
	for _, tc := range []struct {
		name      string
		scenario  string
		ms        int64
		set       func(*world)
		outcome   results.Outcome
		reason    string
		recovered *bool
		calls     string
	}{
		{"undone before a verdict", deadlock, 2000, nil, results.Undone, "", yes, whole},
		{"of a length that is no multiple of the poll", deadlock, 1010, nil, results.Undone, "", yes, whole},
		{"short", deadlock, 500, nil, results.Undone, "", yes, whole},
		{"detected meanwhile", deadlock, 2000, func(w *world) { w.alarmAfterFault = 610 * time.Millisecond },
			results.Detected, "", yes, whole},
		{"detected before the guest goes on", deadlock, 2000, func(w *world) { w.alarmAfterFault = 2010 * time.Millisecond },
			results.Detected, "", yes, whole},
		{"verdict when all is over", deadlock, 2000, func(w *world) { w.alarmAfterFault = 3900 * time.Millisecond },
			results.FalseAlarm, "", yes, whole},
		{"work stands still", "mutex-deadlock", 2000, func(w *world) { w.idleHands = true }, results.Undone, "", yes,
			"trace, attach exec-step spin=500ms sample=100ms, hold, detach, stop trace"},
		{"nothing hangs", deadlock, 2000, func(w *world) { w.immune = true }, results.Invalid, "never paused for more than",
			yes, whole},
		{"short, and nothing hangs", deadlock, 500, func(w *world) { w.immune = true }, results.Invalid,
			"never paused for more than", yes, whole},
		{"work goes on", "mutex-deadlock", 2000, func(w *world) { w.immune = true }, results.Invalid, "work never paused",
			yes, "trace, attach exec-step spin=500ms sample=100ms, hold, detach, stop trace"},
		{"storm", "fork-bomb", 8000, func(w *world) { w.pace = 50 }, results.Undone, "", yes, ""},
		{"storm that is none", "fork-bomb", 8000, nil, results.Invalid, "work went on during the fault", yes, ""},
		{"one of two vCPUs", "spinlock-deadlock-partial", 2000, func(w *world) { w.cpus, w.spared = 2, []int{0} },
			results.Undone, "", yes, whole},
		{"both instead of one", "spinlock-deadlock-partial", 2000, func(w *world) { w.cpus = 2 }, results.Invalid,
			"was to stop one vCPU and stopped 2", yes, whole},
		{"never goes on", deadlock, 2000, func(w *world) { w.fatal = true }, results.Invalid, "no progress after", no, whole},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if tc.set != nil {
				tc.set(w)
			}
			p := job(tc.scenario, "exec-step")
			p.BoundedMS, p.Machine.VCPUs = tc.ms, w.cpus
			rec, err := w.run(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			records.check(t, tc.name, rec, nil, w)
			if rec.Outcome != tc.outcome || !strings.Contains(rec.Reason, tc.reason) ||
				!reflect.DeepEqual(rec.Recovered, tc.recovered) {
				t.Errorf("%s (%s), recovered %v; want %s (%s), %v", rec.Outcome, rec.Reason, rec.Recovered, tc.outcome, tc.reason,
					tc.recovered)
			}
			if calls := strings.Join(w.calls, ", "); tc.calls != "" && calls != tc.calls {
				t.Errorf("calls %s, want %s", calls, tc.calls)
			}
			if rec.BoundedMS != tc.ms || rec.UndoneNS == nil || *rec.UndoneNS < tc.ms*1e6 {
				t.Errorf("bounded to %d ms, undone %v", rec.BoundedMS, rec.UndoneNS)
			}
			if resumed := rec.ResumedNS != nil; resumed != *tc.recovered || resumed && *rec.ResumedNS <= *rec.UndoneNS {
				t.Errorf("undone at %v, resumed at %v", *rec.UndoneNS, rec.ResumedNS)
			}
			if hang := rec.HangNS != nil; hang != (tc.reason == "" || tc.outcome != results.Invalid || !*tc.recovered) {
				t.Errorf("hang at %v", rec.HangNS)
			}
		})
	}
}

// TestUnbounded: a fault that cannot be removed cannot be bounded.
func TestUnbounded(t *testing.T) {
	t.Parallel()
	for _, id := range []string{idle, "panic"} {
		p := job(id, "exec-step")
		p.BoundedMS = 500
		if _, err := newWorld(t).run(t.Context(), p); err == nil || !strings.Contains(err.Error(), "cannot be bounded") {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// TestSlowDisturbance: a disturbance that slows a control down must have done so.
func TestSlowDisturbance(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"control-slow-disk", "control-limited-bomb"} {
		for pace, want := range map[float64]results.Outcome{20: results.Clean, 1: results.Invalid} {
			w := newWorld(t)
			w.pace = pace
			rec, err := w.run(t.Context(), job(id, "exec-step"))
			if err != nil {
				t.Fatal(err)
			}
			if rec.Outcome != want || want == results.Invalid && !strings.Contains(rec.Reason, "did not take") {
				t.Errorf("%s, work %g times slower: %s (%s), want %s", id, pace, rec.Outcome, rec.Reason, want)
			}
		}
	}
}
