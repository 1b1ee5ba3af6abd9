// Package driver holds the types through which a monitor reaches a guest: what it
// reads (states, registers, memory), the events that stop a vCPU, and the controls
// that make events.
//
// A [Driver] is one guest as one library sees it; driver/xenctrl and driver/libvmi
// have one each. The package has no code of its own, so that drivers, traps
// (monitor/trap) and sessions (monitor) share it without importing each other.
package driver

import "time"

// View is the number of an altp2m view of a guest.
type View uint16

// HostView is the host p2m. It always exists.
const HostView View = 0

// Access is what a guest may do with a page.
type Access uint8

const (
	AccessRWX Access = iota // nothing traps
	AccessRW                // execution traps
	AccessRX                // writing traps
	AccessX                 // reading and writing trap
)

// DomainState is the state of the guest as a whole.
type DomainState struct {
	Paused   bool   // by the toolstack
	Shutdown string // empty while it runs, else poweroff, reboot, suspend, crash or watchdog
	// Dying: the toolstack destroys the guest, or has destroyed it. Xen keeps the rest of
	// the guest until nobody maps its memory any more, and a monitor maps it.
	Dying bool
}

// VCPUState is what the hypervisor's scheduler knows of a vCPU. Reading it costs
// the guest nothing.
type VCPUState struct {
	Online    bool
	Blocked   bool   // waits for an event: halted or polling
	Running   bool   // on a physical CPU now
	CPUTimeNS uint64 // time it has run since its creation, in nanoseconds
}

// Registers are the registers of a vCPU that detectors read.
type Registers struct {
	RIP, RSP, RFLAGS, CR3, CR4 uint64
	// General holds the general registers in the order of RegisterName.
	General [15]uint64
	// LSTAR is the entry of system calls, IDTBase the interrupt table. Both point
	// into the kernel, wherever it was loaded.
	LSTAR, IDTBase uint64
	GSBase         uint64
	UserMode       bool // CPL 3
}

// registerNames names Registers.General.
var registerNames = [15]string{"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp",
	"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"}

// RegisterName returns the name of Registers.General[i].
func RegisterName(i int) string { return registerNames[i] }

// InterruptsOn reports whether the vCPU takes interrupts (RFLAGS.IF, bit 9).
func (r *Registers) InterruptsOn() bool { return r.RFLAGS&(1<<9) != 0 }

// EventKind is the reason for which a vCPU was stopped.
type EventKind uint8

const (
	EventOther      EventKind = iota // none of the kinds below
	EventAccess                      // the guest used a page in a way that traps
	EventStep                        // a single step is complete
	EventBreakpoint                  // the vCPU is about to execute INT3
	EventCR3                         // CR3 was written
	EventUnemulated                  // Xen cannot emulate an instruction that it was asked to emulate
)

// Event is one stop of one vCPU. The vCPU stays stopped until the event is
// answered.
type Event struct {
	Kind    EventKind
	VCPU    int
	View    View   // the vCPU's view
	GFN     uint64 // guest frame number: EventAccess, EventStep, EventBreakpoint
	Offset  uint64 // of the access in the frame: EventAccess
	Write   bool   // the access was a write: EventAccess
	Execute bool   // the access was an instruction fetch: EventAccess
	RIP     uint64
	RSP     uint64
	RFLAGS  uint64
	CR3     uint64
}

// Response is the answer to an event. The zero value lets the vCPU continue
// unchanged.
type Response struct {
	ToggleStep bool // turn single-stepping of the vCPU on if it is off, off if it is on
	SwitchView bool // put the vCPU in View
	View       View
	// FastStep executes one instruction, in View if SwitchView is set, and then puts
	// the vCPU in StepView without an event.
	FastStep bool
	StepView View
	Emulate  bool // have the hypervisor emulate the instruction, whatever the permissions
	Reinject bool // EventBreakpoint: give the INT3, which is the guest's own, to the guest
}

// Memory copies from and to guest memory at guest-physical addresses.
type Memory interface {
	ReadPhysical(gpa uint64, b []byte) error
	// WritePhysical writes b. A write of one byte is atomic for the guest.
	WritePhysical(gpa uint64, b []byte) error
}

