package analysis

import (
	"go/build"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hangbench/analysis/internal/madeup"
	"hangbench/results"
)

func TestGroup(t *testing.T) {
	trials := madeup.Trials(3)
	set, err := Group(madeup.Run(trials))
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	seen := 0
	for _, c := range set.Cells {
		order = append(order, c.Scenario+" "+c.Label)
		seen += len(c.Trials)
		if !slices.IsSortedFunc(c.Trials, func(a, b results.Trial) int { return a.Trial - b.Trial }) {
			t.Errorf("%s %s: trials are not in plan order", c.Scenario, c.Label)
		}
		n := c.Counts
		if n.Valid+n.Invalid != len(c.Trials) || n.Detected+n.Missed+n.FalseAlarms+n.Clean != n.Valid {
			t.Errorf("%s %s: counts %+v of %d trials", c.Scenario, c.Label, n, len(c.Trials))
		}
		if c.Fault != (c.Scenario == "spinlock-deadlock") {
			t.Errorf("%s: fault is %v", c.Scenario, c.Fault)
		}
	}
	want := []string{
		"spinlock-deadlock none", "spinlock-deadlock exec-altp2m", "spinlock-deadlock exec-step",
		"control-busy none", "control-busy exec-altp2m", "control-busy exec-step",
		"control-idle none", "control-idle exec-altp2m", "control-idle exec-step",
	}
	if !slices.Equal(order, want) {
		t.Errorf("cells %q, want %q", order, want)
	}
	if seen != len(trials) {
		t.Errorf("cells hold %d of %d trials", seen, len(trials))
	}
	if got, want := set.Caption(), "host: lab (emulated; virtual time); suite: made-up; driver: xenctrl; guest: "+
		"cloud-6.12, 1 vCPU, 160 MiB; 27 trials"; got != want {
		t.Errorf("caption %q, want %q", got, want)
	}
}

// Trials of different guests or drivers are never pooled, and the labels say
// what differs.
func TestGroupNeverPools(t *testing.T) {
	trials := madeup.Trials(2)
	for i := range trials {
		if trials[i].Block == 1 {
			trials[i].VCPUs, trials[i].Driver = 2, "libvmi"
		}
	}
	set, err := Group(madeup.Run(trials))
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Cells) != 18 {
		t.Fatalf("%d cells, want 18", len(set.Cells))
	}
	labels := make(map[string]bool)
	for _, c := range set.Cells {
		if len(c.Trials) != 1 || c.Label != set.Label(c.Trials[0].Cell) {
			t.Errorf("cell %s of %d trials", c.Label, len(c.Trials))
		}
		labels[c.Label] = true
	}
	if !labels["exec-step/libvmi (2 vCPU)"] || len(labels) != 6 {
		t.Errorf("labels %v", labels)
	}
	if c := set.Caption(); strings.Contains(c, "driver") || strings.Contains(c, "vCPU") || !strings.Contains(c,
		"guest: cloud-6.12, 160 MiB;") {
		t.Errorf("caption %q claims one driver or guest", c)
	}
}

// TestGroupBoot: a guest with KASLR and mitigations, with superpages, or with
// its watchdogs set otherwise, is never averaged with one without.
func TestGroupBoot(t *testing.T) {
	trials := madeup.Trials(1)
	plain, err := Group(madeup.Run(trials))
	if err != nil {
		t.Fatal(err)
	}
	boot, pages, dogs, quick := madeup.Trials(1), madeup.Trials(1), madeup.Trials(1), madeup.Trials(1)
	for i := range boot {
		boot[i].Boot, pages[i].Superpages = "distro", true
		dogs[i].Watchdogs, quick[i].Watchdogs = "default", "minimum"
	}
	both, err := Group(madeup.Run(slices.Concat(trials, boot, pages, dogs, quick)))
	if err != nil {
		t.Fatal(err)
	}
	if len(both.Cells) != 5*len(plain.Cells) {
		t.Errorf("%d cells, want five times %d", len(both.Cells), len(plain.Cells))
	}
}

func TestGroupRefuses(t *testing.T) {
	if _, err := Group(madeup.Run(nil)); err == nil {
		t.Error("no trials make a set")
	}
	trials := madeup.Trials(1)
	trials[3].Host = "xen"
	if _, err := Group(madeup.Run(trials)); err == nil || !strings.Contains(err.Error(), "do not mix") {
		t.Errorf("hosts are mixed: %v", err)
	}
}

