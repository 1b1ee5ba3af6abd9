package table

import (
	"testing"

	"hangbench/analysis"
	"hangbench/analysis/internal/madeup"
	"hangbench/results"
)

// TestVerdicts: the few words about a cell leave nothing out that a reader would
// take for granted.
func TestVerdicts(t *testing.T) {
	detected := func(ms int64, class string) results.Trial {
		ns := ms * 1_000_000
		return results.Trial{Cell: results.Cell{Kind: results.Fault}, Outcome: results.Detected, Expected: "spin",
			Class: class, DetectNS: &ns}
	}
	missed := results.Trial{Cell: results.Cell{Kind: results.Fault}, Outcome: results.Missed, Expected: "spin",
		DeadlineNS: 1}
	early := results.Trial{Cell: results.Cell{Kind: results.Fault}, Outcome: results.FalseAlarm, Expected: "spin",
		Class: "spin"}
	undone := results.Trial{Cell: results.Cell{Kind: results.Fault}, Outcome: results.Undone, Expected: "spin"}
	invalid := results.Trial{Cell: results.Cell{Kind: results.Fault}, Outcome: results.Invalid, Expected: "spin",
		Reason: "made up"}
	clean := results.Trial{Outcome: results.Clean}
	alarm := results.Trial{Outcome: results.FalseAlarm, Class: "soft"}
	for _, tc := range []struct {
		name   string
		trials []results.Trial
		want   string
	}{
		{"all", []results.Trial{detected(700, "spin"), detected(500, "spin"), detected(600, "spin")}, "600 [500..700]"},
		{"one", []results.Trial{detected(700, "spin")}, "700"},
		{"other class", []results.Trial{detected(700, "soft")}, "700 (soft)"},
		{"two classes", []results.Trial{detected(700, "soft"), detected(500, "spin")}, "600 [500..700] (soft 1, spin 1)"},
		{"a miss", []results.Trial{detected(700, "spin"), missed}, "700 1/2"},
		{"all missed", []results.Trial{missed, missed}, "missed"},
		{"an early one", []results.Trial{detected(700, "spin"), early}, "700 1/2, 1 false"},
		{"an undone one", []results.Trial{detected(700, "spin"), undone}, "700 1/2"},
		{"undone", []results.Trial{undone}, "undone"},
		{"invalid", []results.Trial{invalid}, "invalid"},
		{"one invalid", []results.Trial{detected(700, "spin"), invalid}, "700, 1 invalid"},
		{"clean", []results.Trial{clean, clean}, "clean"},
		{"alarm", []results.Trial{clean, alarm}, "1/2 false (soft)"},
	} {
		for i := range tc.trials {
			tr := &tc.trials[i]
			tr.Trial, tr.Host, tr.Suite, tr.Scenario, tr.Mechanism = i, "lab", "made-up", "x", "poll"
		}
		set, err := analysis.Group(madeup.Run(tc.trials))
		if err != nil {
			t.Fatal(err)
		}
		if got := DetectionMatrix(set).Rows[0][2]; got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}
