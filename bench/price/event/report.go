package event

import (
	"slices"
	"sort"
)

// Schema is the version of the report's form.
const Schema = 1

// Row is the price of an event of one mechanism. "Instr" are cycles of the time-stamp
// counter; in the lab a cycle is an instruction.
type Row struct {
	Mechanism string `json:"mechanism"`
	N         int    `json:"n"` // blocks
	// Time that an event takes from the guest: medians over the blocks.
	OursInstr float64 `json:"ours_instr"`
	CInstr    float64 `json:"c_instr"`
	OursNS    float64 `json:"ours_ns"`
	CNS       float64 `json:"c_ns"`
	// Ratio is ours divided by C, taken within each block: median, minimum and maximum.
	Ratio    float64 `json:"ratio"`
	RatioMin float64 `json:"ratio_min"`
	RatioMax float64 `json:"ratio_max"`
	// CPU time of dom0 in an event.
	OursDom0Instr float64 `json:"ours_dom0_instr"`
	CDom0Instr    float64 `json:"c_dom0_instr"`
	Dom0Ratio     float64 `json:"dom0_ratio"`
	// Events delivered: all, and per second of dom0's clock.
	OursEvents    uint64  `json:"ours_events"`
	CEvents       uint64  `json:"c_events"`
	EventsPerSec  float64 `json:"events_per_sec"`
	CEventsPerSec float64 `json:"c_events_per_sec"`
	// Handling time in the timed pass, 0 without a timed pass.
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
	// CPU time of dom0 with the monitor minus without, per sample and vCPU.
	Instr float64 `json:"instr_per_sample_vcpu"`
	NS    float64 `json:"ns_per_sample_vcpu"`
	// Share of one CPU per vCPU at ten samples a second, 0 to 1; the limit is 0.01.
	Share float64 `json:"share_of_vcpu"`
	// Attach is CPU time of dom0 that attaching takes once, for the whole guest: until
	// PollSettle later, without the time of the steady samples.
	AttachInstr float64 `json:"attach_instr"`
	AttachNS    float64 `json:"attach_ns"`
	// Parts of a sample, in cycles per sample (not per vCPU).
	Parts map[string]float64 `json:"parts_instr,omitempty"`
}

// Report is the output of hangbench bench event.
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
	// The rows are computed from these.
	Series  []Series  `json:"series"`
	Polling []Polling `json:"polling"`
	Reads   *Reads    `json:"reads,omitempty"` // measured with polling
}

// Compute computes Rows and Poll from Series and Polling.
func (r *Report) Compute() {
	r.Schema = Schema
	perNS := r.PerSecond / 1e9
	r.Rows, r.Poll = []Row{}, []PollRow{}
	for _, s := range r.Series {
		row := Row{Mechanism: s.Mechanism, N: len(s.Blocks), Alive: s.Alive}
		var ours, c, ratio, oursDom0, cDom0, dom0Ratio, rate, cRate []float64
		ours, c = s.Prices()
		for i, b := range s.Blocks {
			ratio = append(ratio, ours[i]/c[i])
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

// Prices returns what an event takes from the guest in each block, in nanoseconds: with the
// project's own loop and with the C loop.
func (s *Series) Prices() (ours, c []float64) {
	for _, b := range s.Blocks {
		unit := float64(b.Base.NS) / float64(b.Base.Work)
		ours, c = append(ours, stolen(b.Ours, unit)), append(c, stolen(b.C, unit))
	}
	return ours, c
}

func perEvent(ns int64, w Window) float64 { return float64(ns) / float64(max(w.Events, 1)) }

// stolen returns the time of an event without the guest's own work, in nanoseconds. A
// unit of work counts unitNS, the time that it took without a monitor.
func stolen(w Window, unitNS float64) float64 {
	return (float64(w.NS) - float64(w.Work)*unitNS) / float64(max(w.Events, 1))
}

// round rounds to the nearest multiple of 1/digits.
func round(x, digits float64) float64 {
	if x < 0 {
		return -round(-x, digits)
	}
	return float64(int64(x*digits+0.5)) / digits
}

func median(s []float64) float64 { return quantile(s, 0.5) }

// quantile returns the q-quantile of s, or 0 if s is empty: the value at index q*len(s) of
// the sorted values, rounded down. For the median of an even number of values it is the mean
// of the two in the middle.
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

// PartNames returns the parts of an event in the order in which they are shown.
func PartNames() []string { return []string{"hypervisor", "wakeup", "monitor", "kernel"} }
