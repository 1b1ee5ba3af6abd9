package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hangbench/bench/agent"
	"hangbench/bench/exit"
	"hangbench/bench/labhost"
	"hangbench/guests/lab"
	"hangbench/guests/lab/bochs"
)

// fakeMachine is a lab without an emulator: programs in its dom0 print their
// arguments.
type fakeMachine struct {
	dir  string
	done chan struct{}
	// waits gets a value when the program "wait" has begun; stopped when it was stopped.
	waits, stopped chan struct{}
}

func newFake(t *testing.T) *fakeMachine {
	return &fakeMachine{dir: t.TempDir(), done: make(chan struct{}), waits: make(chan struct{}, 9),
		stopped: make(chan struct{}, 9)}
}

func (m *fakeMachine) Done() <-chan struct{} { return m.done }
func (m *fakeMachine) PID() int              { return 4711 }
func (m *fakeMachine) Dir() string           { return m.dir }
func (m *fakeMachine) Close() error          { return nil }

func (m *fakeMachine) Run(ctx context.Context, argv []string, stdout, stderr io.Writer) (int, error) {
	switch argv[0] {
	case "false":
		io.WriteString(stderr, "it was false\n")
		return 7, nil
	case "absent":
		return 0, &labhost.AgentError{Failure: agent.Failure{Error: "there is no program absent", NoProgram: true}}
	case "broken":
		return 0, errors.New("the emulator ended")
	case "wait":
		io.WriteString(stdout, "it begins\n")
		m.waits <- struct{}{}
		<-ctx.Done()
		m.stopped <- struct{}{}
		return 137, context.Cause(ctx)
	case "flood":
		for range 300 {
			if _, err := stdout.Write(bytes.Repeat([]byte("\xff\n"), 5<<10)); err != nil {
				return 0, err
			}
		}
		return 0, nil
	case "slow":
		time.Sleep(answerPatience + time.Second)
	}
	io.WriteString(stdout, strings.Join(argv, " ")+"\n")
	return 0, nil
}

// keepFake keeps a fake machine as the named lab of a new cache. It returns the cache
// and the keeper's end.
func keepFake(t *testing.T, ctx context.Context, m *fakeMachine, name string) (cache string, ended <-chan error) {
	t.Helper()
	cache = t.TempDir()
	l, release, err := listen(t.Context(), lab.Cache(cache), name)
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan error, 1)
	k := newKeeper(name)
	go func() {
		end <- k.keep(ctx, l, func(context.Context) (machine, string, error) { return m, "0123456789abcdef", nil }, release)
	}()
	for { // until it is up
		if at, err := ask(t.Context(), lab.Cache(cache), name, request{}, nil); err != nil {
			t.Fatal(err)
		} else if at.Lab != "" {
			return cache, end
		}
	}
}

// TestKeeper: the commands that talk to a running lab, from up to down.
func TestKeeper(t *testing.T) {
	t.Parallel()
	m := newFake(t)
	cache, ended := keepFake(t, t.Context(), m, "second")
	run := func(want int, stdout, stderr string, args ...string) {
		t.Helper()
		status, out, errs := hangbench(t, slices.Concat(args[:2], []string{"--cache", cache}, args[2:])...)
		if status != want || out != stdout || errs != stderr {
			t.Errorf("%q: status %d, stdout %q, stderr %q; want %d, %q, %q", args, status, out, errs, want, stdout, stderr)
		}
	}
	run(exit.Done, "xl list --long\n", "", "lab", "run", "--name", "second", "xl", "list", "--long")
	run(7, "", "it was false\n", "lab", "run", "--name", "second", "false")
	run(exit.Usage, "", "hangbench: dom0: there is no program absent\n", "lab", "run", "--name", "second", "absent")
	run(exit.Broken, "", "hangbench: the emulator ended\n", "lab", "run", "--name", "second", "broken")
	run(exit.Done, strings.Repeat("\xff\n", 1500<<10), "", "lab", "run", "--name", "second", "flood")
	run(exit.Done, "slow\n", "", "lab", "run", "--name", "second", "slow")
	run(exit.Usage, "", "hangbench: lab second is up already ("+m.dir+")\n", "lab", "up", "--name", "second")
	run(exit.Usage, "", "hangbench: no lab of that name is running; start it with: hangbench lab up\n", "lab", "down")
	run(exit.Done, fmt.Sprintf("cache %s: 0 MiB\n  no lab; make one with: hangbench lab build\n"+
		"up: second (lab 0123456789abcdef, emulator is process 4711, logs in %s)\n", cache, m.dir), "", "lab", "status")

	run(exit.Done, "", "nothing was written to the console since the lab was restored\n",
		"lab", "console", "--name", "second")
	writeFile(t, filepath.Join(m.dir, bochs.ConsoleLog), "(XEN) hello\n")
	run(exit.Done, "(XEN) hello\n", "", "lab", "console", "--name", "second")

	run(exit.Done, "lab second is down\n", "", "lab", "down", "--name", "second")
	if err := <-ended; err != nil {
		t.Errorf("the keeper ended with %v", err)
	}
	run(exit.Usage, "", "hangbench: no lab of that name is running; start it with: hangbench lab up\n",
		"lab", "down", "--name", "second")
}

