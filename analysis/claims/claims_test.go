package claims

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"hangbench/analysis"
	"hangbench/analysis/internal/madeup"
	"hangbench/analysis/table"
	"hangbench/results"
)

func of(t *testing.T, trials []results.Trial) map[string]Claim {
	t.Helper()
	set, err := analysis.Group(madeup.Run(trials))
	if err != nil {
		t.Fatal(err)
	}
	all, err := Of(set)
	if err != nil {
		t.Fatal(err)
	}
	by := make(map[string]Claim)
	for _, c := range all {
		by[c.ID] = c
	}
	return by
}

// good is a made-up run about which every claim holds.
func good() []results.Trial {
	trials := madeup.Trials(2)
	for i := range trials {
		e := &trials[i].EPT
		e.Residual, e.Lazy = 0, 0
		if trials[i].Mechanism == "exec-altp2m" {
			e.Permission, e.MMIO = e.Permission/2, 0
			trials[i].Events.Delivered = e.Permission
		}
		e.Total = e.Permission + e.MMIO + e.Suppressed
	}
	return trials
}

// TestHalfRun: no claim holds for good while trials are missing, and each verdict counts
// them, as does the table in every format.
func TestHalfRun(t *testing.T) {
	trials := good()
	run := madeup.Run(trials)
	run.Manifest.Planned = len(trials) + 3
	run.Bad = []error{errors.New("damaged")}
	set, err := analysis.Group(run)
	if err != nil {
		t.Fatal(err)
	}
	all, err := Of(set)
	if err != nil || len(all) != 5 {
		t.Fatalf("%d claims, %v", len(all), err)
	}
	want := fmt.Sprintf("(3 of %d trials are missing, 1 damaged record is left out): ", len(trials)+3)
	for _, c := range all {
		if !strings.HasPrefix(c.Verdict(), "undecided, holds so far "+want) {
			t.Errorf("%s: %s", c.ID, c.Verdict())
		}
		c.Holds = false
		if !strings.HasPrefix(c.Verdict(), "does not hold "+want) {
			t.Errorf("%s: %s", c.ID, c.Verdict())
		}
	}
	table, err := Table(set)
	if err != nil || !strings.HasPrefix(table.Notes[0], "Not whole: 3 of ") {
		t.Errorf("notes %q, %v", table.Notes, err)
	}
}

func TestHolds(t *testing.T) {
	by := of(t, good())
	for _, id := range []string{"C1", "C2", "C3", "C4", "C5"} {
		if c, ok := by[id]; !ok || !c.Holds || !strings.HasPrefix(c.Verdict(), "holds: ") {
			t.Errorf("%s: %+v", id, by[id])
		}
	}
	for id, want := range map[string]string{
		"C1": "4 of 4 detected, the last after 1", "C2": " 0 unexplained, 0 lost", "C3": "0.5 times as many",
		"C4": "0 of 8 (exact 95%: up to 37%)", "C5": "4 of 4 recovered, 0 of 18 trials invalid",
	} {
		if c := by[id]; !strings.Contains(c.By, want) {
			t.Errorf("%s by %q, want %q", id, c.By, want)
		}
	}
}

// TestDoesNotHold: each claim fails for its own reason and for no other.
func TestDoesNotHold(t *testing.T) {
	first := func(trials []results.Trial, scenario, mechanism string) *results.Trial {
		i := slices.IndexFunc(trials, func(tr results.Trial) bool {
			return tr.Scenario == scenario &&
				tr.Mechanism == mechanism
		})
		return &trials[i]
	}
	for _, tc := range []struct {
		id, name string
		spoil    func([]results.Trial)
	}{
		{"C1", "missed", func(ts []results.Trial) {
			tr := first(ts, "spinlock-deadlock", "exec-step")
			tr.Outcome, tr.DetectNS = results.Missed, nil
		}},
		{"C1", "late", func(ts []results.Trial) {
			ns := int64(1e9)
			first(ts, "spinlock-deadlock", "exec-step").DetectNS = &ns
		}},
		{"C1", "late for one that waits", func(ts []results.Trial) {
			ns := int64(5e9)
			tr := first(ts, "spinlock-deadlock", "exec-step")
			tr.DetectNS, tr.Expected = &ns, "io"
		}},
		{"C2", "an event without violation", func(ts []results.Trial) {
			first(ts, "control-idle",
				"exec-step").Events.Delivered++
		}},
		{"C2", "unexplained", func(ts []results.Trial) { first(ts, "control-idle", "exec-step").EPT.Residual++ }},
		{"C2", "lost", func(ts []results.Trial) { first(ts, "control-idle", "exec-step").EPT.TraceLost++ }},
		{"C3", "one pair with more", func(ts []results.Trial) { first(ts, "control-idle", "exec-altp2m").EPT.Total = 1e4 }},
		{"C4", "alarm", func(ts []results.Trial) { first(ts, "control-idle", "exec-step").Outcome = results.FalseAlarm }},
		{"C5", "not recovered", func(ts []results.Trial) {
			first(ts, "spinlock-deadlock",
				"exec-step").Recovered = new(false)
		}},
		{"C5", "invalid", func(ts []results.Trial) { first(ts, "control-busy", "none").Outcome = results.Invalid }},
	} {
		trials := good()
		tc.spoil(trials)
		for id, c := range of(t, trials) {
			if c.Holds == (id == tc.id) {
				t.Errorf("%s: %s %+v", tc.name, id, c)
			}
		}
	}
}

