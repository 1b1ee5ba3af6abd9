package analysis

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"hangbench/analysis/internal/madeup"
	"hangbench/results"
)

// TestIncomplete: what a run and a set lack is counted, in the caption too.
func TestIncomplete(t *testing.T) {
	t.Parallel()
	bad := errors.New("damaged")
	for _, tc := range []struct {
		missing int
		bad     []error
		want    string
	}{
		{0, nil, ""},
		{1, nil, "1 of 10 trials is missing"},
		{4, nil, "4 of 13 trials are missing"},
		{0, []error{bad}, "1 damaged record is left out"},
		{2, []error{bad, bad}, "2 of 11 trials are missing, 2 damaged records are left out"},
	} {
		run := madeup.Run(madeup.Trials(1))
		run.Manifest.Planned, run.Bad = len(run.Trials)+tc.missing, tc.bad
		if got := Incomplete(run); got != tc.want {
			t.Errorf("run: %q, want %q", got, tc.want)
		}
		set, err := Group(run)
		if err != nil {
			t.Fatal(err)
		}
		if got := set.Incomplete(); got != tc.want {
			t.Errorf("set: %q, want %q", got, tc.want)
		}
		if caption := set.Caption(); tc.want != "" && !strings.HasSuffix(caption, "; 9 trials; "+tc.want) ||
			tc.want == "" && !strings.HasSuffix(caption, "; 9 trials") {
			t.Errorf("caption %q", caption)
		}
	}
}

// TestIncompleteRuns: what several runs lack adds up, and is in the last two columns of a
// CSV file. A whole set has none of these.
func TestIncompleteRuns(t *testing.T) {
	t.Parallel()
	runs := []*results.Run{madeup.Run(madeup.Seeded(1, 1)), madeup.Run(madeup.Seeded(2, 1))}
	rows := [][]string{{"a"}, {"1"}, {"2"}}
	whole, err := Group(runs...)
	if err != nil {
		t.Fatal(err)
	}
	if got := whole.MarkCSV(rows); !reflect.DeepEqual(got, rows) {
		t.Errorf("rows of a whole set: %q", got)
	}
	runs[0].Manifest.Planned, runs[1].Manifest.Planned = 10, 12
	runs[1].Bad = []error{errors.New("damaged")}
	set, err := Group(runs...)
	if err != nil {
		t.Fatal(err)
	}
	if got := set.Incomplete(); got != "4 of 22 trials are missing, 1 damaged record is left out" {
		t.Errorf("%q", got)
	}
	want := [][]string{{"a", "trials_missing", "records_damaged"}, {"1", "4", "1"}, {"2", "4", "1"}}
	if got := set.MarkCSV(rows); !reflect.DeepEqual(got, want) || len(rows[0]) != 1 {
		t.Errorf("%q, want %q; the rows are %q", got, want, rows)
	}
}
