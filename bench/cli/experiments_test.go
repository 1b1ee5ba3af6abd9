package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hangbench/analysis"
	"hangbench/analysis/claims"
	"hangbench/results"
)

// TestExperiments: the last column of the table of claims in EXPERIMENTS.md is what
// the reference run says, but for claims that no single run can show.
func TestExperiments(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "EXPERIMENTS.md"))
	if err != nil {
		t.Fatal(err)
	}
	run, err := results.ReadRun(filepath.Join("..", "..", "results", "reference", "quick"))
	if err != nil {
		t.Fatal(err)
	}
	set, err := analysis.Group(run.Trials)
	if err != nil {
		t.Fatal(err)
	}
	all, err := claims.Of(set)
	if err != nil || len(all) != 5 {
		t.Fatalf("the reference run speaks of %d claims, %v", len(all), err)
	}
	for _, c := range all {
		found := false
		for line := range strings.Lines(string(text)) {
			cells := strings.Split(strings.TrimSpace(line), " | ")
			if !strings.HasPrefix(line, "| "+c.ID+" ") || len(cells) < 3 {
				continue
			}
			found = true
			got := strings.ReplaceAll(strings.TrimSuffix(cells[len(cells)-1], " |"), "**", "")
			if got != c.Verdict() {
				t.Errorf("EXPERIMENTS.md says of %s: %s\nthe reference run: %s", c.ID, got, c.Verdict())
			}
			if !strings.Contains(line, c.ID+" "+c.Says) {
				t.Errorf("EXPERIMENTS.md does not say %q of %s", c.Says, c.ID)
			}
		}
		if !found {
			t.Errorf("EXPERIMENTS.md has no row of %s", c.ID)
		}
	}
}
