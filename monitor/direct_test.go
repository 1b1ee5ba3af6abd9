package monitor

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"hangbench/monitor/detect"
	"hangbench/monitor/driver"
	"hangbench/monitor/trap"
)

// Tests in this file drive a session call by call, without its goroutine.

// scene is a guest whose state a test sets before each call, its kernel, its symbols
// and the session's clock.
type scene struct {
	driver.Driver // Name, Pause and Unpause are not called by these tests
	driver.Ring

	nowNS    int64
	dom      driver.DomainState
	vcpus    []driver.VCPUState
	regs     driver.Registers
	queue    detect.RunQueue
	noQueue  bool
	stateErr error
	regsErr  error

	read       int // calls of Registers
	inspected  int // calls of Inspect
	asked      int // calls of the clock
	calls      []string
	unpauseErr error
	disarmErr  error
	suspended  int
	resumed    int
	waits      []time.Duration // of serve
	served     int             // events that serve says it has served
	stop       func()          // ends the loop, at the end of waits
	clearErr   error
	journalErr error
	cleared    int
	written    []trap.Changes
	checkErr   error
	news       []News
}

func (g *scene) Name() string { return "scene" }
func (g *scene) VCPUs() int   { return len(g.vcpus) }
func (g *scene) Pause() error { g.calls = append(g.calls, "pause"); return nil }

func (g *scene) Unpause() error { g.calls = append(g.calls, "unpause"); return g.unpauseErr }

func (g *scene) State(vcpus []driver.VCPUState) (driver.DomainState, error) {
	copy(vcpus, g.vcpus)
	return g.dom, g.stateErr
}

func (g *scene) Registers(_ int, r *driver.Registers) error {
	g.read++
	*r = g.regs
	return g.regsErr
}

func (g *scene) RunQueue(_ int, q *detect.RunQueue) bool { *q = g.queue; return !g.noQueue }

func (g *scene) Inspect(k *detect.Kernel) { g.inspected++; *k = detect.Kernel{Panicking: -1} }

func (g *scene) Callers(names []string, rsp uint64) []string {
	return append(names, fmt.Sprintf("caller at %#x", rsp))
}

func (g *scene) Function(addr uint64) (string, uint64, bool) {
	if addr == 0x77 {
		return "native_queued_spin_lock_slowpath", 7, true
	}
	return "do_work", 3, true
}

func (g *scene) Data(addr uint64) (string, bool) { return "big_lock", addr == 0x1234 }

func (g *scene) now() int64 { g.asked++; return g.nowNS }

func (g *scene) SetAccess(v driver.View, gfn uint64, a driver.Access) error {
	g.calls = append(g.calls, fmt.Sprintf("access %d %d %d", v, gfn, a))
	return nil
}

func (g *scene) serve(d time.Duration, _ answer) (int, error) {
	g.waits = append(g.waits, d)
	g.stop()
	return g.served, nil
}
func (g *scene) drain(answer) error { g.calls = append(g.calls, "drain"); return nil }
func (g *scene) Wake()              {}
func (g *scene) Full() uint64       { return 5 }
func (g *scene) Close() error       { g.calls = append(g.calls, "close"); return nil }

func (g *scene) Write(c trap.Changes) error {
	g.calls = append(g.calls, "write down")
	g.written = append(g.written, c)
	return g.journalErr
}

func (g *scene) Clear() error { g.cleared++; return g.clearErr }

// sceneTrap is a trap that notes what is asked of it.
type sceneTrap struct {
	trap.Host
	g *scene
}

func (t sceneTrap) note(s string) { t.g.calls = append(t.g.calls, s) }

func (t sceneTrap) Plan() (trap.Changes, error) {
	return trap.Changes{Restricted: []uint64{7}}, nil
}
func (t sceneTrap) Arm() error   { t.note("arm"); return nil }
func (t sceneTrap) Check() error { t.note("check"); return t.g.checkErr }
func (t sceneTrap) Handle(ev *driver.Event, _ *driver.Response) error {
	t.note("handle")
	t.Signal(ev.VCPU)
	return nil
}
func (t sceneTrap) Rearm() error                            { t.note("rearm"); return nil }
func (t sceneTrap) Release(*driver.Event, *driver.Response) { t.note("release") }
func (t sceneTrap) Disarm() error                           { t.note("disarm"); return t.g.disarmErr }
func (t sceneTrap) Suspend() error                          { t.g.suspended++; return nil }
func (t sceneTrap) Resume() error                           { t.g.resumed++; return nil }

