package xenctrl

import "fmt"

// Domain names one domain. It is a small value; copies are the same domain.
type Domain struct {
	x  *Xen
	id DomID
}

// ID returns the domain's number.
func (d Domain) ID() DomID { return d.id }

// Info returns the domain's state, or an error that is [ErrNoDomain].
// (xc_domain_getinfo_single)
func (d Domain) Info() (DomainInfo, error) { return d.x.hv.domain(d.id) }

// MaxGFN returns the highest guest page frame. Guests have holes below it, and
// a PVH guest has its special pages just below 4 GiB, so this says little about
// its memory size. (xc_domain_maximum_gpfn)
func (d Domain) MaxGFN() (uint64, error) { return d.x.hv.maxGFN(d.id) }

// Pause stops all vCPUs and returns when they have stopped. Pauses count: each
// needs its Unpause. (xc_domain_pause)
func (d Domain) Pause() error { return d.x.hv.pause(d.id) }

// Unpause undoes one Pause. (xc_domain_unpause)
func (d Domain) Unpause() error { return d.x.hv.unpause(d.id) }

// VCPU returns the state of one vCPU. (xc_vcpu_getinfo)
func (d Domain) VCPU(vcpu int) (VCPUInfo, error) { return d.x.hv.vcpu(d.id, vcpu) }

// Registers reads the registers of one vCPU into r. Xen pauses this vCPU for
// the time of the call, so the guest need not be paused; pause it to get
// registers and memory of one instant. The error is ENODATA for a vCPU that is
// down. (xc_domain_hvm_getcontext_partial, HVM_SAVE_CODE(CPU))
func (d Domain) Registers(vcpu int, r *Registers) error { return d.x.hv.registers(d.id, vcpu, r) }

// SetAffinity lets a vCPU run on these physical CPUs only.
// (xc_vcpu_setaffinity, hard)
func (d Domain) SetAffinity(vcpu int, pcpus ...int) error {
	_, size, err := d.x.hv.cpus()
	if err != nil {
		return err
	}
	mask, err := cpuMask(pcpus, size)
	if err != nil {
		return fmt.Errorf("affinity of domain %d vcpu %d: %w", d.id, vcpu, err)
	}
	return d.x.hv.setAffinity(d.id, vcpu, mask)
}

// SetSingleStep makes a vCPU step (or not) regardless of what responses
// toggled. Off also forgets a fast single-step in flight.
// (xc_domain_debug_control, XEN_DOMCTL_DEBUG_OP_SINGLE_STEP_ON and _OFF)
func (d Domain) SetSingleStep(vcpu int, on bool) error {
	return d.x.hv.singleStep(d.id, vcpu, on)
}

// InjectBreakpoint gives the guest a #BP, as its own INT3 would have: the right
// answer to a breakpoint event the monitor did not set. insnLen is the event's.
// (xc_hvm_inject_trap)
func (d Domain) InjectBreakpoint(vcpu int, insnLen uint8) error {
	return d.x.hv.injectBreakpoint(d.id, vcpu, insnLen)
}

// SetMemAccess sets what the guest may do with the n page frames from gfn on in
// the host view. Xen also applies it to altp2m views that hold these pages. It
// needs a monitor to be enabled (ENODEV otherwise), and fails on frames without
// memory behind them. (xc_set_mem_access)
func (d Domain) SetMemAccess(gfn uint64, n uint32, a Access) error {
	return d.x.hv.setAccess(d.id, gfn, n, a)
}

// SetMemAccessMulti sets access[i] on gfns[i], as SetMemAccess does.
// (xc_set_mem_access_multi)
func (d Domain) SetMemAccessMulti(gfns []uint64, access []Access) error {
	if err := sameLen(gfns, access); err != nil || len(gfns) == 0 {
		return err
	}
	return d.x.hv.setAccessMulti(d.id, gfns, access)
}

// MemAccess returns what the guest may do with a page in the host view. It too
// needs a monitor to be enabled.
// (xc_get_mem_access)
func (d Domain) MemAccess(gfn uint64) (Access, error) { return d.x.hv.access(d.id, gfn) }

func sameLen(gfns []uint64, access []Access) error {
	if len(gfns) != len(access) {
		return fmt.Errorf("%d page frames but %d permissions", len(gfns), len(access))
	}
	return nil
}

// SpareFrame returns a guest frame number above all that the domain has.
// (xc_domain_maximum_gpfn)
func (d Domain) SpareFrame() (uint64, error) {
	top, err := d.MaxGFN()
	return top + 1, err
}

// AddFrame gives the domain a frame of memory at a number that SpareFrame
// returned. The guest does not know of it. (MakeRoom, xc_domain_populate_physmap_exact)
func (d Domain) AddFrame(gfn uint64) error {
	if err := d.MakeRoom(); err != nil {
		return err
	}
	return d.x.hv.populate(d.id, gfn)
}

// MakeRoom raises the domain's limit of memory so that it can be given a frame.
// It is only raised as far as the domain has used it up. (xc_domain_setmaxmem)
func (d Domain) MakeRoom() error {
	info, err := d.Info()
	if err != nil || info.Pages < info.MaxPages {
		return err
	}
	return d.SetMaxPages(info.Pages + 1)
}

// SetMaxPages limits the domain's memory to so many page frames (Info.MaxPages).
// (xc_domain_setmaxmem)
func (d Domain) SetMaxPages(pages uint64) error {
	return d.x.hv.setMaxMem(d.id, pages*(PageSize/1024))
}

// RemoveFrame takes a frame of memory from the domain.
// (xc_domain_decrease_reservation_exact)
func (d Domain) RemoveFrame(gfn uint64) error { return d.x.hv.depopulate(d.id, gfn) }
