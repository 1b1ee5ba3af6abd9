package analysis

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hangbench/results"
)

// Incomplete says how many trials of a run are missing and how many records are damaged,
// without full stop. It is empty for a run that is whole.
func Incomplete(r *results.Run) string {
	return incomplete(len(r.Trials), r.Missing(), len(r.Bad))
}

// Incomplete says the same of all runs of the set.
func (s *Set) Incomplete() string { return incomplete(s.trials, s.missing, s.damaged) }

// MarkCSV adds to the rows of a CSV file what the set lacks, in two more columns at the end
// of the head, which is the first row, and of every other row. Rows of a set that is whole
// stay as they are.
func (s *Set) MarkCSV(rows [][]string) [][]string {
	if s.Incomplete() == "" {
		return rows
	}
	marked := make([][]string, len(rows))
	for i, row := range rows {
		more := []string{strconv.Itoa(s.missing), strconv.Itoa(s.damaged)}
		if i == 0 {
			more = []string{"trials_missing", "records_damaged"}
		}
		marked[i] = slices.Concat(row, more)
	}
	return marked
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
