package table

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"hangbench/analysis"
	"hangbench/analysis/internal/madeup"
	"hangbench/results"
)

// TestSweep: each value of each threshold has a row with what was planted, and
// values are never averaged.
func TestSweep(t *testing.T) {
	set, err := analysis.Group(madeup.Run(madeup.Sweep(6)))
	if err != nil {
		t.Fatal(err)
	}
	if got := set.Swept(); !slices.Equal(got, []string{"io_ms", "soft_ms"}) {
		t.Errorf("swept %q", got)
	}
	tab, err := Sweep(set)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{
		{"io_ms", "250", "exec-altp2m", "6", "6", "io", "752.0", "6/6 [54%, 100%]", "io", "18.0", "1200 [440, 2612]"},
		{"io_ms", "500", "exec-altp2m", "6", "6", "io", "1002.0", "6/6 [54%, 100%]", "io", "18.0", "1200 [440, 2612]"},
		{"io_ms", "1000", "exec-altp2m", "6", "6", "io", "1502.0", "0/6 [0%, 46%]", none, "72.0", "0 [0, "},
		{"io_ms", "2500", "exec-altp2m", "6", "6", "io", "3002.0", "0/6 [0%, 46%]", none, "72.0", "0 [0, "},
		{"soft_ms", "500", "exec-altp2m", "6", "6", "soft", "1002.0", "6/12 [21%, 79%]", "soft", "72.0", "0 [0, "},
		{"soft_ms", "4000", "exec-altp2m", "6", "6", "soft", "4502.0", "0/12 [0%, 26%]", none, "72.0", "0 [0, "},
		{"soft_ms", "9000", "exec-altp2m", "6", "0", none, none, "0/12 [0%, 26%]", none, "72.0", "0 [0, "},
	} {
		if i >= len(tab.Rows) {
			t.Fatalf("%d rows", len(tab.Rows))
		}
		for j, text := range want {
			if !strings.HasPrefix(tab.Rows[i][j], text) {
				t.Errorf("row %d, %s: %q, want %q", i, tab.Head[j], tab.Rows[i][j], text)
			}
		}
	}
	if len(tab.Rows) != 7 {
		t.Errorf("%d rows", len(tab.Rows))
	}
	for _, f := range []Format{Terminal, Markdown, CSV, LaTeX} {
		var out bytes.Buffer
		if err := tab.Write(&out, f); err != nil || strings.Contains(out.String(), "Inf") {
			t.Errorf("%v:\n%s", err, out.String())
		}
	}
	var out bytes.Buffer
	if err := tab.WriteCSV(&out); err != nil || !strings.Contains(out.String(), "\nio_ms,250,exec-altp2m,6,6,io,752,") {
		t.Errorf("%v:\n%s", err, out.String())
	}

	if tables, err := Usual(set); err != nil || len(tables) != 3 || tables[0].Title != tab.Title {
		t.Errorf("the summary of a sweep has %d tables, %v", len(tables), err)
	}

	// A threshold that was set and not varied is no sweep.
	all := madeup.Sweep(2)
	all = slices.DeleteFunc(all, func(tr results.Trial) bool { return tr.Thresholds.Map()["io_ms"] != 250 })
	if set, err = analysis.Group(madeup.Run(all)); err != nil || len(set.Swept()) != 0 {
		t.Errorf("swept %q, %v", set.Swept(), err)
	}
	if tab, err = Sweep(set); err != nil || len(tab.Rows) != 0 {
		t.Errorf("%d rows of no sweep, %v", len(tab.Rows), err)
	}
}
