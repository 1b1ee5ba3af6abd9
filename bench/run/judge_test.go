package run

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hangbench/bench/plan"
	"hangbench/monitor/trap"
	"hangbench/results"
	"hangbench/scenarios/suites"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	alarm := results.Trial{Trial: 3, Outcome: results.FalseAlarm, Evidence: []string{"it looked so"}}
	sweptAlarm := alarm
	sweptAlarm.Thresholds = results.NewSettings(map[string]int64{"io_ms": 500})
	for _, c := range []struct {
		name  string
		trial results.Trial
		says  string // empty: good
	}{
		{"detected", results.Trial{Outcome: results.Detected}, ""},
		{"missed", results.Trial{Outcome: results.Missed}, ""},
		{"invalid", results.Trial{Trial: 2, Outcome: results.Invalid, Reason: "no heartbeat"},
			"trial 2 (, ) is invalid: no heartbeat"},
		{"false alarm", alarm, "trial 3 (, ) is a false alarm: [it looked so]"},
		{"false alarm with a threshold that varies", sweptAlarm, ""},
	} {
		var b bytes.Buffer
		good := Judge(&b, []results.Trial{{Outcome: results.Clean}, c.trial}, []string{"io_ms"})
		if good != (c.says == "") || !strings.Contains(b.String(), c.says) || good && b.Len() > 0 {
			t.Errorf("%s: good %v, says %q", c.name, good, b.String())
		}
	}
	// The same threshold, but the suite does not vary it.
	if Judge(new(bytes.Buffer), []results.Trial{sweptAlarm}, nil) {
		t.Error("a false alarm is good because its trial sets a threshold")
	}
}

// TestArms: the manifest has the traits of each mechanism of the plan. They are those
// with which the analysis reads runs from before manifests had them.
func TestArms(t *testing.T) {
	t.Parallel()
	old, err := results.ReadRun(filepath.Join("..", "..", "results", "reference", "paper"), nil)
	if err != nil {
		t.Fatal(err)
	}
	var trials []plan.Trial
	for _, m := range trap.Mechanisms() {
		for range 2 {
			trials = append(trials, plan.Trial{Cell: results.Cell{Arm: results.Arm{Mechanism: m.Name}}})
		}
	}
	got := arms(trials)
	if len(got) != len(trap.Mechanisms()) || len(old.Manifest.Arms) < 10 {
		t.Errorf("%d arms, and %d of old", len(got), len(old.Manifest.Arms))
	}
	for name, want := range old.Manifest.Arms {
		if info, ok := got[name]; !ok || info != want {
			t.Errorf("%s: %+v, %v; old runs are read with %+v", name, info, ok, want)
		}
	}
	external := arms([]plan.Trial{{Cell: results.Cell{Arm: results.Arm{Mechanism: "probe"}}}})
	if info, ok := external["probe"]; !ok || info != (results.ArmInfo{}) || len(external) != 1 {
		t.Errorf("a program that watches: %+v", external)
	}
}

// TestCreateInOneSecond: runs that begin in the same second have folders of their own.
// What is in the way otherwise is an error.
func TestCreateInOneSecond(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start := Start{Suite: &suites.Suite{Name: "made-up"}, Seed: 5, Plan: []plan.Trial{{}}, Time: time.Unix(1, 0)}
	for _, want := range []string{"made-up-5-19700101T000001Z",
		"made-up-5-19700101T000001Z-2", "made-up-5-19700101T000001Z-3"} {
		store, err := Create(dir, start)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Close(time.Unix(2, 0)); err != nil {
			t.Fatal(err)
		}
		if got := filepath.Base(store.Dir()); got != want || store.Manifest().RunID != want {
			t.Errorf("run %s in folder %s, want %s", store.Manifest().RunID, got, want)
		}
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(file, start); err == nil {
		t.Error("a run below a file")
	}
}

// TestCreate: what a run begins with stands in its manifest.
func TestCreate(t *testing.T) {
	t.Parallel()
	trials := []plan.Trial{{Index: 0, Seed: 7}, {Index: 1, Seed: 8}}
	for i := range trials {
		trials[i].Mechanism = "exec-altp2m"
	}
	hash, err := plan.Hash(trials)
	if err != nil {
		t.Fatal(err)
	}
	store, err := Create(t.TempDir(), Start{
		Suite: &suites.Suite{Name: "made-up", Text: []byte("name: made-up\n")}, Seed: 5, Plan: trials,
		Host: results.HostInfo{Kind: "lab"}, Versions: map[string]string{"xen": "4.20"}, Warnings: []string{"slow"},
		Time: time.Unix(1, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close(time.Unix(2, 0))
	m := store.Manifest()
	if m.RunID != "made-up-5-19700101T000001Z" {
		t.Errorf("run %s", m.RunID)
	}
	if m.Suite.Name != "made-up" || m.Suite.Text != "name: made-up\n" || m.Seed != 5 || m.Planned != 2 ||
		m.PlanHash != hash || m.Host.Kind != "lab" || m.Versions.Packages["xen"] != "4.20" ||
		m.Versions.Hangbench == "" || len(m.Warnings) != 1 ||
		!m.Started.Equal(time.Unix(1, 0)) || m.Arms["exec-altp2m"].TwinOf != "exec-step" {
		t.Errorf("%+v", m)
	}
}
