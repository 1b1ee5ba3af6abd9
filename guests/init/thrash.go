package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const hogPart = "hog"

// thrash starts the hog, as root: other users may lock only little memory.
func (s *supervisor) thrash() error { return s.unleash(hogPart, 0, nil) }

const (
	// hogStep is the memory that the hog locks at a time.
	hogStep = 1 << 20
	// swappedBytes is three quarters of a pager's memory. The hog stops when that has
	// been swapped out for each vCPU.
	swappedBytes = pagerBytes / 4 * 3
)

// hog locks memory until that of the pagers, one on each vCPU, no longer fits in
// the rest.
func hog([]string) error {
	return useUp(func() error {
		b, err := anonymous(hogStep)
		if err != nil {
			return err
		}
		if err := unix.Mlock(b); err != nil {
			return fmt.Errorf("lock memory: %w", err)
		}
		return nil
	})
}

// useUp takes hogStep of memory at a time until that of the pagers has been swapped out,
// and keeps it.
func useUp(take func() error) error {
	cpus, err := onlineCPUs()
	if err != nil {
		return err
	}
	total, err := memory("MemTotal")
	if err != nil {
		return err
	}
	for taken := 0; taken < total; taken += hogStep {
		if err := take(); err != nil {
			return err
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

// memory returns a value of /proc/meminfo (proc_meminfo(5)) in bytes.
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
			return 0, fmt.Errorf("/proc/meminfo has the value %q for %s", text, key)
		}
		return kib << 10, nil
	}
	return 0, fmt.Errorf("/proc/meminfo has no value for %s", key)
}
