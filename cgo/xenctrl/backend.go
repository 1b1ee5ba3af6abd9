package xenctrl

import "time"

// Hypervisor has the calls of Xen that the package makes. [Open] returns a [Xen] on
// Xen's libraries, [New] one on any Hypervisor. Package xentest has a Hypervisor in
// memory, for tests.
//
// Each method is one call of the library function that its comment names. The errors
// are of type *[Error] and name that function. The errno of a domain that does not exist
// is ESRCH everywhere.
type Hypervisor interface {
	// Close closes the handle. (xc_interface_close, xenforeignmemory_close)
	Close() error
	// Version is xc_version.
	Version() (Version, error)
	// CPUs returns one more than the highest number of a physical CPU, and the
	// length of a bitmap of them in bytes. (xc_physinfo, xc_get_cpumap_size)
	CPUs() (n, maskBytes int, err error)

	// Domains fills buf with the domains from first on, in the order of their
	// ids, and returns how many there were. (xc_domain_getinfolist)
	Domains(first DomID, buf []DomainInfo) (int, error)
	// Domain is xc_domain_getinfo_single.
	Domain(DomID) (DomainInfo, error)
	// MaxGFN is xc_domain_maximum_gpfn.
	MaxGFN(DomID) (uint64, error)
	// Pause is xc_domain_pause.
	Pause(DomID) error
	// Unpause is xc_domain_unpause. EINVAL: the domain is not paused.
	Unpause(DomID) error
	// SetAccessRequired sets whether a violation without a monitor crashes the
	// domain. (xc_domain_set_access_required)
	SetAccessRequired(DomID, bool) error
	// VCPU is xc_vcpu_getinfo. EINVAL: there is no such vCPU.
	VCPU(d DomID, vcpu int) (VCPUInfo, error)
	// Registers is xc_domain_hvm_getcontext_partial of HVM_SAVE_CODE(CPU).
	// ENOENT: there is no such vCPU. ENODATA: it is down.
	Registers(d DomID, vcpu int, r *Registers) error
	// SetSingleStep is xc_domain_debug_control with
	// XEN_DOMCTL_DEBUG_OP_SINGLE_STEP_ON or _OFF. EINVAL: there is no such vCPU.
	SetSingleStep(d DomID, vcpu int, on bool) error
	// InjectBreakpoint is xc_hvm_inject_trap of vector 3.
	InjectBreakpoint(d DomID, vcpu int, insnLen uint8) error

	// MapForeign maps frames one after the other into one slice. It sets errs[i]
	// to the errno of frame i, or to 0. (xenforeignmemory_map)
	MapForeign(d DomID, p Prot, gfns []uint64, errs []int32) ([]byte, error)
	// Unmap unmaps a slice that MapForeign or EnableMonitor returned.
	// (xenforeignmemory_unmap)
	Unmap([]byte) error
	// SetMaxMem limits the domain's memory, in KiB. (xc_domain_setmaxmem)
	SetMaxMem(d DomID, kib uint64) error
	// Populate is xc_domain_populate_physmap_exact of one frame. EBUSY: Xen gave
	// no memory, for instance because of the domain's limit.
	Populate(d DomID, gfn uint64) error
	// Depopulate is xc_domain_decrease_reservation_exact of one frame. EBUSY: the
	// domain has no memory there.
	Depopulate(d DomID, gfn uint64) error

	// SetAccess is xc_set_mem_access. ENODEV: no monitor is enabled. EINVAL: a
	// frame has no memory.
	SetAccess(d DomID, gfn uint64, n uint32, a Access) error
	// Access is xc_get_mem_access. ENODEV: no monitor is enabled. ESRCH: the frame
	// has no memory.
	Access(d DomID, gfn uint64) (Access, error)

	// EnableMonitor is xc_monitor_enable: it returns the page of the event ring and
	// the domain's event channel for it. EBUSY: a monitor is enabled.
	EnableMonitor(DomID) (page []byte, port uint32, err error)
	// DisableMonitor is xc_monitor_disable. EINVAL: no monitor is enabled. EBUSY:
	// vCPUs wait for a slot of the ring.
	DisableMonitor(DomID) error
	// ResumeMonitor has Xen take the responses of the ring. (xc_monitor_resume)
	ResumeMonitor(DomID) error
	// MonitorCtrlReg is xc_monitor_write_ctrlreg. EEXIST: it is on, or off, already.
	MonitorCtrlReg(d DomID, r CtrlReg, on, sync bool, ignore uint64, onChange bool) error
	// MonitorToggle switches one source of events. EEXIST: it is on, or off,
	// already. The functions are those of [EventSource].
	MonitorToggle(d DomID, s EventSource, on bool) error
	// OpenChannel binds the event channel port, which belongs to the ring in page.
	// (xenevtchn_bind_interdomain)
	OpenChannel(d DomID, port uint32, page []byte) (EventChannel, error)

	// Altp2m is xc_altp2m_get_domain_state.
	Altp2m(DomID) (bool, error)
	// SetAltp2m is xc_altp2m_set_domain_state.
	SetAltp2m(DomID, bool) error
	// CreateView is xc_altp2m_create_view. EINVAL: there are ten views already.
	CreateView(DomID, Access) (View, error)
	// DestroyView is xc_altp2m_destroy_view. EBUSY: a vCPU is in the view, or there
	// is no such view.
	DestroyView(DomID, View) error
	// SwitchView is xc_altp2m_switch_to_view.
	SwitchView(DomID, View) error
	// SetViewAccess is xc_altp2m_set_mem_access.
	SetViewAccess(d DomID, v View, gfn uint64, a Access) error
	// ViewAccess is xc_altp2m_get_mem_access. ESRCH: the view does not hold the page.
	ViewAccess(d DomID, v View, gfn uint64) (Access, error)
	// ChangeGFN is xc_altp2m_change_gfn.
	ChangeGFN(d DomID, v View, from, to uint64) error
	// VCPUView is xc_altp2m_get_vcpu_p2m_idx.
	VCPUView(d DomID, vcpu int) (View, error)

	// SetTraceMasks is xc_tbuf_set_cpu_mask and xc_tbuf_set_evt_mask. cpus is a
	// bitmap of as many bytes as CPUs says.
	SetTraceMasks(events uint32, cpus []byte) error
	// EnableTrace is xc_tbuf_enable: it returns the first machine frame of struct
	// t_info and its size in bytes. The frames belong to DOMID_XEN.
	EnableTrace(pages uint) (mfn, size uint64, err error)
	// DisableTrace is xc_tbuf_disable.
	DisableTrace() error
}

