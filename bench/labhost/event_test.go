package labhost_test

import (
	"encoding/json"
	"strings"
	"testing"

	"hangbench/bench/agent"
	"hangbench/bench/price/event"
	"hangbench/guests/lab"
	"hangbench/scenarios/suites"
)

// TestEvent: both loops get events with every mechanism, and the guest's heart
// beats afterwards. What an event costs is not asserted.
func TestEvent(t *testing.T) {
	long(t)
	ctx, h, _ := openLab(t)
	m, err := h.UpGuest(ctx, suites.Guest{Kernel: lab.GuestKernels()[0], VCPUs: 1, MemoryMiB: 160})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, mechanism := range event.Mechanisms() {
		out, err := m.Exec([]string{"/init", "bench", "event", "--host", "xen", "--domain", agent.GuestName, "--json",
			"--mechanism", mechanism, "--blocks", "1", "--window", "200ms"})
		if err != nil {
			t.Fatalf("%s: %v", mechanism, err)
		}
		start := strings.IndexByte(out.Text, '{')
		if out.Status != 0 || start < 0 {
			t.Fatalf("%s: status %d: %s", mechanism, out.Status, out.Text)
		}
		var r event.Report
		if err := json.NewDecoder(strings.NewReader(out.Text[start:])).Decode(&r); err != nil {
			t.Fatalf("%s: %v", mechanism, err)
		}
		if len(r.Rows) != 1 || r.Host != "lab" || r.Rows[0].OursEvents == 0 || r.Rows[0].CEvents == 0 || !r.Rows[0].Alive {
			t.Errorf("%s: %+v", mechanism, r.Rows)
		}
	}
}
