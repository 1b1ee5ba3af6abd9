package libvmi

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
	"time"
	"unsafe"
)

// instance is a vmi_instance_t. bindings.go implements it on LibVMI, tests in memory.
type instance interface {
	initOS(config string) error
	destroy() error
	vcpus() int
	pause() error
	resume() error
	registers(vcpu int, r *Registers) error

	readPhysical(pa uint64, b []byte) (int, error)
	writePhysical(pa uint64, b []byte) (int, error)
	read(a *Address, b []byte) (int, error)
	symbol(name string) (uint64, error)
	flushPages()

	nextGFN() (uint64, error)
	allocGFN(gfn uint64) error
	freeGFN(gfn uint64) error

	// register makes the C event of s. Its callback calls dispatch with h. The caller
	// frees the event with free.
	register(s *Spec, h handle) (unsafe.Pointer, error)
	// clear unregisters an event and calls cleared with its handle: at once or, within
	// a handler, before listen returns.
	clear(raw unsafe.Pointer) error
	free(raw unsafe.Pointer)
	stopStep(raw unsafe.Pointer, vcpu int) error
	setTrap(gfn uint64, t Trap, v View) error
	listen(ms uint32) error

	setSLAT(on bool) error
	createView() (View, error)
	destroyView(v View) error
	switchView(v View) error
	changeGFN(v View, from, to uint64) error
}

// VMI is a guest that is open (vmi_instance_t).
type VMI struct {
	lib    instance
	events bool
	closed bool
	sysmap *os.File // LibVMI reads symbols from it; it is in memory

	registered map[*Registration]struct{}
	trapped    map[uint64]struct{} // frames that SetTrap has restricted in view 0
	views      map[View]struct{}
	slat       bool // EnableViews has turned views on

	listening bool
	closing   bool // events are answered without their handlers
	panicked  *PanicError
	event     Event // reused, so that an event allocates nothing
	response  Response
	ignored   uint64 // writes of registers that Spec.Ignore left out
}

// Open opens a guest. The caller closes it. (vmi_init, vmi_init_paging and
// vmi_init_os. The function vmi_init_complete leaves the event ring open if it does
// not find the kernel.)
func Open(t Target, c Config) (*VMI, error) {
	if t.name != "" && !word.MatchString(t.name) && c.Linux != nil {
		return nil, fmt.Errorf("open %s: LibVMI's parser does not accept this name", t)
	}
	lib, err := openInstance(t, c.Events)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", t, err)
	}
	v, err := newVMI(lib, c)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", t, err)
	}
	return v, nil
}

