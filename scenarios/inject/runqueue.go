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
//
// Lifting does what the holder's unlock does. A guest with several vCPUs has
// paravirtual spinlocks: a waiter halts, and is to be woken by the holder, who
// finds it in a table. There lifting takes it from the table and wakes every
// vCPU by an NMI, at which the waiter looks at the lock again.
func HoldRunQueue(t Target, vcpu int) (*Injection, error) {
	rq, err := perCPU(t, "runqueues", vcpu)
	if err != nil {
		return nil, err
	}
	off, err := t.Offset("rq", "__lock")
	if err != nil {
		return nil, err
	}
	locked, err := t.Offset("qspinlock", "locked")
	if err != nil {
		return nil, err
	}
	va := rq + off
	gpa, err := t.Translate(va + locked)
	if err != nil {
		return nil, fmt.Errorf("find the run queue of vCPU %d: %w", vcpu, err)
	}
	// The whole word is 0: nobody waits either, to whom it would be handed.
	if err := swapWord(t, gpa, []byte{0, 0, 0, 0}, []byte{spinLocked, 0, 0, 0}); err != nil {
		return nil, fmt.Errorf("hold the run queue of vCPU %d: %w", vcpu, err)
	}
	return &Injection{
		What: fmt.Sprintf("run queue of vCPU %d locked by nobody", vcpu),
		lift: func() error {
			if err := releaseSpin(t, va, gpa); err != nil {
				return fmt.Errorf("release the run queue of vCPU %d: %w", vcpu, err)
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
