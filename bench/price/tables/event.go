package tables

import (
	"fmt"

	"hangbench/analysis/table"
	"hangbench/bench/price/event"
	"hangbench/results"
)

// none stands in a cell that has no value.
const none = "–"

// unit names a cycle of the time-stamp counter. In the lab it is an instruction.
func unit(r *event.Report) string {
	if r.Host == results.Lab {
		return "instr"
	}
	return "cycles"
}

func whole(x float64) string { return fmt.Sprintf("%.0f", x) }

// micros prints nanoseconds as microseconds; 0 means not measured.
func micros(ns float64) string {
	if ns == 0 {
		return none
	}
	return fmt.Sprintf("%.1f", ns/1e3)
}

// Event renders the report's tables, without those for which nothing was measured.
func Event(r *event.Report) []*table.Table {
	var all []*table.Table
	if len(r.Rows) > 0 {
		all = append(all, price(r), pace(r))
	}
	if len(r.Poll) > 0 {
		all = append(all, poll(r))
	}
	if r.Reads != nil {
		all = append(all, reads(r))
	}
	return all
}

// where names the machine of a row.
func where(r *event.Report) string { return "host " + r.Host + ", " + r.Driver }

func price(r *event.Report) *table.Table {
	u := unit(r)
	t := &table.Table{
		Title: fmt.Sprintf("Price of an event, the monitor's loop and the C yardstick, Xen %s, guest %s, %d vCPU",
			r.Xen, r.GuestKernel, r.VCPUs),
		Head:    []string{"", "mechanism", "n", u + "/event", "C", "ratio", "[min..max]", "dom0 " + u, "C", "ratio", "guest"},
		Numeric: []bool{false, false, true, true, true, true, true, true, true, true, false},
		Notes: []string{
			u + "/event: what an event takes from the guest, that is all time but the guest's own work; " +
				"dom0: CPU time of dom0 in it.",
			"ratio: the monitor's over C, median of n blocks (baseline, ours, C, C, ours, baseline) of " +
				fmt.Sprint(r.WindowMS) + " ms windows.",
			"guest: whether it had a heartbeat after everything was detached.",
		},
	}
	if r.Host == results.Lab {
		t.Notes = append(t.Notes, "lab: virtual time; one instruction is one cycle of the time-stamp counter, "+
			whole(r.PerSecond/1e6)+" million a second.")
	}
	for _, w := range r.Rows {
		alive := "beats"
		if !w.Alive {
			alive = "NO HEARTBEAT"
		}
		t.Rows = append(t.Rows, []string{where(r), w.Mechanism, fmt.Sprint(w.N), whole(w.OursInstr), whole(w.CInstr),
			fmt.Sprintf("%.3f", w.Ratio), fmt.Sprintf("[%.3f..%.3f]", w.RatioMin, w.RatioMax),
			whole(w.OursDom0Instr), whole(w.CDom0Instr), fmt.Sprintf("%.3f", w.Dom0Ratio), alive})
	}
	return t
}

func pace(r *event.Report) *table.Table {
	t := &table.Table{
		Title: "Pace and handling time",
		Head: []string{"", "mechanism", "events", "per second", "C events", "per second",
			"p50 (us)", "p99 (us)", "C p50", "C p99"},
		Numeric: []bool{false, false, true, true, true, true, true, true, true, true},
		Notes: []string{
			"p50, p99: from the return of the wait until the answers are ready, in a timed pass with the trace on.",
		},
	}
	for _, w := range r.Rows {
		t.Rows = append(t.Rows, []string{where(r), w.Mechanism, fmt.Sprint(w.OursEvents), whole(w.EventsPerSec),
			fmt.Sprint(w.CEvents), whole(w.CEventsPerSec),
			micros(w.OursP50NS), micros(w.OursP99NS), micros(w.CP50NS), micros(w.CP99NS)})
	}
	return t
}

func poll(r *event.Report) *table.Table {
	u := unit(r)
	t := &table.Table{
		Title:   "Price of polling, 10 samples a second",
		Head:    []string{"", "guest", "samples", u + "/sample and vCPU", "share of one vCPU", "attach, " + u},
		Numeric: []bool{false, false, true, true, true, true},
		Notes: []string{
			"dom0's CPU time with the monitor minus without, over the same window; the limit is 1%.",
			fmt.Sprintf("The window begins %v after attaching; attach: CPU time until then, without the price of the "+
				"samples.", event.PollSettle),
		},
	}
	for _, p := range r.Poll {
		t.Rows = append(t.Rows, []string{where(r), p.Workload, fmt.Sprint(p.Samples), whole(p.Instr),
			fmt.Sprintf("%.3f%%", 100*p.Share), whole(p.AttachInstr)})
	}
	return t
}

func reads(r *event.Report) *table.Table {
	u := unit(r)
	t := &table.Table{
		Title:   "Reading eight bytes of guest memory",
		Head:    []string{"", "mapped page, " + u, "page not yet mapped, " + u, "exchanged frame"},
		Numeric: []bool{false, true, true, false},
		Notes: []string{
			"Medians of 100 reads; the driver xenctrl maps 16 pages at once.",
			"stale: after a frame was exchanged, the driver reads the old frame until it forgets its pages (at the " +
				"latest after 30 s).",
		},
	}
	if r.Reads.Kernel != "" {
		t.Notes = append(t.Notes, "LibVMI, with a configuration in memory, finds the kernel where the monitor does: "+
			r.Reads.Kernel+".")
	}
	if r.Reads.Frame != "" {
		t.Notes = append(t.Notes, "LibVMI reports executions in one frame by an event for that frame alone, in the "+
			"host view and in another, until the event is cleared: "+r.Reads.Frame+".")
	}
	state := "fresh"
	if r.Reads.Stale {
		state = "stale"
	}
	t.Rows = [][]string{{where(r), fmt.Sprint(r.Reads.Mapped), fmt.Sprint(r.Reads.Unmapped), state}}
	return t
}

// Breakdown renders the parts of one event, for each mechanism and loop.
func Breakdown(r *event.Report) *table.Table {
	t := &table.Table{
		Title: "One event by who spends it, mean " + unit(r),
		Head: []string{"mechanism", "loop", "events", "hypervisor", "wake-up", "monitor", "dom0 kernel", "sum",
			"hypercalls", "lost"},
		Numeric: []bool{false, false, true, true, true, true, true, true, true, true},
		Notes: []string{
			"hypervisor: from the guest's exit until dom0 is on the CPU, from the answer until the guest may run, from " +
				"dom0's block until the guest's entry.",
			"wake-up: dom0's kernel until the monitor's wait returns; small if the loop finds the next event without " +
				"sleeping.",
			"monitor: its own instructions; dom0 kernel: the rest of its system calls, with hypercalls whose end the " +
				"trace does not show.",
			"With Xen's trace on, which costs some hundred instructions a record. lost: trace records that Xen dropped.",
		},
	}
	for _, s := range r.Series {
		for _, side := range []struct {
			name string
			s    *event.Side
		}{{"ours", s.TimedOurs}, {"C", s.TimedC}} {
			if side.s == nil {
				continue
			}
			row := []string{s.Mechanism, side.name, fmt.Sprint(side.s.Events)}
			sum, calls := 0.0, 0.0
			for _, p := range event.PartNames() {
				row = append(row, whole(side.s.Parts[p]))
				sum += side.s.Parts[p]
			}
			for _, n := range side.s.Hypercalls {
				calls += n
			}
			t.Rows = append(t.Rows, append(row, whole(sum), fmt.Sprintf("%.1f", calls), fmt.Sprint(side.s.TraceLost)))
		}
	}
	return t
}