// TestWaiting: a hang that shows in that somebody waits has more time, faults that
// are undone and thresholds that the suite set are left out.
func TestWaiting(t *testing.T) {
	trials := good()
	for i := range trials {
		tr := &trials[i]
		switch ns := int64(3e9); {
		case tr.Scenario != "spinlock-deadlock" || tr.Mechanism == "none":
		case tr.Block == 0:
			tr.DetectNS, tr.Expected, tr.Scenario = &ns, "io", "io-stall"
		case tr.Mechanism == "exec-step":
			tr.BoundedMS, tr.Outcome, tr.DetectNS = 500, results.Undone, nil
		default:
			tr.Thresholds, tr.Outcome, tr.DetectNS = results.NewSettings(map[string]int64{"spin_ms": 9000}), results.Missed, nil
		}
	}
	if c := of(t, trials)["C1"]; !c.Holds || c.By != "2 of 2 detected; of class io the last after 3000 ms" {
		t.Errorf("%+v", c)
	}
}

// TestSilent: a run says nothing about what it did not try.
func TestSilent(t *testing.T) {
	only := func(keep func(*results.Trial) bool) []results.Trial {
		return slices.DeleteFunc(good(), func(tr results.Trial) bool { return !keep(&tr) })
	}
	for _, tc := range []struct {
		name   string
		trials []results.Trial
		want   string
	}{
		{"no monitor", only(func(t *results.Trial) bool { return t.Mechanism == "none" }), "C5"},
		{"one mechanism", only(func(t *results.Trial) bool { return t.Mechanism == "exec-step" }), "C1 C2 C4 C5"},
		{"controls", only(func(t *results.Trial) bool { return t.DeadlineNS == 0 }), "C2 C3 C4 C5"},
	} {
		var ids []string
		for id := range of(t, tc.trials) {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		if got := strings.Join(ids, " "); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestTable(t *testing.T) {
	set, err := analysis.Group(madeup.Run(good()))
	if err != nil {
		t.Fatal(err)
	}
	tab, err := Table(set)
	if err != nil || len(tab.Rows) != 5 {
		t.Fatalf("%v, %v", tab, err)
	}
	for _, f := range []table.Format{table.Terminal, table.Markdown, table.CSV, table.LaTeX} {
		var out bytes.Buffer
		if err := tab.Write(&out, f); err != nil || !strings.Contains(out.String(), "C5") {
			t.Errorf("%v: %v\n%s", f, err, out.String())
		}
	}
}

// TestNewMechanism: what a claim says of a mechanism depends on the traits in the run's
// manifest, not on names that this program knows.
func TestNewMechanism(t *testing.T) {
	trials := good()
	for i := range trials {
		if trials[i].Mechanism == "exec-altp2m" {
			trials[i].Mechanism = "exec-new"
			trials[i].EPT.Residual++
			trials[i].EPT.Total++
		}
	}
	run := madeup.Run(trials)
	claimsOf := func() map[string]Claim {
		set, err := analysis.Group(run)
		if err != nil {
			t.Fatal(err)
		}
		all, err := Of(set)
		if err != nil {
			t.Fatal(err)
		}
		by := make(map[string]Claim)
		for _, c := range all {
			by[c.ID] = c
		}
		return by
	}
	if by := claimsOf(); !by["C2"].Holds || by["C3"].ID != "" {
		t.Errorf("a mechanism without traits is judged: %+v, %+v", by["C2"], by["C3"])
	}
	run.Manifest.Arms["exec-new"] = results.ArmInfo{PageTrap: true, View: results.Altp2mView, TwinOf: "exec-step"}
	by := claimsOf()
	if by["C2"].Holds || !strings.Contains(by["C2"].By, "6 unexplained") {
		t.Errorf("a new page trap is left out of C2: %+v", by["C2"])
	}
	if !strings.Contains(by["C3"].By, "times as many with exec-new as with exec-step") {
		t.Errorf("a new page trap is left out of C3: %+v", by["C3"])
	}
}
