package observe

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/bench/trial"
	"hangbench/results/printable"
	"hangbench/scenarios/suites"
)

// Bounds of what is taken from a program. Beyond one of them the observer has failed.
const (
	// maxLine is the longest line, in bytes.
	maxLine = 8 << 10
	// maxLines is how many lines a program may print while it is attached.
	maxLines = 4096
	// maxReports is how many of them may be reports, as many as our own monitor keeps.
	maxReports = 256
	// maxEvidence and maxText bound the evidence of a report: lines, and bytes per text.
	maxEvidence = 32
	maxText     = 400
	// maxWords is how much of the standard error output is kept: its end, in bytes.
	maxWords = 512
)

const (
	// readyTime is how long a program may take to say that it is watching.
	readyTime = 30 * time.Second
	// leaveTime is how long it may take to end, once it was asked to, on its guard's
	// clock. The guard itself gets guardTime on the trial's clock.
	leaveTime = 2 * time.Second
	guardTime = 4 * time.Second
	// execPoll is how often a program is looked at while it is awaited.
	execPoll = 5 * time.Millisecond
	// drainTime is how long its last output is awaited when it has ended. Only a process
	// that has left the group of its parent can hold the output open that long.
	drainTime = time.Second
)

// Exec is a program in dom0 that watches the guest. It prints lines of JSON, each of
// which is one of
//
//	{"ready":true}                   it is watching: the first line
//	{"class":"spin","scope":"full","evidence":["vCPU 0 ..."],"vcpu":0,"task":"init:1"}
//	                                 the guest hangs; all but class may be left out
//	{"clear":true}                   the hang that it reported last is over
//
// The time of a report is when its line was read. {domain} and {domid} in the command
// stand for the name and the number of the guest's domain. The program gets a process
// group of its own, an environment with PATH alone, and a pipe as standard input, which
// is closed when it should end. It is then sent SIGTERM, and after two seconds SIGKILL,
// as is all that is left of its process group. A guard process does the same if the
// process that runs the trial is killed.
//
// A program that prints something else, or too much, or ends by itself, has failed.
type Exec struct {
	Spec suites.Observer

	clock trial.Clock
	proc  *process
}

// process is a program under way.
type process struct {
	name  string
	clock trial.Clock
	cmd   *exec.Cmd // its guard
	stdin io.WriteCloser
	out   *os.File      // its standard output
	ended chan struct{} // closed when it and its process group are gone and its output is read

	mu      sync.Mutex // the fields below
	ready   bool
	leaving bool // it was asked to end
	reports []trial.Report
	taken   int // reports that Poll has seen
	lines   int
	failed  string // why it failed, or empty
	words   []byte // the end of its standard error output
}

// Name is the name that the suite gives the observer.
func (e *Exec) Name() string { return e.Spec.Name }

// Attach starts the program and waits until it is watching.
func (e *Exec) Attach(ctx context.Context, s trial.Subject) error {
	e.clock = s.Clock
	p, err := start(e.Spec, s.Guest.Facts(), s.Clock)
	if err != nil {
		return fmt.Errorf("start observer %s: %w", e.Name(), err)
	}
	e.proc = p
	for end := s.Clock.Now() + int64(readyTime); !p.isReady(); {
		err := p.failure()
		if err == nil && s.Clock.Now() > end {
			err = trial.Failed("observer %s did not say within %v that it is watching", e.Name(), readyTime)
		}
		if err == nil {
			err = s.Clock.Sleep(ctx, execPoll)
		}
		if err != nil {
			p.kill()
			return err
		}
	}
	return nil
}

// Poll says whether the program has failed. A report that has just arrived is taken
// first.
func (e *Exec) Poll(int64) error {
	if e.proc.take() {
		return nil
	}
	return e.proc.failure()
}

// Reports are what the program has reported.
func (e *Exec) Reports() []trial.Report {
	if e.proc == nil {
		return nil
	}
	e.proc.mu.Lock()
	defer e.proc.mu.Unlock()
	return slices.Clone(e.proc.reports)
}

// Guards is the one detector that the program is.
func (e *Exec) Guards() []trial.Guard {
	return []trial.Guard{{Name: e.Name(), Armed: e.proc != nil && e.proc.isReady()}}
}

