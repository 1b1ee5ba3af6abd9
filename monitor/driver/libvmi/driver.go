package libvmi

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	vmi "hangbench/cgo/libvmi"
	xc "hangbench/cgo/xenctrl"
	"hangbench/monitor/driver"
	xcdriver "hangbench/monitor/driver/xenctrl"
)

// guest has the methods of *vmi.VMI that the driver uses.
type guest interface {
	Close() error
	Pause() error
	Resume() error
	Registers(vcpu int, r *vmi.Registers) error
	ReadPhysical(pa uint64, b []byte) error
	WritePhysical(pa uint64, b []byte) error
	FlushPages()
	SpareFrame() (uint64, error)
	AddFrame(gfn uint64) error
	RemoveFrame(gfn uint64) error
}

// Driver is one guest through LibVMI. It implements driver.Driver.
type Driver struct {
	open  func(events bool) (*vmi.VMI, error)
	limit func() error // resets the guest's limit of memory to what it was
	state *xcdriver.Driver
	dom   xc.Domain
	now   func() time.Time

	mu      sync.Mutex
	mem     guest
	reads   int
	flushed time.Time
	regs    vmi.Registers // reused
}

// New opens a domain. xen must stay open while the driver is used.
func New(xen *xc.Xen, domid int) (*Driver, error) {
	state, err := xcdriver.New(xen, domid)
	if err != nil {
		return nil, err
	}
	dom := xen.Domain(xc.DomID(domid))
	info, err := dom.Info()
	if err != nil {
		return nil, fmt.Errorf("look at domain %d: %w", domid, err)
	}
	// vmi_init removes the guest's limit of memory, and vmi_destroy sets another one.
	// Reset it right after each, so that a killed monitor leaves the guest its limit.
	limit := func() error { return dom.SetMaxPages(info.MaxPages) }
	open := func(events bool) (*vmi.VMI, error) {
		v, err := vmi.Open(vmi.ByID(uint64(domid)), vmi.Config{Events: events})
		if lerr := limit(); lerr != nil {
			err = errors.Join(err, lerr)
			if v != nil {
				err = errors.Join(err, v.Close(), limit())
			}
			return nil, err
		}
		return v, err
	}
	mem, err := open(false)
	if err != nil {
		return nil, err
	}
	return &Driver{open: open, limit: limit, state: state, dom: dom, now: time.Now, mem: mem, flushed: time.Now()}, nil
}

// Close unmaps the guest's memory. The ring must be closed before.
func (d *Driver) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return errors.Join(d.mem.Close(), d.limit(), d.state.Close())
}

// Forget unmaps the guest's memory. The next reads map it again.
func (d *Driver) Forget() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flush(d.now())
	return nil
}

// Name returns "libvmi".
func (d *Driver) Name() string { return "libvmi" }

// VCPUs returns the number of vCPUs, online or not.
func (d *Driver) VCPUs() int { return d.state.VCPUs() }

// State asks libxenctrl: LibVMI has neither the reason of a shutdown nor the scheduling
// state of a vCPU.
func (d *Driver) State(vcpus []driver.VCPUState) (driver.DomainState, error) {
	return d.state.State(vcpus)
}

// Registers reads the registers of a vCPU.
func (d *Driver) Registers(i int, r *driver.Registers) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.mem.Registers(i, &d.regs); err != nil {
		return err
	}
	x := &d.regs
	*r = driver.Registers{RIP: x.RIP, RSP: x.RSP, RFLAGS: x.RFLAGS, CR3: x.CR3, CR4: x.CR4,
		LSTAR: x.LSTAR, IDTBase: x.IDTBase, GSBase: x.GSBase, UserMode: x.CPL == 3,
		General: [15]uint64{x.RAX, x.RBX, x.RCX, x.RDX, x.RSI, x.RDI, x.RBP, x.R8, x.R9, x.R10, x.R11, x.R12, x.R13, x.R14,
			x.R15}}
	return nil
}

// Pause stops the guest.
func (d *Driver) Pause() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mem.Pause()
}

// Unpause undoes one Pause.
func (d *Driver) Unpause() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mem.Resume()
}

const (
	// maxAge is the longest time for which pages stay mapped, as long as there are reads.
	// If the guest gives a frame back, Xen keeps the frame while it is mapped, and LibVMI
	// never checks whether a mapped frame is still the guest's.
	maxAge = 30 * time.Second
	// ageReads is the number of reads between two checks of the age.
	ageReads = 256
)