// newScene returns a guest with one running vCPU and a session that watches it.
func newScene(change ...func(*Config)) (*scene, *Session) {
	g := &scene{vcpus: []driver.VCPUState{{Online: true, Running: true}}, nowNS: 1e9,
		queue: detect.RunQueue{Switches: 100, Running: 1, PID: 4}}
	m := trap.Mechanism{Name: "scene", View: trap.Altp2m, Opens: true,
		Frames: func(*trap.Site) []uint64 { return []uint64{7} },
		New:    func(h trap.Host) trap.Trap { return sceneTrap{h, g} }}
	c := Config{Driver: g, Mechanism: m, Site: trap.Site{Symbol: "switch", VA: trapVA, GFN: 7}, Symbols: g, Kernel: g,
		Thresholds: detect.DefaultThresholds(), Sample: 100 * time.Millisecond, Now: g.now,
		Report: func(n News) { g.news = append(g.news, n) }}
	for _, f := range change {
		f(&c)
	}
	s := newSession(c)
	s.source, s.ring = g, g
	return g, s
}

// noted returns the calls since the last time.
func (g *scene) noted() string {
	s := strings.Join(g.calls, ", ")
	g.calls = nil
	return s
}

// TestSampleVCPU: a vCPU's registers are read if it gave no signal and is not idle, and
// the observation says where it is.
func TestSampleVCPU(t *testing.T) {
	t.Parallel()
	blocked := driver.VCPUState{Online: true, Blocked: true}
	running := driver.VCPUState{Online: true, Running: true, CPUTimeNS: 9}
	idleTask := detect.RunQueue{Switches: 100, Running: 0, PID: 0, TimerNS: 2e9, ClockNS: 1e9}
	inKernel := detect.VCPU{Online: true, Running: true, CPUTimeNS: 9, Sampled: true, RIP: 5, InterruptsOn: true,
		Symbol: "do_work", Offset: 3, Callers: []string{"caller at 0x6"}}
	regs := driver.Registers{RIP: 5, RSP: 6, RFLAGS: 1 << 9}
	for _, tc := range []struct {
		name string
		set  func(g *scene, s *Session)
		want detect.VCPU // without the run queue
		read bool
	}{
		{"runs in the kernel", func(g *scene, s *Session) {}, inKernel, true},
		{"runs in user space", func(g *scene, s *Session) { g.regs.UserMode = true },
			detect.VCPU{Online: true, Running: true, CPUTimeNS: 9, Sampled: true, UserMode: true, RIP: 5,
				InterruptsOn: true}, true},
		{"waits for a lock", func(g *scene, s *Session) { g.regs.RIP, g.regs.General[3], g.regs.RFLAGS = 0x77, 0x1234, 0 },
			detect.VCPU{Online: true, Running: true, CPUTimeNS: 9, Sampled: true, RIP: 0x77,
				Symbol: "native_queued_spin_lock_slowpath",
				Offset: 7, Callers: []string{"caller at 0x6"}, Lock: "rdx = big_lock"}, true},
		{"a lock's address elsewhere", func(g *scene, s *Session) { g.regs.General[3] = 0x1234 }, inKernel, true},
		{"waits for a lock without a name", func(g *scene, s *Session) { g.regs.RIP = 0x77 },
			detect.VCPU{Online: true, Running: true, CPUTimeNS: 9, Sampled: true, RIP: 0x77, InterruptsOn: true,
				Symbol: "native_queued_spin_lock_slowpath", Offset: 7, Callers: []string{"caller at 0x6"}}, true},
		{"gave a signal", func(g *scene, s *Session) { s.vcpus[0].signals = 1 },
			detect.VCPU{Online: true, Running: true, CPUTimeNS: 9, Signals: 1}, false},
		{"idle", func(g *scene, s *Session) { g.vcpus[0], g.queue = blocked, idleTask },
			detect.VCPU{Online: true, Blocked: true}, false},
		{"halted without a run queue", func(g *scene, s *Session) { g.vcpus[0], g.noQueue = blocked, true },
			detect.VCPU{Online: true, Blocked: true}, false},
		{"halted in a task", func(g *scene, s *Session) { g.vcpus[0] = blocked },
			detect.VCPU{Online: true, Blocked: true, Sampled: true, RIP: 5, InterruptsOn: true, Symbol: "do_work", Offset: 3,
				Callers: []string{"caller at 0x6"}}, true},
		{"runs in the idle task", func(g *scene, s *Session) { g.queue = idleTask }, inKernel, true},
		{"offline", func(g *scene, s *Session) { g.vcpus[0].Online = false },
			detect.VCPU{Running: true, CPUTimeNS: 9}, false},
		{"paused", func(g *scene, s *Session) { g.dom.Paused = true },
			detect.VCPU{Online: true, Running: true, CPUTimeNS: 9}, false},
		{"ended", func(g *scene, s *Session) { g.dom.Shutdown = "crash" },
			detect.VCPU{Online: true, Running: true, CPUTimeNS: 9}, false},
		{"paused and ended", func(g *scene, s *Session) { g.dom = driver.DomainState{Paused: true, Shutdown: "crash"} },
			detect.VCPU{Online: true, Running: true, CPUTimeNS: 9}, false},
		{"no kernel", func(g *scene, s *Session) { s.cfg.Kernel = nil },
			detect.VCPU{Online: true, Running: true, CPUTimeNS: 9, Sampled: true, RIP: 5, InterruptsOn: true,
				Symbol: "do_work", Offset: 3}, true},
	} {
		g, s := newScene()
		g.regs, g.vcpus[0] = regs, running
		tc.set(g, s)
		if err := s.observe(g.nowNS); err != nil {
			t.Fatal(err)
		}
		got := s.obs.VCPUs[0]
		if hasQueue := got.Queue != nil; hasQueue != (s.cfg.Kernel != nil && !g.noQueue) {
			t.Errorf("%s: run queue %v", tc.name, got.Queue)
		} else if hasQueue && *got.Queue != g.queue {
			t.Errorf("%s: run queue %+v", tc.name, *got.Queue)
		}
		got.Queue = nil
		if len(got.Callers) == 0 {
			got.Callers = nil
		}
		if !reflect.DeepEqual(got, tc.want) || (g.read == 1) != tc.read {
			t.Errorf("%s: registers read %d times,\n%+v, want\n%+v", tc.name, g.read, got, tc.want)
		}
		if s.Signals() != s.vcpus[0].signals || s.obs.TimeNS != g.nowNS {
			t.Errorf("%s: %d signals in all at %d", tc.name, s.Signals(), s.obs.TimeNS)
		}
	}
}

