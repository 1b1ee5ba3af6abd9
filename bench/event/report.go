package event

import (
	"fmt"
	"slices"
	"sort"

	"hangbench/analysis/table"
)

// Schema is the version of the report's form.
const Schema = 1

// Row is the price of an event of one mechanism. Instructions are cycles of the
// time-stamp counter, which in the lab is the same; on a real host they are cycles.
type Row struct {
	Mechanism string `json:"mechanism"`
	N         int    `json:"n"` // blocks
	// Stolen from the guest for each event: medians over the blocks.
	OursInstr float64 `json:"ours_instr"`
	CInstr    float64 `json:"c_instr"`
	OursNS    float64 `json:"ours_ns"`
	CNS       float64 `json:"c_ns"`
	// Ratio is ours to C, taken within each block.
	Ratio    float64 `json:"ratio"`
	RatioMin float64 `json:"ratio_min"`
	RatioMax float64 `json:"ratio_max"`
	// Dom0's share of it.
	OursDom0Instr float64 `json:"ours_dom0_instr"`
	CDom0Instr    float64 `json:"c_dom0_instr"`
	Dom0Ratio     float64 `json:"dom0_ratio"`
	// Events delivered, all of them, and for each second of dom0's clock.
	OursEvents    uint64  `json:"ours_events"`
	CEvents       uint64  `json:"c_events"`
	EventsPerSec  float64 `json:"events_per_sec"`
	CEventsPerSec float64 `json:"c_events_per_sec"`
	// Handling time in the timed pass, 0 without one.
	OursP50NS float64 `json:"ours_p50_ns,omitempty"`
	OursP99NS float64 `json:"ours_p99_ns,omitempty"`
	CP50NS    float64 `json:"c_p50_ns,omitempty"`
	CP99NS    float64 `json:"c_p99_ns,omitempty"`
	Alive     bool    `json:"guest_alive"`
}

// PollRow is the price of polling.
type PollRow struct {
	Workload string `json:"workload"`
	Samples  uint64 `json:"samples"`
	// Dom0's CPU time with the monitor minus without, for each sample and vCPU.
	Instr float64 `json:"instr_per_sample_vcpu"`
	NS    float64 `json:"ns_per_sample_vcpu"`
	// Share of one CPU for each vCPU at ten samples a second; the bar is 0.01.
	Share float64 `json:"share_of_vcpu"`
	// Attach is what attaching took once, for the whole guest: dom0's CPU time
	// until everything is mapped, without that of the steady samples in it.
	AttachInstr float64 `json:"attach_instr"`
	AttachNS    float64 `json:"attach_ns"`
	// Parts of a sample, from begin to end, cycles per sample (not per vCPU).
	Parts map[string]float64 `json:"parts_instr,omitempty"`
}

// Report is what hangbench bench event prints.
type Report struct {
	Schema      int       `json:"schema"`
	Host        string    `json:"host"`   // lab or xen
	Driver      string    `json:"driver"` // the library that the monitor is on
	Xen         string    `json:"xen"`
	GuestKernel string    `json:"guest_kernel"`
	VCPUs       int       `json:"vcpus"`
	WindowMS    int64     `json:"window_ms"`
	PerSecond   float64   `json:"instr_per_sec"` // of the time-stamp counter
	Rows        []Row     `json:"rows"`
	Poll        []PollRow `json:"poll"`
	// What the rows were computed from.
	Series  []Series  `json:"series"`
	Polling []Polling `json:"polling"`
	Reads   *Reads    `json:"reads,omitempty"` // measured with polling
}

