package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// signal sends a signal to each process of the workload.
func (s *supervisor) signal(sig unix.Signal) error {
	for _, w := range s.workers {
		if err := w.Process.Signal(sig); err != nil {
			return fmt.Errorf("signal a worker: %w", err)
		}
	}
	return nil
}
