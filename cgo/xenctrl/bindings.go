//go:build xen && cgo

package xenctrl

/*
#cgo CFLAGS: -Wall -Wextra -D__XEN_TOOLS__
#cgo LDFLAGS: -lxenctrl -lxenevtchn -lxenforeignmemory -lxenstore -lxencall
#include "shim.h"
#include <stdlib.h>
*/
import "C"

import (
	"fmt"
	"strings"
	"syscall"
	"unsafe"
)

// Built reports whether this build has the Xen libraries.
const Built = true

type xenHandle struct{ h *C.hb_xen }

// fail returns the error of a function of shim.h, or nil.
func fail(op string, r *C.hb_ret) *Error {
	if r.err == 0 {
		return nil
	}
	e := newError(op, syscall.Errno(r.err))
	e.Detail = strings.Join(strings.Fields(C.GoString(&r.msg[0])), " ")
	return e
}

// on returns the error of a call about domain d, or an untyped nil.
func on(op string, d DomID, r C.hb_ret) error {
	if e := fail(op, &r); e != nil {
		e.Domain = int(d)
		return e
	}
	return nil
}

func onVCPU(op string, d DomID, vcpu int, r C.hb_ret) error {
	if e := fail(op, &r); e != nil {
		e.Domain, e.VCPU = int(d), vcpu
		return e
	}
	return nil
}

func onGFN(op string, d DomID, view int, gfn uint64, r C.hb_ret) error {
	if e := fail(op, &r); e != nil {
		e.Domain, e.View, e.GFN = int(d), view, gfn
		return e
	}
	return nil
}

func onPath(op, path string, r C.hb_ret) error {
	if e := fail(op, &r); e != nil {
		e.Path = path
		return e
	}
	return nil
}

func openHypervisor() (Hypervisor, error) {
	var h *C.hb_xen
	r := C.hb_open(&h)
	if e := fail("xc_interface_open", &r); e != nil {
		return nil, e
	}
	return &xenHandle{h}, nil
}

func (x *xenHandle) Close() error {
	C.hb_close(x.h)
	x.h = nil
	return nil
}

func (x *xenHandle) Version() (Version, error) {
	const n = 1024 // the command line is the longest of the three
	buf := (*[3 * n]C.char)(C.calloc(3, n))
	defer C.free(unsafe.Pointer(buf))
	r := C.hb_version(x.h, &buf[0], &buf[n], &buf[2*n], n)
	if e := fail("xc_version", &r); e != nil {
		return Version{}, e
	}
	return Version{
		Major: int(r.value >> 16), Minor: int(r.value & 0xffff),
		Extra: C.GoString(&buf[0]), CommandLine: C.GoString(&buf[n]),
		Capabilities: strings.TrimSpace(C.GoString(&buf[2*n])),
	}, nil
}

func (x *xenHandle) CPUs() (int, int, error) {
	var size C.int
	r := C.hb_cpus(x.h, &size)
	if e := fail("xc_physinfo", &r); e != nil {
		return 0, 0, e
	}
	return int(r.value), int(size), nil
}

func (i *DomainInfo) set(c *C.hb_dominfo) {
	*i = DomainInfo{
		ID: DomID(c.id), VCPUs: int(c.online), MaxVCPU: None,
		Pages: uint64(c.tot_pages), MaxPages: uint64(c.max_pages), CPUTimeNS: uint64(c.cpu_time),
	}
	if uint32(c.max_vcpu_id) != noMaxVCPU {
		i.MaxVCPU = int(c.max_vcpu_id)
	}
	i.setFlags(uint32(c.flags))
}

func (x *xenHandle) Domains(first DomID, buf []DomainInfo) (int, error) {
	raw := make([]C.hb_dominfo, len(buf))
	r := C.hb_domains(x.h, C.uint32_t(first), C.uint32_t(len(raw)), &raw[0])
	if e := fail("xc_domain_getinfolist", &r); e != nil {
		return 0, e
	}
	n := int(r.value)
	for i := range n {
		buf[i].set(&raw[i])
	}
	return n, nil
}

func (x *xenHandle) Domain(d DomID) (info DomainInfo, err error) {
	r := C.hb_domain(x.h, C.uint32_t(d))
	if err := on("xc_domain_getinfo_single", d, r.r); err != nil {
		return info, err
	}
	info.set(&r.info)
	return info, nil
}