func TestMeasures(t *testing.T) {
	ns := int64(1_500_000)
	trial := func(f func(*results.Trial)) *results.Trial {
		tr := &results.Trial{Cell: results.Cell{Arm: results.Arm{Mechanism: "exec-step"}}, Outcome: results.Detected,
			DetectNS: &ns,
			EPT:      results.EPT{Total: 30}, Events: results.Events{Delivered: 20},
			Guest: results.Guest{ProgressRatio: new(0.5),
				BeatsBefore: 9}}
		f(tr)
		return tr
	}
	for _, tc := range []struct {
		name string
		m    Measure
		t    *results.Trial
		want float64
		ok   bool
	}{
		{"detect", DetectTime.Of, trial(func(*results.Trial) {}), 1.5, true},
		{"detect, missed", DetectTime.Of, trial(func(t *results.Trial) { t.Outcome = results.Missed }), 0, false},
		{"detect, false alarm", DetectTime.Of, trial(func(t *results.Trial) { t.Outcome = results.FalseAlarm }), 0, false},
		{"per event", PerEvent.Of, trial(func(*results.Trial) {}), 1.5, true},
		{"per event, none", PerEvent.Of, trial(func(t *results.Trial) { t.Events.Delivered = 0 }), 0, false},
		{"progress", Progress.Of, trial(func(*results.Trial) {}), 0.5, true},
		{"progress, stopped by the monitor", Progress.Of,
			trial(func(t *results.Trial) { t.Guest.ProgressRatio = new(0.0) }), 0, true},
		{"progress, no monitor", Progress.Of, trial(func(t *results.Trial) {
			t.Mechanism, t.Guest.ProgressRatio = "none",
				nil
		}), 0, false},
		{"progress, no baseline", Progress.Of, trial(func(t *results.Trial) { t.Guest = results.Guest{} }), 0, false},
		{"events", Delivered.Of, trial(func(*results.Trial) {}), 20, true},
		{"events, no monitor", Delivered.Of, trial(func(t *results.Trial) { t.Mechanism = "none" }), 0, false},
	} {
		if got, ok := tc.m(tc.t); ok != tc.ok || ok && got != tc.want {
			t.Errorf("%s: %g, %v; want %g, %v", tc.name, got, ok, tc.want, tc.ok)
		}
	}
}

// EPTClasses must cover every class: their sum is Total.
func TestEPTClassesComplete(t *testing.T) {
	e := results.EPT{Permission: 1, Lazy: 2, MMIO: 4, Superpage: 8, Suppressed: 16, Residual: 32}
	var sum uint64
	for _, c := range EPTClasses() {
		sum += c.Count(&e)
	}
	e.Total = sum
	tr := madeup.Trials(1)[0]
	tr.EPT = e
	if err := tr.Validate(); err != nil || sum != 63 {
		t.Errorf("classes add up to %d, want 63: %v", sum, err)
	}
}

func TestClasses(t *testing.T) {
	c := &Cell{Trials: []results.Trial{{Class: "spin"}, {Class: "hard"}, {Class: "spin"}, {Class: "soft",
		Outcome: results.Invalid}}}
	if got := c.Classes(); got != "hard 1, spin 2" {
		t.Errorf("classes %q", got)
	}
	c.Trials = c.Trials[:1]
	if got := c.Classes(); got != "spin" {
		t.Errorf("classes %q", got)
	}
}

// TestImports keeps the rule that the analysis sees results and libraries and
// nothing else of the project.
func TestImports(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || d.Name() == "testdata" {
			return err
		}
		pkg, err := build.ImportDir(path, 0)
		if _, none := err.(*build.NoGoError); none {
			return nil
		}
		if err != nil {
			return err
		}
		if slices.Contains(pkg.Imports, "hangbench/analysis/internal/madeup") {
			t.Errorf("%s imports made-up results outside of its tests", path)
		}
		for _, imp := range slices.Concat(pkg.Imports, pkg.TestImports, pkg.XTestImports) {
			ours := strings.HasPrefix(imp, "hangbench/")
			if ours && imp != "hangbench/results" && imp != "hangbench/results/printable" &&
				imp != "hangbench/cgo/require" && imp != "hangbench/analysis" &&
				!strings.HasPrefix(imp, "hangbench/analysis/") {
				t.Errorf("%s imports %s", path, imp)
			}
			if imp == "C" {
				t.Errorf("%s uses cgo", path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
