package inject

import (
	"errors"
	"fmt"
	"time"
)

// Target is a guest's kernel as an injector needs it.
type Target interface {
	// Symbol returns the virtual address of a kernel variable or function.
	Symbol(name string) (uint64, error)
	// Offset returns where a field lies, in bytes from the start of the type.
	Offset(typ, field string) (uint64, error)
	// Translate returns the guest-physical address of a kernel address.
	Translate(va uint64) (uint64, error)
	ReadPhysical(gpa uint64, b []byte) error
	WritePhysical(gpa uint64, b []byte) error
	// Pause stops the guest, Unpause lets it go on.
	Pause() error
	Unpause() error
}

// Injection is a fault in place.
type Injection struct {
	What string // what was done, for the record
	lift func() error
}

// Lift takes the fault back.
func (i *Injection) Lift() error { return i.lift() }

// ErrLockBusy says that the lock was never seen free.
var ErrLockBusy = errors.New("lock is never free")

const (
	// writeLocked is the value of a queued rwlock's first byte while a writer
	// holds it, _QW_LOCKED in include/asm-generic/qrwlock.h.
	writeLocked = 0xff
	// lockTries bounds how often a lock that is held is looked at again.
	lockTries = 1000
	lockPause = time.Millisecond
)

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
	for range lockTries {
		held, err := holdOnce(t, gpa)
		if err != nil {
			return nil, fmt.Errorf("hold %s: %w", lock, err)
		}
		if held {
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
		time.Sleep(lockPause)
	}
	return nil, fmt.Errorf("hold %s: %w: looked %d times", lock, ErrLockBusy, lockTries)
}

// holdOnce takes the lock if it is free and reads the result back.
func holdOnce(t Target, gpa uint64) (held bool, err error) {
	if err := t.Pause(); err != nil {
		return false, err
	}
	paused := true
	defer func() {
		if paused {
			err = errors.Join(err, t.Unpause())
		}
	}()
	var b [1]byte
	if err := t.ReadPhysical(gpa, b[:]); err != nil {
		return false, err
	}
	if b[0] != 0 {
		return false, nil
	}
	if err := t.WritePhysical(gpa, []byte{writeLocked}); err != nil {
		return false, err
	}
	// A fault that is not reported as in place must not stay.
	defer func() {
		if err != nil {
			held = false
			err = errors.Join(err, t.WritePhysical(gpa, []byte{0}))
		}
	}()
	if err := t.ReadPhysical(gpa, b[:]); err != nil {
		return false, err
	}
	if b[0] != writeLocked {
		return false, fmt.Errorf("wrote %#x and read %#x back", writeLocked, b[0])
	}
	paused = false
	return true, t.Unpause()
}
