package suites

import (
	"maps"
	"slices"

	"hangbench/results"
)

// Suite is a parsed suite with its defaults filled in.
type Suite struct {
	Name        string
	Description string
	Scenarios   []string
	Mechanisms  []string
	Drivers     []string
	Guests      []Guest
	Repetitions int
	// Declared are the faults that the suite declares, by the name of their scenario. It
	// is nil if the suite declares none.
	Declared map[string]results.Declared
	Timing   Timing
	// BoundedMS lists how long faults last, in milliseconds. Each fault is tried once with
	// each length. 0 means until the verdict or the deadline, and so does an empty list.
	BoundedMS []int64
	// Thresholds overrides detector thresholds by name, in the unit that the name says:
	// milliseconds for _ms, percent for _percent, otherwise a number. The others keep the
	// detector's own default.
	Thresholds map[string]int64
	// Sweeps vary thresholds, one at a time. See Settings.
	Sweeps []Sweep
	// Baselines is how the watchdogs of Linux and Xen are set. Their reports are recorded
	// beside the monitor's verdict, and a fault stays until they have had their time,
	// whatever the monitor reports. Empty means that nobody listens to them.
	Baselines string
	// Observers are programs in dom0 that watch the guest. One whose name is among
	// Mechanisms watches in place of the monitor, in those trials only. The others watch
	// in every trial, beside the monitor, and their reports are recorded.
	Observers []Observer

	// GivenGuests: Guests are not those of Text, because kernels were given on the command
	// line, or because a kernel is a file, which a run knows by another name.
	GivenGuests bool
	// KernelFiles maps the names of such kernels to their files, without KernelFile.
	KernelFiles map[string]string

	// Text is the text of the suite's file, for the run's manifest.
	Text []byte
}

// KernelFile begins a guest's kernel that is a file and not a name.
const KernelFile = "file:"

// Sweep is a threshold that takes one value after the other.
type Sweep struct {
	Threshold string
	Values    []int64 // two or more, all different
	// Scenarios are tried with every value. There is at least one.
	Scenarios []string
	// Thresholds are set beside it, for instance that of a rule that would report first.
	Thresholds map[string]int64
}

// Observer is a program in dom0 that watches a guest (bench/observe).
type Observer struct {
	Name string `json:"name"`
	// Command is the program with its arguments. {domain} and {domid} stand for the name
	// and the number of the guest's domain.
	Command []string `json:"command"`
}

// Settings returns the settings of thresholds with which the suite tries the scenario.
// Without sweeps that is Thresholds. With sweeps there is one setting for each value of
// each sweep that has the scenario: Thresholds, what the sweep sets beside, and the value.
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

// Types of guests.
const (
	// PVH: Xen starts the kernel. Plans and results leave the word out.
	PVH = "pvh"
	// HVM: the guest has a BIOS, and QEMU emulates its devices. A boot loader starts the
	// kernel from a disc, as a distribution's does.
	HVM = "hvm"
)

// How a guest's kernel is booted.
const (
	// Plain: at the address where it was linked (nokaslr), with mitigations=off. Plans and
	// results leave the word out.
	Plain = "plain"
	// Distro: as a distribution boots it, moved in memory (KASLR) and with the kernel's own
	// choice of mitigations, including page-table isolation.
	Distro = "distro"
)

// Timing is the time plan of a trial, in milliseconds of dom0's monotonic clock. In the
// lab that clock is virtual. Keys has the range and the default of each field.
type Timing struct {
	// BaselineMS is the length of the window before the monitor attaches, and of its pair
	// after. The ratio of the guest's progress in the two is the price of the monitor. The
	// least value is two heartbeats.
	BaselineMS int64 `json:"baseline_ms"`
	// ObserveMS is how long the monitor watches before the fault lands. In a control it is
	// how long the monitor watches in all. It is not shorter than BaselineMS.
	ObserveMS int64 `json:"observe_ms"`
	// DeadlineMS is the time after the fault at which a trial without a verdict is a miss,
	// censored at this value. The least value is more than the six heartbeats that must be
	// missing before a guest counts as silent.
	DeadlineMS int64 `json:"deadline_ms"`
	// RecoveryMS is how long the guest may take to go on after the fault is removed, and
	// after the monitor is detached.
	RecoveryMS int64 `json:"recovery_ms"`
	// SampleMS is the period at which the detector samples the guest. It is not longer than
	// BaselineMS.
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
