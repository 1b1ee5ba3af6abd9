package libvmi

import (
	"errors"
	"fmt"
)

// Errors of Open and of the methods of VMI.
var (
	ErrNotBuilt = errors.New("this program was built without LibVMI " +
		"(build it with the tag libvmi, with cgo, and with a LibVMI that pkg-config finds)")
	ErrClosed   = errors.New("the guest is closed")
	ErrNoEvents = errors.New("the guest was opened without events")
	ErrNested   = errors.New("an event's handler called it, within Listen")
)

// Error is a failure of a function of LibVMI. LibVMI returns no reason; it writes one
// to standard error.
type Error struct {
	Func   string // the C function
	Reason string // from its vmi_init_error_t, if it has one
}

func (e *Error) Error() string {
	if e.Reason != "" {
		return e.Func + ": " + e.Reason
	}
	return e.Func + " failed"
}

// PanicError is a panic of an event's handler. The guest was released.
type PanicError struct {
	Value any    // the argument of panic
	Stack string // the stack of the handler
}

func (e *PanicError) Error() string { return fmt.Sprintf("an event's handler panicked: %v", e.Value) }

// PageSize is the size of a guest's page frame in bytes.
const PageSize = 4096

// View is the number of a second-level address translation view (slat_id), which is
// an altp2m view on Xen. Every guest has view 0.
type View uint16

// Trap is a set of accesses to a frame (VMI_MEMACCESS_*): those that are reported, or
// the one that an event reports.
type Trap uint8

// Accesses. TrapNone removes a trap.
const (
	TrapNone  Trap = 1 << 0
	TrapRead  Trap = 1 << 1
	TrapWrite Trap = 1 << 2
	TrapExec  Trap = 1 << 3
	TrapAll        = TrapRead | TrapWrite | TrapExec
)

// Reg names a register whose writes can be reported (reg_t).
type Reg uint32

// CR3 is the control register CR3, with LibVMI's number.
const CR3 Reg = 20

// Kind is the reason of an event (vmi_event_type_t).
type Kind uint8

// Kinds, with LibVMI's numbers.
const (
	KindMemory          Kind = 1
	KindRegister        Kind = 2
	KindSingleStep      Kind = 3
	KindBreakpoint      Kind = 4  // INT3
	KindFailedEmulation Kind = 10 // Xen cannot emulate an instruction that it was asked to emulate
)

func (k Kind) String() string {
	switch k {
	case KindMemory:
		return "memory"
	case KindRegister:
		return "register"
	case KindSingleStep:
		return "single-step"
	case KindBreakpoint:
		return "breakpoint"
	case KindFailedEmulation:
		return "failed emulation"
	}
	return fmt.Sprintf("event type %d", uint8(k))
}

// Spec selects events. The functions below return one.
type Spec struct {
	Kind Kind
	// KindRegister: writes of Reg that change its value. A write that changes only
	// bits of Ignore is answered without the handler. It stops the vCPU all the same:
	// LibVMI cannot have Xen skip it.
	Reg    Reg
	Ignore uint64
	// KindMemory: the accesses Trap to the frame GFN in View or, if Generic, to every
	// frame that SetTrap names.
	Generic bool
	Trap    Trap
	GFN     uint64
	View    View
	// KindSingleStep: bit i selects the steps of vCPU i. If Enable is set, these vCPUs
	// begin to step at once.
	VCPUs  uint32
	Enable bool
}

// GenericMemoryEvent selects the accesses t to every frame that SetTrap names.
// LibVMI has either this event or events of single frames. (SETUP_MEM_EVENT, generic)
func GenericMemoryEvent(t Trap) Spec { return Spec{Kind: KindMemory, Generic: true, Trap: t} }

// MemoryEvent selects the accesses t to one frame in one view. (SETUP_MEM_EVENT)
func MemoryEvent(gfn uint64, t Trap, v View) Spec {
	return Spec{Kind: KindMemory, Trap: t, GFN: gfn, View: v}
}

// RegisterEvent selects the writes of a register that change it. (SETUP_REG_EVENT)
func RegisterEvent(r Reg) Spec { return Spec{Kind: KindRegister, Reg: r} }

// SingleStepEvent selects the single steps of the vCPUs whose bits are set. A vCPU
// begins to step by a Response, or at once if Spec.Enable is set.
// (SETUP_SINGLESTEP_EVENT)
func SingleStepEvent(vcpus uint32) Spec { return Spec{Kind: KindSingleStep, VCPUs: vcpus} }

