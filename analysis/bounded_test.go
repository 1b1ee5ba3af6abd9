package analysis

import (
	"testing"

	"hangbench/analysis/internal/madeup"
	"hangbench/results"
)

// TestBounded: faults of different length are different cells, and one that was
// undone before a verdict is neither detected nor missed.
func TestBounded(t *testing.T) {
	var trials []results.Trial
	for i, ms := range []int64{8000, 500, 0, 500} {
		tr := madeup.Trials(1)[0]
		tr.Scenario, tr.Mechanism, tr.Trial, tr.BoundedMS, tr.Outcome = "s", "exec-step", i, ms, results.Undone
		tr.DetectNS, tr.Class, tr.Scope, tr.DeadlineNS = nil, "", "", ms*1e6
		if ms == 0 {
			tr.Outcome, tr.DeadlineNS = results.Missed, 8e9
		} else {
			tr.UndoneNS, tr.ResumedNS = new(ms*1e6), new(ms*1e6+2e8)
			tr.WindowNS = ms*1e6 + 3e8
		}
		if err := tr.Validate(); err != nil {
			t.Fatal(err)
		}
		trials = append(trials, tr)
	}
	set, err := Group(madeup.Run(trials))
	if err != nil {
		t.Fatal(err)
	}
	var titles []string
	for _, c := range set.Cells {
		titles = append(titles, c.Title())
		if !c.Fault {
			t.Errorf("%s counts as a control", c.Title())
		}
	}
	if len(titles) != 3 || titles[0] != "s" || titles[1] != "s, 0.5 s" || titles[2] != "s, 8 s" {
		t.Fatalf("cells %q", titles)
	}
	if n := set.Cells[1].Counts; n.Undone != 2 || n.Valid != 2 || n.Missed+n.Detected != 0 {
		t.Errorf("counts %+v", n)
	}
	if got := trials[0].Title(); got != titles[2] {
		t.Errorf("title of a trial %q, of its cell %q", got, titles[2])
	}
	trials[0].ResumedNS = nil
	if err := trials[0].Validate(); err == nil {
		t.Error("a fault that was undone, and after which the guest never went on, is believed")
	}
}
