package observe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hangbench/bench/trial"
	"hangbench/results/printable"
	"hangbench/scenarios/suites"
)

// TestMain is also the programs that the tests start: this binary with a name of
// programs as its first argument.
func TestMain(m *testing.M) {
	if IsGuard() {
		Guard()
	}
	if len(os.Args) > 1 && os.Args[1] == "as" {
		programs[os.Args[2]](os.Args[3:])
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// untilTold waits until standard input is closed.
func untilTold() { io.Copy(io.Discard, os.Stdin) }

// programs watch a guest, well and badly.
var programs = map[string]func(args []string){
	// says prints lines and waits to be told to end.
	"says": func(args []string) {
		for _, a := range args {
			fmt.Println(a)
		}
		untilTold()
	},
	// dies prints lines and ends.
	"dies": func(args []string) {
		for _, a := range args {
			fmt.Println(a)
		}
		fmt.Fprintln(os.Stderr, "out of\x1b[1m luck")
		os.Exit(3)
	},
	// floods prints reports for ever.
	"floods": func([]string) {
		fmt.Println(`{"ready":true}`)
		for {
			fmt.Println(`{"class":"spin"}`)
			fmt.Println(`{"clear":true}`)
		}
	},
	// repeats prints one report for ever.
	"repeats": func([]string) {
		fmt.Println(`{"ready":true}`)
		for {
			fmt.Println(`{"class":"spin"}`)
		}
	},
	// endless prints one line that does not end.
	"endless": func([]string) {
		fmt.Println(`{"ready":true}`)
		for {
			fmt.Print(strings.Repeat("x", 1000))
		}
	},
	// stubborn ignores SIGTERM and has a child that does too. It reports the two numbers.
	"stubborn": func([]string) {
		signal.Ignore(syscall.SIGTERM)
		c := exec.Command(os.Args[0], "as", "deaf")
		c.Stdout = os.Stdout // so that the output stays open
		if err := c.Start(); err != nil {
			panic(err)
		}
		fmt.Println(`{"ready":true}`)
		fmt.Printf(`{"class":"spin","evidence":["%d","%d"]}`+"\n", os.Getpid(), c.Process.Pid)
		time.Sleep(time.Hour)
	},
	"deaf": func([]string) {
		signal.Ignore(syscall.SIGTERM)
		time.Sleep(time.Hour)
	},
	// keeper attaches a program that says its number, prints that, and waits.
	"keeper": func([]string) {
		e := observer("stubborn")
		if err := e.Attach(context.Background(), subject()); err != nil {
			panic(err)
		}
		for len(e.Reports()) == 0 {
			time.Sleep(time.Millisecond)
		}
		fmt.Println(strings.Join(e.Reports()[0].Evidence, " "))
		time.Sleep(time.Hour)
	},
}

// observer is one of programs as an observer.
func observer(program string, args ...string) *Exec {
	return &Exec{Spec: suites.Observer{Name: "probe", Command: append([]string{os.Args[0], "as", program}, args...)}}
}

// realClock is this machine's clock.
type realClock struct{}

func (realClock) Now() int64 { return time.Now().UnixNano() }

func (realClock) Sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type guest struct{ trial.Guest }

func (guest) Facts() trial.Facts { return trial.Facts{Name: "web-1", Domid: 42} }

func subject() trial.Subject { return trial.Subject{Guest: guest{}, Clock: realClock{}} }

// within fails the test unless done becomes true in time.
func within(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: never happened", what)
		}
	}
}

// gone reports whether a process has ended, reaped or not.
func gone(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, after, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(after, "Z") || strings.HasPrefix(after, "X")
}

const ready = `{"ready":true}`

