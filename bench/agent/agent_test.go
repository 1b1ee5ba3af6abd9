package agent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hangbench/bench/dom0"
	"hangbench/bench/dom0/recovery"
	"hangbench/bench/plan"
	"hangbench/bench/price"
	"hangbench/bench/price/event"
	"hangbench/guests/lab/wire"
	"hangbench/monitor/detect"
	"hangbench/results"
	"hangbench/scenarios/suites"
)

// fakeHost is a dom0 in which guests come up at once.
type fakeHost struct {
	fail  error
	guest *fakeGuest
}

func (h *fakeHost) version() (string, error) { return "4.20.2", h.fail }

func (h *fakeHost) newGuest(_ context.Context, spec suites.Guest) (guest, error) {
	if h.fail != nil {
		return nil, h.fail
	}
	h.guest = &fakeGuest{is: spec}
	return h.guest, nil
}

type fakeGuest struct {
	is   suites.Guest
	fail error
}

func (g *fakeGuest) spec() suites.Guest { return g.is }
func (g *fakeGuest) release() string    { return "6.12-test" }
func (g *fakeGuest) inspect(context.Context) (dom0.Inspection, error) {
	return dom0.Inspection{Slide: 7}, g.fail
}

func (g *fakeGuest) run(_ context.Context, t plan.Trial, taken *dom0.Recording) (results.Trial, error) {
	if taken != nil {
		taken.T0NS = 11
	}
	return results.Trial{Trial: t.Index, Seed: t.Seed}, g.fail
}

func (g *fakeGuest) measure(_ context.Context, m MeasureJob, log *slog.Logger) (any, error) {
	log.Info("measure")
	switch {
	case g.fail != nil:
		return nil, g.fail
	case m.Event != nil:
		return &event.Report{Driver: m.Event.Driver}, nil
	case m.Kill != nil:
		return []recovery.Killed{{Mechanism: m.Kill.Mechanism, Signal: m.Kill.Signal}}, nil
	}
	return nil, errors.New("not faked")
}

// line is the serial line of an agent that serves.
type line struct {
	t    *testing.T
	host *fakeHost
	out  *wire.Writer // to the agent
	raw  io.Writer
	in   *wire.Reader // from the agent
	mark chan string  // lines that are no frames
	end  chan error   // of serve
}

// port joins the two directions of a serial line.
type port struct {
	io.Reader
	io.Writer
}

