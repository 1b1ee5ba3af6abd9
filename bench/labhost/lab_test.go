package labhost_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hangbench/results"
)

// TestTrials runs the ci suite on a real Xen with a real guest: the deadlock is
// seen by every mechanism, with its lock by name, and lifted again; the idle guest
// is left alone; EPT violations and events agree. The records are the same to the byte
// when the trials run one by one in a lab that was booted anew. The short form takes the
// first two there.
func TestTrials(t *testing.T) {
	ctx, h := openLab(t, 2*time.Minute)
	s, trials := suitePlan(t, "ci")
	some := trials
	if !all() {
		some = trials[:2]
	}
	own := h.unbooted(t, ctx)
	one := recordsOf(t, own.runPlan(t, ctx, s, some, 1))
	r := h.runPlan(t, ctx, s, trials, 2)
	two := recordsOf(t, r)
	for i := range one {
		if one[i] != two[i] {
			t.Errorf("one by one in a lab booted anew, and side by side, trial %d differs:\n%s%s", i, one[i], two[i])
		}
	}
	for _, tr := range r.Trials {
		checkCI(t, tr)
	}
	if !all() {
		return
	}
	if again := recordsOf(t, own.runPlan(t, ctx, s, trials, 2)); !slices.Equal(one, again) {
		t.Errorf("in the same lab, trials one by one and side by side differ:\n%s\n%s", one, again)
	}
	if again := recordsOf(t, h.runPlan(t, ctx, s, trials, 1)); !slices.Equal(two, again) {
		t.Errorf("in the same lab, trials side by side and one by one differ:\n%s\n%s", two, again)
	}
	// A damaged snapshot is made anew, with a warning.
	own.damage(t)
	again, err := own.Run(ctx, trials[0], discard)
	if err != nil {
		t.Fatalf("with a damaged snapshot: %v", err)
	}
	if line, err := json.Marshal(again); err != nil || string(line)+"\n" != one[0] {
		t.Errorf("with a snapshot made anew (%v):\n%s\nwant\n%s", err, line, one[0])
	}
	if len(own.warnings.Texts()) == 0 {
		t.Error("a damaged snapshot was replaced without a warning")
	}
}

// recordsOf returns the lines of the file with the records of a run.
func recordsOf(t *testing.T, r *results.Run) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(r.Dir, results.TrialsFile))
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(strings.Lines(string(b)))
}

// damage damages every snapshot of a guest. The file keeps its size.
func (h *testLab) damage(t *testing.T) {
	t.Helper()
	cpus, err := filepath.Glob(filepath.Join(h.Lab.Dir, "snapshots", "guest-*", "state", "cpu0"))
	if err != nil || len(cpus) == 0 {
		t.Fatalf("no snapshot of a guest (%v)", err)
	}
	for _, cpu := range cpus {
		st, err := os.Stat(cpu)
		if err != nil {
			t.Fatal(err)
		}
		rubbish := bytes.Repeat([]byte("rubbish\n"), int(st.Size())/8+1)[:st.Size()]
		if err := errors.Join(os.Chmod(cpu, 0o600), os.WriteFile(cpu, rubbish, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

// checkCI checks a record of the ci suite.
func checkCI(t *testing.T, tr results.Trial) {
	t.Helper()
	name := tr.Scenario + ", " + tr.Mechanism
	want := results.Clean
	if tr.Scenario == "spinlock-deadlock" {
		want = results.Detected
		if tr.Class != "spin" || tr.Scope != "full" {
			t.Errorf("%s: %s %s hang, want a full spin", name, tr.Scope, tr.Class)
		}
		if e := strings.Join(tr.Evidence, "\n"); !strings.Contains(e, "queued_read_lock_slowpath") ||
			!strings.Contains(e, "tasklist_lock") {
			t.Errorf("%s: the evidence does not name the lock:\n%s", name, e)
		}
		if tr.Recovered == nil || !*tr.Recovered {
			t.Errorf("%s: the guest did not recover", name)
		}
	}
	if tr.Outcome != want {
		t.Errorf("%s: %s (%s), want %s", name, tr.Outcome, tr.Reason, want)
	}
	if tr.Host != "lab" {
		t.Errorf("%s: host %q", name, tr.Host)
	}
	if tr.Events.Delivered == 0 || tr.Events.Steps == 0 {
		t.Errorf("%s: no events: the trap was not armed", name)
	}
	// Every violation on the trapped frame is an event, and nothing is lost.
	if tr.EPT.Permission != tr.Events.Delivered || tr.EPT.Suppressed != 0 || tr.EPT.TraceLost != 0 ||
		tr.EPT.Residual != 0 {
		t.Errorf("%s: %d events, EPT violations %+v", name, tr.Events.Delivered, tr.EPT)
	}
	if altp2m := tr.Mechanism == "exec-altp2m"; altp2m != (tr.EPT.Lazy > 0) {
		t.Errorf("%s: %d lazy copies", name, tr.EPT.Lazy)
	}
	if tr.Guest.BeatsAfter < 2 {
		t.Errorf("%s: %d heartbeats after detaching", name, tr.Guest.BeatsAfter)
	}
}
