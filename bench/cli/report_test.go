package cli

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hangbench/bench/exit"
	"hangbench/bench/plan"
	"hangbench/results"
	"hangbench/scenarios/suites"
)

// madeUp names runs whose numbers are invented, so that none can pass for a
// measurement.
const madeUp = "made-up"

const madeUpSuite = `name: made-up
scenarios: [spinlock-deadlock, control-idle]
mechanisms: [none, exec-step]
guests:
  - {kernel: cloud-6.12, vcpus: 1, memory_mib: 160}
repetitions: 2
`

func madeUpPlan(t *testing.T) []plan.Trial {
	t.Helper()
	s, err := suites.Parse(madeUp+".yaml", []byte(madeUpSuite), vocabulary())
	if err != nil {
		t.Fatal(err)
	}
	return plan.Expand(s, 1)
}

// madeUpRecord is a believable record of the trial, the same at each call.
func madeUpRecord(p plan.Trial) results.Trial {
	rec := results.Trial{
		Schema: results.Schema, Suite: p.Suite, Trial: p.Index, Block: p.Block, Scenario: p.Scenario, Mechanism: p.Mechanism,
		Driver: p.Driver, Host: "lab", GuestKernel: "6.12-test", VCPUs: 1, MemoryMiB: 160, Seed: p.Seed,
		Outcome: results.Clean, WindowNS: 5e9 + int64(p.Index),
		Guest: results.Guest{BeatsBefore: 10, BeatsDuring: 9, BeatsAfter: 2},
	}
	if p.Mechanism != "none" {
		rec.EPT = results.EPT{Total: 110, Permission: 100, Lazy: 10}
		rec.Events = results.Events{Delivered: 100, Steps: 300}
		rec.Guest.ProgressRatio = new(0.9)
	}
	if p.Scenario == "spinlock-deadlock" {
		hang, recovered := int64(3e6), true
		rec.Expected, rec.DeadlineNS, rec.HangNS, rec.Recovered = "spin", 8e9, &hang, &recovered
		rec.Outcome = results.Missed
		if p.Mechanism != "none" {
			detect := int64(612e6) + int64(p.Index)
			rec.Outcome, rec.Class, rec.Scope, rec.DetectNS = results.Detected, "spin", "full", &detect
			rec.Evidence = []string{"vCPU 0: made up"}
		}
	}
	return rec
}

