package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

const (
	// printkRate is the file with the limit of messages from programs: "on" is none
	// (Documentation/admin-guide/sysctl/kernel.rst).
	printkRate = "/proc/sys/kernel/printk_devkmsg"
	// printkLines is the unit of a printer. It sleeps for printkPause after each: what a
	// console's log in dom0 takes is bounded.
	printkLines = 32
	printkPause = 10 * time.Millisecond
)

// printer writes lines of the level of an error to the kernel's log. The kernel writes
// each to the console before the call returns, or another task that prints does.
func printer(page *beat.Page, cpu int) error {
	if err := os.WriteFile(printkRate, []byte("on\n"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("permit messages without a limit: %w", err)
	}
	fd, err := unix.Open("/dev/kmsg", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /dev/kmsg: %w", err)
	}
	for n := 0; ; {
		for range printkLines {
			n++
			if _, err := unix.Write(fd, fmt.Appendf(nil, "<3>hangbench-init: line %d of a flood\n", n)); err != nil {
				return fmt.Errorf("write to /dev/kmsg: %w", err)
			}
		}
		page.Work(cpu)
		time.Sleep(printkPause)
	}
}
