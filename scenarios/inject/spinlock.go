package inject

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// Values of a queued spinlock's locked byte. spinLocked is _Q_LOCKED_VAL of
	// include/asm-generic/qspinlock_types.h. spinSlow is _Q_SLOW_VAL of
	// kernel/locking/qspinlock_paravirt.h: a waiter stores it before it halts until
	// it is kicked.
	spinLocked = 1
	spinSlow   = 3
	// hashEntries bounds the search of the table of halted waiters. The kernel makes
	// at most four entries per CPU, and at least one page of them.
	hashEntries = 4096
	hashEntry   = 16 // struct pv_hash_entry: lock, node
)

// HoldRunQueue makes the lock of a vCPU's run queue look held by nobody. The kernel
// takes it with interrupts off, at every task switch and every tick. A free lock has
// no waiters, so the vCPU stops at its next attempt to take it.
func HoldRunQueue(vcpu int) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		rq, err := perCPU(t, "runqueues", vcpu)
		if err != nil {
			return nil, err
		}
		off, err := t.Offset("rq", "__lock")
		if err != nil {
			if off, err = t.Offset("rq", "lock"); err != nil { // before 5.14
				return nil, err
			}
		}
		return holdSpin(ctx, t, fmt.Sprintf("run queue of vCPU %d", vcpu), rq+off)
	}
}

// HoldSpinLock makes a kernel spinlock look held by nobody. The lock word is the
// first field of every type that such a lock has.
func HoldSpinLock(lock string) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		va, err := t.Symbol(lock)
		if err != nil {
			return nil, err
		}
		return holdSpin(ctx, t, lock, va)
	}
}

// HoldPerCPU is HoldSpinLock for a vCPU's instance of a per-CPU variable.
func HoldPerCPU(lock string, vcpu int) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		va, err := perCPU(t, lock, vcpu)
		if err != nil {
			return nil, err
		}
		return holdSpin(ctx, t, fmt.Sprintf("%s of vCPU %d", lock, vcpu), va)
	}
}

// spinByte returns where the locked byte of the queued spinlock at va is.
func spinByte(t Target, name string, va uint64) (gpa uint64, err error) {
	locked, err := t.Offset("qspinlock", "locked")
	if err != nil {
		return 0, err
	}
	if gpa, err = t.Translate(va + locked); err != nil {
		return 0, fmt.Errorf("find %s: %w", name, err)
	}
	return gpa, nil
}

// holdSpin holds the queued spinlock at va.
//
// Remove does what the holder's unlock does. A guest with several vCPUs has
// paravirtual spinlocks: a waiter halts, and the holder has to find it in a table
// and wake it. In that case Remove removes the waiter from the table and wakes every
// vCPU by an NMI. The waiter then looks at the lock again.
func holdSpin(ctx context.Context, t Target, name string, va uint64) (*Injection, error) {
	gpa, err := spinByte(t, name, va)
	if err != nil {
		return nil, err
	}
	// The whole word must be 0. With a waiter in it the lock would be handed over.
	if err := swapWord(ctx, t, gpa, []byte{0, 0, 0, 0}, []byte{spinLocked, 0, 0, 0}); err != nil {
		return nil, fmt.Errorf("hold %s: %w", name, err)
	}
	return &Injection{
		What: name + " locked by nobody",
		// Waiters: the pending byte and the tail, and spinSlow, which has this bit.
		reached: anyBit(t, gpa, spinSlow&^spinLocked, 0xff, 0xff, 0xff),
		remove: func(ctx context.Context) error {
			if err := releaseSpin(ctx, t, va, gpa); err != nil {
				return fmt.Errorf("release %s: %w", name, err)
			}
			return nil
		},
	}, nil
}

// releaseSpin unlocks the queued spinlock at va, whose locked byte is at gpa.
func releaseSpin(ctx context.Context, t Target, va, gpa uint64) error {
	halted := false
	_, err := paused(t, func() (bool, error) {
		var b [1]byte
		if err := t.ReadPhysical(gpa, b[:]); err != nil {
			return false, err
		}
		if b[0] == spinSlow {
			halted = true
			if err := unhash(t, va); err != nil {
				return false, err
			}
		}
		return true, t.WritePhysical(gpa, []byte{0})
	}, func() error { return nil })
	if err != nil || !halted {
		return err
	}
	for i := range t.VCPUs() {
		err = errors.Join(err, t.NMI(ctx, i))
	}
	return err
}

// unhash removes the waiter for a lock from the table of halted waiters.
func unhash(t Target, lock uint64) error {
	p, err := t.Symbol("pv_lock_hash")
	if err != nil {
		return err
	}
	table, err := word(t, p)
	if err != nil {
		return fmt.Errorf("find the table of halted waiters: %w", err)
	}
	for i := range uint64(hashEntries) {
		at := table + i*hashEntry
		got, err := word(t, at)
		if err != nil {
			return fmt.Errorf("search the table of halted waiters: %w", err)
		}
		if got != lock {
			continue
		}
		gpa, err := t.Translate(at)
		if err != nil {
			return err
		}
		return t.WritePhysical(gpa, binary.LittleEndian.AppendUint64(nil, 0))
	}
	return fmt.Errorf("the waiter for %#x is not in the table of halted ones", lock)
}
