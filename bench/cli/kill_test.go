package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"hangbench/bench/dom0/recovery"
	"hangbench/bench/exit"
)

func TestKillTable(t *testing.T) {
	t.Parallel()
	ok := recovery.Recovered{Journal: recovery.JournalDead, RingOn: true, BytesPatched: 1, RingFree: true, Altp2mOff: true,
		NotStepping: true, NoTrap: true, NotPaused: true}
	stuck := ok
	stuck.NotStepping, stuck.BytesPatched, stuck.Pauses = false, 0, 1
	kills := []recovery.Killed{
		{Mechanism: "int3-step", Signal: "KILL", Seed: 1, Recovered: ok, Beats: 2, Work: 5},
		{Mechanism: "int3-step", Signal: "KILL", Seed: 2, Recovered: stuck, Beats: 2, Work: 5},
		{Mechanism: "poll", Signal: "KILL", Seed: 1, Recovered: ok, Beats: 2, Work: 5},
	}
	var b bytes.Buffer
	k := &killFlags{host: "lab", mechanisms: []string{"int3-step"}, driver: "xenctrl", seeds: 3}
	if err := k.show(&b, kills[:2]); !errors.Is(err, exit.ErrFailed) {
		t.Errorf("one of three was recovered: %v", err)
	}
	if out := b.String(); !strings.HasPrefix(out, "driver xenctrl\n") || !strings.Contains(out, "1 of 3") ||
		!strings.Contains(out, "not recovered: int3-step seed 2") || strings.Contains(out, "seed 1,") {
		t.Errorf("%s", out)
	}
	// A third was planned and never ran: it does not count as recovered.
	b.Reset()
	k.json = true
	if err := k.show(&b, kills); !errors.Is(err, exit.ErrFailed) {
		t.Error(err)
	}
	var r killReport
	if err := json.Unmarshal(b.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	want := killSummary{Mechanism: "int3-step", Kills: 3, OK: 1, RingOn: 2, Patched: 1, Paused: 1}
	if len(r.Rows) != 1 || r.Rows[0] != want || len(r.Kills) != 3 || r.Schema != 1 || r.Driver != "xenctrl" {
		t.Errorf("%+v, want %+v", r, want)
	}
	if err := (&killFlags{host: "xen", mechanisms: []string{"poll"}, seeds: 1}).show(&b, kills[2:]); err != nil {
		t.Errorf("all were recovered: %v", err)
	}
}