// Driver is a guest as a library sees it. All calls come from one goroutine.
type Driver interface {
	Memory
	// Name returns the library's name: xenctrl or libvmi.
	Name() string
	// VCPUs returns the number of vCPUs, online or not.
	VCPUs() int
	// State fills vcpus with the states of the first len(vcpus) vCPUs and returns the
	// state of the guest as a whole. One call costs fewer calls of the hypervisor
	// than one for each vCPU would. The state of the guest is valid with an error too.
	State(vcpus []VCPUState) (DomainState, error)
	// Registers reads the registers of a vCPU. The hypervisor stops it meanwhile.
	Registers(vcpu int, r *Registers) error
	// Pause stops the whole guest. Pauses are counted.
	Pause() error
	// Unpause undoes one Pause.
	Unpause() error
	// Listen opens the guest's event ring.
	Listen() (Ring, error)
}

// Ring is the event ring of a guest. A Ring is also a Puller or a Server, which
// delivers the events. All methods but Wake belong to the goroutine that called
// Driver.Listen.
type Ring interface {
	Controls
	// Wake makes Wait or Serve return. Any goroutine may call it.
	Wake()
	// Full returns how often the ring had no free slot, if the library knows, else 0.
	Full() uint64
	// Close turns events off and frees the ring. vCPUs that wait for an answer
	// continue.
	Close() error
}

// Puller is a Ring from which the caller takes events one by one.
type Puller interface {
	// Wait sends the answers given so far. It blocks until there is an event, Wake is
	// called, or d is over.
	Wait(d time.Duration) error
	// Next fills ev with the next event and reports whether there was one.
	Next(ev *Event) (bool, error)
	// Respond answers the event that Next returned last.
	Respond(r *Response) error
	// Flush sends the answers.
	Flush() error
}

// Server is a Ring of a library that calls back for each event.
type Server interface {
	// Serve waits for events for up to d, or until Wake is called, and calls handle
	// for each. If d is 0, it handles only the events that are there. After an error
	// of handle it answers the other events without handle. It returns the number of
	// calls of handle.
	Serve(d time.Duration, handle func(*Event, *Response) error) (int, error)
}

// Controls are the calls that make a guest's vCPUs stop with events.
type Controls interface {
	// SetAccess sets what the guest may do with a frame in one view.
	SetAccess(v View, gfn uint64, a Access) error
	// Access returns what the guest may do with a frame in one view.
	Access(v View, gfn uint64) (Access, error)
	// EnableStep allows single-step events. It starts no single step.
	EnableStep(on bool) error
	// StopStep ends single-stepping of a vCPU, fast or not, whatever its state.
	StopStep(vcpu int) error
	// EnableUnemulated reports instructions that the hypervisor was asked to emulate
	// and cannot. If it is off, the guest gets an invalid-opcode exception instead.
	EnableUnemulated(on bool) error
	// EnableCR3 reports writes of CR3 that change other bits than those in ignore.
	EnableCR3(on bool, ignore uint64) error
	// EnableBreakpoints reports INT3 instead of giving it to the guest.
	EnableBreakpoints(on bool) error

	// EnableViews turns altp2m on or off.
	EnableViews(on bool) error
	// CreateView makes a view that starts as a lazy copy of the host view.
	CreateView() (View, error)
	// DestroyView fails while a vCPU is in the view.
	DestroyView(v View) error
	// SwitchAll puts every vCPU in the view.
	SwitchAll(v View) error
	// CurrentView returns the view of a vCPU.
	CurrentView(vcpu int) (View, error)
	// SpareFrame returns the number of a frame that the guest does not have.
	// AddFrame gives the guest memory there, which its kernel does not know, and
	// RemoveFrame takes it away.
	SpareFrame() (gfn uint64, err error)
	AddFrame(gfn uint64) error
	RemoveFrame(gfn uint64) error
	// Remap makes frame from show the memory of frame to in the view. NoFrame as to
	// undoes it.
	Remap(v View, from, to uint64) error
}

// NoFrame is not the number of any guest frame.
const NoFrame = ^uint64(0)
