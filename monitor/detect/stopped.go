package detect

import (
	"fmt"
	"math"
	"time"
)

// ClassStopped: vCPUs do not run although they should.
const ClassStopped Class = "stopped"

// StoppedThresholds are the limits of the rule about vCPUs that do not run.
type StoppedThresholds struct {
	// Stopped is how long a vCPU must stay halted past its timer, or with work in its
	// run queue.
	Stopped time.Duration
	// Starved is how long the hypervisor must give no time to a vCPU that wants to
	// run.
	Starved time.Duration
}

func (t *StoppedThresholds) entry() entry {
	return entry{
		start: func() rule { return &stoppedRule{t: *t} },
		classes: []class{{
			Info: Info{
				Class: ClassStopped, Severity: 50,
				Reads: "run state, CPU time, run queue, next timer, the guest's clock",
				Early: "halted past its timer, or with tasks to run",
				Late:  "runnable, and the hypervisor gives it no time at all",
			},
			knobs: []knob{
				milliseconds(&t.Stopped, "stopped_ms", 700, "a vCPU is halted past its timer or with tasks to run"),
				milliseconds(&t.Starved, "starved_ms", 5000, "a vCPU wants to run and gets no time"),
			},
			needsQueue: true,
		}},
	}
}

// stoppedRule finds vCPUs that do not run although they should:
//
//   - halted, though the timer that should wake it is overdue;
//   - halted or taken offline, though its run queue holds tasks or its current task
//     is not the idle task;
//   - runnable, though the hypervisor gives it no time at all.
//
// A halted vCPU with nothing to do is idle, for however long. A vCPU that goes
// offline with an empty run queue has been unplugged. A vCPU that polls for a
// paravirtualised lock is left to spinRule.
type stoppedRule struct {
	t     StoppedThresholds
	clock guestClock
	vcpus []stoppedVCPU
}

// stoppedVCPU is what the rule knows of one vCPU.
type stoppedVCPU struct {
	overdue   span  // halted past its timer
	waiting   span  // halted or offline with work
	starved   span  // runnable, not run
	timerNS   int64 // that overdue is about, on the guest's clock
	queue     RunQueue
	wasOnline bool
	hangs     bool
}

func (r *stoppedRule) restart(vcpus int) {
	if len(r.vcpus) != vcpus {
		r.vcpus = make([]stoppedVCPU, vcpus)
	}
	for i := range r.vcpus {
		r.vcpus[i] = stoppedVCPU{wasOnline: r.vcpus[i].wasOnline}
	}
}

func (r *stoppedRule) observe(s *step) level {
	r.clock.step(s.t, s.dt)
	if s.kernel != nil {
		r.clock.observe(s.t, s.kernel.MonotonicNS)
	}
	l := calm
	for i := range s.vcpus {
		c := &r.vcpus[i]
		judged := r.extend(c, s, i)
		if !judged && l == calm {
			l = blind
		}
		// A vCPU that is hung, or may be, counts more than one that cannot be judged.
		switch {
		case r.judge(c, s, i):
			s.affected[i] = true
			l = hung
		case l != hung && c.suspect():
			l = watching
		}
	}
	return l
}

// extend extends or ends the spans of vCPU i. It returns false if the vCPU is
// halted until a timer and the guest's clock is not known yet.
func (r *stoppedRule) extend(c *stoppedVCPU, s *step, i int) bool {
	now, was := &s.vcpus[i], &s.last[i]
	c.wasOnline = c.wasOnline || now.Online
	still := c.wasOnline && switched(now, was) == 0
	c.starved.extend(s.t, still && now.Online && !now.Blocked && !now.Running && now.CPUTimeNS == was.CPUTimeNS)
	q := now.Queue
	if q == nil {
		c.overdue, c.waiting = span{}, span{}
		return true
	}
	c.queue = *q
	halted := now.Blocked || !now.Online
	timer := now.Online && q.TimerNS > 0 && q.TimerNS != math.MaxInt64
	if q.TimerNS != c.timerNS {
		c.overdue, c.timerNS = span{}, q.TimerNS
	}
	guest, known := r.clock.atLeast(s.t) // 0 if it is not known: no timer is overdue
	c.overdue.extend(s.t, still && halted && timer && guest > q.TimerNS)
	c.waiting.extend(s.t, still && halted && (q.Running > 0 || q.PID != 0))
	timerless := halted && now.Online && !timer
	s.doubted[i] = c.overdue.samples > 0 || c.waiting.samples > 0 || timerless
	return known || !timer || !now.Blocked
}

// judge decides whether vCPU i hangs.
func (r *stoppedRule) judge(c *stoppedVCPU, s *step, i int) bool {
	_, polls := lockWait(&s.vcpus[i])
	c.hangs = !polls && (c.overdue.lasts(s.t, r.t.Stopped) || c.waiting.lasts(s.t, r.t.Stopped) ||
		c.starved.lasts(s.t, r.t.Starved))
	return c.hangs
}

// suspect reports whether a vCPU shows a sign of a hang for longer than a healthy
// one may by chance.
func (c *stoppedVCPU) suspect() bool {
	return c.overdue.samples > 1 || c.waiting.samples > 1 || c.starved.samples > minSamples
}

func (r *stoppedRule) verdict(s *step) Verdict {
	v := Verdict{Class: ClassStopped, Scope: s.scope()}
	for i := range r.vcpus {
		if c := &r.vcpus[i]; c.hangs {
			v.VCPUs = append(v.VCPUs, i)
			v.Evidence = append(v.Evidence, r.evidence(c, s, i)...)
		}
	}
	return v
}

// evidence describes what holds of vCPU i for long enough.
func (r *stoppedRule) evidence(c *stoppedVCPU, s *step, i int) []string {
	var e []string
	if c.overdue.lasts(s.t, r.t.Stopped) {
		guest, _ := r.clock.atLeast(s.t)
		e = append(e, fmt.Sprintf("vCPU %d: halted at %d samples in a row though its timer is overdue by at least %d ms", i,
			c.overdue.samples, (guest-c.timerNS)/1e6))
	}
	if c.waiting.lasts(s.t, r.t.Stopped) {
		halted := "halted"
		if !s.vcpus[i].Online {
			halted = "taken offline"
		}
		e = append(e, fmt.Sprintf("vCPU %d: %s for %d ms, at %d samples in a row, with %d runnable tasks, "+
			"in task %s (%d), without a switch", i, halted, (s.t-c.waiting.sinceNS)/1e6, c.waiting.samples,
			c.queue.Running, c.queue.Comm, c.queue.PID))
	}
	if c.starved.lasts(s.t, r.t.Starved) {
		e = append(e, fmt.Sprintf("vCPU %d: runnable for %d ms, and the hypervisor has given it no time at all", i,
			(s.t-c.starved.sinceNS)/1e6))
	}
	return e
}

func (r *stoppedRule) notes(to []string) []string {
	for i := range r.vcpus {
		c := &r.vcpus[i]
		if c.overdue.samples > 0 {
			to = append(to, fmt.Sprintf("stopped: vCPU %d: halted past its timer at %d samples", i, c.overdue.samples))
		}
		if c.waiting.samples > 1 {
			to = append(to, fmt.Sprintf("stopped: vCPU %d: halted with work at %d samples", i, c.waiting.samples))
		}
		if c.starved.samples > minSamples {
			to = append(to, fmt.Sprintf("stopped: vCPU %d: runnable, not run, at %d samples", i, c.starved.samples))
		}
	}
	return to
}
