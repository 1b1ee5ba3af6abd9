package cli

import (
	"time"

	"hangbench/bench/plan"
	"hangbench/results"
	"hangbench/scenarios/suites"
)

// madeUp names runs whose numbers are invented, so that none can pass for a
// measurement.
const madeUp = "made-up"

const madeUpSuite = `name: made-up
scenarios: [spinlock-deadlock, control-idle]
mechanisms: [none, exec-step]
guests:
  - {kernel: cloud-6.12, vcpus: 1, memory_mib: 160}
repetitions: 2
`

var madeUpStart = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// madeUpSweep varies a threshold.
const madeUpSweep = `name: made-up
scenarios: [spinlock-deadlock, control-idle]
mechanisms: [exec-step]
guests:
  - {kernel: cloud-6.12, vcpus: 1, memory_mib: 160}
repetitions: 2
sweep:
  - {threshold: io_ms, values: [500, 501]}
`

func madeUpPlan() []plan.Trial { return planOf(madeUpSuite) }

func planOf(suite string) []plan.Trial {
	s, err := suites.Parse(madeUp+".yaml", []byte(suite), vocabulary())
	if err != nil {
		panic(err)
	}
	return plan.Expand(s, 1)
}

// madeUpRecord is a believable record of the trial, the same at each call.
func madeUpRecord(p plan.Trial) results.Trial {
	rec := results.Trial{
		Schema: results.Schema, Suite: p.Suite, Trial: p.Index, Block: p.Block,
		Cell: p.Cell,
		Host: "lab", Seed: p.Seed,
		Outcome: results.Clean, WindowNS: 5e9 + int64(p.Index),
		Guest: results.Guest{BeatsBefore: 10, BeatsDuring: 9, BeatsAfter: 2},
	}
	rec.Kind, rec.GuestKernel = results.Control, "6.12-test"
	if p.Mechanism != "none" {
		rec.EPT = results.EPT{Total: 110, Permission: 100, Lazy: 10}
		rec.Events = results.Events{Delivered: 100, Steps: 300}
		rec.Guest.ProgressRatio = new(0.9)
	}
	if p.Scenario == "spinlock-deadlock" {
		hang, recovered := int64(3e6), true
		rec.Kind = results.Fault
		rec.Expected, rec.DeadlineNS, rec.HangNS, rec.Recovered = "spin", 8e9, &hang, &recovered
		rec.Outcome = results.Missed
		if p.Mechanism != "none" {
			detect := int64(612e6) + int64(p.Index)
			rec.Outcome, rec.Class, rec.Scope, rec.DetectNS = results.Detected, "spin", "full", &detect
			rec.Evidence = []string{"vCPU 0: made up"}
		}
	}
	return rec
}

// createRun makes a made-up run without trials below a folder.
func createRun(dir, kind string) (*results.Store, error) {
	return createRunOf(dir, kind, madeUpSuite, madeUpStart)
}

func createRunOf(dir, kind, suite string, start time.Time) (*results.Store, error) {
	trials := planOf(suite)
	hash, err := plan.Hash(trials)
	if err != nil {
		return nil, err
	}
	return results.Create(dir, results.Manifest{
		PlanHash: hash,
		RunID:    results.RunID(madeUp, 1, start), Suite: results.NewSuiteInfo(madeUp, []byte(suite)), Seed: 1,
		Planned: len(trials), Host: results.HostInfo{Kind: kind, Description: "made up"}, Started: start,
		Versions: results.Versions{Hangbench: "test", Go: "go", Packages: map[string]string{"lab": "0123456789abcdef"}},
	})
}
