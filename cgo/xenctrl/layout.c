//go:build xen && cgo

/* The layout in the headers of this build of what Go code reads and writes. A test
 * compares it with Go's (layout_test.go). */
#define __XEN_TOOLS__ 1

#include "shim.h"

#include <stddef.h>

#include "compat.h"

#include <xen/vm_event.h>

_Static_assert(VM_EVENT_INTERFACE_VERSION == 7, "vmevent has version 7 of the vm_event interface");
_Static_assert(__CONST_RING_SIZE(vm_event, 4096) == 8, "vmevent has eight slots");

#define EV(f) { #f, offsetof(vm_event_request_t, f) }
#define VALUE(f) { #f, f }
static const hb_offset layout[] = {
    { "sizeof", sizeof(vm_event_request_t) },
    { "req_prod", offsetof(vm_event_sring_t, req_prod) },
    { "req_event", offsetof(vm_event_sring_t, req_event) },
    { "rsp_prod", offsetof(vm_event_sring_t, rsp_prod) },
    { "rsp_event", offsetof(vm_event_sring_t, rsp_event) },
    { "ring", offsetof(vm_event_sring_t, ring) },
    { "ring_size", __CONST_RING_SIZE(vm_event, 4096) },
    EV(version), EV(flags), EV(reason), EV(vcpu_id), EV(altp2m_idx), EV(u), EV(data),
    EV(u.mem_access.gfn), EV(u.mem_access.offset), EV(u.mem_access.gla), EV(u.mem_access.flags),
    EV(u.write_ctrlreg.index), EV(u.write_ctrlreg.new_value), EV(u.write_ctrlreg.old_value),
    EV(u.mov_to_msr.msr), EV(u.mov_to_msr.new_value), EV(u.mov_to_msr.old_value),
    EV(u.singlestep.gfn), EV(u.fast_singlestep.p2midx), EV(u.cpuid.insn_length),
    EV(u.software_breakpoint.gfn), EV(u.software_breakpoint.pending_dbg),
    EV(u.software_breakpoint.insn_length), EV(u.software_breakpoint.type),
    EV(data.emul.insn), EV(data.regs.x86.rax), EV(data.regs.x86.rcx), EV(data.regs.x86.r8),
    EV(data.regs.x86.r15), EV(data.regs.x86.rflags), EV(data.regs.x86.dr6), EV(data.regs.x86.dr7),
    EV(data.regs.x86.rip), EV(data.regs.x86.cr0), EV(data.regs.x86.cr2), EV(data.regs.x86.cr3),
    EV(data.regs.x86.cr4), EV(data.regs.x86.sysenter_cs), EV(data.regs.x86.sysenter_eip),
    EV(data.regs.x86.msr_efer), EV(data.regs.x86.msr_star), EV(data.regs.x86.msr_lstar),
    EV(data.regs.x86.gdtr_base), EV(data.regs.x86.fs_base), EV(data.regs.x86.gs_base),
    EV(data.regs.x86.cs), EV(data.regs.x86.ss), EV(data.regs.x86.shadow_gs), EV(data.regs.x86.gdtr_limit),
    EV(data.regs.x86.cs_sel), EV(data.regs.x86.ss_sel), EV(data.regs.x86.gs_sel),
    VALUE(VM_EVENT_REASON_MEM_ACCESS), VALUE(VM_EVENT_REASON_WRITE_CTRLREG), VALUE(VM_EVENT_REASON_MOV_TO_MSR),
    VALUE(VM_EVENT_REASON_SOFTWARE_BREAKPOINT), VALUE(VM_EVENT_REASON_SINGLESTEP), VALUE(VM_EVENT_REASON_GUEST_REQUEST),
    VALUE(VM_EVENT_REASON_DEBUG_EXCEPTION), VALUE(VM_EVENT_REASON_CPUID),
    VALUE(VM_EVENT_FLAG_VCPU_PAUSED), VALUE(VM_EVENT_FLAG_EMULATE), VALUE(VM_EVENT_FLAG_TOGGLE_SINGLESTEP),
    VALUE(VM_EVENT_FLAG_DENY), VALUE(VM_EVENT_FLAG_ALTERNATE_P2M), VALUE(VM_EVENT_FLAG_SET_REGISTERS),
    VALUE(VM_EVENT_FLAG_SET_EMUL_INSN_DATA), VALUE(VM_EVENT_FLAG_FAST_SINGLESTEP), VALUE(VM_EVENT_X86_CR3),
    VALUE(XENMEM_access_rwx), VALUE(XENMEM_access_rw), VALUE(XENMEM_access_n2rwx), VALUE(HB_ACCESS_RPW),
    VALUE(HB_ACCESS_DEFAULT),
    VALUE(XEN_DOMINF_hvm_guest), VALUE(XEN_DOMINF_paused), VALUE(XEN_DOMINF_running), VALUE(XEN_DOMINF_shutdownshift),
    VALUE(DOMID_XEN), VALUE(TRC_HVM_NPF), VALUE(TRC_HVM_VMX_EXIT64), VALUE(TRC_HVM_VMX_EXIT), VALUE(TRC_HVM_VMENTRY),
    VALUE(TRC_SCHED_RUNSTATE_CHANGE), VALUE(TRC_LOST_RECORDS), VALUE(TRC_TRACE_WRAP_BUFFER),
    VALUE(TRC_HVM_HANDLER), VALUE(TRC_HVM_ENTRYEXIT), VALUE(TRC_SCHED_MIN),
    VALUE(TRC_PV_ENTRY), VALUE(TRC_PV_HYPERCALL_V2), VALUE(__HYPERVISOR_iret), VALUE(__HYPERVISOR_sched_op),
    VALUE(__HYPERVISOR_event_channel_op), VALUE(__HYPERVISOR_hvm_op), VALUE(__HYPERVISOR_domctl),
    { "t_buf.cons", offsetof(struct t_buf, cons) }, { "t_buf.prod", offsetof(struct t_buf, prod) },
    { "sizeof t_buf", sizeof(struct t_buf) }, { "t_info.mfn_offset", offsetof(struct t_info, mfn_offset) },
};

const hb_offset *hb_layout(size_t *n)
{
    *n = sizeof(layout) / sizeof(layout[0]);
    return layout;
}
