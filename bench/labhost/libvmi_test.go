package labhost_test

import (
	"errors"
	"os/exec"
	"slices"
	"testing"
	"time"

	"hangbench/bench/plan"
	"hangbench/bench/price"
	"hangbench/cgo/require"
	"hangbench/guests/lab"
	"hangbench/monitor/trap"
	"hangbench/results"
)

// TestLibVMI has the real LibVMI of this machine watch a real guest in the lab,
// with every mechanism: each sees the deadlock and calls it as libxenctrl's
// monitor does, and lets go of a guest that goes on. Then LibVMI finds the kernel
// by itself, and reports the events of a single frame.
func TestLibVMI(t *testing.T) {
	vmi, err := lab.FindLibVMI(t.Context())
	if errors.Is(err, lab.ErrNoLibVMI) || errors.Is(err, exec.ErrNotFound) {
		require.Missing(t, require.LibVMI, "%v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, h := otherLab(t, 10*time.Minute, func(o *lab.Options) { o.LibVMI = vmi })
	_, ci := suitePlan(t, "ci")
	deadlock := ci[slices.IndexFunc(ci, func(p plan.Trial) bool { return p.Scenario == "spinlock-deadlock" })]
	for _, m := range trap.Mechanisms() {
		if !m.Watches() {
			continue
		}
		class := map[string]string{}
		for _, driver := range []string{"xenctrl", "libvmi"} {
			p := deadlock
			p.Mechanism, p.Driver = m.Name, driver
			tr := h.trial(t, ctx, p)
			if tr.Outcome != results.Detected || tr.Driver != driver || tr.Recovered == nil || !*tr.Recovered ||
				tr.Guest.BeatsAfter < 2 || tr.EPT.TraceLost != 0 {
				t.Errorf("%s, %s: %+v", m.Name, driver, tr)
			}
			class[driver] = tr.Class + ", " + tr.Scope
		}
		if class["xenctrl"] != class["libvmi"] {
			t.Errorf("%s: a %s hang with xenctrl, a %s hang with libvmi", m.Name, class["xenctrl"], class["libvmi"])
		}
	}
	m := h.guest(t, ctx, deadlock.Machine)
	r, err := m.MeasureEvent(price.EventJob{Driver: "libvmi", Mechanisms: []string{price.PollMechanism}, Blocks: 1,
		Window: 200 * time.Millisecond}, discard)
	if err != nil {
		t.Fatal(err)
	}
	if r.Driver != "libvmi" || r.Reads == nil || r.Reads.Kernel != "ok" || r.Reads.Frame != "ok" {
		t.Errorf("driver %s: %+v", r.Driver, r.Reads)
	}
}