// BreakpointEvent selects INT3, which the guest does not get then.
// (SETUP_INTERRUPT_EVENT)
func BreakpointEvent() Spec { return Spec{Kind: KindBreakpoint} }

// FailedEmulationEvent selects instructions that Xen cannot emulate. LibVMI 0.15
// cannot clear this event: it ends with Close.
func FailedEmulationEvent() Spec { return Spec{Kind: KindFailedEmulation} }

// Event is one stop of one vCPU. It is valid until the handler returns.
type Event struct {
	Kind Kind
	VCPU int
	View View // the vCPU's view

	GFN    uint64 // memory, single-step, breakpoint: page frame
	Offset uint64 // in the frame, of the same kinds
	// GLA is the virtual address. A memory event has one only if GLAValid is set. If
	// InPageWalk is set, the access was part of the walk of the guest's page tables
	// for GLA.
	GLA                  uint64
	GLAValid, InPageWalk bool
	Access               Trap // memory: the access
	Reg                  Reg  // register
	Value, Previous      uint64
	InsnLen              uint32 // breakpoint

	RIP, RSP, RFLAGS, CR3 uint64
}

// Response is the answer to an event (event_response_t). The zero value lets the
// vCPU continue unchanged, so that it meets a breakpoint again.
type Response struct {
	Emulate    bool // VMI_EVENT_RESPONSE_EMULATE: emulate the instruction, whatever the traps
	ToggleStep bool // VMI_EVENT_RESPONSE_TOGGLE_SINGLESTEP
	SetView    bool // VMI_EVENT_RESPONSE_SLAT_ID: put the vCPU in View
	View       View
	// FastStep executes one instruction, in View if SetView is set, and then puts the
	// vCPU in NextView without an event. (VMI_EVENT_RESPONSE_NEXT_SLAT_ID)
	FastStep bool
	NextView View
	Reinject bool // breakpoint: give it to the guest
}

// Flags of a response, with LibVMI's numbers.
//
//lint:ignore U1000 the build with LibVMI uses them
const (
	flagEmulate    = 1 << 1
	flagToggleStep = 1 << 5
	flagSetView    = 1 << 6
	flagNextView   = 1 << 10
)

// flags returns the response as an event_response_t.
//
//lint:ignore U1000 the build with LibVMI uses it
func (r *Response) flags() uint32 {
	var f uint32
	for _, x := range []struct {
		on   bool
		flag uint32
	}{
		{r.Emulate, flagEmulate}, {r.ToggleStep, flagToggleStep}, {r.SetView, flagSetView}, {r.FastStep, flagNextView},
	} {
		if x.on {
			f |= x.flag
		}
	}
	return f
}

// Registers are the registers of a vCPU (x86_registers_t), without the segments.
type Registers struct {
	RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP uint64
	R8, R9, R10, R11, R12, R13, R14, R15   uint64
	RIP, RFLAGS, CR0, CR2, CR3, CR4        uint64
	EFER, STAR, LSTAR                      uint64
	FSBase, GSBase, KernelGSBase, IDTBase  uint64
	CPL                                    int // DPL of the stack segment
}

// mechanism is the way in which an address is translated
// (translation_mechanism_t).
type mechanism uint32

const (
	byNothing mechanism = 0 // VMI_TM_NONE
	byPID     mechanism = 2 // VMI_TM_PROCESS_PID
	bySymbol  mechanism = 3 // VMI_TM_KERNEL_SYMBOL
)

// Address is a place in the guest's memory (access_context_t). The functions below
// return one.
type Address struct {
	how    mechanism
	addr   uint64
	pid    int32
	symbol string
}

// Physical returns a guest-physical address.
func Physical(pa uint64) Address { return Address{how: byNothing, addr: pa} }

// InProcess returns a virtual address of a process, or of the kernel if pid is 0. It
// needs Config.Linux.
func InProcess(va uint64, pid int32) Address { return Address{how: byPID, addr: va, pid: pid} }

// Symbol returns the address of a symbol of the kernel. It needs Config.Linux.
func Symbol(name string) Address { return Address{how: bySymbol, symbol: name} }

func (a Address) String() string {
	switch a.how {
	case byPID:
		return fmt.Sprintf("%#x of process %d", a.addr, a.pid)
	case bySymbol:
		return a.symbol
	}
	return fmt.Sprintf("%#x", a.addr)
}
