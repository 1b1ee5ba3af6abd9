// Package xenctrl is the monitor's driver on libxenctrl. Through cgo/xenctrl it gives a
// monitor.Session one guest. It also reads and writes guest memory for monitor/linux
// and scenarios/inject.
//
// The package compiles in a build without Xen. There is no *xenctrl.Xen to give to New
// there, except for tests (cgo/xenctrl/xentest).
package xenctrl

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	xc "hangbench/cgo/xenctrl"
	"hangbench/monitor/driver"
)

// Driver is one guest through libxenctrl. It implements driver.Driver.
type Driver struct {
	dom   xc.Domain
	vcpus int
	regs  xc.Registers // reused: reading registers allocates nothing
	mem   *memory
}

// New returns the driver of one domain. xen must stay open while the driver is used.
func New(xen *xc.Xen, domid int) (*Driver, error) {
	dom := xen.Domain(xc.DomID(domid))
	info, err := dom.Info()
	if err != nil {
		return nil, fmt.Errorf("look at domain %d: %w", domid, err)
	}
	if !info.HVM {
		return nil, fmt.Errorf("domain %d is a PV guest: only HVM and PVH guests have an EPT", domid)
	}
	mapFrames := func(gfns []uint64) (pages, error) {
		m, err := dom.Map(gfns, xc.ReadOnly)
		if err != nil {
			return nil, err // not a nil *Mapping in the interface
		}
		return m, nil
	}
	return &Driver{dom: dom, vcpus: info.MaxVCPU + 1, mem: newMemory(mapFrames, time.Now)}, nil
}

// Close unmaps the guest's memory. Xen cannot free the memory of a guest while it is
// mapped. The driver can be used again after Close.
func (d *Driver) Close() error { return d.mem.close() }

// Forget unmaps the guest's memory. The next reads map it again.
func (d *Driver) Forget() error { return d.mem.close() }

// Name returns "xenctrl".
func (d *Driver) Name() string { return "xenctrl" }

// VCPUs returns the number of vCPUs, online or not.
func (d *Driver) VCPUs() int { return d.vcpus }

func domainState(info *xc.DomainInfo) driver.DomainState {
	st := driver.DomainState{Paused: info.Paused, Dying: info.Dying}
	if info.Shutdown {
		st.Shutdown = info.ShutdownReason.String()
	}
	return st
}

// State fills vcpus with the states of the first len(vcpus) vCPUs and returns the state
// of the guest. For a guest with one vCPU it takes one call of Xen.
func (d *Driver) State(vcpus []driver.VCPUState) (driver.DomainState, error) {
	info, err := d.dom.Info()
	if err != nil {
		return driver.DomainState{Dying: errors.Is(err, xc.ErrNoDomain)}, err
	}
	if d.vcpus == 1 && len(vcpus) == 1 {
		vcpus[0] = onlyVCPU(&info)
		return domainState(&info), nil
	}
	for i := range vcpus {
		if vcpus[i], err = d.vcpu(i); err != nil {
			return domainState(&info), fmt.Errorf("vCPU %d: %w", i, err)
		}
	}
	return domainState(&info), nil
}

// onlyVCPU returns the state of the vCPU of a guest with one vCPU. Xen calls a guest
// blocked if all its online vCPUs are.
func onlyVCPU(info *xc.DomainInfo) driver.VCPUState {
	online := info.VCPUs == 1
	return driver.VCPUState{Online: online, Blocked: online &&
		info.Blocked, Running: info.Running, CPUTimeNS: info.CPUTimeNS}
}

// vcpu returns the scheduling state of a vCPU.
func (d *Driver) vcpu(i int) (driver.VCPUState, error) {
	v, err := d.dom.VCPU(i)
	if err != nil {
		return driver.VCPUState{}, err
	}
	return driver.VCPUState{Online: v.Online, Blocked: v.Blocked, Running: v.Running, CPUTimeNS: v.CPUTimeNS}, nil
}

// Registers reads the registers of a vCPU.
func (d *Driver) Registers(i int, r *driver.Registers) error {
	if err := d.dom.Registers(i, &d.regs); err != nil {
		return err
	}
	x := &d.regs
	*r = driver.Registers{RIP: x.RIP, RSP: x.RSP, RFLAGS: x.RFLAGS, CR3: x.CR3, CR4: x.CR4,
		LSTAR: x.LSTAR, IDTBase: x.IDTBase, GSBase: x.GSBase, UserMode: x.CPL() == 3,
		General: [15]uint64{x.RAX, x.RBX, x.RCX, x.RDX, x.RSI, x.RDI, x.RBP, x.R8, x.R9, x.R10, x.R11, x.R12, x.R13, x.R14,
			x.R15}}
	return nil
}

