package labhost_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hangbench/results"
)

// TestTrials runs the ci suite on a real Xen with a real guest: the deadlock is
// seen by every mechanism, with its lock by name, and removed again; the idle guest
// is left alone; EPT violations and events agree.
func TestTrials(t *testing.T) {
	ctx, h := openLab(t)
	s, trials := suitePlan(t, "ci")
	r := h.runPlan(t, ctx, s, trials, 2)
	for _, tr := range r.Trials {
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
}

// TestDeterminism: the same suite and seed give byte-identical records, whether
// trials run one by one or side by side, and also in a lab that was booted anew.
func TestDeterminism(t *testing.T) {
	ctx, h := ownLab(t, nil)
	s, trials := suitePlan(t, "ci")
	read := func(jobs int) []byte {
		b, err := os.ReadFile(filepath.Join(h.runPlan(t, ctx, s, trials, jobs).Dir, results.TrialsFile))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	one, two := read(1), read(2)
	if !bytes.Equal(one, two) {
		t.Errorf("one job and two jobs differ:\n%s\n%s", one, two)
	}
	if err := os.RemoveAll(filepath.Join(h.Lab.Dir, "snapshots")); err != nil {
		t.Fatal(err)
	}
	if anew := read(2); !bytes.Equal(one, anew) {
		t.Errorf("a lab booted anew differs:\n%s\n%s", one, anew)
	}
}

// TestDamagedSnapshot: a snapshot that cannot be restored is made anew, with a
// warning, and the trial runs all the same.
func TestDamagedSnapshot(t *testing.T) {
	ctx, h := ownLab(t, nil)
	_, trials := suitePlan(t, "ci")
	if _, err := h.Guest(ctx, trials[0].Machine); err != nil {
		t.Fatal(err)
	}
	cpus, err := filepath.Glob(filepath.Join(h.Lab.Dir, "snapshots", "guest-*", "state", "cpu0"))
	if err != nil || len(cpus) == 0 {
		t.Fatalf("no snapshot of a guest (%v)", err)
	}
	for _, cpu := range cpus {
		st, err := os.Stat(cpu)
		if err != nil {
			t.Fatal(err)
		}
		// Of the right size and full of rubbish: it passes for whole until it is used.
		rubbish := bytes.Repeat([]byte("rubbish\n"), int(st.Size())/8+1)[:st.Size()]
		if err := errors.Join(os.Chmod(cpu, 0o600), os.WriteFile(cpu, rubbish, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	rec, err := h.Run(ctx, trials[0], discard)
	if err != nil {
		t.Fatalf("with a damaged snapshot: %v", err)
	}
	if rec.Outcome == results.Invalid {
		t.Errorf("invalid: %s", rec.Reason)
	}
	if len(h.warnings.Texts()) == 0 {
		t.Error("a damaged snapshot was replaced without a warning")
	}
}
