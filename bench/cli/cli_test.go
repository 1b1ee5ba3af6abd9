package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"hangbench/bench/exit"
	"hangbench/bench/plan"
	"hangbench/cgo/xenctrl"
	"hangbench/guests/lab"
	"hangbench/guests/lab/debian"
	"hangbench/guests/xl"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -update makes it)", err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update rewrites it); got\n%s\nwant\n%s", name, got, want)
	}
}

// testEnv is a world of two buffers without environment variables, whose clock
// gains a second at each look.
func testEnv() (env *Env, stdout, stderr *bytes.Buffer) {
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return &Env{
		Stdout: stdout, Stderr: stderr, Getenv: func(string) string { return "" },
		Now: func() time.Time { now = now.Add(time.Second); return now },
	}, stdout, stderr
}

func hangbench(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	env, out, errs := testEnv()
	status = Main(t.Context(), env, args)
	return status, out.String(), errs.String()
}

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{
		{"help"}, {"-h"}, {"--help"},
		{"lab", "help"}, {"lab", "--help"}, {"bench", "-h"},
		{"run", "--help"}, {"resume", "-h"}, {"check", "--help"}, {"list", "--help"}, {"report", "--help"}, {"compare", "--help"}, {"export", "-h"}, {"timeline", "--help"}, {"doctor", "--help"},
		{"lab", "build", "--help"}, {"lab", "up", "-h"}, {"lab", "run", "--help"}, {"lab", "console", "--help"},
		{"lab", "down", "--help"}, {"lab", "status", "--help"}, {"lab", "bench", "--help"}, {"bench", "lab", "--help"}, {"bench", "event", "--help"},
		{"bench", "misses", "--help"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			status, stdout, stderr := hangbench(t, args...)
			want := "usage: hangbench " + strings.Join(args[:len(args)-1], " ")
			if status != exit.Done || stderr != "" || !strings.HasPrefix(stdout, want) {
				t.Errorf("status %d, stderr %q, stdout\n%s", status, stderr, stdout)
			}
			if strings.Contains(stdout, "--"+keepCommand) {
				t.Errorf("the hidden flag is shown:\n%s", stdout)
			}
		})
	}
	for name, args := range map[string][]string{"help.golden": {"help"}, "help-lab.golden": {"lab", "help"}, "help-run.golden": {"run", "--help"}} {
		_, stdout, _ := hangbench(t, args...)
		golden(t, name, stdout)
	}
}