// Pause stops the guest.
func (d *Driver) Pause() error { return d.dom.Pause() }

// Unpause undoes one Pause.
func (d *Driver) Unpause() error { return d.dom.Unpause() }

// ReadPhysical copies guest memory at the guest-physical address gpa into b. If the page
// was read in the last minute it makes no system call. Any goroutine may call it.
func (d *Driver) ReadPhysical(gpa uint64, b []byte) error { return d.mem.read(gpa, b) }

// WritePhysical copies b into guest memory at the guest-physical address gpa. A write of
// one byte is atomic for the guest. If a page of it cannot be mapped, nothing is
// written. The limit is 4 MiB.
func (d *Driver) WritePhysical(gpa uint64, b []byte) error {
	n := len(b)
	if n == 0 {
		return nil
	}
	first, last := gpa/xc.PageSize, (gpa+uint64(n)-1)/xc.PageSize
	if last < first || last-first > 1<<10 {
		return fmt.Errorf("write %d bytes of guest memory at %#x: too much at once", n, gpa)
	}
	gfns := make([]uint64, 0, last-first+1)
	for g := first; g <= last; g++ {
		gfns = append(gfns, g)
	}
	m, err := d.dom.Map(gfns, xc.ReadWrite)
	if err != nil {
		return fmt.Errorf("map guest memory at %#x: %w", gpa, err)
	}
	defer m.Close()
	mem := m.Bytes()
	if mem == nil {
		for i := range gfns {
			if err := m.Err(i); err != nil {
				return fmt.Errorf("map guest frame %#x: %w", gfns[i], err)
			}
		}
		return fmt.Errorf("map guest memory at %#x: no memory there", gpa)
	}
	off := gpa % xc.PageSize
	copy(mem[off:off+uint64(n)], b)
	return nil
}

// Listen opens the guest's event ring.
func (d *Driver) Listen() (driver.Ring, error) {
	m, err := d.dom.EnableMonitor()
	if err != nil {
		return nil, err
	}
	return &ring{m: m, dom: d.dom, mem: d.mem}, nil
}

// ring implements driver.Ring.
type ring struct {
	m    *xc.Monitor
	dom  xc.Domain
	mem  *memory
	ev   xc.Event
	resp xc.Response
}

func (r *ring) Wait(d time.Duration) error {
	_, err := r.m.Wait(d)
	return err
}

func (r *ring) Wake() { r.m.Interrupt() }

func (r *ring) Next(ev *driver.Event) (bool, error) {
	if !r.m.Next(&r.ev) {
		return false, r.m.Err()
	}
	*ev = driver.Event{VCPU: r.ev.VCPU, GFN: r.ev.GFN, Offset: r.ev.Offset, RIP: r.ev.Regs.RIP, RSP: r.ev.Regs.RSP,
		RFLAGS: r.ev.Regs.RFLAGS, CR3: r.ev.Regs.CR3}
	if r.ev.Flags&xc.FlagAlternateP2M != 0 {
		ev.View = driver.View(r.ev.View)
	}
	switch r.ev.Reason {
	case xc.ReasonMemAccess:
		ev.Kind = driver.EventAccess
		ev.Write, ev.Execute = r.ev.Access&xc.TouchedW != 0, r.ev.Access&xc.TouchedX != 0
	case xc.ReasonSingleStep:
		ev.Kind = driver.EventStep
	case xc.ReasonSoftwareBreakpoint:
		ev.Kind = driver.EventBreakpoint
	case xc.ReasonEmulUnimplemented:
		ev.Kind = driver.EventUnemulated
	case xc.ReasonWriteCtrlReg:
		if r.ev.CtrlReg == xc.CR3 {
			ev.Kind, ev.CR3 = driver.EventCR3, r.ev.NewValue
		}
	}
	return true, nil
}

func (r *ring) Respond(resp *driver.Response) error {
	r.resp = r.ev.Response()
	if resp.ToggleStep {
		r.resp.Flags |= xc.FlagToggleSingleStep
	}
	if resp.SwitchView {
		r.resp.Flags |= xc.FlagAlternateP2M
		r.resp.View = xc.View(resp.View)
	}
	if resp.FastStep {
		r.resp.Flags |= xc.FlagFastSingleStep
		r.resp.StepView = xc.View(resp.StepView)
	}
	if resp.Emulate {
		r.resp.Flags |= xc.FlagEmulate
	}
	if resp.Reinject {
		if err := r.dom.InjectBreakpoint(r.ev.VCPU, uint8(min(r.ev.InsnLen, 15))); err != nil {
			return fmt.Errorf("give the guest its own breakpoint: %w", err)
		}
	}
	return r.m.Respond(&r.resp)
}

