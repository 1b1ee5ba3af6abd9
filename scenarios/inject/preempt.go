package inject

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
)

// Share says how many of a guest's vCPUs a fault hits.
type Share int

// The shares. NoVCPU is that of a loop from which the scheduler may take tasks.
const (
	AllVCPUs Share = iota
	OneVCPU
	NoVCPU
)

// of returns the number of vCPUs, of all.
func (s Share) of(all int) int {
	if s == OneVCPU {
		return 1
	}
	return all
}

// preemptFull is the least value of preempt_dynamic_mode with which the scheduler takes a
// task from its CPU while it is in the kernel (kernel/sched/core.c: none is 0, voluntary
// 1, full 2, lazy 3).
const preemptFull = 2

// preemptible reports whether the kernel preempts tasks that are in the kernel. A kernel
// that can choose has a variable with its choice. One that cannot has the function
// preempt_schedule only if it does.
func preemptible(t Target) (bool, error) {
	va, err := t.Symbol("preempt_dynamic_mode")
	if err != nil {
		_, err := t.Symbol("preempt_schedule")
		return err == nil, nil
	}
	gpa, err := t.Translate(va)
	if err != nil {
		return false, fmt.Errorf("find preempt_dynamic_mode: %w", err)
	}
	var b [4]byte
	if err := t.ReadPhysical(gpa, b[:]); err != nil {
		return false, fmt.Errorf("read preempt_dynamic_mode: %w", err)
	}
	return int32(binary.LittleEndian.Uint32(b[:])) >= preemptFull, nil
}

// pinned are vCPUs that loop at a site with preemption off.
type pinned struct {
	site   *site
	counts []uint64 // by vCPU: guest-physical address of its preempt count, 0 before it is pinned
}

// hold waits until so many vCPUs loop at the site, and turns the preemption of each off
// as soon as it does. The error is ErrBusy if that took more than forgetTime.
func (p *pinned) hold(ctx context.Context, t Target, vcpus int) error {
	for end := t.Now() + int64(forgetTime); ; {
		all, err := paused(t, func() (bool, error) { return p.pin(t, vcpus) }, func() error { return p.unpin(t) })
		if err != nil {
			return fmt.Errorf("turn preemption off in %s: %w", p.site.function, err)
		}
		if all {
			return nil
		}
		if t.Now() > end {
			return fmt.Errorf("%w: fewer than %d vCPUs have come to %s within %v", ErrBusy, vcpus, p.site.function,
				forgetTime)
		}
		if err := t.Sleep(ctx, tryPause); err != nil {
			return err
		}
	}
}

// pin turns off the preemption of every vCPU that is in the loop now, and reports whether
// that is so of as many as are wanted. The guest must be paused.
func (p *pinned) pin(t Target, vcpus int) (bool, error) {
	n := 0
	for i := range p.counts {
		if p.counts[i] == 0 {
			rip, _, err := t.Where(i)
			if err != nil {
				return false, err
			}
			if rip != p.site.va {
				continue
			}
			gpa, err := preemptCount(t, i)
			if err != nil {
				return false, err
			}
			if err := addTo(t, gpa, 1); err != nil {
				return false, err
			}
			p.counts[i] = gpa
		}
		n++
	}
	return n >= vcpus, nil
}

// unpin turns the preemption of the vCPUs on again. The guest must be paused.
func (p *pinned) unpin(t Target) error {
	var errs []error
	for i, gpa := range p.counts {
		if gpa == 0 {
			continue
		}
		if err := addTo(t, gpa, -1); err != nil {
			errs = append(errs, fmt.Errorf("turn the preemption of vCPU %d on: %w", i, err))
			continue
		}
		p.counts[i] = 0
	}
	return errors.Join(errs...)
}

// release is unpin for a guest that runs.
func (p *pinned) release(t Target) error {
	_, err := paused(t, func() (bool, error) { return true, p.unpin(t) }, func() error { return nil })
	return err
}

// preemptCount returns the guest-physical address of a CPU's preempt count. It lies in
// pcpu_hot from 6.2 to 6.14.
func preemptCount(t Target, cpu int) (uint64, error) {
	name := "__preempt_count"
	off, err := t.Offset("pcpu_hot", "preempt_count")
	if err == nil {
		name = "pcpu_hot"
	} else {
		off = 0
	}
	va, err := perCPU(t, name, cpu)
	if err != nil {
		return 0, err
	}
	return t.Translate(va + off)
}

// addTo adds to the 32-bit number at gpa. The guest must be paused.
func addTo(t Target, gpa uint64, n int32) error {
	var b [4]byte
	if err := t.ReadPhysical(gpa, b[:]); err != nil {
		return err
	}
	return put(t, gpa, b[:], binary.LittleEndian.AppendUint32(nil, binary.LittleEndian.Uint32(b[:])+uint32(n)))
}
