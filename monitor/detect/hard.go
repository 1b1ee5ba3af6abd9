package detect

import "fmt"

// hardRule finds vCPUs that run in the kernel with interrupts off: at every
// sample, without a switch, and by the guest's own count without one interrupt.
//
// Where that count is unreadable a healthy task is told from a hang by the
// places: one that does nothing but system calls is seen in the kernel's entry
// code, or in many functions.
type hardRule struct {
	t    Thresholds
	rows []hardRow
}

type hardRow struct {
	broken  reason
	samples int
	counted int // samples by which the interrupt count stood still
	sinceNS int64
	ranNS   uint64
	places  few
	queue   RunQueue // of the last sample, if there was one
	caller  string
	hangs   bool
}

// uncounted is how many samples are needed instead of minSamples where the guest's
// count of interrupts is unreadable.
const uncounted = 5

func (r *hardRule) restart(vcpus int) {
	if len(r.rows) != vcpus {
		r.rows = make([]hardRow, vcpus)
	}
	clear(r.rows)
}

func (r *hardRule) observe(s *step) level {
	l := calm
	for i := range s.vcpus {
		row := &r.rows[i]
		if !s.vcpus[i].Online {
			*row = hardRow{}
			continue
		}
		row.extend(s, &s.vcpus[i], &s.last[i])
		row.hangs = (row.samples >= minSamples && row.counted == row.samples || row.samples >= uncounted) &&
			s.t-row.sinceNS >= int64(r.t.Hard) && 2*row.ranNS >= uint64(r.t.Hard)
		switch {
		case row.hangs:
			s.affected[i] = true
			l = hung
		case row.samples > 1: // one is an accident, on the way into the kernel or out
			l = max(l, watching)
		}
	}
	return l
}

func (row *hardRow) extend(s *step, now, was *VCPU) {
	broken := alive(now, was)
	n, known := interrupted(now, was)
	places := row.places
	switch {
	case broken.text != "":
	case idleCode(now.Symbol):
		broken = reason{text: becauseIdle, symbol: now.Symbol}
	case now.InterruptsOn:
		broken = reason{text: becauseIF, symbol: where(now)}
	case n != 0:
		broken = reason{text: becauseIRQ, n: n}
	case !known && entryCode(now.Symbol):
		broken = reason{text: becauseIn, symbol: now.Symbol}
	// The tick moves the clock of the run queue; other vCPUs may, too.
	case !known && s.online == 1 && now.Queue != nil && was.Queue != nil && now.Queue.ClockNS != was.Queue.ClockNS:
		broken = reason{text: becauseIRQ, n: 1}
	case !places.add(where(now)) && !known:
		broken = reason{text: becauseMany, symbol: where(now)}
	}
	if broken.text != "" {
		*row = hardRow{broken: broken}
		return
	}
	if row.samples == 0 {
		row.sinceNS = s.t - s.dt
	}
	row.broken = reason{}
	row.places = places
	row.samples++
	if known {
		row.counted++
	}
	row.ranNS += now.CPUTimeNS - was.CPUTimeNS
	if now.Queue != nil {
		row.queue = *now.Queue
	}
	if len(now.Callers) > 0 {
		row.caller = now.Callers[0]
	}
}

func (r *hardRule) verdict(s *step) Verdict {
	v := Verdict{Class: ClassHard, Scope: s.scope()}
	for i := range r.rows {
		row := &r.rows[i]
		if !row.hangs {
			continue
		}
		v.VCPUs = append(v.VCPUs, i)
		v.Evidence = append(v.Evidence, fmt.Sprintf("vCPU %d: no task switch for %d ms while it ran %d ms in the kernel, interrupts off at all of %d samples", i, (s.t-row.sinceNS)/1e6, row.ranNS/1e6, row.samples),
			fmt.Sprintf("vCPU %d: seen in %s", i, &row.places))
		if row.counted == row.samples {
			v.Evidence = append(v.Evidence, fmt.Sprintf("vCPU %d: not one interrupt handled since (%d since boot)", i, row.queue.Interrupts))
		}
		v.Evidence = append(v.Evidence, taskEvidence(i, &row.queue, row.caller)...)
	}
	return v
}

// taskEvidence names the task that holds a vCPU and what called the place it is in.
func taskEvidence(i int, q *RunQueue, caller string) []string {
	var e []string
	if q.Comm != "" {
		e = append(e, fmt.Sprintf("vCPU %d: runs %s (%d), %d runnable, asked to schedule: %v", i, q.Comm, q.PID, q.Running, q.NeedResched))
	}
	if caller != "" {
		e = append(e, fmt.Sprintf("vCPU %d: called from %s", i, caller))
	}
	return e
}

func (r *hardRule) notes(to []string) []string {
	for i := range r.rows {
		if row := &r.rows[i]; row.samples > 1 {
			to = append(to, fmt.Sprintf("hard: vCPU %d: interrupts off at %d samples, for %d ms of running, in %s", i, row.samples, row.ranNS/1e6, &row.places))
		}
	}
	return to
}
