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

	"github.com/spf13/cobra"

	"hangbench/bench/plan"
	"hangbench/bench/trial"
	"hangbench/guests/stress"
	"hangbench/results"
	"hangbench/scenarios"
	"hangbench/scenarios/suites"
)

// checkFlags are the flags of "check".
type checkFlags struct {
	seed uint64
	json bool
}

func (a *app) checkCommand() *cobra.Command {
	c := a.command("check SUITE", "read a suite and print its plan without running it",
		"Read a suite, by the name of a built-in one or by a file's path, and print the plan it expands to.", 1, 1)
	var f checkFlags
	c.Flags().Uint64Var(&f.seed, "seed", 1, "`seed` of the plan")
	c.Flags().BoolVar(&f.json, "json", false, "print the plan as JSON")
	c.ValidArgsFunction = once(completeSuites)
	c.RunE = func(c *cobra.Command, args []string) error { return f.run(c.Context(), a, args[0]) }
	return c
}

func (f *checkFlags) run(ctx context.Context, a *app, suite string) error {
	s, err := loadSuite(ctx, suite)
	if err == nil {
		err = nameFiles(s)
	}
	if err != nil {
		return err
	}
	trials := plan.Expand(s, f.seed)
	if f.json {
		e := json.NewEncoder(a.out)
		e.SetIndent("", "  ")
		return e.Encode(struct {
			Schema int          `json:"schema"`
			Suite  string       `json:"suite"`
			Seed   uint64       `json:"seed"`
			Trials []plan.Trial `json:"trials"`
		}{2, s.Name, f.seed, trials})
	}
	least, most, err := estimate(trials)
	if err != nil {
		return err
	}
	if err := printSuite(a.out, s, len(trials)); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "virtual time: %v to %v", least.Round(time.Second), most.Round(time.Second))
	if s.Baselines != "" {
		fmt.Fprint(a.out, ", and the watchdogs' time with each fault")
	}
	fmt.Fprintln(a.out, "; in the lab a busy guest's second takes about a second of one processor, an idle one's less")
	for i := range trials {
		printTrial(a.out, &trials[i])
	}
	return nil
}

// printSuite prints the factors of a suite, and its number of trials.
func printSuite(w io.Writer, s *suites.Suite, trials int) error {
	more := ""
	if n := len(s.BoundedMS); n > 0 {
		more = fmt.Sprintf(" x %d lengths", n)
	}
	if len(s.Sweeps) > 0 {
		more += " x swept thresholds"
	}
	fmt.Fprintf(w, "%s: %s\n%d scenarios x %d mechanisms x %d drivers x %d guests%s, %d times: %d trials\n",
		s.Name, s.Description, len(s.Scenarios), len(s.Mechanisms), len(s.Drivers), len(s.Guests), more,
		s.Repetitions, trials)
	for _, sweep := range s.Sweeps {
		with := ""
		for _, name := range slices.Sorted(maps.Keys(sweep.Thresholds)) {
			with += fmt.Sprintf(" with %s=%d", name, sweep.Thresholds[name])
		}
		fmt.Fprintf(w, "%s swept over %s%s: %s\n", sweep.Threshold, strings.Trim(fmt.Sprint(sweep.Values), "[]"), with,
			strings.Join(sweep.Scenarios, ", "))
	}
	if s.Baselines != "" {
		fmt.Fprintf(w, "baselines %s: a fault stays until the guest's own watchdogs have had their time\n", s.Baselines)
	}
	for _, name := range s.Scenarios {
		text, ok := s.Declared[name]
		if !ok {
			continue
		}
		sc, err := scenarios.OfCell(results.Cell{Scenario: name, Declared: text})
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "fault %s: %s\n", name, sc.Summary)
	}
	for _, o := range s.Observers {
		role := "watches beside the monitor"
		if slices.Contains(s.Mechanisms, o.Name) {
			role = "is an arm of its own"
		}
		fmt.Fprintf(w, "observer %s %s: %q\n", o.Name, role, o.Command)
	}
	return nil
}

// printTrial prints a line about a trial of a plan.
func printTrial(w io.Writer, t *plan.Trial) {
	more := ""
	for _, f := range t.Factors() {
		if f.Label != "" && f.Name != "vcpus" && f.Name != "memory_mib" {
			more += " " + f.Label
		}
	}
	if t.BoundedMS > 0 {
		more += fmt.Sprintf(" removed after %d ms", t.BoundedMS)
	}
	for name, value := range t.Thresholds.All() {
		more += fmt.Sprintf(" %s=%d", name, value)
	}
	fmt.Fprintf(w, "%4d  block %-3d %-20s %-12s %s %d vCPU %d MiB%s  seed %016x\n",
		t.Index, t.Block, t.Scenario, t.Mechanism, t.Kernel, t.VCPUs, t.MemoryMiB, more, t.Seed)
}

// estimate returns how long all trials take together on dom0's clock: at least, with
// every fault detected at once, and at most, with every verdict and every recovery at
// its deadline.
func estimate(trials []plan.Trial) (least, most time.Duration, err error) {
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	for _, t := range trials {
		sc, err := scenarios.OfCell(t.Cell)
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
