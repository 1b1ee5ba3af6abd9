package labhost_test

import (
	"testing"
	"time"

	"hangbench/bench/plan"
	"hangbench/guests/stress"
	"hangbench/results"
	"hangbench/scenarios"
	"hangbench/scenarios/suites"
)

// TestWorkloads runs every workload in a guest with two vCPUs, beside a monitor and
// without: each gets something done in every window, by the program it should be,
// and no monitor raises an alarm. The short form runs the first one.
func TestWorkloads(t *testing.T) {
	ctx, h := openLab(t, 100*time.Second)
	timing := suites.DefaultTiming()
	timing.BaselineMS = 1000
	n := 0
	for _, s := range scenarios.All() {
		if s.Stress == stress.None {
			continue
		}
		p := plan.Trial{
			Suite: "test", Index: n, Cell: results.Cell{Scenario: s.ID,
				Arm:     results.Arm{Mechanism: []string{"exec-altp2m", "poll", "none"}[n%3], Driver: "xenctrl"},
				Machine: suites.Guest{Kernel: "cloud-6.12", VCPUs: 2, MemoryMiB: 256, Programs: stress.Set}}, Timing: timing,
			Seed: uint64(n),
		}
		if n++; n > 1 && !all() {
			continue
		}
		rec := h.trial(t, ctx, p)
		if rec.Outcome != results.Clean || rec.Workload == nil || len(rec.Workload.Windows) != 4 {
			t.Errorf("%s, %s: %s (%s), %+v", s.ID, p.Mechanism, rec.Outcome, rec.Reason, rec.Workload)
			continue
		}
		if timer := rec.Workload.Program == "timer"; timer != (s.Stress == stress.Null) {
			t.Errorf("%s was done by %s", s.ID, rec.Workload.Program)
		}
		for i, w := range rec.Workload.Windows {
			if w.Ops == 0 || w.NS <= 0 {
				t.Errorf("%s, %s, window %d: %d operations in %d ns", s.ID, p.Mechanism, i, w.Ops, w.NS)
			}
		}
		t.Logf("%s, %s: %+v", s.ID, p.Mechanism, rec.Workload)
	}
	all := 0
	for w := stress.Null; w.Known(); w++ {
		all++
	}
	if n != all {
		t.Errorf("%d scenarios of %d workloads", n, all)
	}
}
