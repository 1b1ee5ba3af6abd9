package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hangbench/analysis"
	"hangbench/analysis/internal/madeup"
	"hangbench/results"
)

var keep = flag.String("keep", "", "write the report of the test into this folder, to be looked at")

func testRun(repetitions int) *results.Run {
	trials := madeup.Trials(repetitions)
	wall := make([]float64, len(trials))
	for i := range wall {
		wall[i] = 7.25
	}
	return &results.Run{
		Trials: trials,
		Manifest: results.Manifest{
			Arms: madeup.Run(nil).Manifest.Arms, SlowClasses: madeup.Run(nil).Manifest.SlowClasses,
			Schema: results.ManifestSchema, RunID: "made-up-1-20260102T030405Z", Seed: 1, Planned: len(trials),
			Suite: results.NewSuiteInfo(madeup.Suite, []byte("name: made-up\n")),
			Host:  results.HostInfo{Kind: "lab", Description: "made up for tests"},
			Versions: results.Versions{Hangbench: "abc123", Go: "go1.26", Packages: map[string]string{"xen": "4.20",
				"bochs": "3.0"}},
			Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Ended: time.Date(2026, 1, 2, 3, 14, 5, 0, time.UTC),
			Sessions: []results.Session{{Jobs: 2, CPUs: 4, Trials: len(trials), WallSec: 3.6 * float64(len(trials)),
				CPUSec: 7.2 * float64(len(trials))}},
			TrialWallSec: wall, Bench: map[string]float64{"snapshot_restore_sec": 4.5},
		},
	}
}

