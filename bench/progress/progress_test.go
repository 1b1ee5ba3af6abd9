package progress

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// play logs a small run.
func play(d *Display) {
	log := slog.New(d)
	trial := func(i int) *slog.Logger {
		return log.With(Trial, i, Scenario, "control-idle", Mechanism, "exec-step")
	}
	log.Debug("a detail", "of", "two words")
	log.Info("lab: compile")
	log.Info("lab: compile") // the same again is not shown
	for done := int64(0); done <= 200e6; done += 10e6 {
		log.Info("lab: fetch", DoneBytes, done, TotalBytes, int64(200e6))
	}
	log.Info("lab: unpack", DoneBytes, 5, TotalBytes, 0) // nobody knows how much
	log.Info("trials", Done, 1, Total, 12)
	trial(1).Info("restore")
	trial(1).Warn("failed", Error, errors.New("emulator died"))
	trial(1).Info("restore")
	trial(1).Info("clean; the run has taken 1 s", Done, 2, Total, 12)
	trial(2).Info("invalid; the run has taken 2 s", Done, 3, Total, 12)
	log.Error("cannot go on", "error", "disk full")
	log.With(Scenario, "\u202e").Warn("say \x1b]0;x\a\nhangbench: forged", Trial, 3, Error, "a\rb")
	d.End()
}