func (x *xenHandle) MaxGFN(d DomID) (uint64, error) {
	r := C.hb_max_gfn(x.h, C.uint32_t(d))
	return uint64(r.value), on("xc_domain_maximum_gpfn", d, r)
}

func (x *xenHandle) Pause(d DomID) error {
	return on("xc_domain_pause", d, C.hb_pause(x.h, C.uint32_t(d)))
}

func (x *xenHandle) Unpause(d DomID) error {
	return on("xc_domain_unpause", d, C.hb_unpause(x.h, C.uint32_t(d)))
}

func (x *xenHandle) SetAccessRequired(d DomID, req bool) error {
	return on("xc_domain_set_access_required", d, C.hb_access_required(x.h, C.uint32_t(d), C.bool(req)))
}

func (x *xenHandle) VCPU(d DomID, vcpu int) (VCPUInfo, error) {
	r := C.hb_vcpu(x.h, C.uint32_t(d), C.uint32_t(vcpu))
	return VCPUInfo{
		Online: r.online != 0, Blocked: r.blocked != 0, Running: r.running != 0,
		PCPU: int(r.cpu), CPUTimeNS: uint64(r.cpu_time),
	}, onVCPU("xc_vcpu_getinfo", d, vcpu, r.r)
}

func (x *xenHandle) Registers(d DomID, vcpu int, o *Registers) error {
	r := C.hb_registers(x.h, C.uint32_t(d), C.uint32_t(vcpu))
	if r.r.err != 0 {
		return onVCPU("xc_domain_hvm_getcontext_partial", d, vcpu, r.r)
	}
	*o = Registers{
		RAX: uint64(r.rax), RCX: uint64(r.rcx), RDX: uint64(r.rdx), RBX: uint64(r.rbx),
		RSP: uint64(r.rsp), RBP: uint64(r.rbp), RSI: uint64(r.rsi), RDI: uint64(r.rdi),
		R8: uint64(r.r8), R9: uint64(r.r9), R10: uint64(r.r10), R11: uint64(r.r11),
		R12: uint64(r.r12), R13: uint64(r.r13), R14: uint64(r.r14), R15: uint64(r.r15),
		RIP: uint64(r.rip), RFLAGS: uint64(r.rflags),
		CR0: uint64(r.cr0), CR2: uint64(r.cr2), CR3: uint64(r.cr3), CR4: uint64(r.cr4),
		DR6: uint64(r.dr6), DR7: uint64(r.dr7),
		EFER: uint64(r.efer), STAR: uint64(r.star), LSTAR: uint64(r.lstar),
		SysenterCS: uint64(r.sysenter_cs), SysenterESP: uint64(r.sysenter_esp), SysenterEIP: uint64(r.sysenter_eip),
		FSBase: uint64(r.fs_base), GSBase: uint64(r.gs_base), KernelGSBase: uint64(r.shadow_gs),
		GDTBase: uint64(r.gdt_base), IDTBase: uint64(r.idt_base),
		GDTLimit: uint16(r.gdt_limit), IDTLimit: uint16(r.idt_limit),
		CSSel: uint16(r.cs), SSSel: uint16(r.ss), DSSel: uint16(r.ds), ESSel: uint16(r.es),
		FSSel: uint16(r.fs), GSSel: uint16(r.gs),
		CSAttr: uint16(r.cs_attr), SSAttr: uint16(r.ss_attr), PendingEvent: uint32(r.pending_event),
	}
	return nil
}

func (x *xenHandle) SetSingleStep(d DomID, vcpu int, enable bool) error {
	r := C.hb_single_step(x.h, C.uint32_t(d), C.uint32_t(vcpu), C.bool(enable))
	return onVCPU("xc_domain_debug_control", d, vcpu, r)
}

func (x *xenHandle) InjectBreakpoint(d DomID, vcpu int, insnLen uint8) error {
	r := C.hb_inject_bp(x.h, C.uint32_t(d), C.int(vcpu), C.uint8_t(insnLen))
	return onVCPU("xc_hvm_inject_trap", d, vcpu, r)
}

func (x *xenHandle) MapForeign(d DomID, p Prot, gfns []uint64, errs []int32) ([]byte, error) {
	r := C.hb_map(x.h, C.uint32_t(d), C.int(p), C.size_t(len(gfns)), (*C.uint64_t)(&gfns[0]), (*C.int32_t)(&errs[0]))
	if r.addr == nil {
		return nil, onGFN("xenforeignmemory_map", d, None, gfns[0], r.r)
	}
	return unsafe.Slice((*byte)(r.addr), len(gfns)*PageSize), nil
}

