package run

import (
	"fmt"
	"io"
	"slices"

	"hangbench/results"
)

// Judge reports whether a run's trials are good: none is invalid, and none is a
// false alarm. It writes a line to w for each trial that is not.
//
// swept are the names of thresholds that the suite varies. A false alarm in a
// trial that sets one of them is a measurement and does not count.
func Judge(w io.Writer, trials []results.Trial, swept []string) (good bool) {
	good = true
	for i := range trials {
		t := &trials[i]
		switch t.Outcome {
		case results.Invalid:
			good = false
			fmt.Fprintf(w, "hangbench: trial %d (%s, %s) is invalid: %s\n", t.Trial, t.Scenario, t.Mechanism, t.Reason)
		case results.FalseAlarm:
			if slices.ContainsFunc(swept, func(name string) bool { _, set := t.Thresholds.Get(name); return set }) {
				continue
			}
			good = false
			fmt.Fprintf(w, "hangbench: trial %d (%s, %s) is a false alarm: %v\n",
				t.Trial, t.Scenario, t.Mechanism, t.Evidence)
		}
	}
	return good
}
