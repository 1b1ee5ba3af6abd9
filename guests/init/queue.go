package main

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

const (
	// queueDepth is the number of processes a vCPU that wait for the disk. It is half of the
	// requests that Xen's block device takes at a time, 32 without further pages for its ring.
	queueDepth = 16
	// queueBlocks is how many blocks of the disk each of them reads.
	queueBlocks = 16
)

// queueReader has several processes read blocks of the disk, without the page cache. At
// almost any time all of them sleep uninterruptibly, while the disk completes requests
// without a pause.
func queueReader(page *beat.Page, cpu int) error {
	runtime.LockOSThread() // the children end with their parent's thread
	fd, err := unix.Open(diskPath, unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", diskPath, err)
	}
	buf, err := anonymous(blockBytes) // each child has its own copy
	if err != nil {
		return err
	}
	for n := range queueDepth {
		first := uintptr((cpu*queueDepth + n) * queueBlocks * blockBytes)
		r := &reader{uintptr(fd), &buf[0], page.WorkCounter(cpu), first, first + queueBlocks*blockBytes, first}
		if _, err := forkLoop(readBlock, unsafe.Pointer(r)); err != nil {
			return fmt.Errorf("make a process that reads the disk: %w", err)
		}
	}
	return fmt.Errorf("a process that reads %s ended: %w", diskPath, awaitChildren())
}
