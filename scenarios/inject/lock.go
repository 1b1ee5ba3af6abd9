package inject

import "fmt"

// writeLocked is the value of a queued rwlock's first byte while a writer holds
// it, _QW_LOCKED in include/asm-generic/qrwlock.h.
const writeLocked = 0xff

// HoldRWLock makes a kernel rwlock look held by a writer that never lets go.
// The lock word is written while the guest is paused and only when no writer
// holds it: the real holder's unlock would undo the fault otherwise. Readers
// inside keep what they have; they leave by subtracting from other bits.
//
// Lifting stores 0 in the same byte, which is all that a writer's unlock does,
// so waiters go on as if the holder had come back.
func HoldRWLock(t Target, lock string) (*Injection, error) {
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
	if err := swapWord(t, gpa, []byte{0}, []byte{writeLocked}); err != nil {
		return nil, fmt.Errorf("hold %s: %w", lock, err)
	}
	return &Injection{
		What: fmt.Sprintf("%s held for writing by nobody", lock),
		lift: func() error {
			if err := t.WritePhysical(gpa, []byte{0}); err != nil {
				return fmt.Errorf("release %s: %w", lock, err)
			}
			return nil
		},
	}, nil
}
