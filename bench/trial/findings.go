package trial

import "hangbench/results"

// note records what an observer beside reported until an instant.
func (r *run) note(b *bystander, until int64) {
	out := r.rec.Baselines
	if out == nil {
		out = &results.Baselines{Setting: r.p.Watchdogs}
		r.rec.Baselines = out
	}
	start := r.t0
	if start == 0 {
		start = b.since
	}
	out.WatchedNS = until - start
	reports := b.Reports()
	for _, g := range b.Guards() {
		out.Detectors = append(out.Detectors, r.finding(g, reports, until))
	}
}

// finding is what became of one detector of an observer.
func (r *run) finding(g Guard, reports []Report, until int64) results.Baseline {
	f := results.Baseline{
		Detector: g.Name, Armed: g.Armed, ThresholdNS: g.ThresholdNS, FromNS: g.FromNS, ToNS: g.ToNS,
	}
	for _, report := range reports {
		if report.Guard != g.Name || report.SeenNS > until {
			continue
		}
		f.Armed = true // whatever the guest says: it reports
		if r.t0 == 0 || report.AtNS < r.t0 || r.late(report.AtNS) {
			f.FalseAlarms++
			continue
		}
		if f.Reports++; f.Reports > 1 {
			continue
		}
		t := report.AtNS - r.t0
		f.Detected, f.DetectNS, f.Task, f.Text = true, &t, report.Task, report.Text
		if report.VCPU >= 0 {
			f.VCPU = &report.VCPU
		}
	}
	return f
}
