package results

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var testEnd = time.Date(2026, 1, 2, 4, 0, 0, 0, time.UTC)

// wantFile is the trials file of a finished run of n test trials.
func wantFile(tb testing.TB, n int) []byte {
	var b bytes.Buffer
	for i := range n {
		b.Write(testLine(tb, i))
	}
	return b.Bytes()
}

func mustCreate(t *testing.T, n int) *Store {
	t.Helper()
	s, err := Create(t.TempDir(), testManifest(n))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustAppend(t *testing.T, s *Store, trials ...int) {
	t.Helper()
	for _, i := range trials {
		if err := s.Append(testTrial(i), time.Duration(i+1)*time.Second); err != nil {
			t.Fatal(err)
		}
	}
}

func checkFinished(t *testing.T, dir string, n int) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, TrialsFile))
	if err != nil {
		t.Fatal(err)
	}
	if want := wantFile(t, n); !bytes.Equal(got, want) {
		t.Errorf("trials file differs from plan order:\n%s\nwant\n%s", got, want)
	}
	want := make(map[int]uint32)
	for i := range n {
		want[i] = castagnoli(bytes.TrimSuffix(testLine(t, i), []byte("\n")))
	}
	if sums, err := os.ReadFile(filepath.Join(dir, SumsFile)); err != nil || string(sums) != string(sumsOf(want)) {
		t.Errorf("checksums are\n%s, %v; want\n%s", sums, err, sumsOf(want))
	}
	for _, name := range []string{partialFile, lockFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s is still there (%v)", name, err)
		}
	}
	run, err := ReadRun(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(run.Trials) != n || len(run.Bad) > 0 || run.Missing() != 0 || run.Manifest.Interrupted {
		t.Errorf("run has %d trials, %d missing, interrupted %v, bad %v", len(run.Trials), run.Missing(),
			run.Manifest.Interrupted, run.Bad)
	}
}

func TestStoreAnyOrder(t *testing.T) {
	t.Parallel()
	orders := [][]int{{0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}, {1, 0, 3, 2, 4}, {2, 0, 4, 1, 3}}
	for _, order := range orders {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			s := mustCreate(t, 5)
			for k, i := range order {
				mustAppend(t, s, i)
				// What is stored so far must be readable from disk.
				run, err := ReadRun(s.Dir(), nil)
				if err != nil || len(run.Trials) != k+1 || len(run.Bad) > 0 {
					t.Fatalf("after %d appends: %d trials, bad %v, err %v", k+1, len(run.Trials), run.Bad, err)
				}
				if !run.Manifest.Interrupted {
					t.Fatal("an unfinished run does not say so")
				}
			}
			if rem := s.Remaining(); len(rem) != 0 {
				t.Errorf("remaining %v", rem)
			}
			if err := s.Close(testEnd); err != nil {
				t.Fatal(err)
			}
			checkFinished(t, s.Dir(), 5)
			if got := s.Manifest(); !slices.Equal(got.TrialWallSec, []float64{1, 2, 3, 4, 5}) || !got.Ended.Equal(testEnd) {
				t.Errorf("manifest %+v", got)
			}
		})
	}
}

