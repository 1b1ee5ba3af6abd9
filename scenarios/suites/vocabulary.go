package suites

import (
	"slices"

	"hangbench/guests/watchdog"
	"hangbench/monitor/detect"
	"hangbench/monitor/trap"
	"hangbench/scenarios"
)

// Vocabulary is the set of names that a suite may use. A name that is not in it is an
// error in the suite, so an empty list admits no name.
type Vocabulary struct {
	Scenarios  []scenarios.Scenario // all of them: scenarios.All
	Mechanisms []Mechanism
	Drivers    []string
	Kernels    []string // of guests
	Programs   []string // sets of programs in guests
	Xens       []string // releases of Xen, the lab's own first
	Thresholds []Threshold
	Baselines  []string // settings of watchdogs; "true" stands for the first one
	Classes    []string // of hangs: a suite names none, its records do
}

// Mechanism is what a suite has to know of a mechanism.
type Mechanism struct {
	Name string
	// Opens: the monitor must open the trap before the guest can go on. Only with such a
	// mechanism can the monitor be at fault (Scenario.OfMonitor).
	Opens bool
}

// NewVocabulary returns what a suite may use on a host with these drivers, guest kernels,
// sets of guest programs and releases of Xen: every scenario, mechanism, threshold, setting of
// watchdogs and class of hangs that there is.
func NewVocabulary(drivers, kernels, programs, xens []string) Vocabulary {
	v := Vocabulary{Scenarios: scenarios.All(), Drivers: drivers, Kernels: kernels, Programs: programs, Xens: xens}
	for _, m := range trap.Mechanisms() {
		v.Mechanisms = append(v.Mechanisms, Mechanism{m.Name, m.Opens})
	}
	for _, t := range detect.ListThresholds() {
		v.Thresholds = append(v.Thresholds, Threshold{t.Name, t.Min, t.Max})
	}
	for _, b := range watchdog.Settings() {
		v.Baselines = append(v.Baselines, string(b))
	}
	for _, c := range detect.Classes() {
		v.Classes = append(v.Classes, string(c))
	}
	return v
}

type scenario = scenarios.Scenario

// scenario returns the place of a scenario, and -1 if there is none of that name.
func (v *Vocabulary) scenario(id string) int {
	return slices.IndexFunc(v.Scenarios, func(s scenario) bool { return s.ID == id })
}

// ScenarioNames returns the names of all scenarios.
func (v *Vocabulary) ScenarioNames() []string {
	names := make([]string, len(v.Scenarios))
	for i := range v.Scenarios {
		names[i] = v.Scenarios[i].ID
	}
	return names
}

// MechanismNames returns the names of all mechanisms.
func (v *Vocabulary) MechanismNames() []string {
	names := make([]string, len(v.Mechanisms))
	for i, m := range v.Mechanisms {
		names[i] = m.Name
	}
	return names
}

// removing are the names of the mechanisms that open their trap.
func (v *Vocabulary) opening() []string {
	var names []string
	for _, m := range v.Mechanisms {
		if m.Opens {
			names = append(names, m.Name)
		}
	}
	return names
}

// Threshold is a detector threshold that a suite may set, both ends included.
type Threshold struct {
	Name     string
	Min, Max int64
}
