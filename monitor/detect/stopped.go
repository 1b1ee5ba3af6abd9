package detect

import (
	"fmt"
	"math"
	"time"
)

// stoppedRule finds vCPUs that do not run although they should:
//
//   - halted, though the timer that should wake it is overdue;
//   - halted or taken offline, though there are tasks in its run queue or the task
//     it left off in is not the idle task;
//   - runnable, though the hypervisor gives it no time at all.
//
// A halted vCPU with nothing to do is idle, for however long. One that goes
// offline with an empty run queue has been unplugged.
type stoppedRule struct {
	t     Thresholds
	clock guestClock
	rows  []stoppedRow
}

type stoppedRow struct {
	overdue, waiting, starved span
	timerNS                   int64 // that overdue is about
	timerless                 bool  // halted, and no timer is set
	queue                     RunQueue
	wasOnline                 bool
	hangs                     bool
}

// span is a time over which something held at every observation.
type span struct {
	sinceNS int64
	samples int
}

func (p *span) extend(s *step, holds bool) {
	if !holds {
		*p = span{}
		return
	}
	if p.samples == 0 {
		p.sinceNS = s.t
	}
	p.samples++
}

func (p *span) lasts(t int64, threshold time.Duration) bool {
	return p.samples > minSamples && t-p.sinceNS >= int64(threshold)
}

func (r *stoppedRule) restart(vcpus int) {
	if len(r.rows) != vcpus {
		r.rows = make([]stoppedRow, vcpus)
	}
	for i := range r.rows {
		r.rows[i] = stoppedRow{wasOnline: r.rows[i].wasOnline}
	}
}

func (r *stoppedRule) observe(s *step) level {
	r.clock.step(s.t, s.dt)
	if s.look != nil {
		r.clock.observe(s.t, s.look.MonotonicNS)
	}
	l := calm
	for i := range s.vcpus {
		now, was, row := &s.vcpus[i], &s.last[i], &r.rows[i]
		row.wasOnline = row.wasOnline || now.Online
		halted := now.Blocked || !now.Online
		still := row.wasOnline && switched(now, was) == 0
		q := now.Queue
		if q == nil {
			row.overdue, row.waiting, row.timerless = span{}, span{}, false
		} else {
			row.queue = *q
			timer := now.Online && q.TimerNS > 0 && q.TimerNS != math.MaxInt64
			row.timerless = halted && now.Online && !timer
			guest, known := r.clock.atLeast(s.t)
			if q.TimerNS != row.timerNS {
				row.overdue, row.timerNS = span{}, q.TimerNS
			}
			row.overdue.extend(s, still && halted && timer && known && guest > q.TimerNS)
			row.waiting.extend(s, still && halted && (q.Running > 0 || q.PID != 0))
			if l == calm && now.Blocked && now.Online && !known && timer {
				l = blind
			}
		}
		row.starved.extend(s, still && now.Online && !now.Blocked && !now.Running && now.CPUTimeNS == was.CPUTimeNS)
		row.hangs = row.overdue.lasts(s.t, r.t.Stopped) || row.waiting.lasts(s.t, r.t.Stopped) || row.starved.lasts(s.t, r.t.Starved)
		if _, polls := lockWait(now); polls {
			row.hangs = false // it waits for a lock: spinRule's
		}
		switch {
		case row.hangs:
			s.affected[i] = true
			l = hung
		case l != hung && (row.overdue.samples > 1 || row.waiting.samples > 1 || row.starved.samples > minSamples):
			l = watching
		}
	}
	return l
}