func (x *xenHandle) Unmap(b []byte) error {
	r := C.hb_unmap(x.h, unsafe.Pointer(&b[0]), C.size_t(len(b)/PageSize))
	if e := fail("xenforeignmemory_unmap", &r); e != nil {
		return e
	}
	return nil
}

func (x *xenHandle) SetMaxMem(d DomID, kib uint64) error {
	return on("xc_domain_setmaxmem", d, C.hb_set_max_mem(x.h, C.uint32_t(d), C.uint64_t(kib)))
}

func (x *xenHandle) Populate(d DomID, gfn uint64) error {
	return onGFN("xc_domain_populate_physmap_exact", d, None, gfn, C.hb_populate(x.h, C.uint32_t(d), C.uint64_t(gfn)))
}

func (x *xenHandle) Depopulate(d DomID, gfn uint64) error {
	return onGFN("xc_domain_decrease_reservation_exact", d, None, gfn,
		C.hb_depopulate(x.h, C.uint32_t(d), C.uint64_t(gfn)))
}

func (x *xenHandle) SetAccess(d DomID, gfn uint64, n uint32, a Access) error {
	r := C.hb_set_access(x.h, C.uint32_t(d), C.uint64_t(gfn), C.uint32_t(n), C.int(a))
	return onGFN("xc_set_mem_access", d, None, gfn, r)
}

func (x *xenHandle) Access(d DomID, gfn uint64) (Access, error) {
	r := C.hb_access(x.h, C.uint32_t(d), C.uint64_t(gfn))
	return Access(r.value), onGFN("xc_get_mem_access", d, None, gfn, r)
}

func (x *xenHandle) EnableMonitor(d DomID) ([]byte, uint32, error) {
	r := C.hb_monitor_enable(x.h, C.uint32_t(d))
	if r.page == nil {
		return nil, 0, on("xc_monitor_enable", d, r.r)
	}
	return unsafe.Slice((*byte)(r.page), PageSize), uint32(r.port), nil
}

func (x *xenHandle) DisableMonitor(d DomID) error {
	return on("xc_monitor_disable", d, C.hb_monitor_disable(x.h, C.uint32_t(d)))
}

func (x *xenHandle) ResumeMonitor(d DomID) error {
	return on("xc_monitor_resume", d, C.hb_monitor_resume(x.h, C.uint32_t(d)))
}

func (x *xenHandle) MonitorCtrlReg(d DomID, reg CtrlReg, enable, sync bool, ignore uint64, onChange bool) error {
	return on("xc_monitor_write_ctrlreg", d, C.hb_monitor_ctrlreg(x.h, C.uint32_t(d), C.uint16_t(reg),
		C.bool(enable), C.bool(sync), C.uint64_t(ignore), C.bool(onChange)))
}

// sourceOps names the function that hb_monitor_toggle calls.
var sourceOps = [...]string{
	SourceSingleStep: "xc_monitor_singlestep", SourceBreakpoint: "xc_monitor_software_breakpoint",
	SourceEmulUnimplemented: "xc_monitor_emul_unimplemented",
}

func (x *xenHandle) MonitorToggle(d DomID, s EventSource, enable bool) error {
	return on(sourceOps[s], d, C.hb_monitor_toggle(x.h, C.uint32_t(d), C.int(s), C.bool(enable)))
}

func (x *xenHandle) Altp2m(d DomID) (bool, error) {
	r := C.hb_altp2m_state(x.h, C.uint32_t(d))
	return r.value > 0, on("xc_altp2m_get_domain_state", d, r)
}

func (x *xenHandle) SetAltp2m(d DomID, enable bool) error {
	return on("xc_altp2m_set_domain_state", d, C.hb_altp2m_set_state(x.h, C.uint32_t(d), C.bool(enable)))
}

func (x *xenHandle) CreateView(d DomID, def Access) (View, error) {
	r := C.hb_view_create(x.h, C.uint32_t(d), C.int(def))
	return View(r.value), on("xc_altp2m_create_view", d, r)
}

func (x *xenHandle) DestroyView(d DomID, v View) error {
	return onGFN("xc_altp2m_destroy_view", d, int(v), NoGFN, C.hb_view_destroy(x.h, C.uint32_t(d), C.uint16_t(v)))
}

func (x *xenHandle) SwitchView(d DomID, v View) error {
	return onGFN("xc_altp2m_switch_to_view", d, int(v), NoGFN, C.hb_view_switch(x.h, C.uint32_t(d), C.uint16_t(v)))
}

