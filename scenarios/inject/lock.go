package inject

import (
	"context"
	"fmt"
)

// writeLocked is the value of a queued rwlock's first byte while a writer holds
// it, _QW_LOCKED in include/asm-generic/qrwlock.h.
const writeLocked = 0xff

// HoldRWLock makes a kernel rwlock look held for ever by a writer. It writes the
// lock word while the guest is paused, and only while no writer holds the lock:
// the unlock of a real writer would remove the fault. Readers inside keep the lock.
// They leave it by subtracting from other bits.
//
// Remove stores 0 in the same byte, which is all that a writer's unlock does. So the
// waiters continue as if the holder had released the lock.
func HoldRWLock(lock string) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		va, err := t.Symbol(lock)
		if err != nil {
			return nil, err
		}
		raw, err := t.Offset("rwlock_t", "raw_lock")
		if err != nil {
			return nil, err
		}
		off, err := t.Offset("qrwlock", "wlocked")
		if err != nil {
			return nil, err
		}
		gpa, err := t.Translate(va + raw + off)
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", lock, err)
		}
		if err := swapWord(ctx, t, gpa, []byte{0}, []byte{writeLocked}); err != nil {
			return nil, fmt.Errorf("hold %s: %w", lock, err)
		}
		return &Injection{
			What: fmt.Sprintf("%s held for writing by nobody", lock),
			// A waiting writer's bit, and readers, which count themselves before they wait.
			reached: anyBit(t, gpa, 0, 0xff, 0xff, 0xff),
			remove: func(context.Context) error {
				if err := t.WritePhysical(gpa, []byte{0}); err != nil {
					return fmt.Errorf("release %s: %w", lock, err)
				}
				return nil
			},
		}, nil
	}
}
