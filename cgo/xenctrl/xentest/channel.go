package xentest

import (
	"syscall"
	"time"

	"hangbench/cgo/xenctrl"
)

// channel is the event channel of a guest's ring.
type channel struct {
	g      *Guest
	stop   chan struct{} // Interrupt was called
	closed bool
}

const (
	// turn is how many instructions each vCPU executes at most when a monitor waits.
	turn = 64
	// turnEvery is how often it does so while the monitor waits on.
	turnEvery = time.Millisecond
)

func (c *channel) Wait(reqCons uint32, notify bool, timeout time.Duration) (w xenctrl.Wake, slept bool, err error) {
	if notify {
		if err := c.Notify(); err != nil {
			return 0, false, err
		}
	}
	for end := time.Now().Add(timeout); ; slept = true {
		unlock := c.g.h.lock()
		c.g.turn(turn)
		have := c.g.ring != nil && c.g.ring.ReqProd != reqCons
		unlock()
		select {
		case <-c.stop:
			w |= xenctrl.WakeInterrupt
		default:
		}
		if have {
			w |= xenctrl.WakeEvents
		}
		left := turnEvery
		if timeout >= 0 {
			left = min(left, time.Until(end))
		}
		if w != 0 || left <= 0 {
			return w, slept, nil
		}
		select {
		case <-c.stop:
			return xenctrl.WakeInterrupt, true, nil
		case <-c.g.wake:
		case <-time.After(left):
		}
	}
}

func (c *channel) Notify() error {
	defer c.g.h.lock()()
	if err := c.g.h.enter("xenevtchn_notify"); err != nil {
		return err
	}
	if c.closed {
		return failed("xenevtchn_notify", syscall.EINVAL)
	}
	c.g.resume()
	return nil
}

func (c *channel) Interrupt() error {
	select {
	case c.stop <- struct{}{}:
	default:
	}
	return nil
}

func (c *channel) Close() error {
	defer c.g.h.lock()()
	c.closed = true
	return c.g.h.enter("xenevtchn_unbind")
}
