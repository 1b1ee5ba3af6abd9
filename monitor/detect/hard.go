package detect

import (
	"fmt"
	"time"
)

// ClassHard: vCPUs run in the kernel with interrupts off.
const ClassHard Class = "hard"

// HardThresholds are the limits of the rule about interrupts that stay off.
type HardThresholds struct {
	// Hard is how long a vCPU must run in the kernel with interrupts off. The handlers
	// of a healthy kernel take microseconds.
	Hard time.Duration
}

func (t *HardThresholds) entry() entry {
	return entry{
		start: func() rule { return &hardRule{t: *t} },
		classes: []class{{
			Info: Info{
				Class: ClassHard, Severity: 70,
				Reads: "task switches, CPU time, registers, the guest's count of interrupts",
				Early: "in the kernel with interrupts off at every sample, no task switch, no interrupt handled",
			},
			knobs: []knob{milliseconds(&t.Hard, "hard_ms", 500, "a vCPU runs in the kernel with interrupts off")},
		}},
	}
}

// hardRule finds vCPUs that run in the kernel with interrupts off: at every
// sample, without a task switch, and without one interrupt by the guest's count.
//
// If that count is unreadable, the places of the samples tell a healthy task from
// a hang. A task that does nothing but system calls is sampled in the kernel's
// entry code, or in many functions. More samples are needed then.
//
// The vCPU must also have run for half of the threshold.
type hardRule struct {
	t     HardThresholds
	vcpus []hardStreak
}

// hardStreak is a streak of samples of one vCPU with interrupts off.
type hardStreak struct {
	samples int
	counted int    // samples for which the interrupt count is known; it did not grow
	sinceNS int64  // last sample before the streak
	ranNS   uint64 // time run since then
	places  few
	queue   RunQueue // of the last sample that has one
	caller  string   // innermost, of the last sample that has one
	hangs   bool
}

// uncounted is the number of samples needed instead of minSamples if the guest's
// count of interrupts is unreadable.
const uncounted = 5

func (r *hardRule) restart(vcpus int) {
	if len(r.vcpus) != vcpus {
		r.vcpus = make([]hardStreak, vcpus)
	}
	clear(r.vcpus)
}

func (r *hardRule) observe(s *step) level {
	l := calm
	for i := range s.vcpus {
		k := &r.vcpus[i]
		if !s.vcpus[i].Online {
			*k = hardStreak{}
			continue
		}
		k.extend(s, &s.vcpus[i], &s.last[i])
		enough := k.samples >= minSamples && k.counted == k.samples || k.samples >= uncounted
		k.hangs = enough && s.t-k.sinceNS >= int64(r.t.Hard) && 2*k.ranNS >= uint64(r.t.Hard)
		switch {
		case k.hangs:
			s.affected[i] = true
			l = hung
		case k.samples > 1: // one sample may be of entry code
			l = max(l, watching)
		}
	}
	return l
}

// extend extends or ends the streak.
func (k *hardStreak) extend(s *step, now, was *VCPU) {
	places := k.places
	if healthy(s, now, was, &places) {
		*k = hardStreak{}
		return
	}
	if k.samples == 0 {
		k.sinceNS = s.t - s.dt
	}
	k.places = places
	k.samples++
	if _, known := interrupted(now, was); known {
		k.counted++
	}
	k.ranNS += now.CPUTimeNS - was.CPUTimeNS
	if now.Queue != nil {
		k.queue = *now.Queue
	}
	if len(now.Callers) > 0 {
		k.caller = now.Callers[0]
	}
}

// healthy reports whether a sample ends a streak of interrupts off. It adds the
// place of the sample to places.
func healthy(s *step, now, was *VCPU, places *few) bool {
	if alive(now, was).text != "" || idleCode(now.Symbol) || now.InterruptsOn {
		return true
	}
	if n, known := interrupted(now, was); known {
		places.add(where(now))
		return n != 0
	}
	// The tick moves the clock of the run queue. Other vCPUs may move it too.
	ticked := s.online == 1 && now.Queue != nil && was.Queue != nil && now.Queue.ClockNS != was.Queue.ClockNS
	return entryCode(now.Symbol) || ticked || !places.add(where(now))
}

func (r *hardRule) verdict(s *step) Verdict {
	v := Verdict{Class: ClassHard, Scope: s.scope()}
	for i := range r.vcpus {
		k := &r.vcpus[i]
		if !k.hangs {
			continue
		}
		v.VCPUs = append(v.VCPUs, i)
		v.Evidence = append(v.Evidence,
			fmt.Sprintf("vCPU %d: no task switch for %d ms while it ran %d ms in the kernel, "+
				"interrupts off at all of %d samples", i, (s.t-k.sinceNS)/1e6, k.ranNS/1e6, k.samples),
			fmt.Sprintf("vCPU %d: seen in %s", i, &k.places))
		if k.counted == k.samples {
			v.Evidence = append(v.Evidence, fmt.Sprintf("vCPU %d: not one interrupt handled since (%d since boot)", i,
				k.queue.Interrupts))
		}
		v.Evidence = append(v.Evidence, taskEvidence(i, &k.queue, k.caller)...)
	}
	return v
}

// taskEvidence names the task that runs on a vCPU and the caller of the code that
// it is in.
func taskEvidence(i int, q *RunQueue, caller string) []string {
	var e []string
	if q.Comm != "" {
		e = append(e, fmt.Sprintf("vCPU %d: runs %s (%d), %d runnable, asked to schedule: %v", i, q.Comm, q.PID,
			q.Running, q.NeedResched))
	}
	if caller != "" {
		e = append(e, fmt.Sprintf("vCPU %d: called from %s", i, caller))
	}
	return e
}

func (r *hardRule) notes(to []string) []string {
	for i := range r.vcpus {
		if k := &r.vcpus[i]; k.samples > 1 {
			to = append(to, fmt.Sprintf("hard: vCPU %d: interrupts off at %d samples, for %d ms of running, in %s", i,
				k.samples, k.ranNS/1e6, &k.places))
		}
	}
	return to
}