// TestSampleDoubts: the registers of a vCPU that is halted and that nothing will wake
// are read at the next sample.
func TestSampleDoubts(t *testing.T) {
	t.Parallel()
	g, s := newScene()
	g.vcpus[0] = driver.VCPUState{Online: true, Blocked: true}
	g.queue = detect.RunQueue{Switches: 100} // no timer will wake it
	for i, want := range []int{0, 0, 1} {    // two samples show that it does not change
		g.nowNS += 1e8
		if err := s.sample(g.nowNS); err != nil {
			t.Fatal(err)
		}
		if g.read != want {
			t.Errorf("registers were read %d times in %d samples, want %d", g.read, i+1, want)
		}
	}
}

// TestSampleFails: an error names what could not be observed.
func TestSampleFails(t *testing.T) {
	t.Parallel()
	for says, set := range map[string]func(g *scene, s *Session){
		"observe the guest: broken":  func(g *scene, s *Session) { g.stateErr = errors.New("broken") },
		"observe vCPU 0: no context": func(g *scene, s *Session) { g.regsErr = errors.New("no context") },
		"observe vCPU 0: again": func(g *scene, s *Session) { // the vCPU gave a signal, then stood still at its stop
			g.regsErr = errors.New("again")
			ev := driver.Event{Kind: driver.EventAccess, GFN: 7, RIP: trapVA}
			s.answer(&ev, &driver.Response{})
			s.answer(&ev, &driver.Response{})
		},
	} {
		g, s := newScene()
		set(g, s)
		if err := s.sample(g.nowNS); err == nil || err.Error() != says {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

// TestRepeatedStop: a vCPU that has signalled and then only repeats its stop is read;
// one that is halted or goes on is not.
func TestRepeatedStop(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		events  int
		blocked bool
		read    int
	}{
		{"one event", 1, false, 0},
		{"repeated", 2, false, 1},
		{"repeated, then halted", 2, true, 0},
	} {
		g, s := newScene()
		g.vcpus[0].Blocked = tc.blocked
		for range tc.events {
			ev := driver.Event{Kind: driver.EventAccess, GFN: 7, RIP: trapVA}
			if err := s.answer(&ev, &driver.Response{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.observe(g.nowNS); err != nil {
			t.Fatal(err)
		}
		if g.read != tc.read || s.vcpus[0].signals != 1 || s.obs.VCPUs[0].Sampled {
			t.Errorf("%s: registers read %d times, %d signals, sampled %v; want %d, 1", tc.name, g.read, s.vcpus[0].signals,
				s.obs.VCPUs[0].Sampled, tc.read)
		}
	}
}

// TestPolledSignals: the signals of a session that polls are the switches since it
// attached.
func TestPolledSignals(t *testing.T) {
	t.Parallel()
	g, s := newScene()
	s.polls = true
	s.vcpus[0].firstSwitches = 90
	if err := s.observe(g.nowNS); err != nil {
		t.Fatal(err)
	}
	if got := s.obs.VCPUs[0].Signals; got != 10 {
		t.Errorf("%d signals, want 10", got)
	}
}

// TestInspections: the kernel is inspected at first, then at intervals, and at once
// when the guest ends.
func TestInspections(t *testing.T) {
	t.Parallel()
	for _, every := range []time.Duration{0, 300 * time.Millisecond} {
		g, s := newScene(func(c *Config) { c.Inspect = every })
		if every == 0 {
			every = DefaultInspect
		}
		for _, step := range []struct {
			at   int64 // ns after the first
			end  string
			want int
		}{
			{0, "", 1}, {1, "", 1}, {int64(every) - 1, "", 1}, {int64(every), "", 2}, {int64(every) + 1, "", 2},
			{int64(every) + 2, "crash", 3}, {int64(every) + 3, "crash", 3},
		} {
			g.dom.Shutdown = step.end
			if err := s.observe(1e9 + step.at); err != nil {
				t.Fatal(err)
			}
			if g.inspected != step.want || s.count.Inspections != uint64(step.want) {
				t.Errorf("every %v, at %d: %d inspections, %d counted, want %d", every, step.at, g.inspected,
					s.count.Inspections, step.want)
			}
			if has := s.obs.Kernel != nil; has != (step.want > 0 && g.inspected != 0 &&
				s.nextInspection == 1e9+step.at+int64(every)) {
				t.Errorf("every %v, at %d: the observation has the kernel: %v", every, step.at, has)
			}
		}
	}
	g, s := newScene(func(c *Config) { c.Kernel = nil })
	if err := s.observe(g.nowNS); err != nil || s.obs.Kernel != nil || s.count.Inspections != 0 {
		t.Errorf("without a kernel: %v, %d inspections", err, s.count.Inspections)
	}
}

// TestPeriod: the time to the next sample differs by up to an eighth either way.
func TestPeriod(t *testing.T) {
	t.Parallel()
	_, s := newScene(func(c *Config) { c.Sample = 80 })
	seen := map[int64]bool{}
	for range 10_000 {
		seen[s.period()] = true
	}
	if len(seen) != 21 || !seen[70] || !seen[90] {
		t.Errorf("%d periods of 70 to 90 ns: %v", len(seen), seen)
	}
}

// TestAnswer: which events reach the trap, which are released, and which are strange.
func TestAnswer(t *testing.T) {
	t.Parallel()
	atTrap := driver.Event{Kind: driver.EventAccess, GFN: 7, RIP: trapVA}
	for _, tc := range []struct {
		name    string
		ev      driver.Event
		set     func(s *Session)
		calls   string
		strange uint64
	}{
		{"access", atTrap, nil, "handle", 0},
		{"step", driver.Event{Kind: driver.EventStep}, nil, "handle", 0},
		{"CR3", driver.Event{Kind: driver.EventCR3}, nil, "handle", 0},
		{"another kind", driver.Event{}, nil, "handle", 1},
		{"vCPU -1", driver.Event{Kind: driver.EventStep, VCPU: -1}, nil, "", 1},
		{"vCPU 1 of 1", driver.Event{Kind: driver.EventStep, VCPU: 1}, nil, "", 1},
		{"another frame", driver.Event{Kind: driver.EventAccess, GFN: 8, View: 2}, nil, "access 2 8 0", 1},
		{"while a test runs", atTrap, func(s *Session) { s.livelock.vcpus[0].tested = true }, "release", 0},
		{"mishandled access", atTrap, func(s *Session) { s.Mishandle(true) }, "", 0},
		{"mishandled access at another place", driver.Event{Kind: driver.EventAccess, GFN: 7},
			func(s *Session) { s.Mishandle(true) }, "", 0},
		{"mishandled breakpoint", driver.Event{Kind: driver.EventBreakpoint, RIP: trapVA},
			func(s *Session) { s.Mishandle(true) }, "", 0},
		{"mishandled breakpoint of the guest", driver.Event{Kind: driver.EventBreakpoint, RIP: 5},
			func(s *Session) { s.Mishandle(true) }, "handle", 0},
		{"mishandled step at the trap", driver.Event{Kind: driver.EventStep, RIP: trapVA},
			func(s *Session) { s.Mishandle(true) }, "handle", 0},
		{"mended", atTrap, func(s *Session) { s.Mishandle(true); s.Mishandle(false) }, "handle", 0},
	} {
		g, s := newScene()
		if tc.set != nil {
			tc.set(s)
		}
		ev := tc.ev
		if err := s.answer(&ev, &driver.Response{}); err != nil {
			t.Fatal(err)
		}
		if got := g.noted(); got != tc.calls || s.count.Strange != tc.strange {
			t.Errorf("%s: calls %q, %d strange; want %q, %d", tc.name, got, s.count.Strange, tc.calls, tc.strange)
		}
	}
	_, s := newScene(func(c *Config) { c.Mechanism.Opens = false })
	if err := s.Mishandle(false); err != nil {
		t.Errorf("a monitor that was never broken cannot be mended: %v", err)
	}
}

// TestEvents: the sum of a session's stops is that of all kinds.
func TestEvents(t *testing.T) {
	t.Parallel()
	var c Counters
	for kind, n := range map[driver.EventKind]int{driver.EventAccess: 1, driver.EventStep: 2, driver.EventBreakpoint: 4,
		driver.EventCR3: 8, driver.EventOther: 16} {
		for range n {
			c.add(&driver.Event{Kind: kind})
		}
	}
	want := Counters{Accesses: 1, Breakpoints: 4, CR3: 8, Counts: Counts{Delivered: 13, Steps: 2, Strange: 16}}
	if c != want || c.Events() != 31 {
		t.Errorf("%+v, %d in all", c, c.Events())
	}
}

// TestOnline: a vCPU is online unless its state says that it is not.
func TestOnline(t *testing.T) {
	t.Parallel()
	g, s := newScene()
	h := host{s}
	if !h.Online(0) {
		t.Error("a vCPU that is online is not")
	}
	if g.vcpus[0].Online = false; h.Online(0) {
		t.Error("a vCPU that is offline is online")
	}
	if g.stateErr = errors.New("unknown"); !h.Online(0) {
		t.Error("a vCPU whose state is unknown is offline")
	}
	g.vcpus[0].Online = true
	if !h.Online(0) {
		t.Error("a vCPU whose state is unknown is offline")
	}
}

// TestJournal: changes are written down before they are made, and the journal is
// cleared only when nothing is left to undo.
func TestJournal(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, tc := range []struct {
		name    string
		set     func(g *scene, s *Session)
		says    string // part of the error of arming and releasing
		calls   string
		cleared int
	}{
		{"well", func(g *scene, s *Session) {}, "",
			"pause, write down, arm, check, unpause, pause, disarm, drain, close, unpause", 1},
		{"cannot be written", func(g *scene, s *Session) { g.journalErr = broken },
			"journal the changes: broken",
			"pause, write down, unpause, pause, disarm, drain, close, unpause", 1},
		{"not armed", func(g *scene, s *Session) { g.checkErr = broken }, "broken",
			"pause, write down, arm, check, unpause, pause, disarm, drain, close, unpause", 1},
		{"not disarmed", func(g *scene, s *Session) { g.disarmErr = broken }, "remove the trap: broken",
			"pause, write down, arm, check, unpause, pause, disarm, drain, close, unpause", 0},
		{"gone", func(g *scene, s *Session) { s.err = ErrGone }, "",
			"pause, write down, arm, check, unpause, pause, disarm, drain, close, unpause", 0},
		{"ended early", func(g *scene, s *Session) { s.err = broken }, "",
			"pause, write down, arm, check, unpause, pause, disarm, drain, close, unpause", 1},
		{"cannot be cleared", func(g *scene, s *Session) { g.clearErr = broken }, "close the journal: broken",
			"pause, write down, arm, check, unpause, pause, disarm, drain, close, unpause", 1},
		{"none", func(g *scene, s *Session) { s.cfg.Journal = nil }, "",
			"pause, arm, check, unpause, pause, disarm, drain, close, unpause", 0},
	} {
		g, s := newScene()
		s.cfg.Journal = g
		tc.set(g, s)
		err := errors.Join(s.arm(), s.release())
		if calls := g.noted(); calls != tc.calls || g.cleared != tc.cleared {
			t.Errorf("%s: %s, cleared %d times; want %s, %d", tc.name, calls, g.cleared, tc.calls, tc.cleared)
		}
		if tc.says == "" && err != nil || tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.says)
		}
		if s.count.RingFull != 5 {
			t.Errorf("%s: the ring was full %d times, want 5", tc.name, s.count.RingFull)
		}
		for _, c := range g.written {
			if c.Mechanism != "scene" || len(c.Restricted) != 1 {
				t.Errorf("%s: %+v is written down", tc.name, c)
			}
		}
	}
	// A mechanism that traps needs no kernel; one that polls does.
	for _, polls := range []bool{false, true} {
		_, s := newScene(func(c *Config) { c.Kernel, c.Mechanism.Polls = nil, polls })
		if err := s.arm(); (err != nil) != polls {
			t.Errorf("without a kernel, polls %v: %v", polls, err)
		}
	}
}

// TestCountSignals: signals are those of the mechanism, and of a session that polls
// from the beginning the guest's own switches.
func TestCountSignals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		polls, backedOut bool
		signals          uint64
	}{{false, false, 3}, {true, false, 10}, {true, true, 3}} {
		_, s := newScene()
		s.vcpus[0].signals, s.vcpus[0].firstSwitches, s.polls = 3, 90, tc.polls
		if tc.backedOut {
			s.count.BackedOut = "a livelock"
		}
		if s.countSignals(); s.count.Signals != tc.signals || s.count.Switches != 10 {
			t.Errorf("%+v: %d signals of %d switches, want %d of 10", tc, s.count.Signals, s.count.Switches, tc.signals)
		}
	}
}

// TestLoop: the loop waits until the next sample, and reads the clock when there was
// no event, else after every few rounds.
func TestLoop(t *testing.T) {
	t.Parallel()
	for served, clocks := range map[int]int{0: 3 * rounds, 1: 3} {
		g, s := newScene()
		g.served = served
		var asked int
		g.stop = func() {
			switch len(g.waits) {
			case 1:
				asked = g.asked
			case 3*rounds + 1:
				asked = g.asked - asked
				close(s.stop)
			}
		}
		if err := s.loop(); err != nil {
			t.Fatal(err)
		}
		if asked != clocks {
			t.Errorf("%d events a round: the clock was read %d times in %d rounds, want %d", served, asked, 3*rounds, clocks)
		}
		for _, d := range g.waits {
			if d < 87*time.Millisecond || d > 113*time.Millisecond {
				t.Errorf("waits for %v until the next of samples 100 ms apart", d)
			}
		}
		if s.count.Samples != 1 {
			t.Errorf("%d samples", s.count.Samples)
		}
	}
}

// stuck makes a session find a livelock that began at sinceNS.
func stuck(s *Session, sinceNS int64) {
	s.livelock.vcpus[0] = suspect{tested: true, moved: true, sinceNS: sinceNS, note: "note"}
}

// TestBackOut: a livelock of the monitor's has the trap removed and says so; during an
// alarm the first one only ends the test.
func TestBackOut(t *testing.T) {
	t.Parallel()
	g, s := newScene()
	stuck(s, 400e6)
	s.withheld = &detect.Verdict{Class: detect.ClassSpin}
	if err := s.checkLivelock(); err != nil {
		t.Fatal(err)
	}
	if calls := g.noted(); calls != "pause, disarm, drain, unpause" || !s.livelock.off || !s.polls || s.withheld != nil {
		t.Errorf("calls %q, off %v, polls %v, withheld %v", calls, s.livelock.off, s.polls, s.withheld)
	}
	if s.count.BackedOut != "note" || s.count.BackOutNS != 600e6 {
		t.Errorf("backed out %q after %d ns", s.count.BackedOut, s.count.BackOutNS)
	}
	if len(g.news) != 1 || g.news[0].Verdict.TimeNS != g.nowNS || g.news[0].Verdict.Class != detect.ClassMonitor ||
		!strings.Contains(strings.Join(g.news[0].Verdict.Evidence, "; "), " 600 ms ") {
		t.Errorf("news %+v", g.news)
	}
	if a := s.Alarms(); len(a) != 1 || a[0].EndNS != g.nowNS {
		t.Errorf("alarms %+v", a)
	}

	g, s = newScene()
	s.alarms.raise(detect.Verdict{Class: detect.ClassSpin, TimeNS: 1})
	stuck(s, 400e6)
	if err := s.checkLivelock(); err != nil || g.resumed != 1 || s.count.BackedOut != "" || g.noted() != "" {
		t.Errorf("the first during an alarm: %v, resumed %d times, backed out %q", err, g.resumed, s.count.BackedOut)
	}
	if err := s.checkLivelock(); err != nil || g.resumed != 1 {
		t.Errorf("without a livelock: %v, resumed %d times", err, g.resumed)
	}

	for _, tc := range []struct {
		kernel    bool
		disarmErr error
		says      string
	}{
		{false, nil, "cannot poll instead"},
		{true, errors.New("broken"), "held the guest up: broken"},
		{false, errors.New("broken"), "held the guest up: broken"},
	} {
		g, s := newScene()
		if !tc.kernel {
			s.cfg.Kernel = nil
		}
		g.disarmErr = tc.disarmErr
		stuck(s, 0)
		if err := s.checkLivelock(); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("kernel %v, %v: %v, want %q", tc.kernel, tc.disarmErr, err, tc.says)
		}
	}
}

