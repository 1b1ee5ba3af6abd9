package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

const (
	// groupBytes is what a control group of memory may have, groupedBytes what the process in
	// it uses. The kernel swaps the difference, whatever the guest has free.
	groupBytes   = 8 << 20
	groupedBytes = 12 << 20
	// steadyPages is the unit of a process that swaps and has time, thrashPages of one that has
	// none.
	steadyPages = 8
	thrashPages = 64
	// dryUnits is how many units in a row may come without a page from the disk, after the
	// first time that all of the memory was used.
	dryUnits = 2 * groupedBytes / blockBytes / steadyPages
)

// needMemoryGroups prepares work in a control group with a limit of memory.
func (s *supervisor) needMemoryGroups() error {
	if err := mountGroups(); err != nil {
		return err
	}
	if err := os.WriteFile(groupRoot+"/cgroup.subtree_control", []byte("+memory"), 0); err != nil {
		return fmt.Errorf("this kernel's control groups do not limit memory: %w", err)
	}
	return s.needSwap()
}

// enterMemoryGroup moves this process into a control group of its own that may have so
// many bytes of memory. What the process has already counts for the group it comes from.
func enterMemoryGroup(bytes int) error {
	dir := fmt.Sprintf("%s/memory-%d", groupRoot, os.Getpid())
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(dir+"/memory.max", strconv.AppendInt(nil, int64(bytes), 10), 0); err != nil {
		return err
	}
	return os.WriteFile(dir+"/cgroup.procs", []byte("0"), 0)
}

// groupedPager returns work that writes to one page after another of memory which its
// control group swaps in part. It counts a unit of so many pages only if one of them came
// from the disk, and sleeps between two units.
func groupedPager(pages int, sleep time.Duration) func(page *beat.Page, cpu int) error {
	return func(page *beat.Page, cpu int) error {
		if err := enterMemoryGroup(groupBytes); err != nil {
			return fmt.Errorf("enter a control group with a limit of memory: %w", err)
		}
		b, err := anonymous(groupedBytes)
		if err != nil {
			return err
		}
		for i := 0; i < len(b); i += blockBytes {
			b[i]++
		}
		last, dry := int64(0), 0
		for i := 0; ; {
			for range pages {
				b[i]++
				i = (i + blockBytes) % len(b)
			}
			var use unix.Rusage
			if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
				return fmt.Errorf("count page faults: %w", err)
			}
			if use.Majflt != last {
				last, dry = use.Majflt, 0
				page.Work(cpu)
			} else if dry++; dry > dryUnits {
				return fmt.Errorf("a control group with %d MiB of memory swaps nothing of %d MiB", groupBytes>>20, groupedBytes>>20)
			}
			if sleep > 0 {
				time.Sleep(sleep)
			}
		}
	}
}
