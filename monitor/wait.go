package monitor

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"hangbench/monitor/driver"
)

// noRing is the ring of a session that needs no events: a guest whose ring is
// not open pays nothing for it.
//
// It sleeps without the Go runtime knowing of it. A timer of the runtime's costs
// its poller a look for work and a wait with a timeout, and whenever all
// goroutines wait the runtime's thread sysmon goes to sleep for good, to be woken
// by the next call of Xen: several times what a sample itself takes. The price is
// that one of GOMAXPROCS is taken, and that whoever wants this thread, Wake and
// the runtime that stops threads by a signal, may have to wait for maxSleep.
type noRing struct {
	driver.Ring // none: whatever is called beyond the methods below is a mistake
	woken       atomic.Bool
	left        syscall.Timespec
}

const maxSleep = 200 * time.Millisecond

// Wait also returns after maxSleep, or when the runtime wants the thread: the
// caller looks at the clock.
func (r *noRing) Wait(d time.Duration) error {
	if r.woken.Swap(false) || d <= 0 {
		return nil
	}
	r.left = syscall.NsecToTimespec(int64(min(d, maxSleep)))
	_, _, errno := syscall.RawSyscall(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&r.left)), 0, 0)
	if errno != 0 && errno != syscall.EINTR {
		return fmt.Errorf("wait for the next sample: %w", errno)
	}
	return nil
}

func (r *noRing) Wake() { r.woken.Store(true) }

func (r *noRing) Next(*driver.Event) (bool, error) { return false, nil }
func (r *noRing) Respond(*driver.Response) error   { return nil }
func (r *noRing) Flush() error                     { return nil }
func (r *noRing) Full() uint64                     { return 0 }
func (r *noRing) Close() error                     { return nil }
