package table

import (
	"bytes"
	"encoding/csv"
	"slices"
	"strings"
	"testing"

	"hangbench/analysis"
	"hangbench/analysis/internal/madeup"
)

func TestBaselines(t *testing.T) {
	set, err := analysis.Group(madeup.Run(madeup.Listened(2)))
	if err != nil {
		t.Fatal(err)
	}
	b := Baselines(set)
	if want := []string{"scenario", "mechanism", "n", "ours", "soft-lockup", "hard-lockup", "rcu-stall",
		"hung-task"}; !slices.Equal(b.Head, want) {
		t.Fatalf("columns %q, want %q", b.Head, want)
	}
	rows := make(map[string][]string)
	for _, r := range b.Rows {
		rows[r[0]+" "+r[1]] = r[2:]
	}
	for name, want := range map[string][]string{
		// The RCU stall came later than predicted, in one of two trials.
		"spinlock-deadlock none": {"2", none, "22.00", "-", "23.50 1/2*", "(> 24.5)"},
		"control-busy none":      {"2", none, none, "-", none + " 1!", none},
		"control-idle exec-step": {"2", none, none, "-", none, none},
	} {
		if !slices.Equal(rows[name], want) {
			t.Errorf("%s is %q, want %q", name, rows[name], want)
		}
	}
	if r := rows["spinlock-deadlock exec-step"]; len(r) < 4 || !strings.HasPrefix(r[1], "0.1") || r[3] != "-" ||
		r[4] != "> 24.5" {
		t.Errorf("spinlock-deadlock exec-step is %q", r)
	}
	if notes := strings.Join(b.Notes, "\n"); !strings.Contains(notes, "!:") || !strings.Contains(notes, "*:") ||
		!strings.Contains(notes, "default") {
		t.Errorf("notes %q", b.Notes)
	}
	var out bytes.Buffer
	if err := summary(&out, madeup.Listened(2), Terminal); err != nil || !strings.Contains(out.String(), b.Title) {
		t.Errorf("the summary has no such table (%v)", err)
	}
}

// TestNoBaselines: a run that did not listen has no such table.
func TestNoBaselines(t *testing.T) {
	set, err := analysis.Group(madeup.Run(madeup.Trials(2)))
	if err != nil {
		t.Fatal(err)
	}
	tables, err := Usual(set)
	if b := Baselines(set); len(b.Rows) != 0 || len(tables) != 2 || err != nil {
		t.Errorf("table %+v, %d tables, %v", b, len(tables), err)
	}
}

// TestWatchdogs: reports without a fault are counted over the time that was
// listened to, and detectors that are not there make no mistakes.
func TestWatchdogs(t *testing.T) {
	set, err := analysis.Group(madeup.Run(madeup.Listened(2)))
	if err != nil {
		t.Fatal(err)
	}
	tab, err := Watchdogs(set)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{
		// Two controls by three arms, twice: 12 trials of 24.5 s.
		{"soft-lockup", "default", "6", "6", "21500.0 [21500.0, ", "12", "294.0", "0", "0 [0, 45.2]", "36.7"},
		{"hard-lockup", "default", "0", "0", none, "0", none, "0", none, none},
		{"rcu-stall", "default", "6", "1", none, "12", "294.0", "3", "36.7 [", "94.9"},
		{"hung-task", "default", "6", "0", none, "12", "294.0", "0", "0 [0, 45.2]", "36.7"},
	} {
		if i >= len(tab.Rows) {
			t.Fatalf("%d rows", len(tab.Rows))
		}
		for j, text := range want {
			if !strings.HasPrefix(tab.Rows[i][j], text) {
				t.Errorf("%s, %s: %q, want %q", want[0], tab.Head[j], tab.Rows[i][j], text)
			}
		}
	}
	var out bytes.Buffer
	if err := tab.WriteCSV(&out); err != nil || !strings.Contains(out.String(),
		"\nhard-lockup,default,0,0,,,,0,,0,,,,,0,18\n") {
		t.Errorf("%v:\n%s", err, out.String())
	}
}

// TestBaselinesCSV: the row of a cell has what its guests' own watchdogs did.
func TestBaselinesCSV(t *testing.T) {
	var out bytes.Buffer
	if err := summary(&out, madeup.Listened(2), CSV); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	at := func(row []string, name string) string {
		i := slices.Index(rows[0], name)
		if i < 0 {
			t.Fatalf("no column %s", name)
		}
		return row[i]
	}
	for _, row := range rows[1:] {
		fault := at(row, "scenario") == "spinlock-deadlock"
		want := map[string]string{"baseline_soft-lockup_armed": "2", "baseline_soft-lockup_detected": "0",
			"baseline_soft-lockup_ms_median": "", "baseline_hard-lockup_armed": "0", "baseline_rcu-stall_false_alarms": "0"}
		if fault {
			want["baseline_soft-lockup_detected"], want["baseline_soft-lockup_ms_median"] = "2", "22000"
		}
		if at(row, "scenario") == "control-busy" {
			want["baseline_rcu-stall_false_alarms"] = "1"
		}
		for name, value := range want {
			if got := at(row, name); got != value {
				t.Errorf("%s of %s is %q, want %q", name, at(row, "scenario"), got, value)
			}
		}
	}
}
