package main

import (
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// longChildren is a file in the guest's memory. While it is there, the children of vforker
// live for longLife, or until it is gone.
const longChildren = "/hangbench-vfork"

const (
	// childNap is how long a child sleeps at a time.
	childNap = 50 * time.Millisecond
	// longLife is longer than any wait that a monitor should put up with.
	longLife = 5 * time.Minute
)

// vforker makes a child by vfork and waits, as the kernel has it, until the child has
// ended.
func vforker(page *beat.Page, cpu int) error {
	path, err := unix.BytePtrFromString(longChildren)
	if err != nil {
		return err
	}
	for {
		pid, err := vforkNap(path)
		if err != nil {
			return fmt.Errorf("vfork: %w", err)
		}
		if _, err := unix.Wait4(pid, nil, 0, nil); err != nil && err != unix.EINTR {
			return fmt.Errorf("wait for a child: %w", err)
		}
		page.Work(cpu)
	}
}

// vforkNap makes a process that sleeps and ends, and returns when it has ended. Unlike
// that of vfork(2) the process has memory of its own: it shares no stack with this one. See
// forkEnd for what it may do.
//
//go:nosplit
func vforkNap(path *byte) (pid int, err error) {
	nap := unix.Timespec{Nsec: int64(childNap)}
	r, _, e := unix.RawSyscall6(unix.SYS_CLONE, unix.CLONE_VFORK|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if e != 0 {
		return 0, e
	}
	for n := 0; r == 0; n++ {
		unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&nap)), 0, 0)
		_, _, gone := unix.RawSyscall(unix.SYS_ACCESS, uintptr(unsafe.Pointer(path)), unix.F_OK, 0)
		if gone != 0 || n == int(longLife/childNap) {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	return int(r), nil
}

// lengthenChildren has the children of vforker live long.
func lengthenChildren() error { return os.WriteFile(longChildren, nil, 0o600) }

// shortenChildren ends that.
func shortenChildren() error { return os.Remove(longChildren) }
