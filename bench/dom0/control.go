package dom0

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/bench/dom0/clock"
	"hangbench/guests/lab/place"
)

// These methods make the guest an inject.ControlDomain.

// CapControl limits dom0 to so many percent of one physical CPU. 0 ends this.
func (g *Guest) CapControl(ctx context.Context, percent int) error {
	ctx, cancel := context.WithTimeout(ctx, triggerTime)
	defer cancel()
	return g.host.tools.CapControl(ctx, percent)
}

// FillControl takes memory in dom0 until programs can get so many MiB. 0 gives the memory
// back.
func (g *Guest) FillControl(left int) error {
	if g.filled != nil {
		err := g.filled()
		g.filled = nil
		if err != nil || left == 0 {
			return err
		}
	}
	if left == 0 {
		return nil
	}
	has, err := g.host.memory.Left()
	if err != nil {
		return err
	}
	n := has - int64(left)<<20
	if n <= 0 {
		return fmt.Errorf("dom0 has %d MiB left: none is taken if %d are to stay", has>>20, left)
	}
	g.filled, err = g.host.memory.Take(n)
	return err
}

// ownMemory is the memory of this machine.
type ownMemory struct{}

// Left returns MemAvailable of /proc/meminfo.
func (ownMemory) Left() (int64, error) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("read how much memory dom0 has left: %w", err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if text, ok := strings.CutPrefix(s.Text(), "MemAvailable:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(text, "kB")), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read how much memory dom0 has left: %w", err)
			}
			return kib << 10, nil
		}
	}
	return 0, errors.New("read how much memory dom0 has left: /proc/meminfo has no MemAvailable")
}

// Take takes memory and writes to each page of it.
func (ownMemory) Take(n int64) (release func() error, err error) {
	b, err := unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("take %d MiB of dom0's memory: %w", n>>20, err)
	}
	return func() error { return unix.Munmap(b) }, nil
}

// builds are guests that are built and destroyed again and again.
type builds struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // why they ended early; valid once done is closed
}

// otherMiB is the memory of a guest that is built beside another one.
const otherMiB = 64

// BuildOthers has another guest built and destroyed, again and again, and returns when one
// has been. A call with false ends this and returns when none is left.
func (g *Guest) BuildOthers(ctx context.Context, on bool) error {
	if b := g.others; !on {
		if b == nil {
			return nil
		}
		b.cancel()
		<-b.done
		g.others = nil
		return b.err
	}
	if g.others != nil {
		return errors.New("build other guests: that is under way")
	}
	c := g.config
	c.Name, c.VCPUs, c.MemoryMiB, c.Disk = g.name+"-other", 1, otherMiB, ""
	if c.Kernel != "" { // one that was moved is not there any more
		c.Kernel = filepath.Join(g.host.Guests, g.Spec.Kernel, place.Kernel)
	}
	build := func(ctx context.Context) error {
		domid, err := g.host.tools.Create(ctx, c)
		if err != nil {
			return fmt.Errorf("build another guest: %w", err)
		}
		return g.host.tools.Destroy(context.WithoutCancel(ctx), domid)
	}
	if err := build(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	b := &builds{cancel: cancel, done: make(chan struct{})}
	g.others = b
	go func() {
		defer close(b.done)
		for ctx.Err() == nil {
			// A guest whose making was interrupted is destroyed and no failure.
			if err := build(ctx); err != nil && ctx.Err() == nil {
				b.err = err
				return
			}
			if clock.Sleep(ctx, buildPause) != nil {
				return
			}
		}
	}()
	return nil
}

// buildPause is the time between two guests that are built.
const buildPause = 100 * time.Millisecond