// TestJudge: a verdict is withheld while a test for a livelock runs, given once, and
// followed by the end of the hang.
func TestJudge(t *testing.T) {
	t.Parallel()
	g, s := newScene()
	sample := func() {
		t.Helper()
		g.nowNS += 1e8
		if err := s.sample(g.nowNS); err != nil {
			t.Fatal(err)
		}
	}
	g.dom.Shutdown = "crash"
	s.withheld = &detect.Verdict{Class: detect.ClassSpin}
	s.livelock.vcpus = append(s.livelock.vcpus, suspect{tested: true}) // another vCPU
	if sample(); len(g.news) != 0 {
		t.Fatalf("news during a test: %+v", g.news)
	}
	s.livelock.vcpus[1].tested = false
	if sample(); len(g.news) != 1 || g.news[0].Verdict == nil || g.news[0].Verdict.TimeNS != g.nowNS {
		t.Fatalf("news after the test: %+v", g.news)
	}
	if sample(); len(g.news) != 1 || s.withheld != nil {
		t.Errorf("news again: %+v", g.news)
	}
}

// TestRecovery: when a hang is over, its alarm ends and that is reported.
func TestRecovery(t *testing.T) {
	t.Parallel()
	g, s := newScene()
	g.regs.RIP = 0x77 // it waits for a lock
	for i := range 400 {
		g.nowNS += 1e8
		g.vcpus[0].CPUTimeNS += 1e8
		g.queue.ClockNS = uint64(g.nowNS)
		if i > 200 { // it switches again
			g.queue.Switches += 10
			s.vcpus[0].signals += 10
		}
		if err := s.sample(g.nowNS); err != nil {
			t.Fatal(err)
		}
	}
	if len(g.news) < 2 || g.news[0].Verdict == nil || g.news[len(g.news)-1].Recovered == nil {
		t.Fatalf("news %+v", g.news)
	}
	over := g.news[len(g.news)-1].Recovered
	if a := s.Alarms(); len(a) != 1 || a[0].EndNS != over.TimeNS || a[0].StartNS != g.news[0].Verdict.TimeNS {
		t.Errorf("alarms %+v, recovered %+v", a, over)
	}
}

