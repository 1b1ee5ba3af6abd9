package monitor

import (
	"fmt"
	"slices"
	"strings"
)

// Mechanism is how a session learns of the guest's task switches: its signal.
type Mechanism struct {
	Name  string
	Traps string // what is trapped
	Miss  string // what it can miss
	Needs string // what it needs of host and guest
	Views bool   // uses altp2m
	// Lifts says that a vCPU which meets the trap cannot go on before the answer
	// lifts it: an answer that does not leaves the guest in a livelock.
	Lifts bool
	// Traced is what the hypervisor's trace shows of it: frames whose violations
	// are the trap's.
	Traced Access // permission left on the trapped frames; AccessRWX if no frame is trapped

	new func(s *Session) mechanism
}

// Watches reports whether the mechanism attaches a monitor at all.
func (m Mechanism) Watches() bool { return m.new != nil }

// mechanism is an armed Mechanism. Its methods run in the session's goroutine.
type mechanism interface {
	// plan says what arm is going to change in the guest, for the journal.
	plan() (Changes, error)
	// arm sets the trap. The guest is paused.
	arm() error
	// armed proves that the trap is set.
	armed() error
	// handle answers an event.
	handle(ev *Event, r *Response) error
	// rearm sets the trap again where it was left open because a vCPU had used up
	// its passes. It is called once a sampling period.
	rearm() error
	// release answers an event while the session lets go: no trap, no step, view 0.
	release(ev *Event, r *Response)
	// disarm takes the trap back. The guest is paused.
	disarm() error
}

const (
	needsEPT    = "Intel EPT, mem_access"
	needsMTF    = needsEPT + ", monitor trap flag"
	needsAltp2m = "; Xen booted with altp2m=1, guest with altp2m=\"external\"; on Xen 4.20 also hap_2mb=0 hap_1gb=0"
	missPasses  = "switches past the passes of a sampling period"
	switchPage  = "execution of the page that holds the scheduler's switch function"
)

// Mechanisms returns every mechanism, in the order in which tables list them.
func Mechanisms() []Mechanism {
	return []Mechanism{
		{
			Name:  "none",
			Traps: "nothing: no monitor is attached",
			Miss:  "every hang",
			Needs: "nothing",
		},
		{
			Name:  "poll",
			Traps: "nothing: reads each run queue's own count of switches from guest memory at every sample",
			Miss:  "nothing that the guest's kernel counts; all that a guest without readable kernel does",
			Needs: "the guest kernel's symbols and types",
			new:   func(s *Session) mechanism { return &poll{s: s} },
		},
		{
			Name:  "cr3",
			Traps: "writes of CR3 that change the address space; the user/kernel bit of page-table isolation and PCIDs are masked out inside Xen",
			Miss:  "switches to kernel threads and back (lazy TLB writes no CR3), switches between threads of one process; " + missPasses,
			Needs: "Intel VMX; the CR3 exits themselves cost a guest with page-table isolation two for each kernel entry",
			new:   func(s *Session) mechanism { return &cr3{s: s} },
		},
		{
			Name:   "exec-step",
			Traps:  switchPage + "; the one host view is opened for all vCPUs while one of them steps off the page",
			Miss:   "switches of other vCPUs during a step; " + missPasses,
			Needs:  needsMTF,
			Traced: AccessRW,
			Lifts:  true,
			new:    func(s *Session) mechanism { return &execStep{s: s} },
		},
		{
			Name:   "exec-emulate",
			Traps:  switchPage + "; each instruction on the page is emulated by Xen, one event each",
			Miss:   "switches during the step of an instruction that Xen cannot emulate; " + missPasses,
			Needs:  needsMTF,
			Traced: AccessRW,
			Lifts:  true,
			new:    func(s *Session) mechanism { return &execEmulate{execStep{s: s}} },
		},
		{
			Name:   "exec-altp2m",
			Traps:  switchPage + ", in a view of its own; a vCPU steps off the page in view 0",
			Miss:   missPasses,
			Needs:  needsMTF + needsAltp2m,
			Traced: AccessRW,
			Views:  true,
			Lifts:  true,
			new:    func(s *Session) mechanism { return &execAltp2m{views: views{s: s}} },
		},
		{
			Name:   "exec-altp2m-fast",
			Traps:  switchPage + ", in a view of its own; Xen steps each instruction in view 0 and comes back without a second event",
			Miss:   missPasses,
			Needs:  needsMTF + " with fast single-step (Xen 4.14)" + needsAltp2m,
			Traced: AccessRW,
			Views:  true,
			Lifts:  true,
			new:    func(s *Session) mechanism { return &execAltp2mFast{views{s: s}} },
		},
		{
			Name:  "int3-step",
			Traps: "a breakpoint at the switch function's first byte, taken out for all vCPUs while one of them steps over it",
			Miss:  "switches of other vCPUs during a step; " + missPasses,
			Needs: "Intel VMX, monitor trap flag; the guest can see the breakpoint",
			Lifts: true,
			new:   func(s *Session) mechanism { return &int3Step{int3: int3{s: s}} },
		},
		{
			Name:   "int3-altp2m",
			Traps:  "a breakpoint at the switch function's first byte in a shadow copy of the page, which one view shows for execution only; Xen steps over it in view 0",
			Miss:   missPasses,
			Needs:  needsMTF + " with fast single-step, execute-only EPT, a frame of memory beside the guest's" + needsAltp2m,
			Traced: AccessX,
			Views:  true,
			Lifts:  true,
			new:    func(s *Session) mechanism { return &int3Altp2m{views: views{s: s}, int3: int3{s: s}} },
		},
		{
			Name:   "write-altp2m",
			Traps:  "writes to the page of each run queue's counters, in a view of its own; Xen steps each in view 0",
			Miss:   missPasses + ", which are most: the scheduler writes hundreds of other fields of the page for each switch of a busy guest, and each is an event",
			Needs:  needsMTF + " with fast single-step; the guest kernel's types" + needsAltp2m,
			Traced: AccessRX,
			Views:  true,
			Lifts:  true,
			new:    func(s *Session) mechanism { return &writeAltp2m{views: views{s: s}} },
		},
	}
}

// FindMechanism returns the mechanism of that name.
func FindMechanism(name string) (Mechanism, error) {
	all := Mechanisms()
	i := slices.IndexFunc(all, func(m Mechanism) bool { return m.Name == name })
	if i < 0 {
		var names []string
		for _, m := range all {
			names = append(names, m.Name)
		}
		return Mechanism{}, fmt.Errorf("there is no mechanism %q; there are %s", name, strings.Join(names, ", "))
	}
	return all[i], nil
}
