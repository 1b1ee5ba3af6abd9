package libvmi

import (
	"errors"
	"fmt"
)

// Errors that Open and the methods of VMI may return.
var (
	ErrNotBuilt = errors.New("this program was not built with LibVMI (build tag libvmi, with cgo and a LibVMI that pkg-config finds)")
	ErrClosed   = errors.New("the guest is closed")
	ErrNoEvents = errors.New("the guest was opened without events")
	ErrNested   = errors.New("called by an event's handler, within Listen")
)

// Error is a failure of a function of LibVMI, which gives no reason but writes it
// to standard error.
type Error struct {
	Func   string // the C function
	Reason string // what vmi_init_error_t says, of functions that have one
}

func (e *Error) Error() string {
	if e.Reason != "" {
		return e.Func + ": " + e.Reason
	}
	return e.Func + " failed"
}

// PanicError is a panic of an event's handler. The guest was released.
type PanicError struct {
	Value any    // what was panicked with
	Stack string // where
}

func (e *PanicError) Error() string { return fmt.Sprintf("an event's handler panicked: %v", e.Value) }

// PageSize is the size of a guest's page frame in bytes.
const PageSize = 4096

// View is a second-level address translation view (slat_id), altp2m on Xen. View
// 0 is the one that every guest has.
type View uint16

// Trap says which accesses to a frame are reported (VMI_MEMACCESS_*), and of an
// event which one it was.
type Trap uint8

// Accesses. TrapNone takes a trap back.
const (
	TrapNone  Trap = 1 << 0
	TrapRead  Trap = 1 << 1
	TrapWrite Trap = 1 << 2
	TrapExec  Trap = 1 << 3
	TrapAll        = TrapRead | TrapWrite | TrapExec
)

// Reg names a register whose writes can be reported (reg_t).
type Reg uint32

// Registers, by LibVMI's numbers.
const (
	CR0  Reg = 18
	CR3  Reg = 20
	CR4  Reg = 21
	XCR0 Reg = 22
)

// Kind is why the guest was stopped (vmi_event_type_t).
type Kind uint8

// Kinds, by LibVMI's numbers.
const (
	KindMemory          Kind = 1
	KindRegister        Kind = 2
	KindSingleStep      Kind = 3
	KindBreakpoint      Kind = 4 // INT3
	KindGuestRequest    Kind = 5
	KindFailedEmulation Kind = 10 // an instruction that was to be emulated cannot be
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
	case KindGuestRequest:
		return "guest request"
	case KindFailedEmulation:
		return "failed emulation"
	}
	return fmt.Sprintf("event type %d", uint8(k))
}

// Spec says what events are wanted. The functions below make one.
type Spec struct {
	Kind Kind
	// KindRegister: writes of Reg that change it. Those that change no bits but
	// the ones of Ignore are answered without the handler, each after its stop of
	// the vCPU: LibVMI cannot have Xen leave them out.
	Reg    Reg
	Ignore uint64
	// KindMemory: the accesses to the frame GFN in View, or, if Generic, of all
	// frames that SetTrap names.
	Generic bool
	Trap    Trap
	GFN     uint64
	View    View
	// KindSingleStep: a bit for each vCPU whose steps are wanted, of the first 32,
	// and whether they begin to step at once.
	VCPUs  uint32
	Enable bool
}

// GenericMemoryEvent wants the accesses t to every frame that SetTrap names.
// LibVMI has either this or events of single frames. (SETUP_MEM_EVENT, generic)
func GenericMemoryEvent(t Trap) Spec { return Spec{Kind: KindMemory, Generic: true, Trap: t} }

// MemoryEvent wants the accesses t to a frame, in a view. (SETUP_MEM_EVENT)
func MemoryEvent(gfn uint64, t Trap, v View) Spec {
	return Spec{Kind: KindMemory, Trap: t, GFN: gfn, View: v}
}

// RegisterEvent wants the writes of a register that change it. (SETUP_REG_EVENT)
func RegisterEvent(r Reg) Spec { return Spec{Kind: KindRegister, Reg: r} }

// SingleStepEvent wants the steps of the vCPUs whose bits are set. They begin to
// step by a Response, or at once with Enable. (SETUP_SINGLESTEP_EVENT)
func SingleStepEvent(vcpus uint32) Spec { return Spec{Kind: KindSingleStep, VCPUs: vcpus} }

// BreakpointEvent wants INT3 instead of the guest having it.
// (SETUP_INTERRUPT_EVENT)
func BreakpointEvent() Spec { return Spec{Kind: KindBreakpoint} }

// GuestRequestEvent wants what the guest tells by a VMCALL of HVMOP_guest_request_vm_event.
func GuestRequestEvent() Spec { return Spec{Kind: KindGuestRequest} }

