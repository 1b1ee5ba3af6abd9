package price

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/bench/dom0"
	"hangbench/bench/dom0/dom0test"
	"hangbench/bench/price/event"
	xc "hangbench/cgo/xenctrl"
	"hangbench/guests/beat"
	"hangbench/scenarios/suites"
)

// newGuest makes a fake guest.
func newGuest(t *testing.T, vcpus int) (*dom0test.Fake, *dom0.Guest) {
	t.Helper()
	f := dom0test.New(t)
	g, err := f.NewGuest(t.Context(), "guest", suites.Guest{Kernel: dom0test.Kernel, VCPUs: vcpus, MemoryMiB: 160})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Guest(g.Domid).Clean(); err != nil {
			t.Error(err)
		}
		if err := g.Destroy(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return f, g
}

// yardstickVariable makes this test program a C loop: it prints what the C loop prints
// and traps nothing.
const yardstickVariable = "HANGBENCH_TEST_YARDSTICK"

func TestMain(m *testing.M) {
	switch os.Getenv(yardstickVariable) {
	case "works":
		interrupted := make(chan os.Signal, 1)
		signal.Notify(interrupted, os.Interrupt)
		fmt.Println("armed")
		<-interrupted
		fmt.Println(`{"events": 1000, "stamps": [[10, 20, 30, 40], [50, 60, 70, 80]]}`)
	case "short":
		interrupted := make(chan os.Signal, 1)
		signal.Notify(interrupted, os.Interrupt)
		fmt.Println("armed")
		<-interrupted
		fmt.Println(`{"events": 1000, "stamps": [[10, 20, 30, 40], [1]]}`)
	case "talks":
		fmt.Println("hello, all is well")
	case "refuses":
		fmt.Fprintln(os.Stderr, "no such domain")
		os.Exit(2)
	case "garbles":
		interrupted := make(chan os.Signal, 1)
		signal.Notify(interrupted, os.Interrupt)
		fmt.Println("armed")
		<-interrupted
		fmt.Println("?")
	default:
		os.Exit(m.Run())
	}
}

var discard = slog.New(slog.DiscardHandler)

// messages is a slog.Handler that keeps the messages.
type messages struct{ all []string }

func (m *messages) Enabled(context.Context, slog.Level) bool { return true }
func (m *messages) WithAttrs([]slog.Attr) slog.Handler       { return m }
func (m *messages) WithGroup(string) slog.Handler            { return m }
func (m *messages) Handle(_ context.Context, r slog.Record) error {
	m.all = append(m.all, r.Message)
	return nil
}

// TestEventJob: both loops are measured on a guest, which is left idle and untouched.
func TestEventJob(t *testing.T) {
	t.Setenv(yardstickVariable, "works")
	_, g := newGuest(t, 1)
	steps := &messages{}
	job := EventJob{Driver: "xenctrl", Mechanisms: []string{"exec-step"}, Blocks: 1, Window: 100 * time.Millisecond,
		Yardstick: os.Args[0]}
	r, err := job.run(t.Context(), g, 256, slog.New(steps))
	if err != nil {
		t.Fatal(err)
	}
	if r.Host != "xen" || r.Driver != "xenctrl" || !strings.HasPrefix(r.Xen, "4.20") ||
		r.GuestKernel != dom0test.Release || r.VCPUs != 1 ||
		r.WindowMS != 100 || r.PerSecond <= 0 || len(r.Series) != 1 {
		t.Fatalf("%+v", r)
	}
	s := r.Series[0]
	b := s.Blocks[0]
	if b.Ours.Events == 0 || b.C.Events != 2000 || b.Base.Work == 0 || b.Base.NS < int64(200*time.Millisecond) ||
		!s.Alive {
		t.Errorf("block %+v, alive %v", b, s.Alive)
	}
	if s.TimedOurs == nil || s.TimedOurs.HandlingP50 <= 0 || s.TimedC == nil || s.TimedC.HandlingP50 <= 0 {
		t.Errorf("timed passes %+v and %+v", s.TimedOurs, s.TimedC)
	}
	if len(steps.all) != 8 {
		t.Errorf("steps %q", steps.all)
	}
	if w := g.Heartbeat.Wanted(); w != beat.Idle.Name {
		t.Errorf("the guest is left with the workload %v", w)
	}
	r.Compute()
	if row := r.Rows[0]; row.OursEvents != b.Ours.Events || row.CEvents != 2000 {
		t.Errorf("%+v", row)
	}
}

// TestYardstickFails: a C loop that does not start, or whose result makes no sense, is
// an error that says why.
func TestYardstickFails(t *testing.T) {
	_, g := newGuest(t, 1)
	for mode, want := range map[string]string{"refuses": "no such domain", "garbles": "read its result",
		"short": "stamp 1 has 1 times, not 4", "talks": `it was not armed: it printed "hello,"`} {
		t.Setenv(yardstickVariable, mode)
		job := EventJob{Mechanisms: []string{"cr3"}, Blocks: 1, Window: 50 * time.Millisecond, Yardstick: os.Args[0]}
		if _, err := job.Run(t.Context(), g, discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a yardstick that %s: %v, want %q", mode, err, want)
		}
	}
	job := EventJob{Mechanisms: []string{"cr3"}, Blocks: 1, Window: 50 * time.Millisecond, Yardstick: "/no/such/program"}
	if _, err := job.Run(t.Context(), g, discard); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no yardstick: %v", err)
	}
	job.Driver = "magic"
	if _, err := job.Run(t.Context(), g, discard); err == nil || !strings.Contains(err.Error(), "magic") {
		t.Errorf("no driver: %v", err)
	}
}

