package trial

import "hangbench/results"

// note records what an observer beside reported until an instant. An observer that
// failed watched until then; one that failed before the fault did not watch.
func (r *run) note(b *bystander, until int64) {
	start := r.t0
	if start == 0 {
		start = b.since
	}
	if b.failed != "" {
		until = min(until, b.failedAt)
	}
	reports := b.Reports()
	for _, g := range b.Guards() {
		g.Armed = g.Armed && until >= start
		f := r.finding(g, reports, max(until-start, 0), until)
		f.Failed = b.failed
		r.rec.Findings = append(r.rec.Findings, f)
	}
}

// finding is what became of one detector of an observer that was heard for watched
// nanoseconds, until an instant.
func (r *run) finding(g Guard, reports []Report, watched, until int64) results.Finding {
	f := results.Finding{
		Observer: g.Name, Armed: g.Armed, WatchedNS: watched, ThresholdNS: g.ThresholdNS, FromNS: g.FromNS, ToNS: g.ToNS,
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
		f.AtNS, f.Task, f.Class, f.Scope, f.Evidence = &t, report.Task, report.Class, report.Scope, report.Evidence
		if report.Text != "" {
			f.Evidence = append([]string{report.Text}, f.Evidence...)
		}
		if report.VCPU >= 0 {
			f.VCPU = &report.VCPU
		}
	}
	return f
}
