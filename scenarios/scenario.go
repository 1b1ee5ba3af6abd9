package scenarios

import (
	"fmt"
	"slices"
	"strings"

	"hangbench/scenarios/inject"
)

// Workload is what the guest does while the scenario runs.
type Workload string

const (
	Idle Workload = "idle" // the heartbeat only
	Busy Workload = "busy" // computing and switching tasks on every vCPU
)

// Scenario is one thing to try.
type Scenario struct {
	ID      string
	Summary string // one line for people
	// Workload runs from before the monitor attaches until after it detaches.
	Workload Workload
	// Class is the class of the verdict that is right; empty for a control.
	Class string
	// Fault brings the fault in; nil for a control.
	Fault func(inject.Target) (*inject.Injection, error)
}

// Control reports whether the scenario has no fault.
func (s Scenario) Control() bool { return s.Fault == nil }

// All returns every scenario, in the order in which tables list them.
func All() []Scenario {
	return []Scenario{
		{
			ID:       "spinlock-deadlock",
			Summary:  "tasklist_lock is held for writing for ever: who forks, exits or waits spins in the kernel",
			Workload: Idle,
			Class:    "spin",
			Fault: func(t inject.Target) (*inject.Injection, error) {
				return inject.HoldRWLock(t, "tasklist_lock")
			},
		},
		{
			ID:       "control-idle",
			Summary:  "no fault; nothing runs but the heartbeat",
			Workload: Idle,
		},
		{
			ID:       "control-busy",
			Summary:  "no fault; every vCPU computes and switches tasks without a pause",
			Workload: Busy,
		},
	}
}

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
