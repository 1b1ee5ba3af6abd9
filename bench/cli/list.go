package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	suitenames "hangbench/bench/names"
	"hangbench/bench/plan"
	"hangbench/bench/trial"
	"hangbench/guests/lab"
	"hangbench/guests/stress"
	"hangbench/monitor/detect"
	"hangbench/monitor/trap"
	"hangbench/scenarios"
	"hangbench/scenarios/suites"
)

// vocabulary is every name that a suite may use.
func vocabulary() suites.Vocabulary {
	return suitenames.Suites(lab.GuestKernels(), lab.GuestPrograms())
}

func loadSuite(name string) (*suites.Suite, error) {
	s, err := suites.Load(name, vocabulary())
	if err != nil {
		return nil, usageError{Err: err}
	}
	return s, nil
}

func listCommand(ctx context.Context, env *Env, args []string) error {
	f := flags(env, "list", "[scenarios|mechanisms|detectors|suites]", "List what can be run.")
	if err := parse(f, args, 0, 1); err != nil {
		return err
	}
	what := f.Arg(0)
	lists := []struct {
		name  string
		print func(io.Writer) error
	}{
		{"scenarios", func(w io.Writer) error {
			for _, s := range scenarios.All() {
				class := s.Class
				if s.Control() {
					class = "control"
				}
				fmt.Fprintf(w, "  %-25s %-9s %s\n", s.ID, class, s.Summary)
			}
			return nil
		}},
		{"mechanisms", func(w io.Writer) error {
			for _, m := range trap.Mechanisms() {
				fmt.Fprintf(w, "  %s\n      traps   %s\n      misses  %s\n      needs   %s\n", m.Name, m.Traps, m.Miss, m.Needs)
			}
			return nil
		}},
		{"detectors", func(w io.Writer) error {
			threshold := func(indent string, t detect.Threshold) {
				fmt.Fprintf(w, "%s%-22s %7d  (%d to %d) %s\n", indent, t.Name, t.Default, t.Min, t.Max, t.Summary)
			}
			shared := detect.ListThresholds()
			for _, d := range detect.List() {
				fmt.Fprintf(w, "  %s\n      reads   %s\n      early   %s\n", d.Class, d.Reads, d.Early)
				if d.Late != "" {
					fmt.Fprintf(w, "      late    %s\n", d.Late)
				}
				for _, t := range d.Thresholds {
					threshold("      ", t)
					shared = slices.DeleteFunc(shared, func(s detect.Threshold) bool { return s.Name == t.Name })
				}
			}
			fmt.Fprintf(w, "  all of them\n")
			for _, t := range shared {
				threshold("      ", t)
			}
			return nil
		}},
		{"suites", func(w io.Writer) error {
			var rows [][2]string
			wide := 0
			for _, name := range suites.Builtin() {
				s, err := suites.Load(name, vocabulary())
				if err != nil {
					return err
				}
				rows = append(rows, [2]string{name, fmt.Sprintf("%4d trials  %s", len(plan.Expand(s, 0)), s.Description)})
				wide = max(wide, len(name))
			}
			for _, r := range rows {
				fmt.Fprintf(w, "  %-*s %s\n", wide, r[0], r[1])
			}
			return nil
		}},
	}
	found := false
	for _, l := range lists {
		if what != "" && what != l.name {
			continue
		}
		if what == "" {
			fmt.Fprintf(env.Stdout, "%s:\n", l.name)
		}
		found = true
		if err := l.print(env.Stdout); err != nil {
			return err
		}
	}
	if !found {
		return usagef("list: there are scenarios, mechanisms, detectors and suites, not %q", what)
	}
	return nil
}

