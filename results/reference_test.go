package results

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the sums of the reference runs anew, after they were made anew")

// TestReferenceSums: the committed reference runs are the bytes that were committed.
func TestReferenceSums(t *testing.T) {
	t.Parallel()
	var now strings.Builder
	for _, pattern := range []string{ManifestFile, TrialsFile, "stream.jsonl"} {
		paths, err := filepath.Glob(filepath.Join("reference", "*", pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("no %s among the reference runs: %v", pattern, err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&now, "%x  %s\n", sha256.Sum256(data), filepath.ToSlash(path))
		}
	}
	golden := filepath.Join("testdata", "reference.sha256")
	if *update {
		if err := os.WriteFile(golden, []byte(now.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if now.String() != string(want) {
		t.Errorf("the reference runs changed on disk (go test -update after make reference):\n%s\nwant\n%s",
			now.String(), want)
	}
}

// TestReferenceChecksums: every committed record has its checksum, also those of a program
// that wrote none. With -update the checksums are written anew.
func TestReferenceChecksums(t *testing.T) {
	t.Parallel()
	runs, err := filepath.Glob(filepath.Join("reference", "*", TrialsFile))
	if err != nil || len(runs) < 5 {
		t.Fatalf("%d reference runs, %v", len(runs), err)
	}
	for _, path := range runs {
		records, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sums := make(map[int]uint32)
		for i, line := range bytes.Split(bytes.TrimSuffix(records, []byte("\n")), []byte("\n")) {
			sums[i] = castagnoli(line)
		}
		file := filepath.Join(filepath.Dir(path), SumsFile)
		if *update {
			if err := os.WriteFile(file, sumsOf(sums), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if is, err := os.ReadFile(file); err != nil || !bytes.Equal(is, sumsOf(sums)) {
			t.Errorf("%s does not have the checksums of its records: %v", file, err)
		}
	}
}

// TestReferenceValues: every value that a committed record has on disk is in the record
// as it is read, whatever program wrote it. Its cell is complete.
func TestReferenceValues(t *testing.T) {
	t.Parallel()
	dirs, err := filepath.Glob(filepath.Join("reference", "*", ManifestFile))
	if err != nil || len(dirs) < 5 {
		t.Fatalf("%d reference runs, %v", len(dirs), err)
	}
	for _, path := range dirs {
		dir := filepath.Dir(path)
		run, err := ReadRun(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(run.Bad) > 0 || run.Missing() != 0 {
			t.Errorf("%s: %d bad lines, %d trials missing", dir, len(run.Bad), run.Missing())
		}
		data, err := os.ReadFile(filepath.Join(dir, TrialsFile))
		if err != nil {
			t.Fatal(err)
		}
		lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
		if len(lines) != len(run.Trials) {
			t.Fatalf("%s: %d records of %d lines", dir, len(run.Trials), len(lines))
		}
		for i := range run.Trials {
			tr := &run.Trials[i]
			again, err := json.Marshal(tr)
			if err != nil {
				t.Fatal(err)
			}
			old, now := decode(t, lines[i]), decode(t, again)
			if b, ok := old["baselines"].(map[string]any); ok {
				if n := len(b["detectors"].([]any)); n != len(tr.Findings) || tr.Watchdogs != b["setting"] {
					t.Errorf("%s, trial %d: %d findings of %d detectors, watchdogs %q", dir, i, len(tr.Findings), n, tr.Watchdogs)
				}
				delete(old, "baselines")
			}
			for key, want := range old {
				if !reflect.DeepEqual(now[key], want) {
					t.Errorf("%s, trial %d: %s is %v, on disk %v", dir, i, key, now[key], want)
				}
			}
			if tr.Kernel == "" || tr.Kind == "" || run.Manifest.Arms[tr.Mechanism] == (ArmInfo{}) && tr.Mechanism != Unwatched &&
				tr.Mechanism != "poll" && tr.Mechanism != "cr3" {
				t.Errorf("%s, trial %d: cell %+v, arm %+v", dir, i, tr.Cell, run.Manifest.Arms[tr.Mechanism])
			}
		}
	}
}

func decode(t *testing.T, line []byte) map[string]any {
	t.Helper()
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		t.Fatal(err)
	}
	return m
}