func TestStoreParallel(t *testing.T) {
	t.Parallel()
	const n = 40
	s := mustCreate(t, n)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := w; i < n; i += 4 {
				if err := s.Append(testTrial(i), time.Second); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := s.Close(testEnd); err != nil {
		t.Fatal(err)
	}
	checkFinished(t, s.Dir(), n)
}

func TestStoreRefuses(t *testing.T) {
	t.Parallel()
	s := mustCreate(t, 3)
	mustAppend(t, s, 0, 2)
	alter := func(i int, f func(*Trial)) Trial {
		tr := testTrial(i)
		f(&tr)
		return tr
	}
	for _, tc := range []struct {
		name, want string
		trial      Trial
	}{
		{"stored", "stored already", testTrial(0)},
		{"stored early", "stored already", testTrial(2)},
		{"not planned", "not in the plan of 3", testTrial(3)},
		{"schema", "unknown schema 9", alter(1, func(t *Trial) { t.Schema = 9 })},
		{"host", `ran on host "xen"`, alter(1, func(t *Trial) { t.Host = "xen" })},
		{"suite", `of suite "other"`, alter(1, func(t *Trial) { t.Suite = "other" })},
		{"sum", "add up to", alter(1, func(t *Trial) { t.EPT.Lazy++ })},
	} {
		if err := s.Append(tc.trial, 0); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v does not say %q", tc.name, err, tc.want)
		}
	}
	mustAppend(t, s, 1) // refusals must not have broken the store
	if err := s.Close(testEnd); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(testTrial(1), 0); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("append after close: %v", err)
	}
	checkFinished(t, s.Dir(), 3)
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, id := range []string{"", ".", "../x", "a/b", ".hidden", "a b"} {
		m := testManifest(1)
		m.RunID = id
		if _, err := Create(dir, m); err == nil || !strings.Contains(err.Error(), "run id") {
			t.Errorf("run id %q: %v", id, err)
		}
	}
	if _, err := Create(dir, testManifest(0)); err == nil {
		t.Error("an empty plan was accepted")
	}
	s, err := Create(dir, testManifest(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(dir, testManifest(1)); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("second run of one id: %v", err)
	}
	if err := s.Close(testEnd); err != nil {
		t.Fatal(err)
	}
}

