package main

import (
	"fmt"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// One call reads randomPieces buffers of randomBytes. The lab's CPU needs about a
// minute for that. All pieces share one buffer, which saves memory. 1024 is the
// largest number of pieces that the kernel permits (UIO_MAXIOV).
const (
	randomPieces = 1024
	randomBytes  = 256 << 10
)

// kernelWorker makes a system call that computes for about a minute. Between two
// pages of it the kernel lets other tasks run. It counts a unit before each call,
// so the count says only that it has started.
func kernelWorker(page *beat.Page, cpu int) error {
	fd, err := unix.Open("/dev/urandom", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /dev/urandom: %w", err)
	}
	b := make([]byte, randomBytes)
	if _, err := unix.Read(fd, b); err != nil { // also has the memory mapped
		return fmt.Errorf("read /dev/urandom: %w", err)
	}
	pieces := make([][]byte, randomPieces)
	for i := range pieces {
		pieces[i] = b
	}
	for {
		page.Work(cpu)
		if _, err := unix.Readv(fd, pieces); err != nil {
			return fmt.Errorf("read /dev/urandom: %w", err)
		}
	}
}