// pulled is a ring from which events are taken.
type pulled struct {
	driver.Ring
	events            []driver.Event
	next              int
	nextErr, respErr  error
	flushed, answered int
}

func (p *pulled) Wait(time.Duration) error { return nil }
func (p *pulled) Next(ev *driver.Event) (bool, error) {
	if p.next == len(p.events) {
		return false, p.nextErr
	}
	*ev = p.events[p.next]
	p.next++
	return true, nil
}
func (p *pulled) Respond(*driver.Response) error { p.answered++; return p.respErr }
func (p *pulled) Flush() error                   { p.flushed++; return nil }

// TestDrain: open events are answered so that the vCPU leaves its step and view, the
// answers are sent, and events that are not the trap's are only answered.
func TestDrain(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	step := driver.Event{Kind: driver.EventStep}
	for _, tc := range []struct {
		name              string
		ring              *pulled
		calls             string
		answered, flushed int
		counted           uint64
		fails             bool
	}{
		{"none", &pulled{}, "", 0, 0, 0, false},
		{"one", &pulled{events: []driver.Event{step}}, "release", 1, 1, 1, false},
		{"kinds and vCPUs that are not the trap's", &pulled{events: []driver.Event{{}, {Kind: driver.EventStep, VCPU: -1},
			{Kind: driver.EventStep, VCPU: 1}}}, "", 3, 1, 0, false},
		{"a ring that fails", &pulled{events: []driver.Event{step}, nextErr: broken}, "release", 1, 0, 1, true},
		{"a ring that fails at once", &pulled{nextErr: broken}, "", 0, 0, 0, true},
		{"answers that fail", &pulled{events: []driver.Event{step, step}, respErr: broken}, "release", 1, 0, 1, true},
	} {
		g, s := newScene()
		s.source = newSource(&struct {
			*pulled
		}{tc.ring}, 1)
		err := s.drain()
		if calls := g.noted(); calls != tc.calls || tc.ring.answered != tc.answered || tc.ring.flushed != tc.flushed ||
			s.count.Steps != tc.counted || (err != nil) != tc.fails {
			t.Errorf("%s: calls %q, %d answers, sent %d times, %d counted, %v; want %q, %d, %d, %d", tc.name, calls,
				tc.ring.answered, tc.ring.flushed, s.count.Steps, err, tc.calls, tc.answered, tc.flushed, tc.counted)
		}
	}
}
