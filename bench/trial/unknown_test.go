package trial_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"hangbench/guests/beat"
	"hangbench/results"
	"hangbench/scenarios"
	places "hangbench/scenarios/outcome"
)

// TestUnknown: what becomes of a guest is told by its own counters until the deadline, and
// the verdict is held against it.
func TestUnknown(t *testing.T) {
	t.Parallel()
	const s = time.Second
	spins := places.Place{Symbol: "queued_read_lock_slowpath", Interrupts: true}
	for _, tc := range []struct {
		name     string
		world    func(*world)
		edit     func(*results.Declaration)
		outcome  results.Outcome
		what     string // of the effect; empty: none is recorded
		class    string
		right    string
		stopped  string
		detectNS time.Duration // 0: none
	}{
		{name: "nothing", world: func(w *world) { w.immune = true }, outcome: results.Clean, what: "not-reached"},
		{name: "all hangs and is seen", world: func(w *world) { w.alarmAfterFault, w.place = 2*s, spins },
			outcome: results.Detected, what: "full", class: "spin", right: "spin",
			stopped: "beat 0, work 0, canary sleep, canary open, canary fork, canary page, pid1", detectNS: 2 * s},
		{name: "all hangs and is missed", world: func(w *world) { w.place = spins }, outcome: results.Missed,
			what: "full", right: "spin",
			stopped: "beat 0, work 0, canary sleep, canary open, canary fork, canary page, pid1"},
		{name: "a part hangs", world: func(w *world) { w.spares, w.alarmAfterFault, w.place = true, s, spins },
			outcome: results.Detected, what: "partial", class: "spin", right: "spin", stopped: "beat 0, work 0", detectNS: s},
		{name: "tasks hang", world: func(w *world) {
			w.spares, w.idleHands, w.class, w.alarmAfterFault = true, true, "hard", s
		},
			outcome: results.Detected, what: "partial", class: "hard", right: "blocked", stopped: "work 0", detectNS: s},
		{name: "an alarm that is over before", world: func(w *world) {
			w.spares, w.linger, w.alarmAfterFault, w.calmAfterAlarm = true, 3*s, s, s
		}, outcome: results.FalseAlarm, what: "partial", class: "spin", right: "hard", stopped: "beat 0, work 0"},
		{name: "an alarm that begins before and lasts", world: func(w *world) {
			w.spares, w.linger, w.alarmAfterFault = true, 3*s, s
		}, outcome: results.Detected, what: "partial", class: "spin", right: "hard", stopped: "beat 0, work 0", detectNS: s},
		{name: "a false alarm", world: func(w *world) { w.immune, w.alarmAfterFault = true, s },
			outcome: results.FalseAlarm, what: "not-reached", class: "spin"},
		{name: "an alarm before", world: func(w *world) { w.alarmAfterAttach = s },
			outcome: results.FalseAlarm, class: "spin"},
		{name: "a crash", world: func(w *world) { w.alarmAfterFault, w.class = s, "panic" },
			edit: func(d *results.Declaration) {
				d.Do, d.Args, d.Final = "crash", map[string]string{"function": "kernel_wait4"}, true
			},
			outcome: results.Detected, what: "crashed", class: "panic", right: "panic", detectNS: s,
			stopped: ""},
	} {
		w := newWorld(t)
		tc.world(w)
		rec, err := w.run(t.Context(), declared(t, scenarios.NotKnown, tc.edit))
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		what, right, stopped := "", "", ""
		if e := rec.Effect; e != nil {
			what, right, stopped = e.What, strings.Join(e.Right, ", "), strings.Join(e.Stopped, ", ")
		}
		detected := time.Duration(0)
		if rec.DetectNS != nil {
			detected = time.Duration(*rec.DetectNS)
		}
		if rec.Kind != results.Unknown || rec.Outcome != tc.outcome || what != tc.what || rec.Class != tc.class ||
			right != tc.right || stopped != tc.stopped || detected != tc.detectNS {
			t.Errorf("%s: %s %s (%s) %q, right %q, stopped %q, after %v; want %+v", tc.name, rec.Outcome, what, rec.Reason,
				rec.Class, right, stopped, detected, tc)
		}
		if tc.what != "crashed" && w.lock != 0 {
			t.Errorf("%s: the lock is held in the end: %v", tc.name, w.calls)
		}
	}
}

// TestUnknownEnds: a guest that hangs partly is followed to the deadline, verdict or not:
// the hang may grow. One that hangs as a whole is not, once there is a verdict.
func TestUnknownEnds(t *testing.T) {
	t.Parallel()
	follow := func(edit func(*world)) (took time.Duration, rec results.Trial) {
		w := newWorld(t)
		w.alarmAfterFault = time.Second
		edit(w)
		rec, err := w.run(t.Context(), declared(t, scenarios.NotKnown, nil))
		if err != nil {
			t.Fatal(err)
		}
		from, to := slices.Index(w.stages, "follow"), slices.Index(w.stages, "remove")
		return time.Duration(w.stagesAt[to] - w.stagesAt[from]), rec
	}
	if took, rec := follow(func(w *world) { w.spares = true }); took != 8*time.Second ||
		rec.Effect.What != results.PartHung {
		t.Errorf("a partial hang was followed for %v: %+v", took, rec.Effect)
	}
	if took, rec := follow(func(*world) {}); took < 1200*time.Millisecond || took > 1500*time.Millisecond ||
		rec.Effect.What != results.AllHung || rec.Effect.Grew || len(rec.Effect.Places) != 1 {
		t.Errorf("a full hang was followed for %v: %+v", took, rec.Effect)
	}
}

// TestUnknownMended: a guest that does not go on when the fault has been removed is no reason
// to refuse the trial.
func TestUnknownMended(t *testing.T) {
	t.Parallel()
	for fatal, want := range map[bool]bool{false: true, true: false} {
		w := newWorld(t)
		w.fatal = fatal
		rec, err := w.run(t.Context(), declared(t, scenarios.NotKnown, nil))
		if err != nil || rec.Outcome != results.Missed || rec.Recovered == nil || *rec.Recovered != want {
			t.Errorf("fatal %v: %s %s, %v, recovered %v", fatal, rec.Outcome, rec.Reason, err, rec.Recovered)
		}
	}
}

// TestUnknownInvalid: a guest in which a canary does nothing before the fault tells nothing.
func TestUnknownInvalid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mute = []beat.Canary{beat.Forker}
	rec, err := w.run(t.Context(), declared(t, scenarios.NotKnown, nil))
	if err != nil || rec.Outcome != results.Invalid || rec.Reason != "the canary fork does nothing in a healthy guest" {
		t.Errorf("%s %q, %v", rec.Outcome, rec.Reason, err)
	}
}
