package cli

import (
	"bytes"
	"strings"
	"testing"

	"hangbench/bench/dom0"
	"hangbench/cgo/xenctrl"
	"hangbench/monitor/trap"
)

// TestNoDom0: what needs a control domain says so, and where one is.
func TestNoDom0(t *testing.T) {
	if xen, err := xenctrl.Open(); err == nil {
		xen.Close()
		t.Skip("this machine is a Xen control domain")
	}
	for _, args := range [][]string{{"watch", "guest"}, {"recover", "guest"}, {"recover", "--all"}, {"bench", "kill", "--inside", "guest"}} {
		status, stdout, stderr := hangbench(t, args...)
		if status != ExitMissing || stdout != "" || !strings.Contains(stderr, "dom0") || !strings.Contains(stderr, "hangbench lab run /init") {
			t.Errorf("%v: status %d, stdout %q, stderr %q", args, status, stdout, stderr)
		}
	}
}

func TestKillTable(t *testing.T) {
	ok := dom0.Recovered{Journal: dom0.JournalDead, RingOn: true, BytesPatched: 1, RingFree: true, Altp2mOff: true, NotStepping: true, NoTrap: true, NotPaused: true}
	stuck := ok
	stuck.NotStepping, stuck.BytesPatched, stuck.Pauses = false, 0, 1
	kills := []dom0.Killed{
		{Mechanism: "int3-step", Signal: "KILL", Seed: 1, Recovered: ok, Beats: 2, Work: 5},
		{Mechanism: "int3-step", Signal: "KILL", Seed: 2, Recovered: stuck, Beats: 2, Work: 5},
	}
	// A third was planned and never ran: it does not count as recovered.
	s := summarize("int3-step", 3, kills)
	if want := (killSummary{Mechanism: "int3-step", Kills: 3, OK: 1, RingOn: 2, Patched: 1, Paused: 1}); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
	var b bytes.Buffer
	if err := printKills(&b, killReport{Rows: []killSummary{s}, Kills: kills}); err != nil {
		t.Fatal(err)
	}
	if out := b.String(); !strings.Contains(out, "1 of 3") || !strings.Contains(out, "not recovered: int3-step seed 2") || strings.Contains(out, "seed 1,") {
		t.Errorf("%s", out)
	}
}

func TestKillMechanisms(t *testing.T) {
	if all, err := killMechanisms(""); err != nil || len(all) != len(trap.Mechanisms()) {
		t.Errorf("%d, %v", len(all), err)
	}
	if some, err := killMechanisms("none,exec-step"); err != nil || len(some) != 2 || some[1].Name != "exec-step" {
		t.Errorf("%v, %v", some, err)
	}
}
