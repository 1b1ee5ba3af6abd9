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

// Built reports whether this build has LibVMI.
const Built = true

// EventsVersion is the version of LibVMI's events interface in the headers of the
// build (VMI_EVENTS_VERSION).
const EventsVersion = C.VMI_EVENTS_VERSION

// Go constants must have LibVMI's numbers. Each array below has one element: if two
// numbers differ, the index is out of range and the build fails.
var _ = [1]struct{}{}[(TrapNone-C.VMI_MEMACCESS_N)|(TrapRead-C.VMI_MEMACCESS_R)|(TrapWrite-C.VMI_MEMACCESS_W)|
	(TrapExec-C.VMI_MEMACCESS_X)]
var _ = [1]struct{}{}[CR3-C.CR3]
var _ = [1]struct{}{}[(KindMemory-C.VMI_EVENT_MEMORY)|(KindRegister-C.VMI_EVENT_REGISTER)|
	(KindSingleStep-C.VMI_EVENT_SINGLESTEP)|(KindBreakpoint-C.VMI_EVENT_INTERRUPT)|
	(KindFailedEmulation-C.VMI_EVENT_FAILED_EMULATION)]
var _ = [1]struct{}{}[(flagEmulate-C.VMI_EVENT_RESPONSE_EMULATE)|
	(flagToggleStep-C.VMI_EVENT_RESPONSE_TOGGLE_SINGLESTEP)|
	(flagSetView-C.VMI_EVENT_RESPONSE_SLAT_ID)|(flagNextView-C.VMI_EVENT_RESPONSE_NEXT_SLAT_ID)]
var _ = [1]struct{}{}[(byNothing-C.VMI_TM_NONE)|(byPID-C.VMI_TM_PROCESS_PID)|(bySymbol-C.VMI_TM_KERNEL_SYMBOL)]

// library is an instance of LibVMI. It implements instance.
type library struct {
	vmi  C.vmi_instance_t
	regs C.hbvmi_regs // reused
	done C.size_t
}

// check returns the error of a function that returned st, or nil.
func check(fn string, st C.status_t) error {
	if st == C.VMI_SUCCESS {
		return nil
	}
	return &Error{Func: fn}
}

// parser guards LibVMI's parser of configurations, which keeps its state in globals.
var parser sync.Mutex

// initError returns the error of a function that set a vmi_init_error_t.
func initError(fn string, e C.vmi_init_error_t) error {
	reasons := map[C.vmi_init_error_t]string{
		C.VMI_INIT_ERROR_DRIVER_NOT_DETECTED: "no hypervisor was detected",
		C.VMI_INIT_ERROR_DRIVER: "its Xen driver cannot be set up: this is not a Xen control domain, " +
			"libxenctrl.so or libxenstore.so is not found, or another monitor has the guest's events",
		C.VMI_INIT_ERROR_VM_NOT_FOUND:    "there is no such guest",
		C.VMI_INIT_ERROR_PAGING:          "the guest's paging mode is unknown",
		C.VMI_INIT_ERROR_OS:              "the guest's kernel is not found where the configuration says",
		C.VMI_INIT_ERROR_EVENTS:          "events cannot be set up",
		C.VMI_INIT_ERROR_NO_CONFIG:       "it rejects the configuration",
		C.VMI_INIT_ERROR_NO_CONFIG_ENTRY: "the configuration is for another guest",
	}
	return &Error{Func: fn, Reason: reasons[e]}
}