// EventSource is a source of events that is only on or off.
type EventSource int

// Sources of events for [Hypervisor.MonitorToggle].
const (
	SourceSingleStep        EventSource = iota // xc_monitor_singlestep
	SourceBreakpoint                           // xc_monitor_software_breakpoint
	SourceEmulUnimplemented                    // xc_monitor_emul_unimplemented
)

// Wake says why [Monitor.Wait] returned.
type Wake int

// Bits of Wake. None of them: the time is over, or there was a signal.
const (
	WakeEvents    Wake = 1 << 0 // there are requests in the ring
	WakeInterrupt Wake = 1 << 1 // Interrupt was called
)

// EventChannel is the event channel of a ring.
type EventChannel interface {
	// Wait notifies Xen if notify is set. Then it sleeps until the ring's request
	// counter differs from reqCons, Interrupt is called or the time is over. A
	// negative timeout means for ever. slept reports whether it had to sleep.
	Wait(reqCons uint32, notify bool, timeout time.Duration) (w Wake, slept bool, err error)
	// Notify has Xen take the responses. (xenevtchn_notify)
	Notify() error
	// Interrupt ends the current or next Wait. Any goroutine may call it.
	Interrupt() error
	// Close unbinds the channel. (xenevtchn_unbind)
	Close() error
}

// StoreConn is a connection to xenstore. [NewStore] makes a [Store] of it. Its
// errors are of type *[Error]; ENOENT is a node that does not exist.
type StoreConn interface {
	Read(path string) ([]byte, error)        // xs_read
	Write(path string, value []byte) error   // xs_write
	Directory(path string) ([]string, error) // xs_directory
	Remove(path string) error                // xs_rm
	Close()                                  // xs_close
}