// TestKeeperBusy: while a program runs, the lab says what it does, another program
// waits, and the lab can be stopped.
func TestKeeperBusy(t *testing.T) {
	t.Parallel()
	m := newFake(t)
	cache, ended := keepFake(t, t.Context(), m, "lab")
	type result struct {
		status         int
		stdout, stderr string
	}
	command := func(ctx context.Context, args ...string) <-chan result {
		c := make(chan result, 1)
		go func() {
			env, stdout, stderr := testEnv()
			status := Main(ctx, env, slices.Concat(args[:2], []string{"--cache", cache}, args[2:]))
			c <- result{status, stdout.String(), stderr.String()}
		}()
		return c
	}
	ctx, interrupt := context.WithCancel(t.Context())
	first := command(ctx, "lab", "run", "wait", "long")
	<-m.waits
	if got := <-command(t.Context(), "lab", "status"); got.status != exit.Done || got.stderr != "" ||
		!strings.Contains(got.stdout, "up: lab (lab 0123456789abcdef, emulator is process 4711, logs in ") ||
		!strings.Contains(got.stdout, ") is busy with wait long for ") {
		t.Errorf("status of a busy lab: %+v", got)
	}
	told := make(chan string, 1)
	second := make(chan error, 1)
	go func() {
		_, err := ask(t.Context(), lab.Cache(cache), "lab", request{Exec: []string{"next"}}, func(a answer) error {
			if a.Stdout != nil {
				return nil
			}
			select {
			case told <- a.busy():
			default:
			}
			return nil
		})
		second <- err
	}()
	if busy := <-told; !strings.HasPrefix(busy, "busy with wait long for ") {
		t.Errorf("who waits is told %q", busy)
	}
	interrupt()
	if got := <-first; got.status != exit.Interrupted {
		t.Errorf("interrupted: %+v", got)
	}
	<-m.stopped // the program does not outlive its client
	if err := <-second; err != nil {
		t.Errorf("the program behind it: %v", err)
	}

	third := command(t.Context(), "lab", "run", "wait")
	<-m.waits
	if got := <-command(t.Context(), "lab", "down"); got != (result{exit.Done, "lab lab is down\n", ""}) {
		t.Errorf("down while a program runs: %+v", got)
	}
	if got := <-third; got != (result{exit.Broken, "it begins\n", "hangbench: the lab was stopped\n"}) {
		t.Errorf("its program: %+v", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("the keeper ended with %v", err)
	}
}

// TestKeeperStarts: a lab that is being started says so, runs nothing, and can be
// stopped.
func TestKeeperStarts(t *testing.T) {
	t.Parallel()
	cache := lab.Cache(t.TempDir())
	l, release, err := listen(t.Context(), cache, "lab")
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan error, 1)
	go func() {
		end <- newKeeper("lab").keep(t.Context(), l, func(ctx context.Context) (machine, string, error) {
			<-ctx.Done()
			return nil, "", fmt.Errorf("boot: %w", ctx.Err())
		}, release)
	}()
	for _, tc := range []struct {
		status       int
		stdout, errs string
		args         []string
	}{
		{exit.Done, "up: lab is being started\n", "", []string{"status"}},
		{exit.Broken, "", "hangbench: lab lab is being started: try again in a moment\n", []string{"run", "xl", "list"}},
		{exit.Broken, "", "hangbench: lab lab is being started: it has no console yet\n", []string{"console"}},
		{exit.Done, "lab lab is down\n", "", []string{"down"}},
	} {
		args := slices.Concat([]string{"lab", tc.args[0], "--cache", string(cache)}, tc.args[1:])
		status, out, errs := hangbench(t, args...)
		if status != tc.status || !strings.HasSuffix(out, tc.stdout) || errs != tc.errs {
			t.Errorf("%v: status %d, %q, %q", tc.args, status, out, errs)
		}
	}
	if err := <-end; err != nil {
		t.Errorf("the keeper ended with %v", err)
	}
}

