package xenctrl

import (
	"fmt"

	"hangbench/cgo/xenctrl/internal/vmevent"
)

// Reason says what an event is about (VM_EVENT_REASON_*).
type Reason uint32

// Reasons of events.
const (
	ReasonUnknown            Reason = 0
	ReasonMemAccess          Reason = 1 // a page's permissions were violated
	ReasonWriteCtrlReg       Reason = 4
	ReasonMovToMSR           Reason = 5
	ReasonSoftwareBreakpoint Reason = 6 // INT3
	ReasonSingleStep         Reason = 7 // one instruction was executed (monitor trap flag)
	ReasonGuestRequest       Reason = 8
	ReasonDebugException     Reason = 9
	ReasonCPUID              Reason = 10
	ReasonInterrupt          Reason = 12
	ReasonDescriptorAccess   Reason = 13
	ReasonEmulUnimplemented  Reason = 14 // the emulator does not know the instruction
	ReasonVMExit             Reason = 15
	ReasonIO                 Reason = 16

	// NumReasons bounds every Reason: an array of this length can count by reason.
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

// Flags. Those without a note are for responses; all of them take effect only
// on a vCPU that waits for the response (FlagVCPUPaused).
const (
	FlagVCPUPaused       Flags = 1 << 0 // event: the vCPU waits for a response; response: let it go on
	FlagForeign          Flags = 1 << 1 // event: caused by another domain
	FlagEmulate          Flags = 1 << 2 // emulate the instruction, permissions stay (mem-access: GFN and Access must be the event's)
	FlagEmulateNoWrite   Flags = 1 << 3 // with FlagEmulate: without its writes
	FlagToggleSingleStep Flags = 1 << 4 // flip single-stepping
	FlagDeny             Flags = 1 << 6 // undo the register write that was reported
	FlagAlternateP2M     Flags = 1 << 7 // event: View is where it happened; response: go on in View
	FlagSetRegisters     Flags = 1 << 8 // take the general registers, RIP and RFLAGS from Regs
	FlagSetEmulInsn      Flags = 1 << 9 // with FlagEmulate on a software breakpoint: run Insn instead of memory
	FlagNextInterrupt    Flags = 1 << 10
	FlagFastSingleStep   Flags = 1 << 11 // execute one instruction, then switch to StepView without an event
	FlagNestedP2M        Flags = 1 << 12 // event: a nested guest
)

// responseFlags are the flags a Response may carry.
const responseFlags = FlagVCPUPaused | FlagEmulate | FlagEmulateNoWrite | FlagToggleSingleStep | FlagDeny |
	FlagAlternateP2M | FlagSetRegisters | FlagSetEmulInsn | FlagNextInterrupt | FlagFastSingleStep

// AccessFlags tell how a page was touched (MEM_ACCESS_*). Reads are also set
// for writes: hardware does not reliably tell a read-modify-write apart.
type AccessFlags uint32

// Bits of AccessFlags.
const (
	TouchedR     AccessFlags = 1 << 0
	TouchedW     AccessFlags = 1 << 1
	TouchedX     AccessFlags = 1 << 2
	GLAValid     AccessFlags = 1 << 3 // Event.GLA is a virtual address
	FaultWithGLA AccessFlags = 1 << 4 // by access through GLA
	FaultInGPT   AccessFlags = 1 << 5 // by the walk of the guest's page tables for GLA
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

// Event is one request of the ring, copied out of it.
type Event struct {
	Reason Reason
	Flags  Flags
	VCPU   int
	View   View // with FlagAlternateP2M: the view the vCPU was in

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

	Regs Registers // at the event; the instruction has not been executed, except after a single step
}

// Response returns the plain answer to the event: the vCPU goes on if it
// waits. The caller adds what else shall happen.
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

	View     View // with FlagAlternateP2M: view to go on in
	StepView View // with FlagFastSingleStep: view after the step

	GFN     uint64      // mem-access with FlagEmulate: the event's
	Access  AccessFlags // likewise; Xen emulates only if this still violates the page's permissions
	CtrlReg CtrlReg     // with FlagDeny: the event's

	Insn [16]byte   // with FlagSetEmulInsn
	Regs *Registers // with FlagSetRegisters: only RAX to R15, RIP and RFLAGS are taken
}

// check refuses responses that Xen would misread.
func (r *Response) check() error {
	fast := r.Flags&FlagFastSingleStep != 0
	switch {
	case r.Flags&^responseFlags != 0:
		return fmt.Errorf("response flags %#x: unknown to Xen or not for responses", uint32(r.Flags&^responseFlags))
	case r.VCPU < 0:
		return fmt.Errorf("response for vCPU %d: negative", r.VCPU)
	case fast && r.Flags&FlagToggleSingleStep != 0:
		return fmt.Errorf("response asks for a fast single-step and for toggling single-step: Xen would ignore the fast one")
	case fast && r.Flags&(FlagEmulate|FlagDeny) != 0:
		return fmt.Errorf("response asks for a fast single-step together with emulation or denial: they share a field of the ring")
	case r.Flags&FlagSetRegisters != 0 && r.Regs == nil:
		return fmt.Errorf("response sets registers but has none")
	case r.Flags&FlagSetRegisters != 0 && r.Flags&FlagSetEmulInsn != 0:
		return fmt.Errorf("response sets registers and an instruction: they share a field of the ring")
	}
	return nil
}

// decode spreads a private copy of a request over ev.
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

// encode writes r over the slot raw, all of it: a slot still holds the request
// it came with.
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
		// data.emul.insn starts where the registers start.
		raw.Regs.RAX, raw.Regs.RCX = le64(r.Insn[:8]), le64(r.Insn[8:])
	}
}
