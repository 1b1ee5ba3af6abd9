package xenctrl

import (
	"errors"
	"fmt"

	"hangbench/cgo/xenctrl/internal/vmevent"
)

// Reason is the reason of an event (VM_EVENT_REASON_*).
type Reason uint32

// Reasons of events.
const (
	ReasonUnknown            Reason = 0
	ReasonMemAccess          Reason = 1 // an access violated the permissions of a page
	ReasonWriteCtrlReg       Reason = 4
	ReasonMovToMSR           Reason = 5
	ReasonSoftwareBreakpoint Reason = 6 // INT3
	ReasonSingleStep         Reason = 7 // one instruction was executed (monitor trap flag)
	ReasonGuestRequest       Reason = 8
	ReasonDebugException     Reason = 9
	ReasonCPUID              Reason = 10
	ReasonInterrupt          Reason = 12
	ReasonDescriptorAccess   Reason = 13
	ReasonEmulUnimplemented  Reason = 14 // Xen cannot emulate the instruction
	ReasonVMExit             Reason = 15
	ReasonIO                 Reason = 16

	// NumReasons is above every Reason: an array of this length can count by reason.
	NumReasons = 17
)

func (r Reason) String() string {
	names := [NumReasons]string{
		ReasonUnknown: "unknown", ReasonMemAccess: "mem-access", 2: "mem-sharing", 3: "mem-paging",
		ReasonWriteCtrlReg: "write-ctrlreg", ReasonMovToMSR: "mov-to-msr",
		ReasonSoftwareBreakpoint: "software-breakpoint", ReasonSingleStep: "single-step",
		ReasonGuestRequest: "guest-request", ReasonDebugException: "debug-exception", ReasonCPUID: "cpuid",
		11: "privileged-call", ReasonInterrupt: "interrupt", ReasonDescriptorAccess: "descriptor-access",
		ReasonEmulUnimplemented: "emul-unimplemented", ReasonVMExit: "vmexit", ReasonIO: "io",
	}
	if r < NumReasons {
		return names[r]
	}
	return fmt.Sprintf("reason %d", uint32(r))
}

// Flags of events and responses (VM_EVENT_FLAG_*).
type Flags uint32

// Flags. Those without "event" are for responses. They take effect only on a vCPU that
// waits for the response (FlagVCPUPaused).
const (
	FlagVCPUPaused Flags = 1 << 0 // event: the vCPU waits for a response; response: let it continue
	FlagForeign    Flags = 1 << 1 // event: another domain caused it
	// FlagEmulate: emulate the instruction, whatever the permissions. For a mem-access
	// event GFN and Access must be the event's.
	FlagEmulate          Flags = 1 << 2
	FlagEmulateNoWrite   Flags = 1 << 3 // with FlagEmulate: without its writes
	FlagToggleSingleStep Flags = 1 << 4 // turn single-stepping on if it is off, off if it is on
	FlagDeny             Flags = 1 << 6 // do not write the register whose write was reported
	FlagAlternateP2M     Flags = 1 << 7 // event: View is the vCPU's view; response: put the vCPU in View
	FlagSetRegisters     Flags = 1 << 8 // set the general registers, RIP and RFLAGS to those of Regs
	FlagSetEmulInsn      Flags = 1 << 9 // with FlagEmulate on a software breakpoint: emulate Insn
	FlagNextInterrupt    Flags = 1 << 10
	// FlagFastSingleStep: execute one instruction, then put the vCPU in StepView, without an
	// event. [Monitor.SingleStep] must be on.
	FlagFastSingleStep Flags = 1 << 11
	FlagNestedP2M      Flags = 1 << 12 // event: a nested guest
)

// responseFlags are the flags of responses.
const responseFlags = FlagVCPUPaused | FlagEmulate | FlagEmulateNoWrite | FlagToggleSingleStep | FlagDeny |
	FlagAlternateP2M | FlagSetRegisters | FlagSetEmulInsn | FlagNextInterrupt | FlagFastSingleStep

// AccessFlags describe an access to a page (MEM_ACCESS_*). A write also has TouchedR:
// the hardware does not reliably tell a write from a read-modify-write.
type AccessFlags uint32

