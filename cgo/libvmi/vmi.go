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

// instance is a vmi_instance_t. bindings.go has the real one, tests have others.
type instance interface {
	initOS(config string) error
	destroy() error
	vcpus() int
	pause() error
	resume() error
	status() (Status, error)
	registers(vcpu int, r *Registers) error

	readPhysical(pa uint64, b []byte) (int, error)
	writePhysical(pa uint64, b []byte) (int, error)
	read(a *Address, b []byte) (int, error)
	write(a *Address, b []byte) (int, error)
	lookup(table, va uint64) (uint64, error)
	symbol(name string) (uint64, error)
	table(pid int32) (uint64, error)
	flushPages()
	flushTranslations()

	nextGFN() (uint64, error)
	allocGFN(gfn uint64) error
	freeGFN(gfn uint64) error

	// register makes the C event of s, whose callback calls dispatch with h. The
	// caller frees it with free.
	register(s *Spec, h handle) (unsafe.Pointer, error)
	// clear takes an event back. cleared is called with its handle, at once or, from
	// a handler, before listen returns.
	clear(raw unsafe.Pointer) error
	free(raw unsafe.Pointer)
	stopStep(raw unsafe.Pointer, vcpu int) error
	setTrap(gfn uint64, t Trap, v View) error
	listen(ms uint32) error
	pending() (int, error)

	slat() (bool, error)
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
	sysmap *os.File // what LibVMI reads symbols from; in memory

	registered map[*Registration]struct{}
	trapped    map[uint64]struct{} // frames that SetTrap restricts in view 0
	views      map[View]struct{}
	slat       bool // was turned on by us

	listening bool
	closing   bool // events are answered without their handlers
	panicked  *PanicError
	event     Event // reused: an event allocates nothing
	response  Response
	ignored   uint64
}

