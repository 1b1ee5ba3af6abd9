package trap

import (
	"fmt"
	"slices"
	"strings"

	"hangbench/monitor/driver"
)

// Mechanism is one way to learn of the guest's task switches, with its traits.
type Mechanism struct {
	Name  string
	Traps string // what is trapped
	Miss  string // which switches or hangs it can miss
	Needs string // what it needs of host and guest

	// Polls: the signal is the run queues' own count of switches. Nothing is trapped,
	// and no event ring is opened.
	Polls bool
	// View is the view in which the trap lies.
	View View
	// Opens: a vCPU that reaches the trap cannot continue before an answer opens the
	// trap. A monitor that answers without opening it livelocks the guest. Its Trap is
	// a Suspender.
	Opens bool
	// PageTrap: every event is an EPT violation on a trapped page.
	PageTrap bool
	// Traced is the permission left on the frames of Frames. It tells which violations
	// in the hypervisor's trace are the trap's. It is AccessRWX if no frame is
	// restricted.
	Traced driver.Access
	// Frames returns the guest frames that the trap restricts. It is nil if there are
	// none.
	Frames func(*Site) []uint64
	// TwinOf is the mechanism that sets the same trap in the host view, and "" if
	// there is none or View is not Altp2m.
	TwinOf string
	// Yardstick: bench/price/yardstick has a C loop for this mechanism.
	Yardstick bool
	// MaxStops bounds how many stops one pass over the trapped page may have before
	// the vCPU's turn in the sampling period ends. 0 means DefaultMaxStops.
	MaxStops int

	// New returns the mechanism's trap, not yet armed. It is nil if the mechanism
	// attaches no monitor.
	New func(Host) Trap
}

// View names the kind of view in which a trap lies.
type View string

// The kinds of view.
const (
	NoView   View = ""       // there is no trap in guest memory
	HostView View = "host"   // the one that all vCPUs share
	Altp2m   View = "altp2m" // one of its own
)

const (
	// LongPass is how many stops a pass over the trapped page may have after its
	// first, at first. The switch function has some twenty instructions, and a run
	// queue's page is written some forty times between two switches of a busy guest. A
	// longer pass belongs to something else on the page.
	LongPass = 64
	// DefaultMaxStops is Mechanism.MaxStops where the mechanism sets none.
	DefaultMaxStops = 2 * LongPass
)

// Watches reports whether the mechanism attaches a monitor at all.
func (m Mechanism) Watches() bool { return m.New != nil }

// Trapped returns the guest frames that the mechanism restricts.
func (m Mechanism) Trapped(s *Site) []uint64 {
	if m.Frames == nil {
		return nil
	}
	return m.Frames(s)
}

// Texts that mechanisms share.
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
		none(),
		polling(),
		cr3Writes(),
		execStepping(),
		execEmulation(),
		execAltp2mStepping(),
		execAltp2mFastStepping(),
		int3Stepping(),
		int3Altp2mShadow(),
		writeAltp2mCounters(),
	}
}

// Find returns the mechanism of that name.
func Find(name string) (Mechanism, error) {
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

// none attaches no monitor. It is the baseline of every comparison.
func none() Mechanism {
	return Mechanism{
		Name:  "none",
		Traps: "nothing: no monitor is attached",
		Miss:  "every hang",
		Needs: "nothing",
	}
}
