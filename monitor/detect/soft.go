package detect

import "fmt"

// softRule finds vCPUs that run in the kernel without scheduling, interrupts on.
//
// Early: the run queue says at every sample that somebody waits, be it another
// runnable task or the scheduler that has asked the current one to give way. A
// task that makes system calls without a pause while nobody else wants the CPU
// is healthy, and so is one that computes in user mode.
//
// Late, where the run queue is unreadable: silence in the kernel, in few
// functions, none of them the way in or out.
type softRule struct {
	t    Thresholds
	rows []softRow
}

type softRow struct {
	broken  reason
	samples int
	waited  int // samples at which somebody waited
	on      int // samples with interrupts on, or after which some were handled
	sinceNS int64
	ranNS   uint64
	places  few
	many    bool // more places than few
	queue   RunQueue
	caller  string
	hangs   bool
}

// softSamples and silentSamples are the fewest samples of the early and of the
// late rule.
const (
	softSamples   = 5
	silentSamples = 20
)

func (r *softRule) restart(vcpus int) {
	if len(r.rows) != vcpus {
		r.rows = make([]softRow, vcpus)
	}
	clear(r.rows)
}

func (r *softRule) observe(s *step) level {
	l := calm
	for i := range s.vcpus {
		row := &r.rows[i]
		if !s.vcpus[i].Online {
			*row = softRow{}
			continue
		}
		row.extend(s, &s.vcpus[i], &s.last[i])
		row.hangs = row.on > 0 && (row.lasts(s.t, int64(r.t.Soft)) && row.waited == row.samples && row.samples >= softSamples ||
			row.lasts(s.t, int64(r.t.SoftSilence)) && !row.many && row.samples >= silentSamples)
		switch {
		case row.hangs:
			s.affected[i] = true
			l = hung
		case row.samples >= softSamples:
			l = max(l, watching)
		}
	}
	return l
}

func (row *softRow) lasts(t, threshold int64) bool {
	return row.samples > 0 && t-row.sinceNS >= threshold && 2*row.ranNS >= uint64(threshold)
}

func (row *softRow) extend(s *step, now, was *VCPU) {
	broken := alive(now, was)
	q := now.Queue
	switch {
	case broken.text != "":
	case idleCode(now.Symbol):
		broken = reason{text: becauseIdle, symbol: now.Symbol}
	case q != nil && !q.NeedResched && q.Running <= 1:
		broken = reason{text: becauseAlone}
	case q == nil && entryCode(now.Symbol):
		broken = reason{text: becauseIn, symbol: now.Symbol}
	}
	if broken.text != "" {
		*row = softRow{broken: broken}
		return
	}
	if row.samples == 0 {
		row.sinceNS = s.t - s.dt
	}
	row.broken = reason{}
	row.samples++
	row.many = !row.places.add(where(now)) || row.many
	if n, _ := interrupted(now, was); n != 0 || now.InterruptsOn {
		row.on++
	}
	if q != nil {
		row.waited++
		row.queue = *q
	}
	row.ranNS += now.CPUTimeNS - was.CPUTimeNS
	if len(now.Callers) > 0 {
		row.caller = now.Callers[0]
	}
}

func (r *softRule) verdict(s *step) Verdict {
	v := Verdict{Class: ClassSoft, Scope: s.scope()}
	for i := range r.rows {
		row := &r.rows[i]
		if !row.hangs {
			continue
		}
		v.VCPUs = append(v.VCPUs, i)
		v.Evidence = append(v.Evidence, fmt.Sprintf("vCPU %d: no task switch for %d ms while it ran %d ms in the kernel, at all of %d samples, interrupts on at %d of these", i, (s.t-row.sinceNS)/1e6, row.ranNS/1e6, row.samples, row.on))
		places := fmt.Sprintf("vCPU %d: seen in %s", i, &row.places)
		if row.many {
			places += " and others"
		}
		v.Evidence = append(v.Evidence, places)
		if row.waited < row.samples {
			v.Evidence = append(v.Evidence, fmt.Sprintf("vCPU %d: its run queue was unreadable at %d samples: judged by silence alone", i, row.samples-row.waited))
		}
		v.Evidence = append(v.Evidence, taskEvidence(i, &row.queue, row.caller)...)
	}
	return v
}

func (r *softRule) notes(to []string) []string {
	for i := range r.rows {
		if row := &r.rows[i]; row.samples >= softSamples {
			to = append(to, fmt.Sprintf("soft: vCPU %d: in the kernel without a switch at %d samples, for %d ms of running, interrupts on at %d, somebody waited at %d", i, row.samples, row.ranNS/1e6, row.on, row.waited))
		}
	}
	return to
}
