package recovery

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/bench/dom0/clock"
	xc "hangbench/cgo/xenctrl"
	"hangbench/cgo/xenctrl/xentest"
	"hangbench/monitor"
	"hangbench/monitor/detect"
	xcdriver "hangbench/monitor/driver/xenctrl"
	"hangbench/monitor/trap"
)

// noSymbols are the symbols of a kernel that nobody knows.
type noSymbols struct{}

func (noSymbols) Function(uint64) (string, uint64, bool) { return "", 0, false }
func (noSymbols) Data(uint64) (string, bool)             { return "", false }

// noKernel is a kernel of which nothing can be read.
type noKernel struct{}

func (noKernel) RunQueue(int, *detect.RunQueue) bool         { return false }
func (noKernel) Inspect(*detect.Kernel)                      {}
func (noKernel) Callers(names []string, rsp uint64) []string { return names }

// trapped is the frame that monitors of these tests trap.
const trapped = 5

// config is a monitor of the guest with a mechanism.
func config(t *testing.T, h *Host, g *xentest.Guest, mechanism string) monitor.Config {
	t.Helper()
	m, err := trap.Find(mechanism)
	if err != nil {
		t.Fatal(err)
	}
	d, err := xcdriver.New(h.Xen, int(g.ID()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return monitor.Config{
		Driver: d, Mechanism: m, Site: trap.Site{Symbol: "__switch_to_asm", VA: 0xffffffff81005000, GFN: trapped},
		Symbols: noSymbols{}, Kernel: noKernel{}, Thresholds: detect.DefaultThresholds(), Sample: 20 * time.Millisecond,
		Now: clock.Now,
	}
}

// program has the guest's vCPUs enter and leave the trapped page.
func program(g *xentest.Guest) {
	for i := range 2 {
		g.VCPU(i).SetProgram(true,
			xentest.Instruction{RIP: 0xffffffff81003000, GPA: 3 << 12},
			xentest.Instruction{RIP: 0xffffffff81005000, GPA: trapped << 12})
	}
}

// TestAttach: while a monitor is attached its journal names what it has changed;
// detached, it leaves neither a change nor a journal.
func TestAttach(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []string{"poll", "exec-step", "exec-altp2m", "cr3"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			_, g, h := newHost(t)
			program(g)
			defer g.Start(4)()
			s, err := h.Attach(int(g.ID()), config(t, h, g, mechanism))
			if err != nil {
				t.Fatal(err)
			}
			c, err := h.journalOf(int(g.ID()))
			if err != nil || c.Mechanism != mechanism || c.PID != os.Getpid() {
				t.Errorf("journal %+v, %v", c, err)
			}
			if restricts := mechanism == "exec-step"; restricts != (len(c.Restricted) == 1) {
				t.Errorf("the journal has frames %v restricted", c.Restricted)
			}
			if _, err := h.Recover(int(g.ID()), true); err == nil {
				t.Error("a guest was recovered whose monitor lives")
			}
			for end := time.Now().Add(5 * time.Second); s.Signals() < 3 && mechanism == "exec-step" && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			counters, err := s.Detach()
			if err != nil {
				t.Error(err)
			}
			if mechanism == "exec-step" && counters.Signals == 0 {
				t.Error("no signals")
			}
			if err := g.Clean(); err != nil {
				t.Error(err)
			}
			if _, err := h.journalOf(int(g.ID())); !errors.Is(err, xc.ErrNotExist) {
				t.Errorf("the journal afterwards: %v", err)
			}
		})
	}
}

// TestAttachBusy: a guest that another program monitors is left alone, and no
// journal stays behind.
func TestAttachBusy(t *testing.T) {
	t.Parallel()
	_, g, h := newHost(t)
	other, err := h.Xen.Domain(g.ID()).EnableMonitor()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Disable()
	if _, err := h.Attach(int(g.ID()), config(t, h, g, "exec-step")); !errors.Is(err, xc.ErrBusy) {
		t.Errorf("attach to a guest with a monitor: %v", err)
	}
	if _, err := h.journalOf(int(g.ID())); !errors.Is(err, xc.ErrNotExist) {
		t.Errorf("the journal afterwards: %v", err)
	}
	if _, err := h.Recover(int(g.ID()), false); !errors.Is(err, ErrForeign) {
		t.Errorf("recover a guest with a monitor of somebody else: %v", err)
	}
}

// TestAttachUndone: a monitor that cannot attach, whichever call Xen refuses, undoes
// what it has done, and its journal is removed.
func TestAttachUndone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ mechanism, call string }{
		{"exec-altp2m", "xc_altp2m_set_domain_state"}, {"exec-altp2m", "xc_altp2m_create_view"},
		{"exec-altp2m", "xc_altp2m_switch_to_view"}, {"exec-altp2m", "xc_monitor_singlestep"},
		{"exec-step", "xc_monitor_singlestep"}, {"exec-step", "xc_set_mem_access"}, {"cr3", "xc_monitor_write_ctrlreg"},
		{"exec-emulate", "xc_monitor_emul_unimplemented"}, {"int3-step", "xc_monitor_software_breakpoint"},
		{"int3-step", "xc_monitor_singlestep"},
	} {
		fake, g, h := newHost(t)
		g.Page(trapped)[0] = 0x90
		fake.Fail(c.call, unix.ENOSPC, 1)
		if _, err := h.Attach(int(g.ID()), config(t, h, g, c.mechanism)); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%s without %s: %v", c.mechanism, c.call, err)
		}
		if err := g.Clean(); err != nil {
			t.Errorf("%s without %s: %v", c.mechanism, c.call, err)
		}
		if b := g.Page(trapped)[0]; b != 0x90 {
			t.Errorf("%s without %s: the trapped byte is %#x", c.mechanism, c.call, b)
		}
		if _, err := h.journalOf(int(g.ID())); !errors.Is(err, xc.ErrNotExist) {
			t.Errorf("%s without %s: the journal afterwards: %v", c.mechanism, c.call, err)
		}
	}
}

