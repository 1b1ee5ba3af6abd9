package analysis

import (
	"fmt"
	"strings"

	"hangbench/results"
)

// Incomplete says how many trials of a run are missing and how many records are damaged,
// without full stop. It is empty for a run that is whole.
func Incomplete(r *results.Run) string {
	return incomplete(len(r.Trials), r.Missing(), len(r.Bad))
}

func incomplete(have, missing, damaged int) string {
	var parts []string
	if missing == 1 {
		parts = append(parts, fmt.Sprintf("1 of %d trials is missing", have+missing))
	} else if missing > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d trials are missing", missing, have+missing))
	}
	switch {
	case damaged == 1:
		parts = append(parts, "1 damaged record is left out")
	case damaged > 1:
		parts = append(parts, fmt.Sprintf("%d damaged records are left out", damaged))
	}
	return strings.Join(parts, ", ")
}