// TestUsageErrors: mistakes end with status 2, one line that says what is
// wrong, and nothing on standard output.
func TestUsageErrors(t *testing.T) {
	dir := t.TempDir()
	file := writeFile(t, filepath.Join(dir, "file"), "")
	misspelt := writeFile(t, filepath.Join(dir, "suite.yaml"), `name: mine
scenarios: [control-idle]
mechanisms: [none]
guests:
  - {kernel: cloud-6.12, vcpus: 1, memory_mib: 160}
repetitons: 2
`)
	unknown := writeFile(t, filepath.Join(dir, "unknown.yaml"), `name: mine
scenarios:
  - control-idle
  - spinlock-deadlok
mechanisms: [none]
guests:
  - {kernel: cloud-6.12, vcpus: 1, memory_mib: 160}
repetitions: 2
thresholds: {spin: 3}
`)
	empty := t.TempDir()
	for _, tc := range []struct {
		args []string
		want []string // each in the message
	}{
		{[]string{"frobnicate"}, []string{`no command "frobnicate"`, "run, resume, check, list, report, compare, export, timeline, lab, watch, recover, bench, doctor"}},
		{[]string{"lab", "frobnicate"}, []string{`hangbench lab has no command "frobnicate"`, "build, env, up, run, console, down, status"}},
		{[]string{"bench", "frobnicate"}, []string{`hangbench bench has no command "frobnicate"`}},

		{[]string{"run"}, []string{"run: 0 arguments, want 1"}},
		{[]string{"run", "ci", "quick"}, []string{"run: 2 arguments, want 1"}},
		{[]string{"run", "ci", "--sede", "2"}, []string{"--sede"}},
		{[]string{"run", "ci", "--seed", "-2"}, []string{"--seed", "-2"}},
		{[]string{"run", "ci", "--seed", "many"}, []string{"--seed", "many"}},
		{[]string{"run", "ci", "--jobs", "65"}, []string{"--jobs 65", "1 to 64"}},
		{[]string{"run", "ci", "--jobs", "-1"}, []string{"--jobs -1", "1 to 64"}},
		{[]string{"run", "ci", "--host", "mars"}, []string{"--host mars", "lab and xen"}},
		{[]string{"run", "ci", "--host", "xen", "--jobs", "2"}, []string{"--jobs 2", "one trial at a time"}},
		{[]string{"run", "nosuch"}, []string{`"nosuch"`, "not built in", "ci, classes", ".yaml"}},
		{[]string{"run", filepath.Join(dir, "absent.yaml")}, []string{"absent.yaml", "no such file"}},
		{[]string{"run", misspelt}, []string{misspelt + ":6:", `"repetitons"`, `did you mean "repetitions"?`}},
		{[]string{"run", "ci", "--cache", file}, []string{file}},
		{[]string{"run", "ci", "--cache", dir, "--source", dir}, []string{"--source " + dir, "not the root"}},

		{[]string{"check", "quik"}, []string{`"quik"`, `did you mean "quick"?`}},
		{[]string{"check", misspelt}, []string{misspelt + ":6:"}},
		{[]string{"check", unknown}, []string{unknown + ":4:", `did you mean "spinlock-deadlock"?`, unknown + ":9:", `did you mean "spin_ms"?`}},

		{[]string{"list", "guests"}, []string{"scenarios, mechanisms, detectors and suites", `"guests"`}},
		{[]string{"list", "suites", "scenarios"}, []string{"2 arguments, want at most 1"}},

		{[]string{"report", empty}, []string{empty, "manifest.json"}},
		{[]string{"report", filepath.Join(dir, "absent")}, []string{"absent"}},
		{[]string{"report", empty, "--format", "pdf"}, []string{`"pdf"`, "text, md, csv"}},
		{[]string{"resume", empty}, []string{empty, "manifest.json"}},
		{[]string{"resume"}, []string{"want 1"}},

		{[]string{"doctor", "who"}, []string{"1 arguments, want 0"}},
		{[]string{"bench", "lab", "--restores", "0"}, []string{"--restores 0", "1 to 100"}},
		{[]string{"bench", "kill", "--seeds", "0"}, []string{"--seeds 0", "1 to 100"}},
		{[]string{"bench", "kill", "--vcpus", "9"}, []string{"--vcpus 9", "1 to 8"}},
		{[]string{"bench", "kill", "--signal", "STOP"}, []string{"--signal STOP", "KILL, TERM and INT"}},
		{[]string{"bench", "kill", "--mechanisms", "none,magic"}, []string{`"magic"`, "exec-step"}},
		{[]string{"watch"}, []string{"0 arguments, want 1"}},
		{[]string{"watch", "guest", "--mechanism", "magic"}, []string{`"magic"`, "exec-step"}},
		{[]string{"watch", "guest", "--mechanism", "none"}, []string{"--mechanism none", "no monitor"}},
		{[]string{"watch", "guest", "--sample", "9ms"}, []string{"--sample 9ms", "10ms to 10s"}},
		{[]string{"watch", "guest", "--sample", "10001ms"}, []string{"--sample 10.001s", "10ms to 10s"}},
		{[]string{"watch", "guest", "--sample-ms", "9"}, []string{"warning: --sample-ms is now --sample, with a unit", "--sample 9ms", "10ms to 10s"}},
		{[]string{"watch", "guest", "--sample-ms", "nine"}, []string{"--sample-ms", "nine"}},
		{[]string{"bench", "kill", "--mechanism", "none,magic"}, []string{`"magic"`, "exec-step"}},
		{[]string{"bench", "kill", "--inside", "guest", "--seeds", "0"}, []string{"warning: --inside is now --host xen --domain", "--seeds 0"}},
		{[]string{"bench", "kill", "--host", "xen"}, []string{"--host xen needs --domain"}},
		{[]string{"bench", "kill", "--domain", "guest"}, []string{"--domain is for --host xen"}},
		{[]string{"lab", "bench", "--restores", "0"}, []string{`warning: "lab bench" is now "bench lab"`, "--restores 0"}},
		{[]string{"rnu"}, []string{`no command "rnu" (did you mean "run"?)`}},
		{[]string{"run", "ci", "--sede", "2"}, []string{`unknown flag: --sede (did you mean "--seed"?)`}},
		{[]string{"help", "lab", "upp"}, []string{`hangbench lab has no command "upp" (did you mean "up"?)`}},
		{[]string{"completion", "ksh"}, []string{"bash, zsh, fish", `"ksh"`}},
		{[]string{"watch", "guest", "--duration", "-1s"}, []string{"--duration -1s"}},
		{[]string{"recover"}, []string{"either a DOMAIN or --all"}},
		{[]string{"recover", "guest", "--all"}, []string{"either a DOMAIN or --all"}},
		{[]string{"bench", "event", "--host", "moon"}, []string{"--host moon", "lab and xen"}},
		{[]string{"bench", "event", "--host", "xen"}, []string{"--domain"}},
		{[]string{"bench", "event", "--domain", "guest"}, []string{"--domain is for --host xen"}},
		{[]string{"bench", "event", "--blocks", "0"}, []string{"--blocks 0", "1 to 100"}},
		{[]string{"bench", "event", "--window", "1ms"}, []string{"--window 1ms", "50ms to 1m"}},
		{[]string{"bench", "event", "--mechanism", "exec-magic"}, []string{"exec-magic", "exec-altp2m-fast"}},
		{[]string{"bench", "event", "--out", dir}, []string{"--out is for --breakdown"}},
		{[]string{"bench", "event", "guest"}, []string{"1 arguments, want 0"}},
		{[]string{"bench", "misses", "--host", "moon"}, []string{"--host moon", "lab and xen"}},
		{[]string{"bench", "misses", "--host", "xen"}, []string{"--domain"}},
		{[]string{"bench", "misses", "--domain", "guest"}, []string{"--domain is for --host xen"}},
		{[]string{"bench", "misses", "--vcpus", "9"}, []string{"--vcpus 9", "1 to 8"}},
		{[]string{"bench", "misses", "--window", "1ms"}, []string{"--window 1ms", "200ms to 1m"}},
		{[]string{"bench", "misses", "--sample", "1ms"}, []string{"--sample 1ms", "10ms to 1s"}},
		{[]string{"bench", "misses", "--window", "300ms", "--sample", "400ms"}, []string{"not longer than the window"}},
		{[]string{"bench", "misses", "--mechanism", "poll"}, []string{"--mechanism poll", "exec-altp2m"}},
		{[]string{"bench", "misses", "guest"}, []string{"1 arguments, want 0"}},
		{[]string{"lab", "run", "--guest", "--name", "x", "--cache", dir, "xl", "list"}, []string{"--guest starts a lab of its own"}},
		{[]string{"lab", "run"}, []string{"0 arguments, want at least 1"}},
		{[]string{"lab", "up", "--name", "../evil"}, []string{`--name "../evil"`}},
		{[]string{"lab", "up", "--name", ""}, []string{`--name ""`}},
		{[]string{"lab", "status", "--cache", file}, []string{file, "HANGBENCH_CACHE"}},
		{[]string{"lab", "status"}, []string{"no home folder", "HANGBENCH_CACHE"}},
		{[]string{"lab", "down", "--cache", dir}, []string{"no lab of that name is running", "hangbench lab up"}},
		{[]string{"lab", "console", "--cache", dir}, []string{"no lab of that name is running"}},
		{[]string{"lab", "console", "-f", "--cache", dir}, []string{"no lab of that name is running"}},
		{[]string{"lab", "run", "--name", "second", "--cache", dir, "xl", "list"}, []string{"no lab of that name is running"}},
	} {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			status, stdout, stderr := hangbench(t, tc.args...)
			if status != exit.Usage || stdout != "" {
				t.Errorf("status %d, stdout %q", status, stdout)
			}
			if !strings.HasPrefix(stderr, "hangbench: ") {
				t.Errorf("stderr %q does not say who speaks", stderr)
			}
			for _, want := range tc.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("stderr lacks %q:\n%s", want, stderr)
				}
			}
		})
	}
}

