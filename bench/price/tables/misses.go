package tables

import (
	"fmt"

	"hangbench/analysis/table"
	"hangbench/bench/price/misses"
	"hangbench/results"
)

// Misses renders the report's rows.
func Misses(r *misses.Report) *table.Table {
	t := &table.Table{
		Title:   fmt.Sprintf("Switches missed, busy guest, Xen %s, guest %s, %d vCPU", r.Xen, r.GuestKernel, r.VCPUs),
		Head:    []string{"", "mechanism", "passes", "switches", "signals", "missed", "share", "events", "progress", "guest"},
		Numeric: []bool{false, false, true, true, true, true, true, true, true, false},
		Notes: []string{
			"passes: how often in " + fmt.Sprint(r.SampleMS) + " ms the trap may stop a vCPU; after that it is open until " +
				"the next sample.",
			"switches: the run queues' own count, 0 if it cannot be read; signals: the monitor's count, over the same " +
				"window of " + fmt.Sprint(r.WindowMS) + " ms.",
			fmt.Sprintf("missed: switches minus signals; the edges of the window alone can make up to %d, either way.", r.Edge),
			"progress: the guest's work with the monitor over its work without.",
		},
	}
	if r.Host == results.Lab {
		t.Notes = append(t.Notes, "lab: virtual time, one physical CPU: vCPUs take turns and never run at once.")
	}
	for _, w := range r.Rows {
		guest := "beats"
		switch {
		case !w.Alive:
			guest = "NO HEARTBEAT"
		case w.BackedOut != "":
			guest = "beats; the monitor removed its trap: " + w.BackedOut
		}
		missed, share := fmt.Sprint(w.Missed), fmt.Sprintf("%.1f%%", 100*w.Share)
		if w.BackedOut != "" || w.Switches == 0 {
			missed, share = none, none
		}
		t.Rows = append(t.Rows, []string{"host " + r.Host + ", " + r.Driver, w.Mechanism, misses.Passes(w.Passes),
			fmt.Sprint(w.Switches), fmt.Sprint(w.Signals), missed, share, fmt.Sprint(w.Events),
			fmt.Sprintf("%.3f", w.Progress), guest})
	}
	return t
}
