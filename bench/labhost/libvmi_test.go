package labhost_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"hangbench/bench/agent"
	"hangbench/bench/plan"
	"hangbench/bench/price/event"
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
	ctx, h, _ := openLabWith(t, vmi)
	_, ci := ciPlan(t)
	deadlock := ci[slices.IndexFunc(ci, func(p plan.Trial) bool { return p.Scenario == "spinlock-deadlock" })]
	for _, m := range trap.Mechanisms() {
		if !m.Watches() {
			continue
		}
		class := map[string]string{}
		for _, driver := range []string{"xenctrl", "libvmi"} {
			p := deadlock
			p.Mechanism, p.Driver = m.Name, driver
			tr, err := h.Run(ctx, p, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatalf("%s, %s: %v", m.Name, driver, err)
			}
			if tr.Outcome != results.Detected || tr.Driver != driver || tr.Recovered == nil || !*tr.Recovered || tr.Guest.BeatsAfter < 2 || tr.EPT.TraceLost != 0 {
				t.Errorf("%s, %s: %+v", m.Name, driver, tr)
			}
			class[driver] = tr.Class + ", " + tr.Scope
		}
		if class["xenctrl"] != class["libvmi"] {
			t.Errorf("%s: a %s hang with xenctrl, a %s hang with libvmi", m.Name, class["xenctrl"], class["libvmi"])
		}
	}
	m, err := h.UpGuest(ctx, deadlock.Machine)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	out, err := m.Exec([]string{"/init", "bench", "event", "--host", "xen", "--domain", agent.GuestName, "--json", "--driver", "libvmi", "--mechanism", "poll", "--window", "200ms"})
	if err != nil {
		t.Fatal(err)
	}
	start := strings.IndexByte(out.Text, '{')
	if out.Status != 0 || start < 0 {
		t.Fatalf("status %d: %s", out.Status, out.Text)
	}
	var r event.Report
	if err := json.NewDecoder(strings.NewReader(out.Text[start:])).Decode(&r); err != nil {
		t.Fatal(err)
	}
	if r.Driver != "libvmi" || r.Reads == nil || r.Reads.Kernel != "ok" || r.Reads.Frame != "ok" {
		t.Errorf("driver %s: %+v", r.Driver, r.Reads)
	}
}