// TestNoCommand: the commands are shown, and the status says that something
// was wrong.
func TestNoCommand(t *testing.T) {
	for _, args := range [][]string{nil, {"lab"}, {"bench"}} {
		status, stdout, stderr := hangbench(t, args...)
		name := strings.Join(append([]string{"hangbench"}, args...), " ")
		if status != exit.Usage || stdout != "" || !strings.Contains(stderr, "usage: "+name+" COMMAND") || !strings.Contains(stderr, name+" what?") {
			t.Errorf("%s: status %d, stdout %q, stderr\n%s", name, status, stdout, stderr)
		}
	}
}

// TestMissing: what the host lacks ends with status 3.
func TestMissing(t *testing.T) {
	t.Run("source", func(t *testing.T) {
		t.Chdir(t.TempDir())
		for _, args := range [][]string{{"lab", "build"}, {"run", "ci"}, {"lab", "up"}, {"lab", "bench"}} {
			status, stdout, stderr := hangbench(t, append(args, "--cache", t.TempDir())...)
			if status != exit.Missing || stdout != "" || !strings.Contains(stderr, "--source") {
				t.Errorf("%v: status %d, stdout %q, stderr %q", args, status, stdout, stderr)
			}
		}
	})
	t.Run("xen", func(t *testing.T) {
		if xen, err := xenctrl.Open(); err == nil {
			xen.Close()
			t.Skip("this machine is a Xen control domain")
		}
		for _, args := range [][]string{{"run", "ci", "--host", "xen"}, {"run", "ci", "--host", "xen", "--guests", t.TempDir()}} {
			out := filepath.Join(t.TempDir(), "runs")
			status, stdout, stderr := hangbench(t, append(args, "--out", out)...)
			if status != exit.Missing || stdout != "" || !strings.Contains(stderr, "Xen") {
				t.Errorf("%v: status %d, stdout %q, stderr %q", args, status, stdout, stderr)
			}
			if _, err := os.Stat(out); err == nil {
				t.Errorf("%v: a run that could not begin has left a folder", args)
			}
		}
	})
	t.Run("everything", func(t *testing.T) {
		if xen, err := xenctrl.Open(); err == nil {
			xen.Close()
			t.Skip("this machine is a Xen control domain")
		}
		t.Setenv("PATH", t.TempDir()) // no go, no apt-get
		status, stdout, stderr := hangbench(t, "doctor", "--cache", t.TempDir())
		if status != exit.Missing || !strings.Contains(stderr, "neither the lab nor a real Xen host is usable") {
			t.Errorf("doctor: status %d, stderr %q", status, stderr)
		}
		for _, want := range []string{"host lab", "host xen", "missing go ", "install Go", "missing apt-get", "missing dom0", "absent  packages", "hangbench lab build"} {
			if !strings.Contains(stdout, want) {
				t.Errorf("doctor does not say %q:\n%s", want, stdout)
			}
		}
		if strings.Contains(stdout, "usable") {
			t.Errorf("doctor finds something usable:\n%s", stdout)
		}
	})
}

