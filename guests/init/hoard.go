package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const (
	hoardPart = "hoard"
	// hoardDir is where the file system is mounted whose files stay in memory: the kernel
	// neither writes nor swaps them.
	hoardDir = "/hoard"
)

// hoard starts the process that keeps files in memory.
func (s *supervisor) hoard() error { return s.unleash(hoardPart, 0, nil) }

// keepFiles writes a file in memory until that of the pagers no longer fits beside it. The
// file has no name, so the kernel frees it when the process ends.
func keepFiles([]string) error {
	if err := os.MkdirAll(hoardDir, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("ramfs", hoardDir, "ramfs", 0, ""); err != nil {
		return fmt.Errorf("mount a file system in memory: %w", err)
	}
	path := hoardDir + "/file"
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	piece := make([]byte, hogStep)
	return useUp(func() error {
		_, err := f.Write(piece)
		return err
	})
}
