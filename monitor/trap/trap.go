package trap

import "hangbench/monitor/driver"

// Trap is an armed mechanism, or one that is about to be armed. All of its methods
// run in the session's goroutine.
type Trap interface {
	// Plan returns what Arm is going to change in the guest, for the journal. The
	// guest is paused.
	Plan() (Changes, error)
	// Arm sets the trap. The guest is paused.
	Arm() error
	// Check returns an error if the trap is not set as Arm should have set it.
	Check() error
	// Handle fills the answer to an event.
	Handle(ev *driver.Event, r *driver.Response) error
	// Rearm closes the trap where Handle left it open because a vCPU had used up its
	// budget. The session calls it once in a sampling period.
	Rearm() error
	// Release fills the answer to an event while the trap is suspended or the session
	// detaches: the vCPU neither steps nor stays in a view of the trap.
	Release(ev *driver.Event, r *driver.Response)
	// Disarm removes the trap. The guest is paused. After an error in Arm it removes
	// what Arm had set so far.
	Disarm() error
}

// Suspender is a Trap of a mechanism that Opens.
type Suspender interface {
	// Suspend opens the trap for all vCPUs: with altp2m it puts them in the host view.
	Suspend() error
	// Resume closes the trap again.
	Resume() error
}

// Host is a session as its trap sees it.
type Host interface {
	// Ring returns the controls of the guest's event ring.
	Ring() driver.Controls
	// Memory returns the guest's memory.
	Memory() driver.Memory
	// Site returns where the trap belongs.
	Site() *Site
	// Function returns the function of the guest's kernel that holds addr, and addr's
	// offset in it.
	Function(addr uint64) (name string, offset uint64, ok bool)
	// VCPUs returns the number of the guest's vCPUs, online or not.
	VCPUs() int
	// Online reports whether a vCPU is online. A vCPU whose state cannot be read
	// counts as online.
	Online(vcpu int) bool
	// Signal counts a task switch of a vCPU.
	Signal(vcpu int)
	// Charge charges a stop to the vCPU's budget and reports whether the trap may stay
	// closed for the vCPU in this sampling period. If start is set, the stop begins a
	// pass over the trapped code; else it belongs to the pass before.
	Charge(vcpu int, start bool) bool
	// MayOpen reports whether a trap that all vCPUs share may stay open until the next
	// sampling period.
	MayOpen() bool
}

// Nothing is a Trap that traps nothing. Polling uses it.
type Nothing struct{}

func (Nothing) Plan() (Changes, error)                       { return Changes{}, nil }
func (Nothing) Arm() error                                   { return nil }
func (Nothing) Check() error                                 { return nil }
func (Nothing) Handle(*driver.Event, *driver.Response) error { return nil }
func (Nothing) Rearm() error                                 { return nil }
func (Nothing) Release(*driver.Event, *driver.Response)      {}
func (Nothing) Disarm() error                                { return nil }
