//go:build linux

package xenctrl

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// evtchn is the device of an event channel: a socket pair, since the device is
// read and written. notified is called for each notification.
type evtchn struct {
	*waiter
	peer     *napper
	prod     atomic.Uint32
	yields   []bool
	notified func(yield bool) (turn, error)
}

func newEvtchn(t *testing.T) *evtchn {
	t.Helper()
	p, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(p[0]); syscall.Close(p[1]) })
	e := &evtchn{peer: &napper{fd: p[1]}}
	e.waiter = &waiter{domain: 1, napper: napper{fd: p[0]}, reqProd: &e.prod,
		notify: func(_ uint32, yield bool) (turn, error) {
			e.yields = append(e.yields, yield)
			return e.notified(yield)
		}}
	binary.NativeEndian.PutUint32(e.port[:], 7)
	e.notified = func(bool) (turn, error) { return turnNone, nil }
	return e
}

// unmasked reports whether the port was unmasked since the last time.
func (e *evtchn) unmasked(t *testing.T) bool {
	t.Helper()
	var b [4]byte
	ready, _, err := e.peer.nap(0, &b)
	if err != nil || ready && b != e.port {
		t.Fatalf("the device got %v, %v", b, err)
	}
	return ready
}

func (e *evtchn) check(t *testing.T, what string, wake, want Wake, slept, wantSlept bool, err error) {
	t.Helper()
	if err != nil || wake != want || slept != wantSlept {
		t.Fatalf("%s: wake %d, slept %v, %v, want %d, %v", what, wake, slept, err, want, wantSlept)
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	e := newEvtchn(t)
	// Nothing there, without and with a sleep.
	w, slept, err := e.Wait(0, false, 0)
	e.check(t, "nothing, no time", w, 0, slept, false, err)
	w, slept, err = e.Wait(0, false, time.Millisecond)
	e.check(t, "nothing in a millisecond", w, 0, slept, true, err)
	if e.unmasked(t) {
		t.Error("a port that was not masked was unmasked")
	}
	// An event wakes a sleeper, and masks the port.
	written := make(chan error)
	go func() {
		e.prod.Add(1)
		written <- e.peer.write(&e.port)
	}()
	w, slept, err = e.Wait(0, false, -1) // it may come before the sleep
	e.check(t, "an event", w, WakeEvents, slept, slept, err)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	// While there are events the device is left alone.
	for range 3 * busyWaits {
		want := (e.busy + 1) % busyWaits // 0: the scheduler was called
		w, slept, err = e.Wait(0, false, -1)
		e.check(t, "events there", w, WakeEvents, slept, false, err)
		if e.busy != want {
			t.Errorf("%d waits since the scheduler was called, want %d", e.busy, want)
		}
	}
	if e.unmasked(t) {
		t.Error("the port was unmasked with events there")
	}
	// A wake-up without an event, which masks the port, ends the wait.
	if !e.masked {
		w, slept, err = e.Wait(1, false, time.Hour)
		e.check(t, "woken for nothing", w, 0, slept, true, err)
	}
	if !e.masked {
		t.Error("a port that was read is not known to be masked")
	}
	// Before the next sleep it is unmasked.
	w, slept, err = e.Wait(1, false, 0)
	e.check(t, "taken", w, 0, slept, false, err)
	if !e.unmasked(t) || e.masked {
		t.Error("the port is masked for ever")
	}
	// Interrupt, also with an event.
	e.Interrupt()
	w, slept, err = e.Wait(1, false, -1)
	e.check(t, "interrupted", w, WakeInterrupt, slept, true, err)
	e.Interrupt()
	e.prod.Add(1)
	w, slept, err = e.Wait(1, false, -1)
	e.check(t, "interrupted with events there", w, WakeEvents, slept, false, err)
	w, slept, err = e.Wait(2, false, -1)
	e.check(t, "interrupted before", w, WakeInterrupt, slept, true, err)
}

// TestWaitRace: an event that comes while the port is being unmasked is seen.
func TestWaitRace(t *testing.T) {
	t.Parallel()
	e := newEvtchn(t)
	e.masked = true
	e.prod.Store(1)
	e.notified = func(bool) (turn, error) { return turnAtOnce, nil }
	w, slept, err := e.Wait(0, true, -1)
	e.check(t, "events after the notification", w, WakeEvents, slept, false, err)
	if !e.masked || e.unmasked(t) {
		t.Error("the port was unmasked though there are events")
	}
}

func TestWaitYields(t *testing.T) {
	t.Parallel()
	e := newEvtchn(t)
	results := []turn{turnYielded, turnAtOnce, turnNone, turnNone, turnNone, turnYielded}
	e.notified = func(bool) (turn, error) {
		r := results[0]
		results = results[1:]
		return r, nil
	}
	for range len(results) {
		if _, _, err := e.Wait(0, true, 0); err != nil {
			t.Fatal(err)
		}
	}
	// The first is tried, its success pays for the third; after that there is no
	// credit, and the next try is far away.
	want := []bool{true, true, true, false, false, false}
	for i := range want {
		if e.yields[i] != want[i] {
			t.Errorf("notifications yield %v, want %v", e.yields, want)
			break
		}
	}
}

func TestWaitFails(t *testing.T) {
	t.Parallel()
	e := newEvtchn(t)
	broken := errors.New("broken")
	e.notified = func(bool) (turn, error) { return turnNone, broken }
	if _, slept, err := e.Wait(0, true, -1); !errors.Is(err, broken) || slept || e.yielder != (yielder{}) {
		t.Errorf("a notification that fails: slept %v, %v, %+v", slept, err, e.yielder)
	}
	e.napper.fd = 1 << 20 // no file
	if _, slept, err := e.Wait(0, false, -1); err == nil || !slept {
		t.Errorf("a device that cannot be read: slept %v, %v", slept, err)
	}
	e.masked = true
	if _, slept, err := e.Wait(0, false, -1); !errors.Is(err, syscall.EBADF) || slept {
		t.Errorf("a device that cannot be written: slept %v, %v", slept, err)
	}
}