// serve starts an agent and returns its line, once it is ready.
func serve(t *testing.T) *line {
	t.Helper()
	consoles := t.TempDir()
	if err := os.WriteFile(filepath.Join(consoles, "guest-guest.log"), []byte("Kernel panic\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	toAgent, fromHarness := io.Pipe()
	toHarness, fromAgent := io.Pipe()
	l := &line{t: t, host: &fakeHost{}, out: wire.NewWriter(fromHarness), raw: fromHarness, mark: make(chan string, 16),
		end: make(chan error, 1)}
	// Lines are copied to a pipe without the marks, which end up in a channel.
	frames, copied := io.Pipe()
	go func() {
		s := bufio.NewScanner(toHarness)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			if s.Text() == Mark {
				l.mark <- Mark
			}
			copied.Write(append(s.Bytes(), '\n'))
		}
		copied.Close()
	}()
	l.in = wire.NewReader(frames)
	a := newAgent(port{toAgent, fromAgent}, consoles)
	a.host = l.host
	go func() {
		err := a.serve(context.Background())
		fromAgent.Close()
		l.end <- err
	}()
	t.Cleanup(func() {
		fromHarness.Close()
		go io.Copy(io.Discard, frames)
		if err := <-l.end; !errors.Is(err, io.EOF) {
			t.Errorf("the agent ended with %v", err)
		}
	})
	var r Ready
	l.expect(wire.KindReady, &r)
	if r.Xen != "4.20.2" || r.Kernel == "" || r.Guest != "" || r.UpNS <= 0 {
		t.Errorf("ready: %+v", r)
	}
	l.expectMark()
	return l
}

// expect reads the next message but for progress, which must be of that kind.
func (l *line) expect(k wire.Kind, v any) {
	l.t.Helper()
	for {
		m, err := l.in.Next()
		if err != nil {
			l.t.Fatal(err)
		}
		if m.Kind == wire.KindProgress && k != wire.KindProgress {
			continue
		}
		if m.Kind != k {
			l.t.Fatalf("a %s message: %s, want %s", m.Kind, m.Body, k)
		}
		if err := m.Decode(v); err != nil {
			l.t.Fatal(err)
		}
		return
	}
}

func (l *line) expectMark() {
	l.t.Helper()
	select {
	case <-l.mark:
	case <-time.After(10 * time.Second):
		l.t.Fatal("no mark")
	}
}

func (l *line) send(job any) {
	l.t.Helper()
	if err := l.out.Send(wire.KindJob, job); err != nil {
		l.t.Fatal(err)
	}
}

// refused sends a job that must fail with a text, and returns the failure.
func (l *line) refused(job any, want string) Failure {
	l.t.Helper()
	l.send(job)
	var f Failure
	l.expect(wire.KindError, &f)
	if !strings.Contains(f.Error, want) {
		l.t.Errorf("%+v failed with %q, want %q", job, f.Error, want)
	}
	return f
}

var spec = suites.Guest{Kernel: "k", VCPUs: 1, MemoryMiB: 160}

// on is the cell of a trial on a guest.
func on(g suites.Guest) results.Cell { return results.Cell{Machine: g} }

// withGuest is a line to an agent that has made a guest.
func withGuest(t *testing.T) *line {
	t.Helper()
	l := serve(t)
	l.send(Job{Guest: &spec})
	var r Ready
	l.expect(wire.KindReady, &r)
	if r.Guest != "6.12-test" {
		t.Errorf("ready: %+v", r)
	}
	l.expectMark()
	return l
}

// TestJobs: each kind of job gets its answer, one after the other.
func TestJobs(t *testing.T) {
	t.Parallel()
	l := withGuest(t)
	l.send(Job{Trial: &plan.Trial{Index: 3, Seed: 9, Cell: on(spec)}, Record: true})
	var rec results.Trial
	l.expect(wire.KindRecord, &rec)
	var taken dom0.Recording
	l.expect(wire.KindStream, &taken)
	var done Progress
	l.expect(wire.KindDone, &done)
	if rec.Trial != 3 || rec.Seed != 9 || taken.T0NS != 11 || done.UpNS <= 0 {
		t.Errorf("record %+v, recording %+v, done %+v", rec, taken, done)
	}
	l.send(Job{Trial: &plan.Trial{Index: 4, Cell: on(spec)}})
	l.expect(wire.KindRecord, &rec)
	l.expect(wire.KindDone, &done) // no stream was asked for
	l.send(Job{Inspect: true})
	var inspection dom0.Inspection
	l.expect(wire.KindRecord, &inspection)
	if inspection.Slide != 7 {
		t.Errorf("inspection %+v", inspection)
	}
	l.send(Job{Measure: &MeasureJob{Event: &price.EventJob{Driver: "libvmi"}}})
	var p Progress
	l.expect(wire.KindProgress, &p)
	var r event.Report
	l.expect(wire.KindRecord, &r)
	if p.Stage != "measure" || r.Driver != "libvmi" {
		t.Errorf("progress %+v, report %+v", p, r)
	}
	l.send(Job{Measure: &MeasureJob{Kill: &KillJob{KillJob: recovery.KillJob{Mechanism: "cr3", Signal: "TERM",
		Seeds: 1}}}})
	var kills []recovery.Killed
	l.expect(wire.KindRecord, &kills)
	if len(kills) != 1 || kills[0].Mechanism != "cr3" || kills[0].Signal != "TERM" {
		t.Errorf("kills %+v", kills)
	}
}

// program runs a program and returns its outputs and its exit status.
func (l *line) program(argv ...string) (stdout, stderr string, status int) {
	l.t.Helper()
	l.send(Job{Exec: argv})
	return l.programEnd()
}

// programEnd reads to the end of a program.
func (l *line) programEnd() (stdout, stderr string, status int) {
	l.t.Helper()
	for {
		m, err := l.in.Next()
		if err != nil {
			l.t.Fatal(err)
		}
		switch m.Kind {
		case wire.KindProgress:
		case wire.KindStdout:
			stdout += string(m.Body)
		case wire.KindStderr:
			stderr += string(m.Body)
		default:
			var e Exit
			if err := m.Decode(&e); err != nil || m.Kind != wire.KindRecord {
				l.t.Fatalf("a %s message: %s (%v)", m.Kind, m.Body, err)
			}
			return stdout, stderr, e.Status
		}
	}
}

// TestExec: a program's outputs and its exit status come back, to the byte.
func TestExec(t *testing.T) {
	t.Parallel()
	l := serve(t)
	for _, c := range []struct {
		argv           []string
		stdout, stderr string
		status         int
	}{
		{[]string{"echo", "out"}, "out\n", "", 0},
		{[]string{"sh", "-c", "echo bad >&2; exit 3"}, "", "bad\n", 3},
		{[]string{"sh", "-c", "kill -9 $$"}, "", "", 128 + 9},
		{[]string{"printf", `\377\000\n@hb1 `}, "\xff\x00\n@hb1 ", "", 0},
		{[]string{"head", "-c", "6000000", "/dev/zero"}, strings.Repeat("\x00", 6000000), "", 0},
	} {
		stdout, stderr, status := l.program(c.argv...)
		if stdout != c.stdout || stderr != c.stderr || status != c.status {
			t.Errorf("%v: %d bytes %.40q, %q, status %d", c.argv, len(stdout), stdout, stderr, status)
		}
	}
	for _, path := range []string{"/no/such/program", "no-such-program", t.TempDir()} {
		if f := l.refused(Job{Exec: []string{path}}, path); !f.NoProgram {
			t.Errorf("%s: %+v", path, f)
		}
	}
}

// TestExecDaemon: a daemon that keeps a program's output open does not hold up its end.
func TestExecDaemon(t *testing.T) {
	t.Parallel()
	l := serve(t)
	stdout, _, status := l.program("sh", "-c", "sleep 60 & echo $!; exit 4")
	daemon, err := strconv.Atoi(strings.TrimSpace(stdout))
	if err != nil || status != 4 {
		t.Fatalf("%q, status %d", stdout, status)
	}
	if !alive(strconv.Itoa(daemon)) {
		t.Error("the daemon has ended")
	}
	if err := syscall.Kill(daemon, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

// TestStop: a program that runs is ended, with its children, and meanwhile there is no
// other job. Without a program there is nothing to stop.
func TestStop(t *testing.T) {
	t.Parallel()
	l := serve(t)
	l.send(Job{Stop: true})
	child := l.child()
	l.refused(Job{Exec: []string{"true"}}, errBusy.Error())
	l.refused(Job{Guest: &spec}, errBusy.Error())
	l.send(Job{Stop: true})
	l.send(Job{Stop: true}) // a second one is of no effect
	if _, _, status := l.programEnd(); status != 128+15 {
		t.Errorf("the stopped program: status %d", status)
	}
	for until := time.Now().Add(time.Minute); alive(child); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the child of a stopped program goes on")
		}
	}
	if stdout, _, status := l.program("echo", "next"); stdout != "next\n" || status != 0 {
		t.Errorf("the next program: %q, status %d", stdout, status)
	}
}

// TestStopAsks: a program that is stopped has time to end by itself, as a monitor needs to
// detach from its guest.
func TestStopAsks(t *testing.T) {
	t.Parallel()
	l := serve(t)
	l.sh("trap 'echo detached; exit 7' TERM; echo ready; while :; do sleep 0.01; done")
	l.send(Job{Stop: true})
	if stdout, _, status := l.programEnd(); stdout != "detached\n" || status != 7 {
		t.Errorf("the stopped program: %q, status %d", stdout, status)
	}
}

// TestStopChildren: a child of a stopped program has the same time to end, also when the
// program itself ends at once and the child writes to a file. Who does not end is killed.
func TestStopChildren(t *testing.T) {
	t.Parallel()
	const deaf = `sh -c 'trap "" TERM; echo $$; exec sleep 60' & wait`
	file := filepath.Join(t.TempDir(), "out")
	for _, tc := range []struct {
		name, command string
		status        int
		said          string // by the child, to the file
	}{
		{"detaches", `sh -c 'trap "sleep 0.2; echo detached >` + file + `; exit" TERM; echo $$; exec >&- 2>&-
			while :; do sleep 0.01; done' & wait`, 128 + 15, "detached\n"},
		{"deaf child", deaf, 128 + 15, ""},
		{"both deaf", `trap "" TERM; ` + deaf, 128 + 9, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := serve(t)
			child := l.sh(tc.command)
			l.send(Job{Stop: true})
			if _, _, status := l.programEnd(); status != tc.status {
				t.Errorf("the stopped program: status %d, want %d", status, tc.status)
			}
			for until := time.Now().Add(time.Minute); alive(child); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(until) {
					t.Fatal("the child of a stopped program goes on")
				}
			}
			if tc.said == "" {
				return
			}
			if said, err := os.ReadFile(file); err != nil || string(said) != tc.said {
				t.Errorf("the child said %q, %v", said, err)
			}
		})
	}
}

