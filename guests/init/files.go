package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// filesProber reads the list of file systems once a period. The kernel writes the
// list under file_systems_lock (fs/filesystems.c).
func filesProber(page *beat.Page, cpu int) error {
	f, err := os.Open("/proc/filesystems")
	if err != nil {
		return err
	}
	buf := make([]byte, 4096)
	for {
		if _, err := unix.Pread(int(f.Fd()), buf, 0); err != nil {
			return fmt.Errorf("read %s: %w", f.Name(), err)
		}
		page.Work(cpu)
		time.Sleep(beat.Period)
	}
}
