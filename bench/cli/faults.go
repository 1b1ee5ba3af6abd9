package cli

import (
	"fmt"
	"io"
	"strings"

	"hangbench/guests/beat"
	"hangbench/scenarios"
)

// printFaults prints what faults a suite can declare.
func printFaults(w io.Writer) {
	indented := func(blanks int, text string) string {
		return strings.ReplaceAll(wrap(text, helpWidth-blanks), "\n", "\n"+strings.Repeat(" ", blanks))
	}
	for _, p := range scenarios.Primitives() {
		fmt.Fprintf(w, "  %s: %s\n", p.Do, p.Example())
		for _, fact := range [][2]string{{"does", p.Does}, {"undo", p.Undo}, {"needs", p.Needs}, {"done", p.Confirmed}} {
			if fact[1] == "" {
				continue
			}
			fmt.Fprintf(w, "      %-7s %s\n", fact[0], indented(14, fact[1]))
		}
		for _, a := range p.Args {
			fmt.Fprintf(w, "      %s: %s\n          %s\n", a.Name, valuesOf(a), indented(10, a.Meaning))
		}
	}
	fmt.Fprintf(w, "  class\n")
	for _, c := range scenarios.Classes() {
		fmt.Fprintf(w, "      %-10s %s\n", c.Name, c.Shows)
	}
	fmt.Fprintf(w, "  work\n")
	for _, work := range beat.Workloads() {
		needs := ""
		if work.Needs() != "" {
			needs = "; needs " + work.Needs()
		}
		fmt.Fprintf(w, "      %-10s %s: %s%s\n", work, onWhich(work), work.Unit, needs)
	}
}

// valuesOf says which values an argument may have.
func valuesOf(a scenarios.Arg) string {
	values := "symbol of the kernel"
	switch {
	case a.Words != nil:
		values = strings.Join(a.Words, " or ")
	case a.Min != 0 || a.Max != 0:
		values = fmt.Sprintf("whole number, %d to %d", a.Min, a.Max)
	}
	if a.Default != "" {
		return values + ", default " + a.Default
	}
	return values + ", required"
}

// onWhich says which vCPUs do the work.
func onWhich(w beat.Workload) string {
	if w.Last {
		return "last vCPU"
	}
	return "every vCPU"
}
