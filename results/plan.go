package results

import (
	"errors"
	"fmt"
	"slices"
)

// Planned is what a plan says of a trial before it runs.
type Planned struct {
	Block int
	Seed  uint64
	// Cell has neither Kind nor GuestKernel: the trial adds them.
	Cell
	DeadlineNS int64 // of a fault; 0 if the plan does not say it
	// Classes are the classes of hangs that there are; nil if the plan does not say it.
	Classes []string
	// Program: a program of the user watches in place of the monitor. It names classes as it
	// likes.
	Program bool
}

// Planner makes the plan of a run again from what the manifest says, in plan order. It
// returns no plan for a run that is too old to have one, an error that is ErrNoPlan if this
// program cannot make it, and another error if the manifest contradicts itself. This
// package knows no scenarios and cannot expand a suite: bench/plan does.
type Planner func(*Manifest) ([]Planned, error)

// ErrNoPlan says that the records of a run cannot be compared with its plan.
var ErrNoPlan = errors.New("the records cannot be compared with the plan of the run")

// Check returns an error if the record is not one of the planned trial.
func (p *Planned) Check(t *Trial) error {
	want := p.Cell
	want.Kind, want.GuestKernel = t.Kind, t.GuestKernel
	if t.Kernel == "" { // an older record of a kernel whose release does not tell its name
		want.Kernel = ""
	}
	if t.Watchdogs == "" && t.Outcome == Invalid { // an older record of a trial that ended before they were set
		want.Watchdogs = ""
	}
	for _, f := range []struct {
		name     string
		is, want any
	}{
		{"block", t.Block, p.Block},
		{"seed", t.Seed, p.Seed},
		{"scenario", t.Scenario, want.Scenario},
		{"mechanism", t.Mechanism, want.Mechanism},
		{"driver", t.Driver, want.Driver},
		{"kernel", t.Kernel, want.Kernel},
		{"guest_type", t.Type, want.Type},
		{"guest_boot", t.Boot, want.Boot},
		{"programs", t.Programs, want.Programs},
		{"xen", t.XenRelease, want.XenRelease},
		{"superpages", t.Superpages, want.Superpages},
		{"vcpus", t.VCPUs, want.VCPUs},
		{"memory_mib", t.MemoryMiB, want.MemoryMiB},
		{"neighbours", t.Neighbours, want.Neighbours},
		{"bounded_ms", t.BoundedMS, want.BoundedMS},
		{"watchdogs", t.Watchdogs, want.Watchdogs},
		{"thresholds", t.Thresholds, want.Thresholds},
		{"fault", t.Declared, want.Declared},
	} {
		if f.is != f.want {
			return fmt.Errorf("trial %d: %s is %v, the plan says %v", t.Trial, f.name, f.is, f.want)
		}
	}
	if t.Cell != want {
		return fmt.Errorf("trial %d: the cell is %+v, the plan says %+v", t.Trial, t.Cell, want)
	}
	if t.injects() && t.DeadlineNS != p.DeadlineNS && p.DeadlineNS > 0 && t.confirmed() {
		return fmt.Errorf("trial %d: deadline_ns is %d, the plan says %d", t.Trial, t.DeadlineNS, p.DeadlineNS)
	}
	return p.checkClasses(t)
}

// checkClasses returns an error for a class in the record that there is not.
func (p *Planned) checkClasses(t *Trial) error {
	if p.Classes == nil {
		return nil
	}
	named := []string{t.Expected}
	if t.Effect != nil {
		named = append(named, t.Effect.Right...)
	}
	if !p.Program {
		named = append(named, t.Class)
		for _, a := range slices.Concat(t.Alarms, t.NeighbourAlarms) {
			named = append(named, a.Class)
		}
	}
	for _, class := range named {
		if class != "" && !slices.Contains(p.Classes, class) {
			return fmt.Errorf("trial %d: class %q is none of %q: the record was damaged, or a later version wrote it", t.Trial,
				class, p.Classes)
		}
	}
	return nil
}

// planOf returns the plan of a run, or nil with the reason why there is none to compare
// with.
func planOf(m *Manifest, plan Planner) (trials []Planned, note, err error) {
	if plan == nil {
		return nil, nil, nil
	}
	trials, err = plan(m)
	switch {
	case errors.Is(err, ErrNoPlan):
		return nil, err, nil
	case err != nil:
		return nil, nil, err
	case trials != nil && len(trials) != m.Planned:
		return nil, nil, fmt.Errorf("%s plans %d trials, its suite %d", ManifestFile, m.Planned, len(trials))
	}
	return trials, nil, nil
}