// TestEndWithProgram: an agent whose port ends kills the program that runs.
func TestEndWithProgram(t *testing.T) {
	t.Parallel()
	var pid string
	t.Run("port", func(t *testing.T) {
		l := serve(t)
		pid = l.child()
	}) // the port is closed here
	for until := time.Now().Add(time.Minute); alive(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("a program goes on without its agent")
		}
	}
}

// child starts a program that waits for its child, and returns the child's process id.
func (l *line) child() string {
	l.t.Helper()
	return l.sh("sleep 60 & echo $!; wait")
}

// sh starts a command of the shell and returns the first line that it writes.
func (l *line) sh(command string) string {
	l.t.Helper()
	l.send(Job{Exec: []string{"sh", "-c", command}})
	for {
		m, err := l.in.Next()
		if err != nil {
			l.t.Fatal(err)
		}
		if m.Kind == wire.KindStdout {
			return strings.TrimSpace(string(m.Body))
		}
	}
}

// alive reports whether a process runs.
func alive(pid string) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	return err == nil && !strings.Contains(string(stat), ") Z")
}

// TestRefused: a job that cannot be done is an error with the end of the guests'
// consoles, and the agent goes on.
func TestRefused(t *testing.T) {
	t.Parallel()
	l := serve(t)
	for _, job := range []Job{{Inspect: true}, {Trial: &plan.Trial{}}, {Measure: &MeasureJob{Event: &price.EventJob{}}}} {
		l.refused(job, errNoGuest.Error())
	}
	for _, job := range []any{Job{}, Job{Inspect: true, Exec: []string{"true"}}, Job{Inspect: true, Record: true},
		Job{Measure: &MeasureJob{}},
		Job{Measure: &MeasureJob{Event: &price.EventJob{}, Kill: &KillJob{}}}} {
		l.refused(job, errJob.Error())
	}
	l.refused(map[string]int{"no_such_field": 1}, "no_such_field")
	l.refused(7, "decode")
	l.host.fail = errors.New("no memory left")
	if f := l.refused(Job{Guest: &spec}, "no memory left"); !strings.Contains(f.Console,
		"--- guest-guest.log\nKernel panic\n") {
		t.Errorf("console %q", f.Console)
	}
	l.host.fail = nil
	l.send(Job{Guest: &spec})
	l.expect(wire.KindReady, &Ready{})
	l.expectMark()
	l.refused(Job{Guest: &spec}, "there is one already")
	other := spec
	other.VCPUs = 2
	l.refused(Job{Trial: &plan.Trial{Index: 5, Cell: on(other)}}, "trial 5 wants guest")
	l.host.guest.fail = errors.New("the monitor died")
	for _, job := range []Job{{Inspect: true}, {Trial: &plan.Trial{Cell: on(spec)}},
		{Measure: &MeasureJob{Event: &price.EventJob{}}}} {
		l.refused(job, "the monitor died")
	}
}