// TestOneKeeper: of several keepers of one name one goes on, and the others are told.
// Once it has ended the name is free.
func TestOneKeeper(t *testing.T) {
	t.Parallel()
	cache := lab.Cache(t.TempDir())
	// What a keeper that was killed leaves behind.
	if err := os.Mkdir(upDir(cache), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(upDir(cache), "lab.sock"), "")
	writeFile(t, filepath.Join(upDir(cache), "lab.lock"), "")
	for range 3 {
		var group sync.WaitGroup
		ends := make(chan error, 8)
		for range cap(ends) {
			group.Go(func() {
				l, release, err := listen(t.Context(), cache, "lab")
				if err == nil {
					err = newKeeper("lab").keep(t.Context(), l, func(context.Context) (machine, string, error) {
						return newFake(t), "0123456789abcdef", nil
					}, release)
				}
				ends <- err
			})
		}
		for range cap(ends) - 1 {
			if err := <-ends; err != errTaken {
				t.Errorf("a keeper that came late: %v", err)
			}
		}
		if _, err := ask(t.Context(), cache, "lab", request{Stop: true}, nil); err != nil {
			t.Error(err)
		}
		if err := <-ends; err != nil {
			t.Errorf("the one that was up: %v", err)
		}
		group.Wait()
	}
}

