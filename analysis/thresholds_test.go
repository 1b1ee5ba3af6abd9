package analysis

import (
	"slices"
	"testing"

	"hangbench/analysis/internal/madeup"
	"hangbench/results"
)

// TestThresholdsApart: trials with other thresholds are never one cell, and
// neither are the arms of their controls.
func TestThresholdsApart(t *testing.T) {
	var trials []results.Trial
	for i, set := range []map[string]int64{nil, {"io_ms": 2500}, {"io_ms": 500}, {"io_ms": 500, "soft_ms": 9},
		{"io_ms": 500}} {
		tr := results.Trial{Schema: results.Schema, Trial: i, Host: "lab", Cell: results.Cell{Scenario: "control-disk",
			Thresholds: results.NewSettings(set), Arm: results.Arm{Mechanism: "poll"}}, Outcome: results.Clean, WindowNS: 1e9}
		trials = append(trials, tr)
	}
	set, err := Group(madeup.Run(trials))
	if err != nil {
		t.Fatal(err)
	}
	var labels []string
	for _, c := range set.Cells {
		labels = append(labels, c.Label)
	}
	// In the order of the values, not of their digits.
	if want := []string{"poll", "poll, io_ms 500", "poll, io_ms 500, soft_ms 9",
		"poll, io_ms 2500"}; !slices.Equal(labels, want) {
		t.Errorf("labels %q, want %q", labels, want)
	}
	if n := len(set.Cells[1].Trials); n != 2 {
		t.Errorf("the cell with io_ms 500 has %d trials", n)
	}
	acc, err := set.Accuracies(0.95)
	if err != nil || len(acc) != 4 {
		t.Errorf("%d arms, %v", len(acc), err)
	}
	k := set.Cells[2].Thresholds
	if v, ok := k.Get("soft_ms"); !ok || v != 9 {
		t.Errorf("soft_ms of %q is %d, %v", k, v, ok)
	}
	if v, ok := k.Get("spin_ms"); ok {
		t.Errorf("spin_ms of %q is %d", k, v)
	}
}