// TestNoise: what is not a job is passed over, and a damaged message is reported.
func TestNoise(t *testing.T) {
	t.Parallel()
	l := serve(t)
	if _, err := io.WriteString(l.raw, "\n\nlogin:\n@hb1 nonsense\n"); err != nil {
		t.Fatal(err)
	}
	if err := l.out.Send(wire.KindDone, nil); err != nil {
		t.Fatal(err)
	}
	l.send(Job{Exec: []string{"true"}})
	l.expect(wire.KindRecord, &Exit{})
	// A harness of a restored machine counts its frames anew.
	l.out = wire.NewWriter(l.raw)
	l.send(Job{Exec: []string{"true"}})
	l.expect(wire.KindRecord, &Exit{})
}

// errPort is a port that takes so many bytes and then fails.
type errPort struct {
	io.Reader
	left int
}

var errLine = errors.New("the line is down")

func (p *errPort) Write(b []byte) (int, error) {
	if p.left -= len(b); p.left < 0 {
		return 0, errLine
	}
	return len(b), nil
}

// TestSendFails: an agent that cannot send ends with that error, at whatever message,
// and does not try to report it.
func TestSendFails(t *testing.T) {
	t.Parallel()
	var jobs bytes.Buffer
	w := wire.NewWriter(&jobs)
	for _, job := range []Job{{Guest: &spec}, {Exec: []string{"echo", "hello"}}, {Inspect: true},
		{Trial: &plan.Trial{Cell: on(spec)}, Record: true},
		{Measure: &MeasureJob{Event: &price.EventJob{}}}} {
		if err := w.Send(wire.KindJob, job); err != nil {
			t.Fatal(err)
		}
	}
	whole := 0
	for left := 0; ; left += 10 {
		a := newAgent(&errPort{bytes.NewReader(jobs.Bytes()), left}, t.TempDir())
		a.host = &fakeHost{}
		err := a.serve(t.Context())
		if errors.Is(err, io.EOF) {
			whole++
			break
		}
		if !errors.Is(err, errLine) {
			t.Fatalf("a line that takes %d bytes: %v", left, err)
		}
	}
	if whole != 1 {
		t.Error("no line was good")
	}
}

