package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// diskPath is the guest's disk, if it has one.
const diskPath = "/dev/xvda"

// diskTime is how long the disk may take to appear after its driver is loaded.
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
	// probeBlocks is how many blocks of the disk a prober uses, behind those of the
	// vCPU before.
	probeBlocks = 256
)

// diskProber reads and writes one block after another, past the page cache.
func diskProber(page *beat.Page, cpu int) error {
	fd, err := unix.Open(diskPath, unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", diskPath, err)
	}
	// Memory for O_DIRECT has to be aligned.
	buf, err := anonymous(blockBytes)
	if err != nil {
		return err
	}
	for n := int64(0); ; n = (n + 1) % probeBlocks {
		at := (int64(cpu)*probeBlocks + n) * blockBytes
		if _, err := unix.Pread(fd, buf, at); err != nil {
			return fmt.Errorf("read %s: %w", diskPath, err)
		}
		buf[0]++
		if _, err := unix.Pwrite(fd, buf, at); err != nil {
			return fmt.Errorf("write %s: %w", diskPath, err)
		}
		page.Work(cpu)
	}
}

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

// swapHeader returns the first page of swap space of so many bytes: union
// swap_header of include/linux/swap.h.
func swapHeader(size int64) []byte {
	b := make([]byte, blockBytes)
	le := binary.LittleEndian
	le.PutUint32(b[1024:], 1)                         // version
	le.PutUint32(b[1028:], uint32(size/blockBytes)-1) // last page
	copy(b[blockBytes-10:], "SWAPSPACE2")
	return b
}

// pagerBytes is the working set of an honest task that fits in memory.
const pagerBytes = 16 << 20

// pager goes round in its memory.
func pager(page *beat.Page, cpu int) error {
	b, err := anonymous(pagerBytes)
	if err != nil {
		return err
	}
	for {
		touch(b)
		page.Work(cpu)
		// It leaves time to others, as long as it finds its memory.
		time.Sleep(beat.Period / 10)
	}
}

func anonymous(n int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("allocate %d bytes: %w", n, err)
	}
	// Page by page: a huge page would be swapped and read as a whole.
	if err := unix.Madvise(b, unix.MADV_NOHUGEPAGE); err != nil && err != unix.EINVAL {
		return nil, fmt.Errorf("forgo huge pages: %w", err)
	}
	return b, nil
}

// touch writes to each page once.
func touch(b []byte) {
	for i := 0; i < len(b); i += blockBytes {
		b[i]++
	}
}

const (
	// hogStep is how much the hog locks at a time.
	hogStep = 1 << 20
	// The hog stops when so much of what pagers use has been swapped out: three
	// quarters of it.
	swappedBytes = pagerBytes / 4 * 3
)

// hog locks memory until the working sets of the pagers, one on every vCPU, no
// longer fit in what is left.
func hog() error {
	cpus, err := onlineCPUs()
	if err != nil {
		return err
	}
	total, err := memory("MemTotal")
	if err != nil {
		return err
	}
	for locked := 0; locked < total; locked += hogStep {
		b, err := anonymous(hogStep)
		if err != nil {
			return err
		}
		if err := unix.Mlock(b); err != nil {
			return fmt.Errorf("lock memory: %w", err)
		}
		swap, err := memory("SwapTotal")
		if err != nil {
			return err
		}
		free, err := memory("SwapFree")
		if err != nil {
			return err
		}
		if swap-free >= cpus*swappedBytes {
			break
		}
	}
	for {
		time.Sleep(time.Hour)
	}
}

// memory reads a line of /proc/meminfo (proc_meminfo(5)), in bytes.
func memory(key string) (int, error) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		text, ok := strings.CutPrefix(s.Text(), key+":")
		if !ok {
			continue
		}
		kib, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(text, "kB")))
		if err != nil || kib < 0 || kib > 1<<32 {
			return 0, fmt.Errorf("/proc/meminfo says that %s is %q", key, text)
		}
		return kib << 10, nil
	}
	return 0, fmt.Errorf("/proc/meminfo does not say what %s is", key)
}
