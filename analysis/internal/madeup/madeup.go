// Package madeup fabricates results for the tests of the analysis packages.
// No number in it was measured, and nothing but tests may import it.
package madeup

import (
	"math/rand/v2"
	"strings"

	"hangbench/results"
)

// Suite is the name all made-up trials carry, so that none can pass for a
// measurement.
const Suite = "made-up"

// Run returns a run of the trials, with the traits of the arms that they have.
func Run(trials []results.Trial) *results.Run {
	return &results.Run{Trials: trials, Manifest: results.Manifest{
		Arms: results.Arms{
			results.Unwatched: {}, "poll": {},
			"exec-step":   {PageTrap: true, View: results.HostView},
			"exec-altp2m": {PageTrap: true, View: results.Altp2mView, TwinOf: "exec-step"},
		},
		SlowClasses: []string{"io", "soft"},
	}}
}

// Trials returns repetitions of two scenarios and a control by three arms. It
// has a miss, a false alarm and an invalid trial from three repetitions on.
func Trials(repetitions int) []results.Trial { return Seeded(1, repetitions) }

// Seeded is Trials with other numbers and seeds: another run of the same.
func Seeded(seed uint64, repetitions int) []results.Trial {
	rng := rand.New(rand.NewPCG(seed, 2))
	var trials []results.Trial
	for block := range repetitions {
		for _, scenario := range []string{"spinlock-deadlock", "control-idle", "control-busy"} {
			for _, mechanism := range []string{"exec-step", "none", "exec-altp2m"} {
				t := trial(rng, scenario, mechanism)
				t.Trial, t.Block = len(trials), block
				t.Seed = uint64(t.Trial) + seed<<60
				trials = append(trials, t)
			}
		}
	}
	if repetitions < 3 {
		return trials
	}
	for i := range trials {
		t := &trials[i]
		switch {
		case t.Block == 1 && t.Scenario == "spinlock-deadlock" && t.Mechanism == "exec-altp2m":
			t.Outcome, t.Class, t.Scope, t.DetectNS, t.Evidence = results.Missed, "", "", nil, nil
			t.WindowNS = 4_100_000_000
		case t.Block == 2 && t.Scenario == "control-busy" && t.Mechanism == "exec-step":
			t.Outcome, t.Class, t.Scope = results.FalseAlarm, "soft", "full"
			end := int64(900_000_000)
			t.Alarms = []results.Alarm{{Class: "soft", StartNS: 500_000_000, EndNS: &end}}
		case t.Block == 2 && t.Scenario == "control-idle" && t.Mechanism == "exec-altp2m":
			t.Outcome, t.Reason = results.Invalid, "the guest made no progress after the monitor was detached"
			t.EPT = results.EPT{Total: 41423, Residual: 41423}
		}
	}
	return trials
}

// kind is what a made-up scenario is for: its name says so, or it is a fault.
func kind(scenario string) results.Kind {
	switch {
	case strings.HasPrefix(scenario, "control-"):
		return results.Control
	case strings.HasPrefix(scenario, "workload-"):
		return results.Measured
	}
	return results.Fault
}