func TestExitCode(t *testing.T) {
	live := context.Background()
	ended, cancel := context.WithCancel(live)
	cancel()
	wrap := func(err error) error { return fmt.Errorf("attempt: %w", errors.Join(err)) }
	for _, tc := range []struct {
		name string
		ctx  context.Context
		err  error
		want int
	}{
		{"done", live, nil, exit.Done},
		{"done before it could be interrupted", ended, nil, exit.Done},
		{"help", live, pflag.ErrHelp, exit.Done},
		{"failed trials", live, wrap(exit.ErrFailed), exit.Failed},
		{"usage", live, wrap(exit.Usagef("wrong")), exit.Usage},
		{"usage, interrupted", ended, exit.Usagef("wrong"), exit.Usage},
		{"missing", live, wrap(exit.MissingError{Err: errors.New("lacks it")}), exit.Missing},
		{"missing tool", live, wrap(&debian.MissingToolError{Tool: "apt-get"}), exit.Missing},
		{"not built", live, wrap(xenctrl.ErrNotBuilt), exit.Missing},
		{"no Xen", live, wrap(xenctrl.ErrNoXen), exit.Missing},
		{"no xl", live, wrap(xl.ErrNoXL), exit.Missing},
		{"broken", live, errors.New("disk is full"), exit.Broken},
		{"interrupted", ended, wrap(context.Canceled), exit.Interrupted},
		{"interrupted, whatever came of it", ended, errors.New("emulator was killed"), exit.Interrupted},
		{"a deadline of our own", live, wrap(context.DeadlineExceeded), exit.Broken},
	} {
		if got := exitStatus(tc.ctx, tc.err); got != tc.want {
			t.Errorf("%s: status %d, want %d", tc.name, got, tc.want)
		}
	}
}

