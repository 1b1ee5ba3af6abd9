package report

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"hangbench/analysis/internal/madeup"
	"hangbench/results"
)

// write writes a run's folder.
func write(t testing.TB, dir string, manifest, trials []byte) {
	t.Helper()
	for name, data := range map[string][]byte{results.ManifestFile: manifest, results.TrialsFile: trials} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// encode returns the files of a run.
func encode(t testing.TB, run *results.Run) (manifest, trials []byte) {
	t.Helper()
	manifest, err := json.Marshal(&run.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, tr := range run.Trials {
		if err := enc.Encode(tr); err != nil {
			t.Fatal(err)
		}
	}
	return manifest, b.Bytes()
}

// FuzzReport: whatever a run's folder holds, it is refused, or everything that can be shown
// of it has nothing in it but what we wrote there, and text.
func FuzzReport(f *testing.F) {
	small := testRun(1)
	small.Trials = small.Trials[:3]
	for _, run := range []*results.Run{small, testRun(2)} {
		manifest, trials := encode(f, run)
		f.Add(manifest, trials)
		f.Add(manifest, trials[:len(trials)-7])
		f.Add(manifest, bytes.ReplaceAll(trials, []byte("spinlock-deadlock"), []byte(`\u001b[31m\u202e<b>|`)))
		f.Add(bytes.ReplaceAll(manifest, []byte("made up for tests"), []byte(`\n# a\u0000\ufffe`)), trials)
	}
	f.Fuzz(func(t *testing.T, manifest, trials []byte) {
		dir := t.TempDir()
		write(t, dir, manifest, trials)
		run, err := results.ReadRun(dir, nil)
		if err != nil {
			return
		}
		if len(run.Trials) > 40 {
			run.Trials = run.Trials[:40]
		}
		judgeAll(t, run)
	})
}

// hostile replaces every string of the value by s, except those that are empty, and those
// that must be one of a few words for a record to be read.
func hostile(v reflect.Value, s string) {
	switch v.Kind() {
	case reflect.String:
		if v.Len() > 0 {
			v.SetString(s)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			hostile(v.Elem(), s)
		}
	case reflect.Slice:
		for i := range v.Len() {
			hostile(v.Index(i), s+strconv.Itoa(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			switch f := v.Type().Field(i); {
			case !f.IsExported() || slices.Contains([]string{"Outcome", "Host", "Kind", "Thresholds", "Console", "SHA256",
				"CRC32C", "Reason", "Scope", "Boot", "Watchdogs", "Text", "Driver", "PlanHash"}, f.Name):
			default:
				hostile(v.Field(i), s)
			}
		}
	}
}

// FuzzStrings: strings of a run, as a guest or another author chose them, are shown as text
// in every format.
func FuzzStrings(f *testing.F) {
	for _, s := range []string{"plain", "\x1b]0;x\a\x1b[2J", "a\nb\rc\u202ed\x00\xff\ufffe",
		"</text></svg><script>alert(1)</script>",
		`=cmd|'/c calc'!A1`, "@a", "-1+1", "+a", "[a](javascript:alert(1)) ![b](c) `d` $e$ *f* _g_ ~~h~~ # i", "|", "a|b\\|",
		`\input{a}^^5c%{}$&#_`, "&lt;&#x1b;", "1. a", "> a", "\\", "\\`a\\`", "\u00a0", "日本語", "x\u0301\u0301\u0301"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if s == "" || len(s) > 1000 {
			return
		}
		run := testRun(1)
		run.Trials = append(run.Trials, madeup.Listened(1)...)
		for i := range run.Trials {
			run.Trials[i].Trial = i
			run.Trials[i].Console = results.CleanConsole([]byte(s))
			kept := run.Trials[i].Mechanism == results.Unwatched
			hostile(reflect.ValueOf(&run.Trials[i]), s)
			if kept {
				run.Trials[i].Mechanism = results.Unwatched
			}
		}
		m := &run.Manifest
		m.Planned, m.TrialWallSec = len(run.Trials), make([]float64, len(run.Trials))
		hostile(reflect.ValueOf(m), s)
		m.Suite = results.NewSuiteInfo(s, []byte(strings.ToValidUTF8(s, "?"))) // as JSON has it
		m.Warnings, m.Bench, m.Versions.Packages = []string{s}, map[string]float64{s: 1}, map[string]string{s: s}
		m.Arms = results.Arms{s: {PageTrap: true, View: results.Altp2mView, TwinOf: "exec-step"}}
		dir := t.TempDir()
		manifest, trials := encode(t, run)
		write(t, dir, manifest, trials)
		read, err := results.ReadRun(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(read.Trials) < len(run.Trials)/2 {
			t.Fatalf("%d of %d records are read: %v", len(read.Trials), len(run.Trials), read.Bad)
		}
		judgeAll(t, read)
	})
}

// TestRenderExtreme: numbers at the ends of what a record can have break no table and no
// figure.
func TestRenderExtreme(t *testing.T) {
	for _, ns := range []int64{1, 1e9, 1 << 52} {
		for _, ratio := range []float64{0, math.SmallestNonzeroFloat64, 1, 1000} {
			for _, n := range []uint64{0, 1, 1 << 52} {
				run := testRun(2)
				for i := range run.Trials {
					tr := &run.Trials[i]
					tr.WindowNS, tr.Alarms = ns, nil
					if tr.Kind == results.Fault {
						tr.DeadlineNS, tr.HangNS = ns, &ns
					}
					if tr.DetectNS != nil {
						tr.DetectNS = &ns
					}
					tr.Guest.ProgressRatio = &ratio
					tr.EPT = results.EPT{Total: n, Lazy: n, TraceLost: n}
					tr.Events = results.Events{Delivered: n, Steps: n, Signals: n, Switches: n}
					if err := tr.Validate(); err != nil {
						t.Fatal(err)
					}
				}
				var page bytes.Buffer
				if err := Render(&page, run, setOf(t, run)); err != nil {
					t.Errorf("%d ns, ratio %g, counts %d: %v", ns, ratio, n, err)
				}
			}
		}
	}
}