func trial(rng *rand.Rand, scenario, mechanism string) results.Trial {
	t := results.Trial{
		Schema: results.Schema, Suite: Suite, Cell: results.Cell{Scenario: scenario,
			Arm: results.Arm{Mechanism: mechanism, Driver: "xenctrl"}, Machine: results.Machine{GuestKernel: "cloud-6.12",
				VCPUs: 1, MemoryMiB: 160}}, Host: "lab",
		Outcome:  results.Clean,
		WindowNS: 1_050_000_000 + rng.Int64N(40_000_000),
	}
	t.Kind = kind(scenario)
	t.Guest = results.Guest{BeatsBefore: 25, BeatsDuring: 25, BeatsAfter: 3}
	busy := 1.0
	if scenario == "control-busy" {
		busy = 4
	}
	some := func(mean float64) uint64 { return uint64(busy * mean * (0.9 + 0.2*rng.Float64())) }
	t.EPT.MMIO = some(4)
	switch mechanism {
	case "exec-step":
		t.EPT.Permission = some(260)
		t.EPT.Suppressed = some(3)
		t.Guest.ProgressRatio = new(0.93 - 0.1*busy + 0.01*float64(rng.IntN(5)))
	case "exec-altp2m":
		t.EPT.Permission = some(262)
		t.EPT.Lazy = some(190)
		t.EPT.Residual = some(2)
		t.Guest.ProgressRatio = new(0.95 - 0.1*busy + 0.01*float64(rng.IntN(5)))
	}
	t.Events = results.Events{Delivered: t.EPT.Permission, Steps: t.EPT.Permission}
	e := &t.EPT
	e.Total = e.Permission + e.Lazy + e.MMIO + e.Superpage + e.Suppressed + e.Residual
	if scenario != "spinlock-deadlock" {
		return t
	}
	t.Expected, t.DeadlineNS = "spin", 3_000_000_000
	hang, recovered := rng.Int64N(20_000_000), true
	t.HangNS, t.Recovered = &hang, &recovered
	t.Outcome = results.Missed
	if mechanism != "none" {
		t.Outcome, t.Class, t.Scope = results.Detected, "spin", "full"
		detect := 118_000_000 + rng.Int64N(30_000_000)
		if mechanism == "exec-altp2m" {
			detect += 9_000_000
		}
		t.DetectNS = &detect
		t.Evidence = []string{"vcpu 0 runs in queued_read_lock_slowpath since 100 ms", "no task switch for 118 ms"}
		t.WindowNS += detect
	}
	return t
}

// Sweep returns repetitions of a suite that sweeps two thresholds with a fault
// and a control each. Below 1000 ms io_ms gives false alarms and faults are
// detected half a second after the threshold; soft_ms gives none, and nothing is
// detected with its highest value; a lockup of 2 s is a false alarm where the
// verdict comes in that time. Everything in it is exact.
func Sweep(repetitions int) []results.Trial {
	var trials []results.Trial
	for block := range repetitions {
		for _, cell := range []struct {
			name, class, fault, control string
			values                      []int64
		}{
			{"io_ms", "io", "io-stall", "control-slow-disk", []int64{250, 500, 1000, 2500}},
			{"soft_ms", "soft", "soft-lockup", "control-kernel-work", []int64{500, 4000, 9000}},
		} {
			for _, v := range cell.values {
				for _, scenario := range []string{cell.fault, cell.control, "short"} {
					t := results.Trial{
						Schema: results.Schema, Suite: Suite, Trial: len(trials), Block: block, Cell: results.Cell{Scenario: scenario,
							Thresholds: results.NewSettings(map[string]int64{cell.name: v}), Arm: results.Arm{Mechanism: "exec-altp2m",
								Driver: "xenctrl"}, Machine: results.Machine{GuestKernel: "cloud-6.12", VCPUs: 1, MemoryMiB: 160}}, Host: "lab",
						Outcome: results.Clean, WindowNS: 12e9,
					}
					t.Kind = kind(scenario)
					detect := v*1e6 + 5e8 + int64(block)*1e6
					switch {
					case scenario == "short" && cell.name == "io_ms":
						continue
					case scenario == "short":
						undone, resumed := int64(2e9), int64(2.2e9)
						t.Scenario, t.Expected, t.BoundedMS, t.DeadlineNS = cell.fault, cell.class, 2000, 2e9
						t.Outcome, t.UndoneNS, t.ResumedNS = results.Undone, &undone, &resumed
						if detect < undone {
							t.Outcome, t.Class, t.Scope, t.DetectNS = results.Detected, cell.class, "partial", &detect
						}
					case scenario == cell.fault:
						t.Expected, t.DeadlineNS, t.Outcome = cell.class, 8e9, results.Missed
						if detect < t.DeadlineNS {
							t.Outcome, t.Class, t.Scope, t.DetectNS = results.Detected, cell.class, "partial", &detect
						}
					case cell.name == "io_ms" && v < 1000:
						t.Outcome, t.Class, t.Scope, t.WindowNS = results.FalseAlarm, "io", "partial", 3e9
					}
					trials = append(trials, t)
				}
			}
		}
	}
	return trials
}

