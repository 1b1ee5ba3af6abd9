package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A process made by a bare clone has one thread and no Go scheduler, and so costs little
// memory. Until it ends it may only make raw system calls, in functions that do not check
// their stack. The ones below never return in the child.

// forkLoop makes a process that calls step again and again, with the state at s. It ends
// with the thread that makes it, or when step returns an error of a system call, with that
// number as its exit status. The calling goroutine must keep its thread. step must be
// nosplit and must not be a closure over variables.
//
//go:nosplit
func forkLoop(step func(s unsafe.Pointer) unix.Errno, s unsafe.Pointer) (pid int, err error) {
	r, _, e := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if e != 0 {
		return 0, e
	}
	if r != 0 {
		return int(r), nil
	}
	unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0, 0)
	for e == 0 {
		e = step(s)
	}
	for {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(e), 0, 0)
	}
}

// awaitChildren waits for a child that ends, which none of them should, and returns why it
// ended.
func awaitChildren() error {
	var status unix.WaitStatus
	for {
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for a child: %w", err)
		case status.Exited():
			return fmt.Errorf("child %d: %w", pid, unix.Errno(status.ExitStatus()))
		case status.Signaled():
			return fmt.Errorf("child %d: signal %v", pid, status.Signal())
		}
	}
}

// reader is the state of a process of queueReader.
type reader struct {
	fd      uintptr
	buf     *byte   // a block, aligned to one
	counter *uint64 // on the shared page
	at, end uintptr // in bytes; it begins anew at end
	first   uintptr
}

// readBlock reads one block and counts it.
//
//go:nosplit
func readBlock(s unsafe.Pointer) unix.Errno {
	r := (*reader)(s)
	_, _, e := unix.RawSyscall6(unix.SYS_PREAD64, r.fd, uintptr(unsafe.Pointer(r.buf)), blockBytes, r.at, 0, 0)
	if e != 0 {
		return e
	}
	atomic.AddUint64(r.counter, 1)
	if r.at += blockBytes; r.at >= r.end {
		r.at = r.first
	}
	return 0
}
