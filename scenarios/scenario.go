package scenarios

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"hangbench/guests/beat"
	"hangbench/guests/stress"
	"hangbench/scenarios/inject"
)

// Sign is how a guest shows by itself, to its own heartbeat and work counters,
// that a fault has taken.
type Sign string

const (
	// Silent: the heartbeat of the vCPUs in question stands still.
	Silent Sign = "silent"
	// Stuck: no unit of the workload's work is finished any more. Heartbeats may
	// go on.
	Stuck Sign = "stuck"
	// Slow: the workload's work falls below a tenth of what it was; below half, of a
	// disturbance or a bounded fault.
	Slow Sign = "slow"
	// Ended: the guest ends itself, and its heartbeat with it.
	Ended Sign = "ended"
	// Held: the workload's work stands still for a while and goes on by itself: the
	// monitor that held the guest up has let go of it.
	Held Sign = "held"
)

// VCPUs says which vCPUs a fault is to stop.
type VCPUs string

const (
	// Every vCPU stops.
	Every VCPUs = "every"
	// First: vCPU 0 stops; others may wait for it sooner or later.
	First VCPUs = "first"
	// OnlyLast stops, the others go on.
	OnlyLast VCPUs = "only-last"
)

// Scenario is one thing to try.
type Scenario struct {
	ID      string
	Summary string // one line for people
	// Workload runs from before the monitor attaches until after it detaches.
	Workload beat.Workload
	// Stress is a workload that is measured with and without the monitor, by a control
	// that does nothing else; stress.None of all others.
	Stress stress.Workload
	// Class is the class of the verdict that is right; empty for a control.
	Class string
	// Fault brings the fault in; nil for a control.
	Fault inject.Fault
	// Sign is the fault's ground truth, VCPUs whose heartbeat it is about if it is
	// Silent. Of a control, the sign that Disturb has.
	Sign  Sign
	VCPUs VCPUs
	// Final says that there is no way back from the fault.
	Final bool
	// OfMonitor says that the fault is the monitor's own. Only a mechanism whose
	// answers must lift its trap (monitor.Mechanism.Lifts) can have it.
	OfMonitor bool
	// MinVCPUs is how many vCPUs the guest must have; 0 means one.
	MinVCPUs int
	// Disturb does something to the guest of a control that is no hang, however
	// much it looks like one, for so long as Disturbed says.
	Disturb   inject.Fault
	Disturbed time.Duration
}

// Control reports whether the scenario has no fault.
func (s Scenario) Control() bool { return s.Fault == nil }

// Programs is the set of programs that the guest must have; empty for none.
func (s Scenario) Programs() string {
	if s.Stress.Stressor() == "" {
		return ""
	}
	return stress.Set
}

// Lasting says why the fault cannot be undone after a time of one's choice; it
// is empty if it can.
func (s Scenario) Lasting() string {
	switch {
	case s.Control():
		return "has no fault"
	case s.Final:
		return "has no way back"
	case s.OfMonitor:
		return "ends by itself, when the monitor lets go"
	}
	return ""
}

// Partial reports whether the fault leaves some vCPUs alone.
func (s Scenario) Partial() bool { return s.VCPUs == OnlyLast }

// All returns every scenario, in the order in which tables list them.
func All() []Scenario { return slices.Concat(faults(), controls(), workloads()) }

// Find returns the scenario of that id.
func Find(id string) (Scenario, error) {
	all := All()
	i := slices.IndexFunc(all, func(s Scenario) bool { return s.ID == id })
	if i < 0 {
		var ids []string
		for _, s := range all {
			ids = append(ids, s.ID)
		}
		return Scenario{}, fmt.Errorf("there is no scenario %q; there are %s", id, strings.Join(ids, ", "))
	}
	return all[i], nil
}
