package inject

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"hangbench/guests/beat"
)

// Machine is a guest's machine and kernel, seen from outside.
type Machine interface {
	// Symbol returns the virtual address of a kernel variable or function; of a
	// per-CPU variable, its offset in the area of each CPU.
	Symbol(name string) (uint64, error)
	// Size returns the length of a function in bytes.
	Size(function string) (uint64, error)
	// Offset returns where a field lies, in bytes from the start of the type.
	Offset(typ, field string) (uint64, error)
	// Translate returns the guest-physical address of a kernel address.
	Translate(va uint64) (uint64, error)
	ReadPhysical(gpa uint64, b []byte) error
	WritePhysical(gpa uint64, b []byte) error
	// Pause stops the guest, Unpause lets it go on. Pauses are counted.
	Pause() error
	Unpause() error
	// VCPUs is the number of vCPUs.
	VCPUs() int
	// Where returns RIP of a vCPU, and whether it takes interrupts.
	Where(vcpu int) (rip uint64, interrupts bool, err error)
	// NMI sends a vCPU a non-maskable interrupt, which wakes it whatever it waits for.
	NMI(vcpu int) error
	// StallDisk makes the guest's disk take requests and complete none, until it is
	// called with false.
	StallDisk(stall bool) error
	// SlowDisk makes the guest's disk complete each request so much later, until it
	// is called with 0.
	SlowDisk(by time.Duration) error
}

// Target is a guest as an injector needs it.
type Target interface {
	Machine
	// Ask has the guest's PID 1 do an errand, and returns when it has taken it up.
	Ask(e beat.Errand) error
	// Mishandle has the monitor that watches the guest answer whoever meets its trap
	// without lifting the trap, until it is called with false. It is an error if
	// there is no monitor, or none with such a trap.
	Mishandle(on bool) error
}

// Injection is a fault in place.
type Injection struct {
	What string // what was done
	// Asked says that the guest brought it in itself, when it was asked to or came
	// by: it is in place since the injector returned, not since it was called.
	Asked bool
	// Outside says that it is not in the guest's memory but in what the guest runs
	// on: it is to be lifted also when the guest has ended.
	Outside bool
	lift    func() error
}

// Lift takes the fault back. One that cannot be taken back is left alone.
func (i *Injection) Lift() error {
	if i.lift == nil {
		return nil
	}
	return i.lift()
}

// Fields are the structure fields that this package asks Target.Offset for, as
// "type.field".
func Fields() []string {
	return []string{"rwlock_t.raw_lock", "qrwlock.wlocked", "rq.__lock", "qspinlock.locked", "mutex.owner"}
}

// ErrBusy says that a place in the guest was never seen as the injector needs it.
var ErrBusy = errors.New("never free")

const (
	// tries bounds how often a lock that is held is looked at again.
	tries    = 1000
	tryPause = time.Millisecond
)

// swapWord writes a new value where the old one is, while the guest is paused,
// and reads it back. Where there is another value it lets the guest go on and
// looks again, for a while.
func swapWord(t Target, gpa uint64, old, new []byte) error {
	return retry(func() (bool, error) {
		return paused(t, func() (bool, error) {
			got := make([]byte, len(old))
			if err := t.ReadPhysical(gpa, got); err != nil || !bytes.Equal(got, old) {
				return false, err
			}
			return true, put(t, gpa, old, new)
		}, func() error { return t.WritePhysical(gpa, old) })
	})
}

// retry calls try until it says true.
func retry(try func() (bool, error)) error {
	for range tries {
		if done, err := try(); done || err != nil {
			return err
		}
		time.Sleep(tryPause)
	}
	return fmt.Errorf("%w: looked %d times", ErrBusy, tries)
}

// paused does something while the guest is paused. If it was done and the guest
// cannot be let go, it is undone: a fault that is not reported must not stay.
func paused(t Target, do func() (bool, error), undo func() error) (done bool, err error) {
	if err := t.Pause(); err != nil {
		return false, err
	}
	done, err = do()
	if uerr := t.Unpause(); uerr != nil {
		err = errors.Join(err, uerr)
		if done {
			err = errors.Join(err, undo())
		}
	}
	return done && err == nil, err
}

// put writes a value and reads it back; if that fails it writes the old one.
func put(t Target, gpa uint64, old, new []byte) error {
	err := t.WritePhysical(gpa, new)
	if err == nil {
		got := make([]byte, len(new))
		if err = t.ReadPhysical(gpa, got); err == nil && !bytes.Equal(got, new) {
			err = fmt.Errorf("wrote %x and read %x back", new, got)
		}
	}
	if err != nil {
		err = errors.Join(err, t.WritePhysical(gpa, old))
	}
	return err
}

// word reads eight bytes of kernel memory.
func word(t Target, va uint64) (uint64, error) {
	gpa, err := t.Translate(va)
	if err != nil {
		return 0, err
	}
	var b [8]byte
	err = t.ReadPhysical(gpa, b[:])
	return binary.LittleEndian.Uint64(b[:]), err
}

// perCPU returns the address of a CPU's instance of a per-CPU variable.
func perCPU(t Target, name string, cpu int) (uint64, error) {
	off, err := t.Symbol(name)
	if err != nil {
		return 0, err
	}
	table, err := t.Symbol("__per_cpu_offset")
	if err != nil {
		return 0, err
	}
	base, err := word(t, table+8*uint64(cpu))
	if err != nil {
		return 0, fmt.Errorf("find %s of vCPU %d: %w", name, cpu, err)
	}
	return base + off, nil
}
