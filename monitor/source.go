package monitor

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"hangbench/monitor/driver"
)

// answer fills the response to an event.
type answer func(*driver.Event, *driver.Response) error

// source is where a session waits between its samples, and where its events come
// from. All methods but Wake belong to the session's goroutine.
type source interface {
	// serve waits up to d, or until Wake is called, for events and calls a for each. It
	// returns the number of events. After an error of a it does not wait again.
	serve(d time.Duration, a answer) (int, error)
	// drain calls a for the events that are there, and sends the answers.
	drain(a answer) error
	Wake()
	// Full returns how often the ring had no free slot, as far as the library tells.
	Full() uint64
	Close() error
}

// newSource returns the source of an event ring of a guest with so many vCPUs. It
// is nil if no events can be taken from the ring.
func newSource(ring driver.Ring, vcpus int) source {
	switch r := ring.(type) {
	case driver.Server:
		return servedRing{ring, r}
	case driver.Puller:
		return &pulledRing{Ring: ring, puller: r, vcpus: vcpus}
	}
	return nil
}

// servedRing is a ring that calls back for each event.
type servedRing struct {
	driver.Ring
	server driver.Server
}

func (r servedRing) serve(d time.Duration, a answer) (int, error) { return r.server.Serve(d, a) }

func (r servedRing) drain(a answer) error {
	_, err := r.server.Serve(0, a)
	return err
}

// pulledRing is a ring from which events are taken one by one.
type pulledRing struct {
	driver.Ring
	puller   driver.Puller
	vcpus    int
	event    driver.Event // reused: an event costs no allocation
	response driver.Response
}

// batch is the number of events that are answered at most before the answers are
// sent: as many as a ring holds.
const batch = 8

// serve leaves the answers to the next call, which sends them when it waits.
func (r *pulledRing) serve(d time.Duration, a answer) (int, error) {
	if err := r.puller.Wait(d); err != nil {
		return 0, err
	}
	return r.pull(batch, a)
}

func (r *pulledRing) drain(a answer) error {
	n, err := r.pull(4*max(r.vcpus, 16), a)
	if err != nil || n == 0 {
		return err
	}
	return r.puller.Flush()
}

// pull answers up to n events that are there.
func (r *pulledRing) pull(n int, a answer) (int, error) {
	for i := range n {
		ok, err := r.puller.Next(&r.event)
		if err != nil || !ok {
			return i, err
		}
		r.response = driver.Response{}
		if err := a(&r.event, &r.response); err != nil {
			return i, err
		}
		if err := r.puller.Respond(&r.response); err != nil {
			return i, err
		}
	}
	return n, nil
}

// timer is the source of a session that needs no events. A guest whose ring is not
// open pays nothing for it.
//
// It sleeps without the Go runtime's knowledge. A timer of the runtime costs the
// network poller a search for work and a wait with a timeout. And whenever all
// goroutines wait, the runtime's thread sysmon sleeps until the next system call
// wakes it. Together that is several times the price of a sample. The cost of
// sleeping this way is that it keeps one of GOMAXPROCS, and that Wake, and the
// runtime when it stops threads by a signal, may have to wait for maxSleep.
type timer struct {
	woken atomic.Bool
	left  syscall.Timespec
}

const maxSleep = 200 * time.Millisecond

// serve also returns after maxSleep, or when the runtime interrupts the thread: the
// caller reads the clock.
func (t *timer) serve(d time.Duration, _ answer) (int, error) {
	if t.woken.Swap(false) || d <= 0 {
		return 0, nil
	}
	t.left = syscall.NsecToTimespec(int64(min(d, maxSleep)))
	_, _, errno := syscall.RawSyscall(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t.left)), 0, 0)
	if errno != 0 && errno != syscall.EINTR {
		return 0, fmt.Errorf("wait for the next sample: %w", errno)
	}
	return 0, nil
}

func (t *timer) Wake() { t.woken.Store(true) }

func (t *timer) drain(answer) error { return nil }
func (t *timer) Full() uint64       { return 0 }
func (t *timer) Close() error       { return nil }
