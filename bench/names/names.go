// Package names collects the names that a suite may use, from the packages that
// define them.
package names

import (
	"hangbench/bench/dom0"
	"hangbench/guests/watchdog"
	"hangbench/monitor/detect"
	"hangbench/monitor/trap"
	"hangbench/scenarios"
	"hangbench/scenarios/suites"
)

// Suites returns the vocabulary of suites on a host that has these guest kernels
// and these sets of guest programs.
func Suites(kernels, programs []string) suites.Vocabulary {
	v := suites.Vocabulary{
		Drivers:   dom0.Drivers(),
		Kernels:   kernels,
		Programs:  programs,
		MinVCPUs:  map[string]int{},
		Only:      map[string][]string{},
		Lasting:   map[string]string{},
		Workloads: map[string]string{},
	}
	for _, b := range watchdog.Settings() {
		v.Baselines = append(v.Baselines, string(b))
	}
	for _, t := range detect.ListThresholds() {
		v.Thresholds = append(v.Thresholds, suites.Threshold{Name: t.Name, Min: t.Min, Max: t.Max})
	}
	for _, s := range scenarios.All() {
		v.Scenarios = append(v.Scenarios, s.ID)
		if why := s.Lasting(); why != "" {
			v.Lasting[s.ID] = why
		}
		if s.MinVCPUs > 1 {
			v.MinVCPUs[s.ID] = s.MinVCPUs
		}
		if s.Stress.Known() {
			v.Workloads[s.ID] = s.Programs()
		}
		if s.OfMonitor {
			v.Only[s.ID] = liftingMechanisms()
		}
	}
	for _, m := range trap.Mechanisms() {
		v.Mechanisms = append(v.Mechanisms, m.Name)
	}
	return v
}

// liftingMechanisms names the mechanisms whose answers must lift their trap.
func liftingMechanisms() []string {
	var names []string
	for _, m := range trap.Mechanisms() {
		if m.Lifts {
			names = append(names, m.Name)
		}
	}
	return names
}