// estimate is how long the trials take on the guest's clock, all together: with
// every fault called at once, and with every verdict and recovery as late as may be.
func estimate(trials []plan.Trial) (least, most time.Duration, err error) {
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	for _, t := range trials {
		sc, err := scenarios.Find(t.Scenario)
		if err != nil {
			return 0, 0, err
		}
		d := ms(t.Timing.BaselineMS + t.Timing.ObserveMS)
		if sc.Stress != stress.None {
			d = trial.PairedWindows(ms(t.Timing.BaselineMS))
		}
		late := ms(2 * t.Timing.RecoveryMS)
		switch {
		case sc.Control():
			d += sc.Disturbed
			late = ms(t.Timing.RecoveryMS)
		case t.BoundedMS > 0:
			d += ms(t.BoundedMS)
		default:
			late += ms(t.Timing.DeadlineMS)
		}
		least += d
		most += d + late
	}
	return least, most, nil
}

func checkCommand(ctx context.Context, env *Env, args []string) error {
	f := flags(env, "check", "SUITE", "Read a suite, by the name of a built-in one or by a file's path, and print the plan it expands to.")
	seed := f.Uint64("seed", 1, "`seed` of the plan")
	asJSON := f.Bool("json", false, "print the plan as JSON")
	if err := parse(f, args, 1, 1); err != nil {
		return err
	}
	s, err := loadSuite(f.Arg(0))
	if err != nil {
		return err
	}
	trials := plan.Expand(s, *seed)
	if *asJSON {
		e := json.NewEncoder(env.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(struct {
			Schema int          `json:"schema"`
			Suite  string       `json:"suite"`
			Seed   uint64       `json:"seed"`
			Trials []plan.Trial `json:"trials"`
		}{1, s.Name, *seed, trials})
	}
	lengths := ""
	if n := len(s.BoundedMS); n > 0 {
		lengths = fmt.Sprintf(" x %d lengths", n)
	}
	if len(s.Sweeps) > 0 {
		lengths += " x swept thresholds"
	}
	fmt.Fprintf(env.Stdout, "%s: %s\n%d scenarios x %d mechanisms x %d drivers x %d guests%s, %d times: %d trials\n", s.Name, s.Description,
		len(s.Scenarios), len(s.Mechanisms), len(s.Drivers), len(s.Guests), lengths, s.Repetitions, len(trials))
	for _, w := range s.Sweeps {
		beside := ""
		for _, name := range slices.Sorted(maps.Keys(w.Thresholds)) {
			beside += fmt.Sprintf(" with %s=%d", name, w.Thresholds[name])
		}
		fmt.Fprintf(env.Stdout, "%s swept over %s%s: %s\n", w.Threshold, strings.Trim(fmt.Sprint(w.Values), "[]"), beside, strings.Join(w.Scenarios, ", "))
	}
	if s.Baselines != "" {
		fmt.Fprintf(env.Stdout, "baselines %s: a fault stays until the guest's own watchdogs have had their time\n", s.Baselines)
	}
	least, most, err := estimate(trials)
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "virtual time: %v to %v", least.Round(time.Second), most.Round(time.Second))
	if s.Baselines != "" {
		fmt.Fprint(env.Stdout, ", and the watchdogs' time with each fault")
	}
	fmt.Fprintln(env.Stdout, "; in the lab a busy guest's second takes about a second of one processor, an idle one's less")
	for _, t := range trials {
		boot := ""
		if t.Guest.Boot != "" {
			boot = " " + t.Guest.Boot
		}
		if t.Guest.Superpages {
			boot += " superpages"
		}
		if n := t.Guest.Neighbours; n > 0 {
			boot += fmt.Sprintf(" beside %d more", n)
		}
		if t.Guest.Programs != "" {
			boot += " with " + t.Guest.Programs
		}
		if t.BoundedMS > 0 {
			boot += fmt.Sprintf(" undone after %d ms", t.BoundedMS)
		}
		for _, name := range slices.Sorted(maps.Keys(t.Thresholds)) {
			boot += fmt.Sprintf(" %s=%d", name, t.Thresholds[name])
		}
		fmt.Fprintf(env.Stdout, "%4d  block %-3d %-20s %-12s %s %d vCPU %d MiB%s  seed %s\n", t.Index, t.Block, t.Scenario, t.Mechanism,
			t.Guest.Kernel, t.Guest.VCPUs, t.Guest.MemoryMiB, boot, strings.ToLower(fmt.Sprintf("%016X", t.Seed)))
	}
	return nil
}