// newVMI takes over lib: on error it destroys it.
func newVMI(lib instance, c Config) (*VMI, error) {
	v := &VMI{lib: lib, events: c.Events,
		registered: map[*Registration]struct{}{}, trapped: map[uint64]struct{}{}, views: map[View]struct{}{}}
	if c.Linux == nil {
		return v, nil
	}
	err := v.initLinux(c.Linux)
	if err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

func (v *VMI) initLinux(l *Linux) error {
	f, err := memoryFile("System.map")
	if err != nil {
		return fmt.Errorf("write the kernel's symbols: %w", err)
	}
	v.sysmap = f
	if err := l.writeSymbols(f); err != nil {
		return fmt.Errorf("write the kernel's symbols: %w", err)
	}
	return v.lib.initOS(l.text(fmt.Sprintf("/proc/self/fd/%d", f.Fd())))
}

// Close releases the guest. It ends steps, removes traps, puts all vCPUs in view 0,
// destroys the other views, clears the events and answers those that are open. An
// error of one of these does not stop the others. The caller undoes its own pauses.
// (vmi_clear_event, vmi_slat_switch, vmi_slat_destroy, vmi_slat_control, vmi_destroy)
func (v *VMI) Close() error {
	if v.closed {
		return nil
	}
	if v.listening {
		return ErrNested
	}
	v.closed, v.closing = true, true
	var errs []error
	if v.events {
		errs = append(errs, v.release())
	}
	errs = append(errs, v.lib.destroy())
	// LibVMI does not use the events any more.
	for r := range v.registered {
		r.end()
	}
	if v.sysmap != nil {
		errs = append(errs, v.sysmap.Close())
	}
	return errors.Join(errs...)
}

// release undoes everything that was done to the guest. The order matters: first the
// sources of events, then the open events, which LibVMI can answer only while they
// have handlers, and last the handlers.
func (v *VMI) release() error {
	perr := v.lib.pause()
	errs := []error{perr}
	for gfn := range v.trapped {
		errs = append(errs, v.lib.setTrap(gfn, TrapNone, 0))
	}
	for r := range v.registered {
		if r.spec.Kind == KindSingleStep {
			errs = append(errs, v.stopSteps(r))
		}
	}
	if v.slat {
		errs = append(errs, v.lib.switchView(0))
	}
	errs = append(errs, v.lib.listen(0))
	for view := range v.views {
		errs = append(errs, v.lib.destroyView(view))
	}
	if v.slat {
		errs = append(errs, v.lib.setSLAT(false))
	}
	for r := range v.registered {
		if r.spec.Kind != KindFailedEmulation { // vmi_destroy clears that one
			errs = append(errs, v.lib.clear(r.raw))
		}
	}
	if perr == nil {
		errs = append(errs, v.lib.resume())
	}
	return errors.Join(errs...)
}

func (v *VMI) stopSteps(r *Registration) error {
	var errs []error
	for i := range v.lib.vcpus() {
		if i < 32 && r.spec.VCPUs&(1<<i) != 0 {
			errs = append(errs, v.lib.stopStep(r.raw, i))
		}
	}
	return errors.Join(errs...)
}

// use returns an error if the guest is closed, or if it has no events and events is
// set.
func (v *VMI) use(events bool) error {
	switch {
	case v.closed:
		return ErrClosed
	case events && !v.events:
		return ErrNoEvents
	}
	return nil
}

// VCPUs returns the number of vCPUs, or 0 if the guest is closed. (vmi_get_num_vcpus)
func (v *VMI) VCPUs() int {
	if v.closed {
		return 0
	}
	return v.lib.vcpus()
}

// Pause stops the whole guest. Pauses are counted: each needs a Resume.
// (vmi_pause_vm)
func (v *VMI) Pause() error {
	if err := v.use(false); err != nil {
		return err
	}
	return v.lib.pause()
}

// Resume undoes one Pause. (vmi_resume_vm)
func (v *VMI) Resume() error {
	if err := v.use(false); err != nil {
		return err
	}
	return v.lib.resume()
}

// Registers reads the registers of a vCPU into r. (vmi_get_vcpuregs)
func (v *VMI) Registers(vcpu int, r *Registers) error {
	if err := v.use(false); err != nil {
		return err
	}
	if vcpu < 0 || vcpu >= v.lib.vcpus() {
		return fmt.Errorf("registers of vCPU %d: the guest has %d", vcpu, v.lib.vcpus())
	}
	return v.lib.registers(vcpu, r)
}

// whole returns an error unless all of want bytes were read or written.
func whole(n, want int, err error, a Address) error {
	if err == nil && n != want {
		err = fmt.Errorf("%d bytes of %d", n, want)
	}
	if err != nil {
		return fmt.Errorf("guest memory at %v: %w", a, err)
	}
	return nil
}

// ReadPhysical fills b from the guest-physical address pa. LibVMI keeps up to some
// hundred pages mapped; FlushPages unmaps them. (vmi_read_pa)
func (v *VMI) ReadPhysical(pa uint64, b []byte) error {
	if err := v.use(false); err != nil || len(b) == 0 {
		return err
	}
	n, err := v.lib.readPhysical(pa, b)
	if err != nil || n != len(b) {
		return whole(n, len(b), err, Physical(pa))
	}
	return nil
}

// WritePhysical copies b to the guest-physical address pa. A write of one byte is
// atomic for the guest. (vmi_write_pa)
func (v *VMI) WritePhysical(pa uint64, b []byte) error {
	if err := v.use(false); err != nil || len(b) == 0 {
		return err
	}
	n, err := v.lib.writePhysical(pa, b)
	return whole(n, len(b), err, Physical(pa))
}

// Read fills b from an address. (vmi_read with an access_context_t)
func (v *VMI) Read(a Address, b []byte) error {
	if err := v.use(false); err != nil || len(b) == 0 {
		return err
	}
	n, err := v.lib.read(&a, b)
	return whole(n, len(b), err, a)
}

// Symbol returns the virtual address of a symbol of the kernel. It needs
// Config.Linux. (vmi_translate_ksym2v)
func (v *VMI) Symbol(name string) (uint64, error) {
	if err := v.use(false); err != nil {
		return 0, err
	}
	return v.lib.symbol(name)
}

// FlushPages unmaps the guest's pages. LibVMI keeps a page mapped until its cache is
// full. If the guest gives a frame back meanwhile, Xen keeps the mapped frame, and
// reads show memory that the guest does not have any more. (vmi_pagecache_flush)
func (v *VMI) FlushPages() {
	if !v.closed {
		v.lib.flushPages()
	}
}

// SpareFrame returns the number of a frame above all that the guest has.
// (vmi_get_next_available_gfn)
func (v *VMI) SpareFrame() (uint64, error) {
	if err := v.use(false); err != nil {
		return 0, err
	}
	return v.lib.nextGFN()
}

// AddFrame gives the guest memory at a frame number that SpareFrame returned. The
// guest's kernel does not know it. (vmi_alloc_gfn)
func (v *VMI) AddFrame(gfn uint64) error {
	if err := v.use(false); err != nil {
		return err
	}
	return v.lib.allocGFN(gfn)
}

// RemoveFrame unmaps all pages and then takes a frame of memory from the guest.
// (vmi_pagecache_flush, vmi_free_gfn)
func (v *VMI) RemoveFrame(gfn uint64) error {
	if err := v.use(false); err != nil {
		return err
	}
	v.lib.flushPages()
	return v.lib.freeGFN(gfn)
}

// Handler answers an event.
type Handler func(*Event) Response

// Registration is a handler of events.
type Registration struct {
	v       *VMI
	spec    Spec
	handler Handler
	handle  handle
	raw     unsafe.Pointer // vmi_event_t, or nil once it is freed
}

// Register has h called for each event that s selects. LibVMI has at most one
// handler for each kind, register, vCPU and frame. (vmi_register_event)
func (v *VMI) Register(s Spec, h Handler) (*Registration, error) {
	if err := v.use(true); err != nil {
		return nil, err
	}
	r := &Registration{v: v, spec: s, handler: h}
	r.handle = newHandle(r)
	raw, err := v.lib.register(&s, r.handle)
	if err != nil {
		r.handle.Delete()
		return nil, fmt.Errorf("register %v events: %w", s.Kind, err)
	}
	r.raw = raw
	v.registered[r] = struct{}{}
	return r, nil
}

// Clear ends the registration. Within a handler it takes effect once Listen has
// handled the events in the ring. Elsewhere pause the guest and call Settle before,
// so that no event is open. (vmi_clear_event)
func (r *Registration) Clear() error {
	if err := r.v.use(true); err != nil {
		return err
	}
	if r.raw == nil {
		return nil
	}
	return r.v.lib.clear(r.raw)
}

// StopStep ends single-stepping of a vCPU, fast or not. It keeps the handler for
// steps that are in the ring. (vmi_stop_single_step_vcpu removes the handler,
// vmi_register_event registers it again.)
func (r *Registration) StopStep(vcpu int) error {
	if err := r.v.use(true); err != nil {
		return err
	}
	if r.spec.Kind != KindSingleStep || vcpu < 0 || vcpu >= 32 || r.raw == nil {
		return fmt.Errorf("stop steps of vCPU %d: the registration is not for its steps", vcpu)
	}
	return r.v.lib.stopStep(r.raw, vcpu)
}

// cleared is called once LibVMI has cleared an event, or has failed to.
func cleared(h handle, ok bool) {
	if !ok {
		return
	}
	h.Value().(*Registration).end()
}

// end frees the event and its handle.
func (r *Registration) end() {
	if r.raw == nil {
		return
	}
	raw := r.raw
	r.raw = nil
	delete(r.v.registered, r)
	r.handle.Delete()
	r.v.lib.free(raw)
}

// dispatch is called for each event. fill sets all fields of the event.
func dispatch(h handle, fill func(*Event)) *Response {
	r := h.Value().(*Registration)
	v := r.v
	fill(&v.event)
	v.response = Response{}
	v.handle(r)
	return &v.response
}

// handle calls the handler. It recovers a panic, which must not unwind into C.
func (v *VMI) handle(r *Registration) {
	if v.closing || v.panicked != nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			v.panicked = &PanicError{p, string(debug.Stack())}
			v.response = Response{}
		}
	}()
	if s := &r.spec; s.Kind == KindRegister && (v.event.Value^v.event.Previous)&^s.Ignore == 0 {
		v.ignored++
		return
	}
	v.response = r.handler(&v.event)
}

