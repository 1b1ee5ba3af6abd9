package detect

import (
	"fmt"
	"time"
)

// ClassSoft: vCPUs run in the kernel without a task switch although a task waits.
const ClassSoft Class = "soft"

// SoftThresholds are the limits of the rule about kernel code that does not give
// up the CPU.
type SoftThresholds struct {
	// Soft is how long a vCPU must run in the kernel without a task switch while
	// another task waits for it. A scheduler's slice is some milliseconds.
	Soft time.Duration
	// SoftSilence is the same where nobody can say whether a task waits.
	SoftSilence time.Duration
}

func (t *SoftThresholds) entry() entry {
	return entry{
		start: func() rule { return &softRule{t: *t} },
		classes: []class{{
			Info: Info{
				Class: ClassSoft, Severity: 60, Waits: true,
				Reads: "task switches, CPU time, registers, run queue",
				Early: "in the kernel at every sample, no task switch, while a task waits or the scheduler has asked for one; " +
					"also in handlers of interrupts that come without end",
				Late: "the same, in few functions, with the run queue unreadable",
			},
			knobs: []knob{
				milliseconds(&t.Soft, "soft_ms", 2000,
					"a vCPU runs in the kernel without a task switch while a task waits for it"),
				milliseconds(&t.SoftSilence, "soft_silence_ms", 10_000, "the same, with the run queue unreadable"),
			},
			needsQueue: true,
		}},
	}
}

// softRule finds vCPUs that run in the kernel without a task switch, interrupts on.
//
// Early: at every sample the run queue says that something waits, either another
// runnable task or the scheduler, which has asked the current task to give way. A
// task is healthy if it makes system calls without a pause while nothing waits for
// the CPU, or if it computes in user mode.
//
// Late, if the run queue is unreadable: silence in the kernel, in few functions,
// none of them entry code.
//
// In both cases the vCPU must also have run for half of the threshold.
//
// A vCPU that handles interrupts without end, because a timer or a device interrupts again
// before the handler is through, is soft too: no task gets on, and those that the handlers
// wake wait. It may never turn interrupts on. It is not hard, because it handles them; the
// watchdogs of Linux draw the line in the same place, as the one for hard lockups asks
// whether timers are handled.
type softRule struct {
	t     SoftThresholds
	vcpus []softStreak
}

// softStreak is a streak of samples of one vCPU in the kernel.
type softStreak struct {
	samples int
	waited  int    // samples at which something waited
	on      int    // samples with interrupts on, or before which some were handled
	handled uint64 // interrupts handled
	within  int    // samples within the handler of an interrupt
	sinceNS int64  // last sample before the streak
	ranNS   uint64 // time run since then
	places  few
	many    bool     // there were more places than places can hold
	queue   RunQueue // of the last sample that has one
	caller  string   // innermost, of the last sample that has one
	hangs   bool
}

// inHandler are the bits of a preempt count that count the handlers of interrupts in
// progress: HARDIRQ_MASK in include/linux/preempt.h.
const inHandler = 0xf << 16

// softSamples and silentSamples are the numbers of samples that the early and the
// late decision need.
const (
	softSamples   = 5
	silentSamples = 20
)

func (r *softRule) restart(vcpus int) {
	if len(r.vcpus) != vcpus {
		r.vcpus = make([]softStreak, vcpus)
	}
	clear(r.vcpus)
}

func (r *softRule) observe(s *step) level {
	l := calm
	for i := range s.vcpus {
		k := &r.vcpus[i]
		if !s.vcpus[i].Online {
			*k = softStreak{}
			continue
		}
		k.extend(s, &s.vcpus[i], &s.last[i])
		early := k.samples >= softSamples && k.waited == k.samples && k.lasts(s.t, r.t.Soft)
		late := k.samples >= silentSamples && !k.many && k.lasts(s.t, r.t.SoftSilence)
		k.hangs = k.on > 0 && (early || late)
		switch {
		case k.hangs:
			s.affected[i] = true
			l = hung
		case k.samples >= softSamples:
			l = max(l, watching)
		}
	}
	return l
}

func (k *softStreak) lasts(t int64, threshold time.Duration) bool {
	return t-k.sinceNS >= int64(threshold) && 2*k.ranNS >= uint64(threshold)
}

// extend extends or ends the streak.
func (k *softStreak) extend(s *step, now, was *VCPU) {
	q := now.Queue
	alone := q != nil && !q.NeedResched && q.Running <= 1
	entry := q == nil && entryCode(now.Symbol)
	if alive(now, was).text != "" || idleCode(now.Symbol) || alone || entry {
		*k = softStreak{}
		return
	}
	if k.samples == 0 {
		k.sinceNS = s.t - s.dt
	}
	k.samples++
	k.many = !k.places.add(where(now)) || k.many
	n, _ := interrupted(now, was)
	if n != 0 || now.InterruptsOn {
		k.on++
	}
	k.handled += n
	if q != nil {
		if q.Preempt&inHandler != 0 {
			k.within++
		}
		k.waited++
		k.queue = *q
	}
	k.ranNS += now.CPUTimeNS - was.CPUTimeNS
	if len(now.Callers) > 0 {
		k.caller = now.Callers[0]
	}
}

func (r *softRule) verdict(s *step) Verdict {
	v := Verdict{Class: ClassSoft, Scope: s.scope()}
	for i := range r.vcpus {
		k := &r.vcpus[i]
		if !k.hangs {
			continue
		}
		v.VCPUs = append(v.VCPUs, i)
		places := fmt.Sprintf("vCPU %d: seen in %s", i, &k.places)
		if k.many {
			places += " and others"
		}
		v.Evidence = append(v.Evidence,
			fmt.Sprintf("vCPU %d: no task switch for %d ms while it ran %d ms in the kernel, at all of %d samples, "+
				"interrupts on at %d of these", i, (s.t-k.sinceNS)/1e6, k.ranNS/1e6, k.samples, k.on),
			places)
		if k.waited < k.samples {
			v.Evidence = append(v.Evidence, fmt.Sprintf("vCPU %d: its run queue was unreadable at %d samples: "+
				"judged by silence alone", i, k.samples-k.waited))
		}
		if 4*k.within >= 3*k.samples {
			v.Evidence = append(v.Evidence, fmt.Sprintf("vCPU %d: interrupts are handled without end: %d in this time, "+
				"within a handler at %d of %d samples", i, k.handled, k.within, k.samples))
		}
		v.Evidence = append(v.Evidence, taskEvidence(i, &k.queue, k.caller)...)
	}
	return v
}

func (r *softRule) notes(to []string) []string {
	for i := range r.vcpus {
		if k := &r.vcpus[i]; k.samples >= softSamples {
			to = append(to, fmt.Sprintf("soft: vCPU %d: in the kernel without a task switch at %d samples, "+
				"for %d ms of running, interrupts on at %d, a task waited at %d", i, k.samples, k.ranNS/1e6, k.on, k.waited))
		}
	}
	return to
}