// Listened is Trials with the watchdogs of the guest listened to. The soft-lockup
// detector reports every deadlock, 21.5 s and a second for each block after it; the
// RCU detector one of them, and it reports block times in a busy control.
func Listened(repetitions int) []results.Trial {
	trials := Trials(repetitions)
	for i := range trials {
		t := &trials[i]
		at := int64(21_500_000_000) + int64(t.Block)*1e9
		const watched = 24_500_000_000
		all := []results.Finding{
			{WatchedNS: watched, Observer: "soft-lockup", Armed: true, ThresholdNS: 10e9, FromNS: 20e9, ToNS: 24_500_000_000},
			{WatchedNS: watched, Observer: "hard-lockup"},
			{WatchedNS: watched, Observer: "rcu-stall", Armed: true, ThresholdNS: 21e9, FromNS: 20_500_000_000, ToNS: 23e9},
			{WatchedNS: watched, Observer: "hung-task", Armed: true, ThresholdNS: 120e9, FromNS: 120e9, ToNS: 240_500_000_000},
		}
		t.Findings, t.Watchdogs = all, "default"
		soft, rcu := &all[0], &all[2]
		switch {
		case t.Scenario == "spinlock-deadlock":
			soft.AtNS, soft.Reports = &at, 1
			if t.Mechanism == "none" && t.Block == 0 {
				late := int64(23_500_000_000)
				rcu.AtNS, rcu.Reports = &late, 1
			}
		case t.Scenario == "control-busy":
			rcu.FalseAlarms = t.Block
		}
	}
	return trials
}

// Workloads returns repetitions of three workloads by four arms, each in windows
// with the monitor off, on, on and off. The overhead planted in each is about
// PlantedOverhead.
func Workloads(repetitions int) []results.Trial {
	rng := rand.New(rand.NewPCG(3, 4))
	var trials []results.Trial
	for block := range repetitions {
		for _, w := range []struct {
			id, op, program string
			rate            float64
		}{
			{"workload-null", "nap of 10 ms", "timer", 100},
			{"workload-cpu", "round of sums", "stress-ng 0.00.00", 14},
			{"workload-syscall", "write to /dev/null", "stress-ng 0.00.00", 136_000},
		} {
			for _, mechanism := range []string{"none", "poll", "exec-step", "exec-altp2m"} {
				t := trial(rng, w.id, mechanism)
				t.Trial, t.Block, t.Seed = len(trials), block, uint64(len(trials))
				t.MemoryMiB, t.Programs = 256, "stress-ng"
				t.Workload = &results.Workload{Program: w.program, Op: w.op}
				for i, on := range []bool{false, true, true, false} {
					slow := 1 + 0.01*float64(i) + 0.002*rng.Float64() // drifts
					if on {
						slow *= 1 + PlantedOverhead(w.id, mechanism)/100
					}
					ns := 2e9 * (1 + 0.01*rng.Float64())
					t.Workload.Windows = append(t.Workload.Windows, results.Window{Monitor: on,
						Ops: uint64(w.rate * ns / 1e9 / slow), NS: int64(ns)})
				}
				on, off := t.Workload.Sums()
				t.Guest.ProgressRatio = new(float64(on.Ops) / float64(on.NS) / float64(off.Ops) * float64(off.NS))
				trials = append(trials, t)
			}
		}
	}
	return trials
}

// PlantedOverhead is the overhead, in percent, that Workloads is made up with.
func PlantedOverhead(workload, mechanism string) float64 {
	if workload == "workload-null" {
		return 0
	}
	return map[string]float64{"poll": 1, "exec-step": 25, "exec-altp2m": 40}[mechanism]
}