// TestLines: where there is no terminal each step and each trial's end is a line
// of plain text.
func TestLines(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	play(NewDisplay(&b, Options{}))
	want := `lab: compile
lab: fetch: 0% of 200 MB
lab: fetch: 25% of 200 MB
lab: fetch: 50% of 200 MB
lab: fetch: 75% of 200 MB
lab: fetch: 100% of 200 MB
lab: unpack
hangbench: warning: trial 1 (control-idle, exec-step): failed: emulator died
[ 2/12] trial 1 (control-idle, exec-step): clean; the run has taken 1 s
[ 3/12] trial 2 (control-idle, exec-step): invalid; the run has taken 2 s
hangbench: cannot go on: disk full
hangbench: warning: trial 3 (\u202e, ): say \x1b]0;x\a\nhangbench: forged: a\rb
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestVerbose: every record is a line that names all attributes.
func TestVerbose(t *testing.T) {
	t.Parallel()
	for _, terminal := range []bool{false, true} {
		var b bytes.Buffer
		play(NewDisplay(&b, Options{Verbose: true, Terminal: terminal}))
		got := b.String()
		for _, want := range []string{
			"a detail of=\"two words\"\nlab: compile\nlab: compile\nlab: fetch done_bytes=0 total_bytes=200000000\n",
			"trials done=1 total=12\nrestore trial=1 scenario=control-idle mechanism=exec-step\n",
			"hangbench: warning: trial 1 (control-idle, exec-step): failed: emulator died\n",
			"clean; the run has taken 1 s trial=1 scenario=control-idle mechanism=exec-step done=2 total=12\n",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("lacks %q:\n%s", want, got)
			}
		}
		if strings.ContainsAny(got, "\r\x1b") {
			t.Errorf("there are control characters for a terminal: %q", got)
		}
	}
}

// TestTerminal: on a terminal there is one line at a time, which is wiped before
// a line that stays and at the end.
func TestTerminal(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	play(NewDisplay(&b, Options{Terminal: true}))
	got := b.String()
	const wipe = "\r\x1b[K"
	if !strings.HasPrefix(got, wipe+"lab: compile"+wipe+"lab: fetch: 0 of 200 MB") {
		t.Errorf("begins with %q", got[:min(len(got), 60)])
	}
	if !strings.Contains(got, wipe+"hangbench: warning: trial 1 (control-idle, exec-step): failed: emulator died\n") {
		t.Errorf("the warning does not stand on a line of its own: %q", got)
	}
	if n := strings.Count(got, "\n"); n != 3 {
		t.Errorf("%d lines stay, want two warnings and the error: %q", n, got)
	}
	for _, want := range []string{"3/12", "control-idle exec-step: restore"} {
		if !strings.Contains(got, want) {
			t.Errorf("the bar never shows %q: %q", want, got)
		}
	}
	if !strings.HasSuffix(got, wipe) {
		t.Errorf("ends with %q, want the line wiped", got[max(0, len(got)-20):])
	}
}

// TestNothingShown: a terminal on which no step is shown gets no control character.
func TestNothingShown(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	d := NewDisplay(&b, Options{Terminal: true})
	slog.New(d).Warn("beware")
	d.End()
	if b.String() != "hangbench: warning: beware\n" {
		t.Errorf("%q", b.String())
	}
}

// TestNarrow: nothing that replaces itself is wider than the terminal, with a bar or
// without one.
func TestNarrow(t *testing.T) {
	t.Parallel()
	for _, columns := range []int{1, 20, 59, 60, 61, 80, 100, 101, 200} {
		var b bytes.Buffer
		play(NewDisplay(&b, Options{Terminal: true, Width: func() int { return columns }}))
		shown := 0
		for line := range strings.SplitSeq(strings.ReplaceAll(b.String(), "\x1b[K", "\r"), "\r") {
			if strings.HasSuffix(line, "\n") {
				continue // a line that stays
			}
			if n := len([]rune(line)); n >= columns && columns > 1 {
				t.Errorf("%d columns: %q has %d", columns, line, n)
			}
			shown++
		}
		bar := strings.Contains(b.String(), "3/12)")
		if shown < 10 || bar != (columns > 60) {
			t.Errorf("%d columns: %d steps are shown, a bar: %v: %q", columns, shown, bar, b.String())
		}
	}
}

// failing is a writer whose disk is full.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestDisplayError(t *testing.T) {
	t.Parallel()
	d := NewDisplay(failing{}, Options{})
	for _, level := range []slog.Level{slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if err := d.Handle(t.Context(), slog.NewRecord(time.Time{}, level, "step", 0)); err == nil {
			t.Errorf("%v: the writer's error is lost", level)
		}
	}
}

// TestFile: records from before the file is open come first in it; a second
// session appends; parts of a download are left out.
func TestFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), FileName)
	for session := range 2 {
		var f File
		log := slog.New(NewText(&f)).With("session", session)
		log.Debug("before")
		log.Info("fetch", DoneBytes, 5, TotalBytes, 10)
		log.Info("fetch", DoneBytes, 10, TotalBytes, 10)
		if err := f.Open(path); err != nil {
			t.Fatal(err)
		}
		log.WithGroup("lab").Warn("after", Error, errors.New("broken"))
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		at, rest, _ := strings.Cut(line, " ")
		if _, err := time.Parse(time.RFC3339Nano, strings.TrimPrefix(at, "time=")); err != nil {
			t.Error(err)
		}
		got = append(got, rest)
	}
	want := `level=DEBUG msg=before session=0
level=INFO msg=fetch session=0 done_bytes=10 total_bytes=10
level=WARN msg=after session=0 lab.error=broken
level=DEBUG msg=before session=1
level=INFO msg=fetch session=1 done_bytes=10 total_bytes=10
level=WARN msg=after session=1 lab.error=broken
`
	if strings.Join(got, "") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, ""), want)
	}
	if err := os.Symlink(path, path+".link"); err != nil {
		t.Fatal(err)
	}
	if err := new(File).Open(path + ".link"); err == nil || !strings.Contains(err.Error(), "is a link") {
		t.Errorf("a log file that is a link is opened: %v", err)
	}
}

// TestFileKept: what does not fit in memory is counted.
func TestFileKept(t *testing.T) {
	t.Parallel()
	var f File
	line := []byte(strings.Repeat("x", 1023) + "\n")
	for range maxKept/len(line) + 3 {
		if n, err := f.Write(line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	path := filepath.Join(t.TempDir(), FileName)
	if err := f.Open(path); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const want = "x\nlevel=WARN msg=\"records left out before the log file was open\" records=3\n"
	if !strings.HasSuffix(string(text), want) {
		t.Errorf("ends with %q", text[len(text)-100:])
	}
	if err := f.Open(filepath.Join(path, "below")); err == nil {
		t.Error("a file below a file was opened")
	}
	if fmt.Sprint(f.Close()) != "<nil>" {
		t.Error("closing a file that was never opened fails")
	}
}

// TestWarnings: the texts of warnings and errors are kept in order, with what the
// logger adds to them; steps and details are not.
func TestWarnings(t *testing.T) {
	t.Parallel()
	var w Warnings
	log := slog.New(&w)
	log.Debug("a detail")
	log.Info("a step")
	log.Warn("booting the lab anew", Error, errors.New("the snapshot is damaged"))
	trial := log.With(Trial, 3).With(Scenario, "panic", Mechanism, "poll")
	trial.Info("restore")
	trial.WithGroup("group").Warn("failed", Error, errors.New("emulator died"))
	log.WithGroup("group").Error("gave up")
	want := []string{"booting the lab anew: the snapshot is damaged", "trial 3 (panic, poll): failed: emulator died",
		"gave up"}
	if got := w.Texts(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