func (r *stoppedRule) verdict(s *step) Verdict {
	v := Verdict{Class: ClassStopped, Scope: s.scope()}
	for i := range r.rows {
		row := &r.rows[i]
		if !row.hangs {
			continue
		}
		v.VCPUs = append(v.VCPUs, i)
		halted := "halted"
		if !s.vcpus[i].Online {
			halted = "taken offline"
		}
		if row.overdue.lasts(s.t, r.t.Stopped) {
			guest, _ := r.clock.atLeast(s.t)
			v.Evidence = append(v.Evidence, fmt.Sprintf("vCPU %d: halted at %d samples in a row though its timer is overdue by at least %d ms", i, row.overdue.samples, (guest-row.timerNS)/1e6))
		}
		if row.waiting.lasts(s.t, r.t.Stopped) {
			v.Evidence = append(v.Evidence, fmt.Sprintf("vCPU %d: %s for %d ms, at %d samples in a row, with %d runnable tasks, in task %s (%d), without a switch", i, halted,
				(s.t-row.waiting.sinceNS)/1e6, row.waiting.samples, row.queue.Running, row.queue.Comm, row.queue.PID))
		}
		if row.starved.lasts(s.t, r.t.Starved) {
			v.Evidence = append(v.Evidence, fmt.Sprintf("vCPU %d: runnable for %d ms, and the hypervisor has given it no time at all", i, (s.t-row.starved.sinceNS)/1e6))
		}
	}
	return v
}

func (r *stoppedRule) notes(to []string) []string {
	for i := range r.rows {
		row := &r.rows[i]
		if row.overdue.samples > 0 {
			to = append(to, fmt.Sprintf("stopped: vCPU %d: halted past its timer at %d samples", i, row.overdue.samples))
		}
		if row.waiting.samples > 1 {
			to = append(to, fmt.Sprintf("stopped: vCPU %d: halted with work at %d samples", i, row.waiting.samples))
		}
		if row.starved.samples > minSamples {
			to = append(to, fmt.Sprintf("stopped: vCPU %d: runnable, not run, at %d samples", i, row.starved.samples))
		}
	}
	return to
}

// guestClock estimates the guest's CLOCK_MONOTONIC from what it last wrote down.
// That lags behind by up to a tick or a nap, so the largest difference from dom0's
// clock is the best one. Both clocks drift (a guest's is slewed by up to 500 ppm,
// which is NTP's limit), so only the last minute counts: two halves, of which the
// older is dropped in turn.
//
// It may stand still while the guest is paused or not observed, whether or not it
// catches up later: so much is taken off what is known.
type guestClock struct {
	atNS      int64 // dom0's time of the last observation
	lastNS    int64 // what the guest last wrote
	looks     int
	cur, prev int64 // largest difference in the halves
	curFrom   int64
	curStep   int64 // largest time between two observations in the halves
	prevStep  int64
	known     bool // cur holds something
	prevKnown bool
}

const halfMinute = int64(30 * time.Second)

func (c *guestClock) observe(t, monotonicNS int64) {
	if monotonicNS <= 0 {
		return
	}
	c.looks++
	moved := monotonicNS != c.lastNS
	c.lastNS = monotonicNS
	// A clock that stands still tells nothing: the guest naps, or is stopped.
	// Only after it has moved once is it known how far it lags behind.
	if !moved || c.looks == 1 {
		return
	}
	diff := monotonicNS - t
	if c.known && t-c.curFrom >= halfMinute {
		c.prev, c.prevStep, c.prevKnown, c.known = c.cur, c.curStep, true, false
		c.curStep = 0
	}
	if !c.known {
		c.cur, c.curFrom, c.known = diff, t, true
		return
	}
	c.cur = max(c.cur, diff)
}

// step takes note of an observation at dom0's time t, dt after one that may have
// come after a time without.
func (c *guestClock) step(t, dt int64) {
	if c.atNS != 0 {
		c.cur -= t - dt - c.atNS
		c.prev -= t - dt - c.atNS
	}
	c.atNS = t
	c.curStep = max(c.curStep, dt)
}

// atLeast returns what the guest's clock shows at the least at dom0's time t. Had
// dom0's clock run on while the guest's stood still, then by no more than the
// largest time between two observations.
func (c *guestClock) atLeast(t int64) (int64, bool) {
	switch {
	case c.known && c.prevKnown:
		return t + max(c.cur, c.prev) - max(c.curStep, c.prevStep), true
	case c.known:
		return t + c.cur - c.curStep, true
	}
	return 0, false
}
