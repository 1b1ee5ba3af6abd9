package cli

import (
	"errors"
	"strings"
	"testing"

	"hangbench/bench/plan"
	"hangbench/bench/run"
	"hangbench/results"
)

// play tells a progress display of a small run.
func play(p *progress) {
	trial := func(i int) plan.Trial {
		return plan.Trial{Index: i, Scenario: "control-idle", Mechanism: "exec-step"}
	}
	p.step("lab: compile")
	p.step("lab: compile") // the same again is not told
	for done := int64(0); done <= 200e6; done += 10e6 {
		p.bytes("lab: fetch", done, 200e6)
	}
	p.bytes("lab: unpack", 5, 0) // nobody knows how much
	p.clear()
	p.resume(1)
	p.event(run.Event{Trial: trial(1), Stage: "restore"})
	p.event(run.Event{Trial: trial(1), Err: errors.New("emulator died")})
	p.event(run.Event{Trial: trial(1), Stage: "restore"})
	p.event(run.Event{Trial: trial(1), Done: &results.Trial{Outcome: results.Clean}})
	p.event(run.Event{Trial: trial(2), Done: &results.Trial{Outcome: results.Invalid}})
	p.end()
}

// TestProgressLines: elsewhere than on a terminal each step and trial is a line
// of plain text.
func TestProgressLines(t *testing.T) {
	env, stdout, stderr := testEnv()
	play(newProgress(env, 12))
	want := `lab: compile
lab: fetch: 0% of 200 MB
lab: fetch: 25% of 200 MB
lab: fetch: 50% of 200 MB
lab: fetch: 75% of 200 MB
lab: fetch: 100% of 200 MB
lab: unpack
hangbench: warning: trial 1 (control-idle, exec-step) failed: emulator died
[ 2/12] trial 1 (control-idle, exec-step): clean after 1 s
[ 3/12] trial 2 (control-idle, exec-step): invalid after 2 s
`
	if got := stderr.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if strings.ContainsAny(stderr.String(), "\r\x1b") {
		t.Error("there are control characters for a terminal")
	}
	if stdout.Len() != 0 {
		t.Errorf("standard output is for results: %q", stdout)
	}
}

// TestProgressTerminal: on a terminal there is one line at a time, which is
// wiped before somebody else's and at the end.
func TestProgressTerminal(t *testing.T) {
	env, stdout, stderr := testEnv()
	env.Terminal = true
	p := newProgress(env, 12)
	play(p)
	got := stderr.String()
	const wipe = "\r\x1b[K"
	if !strings.HasPrefix(got, wipe+"lab: compile"+wipe+"lab: fetch: 0 of 200 MB") {
		t.Errorf("begins with %q", got[:min(len(got), 60)])
	}
	if !strings.Contains(got, wipe+"hangbench: warning: trial 1 (control-idle, exec-step) failed: emulator died\n") {
		t.Errorf("the warning does not stand on a line of its own: %q", got)
	}
	if n := strings.Count(got, "\n"); n != 1 {
		t.Errorf("%d lines stay, want the warning's: %q", n, got)
	}
	if !strings.Contains(got, "3/12") {
		t.Errorf("the bar never shows 3/12: %q", got)
	}
	if !strings.HasSuffix(got, wipe) {
		t.Errorf("ends with %q, want the line wiped", got[max(0, len(got)-20):])
	}
	if stdout.Len() != 0 {
		t.Errorf("standard output is for results: %q", stdout)
	}
}
