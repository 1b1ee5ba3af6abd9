package trial_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"hangbench/bench/plan"
	"hangbench/results"
)

// declared is a trial of a fault that its suite declares.
func declared(t *testing.T, class string, edit func(*results.Declaration)) plan.Trial {
	t.Helper()
	d := results.Declaration{Do: "hold", Args: map[string]string{"rwlock": "tasklist_lock"}, Work: "busy", Class: class}
	if edit != nil {
		edit(&d)
	}
	text, err := d.Text()
	if err != nil {
		t.Fatal(err)
	}
	p := job("mine", "exec-step")
	p.Declared = text
	return p
}

// TestDeclared: a declared fault is injected, confirmed, removed and recorded as the
// suite says, with its declaration.
func TestDeclared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cpus, w.spared, w.alarmAfterFault = 3, []int{0, 2}, time.Second
	p := declared(t, "spin", nil)
	rec, err := w.run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if rec.Outcome != results.Detected || rec.Kind != results.Fault || rec.Expected != "spin" || rec.Scenario != "mine" ||
		rec.Declared != p.Declared || !slices.Equal(rec.Guest.SilentVCPUs, []int{1}) || rec.Recovered == nil ||
		!*rec.Recovered || *rec.DetectNS != int64(time.Second) {
		t.Errorf("%s %s: %+v", rec.Outcome, rec.Reason, rec)
	}
	if got := strings.Join(w.calls, ", "); !strings.Contains(got, "hold, remove") {
		t.Errorf("done to the guest: %s", got)
	}
	planned := p.Planned()
	planned.VCPUs = 3
	if err := planned.Check(&rec); err != nil {
		t.Error(err)
	}

	// It is final: the guest does not go on, and nobody waits for it.
	w = newWorld(t)
	w.alarmAfterFault, w.fatal = time.Second, true
	rec, err = w.run(t.Context(), declared(t, "hard", func(d *results.Declaration) { d.Final = true }))
	if err != nil || rec.Outcome != results.Detected || rec.Expected != "hard" || rec.Recovered != nil {
		t.Errorf("final: %s %s, %v", rec.Outcome, rec.Reason, err)
	}
}

// TestDeclaredControl: a declared fault of class none is a control, which is disturbed for
// ten seconds, and whose guest must have been slower meanwhile.
func TestDeclaredControl(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		immune bool
		alarm  time.Duration
		want   results.Outcome
		reason string
	}{
		"clean":       {false, never, results.Clean, ""},
		"false alarm": {false, 9 * time.Second, results.FalseAlarm, ""},
		"no effect":   {true, never, results.Invalid, "the disturbance did not take: "},
	} {
		w := newWorld(t)
		w.immune, w.alarmAfterAttach = tc.immune, tc.alarm
		rec, err := w.run(t.Context(), declared(t, "none", nil))
		if err != nil || rec.Outcome != tc.want || rec.Kind != results.Control || rec.Expected != "" ||
			!strings.HasPrefix(rec.Reason, tc.reason) || w.lock != 0 {
			t.Errorf("%s: %s %s %q, %v; lock %#x", name, rec.Kind, rec.Outcome, rec.Reason, err, w.lock)
		}
	}
}

// toolstack is a trial of a control whose guest the toolstack disturbs.
func toolstack(t *testing.T, args map[string]string) plan.Trial {
	t.Helper()
	return declared(t, "none", func(d *results.Declaration) { d.Do, d.Args, d.Work = "toolstack", args, "idle" })
}

// TestSaved: the monitor of a guest whose domain goes away ends and is detached, the guest
// goes on elsewhere without it, and is watched again.
func TestSaved(t *testing.T) {
	t.Parallel()
	const calls = "trace, attach exec-step spin=500ms sample=100ms, save, detach, stop trace, restore 1h0m0s, trace, " +
		"attach exec-step spin=500ms sample=100ms, detach, stop trace"
	for name, tc := range map[string]struct {
		set    func(*world)
		want   results.Outcome
		reason string
		calls  string
	}{
		"clean": {nil, results.Clean, "", calls},
		"false alarm before": {func(w *world) { w.alarmAfterAttach = 1600 * time.Millisecond },
			results.FalseAlarm, "", calls},
		"false alarm when it goes away": {func(w *world) { w.alarmOnSave = true }, results.FalseAlarm, "", calls},
		"the monitor does not notice": {func(w *world) { w.unaware = true }, results.Invalid,
			"the monitor did not notice that its guest was gone", ""},
		"the guest does not go on": {func(w *world) { w.lost = true }, results.Invalid,
			"the guest made no progress after it was restored", ""},
		"it is not restored": {func(w *world) { w.restoreErr = errors.New("no memory") }, results.Invalid,
			"the guest did not come back: no memory", ""},
		"the monitor fails": {func(w *world) { w.detachOnSave = errors.New("no ring") }, results.Invalid,
			"the monitor failed: no ring", ""},
	} {
		w := newWorld(t)
		if tc.set != nil {
			tc.set(w)
		}
		rec, err := w.run(t.Context(), toolstack(t, map[string]string{"command": "save", "later_s": "3600"}))
		if err != nil || rec.Outcome != tc.want || !strings.Contains(rec.Reason, tc.reason) {
			t.Errorf("%s: %s %q, %v", name, rec.Outcome, rec.Reason, err)
			continue
		}
		if got := strings.Join(w.calls, ", "); tc.calls != "" && got != tc.calls {
			t.Errorf("%s: %s, want %s", name, got, tc.calls)
		}
		if w.watching || slices.Contains(w.calls, "save") && !slices.Contains(w.calls, "restore 1h0m0s") {
			t.Errorf("%s: the monitor is attached: %v; %v", name, w.watching, w.calls)
		}
		if tc.want == results.Clean && (rec.Guest.Ended != "saved" || rec.Guest.BeatsAfter == 0 ||
			rec.WindowNS < 4500e6 || rec.WindowNS > 8000e6) { // it does not watch while the guest is away
			t.Errorf("%s: %+v, watched for %d ms", name, rec.Guest, rec.WindowNS/1e6)
		}
	}
	// Without a monitor there is none to notice.
	w := newWorld(t)
	p := toolstack(t, map[string]string{"command": "save"})
	p.Mechanism = "none"
	if rec, err := w.run(t.Context(), p); err != nil || rec.Outcome != results.Clean || rec.Guest.Ended != "saved" {
		t.Errorf("unwatched: %s %q, %v", rec.Outcome, rec.Reason, err)
	}
}