// TestBadClients: a client that sends no request, half of one or nonsense gets no
// answer. Neither it nor many of them, nor one that does not read, disturb the keeper.
func TestBadClients(t *testing.T) {
	t.Parallel()
	m := newFake(t)
	cache, ended := keepFake(t, t.Context(), m, "lab")
	path, closer, err := socketPath(upDir(lab.Cache(cache)), "lab")
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	dial := func() *net.UnixConn {
		t.Helper()
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn.(*net.UnixConn)
	}
	huge := `{"exec":["` + strings.Repeat("x", 2<<20)
	for _, text := range []string{"", "nonsense\n", "[1]\n", `{"exec":["xl"`, `{"stop":1}`, huge} {
		conn := dial()
		go func() {
			io.WriteString(conn, text) // the keeper may close it first
			conn.CloseWrite()
		}()
		if n, _ := conn.Read(make([]byte, 1)); n != 0 {
			t.Errorf("%.20q was answered", text)
		}
	}
	// One that dies while its program runs, and one that never reads what is sent.
	dying, deaf := dial(), dial()
	if _, err := io.WriteString(dying, `{"exec":["wait"]}`); err != nil {
		t.Fatal(err)
	}
	<-m.waits
	dying.Close()
	<-m.stopped
	if _, err := io.WriteString(deaf, `{"exec":["flood"]}`); err != nil {
		t.Fatal(err)
	}
	// A crowd that says nothing: the keeper sends away those that are too many.
	crowd := make([]*net.UnixConn, 2*maxClients)
	for i := range crowd {
		crowd[i] = dial()
	}
	sent := 0
	for _, c := range crowd[maxClients:] {
		if n, _ := c.Read(make([]byte, 1)); n == 0 {
			sent++
		}
	}
	if sent != maxClients {
		t.Errorf("%d of %d are sent away", sent, maxClients)
	}
	for _, c := range crowd {
		c.Close()
	}
	for { // the places become free
		if _, err = ask(t.Context(), lab.Cache(cache), "lab", request{Stop: true}, nil); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := <-ended; err != nil {
		t.Errorf("the keeper ended with %v", err)
	}
}

// TestBadKeepers: a keeper that does not answer, answers nonsense or dies is reported,
// and the first interrupt ends the wait.
func TestBadKeepers(t *testing.T) {
	t.Parallel()
	keeper := func(answers string, stay bool) lab.Cache {
		cache := lab.Cache(t.TempDir())
		l, release, err := listen(t.Context(), cache, "lab")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			l.Close()
			release()
		})
		go func() {
			var open []net.Conn // a connection without a holder may be collected, and closed
			for {
				conn, err := l.Accept()
				if err != nil {
					break
				}
				io.WriteString(conn, answers)
				if open = append(open, conn); !stay {
					conn.Close()
				}
			}
			for _, conn := range open {
				conn.Close()
			}
		}()
		return cache
	}
	pid := os.Getpid()
	stopped := fmt.Sprintf("lab lab does not answer: its keeper, process %d, was stopped, or hangs; "+
		"go on with kill -CONT %d, or end it and its emulator with kill -9 %d", pid, pid, pid)
	for _, tc := range []struct {
		answers string
		stay    bool
		want    string
	}{
		{"", true, stopped},
		{`{"name":`, true, stopped},
		{"", false, "lab lab has ended before it answered"},
		{`{"name":"lab"}`, false, "lab lab has ended before it answered"},
		{`{"name":`, false, "lab lab has ended before it answered"},
		{"nonsense", true, "hear from the running lab: invalid character"},
		{`{"end":true,"status":"x"}`, true, "hear from the running lab"},
	} {
		t.Run(tc.answers, func(t *testing.T) {
			t.Parallel()
			cache := keeper(tc.answers, tc.stay)
			status, _, stderr := hangbench(t, "lab", "run", "--cache", string(cache), "xl", "list")
			if status != exit.Broken || !strings.Contains(stderr, tc.want) {
				t.Errorf("status %d, %s, want %s", status, stderr, tc.want)
			}
			status, stdout, _ := hangbench(t, "lab", "status", "--cache", string(cache))
			if status != exit.Done || !strings.Contains(stdout, "up: lab: ") || strings.Contains(stdout, "nothing is running") {
				t.Errorf("status %d, %s", status, stdout)
			}
		})
	}
	for _, args := range [][]string{{"status"}, {"down"}, {"console"}, {"run", "xl", "list"}, {"up"}} {
		t.Run("interrupt "+args[0], func(t *testing.T) {
			t.Parallel()
			cache := keeper("", true)
			ctx, interrupt := context.WithCancel(t.Context())
			time.AfterFunc(100*time.Millisecond, interrupt)
			env, _, _ := testEnv()
			began := time.Now()
			status := Main(ctx, env, slices.Concat([]string{"lab", args[0], "--cache", string(cache)}, args[1:]))
			if status != exit.Interrupted {
				t.Errorf("status %d", status)
			}
			if took := time.Since(began); took >= answerPatience {
				t.Errorf("the interrupt was not heard: %v", took)
			}
		})
	}
}

// TestKeeperEnds: a keeper ends when its emulator does, and when it is interrupted.
func TestKeeperEnds(t *testing.T) {
	t.Parallel()
	m := newFake(t)
	m.dir = "the-logs"
	_, ended := keepFake(t, t.Context(), m, "lab")
	close(m.done)
	err := <-ended
	if err == nil || err.Error() != "the emulator ended by itself; its logs are in the-logs" {
		t.Errorf("after the emulator's end: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, ended = keepFake(t, ctx, newFake(t), "lab")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// TestConsoleFollow: with --follow the console goes on until the command is
// interrupted.
func TestConsoleFollow(t *testing.T) {
	t.Parallel()
	m := newFake(t)
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
