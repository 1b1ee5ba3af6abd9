package cli

import (
	"bytes"
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/perf/benchfmt"

	"hangbench/bench/exit"
	"hangbench/results"
)

// changedRun is a whole made-up run whose records were changed.
func changedRun(t *testing.T, change func(*results.Trial)) string {
	t.Helper()
	store := createRun(t, "lab")
	for _, p := range madeUpPlan(t) {
		rec := madeUpRecord(p)
		change(&rec)
		if err := store.Append(rec, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(time.Date(2026, 1, 2, 3, 5, 5, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	return store.Dir()
}

func oneMorePerEvent(t *results.Trial) {
	t.EPT.Lazy += t.Events.Delivered
	t.EPT.Total += t.Events.Delivered
}

func TestCompareSilent(t *testing.T) {
	status, stdout, stderr := hangbench(t, "compare", madeUpRun(t, 8), madeUpRun(t, 8))
	if status != exit.Done || stderr != "" || !strings.Contains(stdout, "0 regressions beyond the tolerance") || strings.Contains(stdout, "scenario") {
		t.Errorf("status %d, stderr %q, stdout\n%s", status, stderr, stdout)
	}
	if _, all, _ := hangbench(t, "compare", "--all", madeUpRun(t, 8), madeUpRun(t, 8)); !strings.Contains(all, "ept_per_event") {
		t.Errorf("--all does not show all metrics:\n%s", all)
	}
}

func TestCompareRegression(t *testing.T) {
	old, next := madeUpRun(t, 8), changedRun(t, oneMorePerEvent)
	for _, tc := range []struct {
		args []string
		want int
	}{
		{nil, exit.Failed},
		{[]string{"--fail-on", "ept_per_event"}, exit.Failed},
		{[]string{"--fail-on", "ept_per_event:50%,detected"}, exit.Failed},
		{[]string{"--fail-on", "ept_per_event:200%"}, exit.Done},
		{[]string{"--tolerance", "1000%"}, exit.Done},
		{[]string{"--fail-on", "detect_ms,false_alarm"}, exit.Done},
		{[]string{"--fail-on", "none"}, exit.Done},
	} {
		status, stdout, stderr := hangbench(t, append(append([]string{"compare"}, tc.args...), old, next)...)
		if status != tc.want || stderr != "" {
			t.Errorf("%q: status %d, want %d; stderr %q, stdout\n%s", tc.args, status, tc.want, stderr, stdout)
		}
		if (tc.want == exit.Failed) != strings.Contains(stdout, " WORSE ") {
			t.Errorf("%q: stdout\n%s", tc.args, stdout)
		}
	}
	if status, stdout, _ := hangbench(t, "compare", next, old); status != exit.Done || !strings.Contains(stdout, "better") {
		t.Errorf("the other way round: status %d, stdout\n%s", status, stdout)
	}
	for format, want := range map[string]string{"md": "| WORSE", "latex": `\bottomrule`} {
		if _, stdout, _ := hangbench(t, "compare", "--format", format, old, next); !strings.Contains(stdout, want) {
			t.Errorf("%s lacks %q:\n%s", format, want, stdout)
		}
	}
	_, stdout, _ := hangbench(t, "compare", "--format", "csv", old, next)
	rows, err := csv.NewReader(strings.NewReader(stdout)).ReadAll()
	if err != nil || len(rows) < 20 {
		t.Errorf("%d rows of CSV, %v:\n%s", len(rows), err, stdout)
	}
}

func TestCompareUsage(t *testing.T) {
	old := madeUpRun(t, 8)
	xen := createRun(t, "xen")
	for _, p := range madeUpPlan(t) {
		rec := madeUpRecord(p)
		rec.Host = "xen"
		if err := xen.Append(rec, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if err := xen.Close(time.Date(2026, 1, 2, 3, 5, 5, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	kernel := changedRun(t, func(t *results.Trial) { t.GuestKernel = "6.1-test" })
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{old}, "1 arguments"},
		{[]string{old, filepath.Join(old, "none")}, "manifest.json"},
		{[]string{old, madeUpRun(t, 0)}, "no trials yet"},
		{[]string{old, old, "--fail-on", "speed"}, `no metric "speed"`},
		{[]string{old, old, "--tolerance", "3"}, "no percentage"},
		{[]string{old, old, "--mix", "seeds"}, "--mix seeds"},
		{[]string{old, old, "--format", "xml"}, `"xml" is unknown`},
		{[]string{old, xen.Dir()}, "--mix hosts"},
		{[]string{old, kernel}, "--mix kernels"},
		{[]string{old, kernel, "--mix", "hosts,suites"}, "--mix kernels"},
	} {
		status, stdout, stderr := hangbench(t, append([]string{"compare"}, tc.args...)...)
		if status != exit.Usage || stdout != "" || !strings.Contains(stderr, tc.want) {
			t.Errorf("%q: status %d, stdout %q, stderr %q", tc.args, status, stdout, stderr)
		}
	}
	status, _, stderr := hangbench(t, "compare", "--mix", "hosts", old, xen.Dir())
	if status != exit.Done || !strings.Contains(stderr, "warning: the hosts differ") {
		t.Errorf("hosts mixed on purpose: status %d, stderr %q", status, stderr)
	}
	if status, _, stderr := hangbench(t, "compare", "--mix", "kernels", old, kernel); status != exit.Done || !strings.Contains(stderr, "warning: the kernels differ") {
		t.Errorf("kernels mixed on purpose: status %d, stderr %q", status, stderr)
	}
	// Several boots a side.
	if status, stdout, _ := hangbench(t, "compare", old+","+madeUpRun(t, 8), madeUpRun(t, 8)); status != exit.Done || !strings.Contains(stdout, "0 regressions") {
		t.Errorf("boots: status %d, stdout\n%s", status, stdout)
	}
}

// TestDamagedCounted: each damaged record is named by its line, up to a point,
// and all are counted.
func TestDamagedCounted(t *testing.T) {
	dir := madeUpRun(t, 8)
	path := filepath.Join(dir, results.TrialsFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	damaged := lines[0] + lines[1][:50] + "\n" + strings.Repeat("{}\n", 30) + strings.Join(lines[2:7], "") + lines[7][:20]
	writeFile(t, path, damaged)
	for _, command := range []string{"report", "export"} {
		status, _, stderr := hangbench(t, command, dir)
		if status != exit.Done {
			t.Errorf("%s: status %d", command, status)
		}
		for _, want := range []string{"trials.jsonl:2: ", "trials.jsonl:21: ", "12 more records left out", "32 records of " + dir} {
			if !strings.Contains(stderr, want) {
				t.Errorf("%s: stderr lacks %q:\n%s", command, want, stderr)
			}
		}
		if strings.Contains(stderr, "trials.jsonl:22: ") {
			t.Errorf("%s names all damaged records:\n%s", command, stderr)
		}
	}
}

func TestExport(t *testing.T) {
	status, stdout, stderr := hangbench(t, "export", madeUpRun(t, 8))
	if status != exit.Done || stderr != "" {
		t.Fatalf("status %d, stderr %q", status, stderr)
	}
	n := 0
	for r := benchfmt.NewReader(bytes.NewReader([]byte(stdout)), "export"); r.Scan(); {
		switch rec := r.Result().(type) {
		case *benchfmt.Result:
			n++
		case *benchfmt.SyntaxError:
			t.Error(rec)
		}
	}
	if n != 8 {
		t.Errorf("%d results of 8 trials:\n%s", n, stdout)
	}
	if status, _, stderr := hangbench(t, "export", madeUpRun(t, 0)); status != exit.Usage || !strings.Contains(stderr, "no trials yet") {
		t.Errorf("no trials: status %d, stderr %q", status, stderr)
	}
}
