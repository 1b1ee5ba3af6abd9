package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"hangbench/bench/exit"
	"hangbench/bench/plan"
	"hangbench/results"
)

// TestReferencePlans: the records of every committed run are those of its plan, which this
// version still makes of its manifest. A run of an earlier plan would be read without the
// comparison.
func TestReferencePlans(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join("..", "..", "results", "reference", "*", results.ManifestFile))
	if err != nil || len(paths) < 5 {
		t.Fatalf("%d reference runs, %v", len(paths), err)
	}
	for _, path := range paths {
		run, err := results.ReadRun(filepath.Dir(path), planner())
		if err != nil {
			t.Error(err)
			continue
		}
		for _, err := range append(run.Bad, run.Notes...) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// finished makes a made-up run of all trials of its plan.
func finished(t *testing.T) string {
	t.Helper()
	store := newRun(t)
	for _, p := range madeUpPlan() {
		if err := store.Append(madeUpRecord(p), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(madeUpStart); err != nil {
		t.Fatal(err)
	}
	return store.Dir()
}

// edit changes the text of a file of a run. The checksums go: what is left to find the
// damage are the values and the plan.
func edit(t *testing.T, dir, file, old, new string) {
	t.Helper()
	path := filepath.Join(dir, file)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	harmed := bytes.Replace(text, []byte(old), []byte(new), 1)
	if bytes.Equal(harmed, text) {
		t.Fatalf("no %q in %s", old, file)
	}
	if err := os.WriteFile(path, harmed, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "trials.sum")); err != nil {
		t.Fatal(err)
	}
}

// uncheck takes the checksum out of a manifest, as its message says.
func uncheck(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, results.ManifestFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`"crc32c": "[0-9a-f]{8}"`).ReplaceAll(text, []byte(`"crc32c": ""`))
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestResumeWhole: resuming a run that is complete says so. It prepares no host and
// changes nothing.
func TestResumeWhole(t *testing.T) {
	t.Parallel()
	dir := finished(t)
	before := contents(t, dir)
	status, out, errs := hangbench(t, "resume", dir)
	want := dir + " is complete: all of its 8 trials are stored. There is nothing to resume.\n"
	if status != exit.Done || out != want || errs != "" {
		t.Errorf("status %d\n%s\n%s", status, out, errs)
	}
	if after := contents(t, dir); after != before {
		t.Errorf("the run was changed:\n%s\nwas\n%s", after, before)
	}
}

// TestResumeKilledAtEnd: a run that was killed after its last trial gets the end that it
// lacks, and no host for it.
func TestResumeKilledAtEnd(t *testing.T) {
	t.Parallel()
	dir := finished(t)
	uncheck(t, dir)
	path := filepath.Join(dir, results.ManifestFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte(`"interrupted": false`), []byte(`"interrupted": true`), 1)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	status, out, errs := hangbench(t, "resume", dir, "--json")
	if status != exit.Done || errs != "" || !strings.Contains(out, `"interrupted": false`) {
		t.Errorf("status %d\n%s\n%s", status, out, errs)
	}
	for _, name := range []string{"report.html", "overview.png"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	run, err := results.ReadRun(dir, planner())
	if err != nil || run.Manifest.Interrupted || run.Manifest.Ended.IsZero() {
		t.Errorf("%+v, %v", run.Manifest, err)
	}
}

// contents is the text of all files in a folder, with their names.
func contents(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(e.Name() + "\n")
		b.Write(text)
	}
	return b.String()
}

// TestDamaged: damage that leaves a record valid JSON is named by every command that
// reads runs, and a run of which nothing is left says why.
func TestDamaged(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		harm   func(t *testing.T, dir string)
		status int
		says   string // on stderr
	}{
		{"a possible value, with its checksum", func(t *testing.T, dir string) {
			sums, err := os.ReadFile(filepath.Join(dir, "trials.sum"))
			if err != nil {
				t.Fatal(err)
			}
			edit(t, dir, results.TrialsFile, `"permission":100,"lazy":10`, `"permission":101,"lazy":9`)
			if err := os.WriteFile(filepath.Join(dir, "trials.sum"), sums, 0o644); err != nil {
				t.Fatal(err)
			}
		}, exit.Done, "trials.jsonl:1: trial 0: the record does not match its checksum in trials.sum"},
		{"an impossible value", func(t *testing.T, dir string) {
			edit(t, dir, results.TrialsFile, `"vcpus":1`, `"vcpus":-5`)
		}, exit.Done, "trials.jsonl:1: trial 0: vcpus -5 is not within 1 to 8"},
		{"not of the plan", func(t *testing.T, dir string) {
			edit(t, dir, results.TrialsFile, `"memory_mib":160`, `"memory_mib":161`)
		}, exit.Done, "trials.jsonl:1: trial 0: memory_mib is 161, the plan says 160"},
		{"a class that there is not", func(t *testing.T, dir string) {
			edit(t, dir, results.TrialsFile, `"class":"spin"`, `"class":"zz"`)
		}, exit.Done, `class "zz" is none of ["panic" `},
		{"another seed", func(t *testing.T, dir string) {
			edit(t, dir, results.ManifestFile, `"seed": 1,`, `"seed": 2,`)
		}, exit.Usage, "the manifest does not match its checksum"},
		{"another suite text", func(t *testing.T, dir string) {
			edit(t, dir, results.ManifestFile, `repetitions: 2`, `repetitions: 3`)
			uncheck(t, dir)
		}, exit.Usage, "the suite's text has the SHA-256"},
		{"another suite name", func(t *testing.T, dir string) {
			edit(t, dir, results.ManifestFile, `"name": "made-up"`, `"name": "made-in"`)
			uncheck(t, dir)
		}, exit.Usage, `manifest.json names the suite "made-in", whose text names it "made-up"`},
		{"another seed of an older run", func(t *testing.T, dir string) {
			edit(t, dir, results.ManifestFile, `"seed": 1,`, `"seed": 2,`)
			uncheck(t, dir)
		}, exit.Done, "cannot be compared with the plan of the run: this version makes another plan"},
		{"all of a later version", func(t *testing.T, dir string) {
			for range madeUpPlan() {
				edit(t, dir, results.TrialsFile, `{"schema":1`, `{"schema":2`)
			}
		}, exit.Usage, "all 8 records are of another version of hangbench: trials.jsonl:1: unknown schema 2, this program " +
			"reads 1"},
		{"all damaged", func(t *testing.T, dir string) {
			for range madeUpPlan() {
				edit(t, dir, results.TrialsFile, `"memory_mib":160`, `"memory_mib":7`)
			}
		}, exit.Usage, "none of its 8 records can be used"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := finished(t)
			tc.harm(t, dir)
			for _, args := range [][]string{{"report", dir, "--tables", "claims"}, {"export", dir}} {
				if status, _, errs := hangbench(t, args...); status != tc.status || !strings.Contains(errs, tc.says) {
					t.Errorf("%q: status %d, want %d with %q:\n%s", args, status, tc.status, tc.says, errs)
				}
			}
		})
	}
}

// TestOtherTrial: a host that returns the record of another trial fails.
func TestOtherTrial(t *testing.T) {
	t.Parallel()
	trials := madeUpPlan()
	status, _, stderr := work(t, t.Context(), newRun(t), true,
		func(ctx context.Context, p plan.Trial) (results.Trial, error) {
			rec := madeUpRecord(trials[(p.Index+1)%len(trials)])
			return rec, nil
		})
	if status != exit.Broken || !strings.Contains(stderr, "the host returned the record of another trial") {
		t.Errorf("status %d:\n%s", status, stderr)
	}
}
