package suites

import (
	"maps"
	"slices"

	"hangbench/results"
)

// Suite is a parsed suite, defaults filled in.
type Suite struct {
	Name        string
	Description string
	Scenarios   []string
	Mechanisms  []string
	Drivers     []string
	Guests      []Guest
	Repetitions int
	Timing      Timing
	// BoundedMS lists how long faults last, in milliseconds: each of them is tried
	// once with each length, of which 0 means until the verdict on it, or the
	// deadline. So does an empty list.
	BoundedMS []int64
	// Thresholds overrides detector thresholds by name, in the unit that the name
	// says: milliseconds for _ms, a share for _percent, else a number.
	// A name that is absent keeps the detector's own default.
	Thresholds map[string]int64
	// Sweeps vary thresholds, one at a time: see Settings.
	Sweeps []Sweep
	// Baselines is how the watchdogs of Linux and Xen are set, whose reports are
	// recorded beside the monitor's verdict. Unless it is empty a fault stays until
	// they have had their time, whatever the monitor says.
	Baselines string
	// Observers are programs in dom0 that watch the guest. One whose name is among
	// Mechanisms watches in place of the monitor, in those trials only. The others watch
	// in every trial, beside the monitor, and their reports are recorded.
	Observers []Observer

	// Text is the file the suite was read from, for the run's manifest.
	Text []byte
}

// Sweep is a threshold that takes one value after the other.
type Sweep struct {
	Threshold string
	Values    []int64 // two or more, all different
	// Scenarios are those that are tried with every value; never empty.
	Scenarios []string
	// Thresholds are set beside it, as those of a rule that would come first.
	Thresholds map[string]int64
}

// Observer is a program in dom0 that watches a guest (bench/observe).
type Observer struct {
	Name string `json:"name"`
	// Command is the program with its arguments. {domain} and {domid} stand for the name
	// and the number of the guest's domain.
	Command []string `json:"command"`
}

// Settings returns the settings of thresholds with which the suite tries the
// scenario: Thresholds, or if there are sweeps, Thresholds and one value of one
// of the sweeps that have the scenario, with what that one sets beside it.
func (s *Suite) Settings(scenario string) []map[string]int64 {
	if len(s.Sweeps) == 0 {
		return []map[string]int64{s.Thresholds}
	}
	var all []map[string]int64
	for _, w := range s.Sweeps {
		if !slices.Contains(w.Scenarios, scenario) {
			continue
		}
		for _, v := range w.Values {
			set := maps.Clone(s.Thresholds)
			if set == nil {
				set = make(map[string]int64)
			}
			maps.Copy(set, w.Thresholds)
			set[w.Threshold] = v
			all = append(all, set)
		}
	}
	return all
}

// Guest is the machine a trial runs on, without the release of its kernel.
type Guest = results.Machine

// How a guest's kernel is booted.
const (
	// Plain: where it was linked (nokaslr) and with mitigations=off. Plans and
	// results show it as no word.
	Plain = "plain"
	// Distro: as a distribution boots it, moved in memory (KASLR) and with the
	// kernel's own choice of mitigations, page-table isolation among them.
	Distro = "distro"
)

// Timing is the time plan of a trial, in milliseconds of dom0's monotonic
// clock. In the lab that clock is virtual.
type Timing struct {
	// BaselineMS is the length of the window before the monitor attaches,
	// and of its pair after: the guest's progress rate in the one over the
	// other is the price of the monitor. 400 (two heartbeats) to 60000, default 2000.
	BaselineMS int64 `json:"baseline_ms"`
	// ObserveMS is how long the monitor watches before the fault lands; for
	// a control, which has no fault, how long it watches in all. Not shorter
	// than BaselineMS. 400 to 600000, default 2500.
	ObserveMS int64 `json:"observe_ms"`
	// DeadlineMS is the time after the fault at which a trial without a
	// verdict is a miss, censored at this value. 1500 (silence is six heartbeats) to 600000, default 8000.
	DeadlineMS int64 `json:"deadline_ms"`
	// RecoveryMS is how long the guest may take to beat again after the
	// fault is lifted or the monitor detached. 100 to 600000, default 5000.
	RecoveryMS int64 `json:"recovery_ms"`
	// SampleMS is the period at which the detector looks. Not longer than
	// BaselineMS. 1 to 1000, default 100.
	SampleMS int64 `json:"sample_ms"`
}

// DefaultTiming is the timing of a suite that does not say otherwise.
func DefaultTiming() Timing {
	return Timing{BaselineMS: 2000, ObserveMS: 2500, DeadlineMS: 8000, RecoveryMS: 5000, SampleMS: 100}
}

// leastProgramsMiB is the least memory of a guest with programs, in MiB. Its initramfs
// has some 45 MiB, which the kernel holds twice while it unpacks it.
const leastProgramsMiB = 256

const defaultDriver = "xenctrl"
