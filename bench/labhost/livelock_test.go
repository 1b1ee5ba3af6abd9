package labhost_test

import (
	"testing"
	"time"

	"hangbench/monitor/detect"
	"hangbench/results"
)

// backOutLimit is how soon a monitor that holds its guest up must have let go of
// it. It is virtual time: how fast this machine is has no part in it.
const backOutLimit = time.Second

// TestMonitorLivelock: a monitor that answers its trap without opening it holds a
// real guest up, by every way to trap; its own watchdog names it, lets go within a
// second, and the guest works and beats again with the monitor still attached.
func TestMonitorLivelock(t *testing.T) {
	ctx, h := openLab(t, 15*time.Second)
	s, trials := suitePlan(t, "livelock")
	if !all() {
		trials = trials[:1]
	}
	r := h.runPlan(t, ctx, s, trials, 2)
	for _, tr := range r.Trials {
		if tr.Outcome != results.Detected || tr.Class != string(detect.ClassMonitor) || tr.BackedOut == "" {
			t.Errorf("%s, %d vCPUs: %s (%s), %s %s, backed out %q", tr.Mechanism, tr.VCPUs, tr.Outcome, tr.Reason, tr.Scope,
				tr.Class, tr.BackedOut)
			continue
		}
		t.Logf("%s, %d vCPUs: let go %v after it set in, T_D %v", tr.Mechanism, tr.VCPUs, time.Duration(*tr.BackOutNS),
			time.Duration(*tr.DetectNS))
		if d := time.Duration(*tr.BackOutNS); d <= 0 || d > backOutLimit {
			t.Errorf("%s, %d vCPUs: the guest was let go after %v, want within %v", tr.Mechanism, tr.VCPUs, d, backOutLimit)
		}
		if tr.Recovered == nil || !*tr.Recovered || tr.Guest.BeatsAfter < 2 {
			t.Errorf("%s, %d vCPUs: the guest does not go on: recovered %v, %d heartbeats after detaching", tr.Mechanism,
				tr.VCPUs, tr.Recovered, tr.Guest.BeatsAfter)
		}
	}
}