// Open opens a guest. The caller closes it. (vmi_init, vmi_init_paging and
// vmi_init_os: vmi_init_complete does not let go of a guest whose kernel it does
// not find.)
func Open(t Target, c Config) (*VMI, error) {
	if t.name != "" && !word.MatchString(t.name) && c.Linux != nil {
		return nil, fmt.Errorf("open %s: LibVMI's configuration does not take this name of a guest", t)
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

// newVMI takes over lib, which it closes on error.
func newVMI(lib instance, c Config) (*VMI, error) {
	v := &VMI{lib: lib, events: c.Events, registered: map[*Registration]struct{}{}, trapped: map[uint64]struct{}{}, views: map[View]struct{}{}}
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

// Close lets go of the guest: no step, no trap, view 0, no view, no event, and
// the vCPUs that wait for an answer go on. It goes on after errors. Pauses by
// Pause are the caller's to take back. (vmi_clear_event, vmi_slat_switch,
// vmi_slat_destroy, vmi_slat_control, vmi_destroy)
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
	// LibVMI knows of none of these any more.
	for r := range v.registered {
		r.end()
	}
	if v.sysmap != nil {
		errs = append(errs, v.sysmap.Close())
	}
	return errors.Join(errs...)
}

// release takes back what was done to the guest. The order matters: what makes
// events goes first, then the open events are answered, while there still are
// handlers that LibVMI can find, and the handlers go last.
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
		if r.spec.Kind != KindFailedEmulation { // which vmi_destroy takes back
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

// use says whether the guest may be used, for events or not.
func (v *VMI) use(events bool) error {
	switch {
	case v.closed:
		return ErrClosed
	case events && !v.events:
		return ErrNoEvents
	}
	return nil
}

// VCPUs is the number of vCPUs, 0 if the guest is closed. (vmi_get_num_vcpus)
func (v *VMI) VCPUs() int {
	if v.closed {
		return 0
	}
	return v.lib.vcpus()
}

// Pause stops the whole guest. Pauses count: each needs its Resume.
// (vmi_pause_vm)
func (v *VMI) Pause() error {
	if err := v.use(false); err != nil {
		return err
	}
	return v.lib.pause()
}

// Resume takes one Pause back. (vmi_resume_vm)
func (v *VMI) Resume() error {
	if err := v.use(false); err != nil {
		return err
	}
	return v.lib.resume()
}

// Status returns the state of the guest as a whole. (vmi_get_domain_status)
func (v *VMI) Status() (Status, error) {
	if err := v.use(false); err != nil {
		return Status{}, err
	}
	return v.lib.status()
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

// whole makes an error of what was not read or written.
func whole(n, want int, err error, a Address) error {
	if err == nil && n != want {
		err = fmt.Errorf("%d bytes of %d", n, want)
	}
	if err != nil {
		return fmt.Errorf("guest memory at %v: %w", a, err)
	}
	return nil
}

// ReadPhysical fills b from the guest-physical address pa. The pages it reads stay
// mapped, some hundred of them; FlushPages lets go of them. (vmi_read_pa)
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

// Write copies b to an address. (vmi_write with an access_context_t)
func (v *VMI) Write(a Address, b []byte) error {
	if err := v.use(false); err != nil || len(b) == 0 {
		return err
	}
	n, err := v.lib.write(&a, b)
	return whole(n, len(b), err, a)
}

// Lookup translates a virtual address by a page table, which is given by its
// guest-physical address. (vmi_pagetable_lookup)
func (v *VMI) Lookup(table, va uint64) (uint64, error) {
	if err := v.use(false); err != nil {
		return 0, err
	}
	return v.lib.lookup(table, va)
}

// Symbol returns the virtual address of a symbol of the kernel. It needs Linux in
// the Config. (vmi_translate_ksym2v)
func (v *VMI) Symbol(name string) (uint64, error) {
	if err := v.use(false); err != nil {
		return 0, err
	}
	return v.lib.symbol(name)
}

// Table returns the guest-physical address of a process's page table. It needs
// Linux in the Config. (vmi_pid_to_dtb)
func (v *VMI) Table(pid int32) (uint64, error) {
	if err := v.use(false); err != nil {
		return 0, err
	}
	return v.lib.table(pid)
}

// FlushPages unmaps the guest's pages. LibVMI keeps a page mapped until it needs
// room, and Xen keeps a frame that is mapped even after the guest has given it
// back: what is read then is not the guest's memory any more. (vmi_pagecache_flush)
func (v *VMI) FlushPages() {
	if !v.closed {
		v.lib.flushPages()
	}
}

// FlushTranslations forgets translations of virtual addresses. LibVMI keeps them
// for good, whatever the guest does to its page tables. (vmi_v2pcache_flush,
// vmi_pidcache_flush)
func (v *VMI) FlushTranslations() {
	if !v.closed {
		v.lib.flushTranslations()
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
// guest does not know of it. (vmi_alloc_gfn)
func (v *VMI) AddFrame(gfn uint64) error {
	if err := v.use(false); err != nil {
		return err
	}
	return v.lib.allocGFN(gfn)
}

// RemoveFrame takes a frame of memory from the guest, and unmaps all pages first.
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

// Registration is a kind of event that is wanted.
type Registration struct {
	v       *VMI
	spec    Spec
	handler Handler
	handle  handle
	raw     unsafe.Pointer // vmi_event_t; nil once it is freed
}

// Register has a handler called for each event of a kind. LibVMI has one handler
// for each kind, register, vCPU and frame. (vmi_register_event)
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

// Clear takes the registration back. In a handler it takes effect when Listen has
// handled what is in the ring. Outside, events that are open already must have
// been answered, with the guest paused: see Settle. (vmi_clear_event)
func (r *Registration) Clear() error {
	if err := r.v.use(true); err != nil {
		return err
	}
	if r.raw == nil {
		return nil
	}
	return r.v.lib.clear(r.raw)
}

// StopStep ends the steps of a vCPU, fast or not, and keeps the handler for steps
// that are in the ring already. (vmi_stop_single_step_vcpu, which forgets the
// handler, and vmi_register_event)
func (r *Registration) StopStep(vcpu int) error {
	if err := r.v.use(true); err != nil {
		return err
	}
	if r.spec.Kind != KindSingleStep || vcpu < 0 || vcpu >= 32 || r.raw == nil {
		return fmt.Errorf("stop steps of vCPU %d: this is no registration of its steps", vcpu)
	}
	return r.v.lib.stopStep(r.raw, vcpu)
}

// cleared is called when LibVMI has let go of an event, or has failed to.
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

// dispatch is called for each event. fill fills in the event.
func dispatch(h handle, fill func(*Event)) *Response {
	r := h.Value().(*Registration)
	v := r.v
	fill(&v.event)
	v.response = Response{}
	v.handle(r)
	return &v.response
}

// handle calls the handler, and sees that nothing that it does goes up into C.
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

// Ignored is how many writes of registers were answered without a handler, because
// they changed no bits but those of Spec.Ignore.
func (v *VMI) Ignored() uint64 { return v.ignored }

// maxListen bounds one wait, in milliseconds.
const maxListen = 1 << 30

// Listen waits for events for up to d, which is rounded up to milliseconds, and
// has their handlers called. With 0 it handles what is there. If a handler panics
// the guest is released and closed, and the error is a *PanicError.
// (vmi_events_listen)
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

// Settle answers the events that are open, without their handlers, so that a
// registration can be cleared. The guest must be paused. (vmi_events_listen)
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

// Pending returns how many events are there to be handled.
// (vmi_are_events_pending)
func (v *VMI) Pending() (int, error) {
	if err := v.use(true); err != nil {
		return 0, err
	}
	return v.lib.pending()
}

// SetTrap sets which accesses to a frame are reported in a view, to the handler
// of GenericMemoryEvent, which has to be there; TrapNone takes it back. In view 0
// Close does so too. (vmi_set_mem_event)
func (v *VMI) SetTrap(gfn uint64, t Trap, view View) error {
	if err := v.use(true); err != nil {
		return err
	}
	if view == 0 && t != TrapNone {
		v.trapped[gfn] = struct{}{} // before: a failure may have had an effect
	}
	if err := v.lib.setTrap(gfn, t, view); err != nil {
		return fmt.Errorf("set the trap on frame %#x in view %d: %w", gfn, view, err)
	}
	if view == 0 && t == TrapNone {
		delete(v.trapped, gfn)
	}
	return nil
}

// Views says whether views can be used. (vmi_slat_state)
func (v *VMI) Views() (bool, error) {
	if err := v.use(false); err != nil {
		return false, err
	}
	return v.lib.slat()
}

// EnableViews turns views on or off; off puts all vCPUs in view 0 and destroys
// the others. (vmi_slat_control)
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

// CreateView makes a view that starts as view 0 is, without its traps.
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

// ChangeGFN lets frame from show the memory of frame to in a view; NoFrame as to
// undoes it. (vmi_slat_change_gfn)
func (v *VMI) ChangeGFN(view View, from, to uint64) error {
	if err := v.use(false); err != nil {
		return err
	}
	return v.lib.changeGFN(view, from, to)
}

// NoFrame is no frame number.
const NoFrame = ^uint64(0)

// memoryFile makes a file that is in memory and has no name in the file system.
func memoryFile(name string) (*os.File, error) {
	p, err := syscall.BytePtrFromString(name)
	if err != nil {
		return nil, err
	}
	const memfdCreate, cloexec = 319, 1 // of Linux on x86-64, and MFD_CLOEXEC
	fd, _, errno := syscall.Syscall(memfdCreate, uintptr(unsafe.Pointer(p)), cloexec, 0)
	if errno != 0 {
		return nil, fmt.Errorf("memfd_create: %w", errno)
	}
	return os.NewFile(fd, name), nil
}
