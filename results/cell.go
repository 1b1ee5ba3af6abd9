package results

import (
	"fmt"
	"strings"
)

// Unwatched is the mechanism of an arm that attaches no monitor.
const Unwatched = "none"

// Kind says what a scenario is for.
type Kind string

const (
	Fault    Kind = "fault"    // something hangs: a verdict is right
	Control  Kind = "control"  // nothing hangs: a verdict is a false alarm
	Measured Kind = "workload" // a control that measures what a workload gets done
	// a fault whose effect nobody knows before: Trial.Effect says what became of the guest
	Unknown Kind = "unknown"
)

// Arm is how a guest is watched.
type Arm struct {
	Mechanism string `json:"mechanism"` // how the monitor notices task switches; none without a monitor
	Driver    string `json:"driver"`    // library under the monitor: xenctrl or libvmi
}

// Watched reports whether the arm has a monitor. Without one a hang cannot be
// detected, and is not missed.
func (a Arm) Watched() bool { return a.Mechanism != Unwatched }

// Machine is the guest that a trial runs on. The tags min and max are the range of a
// number, here and in a record: see Trial.Validate. Suites can ask for no other values.
type Machine struct {
	// Kernel is the name of a guest kernel, as in cloud-6.12.
	Kernel string `json:"kernel,omitempty"`
	// GuestKernel is the release that the guest's kernel names itself. A plan does
	// not know it.
	GuestKernel string `json:"guest_kernel,omitempty"`
	// Type is hvm for a guest that has a BIOS and boots from a disc. It is empty for one of
	// type PVH.
	Type string `json:"guest_type,omitempty"`
	// Boot is distro for a kernel with KASLR and the mitigations it chooses itself. It
	// is empty for a kernel without both.
	Boot string `json:"guest_boot,omitempty"`
	// Programs names the set of programs in the guest's initramfs. Empty means none.
	Programs string `json:"programs,omitempty"`
	// XenRelease is the release of Xen that the suite asked for, as in 4.17. Empty means that it
	// took the host's own, which the manifest names. So do all records of older programs.
	XenRelease string `json:"xen,omitempty"`
	// Superpages: the hypervisor may give the guest large pages.
	Superpages bool `json:"superpages,omitempty"`
	VCPUs      int  `json:"vcpus" min:"1" max:"8"`           // virtual CPUs of the guest
	MemoryMiB  int  `json:"memory_mib" min:"128" max:"4096"` // memory of the guest
	// Neighbours is how many more guests of this kind are up and monitored beside it.
	Neighbours int `json:"neighbours,omitempty" max:"3"`
}

// Cell identifies a trial before it runs. Trials with equal cells are repetitions of each
// other. A Cell is comparable with ==.
type Cell struct {
	Scenario string `json:"scenario"`       // name of the scenario
	Kind     Kind   `json:"kind,omitempty"` // what the scenario is for
	Arm
	Machine
	// BoundedMS is how long the fault lasts, in milliseconds. 0 means until the verdict
	// or the deadline.
	BoundedMS int64 `json:"bounded_ms,omitempty" max:"4503599627"`
	// Watchdogs is how the watchdogs of Linux and Xen are set: default, minimum or xen.
	// Empty means that nobody listens to them.
	Watchdogs string `json:"watchdogs,omitempty"`
	// Thresholds are the detector's that the suite set. The others had their defaults.
	Thresholds Settings `json:"thresholds,omitempty"`
	// Declared is the fault that the suite declares. It is absent for the program's own
	// scenarios.
	Declared Declared `json:"fault,omitempty"`
}

// Title is the scenario, with the length of its fault if that is bounded.
func (c Cell) Title() string {
	if c.BoundedMS == 0 {
		return c.Scenario
	}
	return fmt.Sprintf("%s, %g s", c.Scenario, float64(c.BoundedMS)/1000)
}

// Factor is one fact of a cell's machine.
type Factor struct {
	Name  string // column of a CSV file and part of an exported name, as in vcpus
	Value string // as in 2; empty for the default of a factor that most guests lack
	Label string // for people, as in 2 vCPU; empty if the value need not be said
	// Size: the factor is a number, which one experiment may vary. Guests that differ in
	// another factor run something else.
	Size  bool
	order float64
}

// Factors are the facts of the machine and its watchdogs, in the order in which
// captions say them. Every cell has the same factors. A new factor of a guest is a
// field of Machine and a line here: tables, labels, CSV files and exported names
// follow.
func (c Cell) Factors() []Factor {
	named := func(name, value, label string) Factor {
		if value == "" {
			label = ""
		}
		return Factor{Name: name, Value: value, Label: label}
	}
	number := func(name string, value int, label string) Factor {
		return Factor{name, fmt.Sprint(value), fmt.Sprintf(label, value), true, float64(value)}
	}
	beside := number("neighbours", c.Neighbours, "beside %d more")
	if c.Neighbours == 0 {
		beside.Label = ""
	}
	large := Factor{Name: "superpages", Value: fmt.Sprint(c.Superpages)}
	if c.Superpages {
		large.Label, large.order = "superpages", 1
	}
	return []Factor{
		named("guest_kernel", c.GuestKernel, c.GuestKernel),
		named("guest_type", c.Type, strings.ToUpper(c.Type)),
		named("guest_boot", c.Boot, c.Boot),
		named("programs", c.Programs, "with "+c.Programs),
		named("xen", c.XenRelease, "Xen "+c.XenRelease),
		large,
		named("watchdogs", c.Watchdogs, "watchdogs "+c.Watchdogs),
		number("vcpus", c.VCPUs, "%d vCPU"),
		number("memory_mib", c.MemoryMiB, "%d MiB"),
		beside,
	}
}

// Sizes returns the cell without the factors that are no size. Cells of one experiment on
// two kernels are equal after it.
func (c Cell) Sizes() Cell {
	c.Machine = Machine{VCPUs: c.VCPUs, MemoryMiB: c.MemoryMiB, Neighbours: c.Neighbours}
	c.Watchdogs = ""
	return c
}

// Compare orders values of one factor: numbers by size, words by name.
func (f Factor) Compare(g Factor) int {
	switch {
	case f.order < g.order:
		return -1
	case f.order > g.order:
		return 1
	}
	return strings.Compare(f.Value, g.Value)
}
