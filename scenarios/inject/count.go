package inject

import (
	"context"
	"encoding/binary"
	"fmt"

	"hangbench/guests/beat"
)

// HoldSemaphore takes all that is left of a kernel semaphore, from a moment at which
// something is. Tasks that want it sleep.
//
// Remove gives back what was taken. The waiters sleep until somebody releases the
// semaphore, so PID 1 is asked to have a process take and release it. That is the request
// again.
func HoldSemaphore(name string, again beat.Request) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		gpa, err := fieldOf(t, name, "semaphore", "count")
		if err != nil {
			return nil, err
		}
		taken, err := changeCount(ctx, t, gpa, func(n uint32) (uint32, bool) { return 0, n > 0 })
		if err != nil {
			return nil, fmt.Errorf("hold %s: %w", name, err)
		}
		return &Injection{
			What: fmt.Sprintf("%d of %s taken by nobody", taken, name),
			remove: func(ctx context.Context) error {
				give := func(n uint32) (uint32, bool) { return n + taken, true }
				if _, err := changeCount(ctx, t, gpa, give); err != nil {
					return fmt.Errorf("release %s: %w", name, err)
				}
				return t.Ask(ctx, again)
			},
		}, nil
	}
}

// HoldSequence makes a kernel sequence count look as if a writer were at work for ever.
// Readers of what it protects spin until the count is even. The count is the first field
// of every type that has one. It is written only while no writer is at work.
//
// Remove ends the writer's work, between two writers that come by.
func HoldSequence(name string) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		va, err := t.Symbol(name)
		if err != nil {
			return nil, err
		}
		gpa, err := t.Translate(va)
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", name, err)
		}
		begin := func(n uint32) (uint32, bool) { return n + 1, n%2 == 0 }
		if _, err := changeCount(ctx, t, gpa, begin); err != nil {
			return nil, fmt.Errorf("hold %s: %w", name, err)
		}
		return &Injection{
			What: name + " written by nobody for ever",
			remove: func(ctx context.Context) error {
				end := func(n uint32) (uint32, bool) { return n + 1, n%2 == 1 }
				if _, err := changeCount(ctx, t, gpa, end); err != nil {
					return fmt.Errorf("release %s: %w", name, err)
				}
				return nil
			},
		}, nil
	}
}

// changeCount replaces the 32-bit number at gpa while the guest is paused, as soon as
// change returns true for it, and returns what it was.
func changeCount(ctx context.Context, t Target, gpa uint64, change func(uint32) (uint32, bool)) (uint32, error) {
	old := make([]byte, 4)
	var was uint32
	err := retry(ctx, t, func() (bool, error) {
		return paused(t, func() (bool, error) {
			if err := t.ReadPhysical(gpa, old); err != nil {
				return false, err
			}
			was = binary.LittleEndian.Uint32(old)
			n, ok := change(was)
			if !ok {
				return false, nil
			}
			return true, put(t, gpa, old, binary.LittleEndian.AppendUint32(nil, n))
		}, func() error { return t.WritePhysical(gpa, old) })
	})
	return was, err
}
