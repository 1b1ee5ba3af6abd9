package xenctrl

import "time"

// hypervisor is the set of calls the package is made of. bindings.go has it on
// the libraries, tests have it in memory.
type hypervisor interface {
	close() error
	version() (Version, error)
	cpus() (n, maskBytes int, err error)

	domains(first DomID, buf []DomainInfo) (int, error)
	domain(DomID) (DomainInfo, error)
	maxGFN(DomID) (uint64, error)
	pause(DomID) error
	unpause(DomID) error
	accessRequired(DomID, bool) error
	vcpu(d DomID, vcpu int) (VCPUInfo, error)
	registers(d DomID, vcpu int, r *Registers) error
	setAffinity(d DomID, vcpu int, mask []byte) error
	singleStep(d DomID, vcpu int, on bool) error
	injectBreakpoint(d DomID, vcpu int, insnLen uint8) error

	mapForeign(d DomID, p Prot, gfns []uint64, errs []int32) ([]byte, error)
	unmap([]byte) error
	setMaxMem(d DomID, kib uint64) error
	populate(d DomID, gfn uint64) error
	depopulate(d DomID, gfn uint64) error

	setAccess(d DomID, gfn uint64, n uint32, a Access) error
	setAccessMulti(d DomID, gfns []uint64, access []Access) error
	access(d DomID, gfn uint64) (Access, error)

	monitorEnable(DomID) (page []byte, port uint32, err error)
	monitorDisable(DomID) error
	monitorResume(DomID) error
	monitorCapabilities(DomID) (MonitorCapabilities, error)
	monitorWriteCtrlReg(d DomID, r CtrlReg, on, sync bool, ignore uint64, onChange bool) error
	monitorSwitch(d DomID, s monitorSwitch, on, opt bool) error
	openChannel(d DomID, port uint32, page []byte) (channel, error)

	altp2mState(DomID) (bool, error)
	setAltp2mState(DomID, bool) error
	createView(DomID, Access) (View, error)
	destroyView(DomID, View) error
	switchView(DomID, View) error
	setViewAccess(d DomID, v View, gfn uint64, a Access) error
	setViewAccessMulti(d DomID, v View, gfns []uint64, access []Access) error
	viewAccess(d DomID, v View, gfn uint64) (Access, error)
	changeGFN(d DomID, v View, from, to uint64) error
	setSuppressVE(d DomID, v View, gfn uint64, on bool) error
	vcpuView(d DomID, vcpu int) (View, error)

	traceSetMasks(events uint32, cpus []byte) error
	traceEnable(pages uint) (mfn, size uint64, err error)
	traceDisable() error
}

// monitorSwitch names an event source that is only on or off, with at most one
// option.
type monitorSwitch int

const (
	switchSingleStep monitorSwitch = iota
	switchBreakpoint
	switchGuestRequest   // opt: sync
	switchDebugException // opt: sync
	switchCPUID
	switchNoPagefault // on: no events for page-table walks, they are emulated
	switchEmulUnimplemented
	switchEmulateEachRep
)

// Wake says why [Monitor.Wait] returned.
type Wake int

// Bits of Wake. None of them: the time is over, or there was a signal.
const (
	WakeEvents    Wake = 1 << 0 // there are requests in the ring
	WakeInterrupt Wake = 1 << 1 // Interrupt was called
)

// channel is the event channel of a ring.
type channel interface {
	// wait notifies Xen if asked to, then sleeps until the ring's request
	// counter differs from reqCons, interrupt is called or the time is over.
	// A negative timeout means for ever.
	wait(reqCons uint32, notify bool, timeout time.Duration) (w Wake, slept bool, err error)
	notify() error
	interrupt() error
	close() error
}

// storeConn is a connection to xenstore.
type storeConn interface {
	read(path string) ([]byte, error)
	write(path string, value []byte) error
	directory(path string) ([]string, error)
	remove(path string) error
	watch(path, token string) error
	unwatch(path, token string) error
	nextWatch(timeout time.Duration) (path, token string, ok bool, err error)
	close()
}