// Bits of AccessFlags.
const (
	TouchedR     AccessFlags = 1 << 0
	TouchedW     AccessFlags = 1 << 1
	TouchedX     AccessFlags = 1 << 2
	GLAValid     AccessFlags = 1 << 3 // Event.GLA is a virtual address
	FaultWithGLA AccessFlags = 1 << 4 // the access was at GLA
	FaultInGPT   AccessFlags = 1 << 5 // the access was part of the walk of the guest's page tables for GLA
)

// CtrlReg numbers a control register (VM_EVENT_X86_*).
type CtrlReg uint32

// Control registers whose writes can be reported.
const (
	CR0  CtrlReg = 0
	CR3  CtrlReg = 1
	CR4  CtrlReg = 2
	XCR0 CtrlReg = 3
)

// Event is a copy of one request of the ring.
type Event struct {
	Reason Reason
	Flags  Flags
	VCPU   int
	View   View // with FlagAlternateP2M: the vCPU's view

	GFN    uint64      // mem-access, single-step, breakpoints: page frame
	Offset uint64      // mem-access: within the page
	GLA    uint64      // mem-access: virtual address, if Access has GLAValid
	Access AccessFlags // mem-access

	CtrlReg  CtrlReg // write-ctrlreg
	MSR      uint64  // mov-to-msr
	NewValue uint64  // write-ctrlreg, mov-to-msr
	OldValue uint64  // write-ctrlreg, mov-to-msr

	InsnLen    uint32 // breakpoints, cpuid: bytes
	TrapType   uint8  // breakpoints: Xen's event type, 6 = INT3
	PendingDbg uint64 // debug-exception

	Regs Registers // at the event: before the instruction, or after it if the event is a single step
}

// Response returns the plain answer to the event: if the vCPU waits, it continues. The
// caller adds flags.
func (e *Event) Response() Response {
	return Response{
		VCPU: e.VCPU, Reason: e.Reason, Flags: e.Flags & FlagVCPUPaused,
		GFN: e.GFN, Access: e.Access, CtrlReg: e.CtrlReg,
	}
}

// Response is the answer to one event. Make it with [Event.Response].
type Response struct {
	VCPU   int
	Reason Reason // the event's
	Flags  Flags

	View     View // with FlagAlternateP2M
	StepView View // with FlagFastSingleStep: the view after the step

	// GFN and Access are the event's: mem-access with FlagEmulate. Xen emulates only if
	// Access still violates the page's permissions.
	GFN     uint64
	Access  AccessFlags
	CtrlReg CtrlReg // with FlagDeny: the event's

	Insn [16]byte   // with FlagSetEmulInsn
	Regs *Registers // with FlagSetRegisters: RAX to R15, RIP and RFLAGS are set
}

// check returns an error for a response that Xen would misread.
func (r *Response) check() error {
	fast := r.Flags&FlagFastSingleStep != 0
	switch {
	case r.Flags&^responseFlags != 0:
		return fmt.Errorf("response flags %#x: Xen does not know them, or they are for events",
			uint32(r.Flags&^responseFlags))
	case r.VCPU < 0:
		return fmt.Errorf("response for vCPU %d: negative", r.VCPU)
	case fast && r.Flags&FlagToggleSingleStep != 0:
		return errors.New("response with FlagFastSingleStep and FlagToggleSingleStep: Xen would ignore the first")
	case fast && r.Flags&(FlagEmulate|FlagDeny) != 0:
		return errors.New("response with FlagFastSingleStep and FlagEmulate or FlagDeny: they share a field of the ring")
	case r.Flags&FlagSetRegisters != 0 && r.Regs == nil:
		return errors.New("response with FlagSetRegisters and without Regs")
	case r.Flags&FlagSetRegisters != 0 && r.Flags&FlagSetEmulInsn != 0:
		return errors.New("response with FlagSetRegisters and FlagSetEmulInsn: they share a field of the ring")
	}
	return nil
}

