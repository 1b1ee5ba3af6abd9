package monitor

import (
	"time"

	"hangbench/monitor/detect"
)

// View is an altp2m view of a guest. HostView is the one that always exists.
type View uint16

// HostView is the host p2m, view 0.
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
	Shutdown string // empty while it lives, else poweroff, reboot, suspend, crash or watchdog
	// Dying: the toolstack destroys it, and what is left of it waits for those who
	// have memory of it mapped, as a monitor has.
	Dying bool
}

// VCPUState is what the hypervisor's scheduler knows of a vCPU, at no cost to
// the guest.
type VCPUState struct {
	Online    bool
	Blocked   bool   // waiting for an event: halted or polling
	Running   bool   // on a physical CPU right now
	CPUTimeNS uint64 // time it has run so far
}

// Registers are the registers of a vCPU that detectors look at.
type Registers struct {
	RIP, RSP, RFLAGS, CR3, CR4 uint64
	// General holds the general registers in the order rax, rbx, rcx, rdx, rsi,
	// rdi, rbp, r8 to r15.
	General [15]uint64
	// LSTAR is the entry of system calls, IDTBase the interrupt table: both lead
	// to the kernel, wherever it was loaded.
	LSTAR, IDTBase uint64
	GSBase         uint64
	UserMode       bool // CPL 3
}

// RegisterNames names Registers.General.
var RegisterNames = [15]string{"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"}

// InterruptsOn reports whether the vCPU takes interrupts (RFLAGS.IF, bit 9).
func (r *Registers) InterruptsOn() bool { return r.RFLAGS&(1<<9) != 0 }

// EventKind is why the guest was stopped.
type EventKind uint8

const (
	EventOther      EventKind = iota // none of the kinds below; answered without action
	EventAccess                      // a page was used in a way that traps
	EventStep                        // a single-step is complete
	EventBreakpoint                  // INT3 is about to be executed
	EventCR3                         // CR3 was written
	EventUnemulated                  // an instruction that was to be emulated cannot be
)

// Event is one stop of one vCPU, which stays stopped until it is answered.
type Event struct {
	Kind    EventKind
	VCPU    int
	View    View   // the view the vCPU was in
	GFN     uint64 // guest frame number: EventAccess, EventStep, EventBreakpoint
	Offset  uint64 // of the access in the frame, EventAccess only
	Write   bool   // EventAccess only: it was a write
	Execute bool   // EventAccess only: it was an instruction fetch
	RIP     uint64
	RSP     uint64
	RFLAGS  uint64
	CR3     uint64
}

// Response is the answer to an event. The zero value lets the vCPU go on as it
// was.
type Response struct {
	ToggleStep bool // flip single-stepping of the vCPU
	SwitchView bool // put the vCPU in View
	View       View
	// FastStep executes one instruction (in View, with SwitchView) and then puts
	// the vCPU in StepView, without an event.
	FastStep bool
	StepView View
	Emulate  bool // the hypervisor emulates the instruction, whatever the permissions
	Reinject bool // EventBreakpoint: the INT3 is the guest's own, it shall have it
}

// Driver is a guest as a library sees it. It is used from one goroutine.
type Driver interface {
	// Name is the library: xenctrl or libvmi.
	Name() string
	// VCPUs is the number of vCPUs.
	VCPUs() int
	// Domain returns the state of the guest as a whole.
	Domain() (DomainState, error)
	// VCPU returns the scheduling state of a vCPU.
	VCPU(i int) (VCPUState, error)
	// Registers reads the registers of a vCPU. The hypervisor stops it for a moment.
	Registers(i int, r *Registers) error
	// Pause stops the whole guest; pauses are counted.
	Pause() error
	// Unpause takes one Pause back.
	Unpause() error
	// ReadPhysical and WritePhysical copy from and to guest memory at a
	// guest-physical address. A write of one byte is atomic for the guest.
	ReadPhysical(gpa uint64, b []byte) error
	WritePhysical(gpa uint64, b []byte) error
	// Listen opens the guest's event ring.
	Listen() (Ring, error)
}

