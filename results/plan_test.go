package results

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// testPlan is the plan of the test trials.
func testPlan(n int) Planner {
	return func(*Manifest) ([]Planned, error) {
		var all []Planned
		for i := range n {
			tr := testTrial(i)
			cell := tr.Cell
			cell.Kind, cell.GuestKernel = "", ""
			all = append(all, Planned{Block: tr.Block, Seed: tr.Seed, Cell: cell, DeadlineNS: tr.DeadlineNS,
				Classes: []string{"spin", "io"}})
		}
		return all, nil
	}
}

// TestPlanned: a record that is possible and not what the plan says is left out, and run
// anew when the run is resumed.
func TestPlanned(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		says string
		harm func(*Trial)
	}{
		{"block is 1, the plan says 0", func(t *Trial) { t.Block++ }},
		{"seed is 7, the plan says 11400714819323198485", func(t *Trial) { t.Seed = 7 }},
		{"scenario is x", func(t *Trial) { t.Scenario = "x" }},
		{"mechanism is x", func(t *Trial) { t.Mechanism = "x" }},
		{"driver is x", func(t *Trial) { t.Driver = "x" }},
		{"kernel is x", func(t *Trial) { t.Kernel = "x" }},
		{"guest_type is hvm", func(t *Trial) { t.Type, t.Boot = "hvm", "distro" }},
		{"guest_boot is distro", func(t *Trial) { t.Boot = "distro" }},
		{"xen is 4.17", func(t *Trial) { t.XenRelease = "4.17" }},
		{"programs is x", func(t *Trial) { t.Programs = "x" }},
		{"superpages is true", func(t *Trial) { t.Superpages = true }},
		{"vcpus is 2", func(t *Trial) { t.VCPUs = 2 }},
		{"memory_mib is 161", func(t *Trial) { t.MemoryMiB = 161 }},
		{"neighbours is 1", func(t *Trial) { t.Neighbours = 1 }},
		{"bounded_ms is 3000", func(t *Trial) { t.BoundedMS = 3000 }},
		{"watchdogs is xen", func(t *Trial) { t.Watchdogs = "xen" }},
		{"thresholds is io_ms 5", func(t *Trial) { t.Thresholds = "io_ms 5" }},
		{`fault is {"do":"a",`, func(t *Trial) { t.Declared = `{"do":"a","args":{"n":"1"},"work":"b","class":"c"}` }},
		{"deadline_ns is 3000000001", func(t *Trial) { t.DeadlineNS++ }},
		{`class "zz" is none of ["spin" "io"]: the record was damaged`, func(t *Trial) { t.Class = "zz" }},
		{`class "zz" is none`, func(t *Trial) { t.Expected = "zz" }},
		{`class "zz" is none`, func(t *Trial) { t.Alarms = []Alarm{{Class: "zz"}} }},
		{"another record already", func(t *Trial) { *t = testTrial(0); t.WindowNS++ }},
		{`of suite "x"`, func(t *Trial) { t.Suite = "x" }},
		{`on host "xen"`, func(t *Trial) { t.Host = "xen" }},
	} {
		s, err := Create(memoryDir(t), testManifest(3))
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, s, 0)
		if err := s.Close(testEnd); err != nil {
			t.Fatal(err)
		}
		harmed := testTrial(1)
		tc.harm(&harmed)
		if err := harmed.Validate(); err != nil {
			t.Fatalf("%s: %v", tc.says, err)
		}
		line, err := jsonLine(harmed)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(s.Dir(), TrialsFile)
		if err := os.WriteFile(file, append(testLine(t, 0), line...), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(s.Dir(), SumsFile)); err != nil {
			t.Fatal(err)
		}
		run, err := ReadRun(s.Dir(), testPlan(3))
		if err != nil || len(run.Trials) != 1 || len(run.Bad) != 1 || !strings.Contains(run.Bad[0].Error(), tc.says) {
			t.Errorf("%s: %d trials, bad %v, %v", tc.says, len(run.Trials), run.Bad, err)
			continue
		}
		r, err := Resume(s.Dir(), testPlan(3))
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, r, 1, 2)
		if err := r.Close(testEnd); err != nil {
			t.Fatal(err)
		}
		checkFinished(t, s.Dir(), 3)
	}
}

// TestPlannedOld: records of earlier programs lack what they may lack.
func TestPlannedOld(t *testing.T) {
	t.Parallel()
	plan, _ := testPlan(2)(nil)
	p := plan[1]
	p.Kernel, p.Watchdogs = "cloud-6.12", "xen"
	tr := testTrial(1)
	tr.Watchdogs = "xen"
	if err := p.Check(&tr); err != nil {
		t.Errorf("without the kernel's name: %v", err)
	}
	tr.Watchdogs = ""
	if err := p.Check(&tr); err == nil {
		t.Error("a valid trial may lack its watchdogs")
	}
	tr.Outcome, tr.DeadlineNS = Invalid, 0
	if err := p.Check(&tr); err != nil {
		t.Errorf("an invalid trial without watchdogs and deadline: %v", err)
	}
}

// TestPlannedClasses: a program in place of the monitor names classes as it likes, and a
// plan that knows no classes admits all.
func TestPlannedClasses(t *testing.T) {
	t.Parallel()
	plan, _ := testPlan(2)(nil)
	p := plan[1]
	tr := testTrial(1)
	tr.Class, tr.Alarms = "zz", []Alarm{{Class: "zz"}, {Class: "yy"}}
	neighbour := testTrial(1)
	neighbour.NeighbourAlarms = []Alarm{{Class: "io"}, {Class: "zz"}}
	if p.Check(&tr) == nil || p.Check(&neighbour) == nil {
		t.Error("a class that the monitor does not have")
	}
	p.Program = true
	if err := p.Check(&tr); err != nil {
		t.Error(err)
	}
	tr.Expected = "zz"
	if p.Check(&tr) == nil {
		t.Error("a class that no fault has")
	}
	p.Classes = nil
	if err := p.Check(&tr); err != nil {
		t.Error(err)
	}
}

// TestPlanner: a run whose plan cannot be made is read, with a word about it. One that
// contradicts its plan is not.
func TestPlanner(t *testing.T) {
	t.Parallel()
	dir := storedRun(t)
	unknown := func(*Manifest) ([]Planned, error) { return nil, errors.Join(ErrNoPlan, errors.New("why")) }
	run, err := ReadRun(dir, unknown)
	if err != nil || len(run.Trials) != 2 || len(run.Notes) != 1 || !errors.Is(run.Notes[0], ErrNoPlan) {
		t.Errorf("%v, %v", run, err)
	}
	if run, err := ReadRun(dir, func(*Manifest) ([]Planned, error) { return nil, nil }); err != nil ||
		len(run.Trials) != 2 || len(run.Notes) > 0 {
		t.Errorf("a run too old for a plan: %v, %v", run, err)
	}
	for says, plan := range map[string]Planner{
		"wrong": func(*Manifest) ([]Planned, error) { return nil, errors.New("wrong") },
		"manifest.json plans 3 trials, its suite 2": testPlan(2),
	} {
		if _, err := ReadRun(dir, plan); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
		if _, err := Resume(dir, plan); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("resume: %v, want %q", err, says)
		}
	}
}