// maxListen is the longest wait in milliseconds.
const maxListen = 1 << 30

// Listen waits for events for up to d, rounded up to milliseconds, and calls their
// handlers. If d is 0, it handles the events that are there. If a handler panics,
// Listen closes the guest and returns a *PanicError. (vmi_events_listen)
func (v *VMI) Listen(d time.Duration) error {
	if err := v.use(true); err != nil {
		return err
	}
	if v.listening {
		return ErrNested
	}
	ms := min((max(d, 0)+time.Millisecond-1)/time.Millisecond, maxListen)
	v.listening = true
	err := v.lib.listen(uint32(ms))
	v.listening = false
	if p := v.panicked; p != nil {
		return errors.Join(p, v.Close())
	}
	return err
}

// Settle answers the open events without their handlers, so that a registration can
// be cleared. The guest must be paused. (vmi_events_listen)
func (v *VMI) Settle() error {
	if err := v.use(true); err != nil {
		return err
	}
	if v.listening {
		return ErrNested
	}
	v.closing = true
	defer func() { v.closing = false }()
	return v.lib.listen(0)
}

// SetTrap sets which accesses to a frame are reported in a view. A handler of
// GenericMemoryEvent must be registered; it gets them. TrapNone removes the trap.
// Close removes those of view 0. (vmi_set_mem_event)
func (v *VMI) SetTrap(gfn uint64, t Trap, view View) error {
	if err := v.use(true); err != nil {
		return err
	}
	if view == 0 && t != TrapNone {
		v.trapped[gfn] = struct{}{} // before the call: if it fails, it may have had an effect
	}
	if err := v.lib.setTrap(gfn, t, view); err != nil {
		return fmt.Errorf("set the trap on frame %#x in view %d: %w", gfn, view, err)
	}
	if view == 0 && t == TrapNone {
		delete(v.trapped, gfn)
	}
	return nil
}

