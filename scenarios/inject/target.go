package inject

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"hangbench/guests/beat"
)

// Machine is a guest's machine and kernel, seen from outside.
type Machine interface {
	// Symbol returns the virtual address of a kernel variable or function. For a
	// per-CPU variable it returns the address to which a CPU's offset is added.
	Symbol(name string) (uint64, error)
	// Size returns the length of a function in bytes.
	Size(function string) (uint64, error)
	// Offset returns the offset of a field in bytes from the start of its type.
	Offset(typ, field string) (uint64, error)
	// Translate returns the guest-physical address of a kernel address.
	Translate(va uint64) (uint64, error)
	ReadPhysical(gpa uint64, b []byte) error
	WritePhysical(gpa uint64, b []byte) error
	// Pause stops all vCPUs, Unpause starts them again. Pauses are counted.
	Pause() error
	Unpause() error
	// VCPUs is the number of vCPUs.
	VCPUs() int
	// Where returns the RIP of a vCPU, and whether its interrupts are on.
	Where(vcpu int) (rip uint64, interrupts bool, err error)
	// NMI sends a vCPU a non-maskable interrupt, which wakes it if it is halted.
	NMI(ctx context.Context, vcpu int) error
	// StallDisk makes the guest's disk accept requests and complete none. A call
	// with false ends this.
	StallDisk(stall bool) error
	// SlowDisk delays the completion of each disk request by a time. A call with 0
	// ends this.
	SlowDisk(by time.Duration) error
	// FailDisk makes the guest's disk complete each request at once, with an error. A call
	// with false ends this.
	FailDisk(fail bool) error
	Toolstack
	ControlDomain
}

// Toolstack is what the toolstack of the control domain does to a guest. A method returns
// when the toolstack is done or has failed. What it asks the guest to do, the guest does
// later: see Resources and Ended.
type Toolstack interface {
	// Cap limits the time of physical CPUs that all vCPUs together may use, in percent of
	// one CPU. 0 ends this.
	Cap(ctx context.Context, percent int) error
	// SetVCPUs asks the guest to use so many of its vCPUs. 0 stands for all of them.
	SetVCPUs(ctx context.Context, n int) error
	// SetMemory asks the guest to use so much memory, in MiB. 0 stands for what it was made
	// with.
	SetMemory(ctx context.Context, mib int) error
	// Resources returns what the guest uses now, as the hypervisor counts it.
	Resources() (Resources, error)
	// Checkpoint saves the guest, which goes on in its domain.
	Checkpoint(ctx context.Context) error
	// Save saves the guest and destroys its domain. Until Restore has returned, nothing may
	// be asked of the guest or read from it.
	Save(ctx context.Context) error
	// Restore makes a new domain of the guest that was saved. The guest's wall clock is
	// later by a time, as if it had been saved for so much longer. It is an error if
	// the guest was not saved.
	Restore(ctx context.Context, later time.Duration) error
	// End asks the guest to end itself. Its domain is kept.
	End(ctx context.Context, how Ending) error
	// Ended returns how the guest has ended itself, in Xen's words, and "" while it
	// runs.
	Ended() (string, error)
}

// Resources are what a guest uses.
type Resources struct {
	VCPUs  int    // that are online
	Memory uint64 // bytes
}

// Ending is how a guest is asked to end itself, in Xen's words.
type Ending string

// The endings.
const (
	PowerOff Ending = "poweroff"
	Reboot   Ending = "reboot"
)

// ControlDomain is what can be done to the control domain, in which the monitor of the
// guest runs.
type ControlDomain interface {
	// CapControl limits the control domain as Cap does a guest.
	CapControl(ctx context.Context, percent int) error
	// FillControl takes memory in the control domain until programs can get so many MiB. 0
	// gives the memory back.
	FillControl(left int) error
	// BuildOthers has another guest built and destroyed, again and again. It returns when
	// one has been built. A call with false ends this, and returns when none is left.
	BuildOthers(ctx context.Context, on bool) error
}

// Clock is the clock on which an injector waits. In the lab it is virtual, so an
// injector must never wait on the clock of the machine that it runs on.
type Clock interface {
	// Now returns nanoseconds since some fixed instant. It never goes back.
	Now() int64
	// Sleep waits for d, or until ctx ends and returns ctx's error.
	Sleep(ctx context.Context, d time.Duration) error
}

