package main

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// noDevice is a device number without a file system.
const noDevice = 1<<20 - 1

// askSuper asks for the statistics of a file system that does not exist. The kernel
// looks for it under sb_lock (fs/super.c).
func askSuper() {
	var st [64]byte // larger than struct ustat
	unix.Syscall(unix.SYS_USTAT, noDevice, uintptr(unsafe.Pointer(&st[0])), 0)
}

// crosser takes two locks in turn: cdev_lock and sb_lock. All vCPUs use one clock.
// At each instant, half a period after the last, the even vCPUs take one lock and
// the odd vCPUs the other.
func crosser(page *beat.Page, cpu int) error {
	const step = int64(beat.Period / 2)
	for {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			return fmt.Errorf("read the clock: %w", err)
		}
		next := now.Nano()/step + 1
		at := unix.NsecToTimespec(next * step)
		err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &at, nil)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("sleep: %w", err)
		}
		if (next+int64(cpu))%2 == 0 {
			if err := openOnce(device); err != nil {
				return err
			}
		} else {
			askSuper()
		}
		page.Work(cpu)
	}
}
