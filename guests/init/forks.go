package main

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// forker forks a process that ends at once, and waits for it.
func forker(page *beat.Page, cpu int) error {
	for {
		pid, err := forkEnd()
		if err != nil {
			return fmt.Errorf("fork: %w", err)
		}
		for {
			if _, err = unix.Wait4(pid, nil, 0, nil); !errors.Is(err, unix.EINTR) {
				break
			}
		}
		if err != nil {
			return fmt.Errorf("wait for a child: %w", err)
		}
		page.Work(cpu)
	}
}

// forkEnd makes a process that ends at once. A process made by a bare clone has one
// thread and no Go scheduler. It may only make raw system calls, in functions that
// do not check their stack.
//
//go:nosplit
func forkEnd() (pid int, err error) {
	r, _, e := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if e != 0 {
		return 0, e
	}
	for r == 0 {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	return int(r), nil
}
