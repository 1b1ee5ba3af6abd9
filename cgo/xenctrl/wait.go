//go:build linux

package xenctrl

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
)

// waiter waits on the event channel of a ring. It has Wait and Interrupt of
// [EventChannel].
type waiter struct {
	domain DomID
	// notify notifies Xen. It may yield the CPU to the guest if yield is set, and
	// tells whether there are events then.
	notify  func(reqCons uint32, yield bool) (turn, error)
	yielder yielder
	napper  napper         // on /dev/xen/evtchn: a read gives a port and masks it, a write unmasks it
	port    [4]byte        // as the device has it
	buf     [4]byte        // for reading
	reqProd *atomic.Uint32 // the ring's counter of requests
	masked  bool           // the port was read and not written since
	busy    int            // waits since the last nap
}

// busyWaits is after how many waits that found events at once the goroutine calls
// the scheduler. The runtime's thread sysmon preempts a goroutine that never does
// every 10 ms. After that sysmon runs every 20 us for a while, which costs more than
// the events. A goroutine that naps between events need not call it.
const busyWaits = 8

// have reports whether there are events.
func (w *waiter) have(reqCons uint32) bool { return w.reqProd.Load() != reqCons }

func (w *waiter) Wait(reqCons uint32, notify bool, timeout time.Duration) (Wake, bool, error) {
	if notify {
		t, err := w.notify(reqCons, w.yielder.worth())
		if err != nil {
			return 0, false, err
		}
		w.yielder.note(t)
	}
	if w.have(reqCons) {
		if w.busy++; w.busy >= busyWaits {
			w.busy = 0
			runtime.Gosched()
		}
		return WakeEvents, false, nil
	}
	// The channel stays masked while there are events to handle. That saves
	// interrupts and wake-ups that nobody waits for. An event between the unmasking
	// and the nap makes the device readable.
	if w.masked {
		if err := w.napper.write(&w.port); err != nil {
			return 0, false, fmt.Errorf("unmask the event channel of domain %d: %w", w.domain, err)
		}
		w.masked = false
		if w.have(reqCons) {
			return WakeEvents, false, nil
		}
	}
	if timeout == 0 {
		return 0, false, nil
	}
	w.busy = 0
	ready, woken, err := w.napper.nap(timeout, &w.buf)
	if err != nil {
		return 0, true, fmt.Errorf("wait for the event channel of domain %d: %w", w.domain, err)
	}
	w.masked = ready
	var wake Wake
	if woken {
		wake = WakeInterrupt
	}
	if w.have(reqCons) {
		wake |= WakeEvents
	}
	return wake, true, nil
}

// Interrupt ends the current or next Wait. Any goroutine may call it.
func (w *waiter) Interrupt() error {
	w.napper.wake()
	return nil
}
