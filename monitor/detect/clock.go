package detect

import "time"

// guestClock estimates the guest's CLOCK_MONOTONIC from the value that the guest
// last wrote to memory. That value is old by up to a tick, or by the sleep of an
// idle guest. The largest difference to dom0's clock is therefore the best
// estimate.
//
// The two clocks drift, by up to 500 ppm, which is the limit of NTP. So only about
// the last minute counts, in two halves. The older half is dropped in turn.
//
// The guest's clock may stand still while the guest is paused or not observed, and
// may or may not catch up. The estimate subtracts that time.
type guestClock struct {
	atNS      int64 // dom0's time of the last observation
	lastNS    int64 // the guest's value at the last inspection
	values    int   // number of values
	cur, prev int64 // largest difference in each half
	curFrom   int64 // dom0's time at which the current half began
	curStep   int64 // largest time between two observations in each half
	prevStep  int64
	known     bool // cur is valid
	prevKnown bool // prev is valid; then cur is valid too
}

const halfMinute = int64(30 * time.Second)

// observe takes the guest's value at dom0's time t.
func (c *guestClock) observe(t, monotonicNS int64) {
	if monotonicNS <= 0 {
		return
	}
	c.values++
	moved := monotonicNS != c.lastNS
	c.lastNS = monotonicNS
	// A clock that stands still tells nothing: the guest sleeps, or is stopped. Only
	// a value that has just changed is new.
	if !moved || c.values == 1 {
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

// step takes an observation at dom0's time t, dt after the one before it. That one
// need not have been judged: the guest may have been paused then. The time from the
// last call of step to it is subtracted.
func (c *guestClock) step(t, dt int64) {
	if c.atNS != 0 {
		c.cur -= t - dt - c.atNS
		c.prev -= t - dt - c.atNS
	}
	c.atNS = t
	c.curStep = max(c.curStep, dt)
}

// atLeast returns the lowest value that the guest's clock can have at dom0's time
// t, and whether it is known. dom0's clock may have jumped, or run on while the
// guest's stood still, by no more than the largest time between two observations.
// The estimate subtracts that too.
func (c *guestClock) atLeast(t int64) (int64, bool) {
	switch {
	case c.prevKnown:
		return t + max(c.cur, c.prev) - max(c.curStep, c.prevStep), true
	case c.known:
		return t + c.cur - c.curStep, true
	}
	return 0, false
}