// Detach asks the program to end, and ends it and its process group if it does not.
func (e *Exec) Detach(ctx context.Context) (trial.Counts, error) {
	return trial.Counts{}, e.proc.leave(ctx)
}

// start starts the program of an observer.
func start(o suites.Observer, g trial.Facts, clock trial.Clock) (*process, error) {
	expand := strings.NewReplacer("{domain}", g.Name, "{domid}", strconv.Itoa(g.Domid))
	args := make([]string, len(o.Command))
	for i, a := range o.Command {
		args[i] = expand.Replace(a)
	}
	if err := unix.Access(args[0], unix.X_OK); err != nil {
		return nil, fmt.Errorf("%s: %w", args[0], err)
	}
	p := &process{name: o.Name, clock: clock, ended: make(chan struct{})}
	p.cmd = &exec.Cmd{Path: "/proc/self/exe", Args: append([]string{guardName}, args...)}
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	// The kernel sends Pdeathsig when the thread ends that started the guard.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	p.cmd.Stderr = (*tail)(p)
	p.cmd.WaitDelay = drainTime
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, w, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, p.stdin.Close())
	}
	p.out, p.cmd.Stdout = out, w
	started := make(chan error)
	go p.run(started, w)
	if err := <-started; err != nil {
		return nil, errors.Join(err, p.stdin.Close(), out.Close())
	}
	return p, nil
}

// run starts the program with its guard, reads its output and waits for its end. It
// keeps its thread until then: if this process dies, the kernel tells the guard.
func (p *process) run(started chan<- error, w *os.File) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	w.Close() // the program has its own
	started <- err
	if err != nil {
		return
	}
	defer close(p.ended)
	var reading sync.WaitGroup
	reading.Go(p.read)
	p.await()
	// The guard has ended and is not reaped yet, so its number still means its process
	// group.
	unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL)
	err = p.cmd.Wait()
	p.out.SetReadDeadline(time.Now().Add(drainTime))
	reading.Wait()
	p.out.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.leaving {
		p.fail("ended by itself: %s%s", state(p.cmd.ProcessState, err), p.said())
	}
}

// await waits for the end of the program and leaves it to be reaped.
func (p *process) await() {
	for {
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// state says how a program ended.
func state(s *os.ProcessState, err error) string {
	if s != nil {
		return s.String()
	}
	return err.Error()
}

// said is the end of the standard error output, for a message. The lock is held.
func (p *process) said() string {
	if text := printable.Line(strings.TrimSpace(string(p.words))); text != "" {
		return ": " + text
	}
	return ""
}

// fail takes note of the first failure. The lock is held.
func (p *process) fail(format string, args ...any) {
	if p.failed == "" {
		p.failed = fmt.Sprintf("observer "+p.name+" "+format, args...)
	}
}

// failure is why the program failed, if it did.
func (p *process) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed == "" {
		return nil
	}
	return &trial.ObserverError{Reason: p.failed}
}

func (p *process) isReady() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ready
}

// take reports whether there are reports that it has not reported yet.
func (p *process) take() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh := len(p.reports) > p.taken
	p.taken = len(p.reports)
	return fresh
}

// kill ends the program and its process group, and waits until they are gone.
func (p *process) kill() {
	p.mu.Lock()
	p.leaving = true
	p.mu.Unlock()
	p.stdin.Close()
	select {
	case <-p.ended: // and reaped: its number may be another program's
	default:
		p.cmd.Process.Kill() // its group follows when it has ended
	}
	<-p.ended
}

// leave asks the program to end and returns its failure, if it has failed before.
func (p *process) leave(ctx context.Context) error {
	err := p.failure()
	p.mu.Lock()
	p.leaving = true
	p.mu.Unlock()
	p.stdin.Close()
	select {
	case <-p.ended:
		return err
	default:
	}
	p.cmd.Process.Signal(unix.SIGTERM) // the guard passes it on; an error means that it has ended
	for end := p.clock.Now() + int64(guardTime); p.clock.Now() < end; {
		select {
		case <-p.ended:
			return err
		default:
		}
		if serr := p.clock.Sleep(ctx, execPoll); serr != nil {
			p.kill()
			return errors.Join(err, serr)
		}
	}
	p.kill()
	return err
}

