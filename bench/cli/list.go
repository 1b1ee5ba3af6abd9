package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hangbench/bench/exit"
	suitenames "hangbench/bench/names"
	"hangbench/bench/plan"
	"hangbench/guests/lab"
	"hangbench/monitor/detect"
	"hangbench/monitor/trap"
	"hangbench/results"
	"hangbench/scenarios"
	"hangbench/scenarios/suites"
)

// vocabulary returns the names that a suite may use.
func vocabulary() suites.Vocabulary {
	return suitenames.Suites(lab.GuestKernels(), lab.GuestPrograms(), lab.Xens())
}

// loadSuite reads a suite. A suite with mistakes, or none, is a usage error.
func loadSuite(ctx context.Context, name string) (*suites.Suite, error) {
	return readInput(ctx, func() (*suites.Suite, error) { return suites.Load(name, vocabulary()) })
}

// planner makes the plan of a run again, to compare its records with.
func planner() results.Planner { return plan.Planner(vocabulary()) }

// nameList is a list of names that users may write.
type nameList struct {
	name  string
	print func(io.Writer) error
}

func (a *app) listCommand() *cobra.Command {
	all := nameLists()
	var names []string
	for _, l := range all {
		names = append(names, l.name)
	}
	c := a.command("list ["+strings.Join(names, "|")+"]", "list what can be run",
		"List what can be run. Without an argument it prints every list.", 0, 1)
	c.ValidArgsFunction = once(choices(names...))
	c.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) == 1 {
			i := slices.Index(names, args[0])
			if i < 0 {
				return exit.Usagef("list: there are %s, not %q", and(names), args[0])
			}
			return all[i].print(a.out)
		}
		for _, l := range all {
			fmt.Fprintf(a.out, "%s:\n", l.name)
			if err := l.print(a.out); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

// and joins names for a sentence.
func and(names []string) string {
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// nameLists returns the lists that "list" prints.
func nameLists() []nameList {
	return []nameList{
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
		{"faults", func(w io.Writer) error { printFaults(w); return nil }},
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
		{"keys", func(w io.Writer) error { printKeys(w); return nil }},
	}
}

// printKeys prints the reference of the keys of a suite.
func printKeys(w io.Writer) {
	const indent = "      "
	section := suites.Section("")
	for _, k := range suites.Keys() {
		if k.Section != section {
			section = k.Section
			fmt.Fprintf(w, "  %s\n", section)
		}
		facts := k.Type
		if r := k.Range(); r != "" {
			facts += ", " + r
		}
		if k.Required {
			facts += ", required"
		} else {
			facts += ", default " + k.Default
		}
		fmt.Fprintf(w, "    %s: %s\n", k.Name, facts)
		for line := range strings.SplitSeq(wrap(k.Meaning, helpWidth-len(indent)), "\n") {
			fmt.Fprintf(w, "%s%s\n", indent, line)
		}
		fmt.Fprintf(w, "%s%s: %s\n", indent, k.Name, k.Example)
	}
}
