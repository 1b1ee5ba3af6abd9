//go:build linux

package xenctrl

import (
	"fmt"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

// maxNap is how long a nap is at most. It bounds how much later than asked for
// the runtime may stop this thread, for a collection.
const maxNap = 200 * time.Millisecond

// napper sleeps on a descriptor without the Go runtime knowing of it. To let the
// runtime know, as its poller and its system calls do, costs another look for
// work, another wait, and a wake-up of its thread sysmon, which goes to sleep for
// good whenever all goroutines wait and is woken by the next call: as much as
// the rest of an event. The price is that this thread keeps its place among
// GOMAXPROCS while it sleeps. The runtime's signal to stop ends a nap early; one
// that comes just before the nap is noticed after maxNap.
type napper struct {
	fd   int    // does not block
	pipe [2]int // a byte in it ends the nap
	poll [2]pollfd
	left syscall.Timespec
}

// pollfd is struct pollfd of poll(2).
type pollfd struct {
	fd              int32
	events, revents int16
}

const pollIn = 1 // POLLIN of poll(2)

// newNapper makes a napper on fd, which must not block and stays the caller's.
func newNapper(fd int) (*napper, error) {
	n := &napper{fd: fd}
	if err := syscall.Pipe2(n.pipe[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("open a pipe: %w", err)
	}
	return n, nil
}

func (n *napper) close() {
	syscall.Close(n.pipe[0])
	syscall.Close(n.pipe[1])
}

// wake ends the nap, or the next one. It alone may be called from any goroutine.
func (n *napper) wake() error {
	// A full pipe does as well.
	if _, err := syscall.Write(n.pipe[1], []byte{0}); err != nil && err != syscall.EAGAIN {
		return err
	}
	return nil
}

// nap waits until there is something to read, which then is in b, until wake, or
// for at most timeout if that is not negative.
func (n *napper) nap(timeout time.Duration, b *[4]byte) (ready, woken bool, err error) {
	for {
		d := maxNap
		if timeout >= 0 {
			d = min(d, timeout)
			timeout -= d
		}
		n.poll = [2]pollfd{{fd: int32(n.fd), events: pollIn}, {fd: int32(n.pipe[0]), events: pollIn}}
		n.left = syscall.NsecToTimespec(int64(d))
		_, _, errno := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&n.poll)), uintptr(len(n.poll)), uintptr(unsafe.Pointer(&n.left)), 0, 0, 0)
		switch {
		case errno == syscall.EINTR:
			// The kernel has left what was left.
			if timeout >= 0 {
				timeout += time.Duration(n.left.Nano())
			}
		case errno != 0:
			return false, false, errno
		}
		if errno == 0 && n.poll[1].revents != 0 {
			if _, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(n.pipe[0]), uintptr(unsafe.Pointer(b)), uintptr(len(b))); errno == 0 {
				woken = true
			}
		}
		if errno == 0 && n.poll[0].revents != 0 {
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
		runtime.Gosched()
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
