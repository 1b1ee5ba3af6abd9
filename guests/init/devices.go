package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// device is a character device that every kernel has.
const device = "/dev/null"

// openOnce opens and closes a file. The kernel finds the driver of a device under
// cdev_lock (fs/char_dev.c).
func openOnce(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	return unix.Close(fd)
}

// opener returns work that opens and closes a file once a period.
func opener(path string) func(page *beat.Page, cpu int) error {
	return func(page *beat.Page, cpu int) error {
		for {
			if err := openOnce(path); err != nil {
				return err
			}
			page.Work(cpu)
			time.Sleep(beat.Period)
		}
	}
}