// Compute fills Rows and Poll from what was measured.
func (r *Report) Compute() {
	r.Schema = Schema
	perNS := r.PerSecond / 1e9
	r.Rows, r.Poll = []Row{}, []PollRow{}
	for _, s := range r.Series {
		row := Row{Mechanism: s.Mechanism, N: len(s.Blocks), Alive: s.Alive}
		var ours, c, ratio, oursDom0, cDom0, dom0Ratio, rate, cRate []float64
		for _, b := range s.Blocks {
			unit := float64(b.Base.NS) / float64(b.Base.Work)
			o, y := stolen(b.Ours, unit), stolen(b.C, unit)
			ours, c, ratio = append(ours, o), append(c, y), append(ratio, o/y)
			od, yd := perEvent(b.Ours.Dom0NS, b.Ours), perEvent(b.C.Dom0NS, b.C)
			oursDom0, cDom0, dom0Ratio = append(oursDom0, od), append(cDom0, yd), append(dom0Ratio, od/yd)
			rate = append(rate, 1e9/perEvent(b.Ours.NS, b.Ours))
			cRate = append(cRate, 1e9/perEvent(b.C.NS, b.C))
			row.OursEvents += b.Ours.Events
			row.CEvents += b.C.Events
		}
		if len(ratio) > 0 {
			row.RatioMin, row.RatioMax = round(slices.Min(ratio), 1e4), round(slices.Max(ratio), 1e4)
		}
		row.OursNS, row.CNS, row.Ratio = round(median(ours), 1), round(median(c), 1), round(median(ratio), 1e4)
		row.OursInstr, row.CInstr = round(median(ours)*perNS, 1), round(median(c)*perNS, 1)
		row.OursDom0Instr, row.CDom0Instr = round(median(oursDom0)*perNS, 1), round(median(cDom0)*perNS, 1)
		row.Dom0Ratio = round(median(dom0Ratio), 1e4)
		row.EventsPerSec, row.CEventsPerSec = round(median(rate), 10), round(median(cRate), 10)
		if s.TimedOurs != nil {
			row.OursP50NS, row.OursP99NS = round(s.TimedOurs.HandlingP50, 1), round(s.TimedOurs.HandlingP99, 1)
		}
		if s.TimedC != nil {
			row.CP50NS, row.CP99NS = round(s.TimedC.HandlingP50, 1), round(s.TimedC.HandlingP99, 1)
		}
		r.Rows = append(r.Rows, row)
	}
	for _, p := range r.Polling {
		row := PollRow{Workload: p.Workload, Samples: p.Samples}
		if p.Samples > 0 && p.With.NS > 0 && p.Base.NS > 0 && r.VCPUs > 0 {
			more := float64(p.With.Dom0NS) - float64(p.Base.Dom0NS)*float64(p.With.NS)/float64(p.Base.NS)
			row.NS = round(more/float64(p.Samples)/float64(r.VCPUs), 1)
			row.Instr = round(more/float64(p.Samples)/float64(r.VCPUs)*perNS, 1)
			row.Share = round(more/float64(p.Samples)/float64(r.VCPUs)/float64(PollEvery), 1e5)
			once := float64(p.Attach.Dom0NS) - float64(p.Base.Dom0NS)*float64(p.Attach.NS)/float64(p.Base.NS) -
				more/float64(p.Samples)*float64(p.AttachSamples)
			row.AttachNS, row.AttachInstr = round(once, 1), round(once*perNS, 1)
			row.Parts = map[string]float64{}
			for part, n := range p.Parts {
				row.Parts[part] = round(float64(n)/float64(p.Samples), 1)
			}
		}
		r.Poll = append(r.Poll, row)
	}
}

func perEvent(ns int64, w Window) float64 { return float64(ns) / float64(max(w.Events, 1)) }

// stolen is the time of an event without the guest's own work, in ns. The
// guest's work is worth what it took without a monitor.
func stolen(w Window, unitNS float64) float64 {
	return (float64(w.NS) - float64(w.Work)*unitNS) / float64(max(w.Events, 1))
}

// round keeps 1/digits.
func round(x, digits float64) float64 {
	if x < 0 {
		return -round(-x, digits)
	}
	return float64(int64(x*digits+0.5)) / digits
}

func median(s []float64) float64 { return quantile(s, 0.5) }

// quantile is the q-quantile, 0 of nothing: the value at or above which the
// share 1-q lies; for the median of an even number the middle of the two.
func quantile(s []float64, q float64) float64 {
	if len(s) == 0 {
		return 0
	}
	s = slices.Clone(s)
	sort.Float64s(s)
	if n := len(s); q == 0.5 && n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[min(int(q*float64(len(s))), len(s)-1)]
}

// unit is what a cycle of the time-stamp counter is called.
func (r *Report) unit() string {
	if r.Host == "lab" {
		return "instr"
	}
	return "cycles"
}

