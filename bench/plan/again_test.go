package plan_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"hangbench/bench/names"
	"hangbench/bench/plan"
	"hangbench/results"
	"hangbench/scenarios/suites"
)

const again = `name: again
scenarios: [spinlock-deadlock, control-idle]
mechanisms: [none, exec-step]
guests:
  - {kernel: k, vcpus: 1, memory_mib: 160}
repetitions: 2
`

// TestAgain: the plan of a run is made again from its manifest, and the planner compares
// records with it.
func TestAgain(t *testing.T) {
	t.Parallel()
	v := names.Suites([]string{"k"}, nil, nil)
	s, err := suites.Parse("again.yaml", []byte(again), v)
	if err != nil {
		t.Fatal(err)
	}
	s.Drivers = []string{"libvmi"}
	trials := plan.Expand(s, 5)
	hash, err := plan.Hash(trials)
	if err != nil {
		t.Fatal(err)
	}
	manifest := func(harm func(*results.Manifest)) *results.Manifest {
		m := &results.Manifest{Suite: results.NewSuiteInfo("again", []byte(again)), Seed: 5, Planned: len(trials),
			PlanHash: hash}
		m.Suite.Drivers = s.Drivers
		if harm != nil {
			harm(m)
		}
		return m
	}
	suite, got, err := plan.Again(manifest(nil), v)
	if err != nil || !reflect.DeepEqual(got, trials) || suite.Name != "again" {
		t.Errorf("%+v, %v", got, err)
	}
	planned, err := plan.Planner(v)(manifest(nil))
	if err != nil || len(planned) != len(trials) {
		t.Fatalf("%d trials planned, %v", len(planned), err)
	}
	for i, p := range planned {
		if !slices.Contains(p.Classes, "spin") || !slices.Contains(p.Classes, "monitor-livelock") || p.Program {
			t.Errorf("trial %d: classes %q, a program of the user: %v", i, p.Classes, p.Program)
		}
		rec := results.Trial{Trial: i, Block: trials[i].Block, Seed: trials[i].Seed, Cell: trials[i].Cell,
			DeadlineNS: 8e9, Outcome: results.Missed}
		rec.Kind, rec.GuestKernel = results.Fault, "6.12-test"
		if err := p.Check(&rec); err != nil {
			t.Error(err)
		}
		rec.DeadlineNS = 7e9
		if err := p.Check(&rec); err == nil {
			t.Errorf("trial %d may have another deadline", i)
		}
	}
	programs := []suites.Observer{{Name: trials[0].Mechanism}, {Name: "beside"}}
	trials[0].Observers = programs[1:]
	beside := trials[0].Planned()
	trials[0].Observers = programs
	if inPlace := trials[0].Planned(); beside.Program || !inPlace.Program {
		t.Errorf("a program of the user watches beside the monitor: %+v, in its place: %+v", beside, inPlace)
	}
	trials[0].Observers = nil
	for _, tc := range []struct {
		name   string
		harm   func(*results.Manifest)
		noPlan bool
		says   string
	}{
		{"another seed", func(m *results.Manifest) { m.Seed++ }, true, "makes another plan"},
		{"other drivers", func(m *results.Manifest) { m.Suite.Drivers = nil }, true, "makes another plan"},
		{"unknown scenario", func(m *results.Manifest) {
			m.Suite.Text = strings.Replace(again, "control-idle", "control-yore", 1)
		}, true, `again.yaml:2: scenario "control-yore" is unknown`},
		{"another name", func(m *results.Manifest) { m.Suite.Name = "other" }, false,
			`manifest.json names the suite "other", whose text names it "again"`},
	} {
		_, _, err := plan.Again(manifest(tc.harm), v)
		if err == nil || errors.Is(err, results.ErrNoPlan) != tc.noPlan || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if _, perr := plan.Planner(v)(manifest(tc.harm)); perr == nil || perr.Error() != err.Error() {
			t.Errorf("%s: planner: %v", tc.name, perr)
		}
	}
	// Guests that were given in place of the suite's, one of them with a kernel that no
	// suite names.
	given := []results.Machine{
		{Kernel: "file-0123456789ab", VCPUs: 1, MemoryMiB: 160}, {Kernel: "k", VCPUs: 2, MemoryMiB: 160},
	}
	s.Guests = given
	hash, err = plan.Hash(plan.Expand(s, 5))
	if err != nil {
		t.Fatal(err)
	}
	other := manifest(func(m *results.Manifest) {
		m.Suite.Guests, m.Suite.KernelFiles = given, map[string]string{"file-0123456789ab": "vmlinuz"}
	})
	if suite, got, err := plan.Again(other, v); err != nil || len(got) != 2*len(trials) ||
		suite.KernelFiles["file-0123456789ab"] != "vmlinuz" || !suite.GivenGuests {
		t.Errorf("other guests: %d trials, %v", len(got), err)
	}
	old := manifest(func(m *results.Manifest) { m.PlanHash = "" })
	if _, got, err := plan.Again(old, v); err != nil || len(got) != len(trials) {
		t.Errorf("without a hash: %d trials, %v", len(got), err)
	}
	if planned, err := plan.Planner(v)(old); err != nil || planned != nil {
		t.Errorf("without a hash: planned %v, %v", planned, err)
	}
}

// FuzzAgain: no manifest makes the program fail, and no plan has a hash of chance.
func FuzzAgain(f *testing.F) {
	f.Add("again", again, uint64(5), "")
	f.Add("", "name: [", uint64(0), "x")
	v := names.Suites([]string{"k"}, nil, nil)
	f.Fuzz(func(t *testing.T, name, text string, seed uint64, hash string) {
		m := &results.Manifest{Suite: results.NewSuiteInfo(name, []byte(text)), Seed: seed, PlanHash: hash}
		s, trials, err := plan.Again(m, v)
		if err != nil {
			return
		}
		if s.Name != name || len(trials) == 0 || hash != "" {
			t.Errorf("suite %q, %d trials", s.Name, len(trials))
		}
	})
}