// decode sets ev from a private copy of a request.
func decode(raw *vmevent.Event, ev *Event) {
	ev.Reason = Reason(raw.Reason)
	ev.Flags = Flags(raw.Flags)
	ev.VCPU = int(raw.VCPU)
	ev.View = View(raw.Altp2m)
	ev.GFN, ev.Offset, ev.GLA, ev.Access = 0, 0, 0, 0
	ev.CtrlReg, ev.MSR, ev.NewValue, ev.OldValue = 0, 0, 0, 0
	ev.InsnLen, ev.TrapType, ev.PendingDbg = 0, 0, 0
	switch ev.Reason {
	case ReasonMemAccess:
		ev.GFN, ev.Offset, ev.GLA = raw.U[0], raw.U[1]&(PageSize-1), raw.U[2]
		ev.Access = AccessFlags(uint32(raw.U[3]))
	case ReasonWriteCtrlReg:
		ev.CtrlReg, ev.NewValue, ev.OldValue = CtrlReg(uint32(raw.U[0])), raw.U[1], raw.U[2]
	case ReasonMovToMSR:
		ev.MSR, ev.NewValue, ev.OldValue = raw.U[0], raw.U[1], raw.U[2]
	case ReasonSingleStep:
		ev.GFN = raw.U[0]
	case ReasonSoftwareBreakpoint, ReasonDebugException:
		ev.GFN, ev.PendingDbg = raw.U[0], raw.U[1]
		ev.InsnLen, ev.TrapType = uint32(raw.U[2]), uint8(raw.U[2]>>32)
	case ReasonCPUID:
		ev.InsnLen = uint32(raw.U[0])
	}
	r, s := &ev.Regs, &raw.Regs
	r.RAX, r.RCX, r.RDX, r.RBX, r.RSP, r.RBP, r.RSI, r.RDI = s.RAX, s.RCX, s.RDX, s.RBX, s.RSP, s.RBP, s.RSI, s.RDI
	r.R8, r.R9, r.R10, r.R11, r.R12, r.R13, r.R14, r.R15 = s.R8, s.R9, s.R10, s.R11, s.R12, s.R13, s.R14, s.R15
	r.RIP, r.RFLAGS = s.RIP, s.RFLAGS
	r.CR0, r.CR2, r.CR3, r.CR4, r.DR6, r.DR7 = s.CR0, s.CR2, s.CR3, s.CR4, s.DR6, s.DR7
	r.EFER, r.STAR, r.LSTAR = s.EFER, s.STAR, s.LSTAR
	r.SysenterCS, r.SysenterESP, r.SysenterEIP = s.SysenterCS, s.SysenterESP, s.SysenterEIP
	r.FSBase, r.GSBase, r.KernelGSBase, r.GDTBase, r.GDTLimit = s.FSBase, s.GSBase, s.ShadowGS, s.GDTRBase, s.GDTRLimit
	r.CSSel, r.SSSel, r.DSSel, r.ESSel, r.FSSel, r.GSSel = s.CSSel, s.SSSel, s.DSSel, s.ESSel, s.FSSel, s.GSSel
	r.CSAttr, r.SSAttr = uint16(s.CS>>20), uint16(s.SS>>20)
	r.IDTBase, r.IDTLimit, r.PendingEvent = 0, 0, 0
}

// encode writes r to the slot raw. It writes the whole slot, which still holds the
// request.
func (r *Response) encode(raw *vmevent.Event) {
	*raw = vmevent.Event{
		Version: vmevent.Version, Flags: uint32(r.Flags), Reason: uint32(r.Reason),
		VCPU: uint32(r.VCPU), Altp2m: uint16(r.View),
	}
	switch {
	case r.Flags&FlagFastSingleStep != 0:
		raw.U[0] = uint64(r.StepView)
	case r.Reason == ReasonMemAccess:
		raw.U[0], raw.U[3] = r.GFN, uint64(r.Access)
	case r.Reason == ReasonWriteCtrlReg:
		raw.U[0] = uint64(r.CtrlReg)
	}
	switch {
	case r.Flags&FlagSetRegisters != 0:
		s, d := r.Regs, &raw.Regs
		d.RAX, d.RCX, d.RDX, d.RBX, d.RSP, d.RBP, d.RSI, d.RDI = s.RAX, s.RCX, s.RDX, s.RBX, s.RSP, s.RBP, s.RSI, s.RDI
		d.R8, d.R9, d.R10, d.R11, d.R12, d.R13, d.R14, d.R15 = s.R8, s.R9, s.R10, s.R11, s.R12, s.R13, s.R14, s.R15
		d.RIP, d.RFLAGS = s.RIP, s.RFLAGS
	case r.Flags&FlagSetEmulInsn != 0:
		// data.emul.insn and the registers have the same offset.
		raw.Regs.RAX, raw.Regs.RCX = le64(r.Insn[:8]), le64(r.Insn[8:])
	}
}
