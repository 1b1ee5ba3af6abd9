package labhost_test

import (
	"slices"
	"testing"
	"time"

	"hangbench/bench/plan"
	"hangbench/results"
)

// TestUnseen: hangs that the detectors were not made with are seen, and called by their
// class. The short form takes one of them; the long form also takes a deadlock in a guest
// that gets little time under two traps, which must not hide it.
func TestUnseen(t *testing.T) {
	ctx, h := openLab(t, 3*time.Minute)
	suite, trials := suitePlan(t, "unseen")
	trials = slices.DeleteFunc(trials, func(p plan.Trial) bool {
		if !all() {
			return p.Scenario != "realtime-hog" || p.Mechanism != "poll"
		}
		return p.Mechanism != "poll" && p.Scenario != "slow-deadlock"
	})
	if want := 1; !all() && len(trials) != want {
		t.Fatalf("%d trials, want %d", len(trials), want)
	}
	classes := map[string]string{
		"realtime-hog": "starvation", "oom-lock": "thrash", "timer-storm": "soft", "slow-deadlock": "spin",
	}
	if len(classes) != len(suite.Scenarios) {
		t.Fatalf("scenarios %q", suite.Scenarios)
	}
	for _, p := range trials {
		tr := h.trial(t, ctx, p)
		if tr.Outcome != results.Detected || tr.Class != classes[p.Scenario] || tr.Scope != "full" {
			t.Errorf("%s, %s: %s (%s), %s %s, evidence %q; want a full hang of class %s", p.Scenario, p.Mechanism, tr.Outcome,
				tr.Reason, tr.Scope, tr.Class, tr.Evidence, classes[p.Scenario])
		}
		if tr.Recovered == nil || !*tr.Recovered {
			t.Errorf("%s, %s: the guest did not recover", p.Scenario, p.Mechanism)
		}
	}
}
