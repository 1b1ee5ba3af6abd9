package dom0cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"hangbench/bench/exit"
	"hangbench/bench/names"
	"hangbench/bench/plan"
	"hangbench/bench/run"
	"hangbench/guests/lab/place"
	"hangbench/results"
	"hangbench/scenarios/suites"
)

// hostFunc is a host made of a function.
type hostFunc func(plan.Trial) (results.Trial, error)

func (f hostFunc) Run(_ context.Context, t plan.Trial, _ *slog.Logger) (results.Trial, error) {
	return f(t)
}

const suite = `name: small
description: two controls
scenarios: [control-idle]
mechanisms: [poll]
guests:
  - {kernel: k, vcpus: 1, memory_mib: 160}
repetitions: 2
`

// start returns a run of two trials.
func start(t *testing.T) run.Start {
	t.Helper()
	s, err := suites.Parse("small.yaml", []byte(suite), names.Suites([]string{"k"}, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	return run.Start{Suite: s, Seed: 1, Plan: plan.Expand(s, 1), Host: results.HostInfo{Kind: "lab"}, Time: time.Now()}
}

// record is the record of a trial with that outcome.
func record(p plan.Trial, outcome results.Outcome) results.Trial {
	r := results.Trial{
		Schema: results.Schema, Suite: p.Suite, Trial: p.Index, Block: p.Block, Host: "lab",
		Cell: results.Cell{Kind: results.Control, Scenario: p.Scenario, Arm: results.Arm{Mechanism: p.Mechanism,
			Driver: p.Driver}, Machine: results.Machine{GuestKernel: "k", VCPUs: 1, MemoryMiB: 160}},
		Seed: p.Seed, Outcome: outcome, WindowNS: 5e9,
	}
	if outcome == results.Invalid {
		r.Reason = "no heartbeat"
	}
	return r
}

// TestRunTrials: the records of all trials are printed and stored, and an invalid
// one makes the run fail.
func TestRunTrials(t *testing.T) {
	t.Parallel()
	for _, bad := range []bool{false, true} {
		r := Run{out: t.TempDir(), json: true}
		var stdout, stderr bytes.Buffer
		s := start(t)
		err := r.trials(t.Context(), hostFunc(func(p plan.Trial) (results.Trial, error) {
			if bad && p.Index == 1 {
				return record(p, results.Invalid), nil
			}
			return record(p, results.Clean), nil
		}), s, &stdout, &stderr)
		if bad != errors.Is(err, exit.ErrFailed) || !bad && err != nil {
			t.Errorf("bad %v: %v", bad, err)
		}
		if said := strings.Contains(stderr.String(), "trial 1 (control-idle, poll) is invalid: no heartbeat"); said != bad {
			t.Errorf("bad %v: stderr %s", bad, stderr.String())
		}
		n := 0
		for d := json.NewDecoder(&stdout); d.More(); n++ {
			var got results.Trial
			if err := d.Decode(&got); err != nil || got.Trial != n || got.Seed != s.Plan[n].Seed {
				t.Fatalf("record %d: %+v, %v", n, got, err)
			}
		}
		if n != len(s.Plan) {
			t.Errorf("%d records are printed, want %d", n, len(s.Plan))
		}
	}
}

// TestRunHostFails: a host that fails ends the run with its error, and what was
// done is kept.
func TestRunHostFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("no more memory")
	r := Run{out: t.TempDir()}
	var stdout, stderr bytes.Buffer
	err := r.trials(t.Context(), hostFunc(func(p plan.Trial) (results.Trial, error) {
		if p.Index == 1 {
			return results.Trial{}, broken
		}
		return record(p, results.Clean), nil
	}), start(t), &stdout, &stderr)
	if !errors.Is(err, broken) || exit.Status(t.Context(), err) != exit.Broken {
		t.Errorf("%v", err)
	}
	found, err := filepath.Glob(filepath.Join(r.out, "*", results.TrialsFile))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	if b, err := os.ReadFile(found[0]); err != nil || bytes.Count(b, []byte("\n")) != 1 {
		t.Errorf("stored %q, %v", b, err)
	}
}

// TestRunRefuses: mistakes are found before anything is opened.
func TestRunRefuses(t *testing.T) {
	t.Parallel()
	guests := t.TempDir()
	if err := os.MkdirAll(filepath.Join(guests, "k"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(guests, "k", place.Profile), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"ci", "--host", "lab", "--guests", guests}, "--host lab"},
		{[]string{"ci"}, "--guests"},
		{[]string{"ci", "--guests", filepath.Join(guests, "none")}, "none: no such file or directory: check the path"},
		{[]string{"ci", "--guests", guests}, "cloud-6.12"}, // the kernel that the suite wants
		{[]string{"no-such-suite", "--guests", guests}, "no-such-suite"},
	} {
		var r Run
		f := pflag.NewFlagSet("run", pflag.ContinueOnError)
		r.AddFlags(f)
		if err := f.Parse(c.args); err != nil {
			t.Fatal(err)
		}
		err := r.Run(t.Context(), f.Arg(0), new(bytes.Buffer), new(bytes.Buffer))
		if exit.Status(t.Context(), err) != exit.Usage || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want a usage error with %q", c.args, err, c.want)
		}
	}
}
