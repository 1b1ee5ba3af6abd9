package table

import (
	"bytes"
	"encoding/csv"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"hangbench/analysis"
	"hangbench/analysis/golden"
	"hangbench/analysis/internal/madeup"
	"hangbench/analysis/stats"
	"hangbench/cgo/require"
	"hangbench/results"
)

func TestSummaryGolden(t *testing.T) {
	many := madeup.Trials(8)
	two := append([]results.Trial(nil), many...)
	for i := range two {
		if two[i].Block%2 == 1 {
			two[i].Driver = "libvmi"
		}
	}
	for _, tc := range []struct {
		name   string
		trials []results.Trial
		format Format
	}{
		{"few.txt", madeup.Trials(2), Terminal},
		{"many.txt", many, Terminal},
		{"drivers.txt", two, Terminal},
		{"few.md", madeup.Trials(2), Markdown},
		{"many.md", many, Markdown},
		{"few.csv", madeup.Trials(2), CSV},
		{"many.csv", many, CSV},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := summary(&out, tc.trials, tc.format); err != nil {
				t.Fatal(err)
			}
			golden.Compare(t, tc.name, out.Bytes())
			if tc.format == CSV {
				return
			}
			if !strings.HasPrefix(out.String(), "host: lab (emulated; virtual time); suite: made-up") {
				t.Error("the output does not begin with the host")
			}
			if tc.format != Terminal || tc.name == "drivers.txt" {
				return
			}
			for line := range strings.Lines(out.String()) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 120 {
					t.Errorf("line of %d columns: %s", n, line)
				}
			}
		})
	}
}

// TestNoData: a table without rows says so in every format for people.
func TestNoData(t *testing.T) {
	t.Parallel()
	tab := New("Empty", TextColumn("a", "a"), NumberColumn("b", "b"))
	tab.Notes = []string{"a note"}
	for f, want := range map[Format]string{
		Terminal: "Empty\n  no data\n", Markdown: "### Empty\n\nno data\n", CSV: "a,b\n",
		LaTeX: "\\midrule\n\\multicolumn{2}{l}{no data} \\\\\n\\bottomrule",
	} {
		var b bytes.Buffer
		if err := tab.Write(&b, f); err != nil {
			t.Fatal(err)
		}
		if got := b.String(); got != want && (f != LaTeX || !strings.Contains(got, want)) {
			t.Errorf("format %d: %q, want %q", f, got, want)
		}
	}
}

// TestBackOuts: only trials whose monitor removed its trap by itself are in the table, and
// without one there is no table.
func TestBackOuts(t *testing.T) {
	trials := madeup.Trials(2)
	set, err := analysis.Group(madeup.Run(trials))
	if err != nil {
		t.Fatal(err)
	}
	if len(BackOuts(set).Rows) != 0 {
		t.Error("a table of monitors that removed their trap, and none did")
	}
	ns := int64(712_400_000)
	trials[1].BackedOut, trials[1].BackOutNS = "made up", &ns
	if set, err = analysis.Group(madeup.Run(trials)); err != nil {
		t.Fatal(err)
	}
	got := BackOuts(set)
	if got == nil || len(got.Rows) != 1 || got.Rows[0][0] != trials[1].Scenario || got.Rows[0][4] != "712.4" {
		t.Fatalf("%+v, want one row of 712.4 ms", got)
	}
	var b bytes.Buffer
	if err := summary(&b, trials, Terminal); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), got.Title) {
		t.Errorf("the summary has no table of monitors that removed their trap:\n%s", &b)
	}
}

func TestSummaryRefuses(t *testing.T) {
	mixed := madeup.Trials(1)
	mixed[2].Host = "xen"
	for _, tc := range []struct {
		trials []results.Trial
		want   string
	}{
		{nil, "no trials"},
		{mixed, `hosts "lab" and "xen" do not mix`},
	} {
		if err := summary(&bytes.Buffer{}, tc.trials, Terminal); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("error %v does not say %q", err, tc.want)
		}
	}
}