func (x *xenHandle) SetViewAccess(d DomID, v View, gfn uint64, a Access) error {
	r := C.hb_view_set_access(x.h, C.uint32_t(d), C.uint16_t(v), C.uint64_t(gfn), C.int(a))
	return onGFN("xc_altp2m_set_mem_access", d, int(v), gfn, r)
}

func (x *xenHandle) ViewAccess(d DomID, v View, gfn uint64) (Access, error) {
	r := C.hb_view_access(x.h, C.uint32_t(d), C.uint16_t(v), C.uint64_t(gfn))
	return Access(r.value), onGFN("xc_altp2m_get_mem_access", d, int(v), gfn, r)
}

func (x *xenHandle) ChangeGFN(d DomID, v View, from, to uint64) error {
	r := C.hb_view_change_gfn(x.h, C.uint32_t(d), C.uint16_t(v), C.uint64_t(from), C.uint64_t(to))
	return onGFN("xc_altp2m_change_gfn", d, int(v), from, r)
}

func (x *xenHandle) VCPUView(d DomID, vcpu int) (View, error) {
	r := C.hb_vcpu_view(x.h, C.uint32_t(d), C.uint32_t(vcpu))
	return View(r.value), onVCPU("xc_altp2m_get_vcpu_p2m_idx", d, vcpu, r)
}

func (x *xenHandle) SetTraceMasks(events uint32, cpus []byte) error {
	r := C.hb_trace_masks(x.h, C.uint32_t(events), (*C.uint8_t)(&cpus[0]))
	if e := fail("xc_tbuf_set_evt_mask", &r); e != nil {
		return e
	}
	return nil
}

func (x *xenHandle) EnableTrace(pages uint) (mfn, size uint64, err error) {
	var n C.uint64_t
	r := C.hb_trace_enable(x.h, C.ulong(pages), &n)
	if e := fail("xc_tbuf_enable", &r); e != nil {
		return 0, 0, e
	}
	return uint64(r.value), uint64(n), nil
}

func (x *xenHandle) DisableTrace() error {
	r := C.hb_trace_disable(x.h)
	if e := fail("xc_tbuf_disable", &r); e != nil {
		return e
	}
	return nil
}

type xenStore struct{ s *C.hb_store }

func openStore() (StoreConn, error) {
	var s *C.hb_store
	r := C.hb_store_open(&s)
	if e := fail("xs_open", &r); e != nil {
		return nil, e
	}
	return &xenStore{s}, nil
}

func (s *xenStore) Close() {
	C.hb_store_close(s.s)
	s.s = nil
}

// cString is C.CString. It fails if s has a NUL byte, where C would end it.
func cString(s string) (*C.char, error) {
	if strings.IndexByte(s, 0) >= 0 {
		return nil, fmt.Errorf("xenstore path or token %q has a NUL byte", s)
	}
	return C.CString(s), nil
}

func (s *xenStore) Read(path string) ([]byte, error) {
	p, err := cString(path)
	if err != nil {
		return nil, err
	}
	defer C.free(unsafe.Pointer(p))
	r := C.hb_store_read(s.s, p)
	if r.data == nil {
		return nil, onPath("xs_read", path, r.r)
	}
	defer C.free(r.data)
	return C.GoBytes(r.data, C.int(r.r.value)), nil
}

func (s *xenStore) Write(path string, value []byte) error {
	p, err := cString(path)
	if err != nil {
		return err
	}
	defer C.free(unsafe.Pointer(p))
	return onPath("xs_write", path, C.hb_store_write(s.s, p, unsafe.Pointer(unsafe.SliceData(value)),
		C.size_t(len(value))))
}

func (s *xenStore) Directory(path string) ([]string, error) {
	p, err := cString(path)
	if err != nil {
		return nil, err
	}
	defer C.free(unsafe.Pointer(p))
	r := C.hb_store_directory(s.s, p)
	if r.data == nil {
		return nil, onPath("xs_directory", path, r.r)
	}
	defer C.free(r.data)
	var names []string
	for _, c := range unsafe.Slice((**C.char)(r.data), int(r.r.value)) {
		names = append(names, C.GoString(c))
	}
	return names, nil
}

func (s *xenStore) Remove(path string) error {
	p, err := cString(path)
	if err != nil {
		return err
	}
	defer C.free(unsafe.Pointer(p))
	return onPath("xs_rm", path, C.hb_store_remove(s.s, p))
}
