package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// diskPath is the guest's disk, if it has one.
const diskPath = "/dev/xvda"

// diskTime bounds the time from the loading of the disk's driver until the disk is
// there.
const diskTime = 5 * time.Second

// needDisk loads the disk's driver, the first time, and waits for the disk.
func (s *supervisor) needDisk() error {
	if s.disk {
		return nil
	}
	err := loadModules()
	if err != nil {
		return err
	}
	for end := time.Now().Add(diskTime); ; {
		if _, err = os.Stat(diskPath); err == nil {
			s.disk = true
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("no disk: %w", err)
		}
		if err := unix.Nanosleep(&unix.Timespec{Nsec: int64(10 * time.Millisecond)}, nil); err != nil && err != unix.EINTR {
			return fmt.Errorf("sleep: %w", err)
		}
	}
}

const (
	blockBytes = 4096
	// probeBlocks is the number of blocks of the disk that each vCPU uses.
	probeBlocks = 256
)

// diskProber reads and writes one block of the disk after another, without the
// page cache.
func diskProber(page *beat.Page, cpu int) error {
	fd, err := unix.Open(diskPath, unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", diskPath, err)
	}
	buf, err := anonymous(blockBytes) // O_DIRECT needs aligned memory
	if err != nil {
		return err
	}
	for n := int64(0); ; n = (n + 1) % probeBlocks {
		at := (int64(cpu)*probeBlocks + n) * blockBytes
		if err := probe(fd, buf, at); errors.Is(err, unix.EIO) {
			time.Sleep(beat.Period) // the disk may come back
			continue
		} else if err != nil {
			return err
		}
		page.Work(cpu)
	}
}

// probe reads a block of the disk, and writes it with another content.
func probe(fd int, buf []byte, at int64) error {
	if _, err := unix.Pread(fd, buf, at); err != nil {
		return fmt.Errorf("read %s: %w", diskPath, err)
	}
	buf[0]++
	if _, err := unix.Pwrite(fd, buf, at); err != nil {
		return fmt.Errorf("write %s: %w", diskPath, err)
	}
	return nil
}
