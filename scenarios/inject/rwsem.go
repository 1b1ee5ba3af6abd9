package inject

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"hangbench/guests/beat"
)

// semWriter is the bit of rw_semaphore.count that is set while a writer holds the
// semaphore, RWSEM_WRITER_LOCKED in kernel/locking/rwsem.c.
const semWriter = 1

// semWaiters is the bit that is set while somebody waits, RWSEM_FLAG_WAITERS.
const semWaiters = 2

// HoldRWSem makes a kernel reader-writer semaphore look held for writing by kthreadd.
// Tasks that want it sleep in state D. It writes the semaphore only while nobody holds it
// and nobody waits.
//
// The owner is written too: a task that finds a semaphore held and without an owner
// spins instead of sleeping.
//
// Remove removes the writer from the count and keeps the flags for waiters. The waiters
// sleep until a holder wakes them, so PID 1 is asked to have a process take and release
// the semaphore. That is the request again.
func HoldRWSem(name string, again beat.Request) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		count, err := fieldOf(t, name, "rw_semaphore", "count")
		if err != nil {
			return nil, err
		}
		owner, err := fieldOf(t, name, "rw_semaphore", "owner")
		if err != nil {
			return nil, err
		}
		task, err := kthreaddTask(t)
		if err != nil {
			return nil, err
		}
		// A reader leaves its name behind when it releases the semaphore.
		was := make([]byte, 8)
		free, held := make([]byte, 8), binary.LittleEndian.AppendUint64(nil, semWriter)
		err = retry(ctx, t, func() (bool, error) {
			return paused(t, func() (bool, error) {
				got, err := word64(t, count)
				if err == nil {
					err = t.ReadPhysical(owner, was)
				}
				if err != nil || got != 0 {
					return false, err
				}
				if err := put(t, owner, was, binary.LittleEndian.AppendUint64(nil, task)); err != nil {
					return false, err
				}
				if err := put(t, count, free, held); err != nil {
					return false, errors.Join(err, t.WritePhysical(owner, was))
				}
				return true, nil
			}, func() error { return errors.Join(t.WritePhysical(count, free), t.WritePhysical(owner, was)) })
		})
		if err != nil {
			return nil, fmt.Errorf("hold %s: %w", name, err)
		}
		return &Injection{
			What:    name + " held for writing by kthreadd",
			reached: anyBit(t, count, semWaiters),
			remove: func(ctx context.Context) error {
				if err := releaseRWSem(t, count, owner); err != nil {
					return fmt.Errorf("release %s: %w", name, err)
				}
				return t.Ask(ctx, again)
			},
		}, nil
	}
}

// releaseRWSem removes the writer from the count and the owner at these guest-physical
// addresses.
func releaseRWSem(t Target, count, owner uint64) error {
	_, err := paused(t, func() (bool, error) {
		now, err := word64(t, count)
		if err != nil {
			return false, err
		}
		if err := t.WritePhysical(owner, make([]byte, 8)); err != nil {
			return false, err
		}
		return true, t.WritePhysical(count, binary.LittleEndian.AppendUint64(nil, now&^semWriter))
	}, func() error { return nil })
	return err
}

// fieldOf returns the guest-physical address of a field of a kernel variable.
func fieldOf(t Target, variable, typ, field string) (uint64, error) {
	va, err := t.Symbol(variable)
	if err != nil {
		return 0, err
	}
	off, err := t.Offset(typ, field)
	if err != nil {
		return 0, err
	}
	gpa, err := t.Translate(va + off)
	if err != nil {
		return 0, fmt.Errorf("find %s: %w", variable, err)
	}
	return gpa, nil
}

// word64 reads eight bytes at a guest-physical address.
func word64(t Target, gpa uint64) (uint64, error) {
	var b [8]byte
	err := t.ReadPhysical(gpa, b[:])
	return binary.LittleEndian.Uint64(b[:]), err
}
