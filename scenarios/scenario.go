package scenarios

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"hangbench/guests/beat"
	"hangbench/guests/stress"
	"hangbench/results"
	"hangbench/scenarios/inject"
	"hangbench/scenarios/sign"
)

// Scenario is one thing to try: a fault, or a control without one.
type Scenario struct {
	ID      string
	Summary string // one line for people
	// Workload runs from before the monitor attaches until after it detaches.
	Workload beat.Workload
	// Exec is the program of the workload beat.Exec and its arguments. Other workloads have
	// none.
	Exec []string
	// Stress is a workload that is measured with and without the monitor. Only controls
	// that do nothing else have one; the others have stress.None.
	Stress stress.Workload
	// Class is the class of the right verdict. It is empty for a control. It is NotKnown for a
	// fault whose effect nobody knows before: then Sign is nil, and package outcome tells what
	// became of the guest.
	Class string
	// Fault brings the fault in. It is nil for a control.
	Fault inject.Fault
	// Sign is how the guest shows the fault by its own counters; of a control, how it
	// shows Disturb. It is nil if there is nothing to show.
	Sign sign.Sign
	// Final: the fault cannot be removed.
	Final bool
	// OfMonitor: the fault is the monitor's own. It can be tried only with a mechanism
	// whose answers must open its trap (monitor.Mechanism.Opens).
	OfMonitor bool
	// MinVCPUs is how many vCPUs the guest must have. 0 means one.
	MinVCPUs int
	// Disturb does something to the guest of a control that looks like a hang and is
	// none, for the time Disturbed.
	Disturb   inject.Fault
	Disturbed time.Duration
	// ByWork: the workload of the control is all that happens. The trial is valid only if the
	// guest finishes two units of it or more while it is watched.
	ByWork bool
}

// Control reports whether the scenario has no fault.
func (s Scenario) Control() bool { return s.Fault == nil }

// Unknown reports whether the scenario has a fault whose effect nobody knows before.
func (s Scenario) Unknown() bool { return s.Class == NotKnown }

// Kind is what the scenario is for, as records say it.
func (s Scenario) Kind() results.Kind {
	switch {
	case s.Unknown():
		return results.Unknown
	case !s.Control():
		return results.Fault
	case s.Measures():
		return results.Measured
	}
	return results.Control
}

// Measures reports whether the scenario measures what a workload gets done.
func (s Scenario) Measures() bool { return s.Stress.Known() }

// Programs is the set of programs that the guest must have. It is empty for none.
func (s Scenario) Programs() string {
	if s.Stress.Stressor() == "" {
		return ""
	}
	return stress.Set
}

// Lasting says why the fault cannot be removed after a chosen time. It is empty if it
// can.
func (s Scenario) Lasting() string {
	switch {
	case s.Control():
		return "has no fault"
	case s.Unknown():
		return "has an effect that is not known before"
	case s.Final:
		return "has no way back"
	case s.OfMonitor:
		return "ends by itself, when the monitor lets go"
	}
	return ""
}

// Partial reports whether the fault must leave all vCPUs but one alone.
func (s Scenario) Partial() bool {
	silent, ok := s.Sign.(sign.Silent)
	return ok && silent.VCPUs == sign.OnlyLast
}

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
