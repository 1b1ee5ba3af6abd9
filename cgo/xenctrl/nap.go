//go:build linux

package xenctrl

import (
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// maxNap is how long the kernel is asked to wait at once. It bounds how much
// later than asked for a nap ends by wake, or the runtime stops this thread for a
// collection.
const maxNap = 100 * time.Millisecond

// napper sleeps on a descriptor. The Go runtime's poller would be told of it, look
// for other work, wait, and have its thread sysmon woken, which goes to sleep for
// good whenever all goroutines wait: as much as the rest of an event. So this is
// the bare system call, on one descriptor: another for wake would cost each event
// some percent. An ordinary one, not a raw one: sysmon lets a thread alone that it
// finds in a system call, but preempts one every 10 ms that it takes for busy.
type napper struct {
	fd    int // does not block
	woken atomic.Bool
	poll  pollfd
	left  syscall.Timespec
}

// pollfd is struct pollfd of poll(2).
type pollfd struct {
	fd              int32
	events, revents int16
}

const pollIn = 1 // POLLIN of poll(2)

// wake ends the nap within maxNap, or the next one. It alone may be called from
// any goroutine.
func (n *napper) wake() { n.woken.Store(true) }

// nap waits until there is something to read, which then is in b, until wake, or
// for at most timeout if that is not negative.
func (n *napper) nap(timeout time.Duration, b *[4]byte) (ready, woken bool, err error) {
	for {
		d := maxNap
		if woken = n.woken.Swap(false); woken {
			d = 0
		} else if timeout >= 0 {
			d = min(d, timeout)
			timeout -= d
		}
		n.poll = pollfd{fd: int32(n.fd), events: pollIn}
		n.left = syscall.NsecToTimespec(int64(d))
		_, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&n.poll)), 1, uintptr(unsafe.Pointer(&n.left)), 0, 0, 0)
		switch {
		case errno == syscall.EINTR:
			// The kernel has left what was left.
			if timeout >= 0 {
				timeout += time.Duration(n.left.Nano())
			}
		case errno != 0:
			return false, woken, errno
		case n.poll.revents != 0:
			size, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(n.fd), uintptr(unsafe.Pointer(b)), uintptr(len(b)))
			switch {
			case errno == syscall.EAGAIN, errno == syscall.EINTR:
			case errno != 0:
				return false, woken, errno
			case size != uintptr(len(b)):
				return false, woken, syscall.EIO
			default:
				return true, woken, nil
			}
		}
		if woken || timeout == 0 {
			return false, woken, nil
		}
	}
}

// write writes to the descriptor, which does not make it wait.
func (n *napper) write(b *[4]byte) error {
	for {
		size, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(n.fd), uintptr(unsafe.Pointer(b)), uintptr(len(b)))
		switch {
		case errno == syscall.EINTR:
			continue
		case errno == 0 && size != uintptr(len(b)):
			return syscall.EIO
		case errno != 0:
			return errno
		}
		return nil
	}
}