// setOf is the set of the run's trials; nil if there are none.
func setOf(t *testing.T, run *results.Run) *analysis.Set {
	t.Helper()
	if len(run.Trials) == 0 {
		return nil
	}
	set, err := analysis.Group(run)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func render(t *testing.T, run *results.Run) string {
	t.Helper()
	var a, b bytes.Buffer
	if err := Render(&a, run, setOf(t, run)); err != nil {
		t.Fatal(err)
	}
	if err := Render(&b, run, setOf(t, run)); err != nil {
		t.Fatal(err)
	}
	if a.String() != b.String() {
		t.Error("two pages of one run differ")
	}
	checkTags(t, a.String())
	return a.String()
}

// checkTags fails unless every element that is opened is closed, headings skip no level,
// and the heads of tables say that they are of columns.
func checkTags(t *testing.T, page string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict = false
	d.AutoClose = []string{"meta"}
	d.Entity = xml.HTMLEntity
	var open []string
	level := 0
	for {
		tok, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("page does not parse: %v", err)
		}
		switch e := tok.(type) {
		case xml.StartElement:
			if e.Name.Local != "meta" {
				open = append(open, e.Name.Local)
			}
			if n, err := strconv.Atoi(strings.TrimPrefix(e.Name.Local, "h")); err == nil {
				if n > level+1 {
					t.Errorf("heading %d follows heading %d", n, level)
				}
				level = n
			}
			if col := (xml.Attr{Name: xml.Name{Local: "scope"}, Value: "col"}); e.Name.Local == "th" &&
				!slices.Contains(e.Attr, col) {
				t.Errorf("a head of a table has the attributes %v", e.Attr)
			}
		case xml.EndElement:
			if len(open) == 0 || open[len(open)-1] != e.Name.Local {
				t.Fatalf("</%s> closes %q", e.Name.Local, open)
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		t.Errorf("never closed: %q", open)
	}
}

func TestRender(t *testing.T) {
	run := testRun(3)
	run.Manifest.Warnings = []string{"the lab was restarted once"}
	run.Bad = []error{&results.LineError{File: "trials.jsonl", Line: 9, Err: errors.New("empty line")}}
	page := render(t, run)
	for _, want := range []string{
		"host: lab (emulated; virtual time)",
		"the lab was restarted once",
		"Left out: trials.jsonl:9: empty line",
		"Invalid: 1 of 27 trials.",
		"the guest made no progress after the monitor was detached",
		"vcpu 0 runs in queued_read_lock_slowpath",
		"detected 2/3 [9%, 99%]",
		"<dt>bochs</dt><dd>3.0</dd>",
		"<dt>snapshot_restore_sec</dt><dd>4.5</dd>",
		"195.8 s in all",
		"<dt>throughput</dt><dd>27 trials in 97 s with 2 at a time on 4 CPUs: 1000 an hour, 500 for each CPU in use; 7.2 s " +
			"of processor time a trial, or 500 trials an hour and CPU that does nothing else</dd>",
		"<pre>name: made-up",
		"prefers-color-scheme: dark",
		"<svg role=",
		`id="trial-26"`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, never := range []string{"<script", "<link", "@import", "<?xml", "ZgotmplZ", "src="} {
		if strings.Contains(page, never) {
			t.Errorf("the page contains %q", never)
		}
	}
	if strings.Count(page, "http") != strings.Count(page, `"http://www.w3.org/`) {
		t.Error("the page refers to something outside of it")
	}
	if *keep != "" {
		if _, err := Write(*keep, run, setOf(t, run)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRenderIncomplete(t *testing.T) {
	run := testRun(1)
	run.Trials = run.Trials[:4]
	run.Manifest.Interrupted = true
	if page := render(t, run); !strings.Contains(page, "not complete: 4 of 9 planned trials") {
		t.Error("the page does not say that the run is incomplete")
	}
	run.Trials = nil
	if page := render(t, run); !strings.Contains(page, "no trials yet") || strings.Contains(page, "<svg") {
		t.Error("the page of an empty run is wrong")
	}
}

// A record is data: nothing in it may become markup, in the page or in the
// figure.
func TestRenderHostile(t *testing.T) {
	const evil = `</text></svg><script>alert(1)</script>`
	run := testRun(1)
	for i := range run.Trials {
		tr := &run.Trials[i]
		tr.Scenario, tr.Mechanism, tr.Driver, tr.GuestKernel, tr.Suite = evil, tr.Mechanism+evil, evil, evil, evil
		tr.Evidence, tr.Reason, tr.Class = []string{evil}, evil, evil
	}
	run.Manifest.Warnings = []string{evil}
	run.Manifest.Suite.Text = evil
	run.Manifest.Bench = map[string]float64{evil: 1}
	if page := render(t, run); strings.Contains(page, "<script") {
		t.Error("a record became markup")
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	run := testRun(1)
	path, err := Write(dir, run, setOf(t, run))
	if err != nil || path != filepath.Join(dir, File) {
		t.Fatalf("%s, %v", path, err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		t.Errorf("%v", err)
	}
	if _, err := Write(filepath.Join(dir, "missing"), run, nil); err == nil {
		t.Error("writing into a missing folder succeeds")
	}
}

// paper is how bright most of a screenshot is, 0 to 255: the median of its
// pixels.
func paper(t *testing.T, shot []byte) int {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		t.Fatal(err)
	}
	var grey []int
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y += 4 {
		for x := b.Min.X; x < b.Max.X; x += 4 {
			r, g, bl, _ := img.At(x, y).RGBA()
			grey = append(grey, int(r+g+bl)/3>>8)
		}
	}
	slices.Sort(grey)
	return grey[len(grey)/2]
}

// TestConsole: the guest's console and the reports of its watchdogs are below the trial. They
// are text, whatever they contain.
func TestConsole(t *testing.T) {
	run := testRun(1)
	at := int64(24_410_000_000)
	tr := &run.Trials[0]
	tr.Console = "[ 24.1] watchdog: BUG: soft lockup\n</pre><script>alert(1)</script>"
	tr.Findings = []results.Finding{
		{Observer: "soft-lockup", Armed: true, WatchedNS: 28_500_000_000, AtNS: &at, Reports: 1},
		{Observer: "hard-lockup"},
		{Observer: "rcu-stall", Armed: true, WatchedNS: 28_500_000_000, FalseAlarms: 2},
	}
	run.Trials[1].Console = "one"
	page := render(t, run)
	for _, want := range []string{
		"<summary>the guest's console, 2 lines</summary><pre>[ 24.1] watchdog: BUG: soft " +
			"lockup\n&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;</pre>",
		"the guest's console, 1 line<",
		"own soft-lockup detector: reported 24.410 s after the fault<",
		"own hard-lockup detector: not there, or off<",
		"own rcu-stall detector: no report in 28.5 s; 2 without a fault<",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "<script") {
		t.Error("the console is part of the page")
	}
}
