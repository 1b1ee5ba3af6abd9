package labhost_test

import (
	"slices"
	"testing"
	"time"

	"hangbench/bench/plan"
	"hangbench/results"
)

// TestPartial: one of two vCPUs hangs, and a trap that both have in common neither
// holds the other up nor takes it for hung. The short form takes one mechanism.
func TestPartial(t *testing.T) {
	ctx, h := openLab(t, 35*time.Second)
	_, trials := suitePlan(t, "coverage-smp")
	trials = slices.DeleteFunc(trials, func(p plan.Trial) bool {
		return p.Scenario != "hard-lockup-partial" || p.Mechanism != "exec-step" && p.Mechanism != "exec-emulate"
	})
	if len(trials) != 2 {
		t.Fatalf("%d trials, want one of each mechanism", len(trials))
	}
	if !all() {
		trials = trials[:1]
	}
	for _, p := range trials {
		tr := h.trial(t, ctx, p)
		// Both vCPUs silent would make it invalid.
		if tr.Outcome != results.Detected || tr.Class != "hard" || tr.Scope != "partial" ||
			!slices.Equal(tr.Guest.SilentVCPUs, []int{1}) {
			t.Errorf("%s: %s (%s), %s %s, silent vCPUs %v; want a partial hard hang of vCPU 1", p.Mechanism, tr.Outcome,
				tr.Reason, tr.Scope, tr.Class, tr.Guest.SilentVCPUs)
		}
		if tr.Recovered == nil || !*tr.Recovered {
			t.Errorf("%s: the guest did not recover", p.Mechanism)
		}
	}
}
