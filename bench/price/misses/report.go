package misses

// Schema is the version of the report's form.
const Schema = 1

// Row is one session of one mechanism.
type Row struct {
	Mechanism string `json:"mechanism"`
	Passes    int    `json:"passes"`
	Signals   uint64 `json:"signals"`
	Switches  uint64 `json:"switches"`
	// Missed is switches minus signals. Where nothing was missed it may be negative, by the
	// edge at most.
	Missed int64 `json:"missed"`
	// Share is Missed divided by Switches, 0 to 1; 0 without switches.
	Share  float64 `json:"missed_share"`
	Events uint64  `json:"events"`
	// Progress is the guest's rate of work with the monitor divided by that without.
	Progress  float64 `json:"progress_ratio"`
	BackedOut string  `json:"backed_out,omitempty"`
	Alive     bool    `json:"guest_alive"`
}

// Report is the output of hangbench bench misses.
type Report struct {
	Schema      int      `json:"schema"`
	Host        string   `json:"host"`   // lab or xen
	Driver      string   `json:"driver"` // xenctrl or libvmi
	Xen         string   `json:"xen"`
	GuestKernel string   `json:"guest_kernel"`
	VCPUs       int      `json:"vcpus"`
	WindowMS    int64    `json:"window_ms"`
	SampleMS    int64    `json:"sample_ms"`
	Edge        int64    `json:"edge"` // possible error of missed, in switches
	Rows        []Row    `json:"rows"`
	Series      []Series `json:"series"` // what the rows were computed from
}

// Compute computes Rows and Edge from Series.
func (r *Report) Compute() {
	r.Schema, r.Edge, r.Rows = Schema, Edge(r.VCPUs), []Row{}
	for _, s := range r.Series {
		for _, c := range s.Counts {
			row := Row{Mechanism: s.Mechanism, Passes: c.Passes, Signals: c.Signals, Switches: c.Switches,
				Missed: int64(c.Switches) - int64(c.Signals), Events: c.Events, BackedOut: c.BackedOut, Alive: s.Alive}
			if c.Switches > 0 {
				row.Share = float64(row.Missed) / float64(c.Switches)
			}
			if c.NS > 0 && s.BaseWork > 0 {
				row.Progress = float64(c.Work) / float64(c.NS) * float64(s.BaseNS) / float64(s.BaseWork)
			}
			r.Rows = append(r.Rows, row)
		}
	}
}
