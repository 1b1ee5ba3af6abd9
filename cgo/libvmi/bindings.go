//go:build libvmi && cgo

package libvmi

// #cgo pkg-config: libvmi
// #cgo CFLAGS: -Wall -Wextra -Wno-unused-parameter
// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"fmt"
	"sync"
	"unsafe"
)

// Built tells whether this build has LibVMI.
const Built = true

// EventsVersion is the version of LibVMI's events interface of the headers of
// the build (VMI_EVENTS_VERSION).
const EventsVersion = C.VMI_EVENTS_VERSION

// The Go side has LibVMI's numbers: an index out of range is one that differs.
var _ = [1]struct{}{}[(TrapNone-C.VMI_MEMACCESS_N)|(TrapRead-C.VMI_MEMACCESS_R)|(TrapWrite-C.VMI_MEMACCESS_W)|(TrapExec-C.VMI_MEMACCESS_X)]
var _ = [1]struct{}{}[(CR0-C.CR0)|(CR3-C.CR3)|(CR4-C.CR4)|(XCR0-C.XCR0)]
var _ = [1]struct{}{}[(KindMemory-C.VMI_EVENT_MEMORY)|(KindRegister-C.VMI_EVENT_REGISTER)|(KindSingleStep-C.VMI_EVENT_SINGLESTEP)|
	(KindBreakpoint-C.VMI_EVENT_INTERRUPT)|(KindGuestRequest-C.VMI_EVENT_GUEST_REQUEST)|(KindFailedEmulation-C.VMI_EVENT_FAILED_EMULATION)]
var _ = [1]struct{}{}[(flagEmulate-C.VMI_EVENT_RESPONSE_EMULATE)|(flagEmulateNoWrite-C.VMI_EVENT_RESPONSE_EMULATE_NOWRITE)|
	(flagDeny-C.VMI_EVENT_RESPONSE_DENY)|(flagToggleStep-C.VMI_EVENT_RESPONSE_TOGGLE_SINGLESTEP)|
	(flagSetView-C.VMI_EVENT_RESPONSE_SLAT_ID)|(flagNextView-C.VMI_EVENT_RESPONSE_NEXT_SLAT_ID)]
var _ = [1]struct{}{}[(byNothing-C.VMI_TM_NONE)|(byTable-C.VMI_TM_PROCESS_DTB)|(byPID-C.VMI_TM_PROCESS_PID)|(bySymbol-C.VMI_TM_KERNEL_SYMBOL)]

// real is an instance of LibVMI.
type real struct {
	vmi  C.vmi_instance_t
	regs C.hbvmi_regs // reused
	done C.size_t
}

// check makes an error of a status.
func check(fn string, st C.status_t) error {
	if st == C.VMI_SUCCESS {
		return nil
	}
	return &Error{Func: fn}
}

// parser guards LibVMI's parser of configurations, which has its state in
// globals.
var parser sync.Mutex

// initErrors says what vmi_init_error_t means.
func initError(fn string, e C.vmi_init_error_t) error {
	reasons := map[C.vmi_init_error_t]string{
		C.VMI_INIT_ERROR_DRIVER_NOT_DETECTED: "no hypervisor was detected",
		C.VMI_INIT_ERROR_DRIVER:              "its Xen driver cannot be set up: this is no Xen control domain, libxenctrl.so or libxenstore.so is not found, or somebody else has the guest's events",
		C.VMI_INIT_ERROR_VM_NOT_FOUND:        "there is no such guest",
		C.VMI_INIT_ERROR_PAGING:              "the guest's paging mode is not known",
		C.VMI_INIT_ERROR_OS:                  "the guest's kernel is not found where the configuration says",
		C.VMI_INIT_ERROR_EVENTS:              "events cannot be set up",
		C.VMI_INIT_ERROR_NO_CONFIG:           "it does not take the configuration",
		C.VMI_INIT_ERROR_NO_CONFIG_ENTRY:     "the configuration is not one of this guest",
	}
	return &Error{Func: fn, Reason: reasons[e]}
}

func openInstance(t Target, events bool) (instance, error) {
	if v := C.vmi_events_version(); v != C.VMI_EVENTS_VERSION {
		return nil, fmt.Errorf("LibVMI's events interface has version %d, and this program was built for %d: build it anew", v, C.VMI_EVENTS_VERSION)
	}
	var name *C.char
	if t.name != "" {
		name = C.CString(t.name)
		defer C.free(unsafe.Pointer(name))
	}
	var on C.int
	if events {
		on = 1
	}
	r := &real{}
	var e C.vmi_init_error_t
	if C.hbvmi_open(name, C.uint64_t(t.id), on, &r.vmi, &e) != C.VMI_SUCCESS {
		return nil, initError("vmi_init", e)
	}
	return r, nil
}

