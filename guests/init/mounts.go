package main

import (
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// mountProber makes a mount namespace of its own once a period, and gives its last one up.
// The kernel takes namespace_sem for writing for each (fs/namespace.c).
func mountProber(page *beat.Page, cpu int) error {
	runtime.LockOSThread() // a thread has the namespace
	for {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("make a mount namespace: %w", err)
		}
		page.Work(cpu)
		time.Sleep(beat.Period)
	}
}
