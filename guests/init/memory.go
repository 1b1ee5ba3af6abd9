package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// allocBytes is the memory allocated in one unit of work, far less than the guest
// has.
const allocBytes = 4 << 20

// allocator allocates memory, writes to each page of it, and frees it.
func allocator(page *beat.Page, cpu int) error {
	size := os.Getpagesize()
	for {
		b, err := unix.Mmap(-1, 0, allocBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			return fmt.Errorf("allocate %d bytes: %w", allocBytes, err)
		}
		for i := 0; i < len(b); i += size {
			b[i] = 1
		}
		if err := unix.Munmap(b); err != nil {
			return fmt.Errorf("free %d bytes: %w", allocBytes, err)
		}
		page.Work(cpu)
	}
}