// Tables renders the report for a reader.
func (r *Report) Tables() []*table.Table {
	u := r.unit()
	where := fmt.Sprintf("Xen %s, guest %s, %d vCPU", r.Xen, r.GuestKernel, r.VCPUs)
	num := func(x float64) string { return fmt.Sprintf("%.0f", x) }
	price := &table.Table{
		Title:   "Price of an event, the monitor's loop and the C yardstick, " + where,
		Head:    []string{"", "mechanism", "n", u + "/event", "C", "ratio", "[min..max]", "dom0 " + u, "C", "ratio", "guest"},
		Numeric: []bool{false, false, true, true, true, true, true, true, true, true, false},
		Notes: []string{
			u + "/event: what an event takes from the guest, that is all time but the guest's own work; dom0: CPU time of dom0 in it.",
			"ratio: the monitor's over C, median of n blocks (baseline, ours, C, C, ours, baseline) of " + fmt.Sprint(r.WindowMS) + " ms windows.",
			"guest: its heart beats after everything was detached.",
		},
	}
	if r.Host == "lab" {
		price.Notes = append(price.Notes, "lab: virtual time; one instruction is one cycle of the time-stamp counter, "+num(r.PerSecond/1e6)+" million a second.")
	}
	pace := &table.Table{
		Title:   "Pace and handling time",
		Head:    []string{"", "mechanism", "events", "per second", "C events", "per second", "p50 (us)", "p99 (us)", "C p50", "C p99"},
		Numeric: []bool{false, false, true, true, true, true, true, true, true, true},
		Notes:   []string{"p50, p99: back from the wait to the answers being ready to send, in a pass of its own with the trace on."},
	}
	us := func(ns float64) string {
		if ns == 0 {
			return "–"
		}
		return fmt.Sprintf("%.1f", ns/1e3)
	}
	host := "host " + r.Host + ", " + r.Driver
	for _, w := range r.Rows {
		alive := "beats"
		if !w.Alive {
			alive = "STANDS STILL"
		}
		price.Rows = append(price.Rows, []string{host, w.Mechanism, fmt.Sprint(w.N), num(w.OursInstr), num(w.CInstr),
			fmt.Sprintf("%.3f", w.Ratio), fmt.Sprintf("[%.3f..%.3f]", w.RatioMin, w.RatioMax), num(w.OursDom0Instr), num(w.CDom0Instr),
			fmt.Sprintf("%.3f", w.Dom0Ratio), alive})
		pace.Rows = append(pace.Rows, []string{host, w.Mechanism, fmt.Sprint(w.OursEvents), num(w.EventsPerSec), fmt.Sprint(w.CEvents), num(w.CEventsPerSec),
			us(w.OursP50NS), us(w.OursP99NS), us(w.CP50NS), us(w.CP99NS)})
	}
	var all []*table.Table
	if len(r.Rows) > 0 {
		all = append(all, price, pace)
	}
	if len(r.Poll) > 0 {
		poll := &table.Table{Title: "Price of polling, 10 samples a second", Head: []string{"", "guest", "samples", u + "/sample and vCPU", "share of one vCPU", "attach, " + u},
			Numeric: []bool{false, false, true, true, true, true},
			Notes: []string{
				"dom0's CPU time with the monitor minus without, over the same window; the bar is 1%.",
				fmt.Sprintf("The window begins %v after attaching; attach: what was spent until then beyond the price of its samples.", pollSettle),
			}}
		for _, p := range r.Poll {
			poll.Rows = append(poll.Rows, []string{host, p.Workload, fmt.Sprint(p.Samples), num(p.Instr), fmt.Sprintf("%.3f%%", 100*p.Share), num(p.AttachInstr)})
		}
		all = append(all, poll)
	}
	if r.Reads != nil {
		notes := []string{}
		if r.Reads.Kernel != "" {
			notes = append(notes, "LibVMI with a configuration in memory finds the kernel where the monitor has it: "+r.Reads.Kernel+".")
		}
		if r.Reads.Frame != "" {
			notes = append(notes, "LibVMI reports executions in one frame by an event for it alone, in the host view and in another, until it is cleared: "+r.Reads.Frame+".")
		}
		all = append(all, &table.Table{
			Title: "Reading eight bytes of guest memory", Head: []string{"", "page at hand, " + u, "page to be mapped, " + u, "exchanged frame"}, Numeric: []bool{false, true, true, false},
			Notes: append([]string{"The median of a hundred; the driver xenctrl maps sixteen pages at once.",
				"stale: a frame that was exchanged for another shows the old one's memory, until the driver lets go of its pages (at least every 30 s)."}, notes...),
			Rows: [][]string{{host, fmt.Sprint(r.Reads.Mapped), fmt.Sprint(r.Reads.Unmapped), map[bool]string{true: "stale", false: "fresh"}[r.Reads.Stale]}},
		})
	}
	return all
}

// PartNames returns the parts of an event in the order in which they are shown.
func PartNames() []string { return []string{"hypervisor", "wakeup", "monitor", "kernel"} }

// BreakdownTable renders the parts of an event, for each mechanism and loop.
func (r *Report) BreakdownTable() *table.Table {
	t := &table.Table{
		Title:   "One event by who spends it, mean " + r.unit(),
		Head:    []string{"mechanism", "loop", "events", "hypervisor", "wake-up", "monitor", "dom0 kernel", "sum", "hypercalls", "lost"},
		Numeric: []bool{false, false, true, true, true, true, true, true, true, true},
		Notes: []string{
			"hypervisor: guest's exit until dom0 is on the CPU, the answer until the guest may run, dom0's block until the guest's entry.",
			"wake-up: dom0's kernel until the monitor is back from its wait; a loop that finds the next event without sleeping has little.",
			"monitor: its own instructions; dom0 kernel: its system calls otherwise, with hypercalls whose end the trace does not show.",
			"With Xen's trace on, which costs some hundred instructions a record. lost: trace records that Xen dropped.",
		},
	}
	for _, s := range r.Series {
		for _, side := range []struct {
			name string
			s    *Side
		}{{"ours", s.TimedOurs}, {"C", s.TimedC}} {
			if side.s == nil {
				continue
			}
			row := []string{s.Mechanism, side.name, fmt.Sprint(side.s.Events)}
			sum, calls := 0.0, 0.0
			for _, p := range PartNames() {
				row = append(row, fmt.Sprintf("%.0f", side.s.Parts[p]))
				sum += side.s.Parts[p]
			}
			for _, n := range side.s.Hypercalls {
				calls += n
			}
			t.Rows = append(t.Rows, append(row, fmt.Sprintf("%.0f", sum), fmt.Sprintf("%.1f", calls), fmt.Sprint(side.s.TraceLost)))
		}
	}
	return t
}