// Target is a guest as an injector needs it.
type Target interface {
	Machine
	Clock
	// Ask asks the guest's PID 1 for a request, and returns when PID 1 has accepted it.
	Ask(ctx context.Context, e beat.Request) error
	// Mishandle breaks the monitor on purpose: it answers the vCPU that meets its trap
	// and leaves the trap closed. A call with false repairs it. It is an error if no
	// monitor is attached, or one without such a trap.
	Mishandle(on bool) error
}

// Fault brings a fault into a guest. An error means that the guest is as it was,
// and runs. If ctx ends, Fault stops waiting and returns ctx's error.
type Fault func(ctx context.Context, t Target) (*Injection, error)

// Injection is a fault in place.
type Injection struct {
	What string // what was done
	// Asked: the guest brought the fault in itself, when it was asked to or when it
	// reached a certain place. The fault is in place since the injector returned, not
	// since it was called.
	Asked bool
	// Outside: the fault is in what the guest runs on, not in the guest's memory. It
	// must be removed even if the guest has ended.
	Outside bool
	// Away: the guest's domain is gone. The guest comes back in another domain when the
	// fault is removed.
	Away bool
	// Ends: the guest has ended itself, as it was asked to.
	Ends   bool
	remove func(ctx context.Context) error
	// reached is Reached. It is nil if nobody can tell.
	reached func() (bool, error)
}

// Reached reports whether the guest is at the place of the fault now, or waits for what the
// fault holds. known is false if nobody can tell.
func (i *Injection) Reached() (reached, known bool, err error) {
	if i.reached == nil {
		return false, false, nil
	}
	reached, err = i.reached()
	return reached, err == nil, err
}

// anyBit returns a function that reports whether a bit of the mask is set in the little-endian
// word of guest memory at gpa.
func anyBit(t Target, gpa uint64, mask ...byte) func() (bool, error) {
	return func() (bool, error) {
		b := make([]byte, len(mask))
		if err := t.ReadPhysical(gpa, b); err != nil {
			return false, err
		}
		for i := range b {
			if b[i]&mask[i] != 0 {
				return true, nil
			}
		}
		return false, nil
	}
}

// Remove removes the fault. A fault that cannot be removed stays, and that is no
// error. Pass a context that does not end with the trial's: a fault must not stay
// because the trial was interrupted.
func (i *Injection) Remove(ctx context.Context) error {
	if i.remove == nil {
		return nil
	}
	return i.remove(ctx)
}

// Fields are the structure fields that this package asks Machine.Offset for, as
// "type.field". One that some kernels lack ends in "?".
func Fields() []string {
	return []string{"rwlock_t.raw_lock", "qrwlock.wlocked", "rq.__lock?", "rq.lock?", "qspinlock.locked", "mutex.owner",
		"rw_semaphore.count?", "rw_semaphore.owner?", "semaphore.count?", "pcpu_hot.preempt_count?"}
}

// ErrBusy says that a place in the guest never became free for the injector: a lock
// was always held, or a vCPU was always inside the code to be changed.
var ErrBusy = errors.New("never free")

// ErrDeaf says that the guest did not do what it was asked to.
var ErrDeaf = errors.New("the guest did not follow")

const (
	// tries bounds how often the injector looks at a place that is not free.
	tries    = 1000
	tryPause = time.Millisecond
)

// swapWord replaces the value old by the value new while the guest is paused, and
// reads it back. If the value is not old, it lets the guest run and tries again, at
// most tries times.
func swapWord(ctx context.Context, t Target, gpa uint64, old, new []byte) error {
	return retry(ctx, t, func() (bool, error) {
		return paused(t, func() (bool, error) {
			got := make([]byte, len(old))
			if err := t.ReadPhysical(gpa, got); err != nil || !bytes.Equal(got, old) {
				return false, err
			}
			return true, put(t, gpa, old, new)
		}, func() error { return t.WritePhysical(gpa, old) })
	})
}

// retry calls try until it returns true or an error, at most tries times. It waits
// tryPause between two calls. The error is ErrBusy if try never returned true, and
// ctx's error if ctx ended.
func retry(ctx context.Context, c Clock, try func() (bool, error)) error {
	for range tries {
		if done, err := try(); done || err != nil {
			return err
		}
		if err := c.Sleep(ctx, tryPause); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: looked %d times", ErrBusy, tries)
}

// paused calls do while the guest is paused. If do succeeded and the guest cannot be
// started again, it calls undo: a fault that is not reported must not stay.
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

// put writes a value and reads it back. If that fails it writes the old value.
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