// Ring is the event ring of a guest: the controls that make events. Events come
// out of it as out of a Puller or a Server, one of which it is too. All of it
// belongs to the goroutine that called Driver.Listen.
type Ring interface {
	Controls
	// Wake makes Wait or Serve return. It alone may be called from any goroutine.
	Wake()
	// Full is how often the ring was seen without a free slot, as far as the library
	// tells.
	Full() uint64
	// Close turns events off and frees the ring. vCPUs that wait for an answer go on.
	Close() error
}

// Puller is a Ring out of which events are taken one by one.
type Puller interface {
	// Wait sends the answers given so far and blocks until an event is there, Wake
	// is called, or d is over.
	Wait(d time.Duration) error
	// Next fills ev with the next event and reports whether there was one.
	Next(ev *Event) (bool, error)
	// Respond answers the event that Next returned last.
	Respond(r *Response) error
	// Flush tells the hypervisor of the answers.
	Flush() error
}

// Server is a Ring of a library that calls back for each event.
type Server interface {
	// Serve waits for events for up to d, or until Wake is called, and has handle
	// answer them; with 0 those that are there. After an error of handle the others
	// are answered without it. It returns how many events handle was called for.
	Serve(d time.Duration, handle func(*Event, *Response) error) (int, error)
}

// Controls make events.
type Controls interface {
	// SetAccess sets what the guest may do with a frame, in one view.
	SetAccess(v View, gfn uint64, a Access) error
	// Access returns what the guest may do with a frame, in one view.
	Access(v View, gfn uint64) (Access, error)
	// EnableStep allows single-step events (not yet any single step).
	EnableStep(on bool) error
	// StopStep ends single-stepping of a vCPU, fast or not, whatever its state.
	StopStep(vcpu int) error
	// EnableUnemulated has instructions reported that the hypervisor was asked to
	// emulate and cannot; without it the guest gets an invalid-opcode exception.
	EnableUnemulated(on bool) error
	// EnableCR3 has writes of CR3 reported that change it in other bits than
	// ignore.
	EnableCR3(on bool, ignore uint64) error
	// EnableBreakpoints has INT3 reported instead of given to the guest.
	EnableBreakpoints(on bool) error

	// EnableViews turns altp2m on or off.
	EnableViews(on bool) error
	// CreateView makes a view that starts as a lazy copy of the host view.
	CreateView() (View, error)
	// DestroyView needs all vCPUs out of the view.
	DestroyView(v View) error
	// SwitchAll puts every vCPU in the view.
	SwitchAll(v View) error
	// CurrentView returns the view a vCPU is in.
	CurrentView(vcpu int) (View, error)
	// SpareFrame returns the number of a frame that the guest does not have.
	// AddFrame gives it memory there, of which it does not know, and RemoveFrame
	// takes it away again.
	SpareFrame() (gfn uint64, err error)
	AddFrame(gfn uint64) error
	RemoveFrame(gfn uint64) error
	// Remap lets frame from show the memory of frame to in the view; NoFrame as to
	// undoes it.
	Remap(v View, from, to uint64) error
}

// NoFrame is no guest frame number.
const NoFrame = ^uint64(0)

// Kernel reads the guest's kernel. monitor/linux has one for Linux. What it
// cannot read it leaves out and says so; it never fails as a whole.
type Kernel interface {
	// RunQueue fills q with the run queue of a CPU; false if it cannot be read.
	RunQueue(cpu int, q *detect.RunQueue) bool
	// Look fills k anew. It walks the task list and is bounded in time, whatever
	// the guest's memory holds.
	Look(k *detect.Kernel)
	// Callers appends to names the functions whose return addresses stand on the
	// stack at rsp, innermost first.
	Callers(names []string, rsp uint64) []string
}
