package monitor

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// poll traps nothing. The signal is the run queue's own count, which the session
// reads at every sample anyway.
type poll struct{ s *Session }

func (m *poll) plan() (Changes, error) {
	if m.s.cfg.Kernel == nil {
		return Changes{}, errors.New("the guest's kernel cannot be read, and there is nothing else to poll")
	}
	return Changes{}, nil
}

func (m *poll) arm() error                     { return nil }
func (m *poll) armed() error                   { return nil }
func (m *poll) handle(*Event, *Response) error { return nil }
func (m *poll) rearm() error                   { return nil }
func (m *poll) release(*Event, *Response)      {}
func (m *poll) disarm() error                  { return nil }

// noRing is the ring of a session that needs no events: a guest whose ring is
// not open pays nothing for it.
//
// It sleeps without the Go runtime knowing of it. A timer of the runtime's costs
// its poller a look for work and a wait with a timeout, and whenever all
// goroutines wait the runtime's thread sysmon goes to sleep for good, to be woken
// by the next call of Xen: several times what a sample itself takes. The price is
// that one of GOMAXPROCS is taken, and that the runtime, which stops threads by a
// signal that ends the sleep, may have to wait for maxSleep if the signal comes
// just before it.
type noRing struct {
	Ring // none: whatever is called beyond the methods below is a mistake
	pipe [2]int
	poll pollfd
	left syscall.Timespec

	mu     sync.Mutex // guards pipe against Wake after Close
	closed bool
}

// pollfd is struct pollfd of poll(2).
type pollfd struct {
	fd              int32
	events, revents int16
}

const (
	pollIn   = 1 // POLLIN of poll(2)
	maxSleep = 200 * time.Millisecond
)

func newNoRing() (*noRing, error) {
	r := &noRing{}
	if err := syscall.Pipe2(r.pipe[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("open a pipe: %w", err)
	}
	return r, nil
}

// Wait also returns after maxSleep, or when the runtime wants the thread: the
// caller looks at the clock.
func (r *noRing) Wait(d time.Duration) error {
	r.poll = pollfd{fd: int32(r.pipe[0]), events: pollIn}
	r.left = syscall.NsecToTimespec(int64(min(max(d, 0), maxSleep)))
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&r.poll)), 1, uintptr(unsafe.Pointer(&r.left)), 0, 0, 0)
	if errno != 0 && errno != syscall.EINTR {
		return fmt.Errorf("wait for the next sample: %w", errno)
	}
	if errno == 0 && r.poll.revents != 0 {
		var b [16]byte
		syscall.Read(r.pipe[0], b[:])
	}
	return nil
}

func (r *noRing) Wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		syscall.Write(r.pipe[1], []byte{0}) // a full pipe does as well
	}
}

func (r *noRing) Next(*Event) (bool, error) { return false, nil }
func (r *noRing) Respond(*Response) error   { return nil }
func (r *noRing) Flush() error              { return nil }
func (r *noRing) Full() uint64              { return 0 }

func (r *noRing) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	return errors.Join(syscall.Close(r.pipe[0]), syscall.Close(r.pipe[1]))
}