func TestList(t *testing.T) {
	status, stdout, stderr := hangbench(t, "list")
	if status != exit.Done || stderr != "" {
		t.Fatalf("status %d, stderr %q", status, stderr)
	}
	golden(t, "list.golden", stdout)
	// Each list alone is what stands below its heading.
	whole := ""
	for _, what := range []string{"scenarios", "mechanisms", "detectors", "suites"} {
		_, part, _ := hangbench(t, "list", what)
		whole += what + ":\n" + part
	}
	if whole != stdout {
		t.Errorf("the lists one by one differ from all together:\n%s", whole)
	}
}

func TestCheck(t *testing.T) {
	for name, args := range map[string][]string{
		"check-quick.golden":   {"check", "quick"},
		"check-ci-seed.golden": {"check", "--seed", "18446744073709551615", "ci"},
		"check-ci.json":        {"check", "ci", "--json"},
	} {
		status, stdout, stderr := hangbench(t, args...)
		if status != exit.Done || stderr != "" {
			t.Fatalf("%v: status %d, stderr %q", args, status, stderr)
		}
		golden(t, name, stdout)
	}
	// The JSON is the plan itself: it reads back as the trials that run.
	_, stdout, _ := hangbench(t, "check", "ci", "--json", "--seed", "5")
	var got struct {
		Schema int
		Suite  string
		Seed   uint64
		Trials []plan.Trial
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	s, err := loadSuite("ci")
	if err != nil {
		t.Fatal(err)
	}
	if want := plan.Expand(s, 5); got.Schema != 1 || got.Suite != "ci" || got.Seed != 5 || fmt.Sprint(got.Trials) != fmt.Sprint(want) {
		t.Errorf("check --json reads back as %+v, want the trials %+v", got, want)
	}
}

// TestCheckFile: a suite of the user's own.
func TestCheckFile(t *testing.T) {
	path := writeFile(t, filepath.Join(t.TempDir(), "mine.yaml"), `name: mine
description: my own
scenarios: [control-idle]
mechanisms: [none, exec-step]
guests:
  - {kernel: cloud-6.12, vcpus: 2, memory_mib: 256}
repetitions: 3
`)
	status, stdout, stderr := hangbench(t, "check", path)
	if status != exit.Done || stderr != "" || !strings.Contains(stdout, "mine: my own\n") || !strings.Contains(stdout, "6 trials") || !strings.Contains(stdout, "2 vCPU 256 MiB") {
		t.Errorf("status %d, stderr %q, stdout\n%s", status, stderr, stdout)
	}
}

func TestLabStatus(t *testing.T) {
	cache := t.TempDir()
	status, stdout, stderr := hangbench(t, "lab", "status", "--cache", cache)
	if want := fmt.Sprintf("cache %s: 0 MiB\n  no lab; make one with: hangbench lab build\nnothing is running\n", cache); status != exit.Done || stderr != "" || stdout != want {
		t.Errorf("empty cache: status %d, stderr %q, stdout %q, want %q", status, stderr, stdout, want)
	}

	// A lab with a snapshot, and what a killed keeper leaves behind.
	dir := filepath.Join(cache, "labs", "0123456789abcdef")
	for _, d := range []string{filepath.Join(dir, "snapshots", "dom0"), upDir(lab.Cache(cache))} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(dir, "lab.json"), "{}\n")
	writeFile(t, filepath.Join(upDir(lab.Cache(cache)), "lab.sock"), "")
	status, stdout, stderr = hangbench(t, "lab", "status", "--cache", cache)
	if status != exit.Done || stderr != "" || !strings.Contains(stdout, "lab 0123456789abcdef: 0 MiB, snapshots: dom0\n") || !strings.HasSuffix(stdout, "nothing is running\n") {
		t.Errorf("status %d, stderr %q, stdout %q", status, stderr, stdout)
	}
	if status, _, stderr := hangbench(t, "lab", "down", "--cache", cache); status != exit.Usage || !strings.Contains(stderr, "no lab of that name is running") {
		t.Errorf("lab down with a dead keeper's socket: status %d, stderr %q", status, stderr)
	}
}
