package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hangbench/bench/agent"
	"hangbench/bench/exit"
	"hangbench/guests/lab"
	"hangbench/guests/lab/bochs"
)

// fakeMachine is a lab without an emulator: programs in its dom0 print their
// arguments.
type fakeMachine struct {
	dir  string
	done chan struct{}
}

func (m *fakeMachine) Done() <-chan struct{} { return m.done }
func (m *fakeMachine) PID() int              { return 4711 }
func (m *fakeMachine) Dir() string           { return m.dir }

func (m *fakeMachine) Exec(argv []string) (agent.Output, error) {
	switch argv[0] {
	case "false":
		return agent.Output{Stderr: "it was false\n", Status: 7}, nil
	case "absent":
		return agent.Output{}, errors.New("dom0: there is no program absent")
	}
	return agent.Output{Stdout: strings.Join(argv, " ") + "\n"}, nil
}

// keepFake keeps a fake machine as the named lab of a new cache. It returns the cache
// and the keeper's end.
func keepFake(t *testing.T, ctx context.Context, m *fakeMachine, name string) (cache string, ended <-chan error) {
	t.Helper()
	cache = t.TempDir()
	dir := upDir(lab.Cache(cache))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path, closer, err := socketPath(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	// The path through the descriptor ends with it.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	end := make(chan error, 1)
	go func() {
		err := serve(ctx, l, m, "0123456789abcdef")
		os.Remove(filepath.Join(dir, name+".sock"))
		end <- err
	}()
	return cache, end
}

// TestKeeper: the commands that talk to a running lab, from up to down.
func TestKeeper(t *testing.T) {
	t.Parallel()
	m := &fakeMachine{dir: t.TempDir(), done: make(chan struct{})}
	cache, ended := keepFake(t, t.Context(), m, "second")
	run := func(want int, stdout, stderr string, args ...string) {
		t.Helper()
		status, out, errs := hangbench(t, slices.Concat(args[:2], []string{"--cache", cache}, args[2:])...)
		if status != want || out != stdout || errs != stderr {
			t.Errorf("%q: status %d, stdout %q, stderr %q; want %d, %q, %q", args, status, out, errs, want, stdout, stderr)
		}
	}
	run(exit.Done, "xl list --long\n", "", "lab", "run", "--name", "second", "xl", "list", "--long")
	run(exit.Failed, "", "it was false\nhangbench: false ended with status 7 in dom0\n",
		"lab", "run", "--name", "second", "false")
	run(exit.Broken, "", "hangbench: dom0: there is no program absent\n", "lab", "run", "--name", "second", "absent")
	run(exit.Usage, "", "hangbench: lab second is up already ("+m.dir+")\n", "lab", "up", "--name", "second")
	run(exit.Usage, "", "hangbench: no lab of that name is running; start it with: hangbench lab up\n", "lab", "down")
	run(exit.Done, fmt.Sprintf("cache %s: 0 MiB\n  no lab; make one with: hangbench lab build\n"+
		"up: second (lab 0123456789abcdef, emulator is process 4711, logs in %s)\n", cache, m.dir), "", "lab", "status")

	run(exit.Done, "", "nothing was written to the console since the lab was restored\n",
		"lab", "console", "--name", "second")
	writeFile(t, filepath.Join(m.dir, bochs.ConsoleLog), "(XEN) hello\n")
	run(exit.Done, "(XEN) hello\n", "", "lab", "console", "--name", "second")

	// A client that sends no request, or nonsense, gets no answer and does not end the
	// keeper.
	path, closer, err := socketPath(upDir(lab.Cache(cache)), "second")
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	for _, text := range []string{"", "nonsense\n", "[1]\n"} {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Error(err)
		}
		conn.(*net.UnixConn).CloseWrite()
		if n, err := conn.Read(make([]byte, 1)); n != 0 {
			t.Errorf("%q was answered (%v)", text, err)
		}
		conn.Close()
	}
	run(exit.Done, "lab second is down\n", "", "lab", "down", "--name", "second")
	if err := <-ended; err != nil {
		t.Errorf("the keeper ended with %v", err)
	}
	run(exit.Usage, "", "hangbench: no lab of that name is running; start it with: hangbench lab up\n",
		"lab", "down", "--name", "second")
}

// TestKeeperEnds: a keeper ends when its emulator does, and when it is interrupted.
func TestKeeperEnds(t *testing.T) {
	t.Parallel()
	m := &fakeMachine{dir: "the-logs", done: make(chan struct{})}
	_, ended := keepFake(t, t.Context(), m, "lab")
	close(m.done)
	err := <-ended
	if err == nil || err.Error() != "the emulator ended by itself; its logs are in the-logs" {
		t.Errorf("after the emulator's end: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, ended = keepFake(t, ctx, &fakeMachine{done: make(chan struct{})}, "lab")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// TestConsoleFollow: with --follow the console goes on until the command is
// interrupted.
func TestConsoleFollow(t *testing.T) {
	t.Parallel()
	m := &fakeMachine{dir: t.TempDir(), done: make(chan struct{})}
	cache, _ := keepFake(t, t.Context(), m, "lab")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	env, stdout, _ := testEnv()
	lines := make(chan string)
	env.Stdout = writerFunc(func(b []byte) (int, error) {
		lines <- string(b)
		return stdout.Write(b)
	})
	status := make(chan int)
	go func() { status <- Main(ctx, env, []string{"lab", "console", "-f", "--cache", cache}) }()
	path := filepath.Join(m.dir, bochs.ConsoleLog)
	for _, text := range []string{"one\n", "two\n"} {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-lines:
			if got != text {
				t.Errorf("the console goes on with %q, want %q", got, text)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%q never comes", text)
		}
	}
	cancel()
	if got := <-status; got != exit.Done {
		t.Errorf("status %d", got)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// TestSocketPath: a folder whose path is longer than the kernel lets a socket's be.
func TestSocketPath(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 40))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path, closer, err := socketPath(dir, strings.Repeat("n", 32))
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	if len(path) >= 108 || len(dir) < 108 {
		t.Errorf("%d bytes for a folder of %d", len(path), len(dir))
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := os.Stat(filepath.Join(dir, strings.Repeat("n", 32)+".sock")); err != nil {
		t.Error(err)
	}
	if _, _, err := socketPath(filepath.Join(dir, "absent"), "lab"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}