// TestPoll: the samples of a polling monitor are counted and their parts timed.
func TestPoll(t *testing.T) {
	t.Parallel()
	_, g := newGuest(t, 2)
	p, err := open(g, "xenctrl")
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.poll(t.Context(), 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); s.Samples() < 5 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	spent := s.Spent()
	c, err := s.Stop()
	if err != nil || c.Samples < 5 || c.Events != 0 {
		t.Errorf("%+v, %v", c, err)
	}
	for _, part := range []string{"domain and vCPU state", "run queues", "task list"} {
		if spent[part] == 0 {
			t.Errorf("%s took no time: %v", part, spent)
		}
	}
}

// TestReads: a page that the driver has at hand is read without mapping it, and a frame
// that was exchanged is read anew once the driver has forgotten its pages.
func TestReads(t *testing.T) {
	t.Parallel()
	f, g := newGuest(t, 1)
	p, err := open(g, "xenctrl")
	if err != nil {
		t.Fatal(err)
	}
	f.Guest(g.Domid).RemovePage(700) // a hole below the top
	f.Guest(g.Domid).SetMaxPages(2000)
	r, err := p.reads()
	if err != nil {
		t.Fatal(err)
	}
	if r.Mapped == 0 || r.Unmapped <= r.Mapped || !r.Stale || r.Kernel != "" || r.Frame != "" {
		t.Errorf("%+v", r)
	}
	if f.Guest(g.Domid).Page(700) != nil {
		t.Error("the guest has kept a frame")
	}
}

// TestMissesJob: on a guest whose every switch passes the trap, a trap without a limit
// misses none, and one with the default limit misses most.
func TestMissesJob(t *testing.T) {
	t.Parallel()
	_, g := newGuest(t, 1)
	job := MissesJob{Driver: "xenctrl", Mechanisms: []string{"exec-altp2m"}, Window: 300 * time.Millisecond,
		Sample: 100 * time.Millisecond}
	r, err := job.Run(t.Context(), g, discard)
	if err != nil {
		t.Fatal(err)
	}
	r.Compute()
	if r.Host != "xen" || r.VCPUs != 1 || r.WindowMS != 300 || r.SampleMS != 100 || len(r.Rows) != 2 {
		t.Fatalf("%+v", r)
	}
	for i, row := range r.Rows {
		if row.Signals == 0 || row.Switches == 0 || !row.Alive || row.BackedOut != "" {
			t.Errorf("%+v", row)
		}
		if limited := i == 1; limited != (row.Missed > r.Edge) {
			t.Errorf("missed %d of %d: %+v", row.Missed, row.Switches, row)
		}
	}
	job.Mechanisms = []string{"magic"}
	if _, err := job.Run(t.Context(), g, discard); err == nil || !strings.Contains(err.Error(), "magic") {
		t.Errorf("no mechanism: %v", err)
	}
}

// TestTimedFails: a loop is stopped if Xen's trace cannot be had.
func TestTimedFails(t *testing.T) {
	t.Parallel()
	f, g := newGuest(t, 1)
	p, err := open(g, "xenctrl")
	if err != nil {
		t.Fatal(err)
	}
	f.Hypervisor.Fail("xc_tbuf_enable", unix.EBUSY, 1)
	if _, _, err := (loops{p, "", 64}).Timed(t.Context(), event.Ours, "exec-step", time.Millisecond); !errors.Is(err,
		unix.EBUSY) {
		t.Errorf("%v", err)
	}
}

// TestInstant: the guest's exits and entries in Xen's trace become instants.
func TestInstant(t *testing.T) {
	t.Parallel()
	f, g := newGuest(t, 1)
	trace, err := f.Xen.OpenTrace(xc.TraceConfig{Pages: 64,
		Events: xc.TraceEntryExit | xc.TraceRunstate | xc.TracePVEntry})
	if err != nil {
		t.Fatal(err)
	}
	defer trace.Close()
	p, err := open(g, "")
	if err != nil {
		t.Fatal(err)
	}
	l, err := p.ours("exec-step", p.Watched().Driver)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if _, err := l.Stop(); err != nil {
		t.Fatal(err)
	}
	var kinds []event.InstantKind
	err = errors.Join(trace.Stop(), trace.Drain(func(r *xc.Record) {
		if in, ok := instant(r, xc.DomID(g.Domid)); ok && !slices.Contains(kinds, in.Kind) {
			kinds = append(kinds, in.Kind)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(kinds, event.GuestExit) || !slices.Contains(kinds, event.GuestEntry) {
		t.Errorf("kinds %v", kinds)
	}
}
