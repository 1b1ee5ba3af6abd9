package inject

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// Values of a queued spinlock's locked byte: _Q_LOCKED_VAL of
	// include/asm-generic/qspinlock_types.h, and _Q_SLOW_VAL of
	// kernel/locking/qspinlock_paravirt.h, which a waiter stores that is about to
	// halt until it is kicked.
	spinLocked = 1
	spinSlow   = 3
	// hashEntries bounds the table of halted waiters that is searched: the kernel
	// makes four entries a CPU at most, and a page of them at least.
	hashEntries = 4096
	hashEntry   = 16 // struct pv_hash_entry: lock, node
)

// HoldRunQueue makes the lock of a vCPU's run queue look held by nobody. It is
// taken with interrupts off, at every task switch and every tick. While the lock
// is free it has no waiters, so the vCPU stands at its next attempt.
func HoldRunQueue(t Target, vcpu int) (*Injection, error) {
	rq, err := perCPU(t, "runqueues", vcpu)
	if err != nil {
		return nil, err
	}
	off, err := t.Offset("rq", "__lock")
	if err != nil {
		return nil, err
	}
	return holdSpin(t, fmt.Sprintf("run queue of vCPU %d", vcpu), rq+off)
}

// HoldSpinLock makes a kernel spinlock look held by nobody. The lock word is the
// first field of every type that such a lock has.
func HoldSpinLock(t Target, lock string) (*Injection, error) {
	va, err := t.Symbol(lock)
	if err != nil {
		return nil, err
	}
	return holdSpin(t, lock, va)
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
// Lifting does what the holder's unlock does. A guest with several vCPUs has
// paravirtual spinlocks: a waiter halts, and is to be woken by the holder, who
// finds it in a table. There lifting takes it from the table and wakes every
// vCPU by an NMI, at which the waiter looks at the lock again.
func holdSpin(t Target, name string, va uint64) (*Injection, error) {
	gpa, err := spinByte(t, name, va)
	if err != nil {
		return nil, err
	}
	// The whole word is 0: nobody waits either, to whom it would be handed.
	if err := swapWord(t, gpa, []byte{0, 0, 0, 0}, []byte{spinLocked, 0, 0, 0}); err != nil {
		return nil, fmt.Errorf("hold %s: %w", name, err)
	}
	return &Injection{
		What: name + " locked by nobody",
		lift: func() error {
			if err := releaseSpin(t, va, gpa); err != nil {
				return fmt.Errorf("release %s: %w", name, err)
			}
			return nil
		},
	}, nil
}

// releaseSpin unlocks the queued spinlock at va, whose locked byte is at gpa.
func releaseSpin(t Target, va, gpa uint64) error {
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
		err = errors.Join(err, t.NMI(i))
	}
	return err
}

// unhash takes a lock's waiter out of the table of those that are halted.
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
