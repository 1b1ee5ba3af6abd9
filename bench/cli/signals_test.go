package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/bench/dom0cmd"
	"hangbench/bench/exit"
	"hangbench/bench/progress"
	"hangbench/guests/lab"
)

// TestTwice: a second signal within half a second is the first one again.
func TestTwice(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		after []time.Duration // of each further signal, from the one before
		ends  bool
	}{
		{nil, false},
		{[]time.Duration{0}, false},
		{[]time.Duration{499 * time.Millisecond}, false},
		{[]time.Duration{500 * time.Millisecond}, true},
		{[]time.Duration{0, 499 * time.Millisecond}, false},
		{[]time.Duration{0, 0, time.Second}, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			signals := make(chan os.Signal, 2)
			asked, ended := 0, false
			go func() {
				twice(signals, func() { asked++ })
				ended = true
			}()
			signals <- os.Interrupt
			for _, d := range tc.after {
				time.Sleep(d)
				signals <- os.Interrupt
				synctest.Wait()
			}
			synctest.Wait()
			if asked != 1 || ended != tc.ends {
				t.Errorf("%v: heard %d times, ended %v", tc.after, asked, ended)
			}
			for !ended { // so that no goroutine is left
				time.Sleep(settle)
				signals <- os.Interrupt
				synctest.Wait()
			}
		})
	}
}

// waits is a program for TestSignals that takes its time after a signal.
func waits() {
	ctx := WithSignals(context.Background(), os.Stderr)
	fmt.Println("ready")
	select {
	case <-ctx.Done():
		time.Sleep(2 * settle)
		os.Exit(7)
	case <-time.After(2 * settle):
		os.Exit(0)
	}
}

// TestSignals: what a process does at a signal.
func TestSignals(t *testing.T) {
	t.Parallel()
	// Under nohup the tests ignore SIGHUP, and so would what they start.
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, unix.SIGHUP)
	t.Cleanup(func() { signal.Stop(heard) })
	for _, tc := range []struct {
		name    string
		command string // of a shell
		send    []unix.Signal
		pause   time.Duration // between signals
		status  int
	}{
		{"none", "exec hangbench-waits", nil, 0, 0},
		{"interrupt", "exec hangbench-waits", []unix.Signal{unix.SIGINT}, 0, 7},
		{"end", "exec hangbench-waits", []unix.Signal{unix.SIGTERM}, 0, 7},
		{"hangup", "exec hangbench-waits", []unix.Signal{unix.SIGHUP}, 0, 7},
		{"timeout(1)", "exec hangbench-waits", []unix.Signal{unix.SIGTERM, unix.SIGTERM}, 0, 7},
		{"twice", "exec hangbench-waits", []unix.Signal{unix.SIGINT, unix.SIGINT}, settle + 100*time.Millisecond,
			exit.Interrupted},
		{"quit", "exec hangbench-waits", []unix.Signal{unix.SIGQUIT}, 0, 2}, // Go's own
		{"nohup", "trap '' HUP; exec hangbench-waits", []unix.Signal{unix.SIGHUP}, 0, 0},
		{"nohup, interrupted", "trap '' HUP; exec hangbench-waits", []unix.Signal{unix.SIGHUP, unix.SIGINT}, 0, 7},
		{"background job", "trap '' INT; exec hangbench-waits", []unix.Signal{unix.SIGINT}, 0, 0},
		{"both", "trap '' INT HUP; exec hangbench-waits", []unix.Signal{unix.SIGINT, unix.SIGHUP}, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := exec.Command("sh", "-c", tc.command)
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
				t.Errorf("%q, %v", line, err)
			}
			for i, s := range tc.send {
				if i > 0 {
					time.Sleep(tc.pause)
				}
				if err := c.Process.Signal(s); err != nil {
					t.Error(err)
				}
			}
			var ended *exec.ExitError
			if err := c.Wait(); err != nil && !errors.As(err, &ended) {
				t.Fatal(err)
			}
			if got := c.ProcessState.ExitCode(); got != tc.status {
				t.Errorf("status %d, want %d", got, tc.status)
			}
		})
	}
}