// TestExecReports: what a program prints becomes reports, with the time at which it
// was read, and its name and number reach the program.
func TestExecReports(t *testing.T) {
	t.Parallel()
	e := observer("says", ready,
		`{"class":"spin","scope":"partial","evidence":["{domain}","{domid}","tab\there"],"vcpu":1,"task":"init:7"}`,
		`{"class":"hard"}`, `{"clear":true}`, `{"class":"soft"}`)
	if e.Name() != "probe" || e.Reports() != nil || e.Guards()[0].Armed {
		t.Error("it has reports, or is armed, before it was attached")
	}
	before := realClock{}.Now()
	if err := e.Attach(t.Context(), subject()); err != nil {
		t.Fatal(err)
	}
	within(t, "three lines", func() bool { r := e.Reports(); return len(r) == 2 })
	after := realClock{}.Now()
	r := e.Reports()
	for i := range r {
		if r[i].AtNS < before || r[i].AtNS > after || r[i].SeenNS != r[i].AtNS {
			t.Errorf("report %d at %d, want %d to %d", i, r[i].AtNS, before, after)
		}
		r[i].AtNS, r[i].SeenNS = 0, 0
	}
	if r[0].EndNS < before || r[0].EndNS > after {
		t.Errorf("cleared at %d, want %d to %d", r[0].EndNS, before, after)
	}
	r[0].EndNS = 0
	want := []trial.Report{
		{Guard: "probe", Class: "spin", Scope: "partial", Evidence: []string{"web-1", "42", `tab\there`}, VCPU: 1,
			Task: "init:7"},
		{Guard: "probe", Class: "soft", VCPU: -1},
	}
	if fmt.Sprint(r) != fmt.Sprint(want) {
		t.Errorf("reports\n%+v\nwant\n%+v", r, want)
	}
	if g := e.Guards(); !slices.Equal(g, []trial.Guard{{Name: "probe", Armed: true}}) {
		t.Errorf("guards %+v", g)
	}
	if err := e.Poll(0); err != nil {
		t.Errorf("a program that goes on: %v", err)
	}
	if c, err := e.Detach(t.Context()); err != nil || fmt.Sprint(c) != fmt.Sprint(trial.Counts{}) {
		t.Errorf("counts %+v, error %v", c, err)
	}
	if len(e.Reports()) != 2 {
		t.Error("its reports are gone with it")
	}
	// And again: the reports of the first time do not count.
	e.Spec.Command = append(e.Spec.Command[:3], ready)
	if err := e.Attach(t.Context(), subject()); err != nil || len(e.Reports()) != 0 {
		t.Errorf("attached again: %v, reports %+v", err, e.Reports())
	}
	if _, err := e.Detach(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestExecFails: each way in which a program can fail has its name, and its process is
// gone afterwards.
func TestExecFails(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		program string
		args    []string
		want    string
	}{
		{"garbage", "says", []string{ready, "hello\x1b[2J"}, `observer probe printed "hello\x1b[2J", which is no message`},
		{"an array", "says", []string{ready, `[1]`}, "which is no message"},
		{"two in a line", "says", []string{ready, `{"clear":true}{"clear":true}`}, "which is more than one message"},
		{"unknown field", "says", []string{ready, `{"klass":"spin"}`}, `there is no key "klass"`},
		{"nothing", "says", []string{ready, `{}`}, "not one of ready, class and clear"},
		{"two at once", "says", []string{ready, `{"class":"spin","clear":true}`}, "not one of ready, class and clear"},
		{"class", "says", []string{ready, `{"class":"Spin lock"}`}, "whose class is not a word"},
		{"scope", "says", []string{ready, `{"class":"spin","scope":"some"}`}, "whose scope is neither"},
		{"vcpu", "says", []string{ready, `{"class":"spin","vcpu":-1}`}, "whose vcpu is out of range"},
		{"detail", "says", []string{ready, `{"clear":true,"task":"a"}`}, "describes a hang without its class"},
		{"long text", "says", []string{ready, `{"class":"spin","task":"` + strings.Repeat("a", maxText+1) + `"}`},
			"a text of more than 400 bytes"},
		{"much evidence", "says", []string{ready, `{"class":"spin","evidence":["a"` + strings.Repeat(`,"a"`, maxEvidence) +
			`]}`}, "33 lines of evidence, more than 32"},
		{"ready twice", "says", []string{ready, ready}, "ready must come first and once"},
		{"clear first", "says", []string{ready, `{"clear":true}`}, "cleared a hang that it had not reported"},
		{"many reports", "floods", nil, "reported more than 256 hangs"},
		{"many lines", "repeats", nil, "printed more than 4096 lines"},
		{"a line without end", "endless", nil, "printed a line of more than 8192 bytes"},
		{"death", "dies", []string{ready}, `ended by itself: exit status 3: out of\x1b[1m luck`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e := observer(tc.program, tc.args...)
			if err := e.Attach(t.Context(), subject()); err != nil {
				// A program may be that quick.
				if !strings.Contains(err.Error(), tc.want) {
					t.Errorf("attach: %v, want %q", err, tc.want)
				}
				return
			}
			pid := e.proc.cmd.Process.Pid
			var err error
			within(t, "failure", func() bool { err = e.Poll(0); return err != nil })
			if failed, ok := errors.AsType[*trial.ObserverError](err); !ok || !strings.Contains(failed.Reason, tc.want) ||
				!strings.HasPrefix(failed.Reason, "observer probe ") {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if _, derr := e.Detach(t.Context()); derr == nil || derr.Error() != err.Error() {
				t.Errorf("detached with %v, want %v", derr, err)
			}
			if !gone(pid) {
				t.Error("the program still runs")
			}
		})
	}
}

// TestExecStart: a program that cannot be started is a mistake of the suite; one that
// says nothing, or dies at once, has failed.
func TestExecStart(t *testing.T) {
	t.Parallel()
	e := &Exec{Spec: suites.Observer{Name: "probe", Command: []string{"/no/such/program"}}}
	err := e.Attach(t.Context(), subject())
	if _, ok := errors.AsType[*trial.ObserverError](err); ok || !errors.Is(err, os.ErrNotExist) ||
		!strings.Contains(err.Error(), "start observer probe: ") {
		t.Errorf("no such program: %v", err)
	}
	e = observer("dies")
	if err := e.Attach(t.Context(), subject()); err == nil ||
		!strings.Contains(err.Error(), "ended by itself: exit status 3") {
		t.Errorf("a program that dies at once: %v", err)
	}
	e = observer("says", `{"class":"spin"}`)
	if err := e.Attach(t.Context(), subject()); err == nil || !strings.Contains(err.Error(), "ready must come first") {
		t.Errorf("a program that is not ready: %v", err)
	}
	e = observer("says")
	s := subject()
	s.Clock = &fastClock{}
	if err := e.Attach(t.Context(), s); err == nil || !strings.Contains(err.Error(),
		"did not say within 30s that it is watching") {
		t.Errorf("a program that says nothing: %v", err)
	}
	if !gone(e.proc.cmd.Process.Pid) {
		t.Error("it still runs")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e = observer("says")
	if err := e.Attach(ctx, subject()); !errors.Is(err, context.Canceled) || !gone(e.proc.cmd.Process.Pid) {
		t.Errorf("an interrupted trial: %v", err)
	}
}

// fastClock moves a second at each look.
type fastClock struct{ now int64 }

func (c *fastClock) Now() int64 {
	c.now += 1e9
	return c.now
}

func (c *fastClock) Sleep(context.Context, time.Duration) error { return nil }

// TestExecLastReport: a report that came just before the end counts.
func TestExecLastReport(t *testing.T) {
	t.Parallel()
	e := observer("dies", ready, `{"class":"spin"}`)
	if err := e.Attach(t.Context(), subject()); err != nil {
		t.Fatal(err)
	}
	<-e.proc.ended
	if err := e.Poll(0); err != nil || len(e.Reports()) != 1 {
		t.Errorf("reports %+v, error %v", e.Reports(), err)
	}
	if err := e.Poll(0); err == nil {
		t.Error("the end of the program is not noticed")
	}
	if _, err := e.Detach(t.Context()); err == nil {
		t.Error("the end of the program is not told")
	}
}

// TestExecGroup: a program that does not want to end is ended, and so are the processes
// that it has started.
func TestExecGroup(t *testing.T) {
	t.Parallel()
	e := observer("stubborn")
	if err := e.Attach(t.Context(), subject()); err != nil {
		t.Fatal(err)
	}
	within(t, "its report", func() bool { return len(e.Reports()) == 1 })
	var pids []int
	for _, text := range e.Reports()[0].Evidence {
		pid, err := strconv.Atoi(text)
		if err != nil || gone(pid) {
			t.Fatalf("process %q: %v", text, err)
		}
		pids = append(pids, pid)
	}
	if _, err := e.Detach(t.Context()); err != nil {
		t.Error(err)
	}
	for _, pid := range pids {
		within(t, fmt.Sprintf("end of process %d", pid), func() bool { return gone(pid) })
	}

	// An interrupted detach does not wait, and ends them too.
	e = observer("stubborn")
	if err := e.Attach(t.Context(), subject()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Detach(ctx); !errors.Is(err, context.Canceled) || !gone(e.proc.cmd.Process.Pid) {
		t.Errorf("interrupted: %v", err)
	}
}

// TestExecCrash: when the process that runs the trial is killed, the program ends, and
// so do the processes that it has started, though they ignore SIGTERM.
func TestExecCrash(t *testing.T) {
	t.Parallel()
	keeper := exec.Command(os.Args[0], "as", "keeper")
	keeper.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := keeper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := keeper.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	keeper.Process.Kill()
	keeper.Wait()
	pids := strings.Fields(line)
	if err != nil || len(pids) != 2 {
		t.Fatalf("it said %q (%v)", line, err)
	}
	for _, text := range pids {
		pid, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		within(t, "end of process "+text, func() bool { return gone(pid) })
	}
}

// FuzzMessage: whatever a program prints is a message within its bounds, or an error
// that can be shown.
func FuzzMessage(f *testing.F) {
	for _, s := range []string{ready, `{"class":"spin","scope":"full","evidence":["a"],"vcpu":0,"task":"b"}`,
		`{"clear":true}`, `{`, "\x00", `{"class":"\u001b"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		if err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) || len(err.Error()) > 1000 {
				t.Errorf("error %q", err)
			}
			return
		}
		if m.Ready && (m.Clear || m.Class != "") || !m.Ready && !m.Clear && m.Class == "" || len(m.Evidence) > maxEvidence {
			t.Errorf("accepted %+v", m)
		}
		for _, text := range append(m.Evidence, m.Task, m.Class, m.Scope) {
			if len(text) > maxText || printable.Line(text) != text {
				t.Errorf("accepted %q", text)
			}
		}
	})
}
