package inject

import (
	"context"
	"encoding/binary"
	"fmt"

	"hangbench/guests/beat"
)

// mutexFlags are the lowest bits of mutex.owner: waiters, handoff and pickup
// (kernel/locking/mutex.h).
const (
	mutexFlags   = 7
	mutexWaiters = 1
)

// HoldMutex makes a kernel mutex look owned by kthreadd. That task always exists,
// sleeps, and never releases a mutex that it did not take. Tasks that want the mutex
// sleep in state D.
//
// Remove removes the owner from the word and keeps the flag for waiters. The waiters
// sleep until an owner wakes them, so PID 1 is asked to have a process take and
// release the mutex. That is the request pass.
func HoldMutex(name string, pass beat.Request) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		gpa, err := fieldOf(t, name, "mutex", "owner")
		if err != nil {
			return nil, err
		}
		owner, err := kthreaddTask(t)
		if err != nil {
			return nil, err
		}
		held := binary.LittleEndian.AppendUint64(nil, owner)
		if err := swapWord(ctx, t, gpa, make([]byte, 8), held); err != nil {
			return nil, fmt.Errorf("hold %s: %w", name, err)
		}
		return &Injection{
			What:    name + " owned by kthreadd",
			reached: anyBit(t, gpa, mutexWaiters),
			remove: func(ctx context.Context) error {
				if err := releaseMutex(t, gpa); err != nil {
					return fmt.Errorf("release %s: %w", name, err)
				}
				return t.Ask(ctx, pass)
			},
		}, nil
	}
}

// kthreaddTask returns the address of kthreadd's task.
func kthreaddTask(t Target) (uint64, error) {
	va, err := t.Symbol("kthreadd_task")
	if err != nil {
		return 0, err
	}
	task, err := word(t, va)
	if err != nil {
		return 0, fmt.Errorf("find kthreadd: %w", err)
	}
	if task == 0 || task&mutexFlags != 0 {
		return 0, fmt.Errorf("find kthreadd: %#x is no address of a task", task)
	}
	return task, nil
}

// releaseMutex removes the owner from the word at the guest-physical address gpa.
func releaseMutex(t Target, gpa uint64) error {
	_, err := paused(t, func() (bool, error) {
		now, err := word64(t, gpa)
		if err != nil {
			return false, err
		}
		return true, t.WritePhysical(gpa, binary.LittleEndian.AppendUint64(nil, now&mutexFlags))
	}, func() error { return nil })
	return err
}