func openInstance(t Target, events bool) (instance, error) {
	if v := C.vmi_events_version(); v != C.VMI_EVENTS_VERSION {
		return nil, fmt.Errorf("LibVMI's events interface has version %d, this program was built for %d: build it again",
			v, C.VMI_EVENTS_VERSION)
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
	l := &library{}
	var e C.vmi_init_error_t
	if C.hbvmi_open(name, C.uint64_t(t.id), on, &l.vmi, &e) != C.VMI_SUCCESS {
		return nil, initError("vmi_init", e)
	}
	return l, nil
}

func (l *library) initOS(config string) error {
	parser.Lock()
	defer parser.Unlock()
	s := C.CString(config)
	defer C.free(unsafe.Pointer(s))
	var e C.vmi_init_error_t
	if C.hbvmi_init_os(l.vmi, s, &e) != C.VMI_SUCCESS {
		return initError("vmi_init_os", e)
	}
	return nil
}

func (l *library) destroy() error {
	err := check("vmi_destroy", C.vmi_destroy(l.vmi))
	l.vmi = nil
	return err
}

func (l *library) vcpus() int    { return int(C.vmi_get_num_vcpus(l.vmi)) }
func (l *library) pause() error  { return check("vmi_pause_vm", C.vmi_pause_vm(l.vmi)) }
func (l *library) resume() error { return check("vmi_resume_vm", C.vmi_resume_vm(l.vmi)) }

func (l *library) registers(vcpu int, out *Registers) error {
	if err := check("vmi_get_vcpuregs", C.hbvmi_regs_of(l.vmi, C.ulong(vcpu), &l.regs)); err != nil {
		return err
	}
	x := &l.regs
	*out = Registers{
		RAX: uint64(x.rax), RBX: uint64(x.rbx), RCX: uint64(x.rcx), RDX: uint64(x.rdx),
		RSI: uint64(x.rsi), RDI: uint64(x.rdi), RBP: uint64(x.rbp), RSP: uint64(x.rsp),
		R8: uint64(x.r8), R9: uint64(x.r9), R10: uint64(x.r10), R11: uint64(x.r11),
		R12: uint64(x.r12), R13: uint64(x.r13), R14: uint64(x.r14), R15: uint64(x.r15),
		RIP: uint64(x.rip), RFLAGS: uint64(x.rflags),
		CR0: uint64(x.cr0), CR2: uint64(x.cr2), CR3: uint64(x.cr3), CR4: uint64(x.cr4),
		EFER: uint64(x.efer), STAR: uint64(x.star), LSTAR: uint64(x.lstar),
		FSBase: uint64(x.fs_base), GSBase: uint64(x.gs_base), KernelGSBase: uint64(x.shadow_gs), IDTBase: uint64(x.idtr_base),
		CPL: int(x.ss_arbytes>>5) & 3,
	}
	return nil
}

func (l *library) readPhysical(pa uint64, b []byte) (int, error) {
	l.done = 0
	st := C.vmi_read_pa(l.vmi, C.addr_t(pa), C.size_t(len(b)), unsafe.Pointer(&b[0]), &l.done)
	return int(l.done), check("vmi_read_pa", st)
}

func (l *library) writePhysical(pa uint64, b []byte) (int, error) {
	l.done = 0
	st := C.vmi_write_pa(l.vmi, C.addr_t(pa), C.size_t(len(b)), unsafe.Pointer(&b[0]), &l.done)
	return int(l.done), check("vmi_write_pa", st)
}

func (l *library) read(a *Address, b []byte) (int, error) {
	var symbol *C.char
	if a.how == bySymbol {
		symbol = C.CString(a.symbol)
		defer C.free(unsafe.Pointer(symbol))
	}
	l.done = 0
	st := C.hbvmi_read(l.vmi, C.uint32_t(a.how), C.uint64_t(a.addr), C.int32_t(a.pid), symbol,
		C.size_t(len(b)), unsafe.Pointer(&b[0]), &l.done)
	return int(l.done), check("vmi_read", st)
}

func (l *library) symbol(name string) (uint64, error) {
	s := C.CString(name)
	defer C.free(unsafe.Pointer(s))
	var va C.addr_t
	st := C.vmi_translate_ksym2v(l.vmi, s, &va)
	return uint64(va), check("vmi_translate_ksym2v", st)
}

func (l *library) flushPages() { C.vmi_pagecache_flush(l.vmi) }

func (l *library) nextGFN() (uint64, error) {
	var gfn C.uint64_t
	st := C.hbvmi_next_gfn(l.vmi, &gfn)
	return uint64(gfn), check("vmi_get_next_available_gfn", st)
}

func (l *library) allocGFN(gfn uint64) error {
	return check("vmi_alloc_gfn", C.hbvmi_alloc_gfn(l.vmi, C.uint64_t(gfn)))
}

func (l *library) freeGFN(gfn uint64) error {
	return check("vmi_free_gfn", C.hbvmi_free_gfn(l.vmi, C.uint64_t(gfn)))
}

func (l *library) register(s *Spec, h handle) (unsafe.Pointer, error) {
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
	if err := check("vmi_register_event", C.hbvmi_register(l.vmi, &spec, C.uintptr_t(h), &e)); err != nil {
		return nil, err
	}
	return unsafe.Pointer(e), nil
}

func (l *library) clear(raw unsafe.Pointer) error {
	return check("vmi_clear_event", C.hbvmi_clear(l.vmi, (*C.hbvmi_registered)(raw)))
}

func (l *library) free(raw unsafe.Pointer) { C.hbvmi_free((*C.hbvmi_registered)(raw)) }

func (l *library) stopStep(raw unsafe.Pointer, vcpu int) error {
	return check("vmi_stop_single_step_vcpu", C.hbvmi_stop_step(l.vmi, (*C.hbvmi_registered)(raw), C.uint32_t(vcpu)))
}

func (l *library) setTrap(gfn uint64, t Trap, v View) error {
	return check("vmi_set_mem_event", C.vmi_set_mem_event(l.vmi, C.addr_t(gfn), C.vmi_mem_access_t(t), C.uint16_t(v)))
}

func (l *library) listen(ms uint32) error {
	return check("vmi_events_listen", C.vmi_events_listen(l.vmi, C.uint32_t(ms)))
}

func (l *library) setSLAT(on bool) error {
	return check("vmi_slat_control", C.vmi_slat_control(l.vmi, C.bool(on)))
}

func (l *library) createView() (View, error) {
	var v C.uint16_t
	st := C.vmi_slat_create(l.vmi, &v)
	return View(v), check("vmi_slat_create", st)
}

func (l *library) destroyView(v View) error {
	return check("vmi_slat_destroy", C.vmi_slat_destroy(l.vmi, C.uint16_t(v)))
}

func (l *library) switchView(v View) error {
	return check("vmi_slat_switch", C.vmi_slat_switch(l.vmi, C.uint16_t(v)))
}

func (l *library) changeGFN(v View, from, to uint64) error {
	return check("vmi_slat_change_gfn", C.vmi_slat_change_gfn(l.vmi, C.uint16_t(v), C.addr_t(from), C.addr_t(to)))
}

// liveEvents returns how many C events are not freed.
func liveEvents() int { return int(C.hbvmi_live()) }
