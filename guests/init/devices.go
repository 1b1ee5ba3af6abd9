package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// device is a character device that every kernel has.
const device = "/dev/null"

// openDevice opens and closes the device. The kernel finds its driver under
// cdev_lock (fs/char_dev.c).
func openDevice() error {
	fd, err := unix.Open(device, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", device, err)
	}
	return unix.Close(fd)
}

// deviceProber opens and closes the device once a period.
func deviceProber(page *beat.Page, cpu int) error {
	for {
		if err := openDevice(); err != nil {
			return err
		}
		page.Work(cpu)
		time.Sleep(beat.Period)
	}
}
