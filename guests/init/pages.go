package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// needSwap makes the whole disk swap space, the first time.
func (s *supervisor) needSwap() error {
	if s.swap {
		return nil
	}
	if err := s.needDisk(); err != nil {
		return err
	}
	f, err := os.OpenFile(diskPath, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(swapHeader(size), 0); err != nil {
		return fmt.Errorf("make %s swap space: %w", diskPath, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("make %s swap space: %w", diskPath, err)
	}
	path, err := unix.BytePtrFromString(diskPath)
	if err != nil {
		return err
	}
	if _, _, e := unix.Syscall(unix.SYS_SWAPON, uintptr(unsafe.Pointer(path)), 0, 0); e != 0 {
		return fmt.Errorf("swap on %s: %w", diskPath, e)
	}
	s.swap = true
	return nil
}

// swapHeader returns the first page of swap space of size bytes: union swap_header
// of include/linux/swap.h.
func swapHeader(size int64) []byte {
	b := make([]byte, blockBytes)
	le := binary.LittleEndian
	le.PutUint32(b[1024:], 1)                         // version
	le.PutUint32(b[1028:], uint32(size/blockBytes)-1) // last page
	copy(b[blockBytes-10:], "SWAPSPACE2")
	return b
}

// pagerBytes is the memory that a pager uses. It fits in a healthy guest's memory.
const pagerBytes = 16 << 20

// pager writes to each page of its memory in turn. Between two rounds it sleeps, so
// that other tasks run too.
func pager(page *beat.Page, cpu int) error {
	b, err := anonymous(pagerBytes)
	if err != nil {
		return err
	}
	for {
		for i := 0; i < len(b); i += blockBytes {
			b[i]++
		}
		page.Work(cpu)
		time.Sleep(beat.Period / 10)
	}
}

// anonymous allocates n bytes of private memory, aligned to a page.
func anonymous(n int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("allocate %d bytes: %w", n, err)
	}
	// Without huge pages: the kernel would swap and read one as a whole.
	if err := unix.Madvise(b, unix.MADV_NOHUGEPAGE); err != nil && err != unix.EINVAL {
		return nil, fmt.Errorf("forbid huge pages: %w", err)
	}
	return b, nil
}
