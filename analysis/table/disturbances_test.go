package table

import (
	"strings"
	"testing"

	"hangbench/analysis"
	"hangbench/analysis/internal/madeup"
	"hangbench/results"
)

// onTwoGuests gives the trials of every second block to a guest with two vCPUs.
func onTwoGuests(trials []results.Trial) []results.Trial {
	for i := range trials {
		trials[i].VCPUs = 1 + trials[i].Block%2
	}
	return trials
}

// TestDisturbances: alarms of the monitor and reports of the kernel's watchdogs are counted
// over the time that each watched, all guests together. An invalid trial, a fault, and a
// trial without a monitor are in no row.
func TestDisturbances(t *testing.T) {
	t.Parallel()
	trials := onTwoGuests(madeup.Listened(3))
	for i := range trials {
		trials[i].WindowNS = 20e9
		if trials[i].Scenario == "control-idle" && trials[i].Block == 1 { // its watchdogs are off
			trials[i].Findings = nil
		}
	}
	set, err := analysis.Group(madeup.Run(trials))
	if err != nil {
		t.Fatal(err)
	}
	tab, err := Disturbances(set)
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		// An alarm in 60 s; three reports in 3 trials of 24.5 s.
		{"control-busy", "exec-altp2m", "3", "0", "0/3 [0%, 71%]", "60.0", "0", "0 [0, 221]", "180", "73.5", "3",
			"147 [30.3, 429]", "380"},
		{"control-busy", "exec-step", "3", "0", "1/3 [1%, 91%]", "60.0", "1", "60 [1.52, 334]", "285", "73.5", "3",
			"147 [30.3, 429]", "380"},
		{"control-idle", "exec-altp2m", "2", "1", "0/2 [0%, 84%]", "40.0", "0", "0 [0, 332]", "270", "24.5", "0",
			"0 [0, 542]", "440"},
		{"control-idle", "exec-step", "3", "0", "0/3 [0%, 71%]", "60.0", "0", "0 [0, 221]", "180", "49.0", "0",
			"0 [0, 271]", "220"},
		{"together", none, "11", "1", "1/11 [0%, 41%]", "220.0", "1", "16.4 [0.414, 91.2]", "77.6", "220.5", "6",
			"98 [35.9, 213]", "193"},
	}
	if len(tab.Rows) != len(want) {
		t.Fatalf("%d rows: %q", len(tab.Rows), tab.Rows)
	}
	for i := range want {
		if got := strings.Join(tab.Rows[i], " | "); got != strings.Join(want[i], " | ") {
			t.Errorf("row %d is\n%s, want\n%s", i, got, strings.Join(want[i], " | "))
		}
	}

	// Trials with faults alone have no rows.
	faults := madeup.Trials(2)[:1]
	if set, err = analysis.Group(madeup.Run(faults)); err != nil {
		t.Fatal(err)
	}
	if tab, err := Disturbances(set); err != nil || len(tab.Rows) != 0 {
		t.Errorf("%v, %v", tab.Rows, err)
	}
}
