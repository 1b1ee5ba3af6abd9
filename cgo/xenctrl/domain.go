package xenctrl

// Domain names one domain. It is a small value; copies name the same domain.
type Domain struct {
	x  *Xen
	id DomID
}

// Info returns the domain's state, or an error that is [ErrNoDomain].
// (xc_domain_getinfo_single)
func (d Domain) Info() (DomainInfo, error) { return d.x.hv.Domain(d.id) }

// MaxGFN returns the highest guest page frame. It is not the size of the guest's
// memory: there are holes below it, and a PVH guest has special pages just below
// 4 GiB. (xc_domain_maximum_gpfn)
func (d Domain) MaxGFN() (uint64, error) { return d.x.hv.MaxGFN(d.id) }

// Pause stops all vCPUs and returns when they have stopped. Pauses are counted: each
// needs an Unpause. (xc_domain_pause)
func (d Domain) Pause() error { return d.x.hv.Pause(d.id) }

// Unpause undoes one Pause. (xc_domain_unpause)
func (d Domain) Unpause() error { return d.x.hv.Unpause(d.id) }

// VCPU returns the state of one vCPU. (xc_vcpu_getinfo)
func (d Domain) VCPU(vcpu int) (VCPUInfo, error) { return d.x.hv.VCPU(d.id, vcpu) }

// Registers reads the registers of one vCPU into r. Xen pauses this vCPU during the
// call. To read registers and memory of the same instant, pause the guest. The error
// is ENODATA if the vCPU is offline. (xc_domain_hvm_getcontext_partial,
// HVM_SAVE_CODE(CPU))
func (d Domain) Registers(vcpu int, r *Registers) error { return d.x.hv.Registers(d.id, vcpu, r) }

// SetSingleStep turns single-stepping of a vCPU on or off, whatever responses have
// toggled. Off also cancels a fast single step that is not yet done.
// (xc_domain_debug_control, XEN_DOMCTL_DEBUG_OP_SINGLE_STEP_ON and _OFF)
func (d Domain) SetSingleStep(vcpu int, on bool) error {
	return d.x.hv.SetSingleStep(d.id, vcpu, on)
}

// InjectBreakpoint gives the guest a #BP, as its own INT3 would. It is the answer to a
// breakpoint event that is not the monitor's. insnLen is the event's InsnLen.
// (xc_hvm_inject_trap)
func (d Domain) InjectBreakpoint(vcpu int, insnLen uint8) error {
	return d.x.hv.InjectBreakpoint(d.id, vcpu, insnLen)
}

// SetMemAccess sets what the guest may do with the n page frames from gfn on, in the
// host view. Xen sets it in altp2m views that hold these pages too. A monitor must be
// enabled (ENODEV otherwise), and each frame must have memory (EINVAL).
// (xc_set_mem_access)
func (d Domain) SetMemAccess(gfn uint64, n uint32, a Access) error {
	return d.x.hv.SetAccess(d.id, gfn, n, a)
}

// MemAccess returns what the guest may do with a page in the host view. A monitor must
// be enabled (ENODEV otherwise). (xc_get_mem_access)
func (d Domain) MemAccess(gfn uint64) (Access, error) { return d.x.hv.Access(d.id, gfn) }

// SpareFrame returns a guest frame number above all of the domain's.
// (xc_domain_maximum_gpfn)
func (d Domain) SpareFrame() (uint64, error) {
	top, err := d.MaxGFN()
	return top + 1, err
}

// AddFrame gives the domain a frame of memory at a number that SpareFrame returned,
// and raises its limit of memory for it if need be (MakeRoom). The guest's kernel does
// not know the frame. (xc_domain_populate_physmap_exact)
func (d Domain) AddFrame(gfn uint64) error {
	if err := d.MakeRoom(); err != nil {
		return err
	}
	return d.x.hv.Populate(d.id, gfn)
}

// MakeRoom raises the domain's limit of memory by one frame if the domain has used it
// up. (xc_domain_setmaxmem)
func (d Domain) MakeRoom() error {
	info, err := d.Info()
	if err != nil || info.Pages < info.MaxPages {
		return err
	}
	return d.SetMaxPages(info.Pages + 1)
}

// SetMaxPages limits the domain's memory, in page frames (DomainInfo.MaxPages).
// (xc_domain_setmaxmem)
func (d Domain) SetMaxPages(pages uint64) error {
	return d.x.hv.SetMaxMem(d.id, pages*(PageSize/1024))
}

// RemoveFrame takes a frame of memory from the domain. [ErrBusy] says that it has none
// there.
// (xc_domain_decrease_reservation_exact)
func (d Domain) RemoveFrame(gfn uint64) error { return d.x.hv.Depopulate(d.id, gfn) }
