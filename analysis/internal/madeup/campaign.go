package madeup

import "hangbench/results"

// Campaign returns trials of faults whose effect nobody knew before: with poll one of
// everything that can become of them and of the verdict, and one without a monitor.
func Campaign() []results.Trial {
	ns := func(ms int64) *int64 { n := ms * 1e6; return &n }
	no := false
	var all []results.Trial
	add := func(mechanism string, outcome results.Outcome, class string, detectMS int64, e *results.Effect) {
		t := results.Trial{
			Schema: results.Schema, Suite: Suite, Trial: len(all), Host: "lab", Outcome: outcome, Class: class, Effect: e,
			Cell: results.Cell{Scenario: "skip-made-up-busy", Kind: results.Unknown,
				Arm:     results.Arm{Mechanism: mechanism, Driver: "xenctrl"},
				Machine: results.Machine{GuestKernel: "cloud-6.12", VCPUs: 1, MemoryMiB: 160}},
			DeadlineNS: 20e9, WindowNS: 24e9, Seed: uint64(len(all)),
		}
		if outcome == results.Detected {
			t.DetectNS = ns(detectMS)
		}
		if e != nil {
			t.HangNS = e.HungNS
		}
		if class != "" {
			t.Scope, t.Evidence = "partial", []string{"vCPU 0: made up"}
		}
		all = append(all, t)
	}
	hung := func(what string, hungMS int64, right string, stopped ...string) *results.Effect {
		return &results.Effect{What: what, HungNS: ns(hungMS), Right: []string{right}, Stopped: stopped}
	}
	full := func(hungMS, fullMS int64, grew bool) *results.Effect {
		e := hung(results.AllHung, hungMS, "spin", "beat 0", "work 0", "pid1")
		e.FullNS, e.Grew, e.Places = ns(fullMS), grew, []string{"vCPU 0 runs in made_up, interrupts on"}
		return e
	}
	add("poll", results.Clean, "", 0, &results.Effect{What: results.NotReached, Reached: &no})
	add("poll", results.Clean, "", 0, &results.Effect{What: results.NoEffect})
	add("poll", results.FalseAlarm, "soft", 0, &results.Effect{What: results.NoEffect})
	add("poll", results.Clean, "", 0, &results.Effect{What: results.Slowed, Slowed: []string{"work 0"}, PauseNS: 15e8})
	add("poll", results.FalseAlarm, "spin", 0,
		&results.Effect{What: results.Slowed, Slowed: []string{"work 0"}, PauseNS: 4e9})
	add("poll", results.Clean, "", 0, &results.Effect{What: results.Failed, Ended: []string{"work 0"}})
	add("poll", results.Detected, "blocked", 3500, hung(results.PartHung, 1000, "blocked", "work 0"))
	add("poll", results.Missed, "", 0, hung(results.PartHung, 2000, "blocked", "work 0"))
	all[len(all)-1].Evidence = []string{"undecided"}
	add("poll", results.Detected, "hard", 5000, hung(results.PartHung, 1000, "blocked", "work 0"))
	add("poll", results.Detected, "spin", 2000, full(500, 900, false))
	add("poll", results.Detected, "spin", 3000, full(1000, 9000, true))
	add("poll", results.Detected, "panic", 700, hung(results.Crashed, 800, "panic"))
	add("poll", results.FalseAlarm, "spin", 0, nil)
	all[len(all)-1].DeadlineNS = 20e9
	add("poll", results.Invalid, "", 0, nil)
	all[len(all)-1].Reason = "the canary fork does nothing in a healthy guest"
	add("none", results.Missed, "", 0, hung(results.PartHung, 2000, "blocked", "work 0"))
	return all
}