// TestRecordingFits: a whole recording fits a message of the line.
func TestRecordingFits(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	large := detect.Observation{Domain: detect.Domain{Shutdown: strings.Repeat("x", 1<<10)}}
	raw, err := json.Marshal(large)
	if err != nil {
		t.Fatal(err)
	}
	r := dom0.Recording{Console: make([]byte, 256<<10)}
	for range (2 << 20) / len(raw) {
		r.Observations = append(r.Observations, raw)
	}
	if err := wire.NewWriter(&b).Send(wire.KindStream, &r); err != nil {
		t.Error(err)
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.log"), []byte(strings.Repeat("x", maxTail)+"end\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "b.log"), 0o755); err != nil {
		t.Fatal(err)
	}
	got := consoleTail(dir)
	if !strings.HasPrefix(got, "--- a.log\nxxx") || !strings.Contains(got, "end\n--- b.log\n") || len(got) > maxTail+200 {
		t.Errorf("%d bytes: %.100q", len(got), got)
	}
}

// FuzzJob: whatever stands in a job, reading it returns an error or a job that is
// written and read again as it is, and has one task.
func FuzzJob(f *testing.F) {
	for _, job := range []Job{{Guest: &spec}, {Inspect: true}, {Exec: []string{"xl", "list"}},
		{Trial: &plan.Trial{Cell: on(spec)}, Record: true},
		{Measure: &MeasureJob{Event: &price.EventJob{Driver: "xenctrl", Mechanisms: []string{"poll"}, Blocks: 1,
			Window: time.Second}}},
		{Measure: &MeasureJob{Kill: &KillJob{KillJob: recovery.KillJob{Mechanism: "cr3", Signal: "KILL", Seeds: 3},
			Driver: "xenctrl"}}}} {
		b, err := json.Marshal(job)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"measure":{}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var job Job
		if (wire.Message{Kind: wire.KindJob, Body: body}).Decode(&job) != nil || job.check() != nil {
			return
		}
		n := 0
		for _, set := range []bool{job.Guest != nil, job.Trial != nil, job.Measure != nil, job.Inspect, len(job.Exec) > 0} {
			if set {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%q has %d tasks", body, n)
		}
		again, err := json.Marshal(job)
		if err != nil {
			t.Fatal(err)
		}
		var got Job
		if err := (wire.Message{Kind: wire.KindJob, Body: again}).Decode(&got); err != nil {
			t.Fatal(err)
		}
		if b, err := json.Marshal(got); err != nil || !bytes.Equal(b, again) {
			t.Errorf("%s became %s (%v)", again, b, err)
		}
	})
}

