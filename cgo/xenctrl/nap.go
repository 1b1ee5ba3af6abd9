//go:build linux

package xenctrl

import (
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// maxNap is the longest wait of one system call. A nap ends at most this long after
// wake, and the runtime waits at most this long for this thread before a collection.
const maxNap = 100 * time.Millisecond

// napper sleeps on a descriptor with a bare system call. The Go runtime's poller would
// look for other work, wait, and wake its thread sysmon, which costs as much as the
// rest of an event. A second descriptor for wake would cost each event some percent. It
// is an ordinary system call, not a raw one: sysmon preempts every 10 ms a thread that
// it does not know to be in a system call.
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

// wake ends the present nap within maxNap, or else the next one. Any goroutine may call
// it, and no other method.
func (n *napper) wake() { n.woken.Store(true) }

// nap waits until it can read b, until wake, or for at most timeout if that is not
// negative. ready: b was read. woken: wake was called.
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
		_, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&n.poll)), 1,
			uintptr(unsafe.Pointer(&n.left)), 0, 0, 0)
		switch {
		case errno == syscall.EINTR:
			// ppoll(2) has stored the remaining time in left.
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

// write writes b to the descriptor, which must not block.
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
