package xenctrl

// SetAltp2m switches alternate views on or off. The guest must have been created
// with altp2m="external" (EINVAL otherwise) on a Xen started with altp2m=1
// ([ErrUnsupported] otherwise).
//
// While they are on, every vCPU runs in a view. View 0 too has a table of its own.
// Xen fills a view page by page from the host's table. Each page costs one EPT
// violation, of which the monitor gets no event. Off puts all vCPUs back on the
// host's table and destroys all views. (xc_altp2m_set_domain_state)
func (d Domain) SetAltp2m(on bool) error { return d.x.hv.SetAltp2m(d.id, on) }

// CreateView makes an empty view. At its first access a page is copied into the view
// with the permission def, before Xen 4.19 with that of the host view
// ([Facts.CopiesHostAccess]). SetViewAccess gives a page its permission on every
// release. A guest has ten views at most, view 0 included, from Xen 4.21 on as many as
// its configuration says (altp2m_count, by default ten). EINVAL says that they are used
// up. (xc_altp2m_create_view)
func (d Domain) CreateView(def Access) (View, error) { return d.x.hv.CreateView(d.id, def) }

// DestroyView removes a view. [ErrBusy] says that a vCPU is in the view, or that the
// view does not exist. (xc_altp2m_destroy_view)
func (d Domain) DestroyView(v View) error { return d.x.hv.DestroyView(d.id, v) }

// SwitchView puts all vCPUs into v. A fast single step that is not yet done moves its
// vCPU to another view afterwards; to prevent that, end the steps with
// [Domain.SetSingleStep] before. (xc_altp2m_switch_to_view)
func (d Domain) SwitchView(v View) error { return d.x.hv.SwitchView(d.id, v) }

// VCPUView returns the view of a vCPU. (xc_altp2m_get_vcpu_p2m_idx)
func (d Domain) VCPUView(vcpu int) (View, error) { return d.x.hv.VCPUView(d.id, vcpu) }

// SetViewAccess sets what the guest may do with a page in view v, and copies the page
// into the view. It does nothing, without an error, if the frame has no memory.
// (xc_altp2m_set_mem_access)
func (d Domain) SetViewAccess(v View, gfn uint64, a Access) error {
	return d.x.hv.SetViewAccess(d.id, v, gfn, a)
}

// ViewAccess returns what the guest may do with a page in view v. The error is
// [ErrNoDomain] if the view does not hold the page yet. (xc_altp2m_get_mem_access)
func (d Domain) ViewAccess(v View, gfn uint64) (Access, error) {
	return d.x.hv.ViewAccess(d.id, v, gfn)
}

// ChangeGFN makes frame from show the memory of frame to in view v. NoGFN as to
// undoes it. (xc_altp2m_change_gfn)
func (d Domain) ChangeGFN(v View, from, to uint64) error {
	return d.x.hv.ChangeGFN(d.id, v, from, to)
}
