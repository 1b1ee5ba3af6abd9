package plan

import (
	"fmt"

	"hangbench/results"
	"hangbench/scenarios/suites"
)

// Again makes the plan of a run again from the suite and the seed in its manifest. The
// error is results.ErrNoPlan if this version of the program does not know the suite, or
// makes another plan of it. A manifest that contradicts its suite is another error.
func Again(m *results.Manifest, v suites.Vocabulary) (*suites.Suite, []Trial, error) {
	s, err := suites.Parse(m.Suite.Name+".yaml", []byte(m.Suite.Text), v)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: this version does not know its suite: %w", results.ErrNoPlan, err)
	}
	if s.Name != m.Suite.Name {
		return nil, nil, fmt.Errorf("%s names the suite %q, whose text names it %q: one of them was changed or damaged",
			results.ManifestFile, m.Suite.Name, s.Name)
	}
	if len(m.Suite.Drivers) > 0 {
		s.Drivers = m.Suite.Drivers
	}
	if len(m.Suite.Guests) > 0 {
		s.Guests, s.KernelFiles, s.GivenGuests = m.Suite.Guests, m.Suite.KernelFiles, true
	}
	trials := Expand(s, m.Seed)
	for _, hash := range []func([]Trial) (string, error){Hash, legacyHash} {
		is, err := hash(trials)
		if err != nil {
			return nil, nil, err
		}
		if m.PlanHash == "" || m.PlanHash == is {
			return s, trials, nil
		}
	}
	return nil, nil, fmt.Errorf("%w: this version makes another plan of its suite and seed", results.ErrNoPlan)
}

// Planner returns what results.ReadRun needs to compare records with the plan. It makes
// none of a run from before manifests had the hash of the plan.
func Planner(v suites.Vocabulary) results.Planner {
	return func(m *results.Manifest) ([]results.Planned, error) {
		if m.PlanHash == "" {
			return nil, nil
		}
		_, trials, err := Again(m, v)
		if err != nil {
			return nil, err
		}
		all := make([]results.Planned, len(trials))
		for i := range trials {
			all[i] = trials[i].Planned()
			all[i].Classes = v.Classes
		}
		return all, nil
	}
}

// Planned is what the record of the trial is compared with.
func (t *Trial) Planned() results.Planned {
	_, program := t.External()
	return results.Planned{Block: t.Block, Seed: t.Seed, Cell: t.Cell, DeadlineNS: t.DeadlineNS(), Program: program}
}
