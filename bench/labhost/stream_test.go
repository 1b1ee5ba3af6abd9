package labhost

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"hangbench/bench/dom0"
	"hangbench/bench/plan"
	"hangbench/monitor/detect"
	"hangbench/results"
	"hangbench/scenarios"
	"hangbench/scenarios/suites"
)

// TestReplayable makes every committed stream anew, of what its trial would have
// recorded, and compares header and observations.
func TestReplayable(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("..", "..", "monitor", "detect", "testdata", "streams", "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d streams, %v", len(files), err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		want, stream, err := detect.ReadStream(strings.NewReader(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		sc, err := scenarios.Find(want.Scenario)
		if err != nil {
			t.Fatal(err)
		}
		p, rec, taken := trialOf(t, sc, want, stream)
		got, kept, err := replayable(sc, &p, &rec, &taken)
		got.Schema, got.Observations = want.Schema, want.Observations // WriteStream sets them
		if err != nil || !reflect.DeepEqual(got, want) || !reflect.DeepEqual(kept, stream) {
			t.Errorf("%s: %d observations of %d, error %v, header\n%+v, want\n%+v", name, len(kept), len(stream), err, got, want)
		}
	}
}

// trialOf returns the trial that a stream was recorded in. Its observations begin
// and end outside of what a stream keeps.
func trialOf(t *testing.T, sc scenarios.Scenario, h detect.Header, stream []detect.Observation) (plan.Trial,
	results.Trial,
	dom0.Recording) {
	t.Helper()
	all := stream
	rec := results.Trial{Host: h.Host, Outcome: results.Clean}
	rec.GuestKernel = h.Guest
	taken := dom0.Recording{T0NS: h.FromNS}
	if !sc.Control() {
		early, late := stream[0], stream[len(stream)-1]
		early.TimeNS = h.FromNS - int64(beforeFault) - 1
		after := late.TimeNS - h.FromNS
		late.TimeNS++
		all = append(append([]detect.Observation{early}, stream...), late)
		rec.Outcome, rec.Class, rec.DetectNS = results.Detected, sc.Class, &after
	}
	for i := range all {
		b, err := json.Marshal(&all[i])
		if err != nil {
			t.Fatal(err)
		}
		taken.Observations = append(taken.Observations, b)
	}
	return plan.Trial{Cell: results.Cell{Arm: results.Arm{Mechanism: h.Mechanism},
		Machine: suites.Guest{VCPUs: h.VCPUs, MemoryMiB: h.MemoryMiB}}}, rec, taken
}

// TestReplayableErrors: a trial that does not show its scenario's hang makes no
// stream.
func TestReplayableErrors(t *testing.T) {
	t.Parallel()
	f, err := os.Open(filepath.Join("..", "..", "monitor", "detect", "testdata", "streams", "spinlock-deadlock-1.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, stream, err := detect.ReadStream(f)
	if err != nil {
		t.Fatal(err)
	}
	find := func(id string) scenarios.Scenario {
		sc, err := scenarios.Find(id)
		if err != nil {
			t.Fatal(err)
		}
		return sc
	}
	deadlock, idle := find("spinlock-deadlock"), find("control-idle")
	for _, tc := range []struct {
		name   string
		sc     scenarios.Scenario
		change func(rec *results.Trial, taken *dom0.Recording)
		want   string
	}{
		{"dropped", deadlock, func(rec *results.Trial, taken *dom0.Recording) { taken.Dropped = 3 },
			"3 observations were dropped"},
		{"garbage", deadlock, func(rec *results.Trial, taken *dom0.Recording) {
			taken.Observations[1] = json.RawMessage("{")
		},
			"recorded observation 1"},
		{"missed", deadlock, func(rec *results.Trial, taken *dom0.Recording) { rec.Outcome = results.Missed }, "missed as"},
		{"another class", deadlock, func(rec *results.Trial, taken *dom0.Recording) { rec.Class = "hard" },
			`detected as "hard"`},
		{"no fault", deadlock, func(rec *results.Trial, taken *dom0.Recording) { taken.T0NS = 0 }, "T0 0"},
		{"only the patient detector sees it", deadlock, func(rec *results.Trial, taken *dom0.Recording) {
			*rec.DetectNS = 1e8
		}, `replayed with the default thresholds it gives ""`},
		{"false alarm", idle, func(rec *results.Trial, taken *dom0.Recording) { rec.Outcome = results.FalseAlarm }, "false"},
	} {
		p, rec, taken := trialOf(t, deadlock, h, stream)
		tc.change(&rec, &taken)
		if _, kept, err := replayable(tc.sc, &p, &rec, &taken); err == nil || kept != nil ||
			!strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %d observations, error %v, want %q", tc.name, len(kept), err, tc.want)
		}
	}
}

func TestPatient(t *testing.T) {
	t.Parallel()
	want := map[string]int64{
		"spin_ms": 1000, "hard_ms": 1000, "soft_ms": 4000, "stopped_ms": 1400, "starvation_ms": 6000,
		"blocked_ms": 5000, "io_ms": 5000,
		"forkstorm_ms": 3000, "thrash_ms": 4000,
	}
	if got := patient(); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