// TestDetachFails: if a monitor cannot detach, its journal stays, and the guest can be
// recovered once its process is dead.
func TestDetachFails(t *testing.T) {
	t.Parallel()
	fake, g, h := newHost(t)
	s, err := h.Attach(int(g.ID()), config(t, h, g, "exec-step"))
	if err != nil {
		t.Fatal(err)
	}
	fake.Fail("xc_set_mem_access", unix.EIO, 1)
	if _, err := s.Detach(); !errors.Is(err, unix.EIO) {
		t.Errorf("Detach: %v", err)
	}
	c, err := h.journalOf(int(g.ID()))
	if err != nil || len(c.Restricted) != 1 {
		t.Fatalf("the journal afterwards: %+v, %v", c, err)
	}
	c.Start = 1 // as if the process had ended
	writeJournal(t, h, g, c)
	if r, err := h.Recover(int(g.ID()), false); err != nil || !r.OK() || r.Restricted != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := g.Clean(); err != nil {
		t.Error(err)
	}
}

// TestDetachGone: a guest that is destroyed takes its journal along.
func TestDetachGone(t *testing.T) {
	t.Parallel()
	_, g, h := newHost(t)
	program(g)
	defer g.Start(4)()
	s, err := h.Attach(int(g.ID()), config(t, h, g, "exec-step"))
	if err != nil {
		t.Fatal(err)
	}
	g.Destroy()
	<-s.Done()
	if _, err := s.Detach(); !errors.Is(err, monitor.ErrGone) || errors.Is(err, xc.ErrNotExist) {
		t.Errorf("detach from a destroyed guest: %v", err)
	}
}

// TestWatch: a monitor runs until it is told to end, and its findings are told.
func TestWatch(t *testing.T) {
	t.Parallel()
	_, g, h := newHost(t)
	program(g)
	defer g.Start(4)()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	attached := false
	c := config(t, h, g, "poll")
	counters, err := Watch(ctx, func(report func(monitor.News)) (Watched, error) {
		c.Report = report
		return h.Attach(int(g.ID()), c)
	}, func() { attached = true; g.Shutdown(xc.ShutdownCrash) }, func(n monitor.News) {
		if n.Verdict == nil || n.Verdict.Class != detect.ClassPanic {
			t.Errorf("news %+v, want a panic", n)
		}
		cancel()
	})
	if err != nil || !attached || counters.Samples == 0 {
		t.Errorf("%+v, attached %v, %v", counters, attached, err)
	}
	if err := g.Clean(); err != nil {
		t.Error(err)
	}
}

// fakeWatched is a monitor that reports as a test says.
type fakeWatched struct {
	done chan struct{}
	err  error
}

func (f fakeWatched) Done() <-chan struct{} { return f.done }
func (f fakeWatched) Detach() (monitor.Counters, error) {
	return monitor.Counters{Counts: monitor.Counts{Samples: 7}}, f.err
}

// TestWatchEnds: how a watch can end, and what becomes of findings that nobody took.
func TestWatchEnds(t *testing.T) {
	t.Parallel()
	ended, running := make(chan struct{}), make(chan struct{})
	close(ended)
	broken := errors.New("no such domain")
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name    string
		ctx     context.Context
		watched fakeWatched
		news    int
		want    string // of the error; empty for none
		told    int
	}{
		{"told to end", canceled, fakeWatched{done: running}, 3, "", 3},
		{"ended by itself", t.Context(), fakeWatched{done: ended}, 1, "ended by itself", 1},
		{"the guest is gone", t.Context(), fakeWatched{ended, monitor.ErrGone}, 0, monitor.ErrGone.Error(), 0},
		{"cannot detach", canceled, fakeWatched{running, broken}, 0, broken.Error(), 0},
		{"too many findings", canceled, fakeWatched{done: running}, newsBuffer + 2, "2 findings were dropped", newsBuffer},
	} {
		told := 0
		counters, err := Watch(c.ctx, func(report func(monitor.News)) (Watched, error) {
			for range c.news {
				report(monitor.News{})
			}
			return c.watched, nil
		}, func() {}, func(monitor.News) { told++ })
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if told != c.told || counters.Samples != 7 {
			t.Errorf("%s: %d findings told, want %d; %+v", c.name, told, c.told, counters)
		}
	}
	if _, err := Watch(t.Context(), func(func(monitor.News)) (Watched, error) { return nil, broken },
		func() { t.Error("attached") }, nil); !errors.Is(err, broken) {
		t.Errorf("cannot attach: %v", err)
	}
}
