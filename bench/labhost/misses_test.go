package labhost_test

import (
	"encoding/json"
	"strings"
	"testing"

	"hangbench/bench/agent"
	"hangbench/bench/price/misses"
	"hangbench/guests/lab"
	"hangbench/monitor"
	"hangbench/scenarios/suites"
)

// TestMisses: on two vCPUs, a trap in a view of its own that stops a vCPU at every
// switch sees every switch that the guest counts. No mechanism sees more than
// there are. How many the others miss is an outcome and not asserted.
func TestMisses(t *testing.T) {
	long(t)
	ctx, h, _ := openLab(t)
	const vcpus = 2
	m, err := h.UpGuest(ctx, suites.Guest{Kernel: lab.GuestKernels()[0], VCPUs: vcpus, MemoryMiB: 160})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, mechanism := range []string{"exec-altp2m", "exec-step"} {
		out, err := m.Exec([]string{"/init", "bench", "misses", "--host", "xen", "--domain", agent.GuestName, "--json",
			"--mechanism", mechanism, "--window", "1s"})
		if err != nil {
			t.Fatalf("%s: %v", mechanism, err)
		}
		start := strings.IndexByte(out.Text, '{')
		if out.Status != 0 || start < 0 {
			t.Fatalf("%s: status %d: %s", mechanism, out.Status, out.Text)
		}
		var r misses.Report
		if err := json.NewDecoder(strings.NewReader(out.Text[start:])).Decode(&r); err != nil {
			t.Fatalf("%s: %v", mechanism, err)
		}
		if len(r.Rows) != 2 || r.Host != "lab" || r.VCPUs != vcpus || r.Rows[0].Passes != misses.Unlimited || r.Rows[1].Passes != monitor.DefaultPasses {
			t.Fatalf("%s: %+v", mechanism, r)
		}
		for i, row := range r.Rows {
			if row.Signals == 0 || row.Switches == 0 || row.Missed < -misses.Edge(vcpus) || row.BackedOut != "" || !row.Alive {
				t.Errorf("%s: %+v", mechanism, row)
			}
			if i == 0 && mechanism == "exec-altp2m" && row.Missed > misses.Edge(vcpus) {
				t.Errorf("%s missed %d switches of %d", mechanism, row.Missed, row.Switches)
			}
		}
	}
}
