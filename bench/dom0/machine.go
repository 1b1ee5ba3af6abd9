package dom0

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/bench/dom0/clock"
	"hangbench/guests/disk"
	"hangbench/guests/kernel"
	"hangbench/monitor/driver"
	"hangbench/scenarios/outcome"
)

// These methods make the guest an inject.Machine.

// Symbol returns the virtual address of a kernel symbol; of a per-CPU variable,
// the address to which a CPU's offset is added.
func (g *Guest) Symbol(name string) (uint64, error) {
	if s, ok := g.profile.Symbols.Lookup(name); ok && s.PerCPU {
		return g.kernel.PerCPU(s.Addr), nil
	}
	return g.kernel.Symbol(name)
}

// Offset returns where a field lies in a type of the kernel, in bytes.
func (g *Guest) Offset(typ, field string) (uint64, error) {
	f, err := g.profile.Field(typ, field)
	return uint64(f.Offset), err
}

// Translate returns the guest-physical address of a kernel address.
func (g *Guest) Translate(va uint64) (uint64, error) { return g.kernel.Translate(va) }

// ReadPhysical reads guest memory.
func (g *Guest) ReadPhysical(gpa uint64, b []byte) error { return g.driver.ReadPhysical(gpa, b) }

// WritePhysical writes guest memory.
func (g *Guest) WritePhysical(gpa uint64, b []byte) error { return g.driver.WritePhysical(gpa, b) }

// Pause stops the guest.
func (g *Guest) Pause() error { return g.driver.Pause() }

// Unpause lets it go on.
func (g *Guest) Unpause() error { return g.driver.Unpause() }

// VCPUs is the number of vCPUs.
func (g *Guest) VCPUs() int { return g.driver.VCPUs() }

// Where returns RIP of a vCPU, and whether it takes interrupts.
func (g *Guest) Where(vcpu int) (rip uint64, interrupts bool, err error) {
	var r driver.Registers
	err = g.driver.Registers(vcpu, &r)
	return r.RIP, r.InterruptsOn(), err
}

// Symbols returns the symbols of the guest's kernel, at the addresses where it was linked,
// and by how much it was moved from there.
func (g *Guest) Symbols() (table *kernel.Symbols, slide uint64) {
	return g.profile.Symbols, g.kernel.Slide()
}

// Locate returns where a vCPU is: its function and callers by the kernel's own symbols, and
// its state by the hypervisor.
func (g *Guest) Locate(vcpu int) (outcome.Place, error) {
	states := make([]driver.VCPUState, g.driver.VCPUs())
	if _, err := g.driver.State(states); err != nil {
		return outcome.Place{}, err
	}
	var r driver.Registers
	if err := g.driver.Registers(vcpu, &r); err != nil {
		return outcome.Place{}, err
	}
	p := outcome.Place{VCPU: vcpu, Interrupts: r.InterruptsOn(), User: r.UserMode, Halted: states[vcpu].Blocked}
	if !p.User {
		p.Symbol, _, _ = g.kernel.Function(r.RIP)
		p.Callers = slices.Clone(g.kernel.Callers(nil, r.RSP))
	}
	return p, nil
}

// triggerTime bounds a call of xl, on dom0's clock.
const triggerTime = 30 * time.Second

// NMI sends a vCPU a non-maskable interrupt.
func (g *Guest) NMI(ctx context.Context, vcpu int) error {
	ctx, cancel := context.WithTimeout(ctx, triggerTime)
	defer cancel()
	return g.host.tools.NMI(ctx, g.Domid, vcpu)
}

// StallDisk makes the guest's disk complete no request until it is called with
// false.
func (g *Guest) StallDisk(stall bool) error {
	switch {
	case g.disk == nil:
		return fmt.Errorf("the guest has no disk: %w", disk.ErrNone)
	case stall:
		return g.disk.Suspend()
	}
	return g.disk.Resume()
}

// SlowDisk makes the guest's disk complete each request so much later, until it is
// called with 0.
func (g *Guest) SlowDisk(by time.Duration) error {
	if g.disk == nil {
		return fmt.Errorf("the guest has no disk: %w", disk.ErrNone)
	}
	return g.disk.Delay(by)
}

// FailDisk makes the guest's disk complete each request with an error, until it is called
// with false.
func (g *Guest) FailDisk(fail bool) error {
	if g.disk == nil {
		return fmt.Errorf("the guest has no disk: %w", disk.ErrNone)
	}
	return g.disk.Fail(fail)
}

// Size returns the length of a kernel function in bytes.
func (g *Guest) Size(function string) (uint64, error) {
	s, ok := g.profile.Symbols.Lookup(function)
	if !ok || s.Size == 0 {
		return 0, fmt.Errorf("the guest's kernel has no function %s of a known size", function)
	}
	return s.Size, nil
}

// closeDisk removes the guest's disk. The backend lets go of it some time after
// the guest is gone.
func (g *Guest) closeDisk(ctx context.Context) error {
	if g.disk == nil {
		return nil
	}
	for end := clock.Now() + int64(triggerTime); ; {
		err := g.disk.Close()
		if err == nil || !errors.Is(err, unix.EBUSY) || clock.Now() > end {
			return err
		}
		if err := clock.Sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}
