//go:build linux

package xenctrl

import (
	"syscall"
	"time"
	"unsafe"
)

const (
	// maxNap is how long a nap is at most. It bounds how much later than asked for
	// the runtime may stop this thread, for a collection or because the monitor is
	// interrupted.
	maxNap = 10 * time.Millisecond
	// napLuck is how often naps are worth it at most, and napAgain after how many
	// waits without one it is tried again. A nap that ends without an event costs a
	// wake-up of its own.
	napLuck  = 8
	napAgain = 64
)

// napper sleeps on a descriptor for a short time without the Go runtime knowing
// of it. To let the runtime know, as its poller and its system calls do, costs
// another look for work, another wait and a wake-up of the poller: more than all
// of the event. The price is that this thread keeps its place among GOMAXPROCS
// while it sleeps. The runtime's signal to stop ends a nap early, and one that
// comes just before is noticed after maxNap.
type napper struct {
	fd      int // does not block
	luck    int // 0 to napLuck
	unlucky int // waits that were no nap
	poll    pollfd
	left    syscall.Timespec
}

// pollfd is struct pollfd of poll(2).
type pollfd struct {
	fd              int32
	events, revents int16
}

const pollIn = 1 // POLLIN of poll(2)

// nap waits for at most maxNap, or at most timeout if that is not negative. ready
// says that something came, which then is in b; napped that all of the time passed.
// Where naps have not been worth it of late it does nothing.
func (n *napper) nap(timeout time.Duration, b *[4]byte) (ready, napped bool, err error) {
	if n.luck == 0 {
		if n.unlucky++; n.unlucky%napAgain != 1 {
			return false, false, nil
		}
	}
	d := maxNap
	if timeout >= 0 {
		d = min(d, timeout)
	}
	n.poll = pollfd{fd: int32(n.fd), events: pollIn}
	n.left = syscall.NsecToTimespec(int64(d))
	got, _, errno := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&n.poll)), 1, uintptr(unsafe.Pointer(&n.left)), 0, 0, 0)
	switch {
	case errno == syscall.EINTR:
		return false, false, nil
	case errno != 0:
		return false, false, errno
	case got == 0:
		n.luck = max(0, n.luck-2)
		return false, true, nil
	}
	size, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(n.fd), uintptr(unsafe.Pointer(b)), uintptr(len(b)))
	if errno == syscall.EAGAIN || errno == syscall.EINTR {
		return false, false, nil
	}
	if errno == 0 && size != uintptr(len(b)) {
		errno = syscall.EIO
	}
	if errno != 0 {
		return false, false, errno
	}
	n.luck = min(napLuck, n.luck+1)
	return true, false, nil
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