// EnableViews turns views on or off. Off puts all vCPUs in view 0 and destroys the
// other views. (vmi_slat_control)
func (v *VMI) EnableViews(on bool) error {
	if err := v.use(false); err != nil {
		return err
	}
	if on {
		v.slat = true
	}
	if err := v.lib.setSLAT(on); err != nil {
		return err
	}
	v.slat = on
	if !on {
		clear(v.views)
	}
	return nil
}

// CreateView makes a view that shows the same memory as view 0, without its traps.
// (vmi_slat_create)
func (v *VMI) CreateView() (View, error) {
	if err := v.use(false); err != nil {
		return 0, err
	}
	view, err := v.lib.createView()
	if err == nil {
		v.views[view] = struct{}{}
	}
	return view, err
}

// DestroyView destroys a view that no vCPU is in. (vmi_slat_destroy)
func (v *VMI) DestroyView(view View) error {
	if err := v.use(false); err != nil {
		return err
	}
	if err := v.lib.destroyView(view); err != nil {
		return fmt.Errorf("view %d: %w", view, err)
	}
	delete(v.views, view)
	return nil
}

// SwitchView puts all vCPUs in a view. (vmi_slat_switch)
func (v *VMI) SwitchView(view View) error {
	if err := v.use(false); err != nil {
		return err
	}
	return v.lib.switchView(view)
}

// ChangeGFN makes frame from show the memory of frame to in a view. NoFrame as to
// undoes it. (vmi_slat_change_gfn)
func (v *VMI) ChangeGFN(view View, from, to uint64) error {
	if err := v.use(false); err != nil {
		return err
	}
	return v.lib.changeGFN(view, from, to)
}

// NoFrame is not the number of any frame.
const NoFrame = ^uint64(0)

// memoryFile makes a file that is in memory and has no path.
func memoryFile(name string) (*os.File, error) {
	p, err := syscall.BytePtrFromString(name)
	if err != nil {
		return nil, err
	}
	const memfdCreate, cloexec = 319, 1 // memfd_create(2) on x86-64, MFD_CLOEXEC
	fd, _, errno := syscall.Syscall(memfdCreate, uintptr(unsafe.Pointer(p)), cloexec, 0)
	if errno != 0 {
		return nil, fmt.Errorf("memfd_create: %w", errno)
	}
	return os.NewFile(fd, name), nil
}