func (r *real) initOS(config string) error {
	parser.Lock()
	defer parser.Unlock()
	s := C.CString(config)
	defer C.free(unsafe.Pointer(s))
	var e C.vmi_init_error_t
	if C.hbvmi_init_os(r.vmi, s, &e) != C.VMI_SUCCESS {
		return initError("vmi_init_os", e)
	}
	return nil
}

func (r *real) destroy() error {
	err := check("vmi_destroy", C.vmi_destroy(r.vmi))
	r.vmi = nil
	return err
}

func (r *real) vcpus() int    { return int(C.vmi_get_num_vcpus(r.vmi)) }
func (r *real) pause() error  { return check("vmi_pause_vm", C.vmi_pause_vm(r.vmi)) }
func (r *real) resume() error { return check("vmi_resume_vm", C.vmi_resume_vm(r.vmi)) }

func (r *real) status() (Status, error) {
	s := C.hbvmi_status(r.vmi)
	if s&1 == 0 {
		return Status{}, &Error{Func: "vmi_get_domain_status"}
	}
	return Status{Dying: s&2 != 0, Shutdown: s&4 != 0, Paused: s&8 != 0, Blocked: s&16 != 0, Running: s&32 != 0, Debugged: s&64 != 0}, nil
}

func (r *real) registers(vcpu int, out *Registers) error {
	if err := check("vmi_get_vcpuregs", C.hbvmi_regs_of(r.vmi, C.ulong(vcpu), &r.regs)); err != nil {
		return err
	}
	x := &r.regs
	*out = Registers{
		RAX: uint64(x.rax), RBX: uint64(x.rbx), RCX: uint64(x.rcx), RDX: uint64(x.rdx), RSI: uint64(x.rsi), RDI: uint64(x.rdi), RBP: uint64(x.rbp), RSP: uint64(x.rsp),
		R8: uint64(x.r8), R9: uint64(x.r9), R10: uint64(x.r10), R11: uint64(x.r11), R12: uint64(x.r12), R13: uint64(x.r13), R14: uint64(x.r14), R15: uint64(x.r15),
		RIP: uint64(x.rip), RFLAGS: uint64(x.rflags), CR0: uint64(x.cr0), CR2: uint64(x.cr2), CR3: uint64(x.cr3), CR4: uint64(x.cr4),
		EFER: uint64(x.efer), STAR: uint64(x.star), LSTAR: uint64(x.lstar),
		FSBase: uint64(x.fs_base), GSBase: uint64(x.gs_base), KernelGSBase: uint64(x.shadow_gs), IDTBase: uint64(x.idtr_base),
		CPL: int(x.ss_arbytes>>5) & 3,
	}
	return nil
}

func (r *real) readPhysical(pa uint64, b []byte) (int, error) {
	r.done = 0
	st := C.vmi_read_pa(r.vmi, C.addr_t(pa), C.size_t(len(b)), unsafe.Pointer(&b[0]), &r.done)
	return int(r.done), check("vmi_read_pa", st)
}

func (r *real) writePhysical(pa uint64, b []byte) (int, error) {
	r.done = 0
	st := C.vmi_write_pa(r.vmi, C.addr_t(pa), C.size_t(len(b)), unsafe.Pointer(&b[0]), &r.done)
	return int(r.done), check("vmi_write_pa", st)
}

// transfer is a function of the shim that reads or writes.
func (r *real) transfer(fn string, f func(how C.uint32_t, symbol *C.char) C.status_t, a *Address) (int, error) {
	var symbol *C.char
	if a.how == bySymbol {
		symbol = C.CString(a.symbol)
		defer C.free(unsafe.Pointer(symbol))
	}
	r.done = 0
	st := f(C.uint32_t(a.how), symbol)
	return int(r.done), check(fn, st)
}

func (r *real) read(a *Address, b []byte) (int, error) {
	return r.transfer("vmi_read", func(how C.uint32_t, symbol *C.char) C.status_t {
		return C.hbvmi_read(r.vmi, how, C.uint64_t(a.addr), C.uint64_t(a.table), C.int32_t(a.pid), symbol, C.size_t(len(b)), unsafe.Pointer(&b[0]), &r.done)
	}, a)
}

func (r *real) write(a *Address, b []byte) (int, error) {
	return r.transfer("vmi_write", func(how C.uint32_t, symbol *C.char) C.status_t {
		return C.hbvmi_write(r.vmi, how, C.uint64_t(a.addr), C.uint64_t(a.table), C.int32_t(a.pid), symbol, C.size_t(len(b)), unsafe.Pointer(&b[0]), &r.done)
	}, a)
}