// TestNoInventedValues looks at the cells that must be empty.
func TestNoInventedValues(t *testing.T) {
	set, err := analysis.Group(madeup.Run(madeup.Trials(3)))
	if err != nil {
		t.Fatal(err)
	}
	get := func(tab *Table, scenario, mechanism, head string) string {
		t.Helper()
		for _, row := range tab.Rows {
			if row[0] != scenario || row[1] != mechanism {
				continue
			}
			for i, h := range tab.Head {
				if h == head {
					return row[i]
				}
			}
		}
		t.Fatalf("no cell %s/%s/%s", scenario, mechanism, head)
		return ""
	}
	d, v := Detection(set), Violations(set)
	for _, tc := range []struct {
		tab                       *Table
		scenario, mechanism, head string
		want                      string
	}{
		{d, "spinlock-deadlock", "none", "outcome [95% CI]", none}, // no monitor: nothing missed
		{d, "spinlock-deadlock", "none", "T_D (ms)", none},
		{d, "spinlock-deadlock", "none", "progress", none},
		{d, "control-idle", "exec-step", "T_D (ms)", none},
		{d, "control-idle", "exec-step", "recovered", none},
		{d, "control-idle", "exec-step", "class", none},
		{d, "control-idle", "exec-altp2m", "n", "2"},
		{d, "control-idle", "exec-altp2m", "invalid", "1"},
		{d, "control-idle", "exec-altp2m", "outcome [95% CI]", "false alarm 0/2 [0%, 84%]"},
		{d, "control-busy", "exec-step", "class", "soft"},
		{d, "spinlock-deadlock", "exec-altp2m", "outcome [95% CI]", "detected 2/3 [9%, 99%]"},
		{v, "control-idle", "none", "events", none},
		{v, "control-idle", "none", "per event", none},
	} {
		if got := get(tc.tab, tc.scenario, tc.mechanism, tc.head); got != tc.want {
			t.Errorf("%s/%s %s is %q, want %q", tc.scenario, tc.mechanism, tc.head, got, tc.want)
		}
	}
	// The invalid trial's 41423 violations must not reach the median of 2.
	if got := get(v, "control-idle", "exec-altp2m", "resid."); got == "41423" || len(got) > 4 {
		t.Errorf("the invalid trial was averaged: residual %s", got)
	}
	if !strings.Contains(strings.Join(d.Notes, "\n"), "Misses are censored") {
		t.Error("a miss is not explained")
	}
}

func TestCSVReadsBack(t *testing.T) {
	var out bytes.Buffer
	if err := summary(&out, madeup.Trials(8), CSV); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&out).ReadAll() // refuses ragged rows
	if err != nil || len(rows) != 10 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, row := range rows[1:] {
		if row[0] != "lab" {
			t.Errorf("row of host %q", row[0])
		}
	}
}

func TestRaggedTable(t *testing.T) {
	bad := &Table{Title: "x", Head: []string{"a", "b"}, Numeric: []bool{false, true}, Rows: [][]string{{"1"}}}
	if err := bad.Write(&bytes.Buffer{}, Terminal); err == nil || !strings.Contains(err.Error(), "row 0 has 1 cells") {
		t.Errorf("ragged table: %v", err)
	}
}

func TestNumbers(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{whole(0), "0"}, {whole(41423), "41423"}, {whole(3.5), "3.5"}, {whole(1e15), "1000000000000000"},
		{fixed(1.0234), "1.023"}, {fixed(12.345), "12.35"}, {fixed(1076.84), "1076.8"},
		{spread(nil), none},
		{spread(stats.Summarize([]float64{0.5}, Level)), "0.500"},
		{spread(stats.Summarize([]float64{120, 130.25}, Level)), "125.1 [120.0..130.2]"},
		{spread(stats.Summarize([]float64{1, 2, 3, 4, 5, 6}, Level)), "3.500 [1.000, 6.000]"},
		{ratio(0, 0), none}, {ratio(1, 2), "1/2"},
		{rate(2, 2), "2/2 [16%, 100%]"},
	} {
		if tc.got != tc.want {
			t.Errorf("%q, want %q", tc.got, tc.want)
		}
	}
}

func TestParseFormat(t *testing.T) {
	for name, want := range map[string]Format{"text": Terminal, "md": Markdown, "csv": CSV} {
		if got, err := ParseFormat(name); err != nil || got != want {
			t.Errorf("ParseFormat(%q) = %v, %v", name, got, err)
		}
	}
	if _, err := ParseFormat("xml"); err == nil {
		t.Error("xml is a format")
	}
}

// summary writes the summary of trials.
func summary(w io.Writer, trials []results.Trial, f Format) error {
	set, err := analysis.Group(madeup.Run(trials))
	if err != nil {
		return err
	}
	return Summary(w, set, f)
}

// TestTablesGolden prints every table in every format.
func TestTablesGolden(t *testing.T) {
	set, err := analysis.Group(madeup.Run(madeup.Trials(8)))
	if err != nil {
		t.Fatal(err)
	}
	work, err := analysis.Group(madeup.Run(madeup.Workloads(8)))
	if err != nil {
		t.Fatal(err)
	}
	drawn, err := analysis.Group(madeup.Run(madeup.Campaign()))
	if err != nil {
		t.Fatal(err)
	}
	disturbed, err := analysis.Group(madeup.Run(onTwoGuests(madeup.Listened(8))))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range Kinds() {
		set := set
		switch {
		case strings.HasPrefix(k.Name, "overhead"):
			set = work
		case strings.HasPrefix(k.Name, "campaign"):
			set = drawn
		case k.Name == "disturbances":
			set = disturbed
		}
		tab, err := k.Make(set)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains([]string{"sweep", "back-outs", "baselines", "watchdogs"}, k.Name) {
			continue // in the summary; in tests of their own
		}
		for ext, f := range map[string]Format{"txt": Terminal, "md": Markdown, "tex": LaTeX} {
			var out bytes.Buffer
			if err := tab.Write(&out, f); err != nil {
				t.Fatal(err)
			}
			golden.Compare(t, k.Name+"."+ext, out.Bytes())
		}
		var out bytes.Buffer
		if err := tab.WriteCSV(&out, [2]string{"host", set.Host}); err != nil {
			t.Fatal(err)
		}
		golden.Compare(t, k.Name+".csv", out.Bytes())
		rows, err := csv.NewReader(&out).ReadAll() // refuses ragged rows
		if err != nil || len(rows) != len(tab.Rows)+1 || rows[1][0] != "lab" {
			t.Errorf("%s: %d rows of CSV for %d, %v", k.Name, len(rows), len(tab.Rows), err)
		}
	}
}