func createRun(t *testing.T, kind string) *results.Store {
	t.Helper()
	started := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	store, err := results.Create(t.TempDir(), results.Manifest{
		RunID: results.RunID(madeUp, 1, started), Suite: results.NewSuiteInfo(madeUp, []byte(madeUpSuite)), Seed: 1,
		Planned: len(madeUpPlan(t)), Host: results.HostInfo{Kind: kind, Description: "made up"}, Started: started,
		Versions: results.Versions{Hangbench: "test", Go: "go", Packages: map[string]string{"lab": "0123456789abcdef"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// madeUpRun makes a run with the first n of its eight trials and returns its
// folder.
func madeUpRun(t *testing.T, n int) string {
	t.Helper()
	store := createRun(t, "lab")
	for _, p := range madeUpPlan(t)[:n] {
		if err := store.Append(madeUpRecord(p), time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(time.Date(2026, 1, 2, 3, 5, 5, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	return store.Dir()
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestReport(t *testing.T) {
	dir := madeUpRun(t, 8)
	status, stdout, stderr := hangbench(t, "report", dir)
	if status != exit.Done || stderr != "" {
		t.Fatalf("status %d, stderr %q", status, stderr)
	}
	for _, want := range []string{"spinlock-deadlock", "control-idle", "exec-step", "lab", "612", "0.9"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the tables lack %q:\n%s", want, stdout)
		}
	}
	// The last line names the files that are there.
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	last, ok := strings.CutPrefix(lines[len(lines)-1], dir+": ")
	if !ok {
		t.Fatalf("the last line is %q", lines[len(lines)-1])
	}
	told := strings.Split(last, ", ")
	slices.Sort(told)
	if found := names(t, dir); !slices.Equal(told, found) {
		t.Errorf("files told: %q, files there: %q", told, found)
	}
	for _, name := range told {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Size() == 0 {
			t.Errorf("%s: empty or gone (%v)", name, err)
		}
	}
	page, err := os.ReadFile(filepath.Join(dir, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "spinlock-deadlock") {
		t.Error("the report does not name its scenario")
	}

	// Once more gives the same.
	if _, again, _ := hangbench(t, "report", dir); again != stdout {
		t.Errorf("the second report differs:\n%s\nfrom\n%s", again, stdout)
	}
}

// TestReportFormats: tables for other programs leave the folder alone.
func TestReportFormats(t *testing.T) {
	dir := madeUpRun(t, 8)
	before := names(t, dir)
	_, md, _ := hangbench(t, "report", dir, "--format", "md")
	if !strings.Contains(md, "### ") || !strings.Contains(md, "|") {
		t.Errorf("this is not Markdown:\n%s", md)
	}
	status, text, stderr := hangbench(t, "report", "--format=csv", dir)
	r := csv.NewReader(strings.NewReader(text))
	rows, err := r.ReadAll()
	if status != exit.Done || stderr != "" || err != nil || len(rows) < 2 {
		t.Errorf("status %d, stderr %q, %d rows (%v):\n%s", status, stderr, len(rows), err, text)
	}
	if after := names(t, dir); !slices.Equal(before, after) {
		t.Errorf("files were %q and are %q", before, after)
	}
}

// TestReportDamaged: a record that cannot be believed is named and left out.
func TestReportDamaged(t *testing.T) {
	dir := madeUpRun(t, 8)
	path := filepath.Join(dir, results.TrialsFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	lines[2] = lines[2][:40] + "\n"
	writeFile(t, path, strings.Join(lines, ""))
	status, stdout, stderr := hangbench(t, "report", dir)
	if status != exit.Done || !strings.HasPrefix(stderr, "hangbench: warning: trials.jsonl:3: ") || !strings.HasSuffix(stderr, "; left out\n") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
	if !strings.Contains(stdout, "1 of 8 trials are missing.") {
		t.Errorf("stdout does not say what is missing:\n%s", stdout)
	}
	// Reading changes nothing: the damage is still there to be looked at.
	if now, err := os.ReadFile(path); err != nil || string(now) != strings.Join(lines, "") {
		t.Errorf("the records were changed (%v)", err)
	}
}

func TestReportUnfinished(t *testing.T) {
	status, stdout, _ := hangbench(t, "report", madeUpRun(t, 5))
	if status != exit.Done || !strings.Contains(stdout, "3 of 8 trials are missing.") {
		t.Errorf("five of eight: status %d, stdout\n%s", status, stdout)
	}
	dir := madeUpRun(t, 0)
	status, stdout, stderr := hangbench(t, "report", dir)
	if status != exit.Usage || stdout != "" || !strings.Contains(stderr, dir+" has no trials yet") {
		t.Errorf("none of eight: status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
}

func TestReportTables(t *testing.T) {
	dir := madeUpRun(t, 8)
	before := names(t, dir)
	_, all, stderr := hangbench(t, "report", dir, "--tables", "all")
	for _, want := range []string{"Detection\n", "Coverage", "censored", "by class", "Cost of events", "quality of service"} {
		if !strings.Contains(all, want) {
			t.Errorf("all tables lack %q (%s):\n%s", want, stderr, all)
		}
	}
	if _, latex, _ := hangbench(t, "report", dir, "--tables", "qos,events", "--format", "latex"); strings.Count(latex, `\begin{table}`) != 2 || !strings.HasPrefix(latex, "% host: lab") {
		t.Errorf("two tables for LaTeX:\n%s", latex)
	}
	_, text, _ := hangbench(t, "report", dir, "--tables", "latency", "--format", "csv")
	if rows, err := csv.NewReader(strings.NewReader(text)).ReadAll(); err != nil || len(rows) != 2 || rows[0][0] != "host" || rows[1][0] != "lab" {
		t.Errorf("%q, %v", rows, err)
	}
	for _, bad := range [][]string{{"--tables", "speed"}, {"--tables", "all", "--format", "csv"}} {
		if status, stdout, _ := hangbench(t, append([]string{"report", dir}, bad...)...); status != exit.Usage || stdout != "" {
			t.Errorf("%q: status %d, stdout %q", bad, status, stdout)
		}
	}
	if after := names(t, dir); !slices.Equal(before, after) {
		t.Errorf("files were %q and are %q", before, after)
	}
}