func (r *real) lookup(table, va uint64) (uint64, error) {
	var pa C.addr_t
	st := C.vmi_pagetable_lookup(r.vmi, C.addr_t(table), C.addr_t(va), &pa)
	return uint64(pa), check("vmi_pagetable_lookup", st)
}

func (r *real) symbol(name string) (uint64, error) {
	s := C.CString(name)
	defer C.free(unsafe.Pointer(s))
	var va C.addr_t
	st := C.vmi_translate_ksym2v(r.vmi, s, &va)
	return uint64(va), check("vmi_translate_ksym2v", st)
}

func (r *real) table(pid int32) (uint64, error) {
	var pt C.addr_t
	st := C.vmi_pid_to_dtb(r.vmi, C.vmi_pid_t(pid), &pt)
	return uint64(pt), check("vmi_pid_to_dtb", st)
}

func (r *real) flushPages() { C.vmi_pagecache_flush(r.vmi) }

func (r *real) flushTranslations() {
	C.vmi_v2pcache_flush(r.vmi, ^C.addr_t(0))
	C.vmi_pidcache_flush(r.vmi)
}

func (r *real) nextGFN() (uint64, error) {
	var gfn C.uint64_t
	st := C.hbvmi_next_gfn(r.vmi, &gfn)
	return uint64(gfn), check("vmi_get_next_available_gfn", st)
}

func (r *real) allocGFN(gfn uint64) error {
	return check("vmi_alloc_gfn", C.hbvmi_alloc_gfn(r.vmi, C.uint64_t(gfn)))
}

func (r *real) freeGFN(gfn uint64) error {
	return check("vmi_free_gfn", C.hbvmi_free_gfn(r.vmi, C.uint64_t(gfn)))
}

func (r *real) register(s *Spec, h handle) (unsafe.Pointer, error) {
	spec := C.hbvmi_spec{
		gfn: C.uint64_t(s.GFN), reg: C.uint32_t(s.Reg), vcpus: C.uint32_t(s.VCPUs),
		_type: C.uint16_t(s.Kind), view: C.uint16_t(s.View), access: C.uint8_t(s.Trap),
	}
	if s.Generic {
		spec.generic = 1
	}
	if s.Enable {
		spec.enable = 1
	}
	var e *C.hbvmi_registered
	if err := check("vmi_register_event", C.hbvmi_register(r.vmi, &spec, C.uintptr_t(h), &e)); err != nil {
		return nil, err
	}
	return unsafe.Pointer(e), nil
}

func (r *real) clear(raw unsafe.Pointer) error {
	return check("vmi_clear_event", C.hbvmi_clear(r.vmi, (*C.hbvmi_registered)(raw)))
}

func (r *real) free(raw unsafe.Pointer) { C.hbvmi_free((*C.hbvmi_registered)(raw)) }

func (r *real) stopStep(raw unsafe.Pointer, vcpu int) error {
	return check("vmi_stop_single_step_vcpu", C.hbvmi_stop_step(r.vmi, (*C.hbvmi_registered)(raw), C.uint32_t(vcpu)))
}

func (r *real) setTrap(gfn uint64, t Trap, v View) error {
	return check("vmi_set_mem_event", C.vmi_set_mem_event(r.vmi, C.addr_t(gfn), C.vmi_mem_access_t(t), C.uint16_t(v)))
}

func (r *real) listen(ms uint32) error {
	return check("vmi_events_listen", C.vmi_events_listen(r.vmi, C.uint32_t(ms)))
}

func (r *real) pending() (int, error) {
	n := C.vmi_are_events_pending(r.vmi)
	if n < 0 {
		return 0, &Error{Func: "vmi_are_events_pending"}
	}
	return int(n), nil
}

func (r *real) slat() (bool, error) {
	var on C.bool
	st := C.vmi_slat_state(r.vmi, &on)
	return bool(on), check("vmi_slat_state", st)
}

func (r *real) setSLAT(on bool) error {
	return check("vmi_slat_control", C.vmi_slat_control(r.vmi, C.bool(on)))
}

func (r *real) createView() (View, error) {
	var v C.uint16_t
	st := C.vmi_slat_create(r.vmi, &v)
	return View(v), check("vmi_slat_create", st)
}

func (r *real) destroyView(v View) error {
	return check("vmi_slat_destroy", C.vmi_slat_destroy(r.vmi, C.uint16_t(v)))
}

func (r *real) switchView(v View) error {
	return check("vmi_slat_switch", C.vmi_slat_switch(r.vmi, C.uint16_t(v)))
}

func (r *real) changeGFN(v View, from, to uint64) error {
	return check("vmi_slat_change_gfn", C.vmi_slat_change_gfn(r.vmi, C.uint16_t(v), C.addr_t(from), C.addr_t(to)))
}

// liveEvents is how many C events there are.
func liveEvents() int { return int(C.hbvmi_live()) }
