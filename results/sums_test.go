package results

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// storedRun is the folder of a run of three trials, two of which are stored.
func storedRun(t *testing.T) string {
	t.Helper()
	s, err := Create(memoryDir(t), testManifest(3))
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, 0, 1)
	if err := s.Close(testEnd); err != nil {
		t.Fatal(err)
	}
	return s.Dir()
}

// eachFlip flips every third bit of the file at path, one at a time, and calls each with the
// number of the byte. The file is whole again at the end.
func eachFlip(t *testing.T, path string, each func(at int)) {
	t.Helper()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 8*len(whole); i += 3 {
		harmed := bytes.Clone(whole)
		harmed[i/8] ^= 1 << (i % 8)
		if err := os.WriteFile(path, harmed, 0o644); err != nil {
			t.Fatal(err)
		}
		each(i / 8)
		if t.Failed() {
			t.Fatalf("bit %d of byte %d of %s", i%8, i/8, filepath.Base(path))
		}
	}
	if err := os.WriteFile(path, whole, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestFlippedRecords: no flipped bit of the records passes for a record. The plan tells a
// record that became one of a trial which is not stored.
func TestFlippedRecords(t *testing.T) {
	t.Parallel()
	dir := storedRun(t)
	last := len(testLine(t, 0)) + len(testLine(t, 1)) - 1
	eachFlip(t, filepath.Join(dir, TrialsFile), func(at int) {
		run, err := ReadRun(dir, testPlan(3))
		if err != nil {
			t.Fatal(err)
		}
		if at == last { // the newline of the last record: the record itself is whole, or has a byte more
			return
		}
		if len(run.Bad) == 0 {
			t.Error("no record is bad")
		}
		for i := range run.Trials {
			if tr := &run.Trials[i]; tr.WindowNS != testTrial(tr.Trial).WindowNS {
				t.Errorf("trial %d has another window", tr.Trial)
			}
		}
	})
}

// TestFlippedSums: a damaged checksum costs no record.
func TestFlippedSums(t *testing.T) {
	t.Parallel()
	dir := storedRun(t)
	sums := filepath.Join(dir, SumsFile)
	size := 0
	if data, err := os.ReadFile(sums); err == nil {
		size = len(data)
	}
	eachFlip(t, sums, func(at int) {
		run, err := ReadRun(dir, nil)
		if err != nil || len(run.Bad) > 0 || len(run.Trials) != 2 {
			t.Errorf("%d trials, bad %v, %v", len(run.Trials), run.Bad, err)
		}
		if len(run.Notes) == 0 && at < size-len(sumLine(1, 0)) {
			t.Error("no word of it")
		}
	})
}

// TestFlippedManifest: no flipped bit of a manifest passes, but in the name of the
// checksum itself: a manifest without one is of an earlier program.
func TestFlippedManifest(t *testing.T) {
	t.Parallel()
	dir := storedRun(t)
	path := filepath.Join(dir, ManifestFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	name := bytes.Index(whole, []byte(`"crc32c"`))
	eachFlip(t, path, func(at int) {
		if _, err := ReadRun(dir, nil); err == nil && (at < name || at >= name+len(`"crc32c"`)) {
			t.Error("the manifest is taken")
		}
	})
	if _, err := ReadRun(dir, nil); err != nil {
		t.Error(err)
	}
	other := bytes.Replace(whole, []byte(`"seed": 1,`), []byte(`"seed": 2,`), 1)
	if err := os.WriteFile(path, other, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadRun(dir, nil); err == nil || !strings.Contains(err.Error(), `set its "crc32c" to ""`) {
		t.Errorf("another seed: %v", err)
	}
}

// TestRecordWithoutSum: a kill between a record and its checksum loses nothing. Resuming
// the run writes the checksum, as it does for all records of a run that has none.
func TestRecordWithoutSum(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		keep func(sums []byte) []byte // nil: the file is removed
	}{
		{"no file", nil},
		{"empty", func([]byte) []byte { return []byte{} }},
		{"the last is missing", func(sums []byte) []byte { return sums[:len(sumLine(0, 0))] }},
		{"the last is cut short", func(sums []byte) []byte { return sums[:len(sums)-3] }},
		{"zeros after a power cut", func(sums []byte) []byte { return append(sums[:len(sumLine(0, 0))], 0, 0, 0, 0) }},
	} {
		dir := storedRun(t)
		path := filepath.Join(dir, SumsFile)
		sums, err := os.ReadFile(path)
		if err == nil && tc.keep == nil {
			err = os.Remove(path)
		} else if err == nil {
			err = os.WriteFile(path, tc.keep(sums), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		run, err := ReadRun(dir, nil)
		if err != nil || len(run.Trials) != 2 || len(run.Bad)+len(run.Notes) > 0 {
			t.Errorf("%s: %d trials, bad %v, notes %v, %v", tc.name, len(run.Trials), run.Bad, run.Notes, err)
		}
		resumeAndFinish(t, dir)
		checkFinished(t, dir, 3)
	}
}

// TestResumeOtherSum: a record that does not match its checksum is run anew, and kept
// beside.
func TestResumeOtherSum(t *testing.T) {
	t.Parallel()
	dir := storedRun(t)
	path := filepath.Join(dir, TrialsFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	harmed := bytes.Replace(whole, []byte(`"window_ns":1200000001`), []byte(`"window_ns":1200000003`), 1)
	if bytes.Equal(harmed, whole) {
		t.Fatal("nothing was changed")
	}
	if err := os.WriteFile(path, harmed, 0o644); err != nil {
		t.Fatal(err)
	}
	s := resumeAndFinish(t, dir)
	w := s.Manifest().Warnings
	if len(w) != 1 || !strings.Contains(w[0], "trials.jsonl:2: trial 1: the record does not match") {
		t.Errorf("warnings %q", w)
	}
	checkFinished(t, dir, 3)
	if kept, err := os.ReadFile(path + ".damaged"); err != nil || !bytes.Equal(kept, harmed) {
		t.Errorf("the damaged file was not kept (%v)", err)
	}
}

// TestNoFile: what is no regular file is not read, which could take for ever.
func TestNoFile(t *testing.T) {
	t.Parallel()
	for _, name := range []string{ManifestFile, TrialsFile, SumsFile} {
		dir := storedRun(t)
		path := filepath.Join(dir, name)
		if err := errors.Join(os.Remove(path), os.Symlink("/dev/zero", path)); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadRun(dir, nil); err == nil || !strings.Contains(err.Error(), name+" is no regular file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestManyDamagedSums: a file of nothing but damage is not kept in memory.
func TestManyDamagedSums(t *testing.T) {
	t.Parallel()
	lines := bytes.Repeat([]byte("x\n"), mostBad+1)
	sums, damaged, err := scanSums(bytes.NewReader(append(lines, sumLine(3, 7)...)), 3)
	if err != nil || len(sums) != 0 || len(damaged) != mostBad {
		t.Errorf("%d sums, %d damaged, %v", len(sums), len(damaged), err)
	}
}

// TestFolderOfRuns: a folder of runs names them.
func TestFolderOfRuns(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a[1]*")
	for _, id := range []string{"b-1", "a-1"} {
		m := testManifest(1)
		m.RunID = id
		s, err := Create(dir, m)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(testEnd); err != nil {
			t.Fatal(err)
		}
	}
	want := dir + " is a folder of runs and not a run: give one of " + filepath.Join(dir, "a-1") + ", " +
		filepath.Join(dir, "b-1")
	if _, err := ReadRun(dir, nil); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
	if _, err := ReadRun("", nil); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("no name: %v", err)
	}
}

// FuzzSums: a file of checksums never costs a record more than its own line, and lines
// that the store writes are read.
func FuzzSums(f *testing.F) {
	f.Add([]byte(nil), 0, uint32(0))
	f.Add(sumLine(7, 0xdeadbeef), 7, uint32(1))
	f.Add([]byte("1 00000000\n-1 0 0\n\x00\x00"), 1<<40, uint32(1<<31))
	f.Fuzz(func(t *testing.T, before []byte, trial int, sum uint32) {
		if trial < 0 || trial == math.MaxInt {
			t.Skip()
		}
		file := append(bytes.TrimSuffix(before, []byte("\n")), '\n')
		file = append(file, sumLine(trial, sum)...)
		sums, damaged, err := scanSums(bytes.NewReader(file), math.MaxInt)
		if err != nil || sums[trial] != sum {
			t.Fatalf("sums %v, %v", sums, err)
		}
		if n := bytes.Count(file, []byte("\n")); len(sums)+len(damaged) > n {
			t.Errorf("%d sums and %d damaged of %d lines", len(sums), len(damaged), n)
		}
		for trial := range sums {
			if trial < 0 {
				t.Errorf("a checksum of trial %d", trial)
			}
		}
		again, damaged, err := scanSums(bytes.NewReader(sumsOf(sums)), math.MaxInt)
		if err != nil || len(damaged) > 0 || len(again) != len(sums) {
			t.Errorf("%v, %v, %v", again, damaged, err)
		}
	})
}