// FailedEmulationEvent wants instructions that Xen cannot emulate. LibVMI 0.15
// cannot clear it: it ends with Close.
func FailedEmulationEvent() Spec { return Spec{Kind: KindFailedEmulation} }

// Event is one stop of one vCPU. It is the binding's, and valid until the handler
// returns.
type Event struct {
	Kind Kind
	VCPU int
	View View // the view the vCPU was in

	GFN    uint64 // memory, single-step, breakpoint: page frame
	Offset uint64 // likewise: in the frame
	// GLA is the virtual address, of a memory event only if GLAValid; InPageWalk
	// says that it was met by the walk of the guest's page tables for GLA.
	GLA                  uint64
	GLAValid, InPageWalk bool
	Access               Trap // memory: what was done
	Reg                  Reg  // register
	Value, Previous      uint64
	InsnLen              uint32 // breakpoint

	RIP, RSP, RFLAGS, CR3 uint64
}

// Response is the answer to an event (event_response_t). The zero value lets the
// vCPU go on as it was; a breakpoint it meets again.
type Response struct {
	Emulate        bool // VMI_EVENT_RESPONSE_EMULATE: whatever the traps
	EmulateNoWrite bool // VMI_EVENT_RESPONSE_EMULATE_NOWRITE
	Deny           bool // VMI_EVENT_RESPONSE_DENY: the write of the register is undone
	ToggleStep     bool // VMI_EVENT_RESPONSE_TOGGLE_SINGLESTEP
	SetView        bool // VMI_EVENT_RESPONSE_SLAT_ID: go on in View
	View           View
	// FastStep executes one instruction (in View, with SetView) and goes on in
	// NextView, without an event. VMI_EVENT_RESPONSE_NEXT_SLAT_ID
	FastStep bool
	NextView View
	Reinject bool // breakpoint: give it to the guest
}

// Flags of a response, by LibVMI's numbers.
const (
	flagEmulate        = 1 << 1
	flagEmulateNoWrite = 1 << 2
	flagDeny           = 1 << 4
	flagToggleStep     = 1 << 5
	flagSetView        = 1 << 6
	flagNextView       = 1 << 10
)

// flags is the response as LibVMI has it.
func (r *Response) flags() uint32 {
	var f uint32
	for _, x := range []struct {
		on   bool
		flag uint32
	}{
		{r.Emulate, flagEmulate}, {r.EmulateNoWrite, flagEmulateNoWrite}, {r.Deny, flagDeny},
		{r.ToggleStep, flagToggleStep}, {r.SetView, flagSetView}, {r.FastStep, flagNextView},
	} {
		if x.on {
			f |= x.flag
		}
	}
	return f
}

// Registers are the registers of a vCPU (x86_registers_t), without its segments.
type Registers struct {
	RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP uint64
	R8, R9, R10, R11, R12, R13, R14, R15   uint64
	RIP, RFLAGS, CR0, CR2, CR3, CR4        uint64
	EFER, STAR, LSTAR                      uint64
	FSBase, GSBase, KernelGSBase, IDTBase  uint64
	CPL                                    int // DPL of the stack segment
}

// Status is the state of the guest as a whole (domain_status_t).
type Status struct {
	Dying, Shutdown, Paused, Blocked, Running, Debugged bool
}

// How an address is translated (translation_mechanism_t).
type mechanism uint32

const (
	byNothing mechanism = 0 // VMI_TM_NONE
	byTable   mechanism = 1 // VMI_TM_PROCESS_PT
	byPID     mechanism = 2 // VMI_TM_PROCESS_PID
	bySymbol  mechanism = 3 // VMI_TM_KERNEL_SYMBOL
)

// Address is a place in the guest's memory (access_context_t). The functions
// below make one.
type Address struct {
	how    mechanism
	addr   uint64
	table  uint64
	pid    int32
	symbol string
}

// Physical is a guest-physical address.
func Physical(pa uint64) Address { return Address{how: byNothing, addr: pa} }

// Virtual is a virtual address in the address space with the page table at the
// guest-physical address table.
func Virtual(va, table uint64) Address { return Address{how: byTable, addr: va, table: table} }

// InProcess is a virtual address of a process; 0 is the kernel. It needs Linux in
// the Config.
func InProcess(va uint64, pid int32) Address { return Address{how: byPID, addr: va, pid: pid} }

// Symbol is where a symbol of the kernel stands. It needs Linux in the Config.
func Symbol(name string) Address { return Address{how: bySymbol, symbol: name} }

func (a Address) String() string {
	switch a.how {
	case byTable:
		return fmt.Sprintf("%#x by the page table at %#x", a.addr, a.table)
	case byPID:
		return fmt.Sprintf("%#x of process %d", a.addr, a.pid)
	case bySymbol:
		return a.symbol
	}
	return fmt.Sprintf("%#x", a.addr)
}