// TestInterruptedRead: a command that waits for its input ends at the first signal,
// with one sentence.
func TestInterruptedRead(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"check", "suite.yaml"}, {"run", "suite.yaml"}, {"timeline", "stream.jsonl"},
		{"timeline", "stream.jsonl", "--record", "streams"}, {"kernel", "check", "kernel.deb"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			c := exec.Command("hangbench", args...)
			c.Dir = t.TempDir()
			// The program waits in open(2) until this process gives up its lease.
			name := args[slices.IndexFunc(args, func(arg string) bool { return strings.Contains(arg, ".") })]
			file, err := os.Create(filepath.Join(c.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if _, err := unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			c.Stderr = &stderr
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			for lease := unix.F_WRLCK; lease == unix.F_WRLCK; time.Sleep(10 * time.Millisecond) {
				if lease, err = unix.FcntlInt(file.Fd(), unix.F_GETLEASE, 0); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Process.Signal(unix.SIGINT); err != nil {
				t.Fatal(err)
			}
			c.Wait()
			const want = "hangbench: interrupted; to go on, give the command again\n"
			if c.ProcessState.ExitCode() != exit.Interrupted || !strings.HasSuffix(stderr.String(), want) {
				t.Errorf("%v: %s", c.ProcessState, &stderr)
			}
		})
	}
}

// TestInterruptedFetch: who interrupts the download of the lab's packages is told in one
// sentence what is kept.
func TestInterruptedFetch(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("there is no apt-get")
	}
	mirror, err := net.Listen("tcp", "127.0.0.1:0") // which never answers
	if err != nil {
		t.Fatal(err)
	}
	defer mirror.Close()
	repo, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	c := exec.Command("hangbench", "run", "ci", "--source", repo, "--cache", cache, "--out", t.TempDir(),
		"--mirror", "http://"+mirror.Addr().String())
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); !strings.HasSuffix(strings.ToLower(name), "_proxy") {
			c.Env = append(c.Env, v)
		}
	}
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	asked := make(chan net.Conn, 1)
	ended := make(chan error, 1)
	go func() {
		conn, err := mirror.Accept()
		if err == nil {
			asked <- conn
		}
	}()
	go func() { ended <- c.Wait() }()
	select {
	case conn := <-asked:
		defer conn.Close()
	case <-ended:
		t.Fatalf("it ends before it asks the mirror: %s", &stderr)
	}
	if err := c.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	<-ended
	want := "hangbench: interrupted; what was fetched and built is kept in " + cache +
		"; to go on, give the command again\n"
	if c.ProcessState.ExitCode() != exit.Interrupted || !strings.HasSuffix(stderr.String(), want) {
		t.Errorf("%v: %s", c.ProcessState, &stderr)
	}
}

// TestExplainEnd: what failed because a signal ended the command is not told as a
// failure. What the lab's cache keeps is said.
func TestExplainEnd(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	soon, cancelSoon := context.WithTimeout(t.Context(), settle/10)
	defer cancelSoon()
	asked := exec.Command("sh", "-c", "kill $$").Run()
	killed := errors.New("compile the lab's agent: go build: signal: killed")
	for _, tc := range []struct {
		name  string
		ctx   context.Context
		cache string
		err   error
		want  string
	}{
		{"a failure", t.Context(), "/c", killed, killed.Error()},
		{"before the lab", ended, "", context.Canceled, "interrupted; to go on, give the command again"},
		{"while the lab is built", ended, "/c", killed,
			"interrupted; what was fetched and built is kept in /c; to go on, give the command again"},
		{"a mistake", ended, "/c", exit.Usagef("wrong"), "wrong"},
		{"a run", ended, "/c", interruptedError{"go on so"}, "go on so"},
		{"a watch", ended, "", dom0cmd.WatchedError{Err: killed}, killed.Error()},
		{"done all the same", ended, "/c", nil, "<nil>"},
		{"a program heard the signal first", soon, "", fmt.Errorf("apt-get update: %w", asked),
			"interrupted; to go on, give the command again"},
		{"a program was ended alone", t.Context(), "", asked, "signal: terminated"},
		{"a program failed", t.Context(), "", exec.Command("false").Run(), "exit status 1"},
	} {
		env, _, _ := testEnv()
		a, _ := newApp(env, nil)
		var kept progress.File
		a.log = slog.New(progress.NewText(&kept))
		a.cache = lab.Cache(tc.cache)
		if got := fmt.Sprint(a.explainEnd(tc.ctx, tc.err)); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}