// read reads the program's reports until it ends or fails.
func (p *process) read() {
	lines := bufio.NewScanner(p.out)
	lines.Buffer(make([]byte, 0, maxLine), maxLine)
	for lines.Scan() {
		if !p.line(lines.Bytes()) {
			return
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.fail("printed a line of more than %d bytes", maxLine)
		p.cmd.Process.Kill()
	}
}

// line takes one line, and reports whether the program may go on.
func (p *process) line(b []byte) bool {
	now := p.clock.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.message(b, now); err != nil {
		p.fail("%v", err)
		p.cmd.Process.Kill()
		return false
	}
	return true
}

// message is a line of the program.
type message struct {
	Ready    bool     `json:"ready"`
	Clear    bool     `json:"clear"`
	Class    string   `json:"class"`
	Scope    string   `json:"scope"`
	Evidence []string `json:"evidence"`
	VCPU     *int     `json:"vcpu"`
	Task     string   `json:"task"`
}

// class is what a class of hang may be called.
var class = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)

// parseMessage reads a line. The error is a clause about the program.
func parseMessage(b []byte) (message, error) {
	var m message
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	bad := func(why string, args ...any) (message, error) {
		return message{}, fmt.Errorf("printed %q, %s", clip(b), fmt.Sprintf(why, args...))
	}
	if err := d.Decode(&m); err != nil {
		return bad("which is no message: %v", printable.JSON(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return bad("which is more than one message")
	}
	kinds := 0
	for _, is := range []bool{m.Ready, m.Clear, m.Class != ""} {
		if is {
			kinds++
		}
	}
	detail := m.Scope != "" || len(m.Evidence) > 0 || m.VCPU != nil || m.Task != ""
	switch {
	case kinds != 1:
		return bad("which has not one of ready, class and clear")
	case m.Class == "" && detail:
		return bad("which describes a hang without its class")
	case m.Class != "" && !class.MatchString(m.Class):
		return bad("whose class is not a word of lower-case letters, digits and dashes")
	case m.Scope != "" && m.Scope != "full" && m.Scope != "partial":
		return bad("whose scope is neither full nor partial")
	case len(m.Evidence) > maxEvidence:
		return bad("which has %d lines of evidence, more than %d", len(m.Evidence), maxEvidence)
	case m.VCPU != nil && (*m.VCPU < 0 || *m.VCPU > 4095):
		return bad("whose vcpu is out of range")
	}
	m.Task = printable.Line(m.Task)
	for i, text := range m.Evidence {
		m.Evidence[i] = printable.Line(text)
	}
	for _, text := range append(m.Evidence, m.Task) {
		if len(text) > maxText {
			return bad("which has a text of more than %d bytes", maxText)
		}
	}
	return m, nil
}

// message takes a line that was read at now. The lock is held.
func (p *process) message(b []byte, now int64) error {
	if p.lines++; p.lines > maxLines {
		return fmt.Errorf("printed more than %d lines", maxLines)
	}
	m, err := parseMessage(b)
	if err != nil {
		return err
	}
	last := len(p.reports) - 1
	open := last >= 0 && p.reports[last].EndNS == 0
	switch {
	case m.Ready == p.ready:
		return fmt.Errorf("printed %q, and ready must come first and once", clip(b))
	case m.Ready:
		p.ready = true
	case m.Clear && !open:
		return errors.New("cleared a hang that it had not reported")
	case m.Clear:
		p.reports[last].EndNS = now
	case open:
		// Of a hang that goes on, the first report counts.
	case len(p.reports) == maxReports:
		return fmt.Errorf("reported more than %d hangs", maxReports)
	default:
		r := trial.Report{
			Guard: p.name, AtNS: now, SeenNS: now, Class: m.Class, Scope: m.Scope, Evidence: m.Evidence, VCPU: -1, Task: m.Task,
		}
		if m.VCPU != nil {
			r.VCPU = *m.VCPU
		}
		p.reports = append(p.reports, r)
	}
	return nil
}

// tail keeps the end of what a program writes to its standard error output.
type tail process

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.words = append(t.words, b[max(0, len(b)-maxWords):]...)
	if extra := len(t.words) - maxWords; extra > 0 {
		t.words = append(t.words[:0], t.words[extra:]...)
	}
	return len(b), nil
}

// clip cuts a line that is too long for a message.
func clip(b []byte) string {
	const most = 80
	if len(b) <= most {
		return string(b)
	}
	return string(b[:most]) + "..."
}