// TestTablesOfAnything: no set breaks a table, and none has a cell that is no
// number.
func TestTablesOfAnything(t *testing.T) {
	one := madeup.Trials(3)
	for i := range one {
		set, err := analysis.Group(madeup.Run(one[i : i+1]))
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range Kinds() {
			tab, err := k.Make(set)
			if err != nil {
				t.Fatalf("%s of trial %d: %v", k.Name, i, err)
			}
			for _, f := range []Format{Terminal, Markdown, CSV, LaTeX} {
				var out bytes.Buffer
				if err := tab.Write(&out, f); err != nil {
					t.Errorf("%s of trial %d: %v", k.Name, i, err)
				}
				for _, never := range []string{"NaN", "Inf", "%!"} {
					if strings.Contains(out.String(), never) {
						t.Errorf("%s of trial %d says %s:\n%s", k.Name, i, never, out.String())
					}
				}
			}
		}
	}
}

// TestLaTeXCompiles: every table is a document's, if there is a LaTeX here to say
// so; nothing sticks out of the line.
func TestLaTeXCompiles(t *testing.T) {
	latex, err := exec.LookPath("pdflatex")
	if err != nil {
		require.Missing(t, require.LaTeX, "no pdflatex in the search path")
	}
	var doc bytes.Buffer
	doc.WriteString("\\documentclass[twocolumn]{article}\n\\usepackage[T1]{fontenc}\n\\usepackage{booktabs,graphicx}\n" +
		"\\begin{document}\n")
	for _, trials := range [][]results.Trial{madeup.Trials(8), madeup.Trials(1), madeup.Sweep(2)} {
		set, err := analysis.Group(madeup.Run(trials))
		if err != nil {
			t.Fatal(err)
		}
		all, err := Usual(set)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range Kinds() {
			tab, err := k.Make(set)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, tab)
		}
		if err := WriteAll(&doc, set.Caption(), all, LaTeX); err != nil {
			t.Fatal(err)
		}
		doc.WriteString("\\clearpage\n")
	}
	doc.WriteString("\\end{document}\n")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tables.tex"), doc.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), latex, "-interaction=nonstopmode", "-halt-on-error", "tables.tex")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if bytes.Contains(out, []byte(".sty' not found")) {
		require.Missing(t, require.LaTeX, "this LaTeX has no booktabs or graphicx")
	}
	if err != nil {
		t.Fatalf("pdflatex: %v\n%s", err, out)
	}
	if bytes.Contains(out, []byte("Overfull")) {
		t.Errorf("a table is wider than its column:\n%s", out)
	}
}

func TestLaTeX(t *testing.T) {
	tab := New(`100% of {a_b} & $x^2$`, TextColumn("scenario", "s"), TextColumn("mechanism", "m"),
		NumberColumn("# [b]", "n"))
	tab.Add(Text(`a\b`), Text("<x>"), Int(1))
	tab.Add(Text(`a\b`), Text(""), Int(2))
	tab.Add(Text("c"), Text("~"), Int(3))
	var out bytes.Buffer
	if err := tab.Write(&out, LaTeX); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`\caption{100\% of \{a\_b\} \& \$x\textasciicircum{}2\$}`, `\begin{tabular}{llr}`,
		`scenario & mechanism & \# {[}b{]} \\`,
		`a\textbackslash{}b & \textless{}x\textgreater{} & 1 \\`, "\n & -- & 2 \\\\\n\\addlinespace\nc & " +
			"\\textasciitilde{} & 3",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}

// TestCSVRagged: a row with a value missing is refused.
func TestCSVRagged(t *testing.T) {
	tab := New("x", TextColumn("a", "a"), IntervalColumn("b", "b"))
	tab.Add(Text("1"), Cell{"2", []string{"2"}})
	if err := tab.WriteCSV(&bytes.Buffer{}); err == nil || !strings.Contains(err.Error(),
		"row 0 has 2 values, the head has 4") {
		t.Errorf("ragged values: %v", err)
	}
}