func (r *ring) Flush() error { return r.m.Notify() }

func (r *ring) Full() uint64 { return r.m.Stats().Full }

// Access returns Xen's value of a permission.
func Access(a driver.Access) xc.Access { return toXen[a] }

// toXen is indexed by driver.Access.
var toXen = [...]xc.Access{
	driver.AccessRWX: xc.AccessRWX, driver.AccessRW: xc.AccessRW, driver.AccessRX: xc.AccessRX, driver.AccessX: xc.AccessX,
}

func (r *ring) SetAccess(v driver.View, gfn uint64, a driver.Access) error {
	if v == driver.HostView {
		return r.dom.SetMemAccess(gfn, 1, toXen[a])
	}
	return r.dom.SetViewAccess(xc.View(v), gfn, toXen[a])
}

func (r *ring) Access(v driver.View, gfn uint64) (driver.Access, error) {
	return ReadAccess(r.dom, v, gfn)
}

// ReadAccess returns what the guest may do with a frame in a view. A permission that
// driver.Access does not have is an error.
func ReadAccess(dom xc.Domain, v driver.View, gfn uint64) (driver.Access, error) {
	var a xc.Access
	var err error
	if v == driver.HostView {
		a, err = dom.MemAccess(gfn)
	} else {
		a, err = dom.ViewAccess(xc.View(v), gfn)
	}
	if err != nil {
		return 0, err
	}
	for ours, theirs := range toXen {
		if a == theirs {
			return driver.Access(ours), nil
		}
	}
	return 0, fmt.Errorf("guest frame %#x has the permission %v, which no monitor of this program sets", gfn, a)
}

// enabled returns err, or nil if the source of events was to be turned off and is off
// already (EEXIST of monitor_domctl). A monitor that could not arm its whole trap turns
// off more sources than it has turned on.
func enabled(on bool, err error) error {
	if !on && errors.Is(err, syscall.EEXIST) {
		return nil
	}
	return err
}

func (r *ring) EnableStep(on bool) error        { return enabled(on, r.m.SingleStep(on)) }
func (r *ring) StopStep(vcpu int) error         { return r.dom.SetSingleStep(vcpu, false) }
func (r *ring) EnableUnemulated(on bool) error  { return enabled(on, r.m.EmulUnimplemented(on)) }
func (r *ring) EnableBreakpoints(on bool) error { return enabled(on, r.m.SoftwareBreakpoint(on)) }

func (r *ring) EnableCR3(on bool, ignore uint64) error {
	// Synchronous, because a vCPU that does not wait for answers can fill the ring.
	return enabled(on, r.m.WriteCtrlReg(xc.CR3, on, xc.CtrlRegOptions{Sync: true, OnChange: true, Ignore: ignore}))
}

func (r *ring) EnableViews(on bool) error       { return r.dom.SetAltp2m(on) }
func (r *ring) DestroyView(v driver.View) error { return r.dom.DestroyView(xc.View(v)) }
func (r *ring) SwitchAll(v driver.View) error   { return r.dom.SwitchView(xc.View(v)) }

func (r *ring) CreateView() (driver.View, error) {
	v, err := r.dom.CreateView(xc.AccessRWX)
	return driver.View(v), err
}

func (r *ring) CurrentView(vcpu int) (driver.View, error) {
	v, err := r.dom.VCPUView(vcpu)
	return driver.View(v), err
}

// AddFrame also drops the frame's chunk, in which the frame is not mapped.
func (r *ring) AddFrame(gfn uint64) error {
	return errors.Join(r.dom.AddFrame(gfn), r.mem.forget(gfn))
}

func (r *ring) SpareFrame() (uint64, error) { return r.dom.SpareFrame() }

// RemoveFrame also unmaps the frame: Xen keeps a frame while it is mapped.
func (r *ring) RemoveFrame(gfn uint64) error {
	return errors.Join(r.mem.forget(gfn), r.dom.RemoveFrame(gfn))
}

func (r *ring) Remap(v driver.View, from, to uint64) error {
	return r.dom.ChangeGFN(xc.View(v), from, to)
}

func (r *ring) Close() error { return r.m.Disable() }
