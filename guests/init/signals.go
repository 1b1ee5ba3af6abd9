package main

import (
	"fmt"
	"os/exec"

	"golang.org/x/sys/unix"
)

// signal sends a signal to each process of the workload.
func (s *supervisor) signal(sig unix.Signal) error { return signalAll(s.workers, sig) }

// signalAll sends a signal to processes that this one has started.
func signalAll(to []*exec.Cmd, sig unix.Signal) error {
	for _, cmd := range to {
		if err := cmd.Process.Signal(sig); err != nil {
			return fmt.Errorf("signal a process: %w", err)
		}
	}
	return nil
}
