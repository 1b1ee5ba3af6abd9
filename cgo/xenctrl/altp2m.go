package xenctrl

// SetAltp2m switches alternate views on or off. The guest must have been
// created with altp2m="external" (EINVAL otherwise) on a Xen started with
// altp2m=1 ([ErrUnsupported] otherwise).
//
// While on, every vCPU runs in a view; view 0 too is a table of its own, which
// Xen fills page by page from the host's, each with one EPT violation that no
// monitor sees. Off puts all vCPUs back on the host's table and destroys all
// views, whatever state they are in. (xc_altp2m_set_domain_state)
func (d Domain) SetAltp2m(on bool) error { return d.x.hv.SetAltp2m(d.id, on) }

// CreateView makes an empty view; pages come into it on first access with the
// permission def. Xen has ten views at most, EINVAL says there is no more.
// (xc_altp2m_create_view)
func (d Domain) CreateView(def Access) (View, error) { return d.x.hv.CreateView(d.id, def) }

// DestroyView removes a view. [ErrBusy] says that a vCPU is in it, or that
// there is no such view. (xc_altp2m_destroy_view)
func (d Domain) DestroyView(v View) error { return d.x.hv.DestroyView(d.id, v) }

// SwitchView puts all vCPUs into v. A vCPU with a fast single-step in flight
// leaves v again when the step is done: answer all events without fast step,
// or use [Domain.SetSingleStep] off, first. (xc_altp2m_switch_to_view)
func (d Domain) SwitchView(v View) error { return d.x.hv.SwitchView(d.id, v) }

// VCPUView returns the view a vCPU is in. (xc_altp2m_get_vcpu_p2m_idx)
func (d Domain) VCPUView(vcpu int) (View, error) { return d.x.hv.VCPUView(d.id, vcpu) }

// SetViewAccess sets what the guest may do with a page in view v, and brings
// the page into the view. Frames without memory are skipped without an error.
// (xc_altp2m_set_mem_access)
func (d Domain) SetViewAccess(v View, gfn uint64, a Access) error {
	return d.x.hv.SetViewAccess(d.id, v, gfn, a)
}

// ViewAccess returns what the guest may do with a page in view v; the error is
// [ErrNoDomain] for a page the view does not hold yet.
// (xc_altp2m_get_mem_access)
func (d Domain) ViewAccess(v View, gfn uint64) (Access, error) {
	return d.x.hv.ViewAccess(d.id, v, gfn)
}

// ChangeGFN lets frame from show the memory of frame to in view v. to = NoGFN
// undoes it. (xc_altp2m_change_gfn)
func (d Domain) ChangeGFN(v View, from, to uint64) error {
	return d.x.hv.ChangeGFN(d.id, v, from, to)
}
