package inject

import (
	"encoding/binary"
	"fmt"

	"hangbench/guests/beat"
)

// mutexFlags are the lowest bits of mutex.owner: waiters, handoff and pickup
// (kernel/locking/mutex.h).
const mutexFlags = 7

// HoldMutex makes a kernel mutex look owned by kthreadd, a task that always
// exists, sleeps, and never lets go of what it does not know it has. Who wants
// the mutex sleeps in state D.
//
// Lifting takes the owner out of the word and leaves the flag that says that
// there are waiters. They sleep until an owner wakes them, so PID 1 sends
// somebody who takes and leaves the mutex; pass is the errand for it.
func HoldMutex(t Target, name string, pass beat.Errand) (*Injection, error) {
	va, err := t.Symbol(name)
	if err != nil {
		return nil, err
	}
	off, err := t.Offset("mutex", "owner")
	if err != nil {
		return nil, err
	}
	gpa, err := t.Translate(va + off)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", name, err)
	}
	kthreadd, err := t.Symbol("kthreadd_task")
	if err != nil {
		return nil, err
	}
	owner, err := word(t, kthreadd)
	if err != nil {
		return nil, fmt.Errorf("find kthreadd: %w", err)
	}
	if owner == 0 || owner&mutexFlags != 0 {
		return nil, fmt.Errorf("find kthreadd: %#x is no address of a task", owner)
	}
	if err := swapWord(t, gpa, make([]byte, 8), binary.LittleEndian.AppendUint64(nil, owner)); err != nil {
		return nil, fmt.Errorf("hold %s: %w", name, err)
	}
	return &Injection{
		What: name + " owned by kthreadd",
		lift: func() error {
			_, err := paused(t, func() (bool, error) {
				now, err := word(t, va+off)
				if err != nil {
					return false, err
				}
				return true, t.WritePhysical(gpa, binary.LittleEndian.AppendUint64(nil, now&mutexFlags))
			}, func() error { return nil })
			if err != nil {
				return fmt.Errorf("release %s: %w", name, err)
			}
			return t.Ask(pass)
		},
	}, nil
}