// FuzzFailure: whatever stands in a failure, reading it returns an error or a failure
// that is written and read again as it is.
func FuzzFailure(f *testing.F) {
	f.Add([]byte(`{"error":"no memory","console":"--- guest.log\n"}`))
	f.Add([]byte(`{"error":7}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var one, two Failure
		if (wire.Message{Kind: wire.KindError, Body: body}).Decode(&one) != nil {
			return
		}
		b, err := json.Marshal(one)
		if err != nil {
			t.Fatal(err)
		}
		if err := (wire.Message{Kind: wire.KindError, Body: b}).Decode(&two); err != nil || !reflect.DeepEqual(one, two) {
			t.Errorf("%q became %+v, then %+v (%v)", body, one, two, err)
		}
	})
}

// FuzzHarness: whatever arrives at the agent's port, the agent goes on to its end and
// answers each job. It starts no program here.
func FuzzHarness(f *testing.F) {
	for _, job := range []Job{{Inspect: true}, {Guest: &spec}, {Stop: true},
		{Trial: &plan.Trial{Cell: on(spec)}, Record: true}, {Measure: &MeasureJob{Event: &price.EventJob{}}}} {
		b, err := json.Marshal(job)
		if err != nil {
			f.Fatal(err)
		}
		f.Add("job", b, []byte("@hb1 1 job t 1/1 2 00000000 {}\n"))
	}
	f.Add("job", []byte(`{"guest":{"vcpus":-1}}`), []byte("\x00\xff\r\n"))
	f.Add("record", []byte(`{"inspect":true}`), bytes.Repeat([]byte("x"), 9000))
	f.Fuzz(func(t *testing.T, kind string, body, noise []byte) {
		var job Job
		if json.Unmarshal(body, &job) == nil && len(job.Exec) > 0 || bytes.Contains(noise, []byte("exec")) {
			t.Skip("it would start a program")
		}
		var in, out bytes.Buffer
		w := wire.NewWriter(&in)
		for range 2 {
			in.Write(noise)
			in.WriteByte('\n')
			if wire.Kind(kind).Valid() {
				if err := w.Write(wire.Kind(kind), body); err != nil {
					t.Fatal(err)
				}
			}
		}
		a := newAgent(port{&in, &out}, t.TempDir())
		a.host = &fakeHost{}
		if err := a.serve(t.Context()); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("the agent ended with %v", err)
		}
		answers := 0
		for r := wire.NewReader(&out); ; {
			m, err := r.Next()
			if err != nil {
				break
			}
			if m.Kind != wire.KindProgress && m.Kind != wire.KindStream && m.Kind != wire.KindDone {
				answers++
			}
		}
		want := 1 // it is ready
		if wire.Kind(kind) == wire.KindJob && !(job.Stop && job.check() == nil) {
			want += 2
		}
		if answers < want {
			t.Fatalf("%d answers, want %d: %s", answers, want, out.Bytes())
		}
	})
}