// TestEnds: a guest that is asked to end is watched until after that, and is not expected to
// go on.
func TestEnds(t *testing.T) {
	t.Parallel()
	for command, how := range map[string]string{"shutdown": "poweroff", "reboot": "reboot"} {
		for alarm, want := range map[time.Duration]results.Outcome{
			never: results.Clean, 9 * time.Second: results.FalseAlarm,
		} {
			w := newWorld(t)
			w.alarmAfterAttach = alarm
			rec, err := w.run(t.Context(), toolstack(t, map[string]string{"command": command}))
			if err != nil || rec.Outcome != want || rec.Guest.Ended != how || rec.Guest.BeatsAfter != 0 || w.watching {
				t.Errorf("%s: %s %q, ended with %q, %v", command, rec.Outcome, rec.Reason, rec.Guest.Ended, err)
			}
		}
	}
}

// TestDeaf: a guest that does not give a vCPU back makes the trial invalid.
func TestDeaf(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cpus = 2
	rec, err := w.run(t.Context(), toolstack(t, map[string]string{"vcpus": "1"}))
	if err != nil || rec.Outcome != results.Invalid || !strings.Contains(rec.Reason, "did not follow within 30s") ||
		!slices.Contains(w.calls, "vcpus 0") {
		t.Errorf("%s %q, %v: %v", rec.Outcome, rec.Reason, err, w.calls)
	}
}

// TestDeclaredWrong: a plan with a fault that cannot be declared is refused, and the guest
// is left alone.
func TestDeclaredWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.run(t.Context(), declared(t, "spin", func(d *results.Declaration) { d.Args["cpu"] = "1" }))
	if err == nil || !strings.Contains(err.Error(), `fault "mine": hold has no "cpu"`) || len(w.calls) > 0 {
		t.Errorf("%v, after %v", err, w.calls)
	}
}

// TestDeclaredWork: a declared control in which nothing is done but the work is clean if
// the guest finishes work while it is watched. If not, the record has the guest's reason.
func TestDeclaredWork(t *testing.T) {
	t.Parallel()
	p := declared(t, "none", func(d *results.Declaration) { d.Do, d.Args = "", nil })
	if want := results.Declared(`{"work":"busy","class":"none"}`); p.Declared != want {
		t.Fatalf("declared %s, want %s", p.Declared, want)
	}
	for name, tc := range map[string]struct {
		slow   float64
		says   string
		want   results.Outcome
		reason string
	}{
		"clean": {1, "", results.Clean, ""},
		"no work": {1e6, "", results.Invalid,
			"the guest finished 1 units of the busy workload while it was watched"},
		"a reason": {1e6, "open /dev/xvda: no such file", results.Invalid,
			"the guest finished 1 units of the busy workload while it was watched; it says: open /dev/xvda: no such file"},
	} {
		w := newWorld(t)
		w.slowWork = tc.slow
		w.page.Complain(tc.says)
		rec, err := w.run(t.Context(), p)
		if err != nil || rec.Outcome != tc.want || rec.Reason != tc.reason || rec.Kind != results.Control {
			t.Errorf("%s: %s %s %q, %v", name, rec.Kind, rec.Outcome, rec.Reason, err)
		}
	}
	// Of two works, one does nothing.
	two := declared(t, "none", func(d *results.Declaration) { d.Do, d.Args, d.Work = "", nil, "busy+opens" })
	for _, tc := range []struct {
		works  int
		reason string
	}{{1, "the guest did not start the busy+opens workload"}, {2, ""}} {
		w := newWorld(t)
		if tc.works == 2 {
			w.onSleep = func() { w.page.Of(1).Work(0) }
		}
		if rec, err := w.run(t.Context(), two); err != nil || rec.Reason != tc.reason {
			t.Errorf("%d of two works: %q, %v, want %q", tc.works, rec.Reason, err, tc.reason)
		}
	}
	// A guest that does not start the work says why.
	w := newWorld(t)
	w.deaf = true
	w.page.Complain("no disk")
	rec, err := w.run(t.Context(), p)
	if want := "the guest did not start the busy workload; it says: no disk"; err != nil || rec.Reason != want {
		t.Errorf("deaf: %q, %v, want %q", rec.Reason, err, want)
	}
}
