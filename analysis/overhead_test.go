package analysis

import (
	"math"
	"testing"

	"hangbench/analysis/internal/madeup"
	"hangbench/analysis/stats"
	"hangbench/results"
)

// TestOverheadPlanted: what was planted is read back, in spite of a drift over each
// trial; the cell of no monitor shows none.
func TestOverheadPlanted(t *testing.T) {
	set, err := Group(madeup.Run(madeup.Workloads(8)))
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Cells) != 12 {
		t.Fatalf("%d cells", len(set.Cells))
	}
	for _, c := range set.Cells {
		got, ok := stats.Median(c.Values(Overhead.Of))
		want := madeup.PlantedOverhead(c.Scenario, c.Mechanism)
		limit := 0.5
		if c.Scenario == "workload-cpu" { // 28 operations in a window, and whole ones
			limit = 5
		}
		if !ok || math.Abs(got-want) > limit {
			t.Errorf("%s, %s: overhead %g%%, want %g%%", c.Scenario, c.Mechanism, got, want)
		}
		if op, by := c.Work(); op == "" || by == "" {
			t.Errorf("%s: operation %q by %q", c.Scenario, op, by)
		}
	}
}

func TestOverhead(t *testing.T) {
	w := func(ws ...results.Window) *results.Trial {
		return &results.Trial{Workload: &results.Workload{Program: "p", Op: "o", Windows: ws}}
	}
	off := results.Window{Ops: 100, NS: 2e9}
	on := func(ops uint64) results.Window { return results.Window{Monitor: true, Ops: ops, NS: 2e9} }
	for _, tc := range []struct {
		name string
		t    *results.Trial
		want float64
		ok   bool
	}{
		{"half the pace", w(off, on(50), on(50), off), 100, true},
		{"the same pace", w(off, on(100)), 0, true},
		{"faster", w(off, on(125)), -20, true},
		{"nothing done counts as one", w(off, on(0)), 9900, true},
		{"a window is missing", w(off, on(50), on(50)), 0, false},
		{"only without", w(off), 0, false},
		{"nothing done without", w(results.Window{NS: 1}, on(5)), 0, false},
		{"no time", w(results.Window{Ops: 1}, on(5)), 0, false},
		{"no windows", w(), 0, false},
		{"no workload", &results.Trial{}, 0, false},
	} {
		got, ok := Overhead.Of(tc.t)
		if ok != tc.ok || ok && math.Abs(got-tc.want) > 1e-9 {
			t.Errorf("%s: %g, %v, want %g, %v", tc.name, got, ok, tc.want, tc.ok)
		}
		if _, ok := RateOff.Of(tc.t); ok != tc.ok {
			t.Errorf("%s: a rate %v", tc.name, ok)
		}
	}
	if rate, _ := RateOn.Of(w(off, on(50))); rate != 25 {
		t.Errorf("rate %g, want 25", rate)
	}
}

// TestGroupPrograms: a guest with programs is another guest.
func TestGroupPrograms(t *testing.T) {
	trials := madeup.Trials(1)
	with := madeup.Trials(1)
	for i := range with {
		with[i].Programs = "stress-ng"
	}
	set, err := Group(madeup.Run(append(trials, with...)))
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Cells) != 2*len(trials) {
		t.Errorf("%d cells of %d trials", len(set.Cells), 2*len(trials))
	}
}