// ReadPhysical copies guest memory at the guest-physical address gpa into b. Any
// goroutine may call it.
func (d *Driver) ReadPhysical(gpa uint64, b []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.reads++; d.reads >= ageReads {
		d.reads = 0
		if now := d.now(); now.Sub(d.flushed) > maxAge {
			d.flush(now)
		}
	}
	err := d.mem.ReadPhysical(gpa, b)
	if err == nil {
		return nil
	}
	// LibVMI also remembers that a page could not be mapped.
	d.flush(d.now())
	return d.mem.ReadPhysical(gpa, b)
}

func (d *Driver) flush(now time.Time) {
	d.mem.FlushPages()
	d.flushed = now
}

// WritePhysical copies b into guest memory at the guest-physical address gpa.
func (d *Driver) WritePhysical(gpa uint64, b []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mem.WritePhysical(gpa, b)
}

// maxWait is the longest wait at once: nothing can end a wait of LibVMI early.
const maxWait = 50 * time.Millisecond

// Listen opens the guest's event ring.
func (d *Driver) Listen() (driver.Ring, error) {
	v, err := d.open(true)
	if err != nil {
		return nil, errors.Join(err, d.busy())
	}
	r := &ring{d: d, v: v}
	if _, err := v.Register(vmi.GenericMemoryEvent(vmi.TrapAll), r.event); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// busy returns xenctrl.ErrBusy if another monitor has the guest's ring. LibVMI reports
// that as any other failure.
func (d *Driver) busy() error {
	m, err := d.dom.EnableMonitor()
	if err == nil {
		return m.Disable()
	}
	if errors.Is(err, xc.ErrBusy) {
		return err
	}
	return nil
}

// ring implements driver.Ring and driver.Server. The monitor turns sources of events
// off, but the handlers stay until Close: LibVMI leaves a vCPU waiting for ever if its
// event has no handler, and the monitor answers open events last.
type ring struct {
	d *Driver
	v *vmi.VMI

	woken atomic.Bool

	steps, breakpoints, unemulated, cr3 *vmi.Registration

	handle func(*driver.Event, *driver.Response) error
	events int
	err    error
	ev     driver.Event
	resp   driver.Response
	panic  any
}

// Wake makes Serve return within maxWait.
func (r *ring) Wake() { r.woken.Store(true) }

// Serve waits for events for up to d, rounded up to milliseconds, and calls handle for
// each.
func (r *ring) Serve(d time.Duration, handle func(*driver.Event, *driver.Response) error) (int, error) {
	if r.woken.Swap(false) {
		d = 0
	}
	r.handle, r.events, r.err, r.panic = handle, 0, nil, nil
	err := r.v.Listen(min(d, maxWait))
	r.handle = nil
	if r.panic != nil {
		// Panic again here: the panic must not unwind through C.
		panic(r.panic)
	}
	return r.events, errors.Join(r.err, err)
}

// event is the handler of all events.
func (r *ring) event(e *vmi.Event) (out vmi.Response) {
	if r.handle == nil || r.err != nil || r.panic != nil {
		return out
	}
	defer func() {
		if p := recover(); p != nil {
			r.panic, out = p, vmi.Response{}
		}
	}()
	r.events++
	fromVMI(e, &r.ev)
	r.resp = driver.Response{}
	if r.err = r.handle(&r.ev, &r.resp); r.err != nil {
		return out
	}
	return toVMI(&r.resp)
}

func fromVMI(e *vmi.Event, ev *driver.Event) {
	*ev = driver.Event{VCPU: e.VCPU, View: driver.View(e.View), GFN: e.GFN, Offset: e.Offset,
		RIP: e.RIP, RSP: e.RSP, RFLAGS: e.RFLAGS, CR3: e.CR3}
	switch e.Kind {
	case vmi.KindMemory:
		ev.Kind = driver.EventAccess
		ev.Write, ev.Execute = e.Access&vmi.TrapWrite != 0, e.Access&vmi.TrapExec != 0
	case vmi.KindSingleStep:
		ev.Kind = driver.EventStep
	case vmi.KindBreakpoint:
		ev.Kind = driver.EventBreakpoint
	case vmi.KindFailedEmulation:
		ev.Kind = driver.EventUnemulated
	case vmi.KindRegister:
		if e.Reg == vmi.CR3 {
			ev.Kind, ev.CR3 = driver.EventCR3, e.Value
		}
	}
}

func toVMI(r *driver.Response) vmi.Response {
	return vmi.Response{
		ToggleStep: r.ToggleStep, SetView: r.SwitchView, View: vmi.View(r.View),
		FastStep: r.FastStep, NextView: vmi.View(r.StepView), Emulate: r.Emulate, Reinject: r.Reinject,
	}
}

// Full returns 0: LibVMI does not tell.
func (r *ring) Full() uint64 { return 0 }

// traps has LibVMI's traps for each driver.Access.
var traps = [...]vmi.Trap{driver.AccessRWX: vmi.TrapNone, driver.AccessRW: vmi.TrapExec,
	driver.AccessRX: vmi.TrapWrite, driver.AccessX: vmi.TrapRead | vmi.TrapWrite}

func (r *ring) SetAccess(v driver.View, gfn uint64, a driver.Access) error {
	return r.v.SetTrap(gfn, traps[a], vmi.View(v))
}

// Access asks libxenctrl: LibVMI does not tell.
func (r *ring) Access(v driver.View, gfn uint64) (driver.Access, error) {
	return xcdriver.ReadAccess(r.d.dom, v, gfn)
}

// enable makes a registration, unless it exists.
func (r *ring) enable(reg **vmi.Registration, on bool, s vmi.Spec) error {
	if !on || *reg != nil {
		return nil
	}
	x, err := r.v.Register(s, r.event)
	*reg = x
	return err
}

func (r *ring) EnableStep(on bool) error {
	return r.enable(&r.steps, on, vmi.SingleStepEvent(uint32(uint64(1)<<min(r.d.VCPUs(), 32)-1)))
}

// StopStep does nothing if EnableStep was never called.
func (r *ring) StopStep(vcpu int) error {
	if r.steps == nil {
		return nil
	}
	return r.steps.StopStep(vcpu)
}

func (r *ring) EnableUnemulated(on bool) error {
	return r.enable(&r.unemulated, on, vmi.FailedEmulationEvent())
}

// Until Close a breakpoint of the guest's own is reported, and given back by the
// mechanism.
func (r *ring) EnableBreakpoints(on bool) error {
	return r.enable(&r.breakpoints, on, vmi.BreakpointEvent())
}

func (r *ring) EnableCR3(on bool, ignore uint64) error {
	if on == (r.cr3 != nil) {
		return nil
	}
	if on {
		s := vmi.RegisterEvent(vmi.CR3)
		s.Ignore = ignore
		x, err := r.v.Register(s, r.event)
		r.cr3 = x
		return err
	}
	x := r.cr3
	r.cr3 = nil
	if r.handle != nil { // LibVMI clears it when the ring is empty
		return x.Clear()
	}
	if err := r.d.Pause(); err != nil {
		return err
	}
	err := r.v.Settle()
	if err == nil {
		err = x.Clear()
	}
	return errors.Join(err, r.d.Unpause())
}

func (r *ring) EnableViews(on bool) error       { return r.v.EnableViews(on) }
func (r *ring) DestroyView(v driver.View) error { return r.v.DestroyView(vmi.View(v)) }
func (r *ring) SwitchAll(v driver.View) error   { return r.v.SwitchView(vmi.View(v)) }

func (r *ring) CreateView() (driver.View, error) {
	v, err := r.v.CreateView()
	return driver.View(v), err
}

// CurrentView asks libxenctrl: LibVMI does not tell.
func (r *ring) CurrentView(vcpu int) (driver.View, error) {
	v, err := r.d.dom.VCPUView(vcpu)
	return driver.View(v), err
}

// The instance for memory adds and removes frames, because it reads and writes them.

func (r *ring) SpareFrame() (uint64, error) {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	return r.d.mem.SpareFrame()
}

func (r *ring) AddFrame(gfn uint64) error {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	if err := r.d.dom.MakeRoom(); err != nil {
		return err
	}
	return r.d.mem.AddFrame(gfn)
}

func (r *ring) RemoveFrame(gfn uint64) error {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	return r.d.mem.RemoveFrame(gfn)
}

func (r *ring) Remap(v driver.View, from, to uint64) error {
	if err := r.v.ChangeGFN(vmi.View(v), from, to); err != nil {
		return fmt.Errorf("show frame %#x as %#x: %w", to, from, err)
	}
	return nil
}

func (r *ring) Close() error { return errors.Join(r.v.Close(), r.d.limit()) }
