package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
	"hangbench/guests/watchdog"
)

const gracePart = "grace"

// gracePath is a file in the guest's memory, one a vCPU.
const gracePath = "/hangbench-grace-%d"

// startGrace starts a process on each vCPU that makes RCU begin a grace period.
func (s *supervisor) startGrace() error {
	for ; s.graced < s.cpus; s.graced++ {
		if _, err := s.start(s.graced, gracePart); err != nil {
			return err
		}
	}
	return nil
}

// grace removes a file again and again. The kernel frees the file's inode after a grace
// period of RCU (destroy_inode of fs/inode.c). In an idle guest no grace period would be
// under way when a fault comes, and the kernel's detector of RCU stalls would be blind.
func grace(_ *beat.Page, cpu int) error {
	path := fmt.Sprintf(gracePath, cpu)
	for {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil {
			return err
		}
		t := unix.NsecToTimespec(int64(watchdog.GraceEvery))
		if err := unix.Nanosleep(&t, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("sleep: %w", err)
		}
	}
}
