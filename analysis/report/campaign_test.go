package report

import (
	"os"
	"strings"
	"testing"

	"hangbench/analysis"
	"hangbench/analysis/exhibit"
	"hangbench/analysis/internal/madeup"
)

// TestCampaign: a run of faults of unknown effect has a report, with their trials in one
// group, and no figure that needs cells.
func TestCampaign(t *testing.T) {
	t.Parallel()
	run := testRun(1)
	run.Trials = madeup.Campaign()
	run.Manifest.Planned, run.Manifest.TrialWallSec = len(run.Trials), make([]float64, len(run.Trials))
	set, err := analysis.Group(run)
	if err != nil {
		t.Fatal(err)
	}
	if figures, err := exhibit.Draw(set); err != nil || len(figures) != 0 {
		t.Errorf("%d figures, %v", len(figures), err)
	}
	path, err := Write(t.TempDir(), run, set)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{drawnTitle, "Campaign: faults whose effect nobody knew before",
		"5 detected, 1 missed, 1 without a monitor"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the report lacks %q", want)
		}
	}
}
