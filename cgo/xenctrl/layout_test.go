//go:build xen && cgo

package xenctrl

import (
	"testing"
	"unsafe"

	"hangbench/cgo/xenctrl/internal/vmevent"
)

// TestLayout compares the layout and the numbers that Go shares with Xen with the headers
// of this build.
func TestLayout(t *testing.T) {
	var e vmevent.Event
	const u, regs = unsafe.Offsetof(e.U), unsafe.Offsetof(e.Regs)
	want := map[string]uintptr{
		"sizeof":                              unsafe.Sizeof(e),
		"req_prod":                            vmevent.ReqProd,
		"req_event":                           vmevent.ReqEvent,
		"rsp_prod":                            vmevent.RspProd,
		"rsp_event":                           vmevent.RspEvent,
		"ring":                                vmevent.Slots,
		"ring_size":                           vmevent.RingSize,
		"version":                             unsafe.Offsetof(e.Version),
		"flags":                               unsafe.Offsetof(e.Flags),
		"reason":                              unsafe.Offsetof(e.Reason),
		"vcpu_id":                             unsafe.Offsetof(e.VCPU),
		"altp2m_idx":                          unsafe.Offsetof(e.Altp2m),
		"u":                                   u,
		"data":                                regs,
		"u.mem_access.gfn":                    u,
		"u.mem_access.offset":                 u + 8,
		"u.mem_access.gla":                    u + 16,
		"u.mem_access.flags":                  u + 24,
		"u.write_ctrlreg.index":               u,
		"u.write_ctrlreg.new_value":           u + 8,
		"u.write_ctrlreg.old_value":           u + 16,
		"u.mov_to_msr.msr":                    u,
		"u.mov_to_msr.new_value":              u + 8,
		"u.mov_to_msr.old_value":              u + 16,
		"u.singlestep.gfn":                    u,
		"u.fast_singlestep.p2midx":            u,
		"u.cpuid.insn_length":                 u,
		"u.software_breakpoint.gfn":           u,
		"u.software_breakpoint.pending_dbg":   u + 8,
		"u.software_breakpoint.insn_length":   u + 16,
		"u.software_breakpoint.type":          u + 20,
		"data.emul.insn":                      regs + unsafe.Offsetof(e.Regs.RAX),
		"data.regs.x86.rax":                   regs + unsafe.Offsetof(e.Regs.RAX),
		"data.regs.x86.rcx":                   regs + unsafe.Offsetof(e.Regs.RCX),
		"data.regs.x86.r8":                    regs + unsafe.Offsetof(e.Regs.R8),
		"data.regs.x86.r15":                   regs + unsafe.Offsetof(e.Regs.R15),
		"data.regs.x86.rflags":                regs + unsafe.Offsetof(e.Regs.RFLAGS),
		"data.regs.x86.dr6":                   regs + unsafe.Offsetof(e.Regs.DR6),
		"data.regs.x86.dr7":                   regs + unsafe.Offsetof(e.Regs.DR7),
		"data.regs.x86.rip":                   regs + unsafe.Offsetof(e.Regs.RIP),
		"data.regs.x86.cr0":                   regs + unsafe.Offsetof(e.Regs.CR0),
		"data.regs.x86.cr2":                   regs + unsafe.Offsetof(e.Regs.CR2),
		"data.regs.x86.cr3":                   regs + unsafe.Offsetof(e.Regs.CR3),
		"data.regs.x86.cr4":                   regs + unsafe.Offsetof(e.Regs.CR4),
		"data.regs.x86.sysenter_cs":           regs + unsafe.Offsetof(e.Regs.SysenterCS),
		"data.regs.x86.sysenter_eip":          regs + unsafe.Offsetof(e.Regs.SysenterEIP),
		"data.regs.x86.msr_efer":              regs + unsafe.Offsetof(e.Regs.EFER),
		"data.regs.x86.msr_star":              regs + unsafe.Offsetof(e.Regs.STAR),
		"data.regs.x86.msr_lstar":             regs + unsafe.Offsetof(e.Regs.LSTAR),
		"data.regs.x86.gdtr_base":             regs + unsafe.Offsetof(e.Regs.GDTRBase),
		"data.regs.x86.fs_base":               regs + unsafe.Offsetof(e.Regs.FSBase),
		"data.regs.x86.gs_base":               regs + unsafe.Offsetof(e.Regs.GSBase),
		"data.regs.x86.cs":                    regs + unsafe.Offsetof(e.Regs.CS),
		"data.regs.x86.ss":                    regs + unsafe.Offsetof(e.Regs.SS),
		"data.regs.x86.shadow_gs":             regs + unsafe.Offsetof(e.Regs.ShadowGS),
		"data.regs.x86.gdtr_limit":            regs + unsafe.Offsetof(e.Regs.GDTRLimit),
		"data.regs.x86.cs_sel":                regs + unsafe.Offsetof(e.Regs.CSSel),
		"data.regs.x86.ss_sel":                regs + unsafe.Offsetof(e.Regs.SSSel),
		"data.regs.x86.gs_sel":                regs + unsafe.Offsetof(e.Regs.GSSel),
		"VM_EVENT_REASON_MEM_ACCESS":          uintptr(ReasonMemAccess),
		"VM_EVENT_REASON_WRITE_CTRLREG":       uintptr(ReasonWriteCtrlReg),
		"VM_EVENT_REASON_MOV_TO_MSR":          uintptr(ReasonMovToMSR),
		"VM_EVENT_REASON_SOFTWARE_BREAKPOINT": uintptr(ReasonSoftwareBreakpoint),
		"VM_EVENT_REASON_SINGLESTEP":          uintptr(ReasonSingleStep),
		"VM_EVENT_REASON_GUEST_REQUEST":       uintptr(ReasonGuestRequest),
		"VM_EVENT_REASON_DEBUG_EXCEPTION":     uintptr(ReasonDebugException),
		"VM_EVENT_REASON_CPUID":               uintptr(ReasonCPUID),
		"VM_EVENT_FLAG_VCPU_PAUSED":           uintptr(FlagVCPUPaused),
		"VM_EVENT_FLAG_EMULATE":               uintptr(FlagEmulate),
		"VM_EVENT_FLAG_TOGGLE_SINGLESTEP":     uintptr(FlagToggleSingleStep),
		"VM_EVENT_FLAG_DENY":                  uintptr(FlagDeny),
		"VM_EVENT_FLAG_ALTERNATE_P2M":         uintptr(FlagAlternateP2M),
		"VM_EVENT_FLAG_SET_REGISTERS":         uintptr(FlagSetRegisters),
		"VM_EVENT_FLAG_SET_EMUL_INSN_DATA":    uintptr(FlagSetEmulInsn),
		"VM_EVENT_FLAG_FAST_SINGLESTEP":       uintptr(FlagFastSingleStep),
		"VM_EVENT_X86_CR3":                    uintptr(CR3),
		"XENMEM_access_rwx":                   uintptr(AccessRWX),
		"XENMEM_access_rw":                    uintptr(AccessRW),
		"XENMEM_access_n2rwx":                 uintptr(AccessN2RWX),
		"HB_ACCESS_RPW":                       uintptr(AccessRPW),
		"HB_ACCESS_DEFAULT":                   uintptr(AccessDefault),
		"XEN_DOMINF_hvm_guest":                domHVM,
		"XEN_DOMINF_paused":                   domPaused,
		"XEN_DOMINF_running":                  domRunning,
		"XEN_DOMINF_shutdownshift":            domShutdownShift,
		"DOMID_XEN":                           uintptr(domXen),
		"TRC_HVM_NPF":                         traceNPF,
		"TRC_HVM_VMX_EXIT64":                  traceVMExit64,
		"TRC_HVM_VMX_EXIT":                    traceVMExit,
		"TRC_HVM_VMENTRY":                     traceVMEntry,
		"TRC_SCHED_RUNSTATE_CHANGE":           traceRunstate,
		"TRC_LOST_RECORDS":                    traceLost,
		"TRC_TRACE_WRAP_BUFFER":               traceWrap,
		"TRC_HVM_HANDLER":                     uintptr(TraceHandlers),
		"TRC_HVM_ENTRYEXIT":                   uintptr(TraceEntryExit),
		"TRC_SCHED_MIN":                       uintptr(TraceRunstate),
		"TRC_PV_ENTRY":                        uintptr(TracePVEntry),
		"TRC_PV_HYPERCALL_V2":                 traceHypercall,
		"__HYPERVISOR_iret":                   uintptr(HypercallIret),
		"__HYPERVISOR_sched_op":               uintptr(HypercallSchedOp),
		"__HYPERVISOR_event_channel_op":       uintptr(HypercallEventChannel),
		"__HYPERVISOR_hvm_op":                 uintptr(HypercallHVMOp),
		"__HYPERVISOR_domctl":                 uintptr(HypercallDomctl),
		"t_buf.cons":                          tbufCons,
		"t_buf.prod":                          tbufProd,
		"sizeof t_buf":                        tbufData,
		"t_info.mfn_offset":                   2,
	}
	got := headerLayout()
	for name, off := range got {
		w, ok := want[name]
		if !ok {
			t.Errorf("%s of the header is compared with nothing", name)
		} else if w != off {
			t.Errorf("%s: %#x here, %#x in the header", name, w, off)
		}
	}
	for name := range want {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is not in layout.go's table", name)
		}
	}
}
