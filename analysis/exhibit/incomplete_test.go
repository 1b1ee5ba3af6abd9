package exhibit

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"hangbench/analysis"
	"hangbench/analysis/internal/madeup"
	"hangbench/analysis/table"
)

// TestIncompleteExhibits: every table and figure says in every format that the run is not
// whole.
func TestIncompleteExhibits(t *testing.T) {
	t.Parallel()
	trials := madeup.Listened(4)
	for _, tr := range slices.Concat(madeup.Workloads(4), madeup.Sweep(4), madeup.Campaign()) {
		tr.Trial = len(trials)
		trials = append(trials, tr)
	}
	for i := range trials {
		if i%2 == 0 {
			trials[i].BackOutNS, trials[i].BackedOut = new(int64(5e6)), "made up"
		}
	}
	run := madeup.Run(trials)
	run.Manifest.Planned = len(trials) + 7
	run.Bad = []error{errors.New("damaged")}
	set, err := analysis.Group(run)
	if err != nil {
		t.Fatal(err)
	}
	says := fmt.Sprintf("7 of %d trials are missing, 1 damaged record is left out", len(trials)+7)
	checkCSV := func(name string, write func(*bytes.Buffer) error) {
		var out bytes.Buffer
		if err := write(&out); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(&out).ReadAll()
		if err != nil || len(rows) < 2 {
			t.Fatalf("%s: %d rows of CSV, %v", name, len(rows), err)
		}
		for i, row := range rows {
			want := []string{"7", "1"}
			if i == 0 {
				want = []string{"trials_missing", "records_damaged"}
			}
			if got := row[len(row)-2:]; !slices.Equal(got, want) {
				t.Errorf("%s: row %d of the CSV ends in %q, want %q", name, i, got, want)
			}
		}
	}
	checkCSV("summary", func(out *bytes.Buffer) error { return table.Summary(out, set, table.CSV) })
	for _, e := range All() {
		if e.Figure != nil {
			f, err := e.Figure(set)
			if err != nil {
				t.Fatal(err)
			}
			if f == nil {
				continue
			}
			if !strings.Contains(f.Caption(), says) {
				t.Errorf("figure %s: %s", e.Name, f.Caption())
			}
			checkCSV(e.Name, func(out *bytes.Buffer) error { return f.WriteCSV(out) })
			continue
		}
		made, err := e.Table(set)
		if err != nil {
			t.Fatal(err)
		}
		if len(made.Rows) == 0 {
			t.Errorf("table %s has no rows: make the trials up that it needs", e.Name)
		}
		for _, f := range []table.Format{table.Terminal, table.Markdown, table.LaTeX} {
			var out bytes.Buffer
			if err := made.Write(&out, f); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(out.String(), "Not whole: "+says+".") {
				t.Errorf("table %s, format %d:\n%s", e.Name, f, out.String())
			}
		}
		checkCSV(e.Name, func(out *bytes.Buffer) error { return made.WriteCSV(out, [2]string{"host", set.Host}) })
	}
}