// TestCreateHalf: a run that cannot be created leaves no folder. Its manifest is one that
// JSON cannot have.
func TestCreateHalf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := testManifest(1)
	m.Bench = map[string]float64{"a": math.NaN()}
	if _, err := Create(dir, m); err == nil {
		t.Error("a manifest with NaN is written")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
	s, err := Create(dir, testManifest(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(dir, testManifest(1)); !errors.Is(err, ErrRunExists) {
		t.Errorf("the same run: %v", err)
	}
	if err := s.Close(time.Now()); err != nil {
		t.Error(err)
	}
	if _, err := ReadRun(s.Dir(), nil); err != nil {
		t.Errorf("the run that was there: %v", err)
	}
}

// TestManyBadLines: a file of nothing but damage is given up, and does not fill the memory.
func TestManyBadLines(t *testing.T) {
	t.Parallel()
	s, err := Create(t.TempDir(), testManifest(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(time.Now()); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]string{mostBad: "",
		mostBad + 1: "trials.jsonl has more than 100000 lines that are no records"} {
		if err := os.WriteFile(filepath.Join(s.Dir(), TrialsFile), bytes.Repeat([]byte("\n"), n), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadRun(s.Dir(), nil); !strings.Contains(fmt.Sprint(err), want) || (err == nil) != (want == "") {
			t.Errorf("%d empty lines: %v", n, err)
		}
	}
}

func TestSecondWriter(t *testing.T) {
	t.Parallel()
	s := mustCreate(t, 2)
	_, err := Resume(s.Dir(), nil)
	if err == nil || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("second writer: %v", err)
	}
	if err := s.Close(testEnd); err != nil {
		t.Fatal(err)
	}
	s, err = Resume(s.Dir(), nil)
	if err != nil {
		t.Fatalf("after close: %v", err)
	}
	if err := s.Close(testEnd); err != nil {
		t.Fatal(err)
	}
}

// resumeAndFinish resumes the run and appends whatever it says is missing.
func resumeAndFinish(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Resume(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, s.Remaining()...)
	if err := s.Close(testEnd); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestResumeTruncatedAnywhere cuts the file being written at every byte of
// its last record: the record before must survive, nothing may be repeated.
func TestResumeTruncatedAnywhere(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, file string
		order      []int
		kept       int // trials that survive a cut inside the last record
		step       int // 1 is every byte; every cut costs some syncs
	}{
		{"in order", TrialsFile, []int{0, 1, 2}, 2, 1},
		{"early", partialFile, []int{0, 3, 2}, 2, 7},
		{"first", TrialsFile, []int{0}, 0, 7},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := mustCreate(t, 4)
			mustAppend(t, s, tc.order...)
			snapshot := memoryDir(t)
			if err := os.CopyFS(filepath.Join(snapshot, "0"), os.DirFS(s.Dir())); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(testEnd); err != nil {
				t.Fatal(err)
			}
			whole, err := os.ReadFile(filepath.Join(snapshot, "0", tc.file))
			if err != nil {
				t.Fatal(err)
			}
			last := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
			for cut := last; cut <= len(whole); cut++ {
				if (cut-last)%tc.step != 0 && cut < len(whole)-3 {
					continue
				}
				dir := filepath.Join(snapshot, "cut")
				if err := os.CopyFS(dir, os.DirFS(filepath.Join(snapshot, "0"))); err != nil {
					t.Fatal(err)
				}
				if err := os.Truncate(filepath.Join(dir, tc.file), int64(cut)); err != nil {
					t.Fatal(err)
				}
				want := tc.kept
				if cut >= len(whole)-1 { // only the newline is gone, or nothing
					want++
				}
				r, err := Resume(dir, nil)
				if err != nil {
					t.Fatalf("cut at %d: %v", cut, err)
				}
				if got := 4 - len(r.Remaining()); got != want {
					t.Fatalf("cut at %d: %d trials kept, want %d", cut, got, want)
				}
				warned := len(r.Manifest().Warnings) == 1
				if torn := cut > last && cut < len(whole)-1; warned != torn {
					t.Fatalf("cut at %d: warnings %q", cut, r.Manifest().Warnings)
				}
				finish := cut%32 == 0 || cut >= len(whole)-2 // syncing is slow; the state above was checked at every byte
				if finish {
					mustAppend(t, r, r.Remaining()...)
				}
				if err := r.Close(testEnd); err != nil {
					t.Fatal(err)
				}
				if finish {
					checkFinished(t, dir, 4)
				}
				if t.Failed() {
					t.Fatalf("cut at %d", cut)
				}
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A kill between the append to the trials file and the removal of the side
// file leaves records in both.
func TestResumeAfterHalfMerge(t *testing.T) {
	t.Parallel()
	s := mustCreate(t, 4)
	mustAppend(t, s, 0)
	if err := s.Close(testEnd); err != nil {
		t.Fatal(err)
	}
	for name, trials := range map[string][]int{TrialsFile: {0, 1, 2}, partialFile: {2, 1}} {
		var b bytes.Buffer
		for _, i := range trials {
			b.Write(testLine(t, i))
		}
		if err := os.WriteFile(filepath.Join(s.Dir(), name), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := resumeAndFinish(t, s.Dir())
	if w := r.Manifest().Warnings; len(w) > 0 {
		t.Errorf("warnings %q for equal records in both files", w)
	}
	checkFinished(t, s.Dir(), 4)
}

func TestResumeDamage(t *testing.T) {
	t.Parallel()
	differs := testTrial(1)
	differs.WindowNS++
	foreign := testTrial(1)
	foreign.Host = "xen"
	for _, tc := range []struct {
		name, want string
		lines      [][]byte
	}{
		{"garbage in the middle", "trials.jsonl:2: not a trial record", [][]byte{testLine(t, 0), []byte("\x00\x00\n"),
			testLine(t, 2)}},
		{"conflict", "trials.jsonl:3: trial 1 has another record", [][]byte{testLine(t, 0), testLine(t, 1), marshalLine(t,
			differs)}},
		{"foreign host", `trials.jsonl:2: trial 1 ran on host "xen"`, [][]byte{testLine(t, 0), marshalLine(t, foreign),
			testLine(t, 2)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := mustCreate(t, 4)
			if err := s.Close(testEnd); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(s.Dir(), TrialsFile)
			before := bytes.Join(tc.lines, nil)
			if err := os.WriteFile(file, before, 0o644); err != nil {
				t.Fatal(err)
			}
			run, err := ReadRun(s.Dir(), nil)
			if err != nil || len(run.Bad) != 1 || len(run.Trials) != 2 {
				t.Fatalf("ReadRun: %d trials, bad %v, err %v", len(run.Trials), run.Bad, err)
			}
			r := resumeAndFinish(t, s.Dir())
			if w := r.Manifest().Warnings; len(w) != 1 || !strings.Contains(w[0], tc.want) {
				t.Errorf("warnings %q, want one saying %q", w, tc.want)
			}
			checkFinished(t, s.Dir(), 4)
			kept, err := os.ReadFile(file + ".damaged")
			if err != nil || !bytes.Equal(kept, before) {
				t.Errorf("the damaged file was not kept (%v)", err)
			}
		})
	}
}

func marshalLine(t *testing.T, tr Trial) []byte {
	t.Helper()
	line := testLine(t, tr.Trial)
	s := mustCreate(t, tr.Trial+1)
	s.m.Host.Kind = tr.Host
	if err := s.Append(tr, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(testEnd); err != nil {
		t.Fatal(err)
	}
	name := partialFile
	if tr.Trial == 0 {
		name = TrialsFile
	}
	got, err := os.ReadFile(filepath.Join(s.Dir(), name))
	if err != nil || bytes.Equal(got, line) {
		t.Fatalf("altered record equals the plain one (%v)", err)
	}
	return got
}

func TestResumeForeignSchema(t *testing.T) {
	t.Parallel()
	s := mustCreate(t, 2)
	if err := s.Close(testEnd); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.Dir(), TrialsFile)
	data := []byte("{\"schema\":2}\n")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Resume(s.Dir(), nil); err == nil ||
		!strings.Contains(err.Error(), "trials.jsonl:1: unknown schema 2") {
		t.Errorf("resume: %v", err)
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, data) {
		t.Errorf("a run of another schema was changed: %q, %v", got, err)
	}
}

// A field this program does not know, of the same schema, survives a resume.
func TestResumeKeepsUnknownFields(t *testing.T) {
	t.Parallel()
	s := mustCreate(t, 2)
	mustAppend(t, s, 0)
	if err := s.Close(testEnd); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.Dir(), TrialsFile)
	line := bytes.Replace(testLine(t, 0), []byte(`{"schema":1`), []byte(`{"schema":1,"later":"yes"`), 1)
	if err := os.WriteFile(file, line, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(s.Dir(), SumsFile)); err != nil {
		t.Fatal(err)
	}
	resumeAndFinish(t, s.Dir())
	got, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got, append(line, testLine(t, 1)...)) {
		t.Errorf("file is\n%s (%v)", got, err)
	}
}

func TestUpdateManifest(t *testing.T) {
	t.Parallel()
	s := mustCreate(t, 1)
	err := s.UpdateManifest(func(m *Manifest) {
		m.Warnings = append(m.Warnings, "clock drift")
		m.Bench = map[string]float64{"snapshot_restore_sec": 1.5}
		m.Planned, m.Interrupted, m.RunID = 99, false, "other"
	})
	if err != nil {
		t.Fatal(err)
	}
	run, err := ReadRun(s.Dir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	m := run.Manifest
	if !slices.Equal(m.Warnings, []string{"clock drift"}) || m.Bench["snapshot_restore_sec"] != 1.5 {
		t.Errorf("changes are not in the manifest: %+v", m)
	}
	if m.Planned != 1 || !m.Interrupted || m.RunID != testManifest(1).RunID {
		t.Errorf("the store's own fields were changed: %+v", m)
	}
	if !reflect.DeepEqual(m, s.Manifest()) {
		t.Errorf("manifest on disk %+v, in memory %+v", m, s.Manifest())
	}
	if err := s.Close(testEnd); err != nil {
		t.Fatal(err)
	}
}

func TestReadRunWithoutManifest(t *testing.T) {
	t.Parallel()
	if _, err := ReadRun(t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), ManifestFile) {
		t.Errorf("error %v does not name the manifest", err)
	}
	for _, tc := range []struct{ data, want string }{
		{"", "not a manifest"},
		{`{"schema":7}`, "unknown schema 7"},
		{`{"schema":1,"planned":3}`, "plans 3 trials but lists 0"},
	} {
		if _, err := parseManifest([]byte(tc.data)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v", tc.data, err)
		}
	}
}

// TestManifestPrintable: strings of a manifest can be printed; the suite's text is kept
// byte for byte, as its sum is of that.
func TestManifestPrintable(t *testing.T) {
	t.Parallel()
	const bad, safe = "\x1b]0;x\a\u202e", `\x1b]0;x\a\u202e`
	m := testManifest(0)
	m.Schema, m.RunID, m.Host.Description, m.Suite = ManifestSchema, bad, bad, NewSuiteInfo("test", []byte(bad))
	m.Warnings = []string{bad}
	m.Versions.Packages = map[string]string{bad: bad}
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseManifest(data)
	if err != nil {
		t.Fatal(err)
	}
	if got.RunID != safe || got.Host.Description != safe || got.Warnings[0] != safe ||
		got.Versions.Packages[safe] != safe || len(got.Versions.Packages) != 1 {
		t.Errorf("%+v", got)
	}
	if got.Suite.Text != bad {
		t.Errorf("the suite's text is %q", got.Suite.Text)
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(`{"schema":1,"planned":1,"trial_wall_sec":[0.5]}`))
	f.Add([]byte(`{"schema":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseManifest(data)
		if err == nil && (m.Schema != ManifestSchema || len(m.TrialWallSec) != m.Planned) {
			t.Fatalf("accepted %+v", m)
		}
	})
}

const (
	killDirEnv = "HANGBENCH_TEST_KILL_DIR"
	killN      = 30
)

// TestKillNine kills a writer that stores trials out of order, again and
// again, until the run is complete: every trial the writer reported as stored
// must be there, and the file must come out as if nothing had happened.
func TestKillNine(t *testing.T) {
	if dir := os.Getenv(killDirEnv); dir != "" {
		killedWriter(t, dir)
		return
	}
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	s := mustCreate(t, killN)
	if err := s.Close(testEnd); err != nil {
		t.Fatal(err)
	}
	stored := make(map[int]bool)
	kills := 0
	for len(stored) < killN {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKillNine$")
		cmd.Env = append(os.Environ(), killDirEnv+"="+s.Dir())
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		sc := bufio.NewScanner(out)
		for seen := 0; sc.Scan(); {
			trial, ok := strings.CutPrefix(sc.Text(), "stored ")
			if !ok {
				continue
			}
			i, err := strconv.Atoi(trial)
			if err != nil || stored[i] {
				t.Fatalf("child said %q, stored before: %v", sc.Text(), stored[i])
			}
			stored[i] = true
			if seen++; seen == 4 {
				kills++
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil && len(stored) < killN {
			t.Fatalf("child ended by itself with %d of %d trials stored", len(stored), killN)
		}
		run, err := ReadRun(s.Dir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		have := make(map[int]bool)
		for _, tr := range run.Trials {
			have[tr.Trial] = true
			stored[tr.Trial] = true // on disk, but killed before saying so
		}
		for i := range stored {
			if !have[i] {
				t.Fatalf("trial %d was reported as stored and is lost", i)
			}
		}
		for _, bad := range run.Bad {
			if le, ok := errors.AsType[*LineError](bad); !ok || !le.Torn {
				t.Fatalf("after a kill: %v", bad)
			}
		}
		for _, note := range run.Notes {
			t.Fatalf("after a kill: %v", note)
		}
	}
	if kills == 0 {
		t.Fatal("no writer was killed")
	}
	resumeAndFinish(t, s.Dir())
	checkFinished(t, s.Dir(), killN)
}

func killedWriter(t *testing.T, dir string) {
	s, err := Resume(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	rem := s.Remaining()
	rand.New(rand.NewPCG(uint64(len(rem)), 0)).Shuffle(len(rem), func(i, j int) { rem[i], rem[j] = rem[j], rem[i] })
	for _, i := range rem {
		mustAppend(t, s, i)
		fmt.Printf("stored %d\n", i)
	}
	if err := s.Close(testEnd); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
}

func TestRunID(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.FixedZone("x", 3600))
	if got, want := RunID("quick", 42, at), "quick-42-20260304T040607Z"; got != want {
		t.Errorf("RunID = %q, want %q", got, want)
	}
	if !idPattern.MatchString(RunID("quick", 42, at)) {
		t.Error("a made-up run id is not a valid one")
	}
}
