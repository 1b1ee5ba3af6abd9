package xenctrl_test

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hangbench/cgo/xenctrl"
	"hangbench/cgo/xenctrl/xentest"
)

// newGuest returns a guest without programs. Its vCPUs report the events that a test
// makes.
func newGuest(t *testing.T, vcpus int) (*xentest.Host, *xentest.Guest) {
	t.Helper()
	h := xentest.NewHost(xentest.Config{})
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h, h.NewGuest(xentest.GuestConfig{VCPUs: vcpus, Pages: 16})
}

func mustEnable(t *testing.T, h *xentest.Host, g *xentest.Guest) *xenctrl.Monitor {
	t.Helper()
	before := len(h.Calls())
	m, err := h.Xen().Domain(g.ID()).EnableMonitor()
	if err != nil {
		t.Fatal(err)
	}
	calls := h.Calls()[before:]
	pause, enable, unpause := slices.Index(calls, "xc_domain_pause"), slices.Index(calls,
		"xc_monitor_enable"), slices.Index(calls, "xc_domain_unpause")
	if pause < 0 || enable < pause || unpause < enable || g.Paused() != 0 {
		t.Fatalf("enabled by %v, %d pauses are left: want it paused for the time of the call", calls, g.Paused())
	}
	return m
}

func count(h *xentest.Host, call string) (n int) {
	for _, c := range h.Calls() {
		if c == call {
			n++
		}
	}
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// watchedChannel counts calls, and keeps a wake-up for ever.
type watchedChannel struct {
	xenctrl.EventChannel
	waits, interrupts int
	sticky            xenctrl.Wake
}

func (c *watchedChannel) Wait(reqCons uint32, notify bool, timeout time.Duration) (xenctrl.Wake, bool, error) {
	c.waits++
	if c.sticky != 0 {
		timeout = 0
	}
	w, slept, err := c.EventChannel.Wait(reqCons, notify, timeout)
	return w | c.sticky, slept, err
}

func (c *watchedChannel) Interrupt() error {
	c.interrupts++
	c.sticky |= xenctrl.WakeInterrupt
	return nil
}

// watchedXen keeps the last channel for the test.
type watchedXen struct {
	xenctrl.Hypervisor
	ch *watchedChannel
}

func (x *watchedXen) OpenChannel(d xenctrl.DomID, port uint32, page []byte) (xenctrl.EventChannel, error) {
	c, err := x.Hypervisor.OpenChannel(d, port, page)
	x.ch = &watchedChannel{EventChannel: c}
	return x.ch, err
}

func watchedMonitor(t *testing.T, vcpus int) (*xentest.Host, *xentest.Guest, *xenctrl.Monitor, *watchedChannel) {
	t.Helper()
	h, g := newGuest(t, vcpus)
	x := &watchedXen{Hypervisor: h.Hypervisor()}
	m, err := xenctrl.New(x).Domain(g.ID()).EnableMonitor()
	must(t, err)
	return h, g, m, x.ch
}

func TestMonitorLoop(t *testing.T) {
	t.Parallel()
	h, g, m, ch := watchedMonitor(t, 4)
	dom := h.Xen().Domain(g.ID())
	must(t, dom.SetAltp2m(true))
	for range 3 {
		_, err := dom.CreateView(xenctrl.AccessRWX)
		must(t, err)
	}
	for v := range 3 {
		g.VCPU(v).Event(xenctrl.Event{Reason: xenctrl.ReasonMemAccess, GFN: uint64(v)})
	}
	w, err := m.Wait(time.Hour)
	if err != nil || w != xenctrl.WakeEvents || ch.waits != 0 {
		t.Fatalf("Wait with events there: %v %v, %d calls of the channel", w, err, ch.waits)
	}
	var ev xenctrl.Event
	for m.Next(&ev) {
		rsp := ev.Response()
		rsp.Flags |= xenctrl.FlagAlternateP2M | xenctrl.FlagToggleSingleStep
		rsp.View = xenctrl.View(ev.VCPU + 1)
		must(t, m.Respond(&rsp))
	}
	if n := count(h, "xenevtchn_notify"); n != 0 {
		t.Fatal("notified before Wait")
	}
	// The answers go out with the next Wait, in one notification.
	if w, err = m.Wait(0); err != nil || w != 0 || count(h, "xenevtchn_notify") != 1 {
		t.Fatalf("Wait: %v %v, %d notifications", w, err, count(h, "xenevtchn_notify"))
	}
	for i := range 3 {
		if v := g.VCPU(i); v.Waiting() != 0 || !v.Stepping() || v.View() != xenctrl.View(i+1) {
			t.Errorf("vCPU %d waits for %d answers, steps: %v, is in view %d", i, v.Waiting(), v.Stepping(), v.View())
		}
	}
	if err := m.Notify(); err != nil || count(h, "xenevtchn_notify") != 1 {
		t.Errorf("Notify with nothing to send: %v, %d notifications", err, count(h, "xenevtchn_notify"))
	}
	if st := m.Stats(); st.Requests != 3 || st.Responses != 3 || st.Batches != 1 || st.MaxDepth != 3 || st.Waits != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestMonitorInterrupt(t *testing.T) {
	t.Parallel()
	_, g, m, ch := watchedMonitor(t, 1)
	must(t, m.Interrupt())
	if w, err := m.Wait(-1); err != nil || w != xenctrl.WakeInterrupt {
		t.Fatalf("Wait after Interrupt: %v %v", w, err)
	}
	// The channel's wake-up may still be set; it must not count twice.
	if w, err := m.Wait(-1); err != nil || w != 0 {
		t.Fatalf("second Wait: %v %v", w, err)
	}
	ch.sticky = 0
	// A busy ring must not hide it.
	must(t, m.Interrupt())
	g.VCPU(0).Event(xenctrl.Event{Reason: xenctrl.ReasonSingleStep})
	if w, err := m.Wait(-1); err != nil || w != xenctrl.WakeInterrupt|xenctrl.WakeEvents {
		t.Fatalf("Wait with events after Interrupt: %v %v", w, err)
	}
	must(t, m.Disable())
	ch.interrupts = 0
	if err := m.Interrupt(); err != nil || ch.interrupts != 0 {
		t.Fatalf("Interrupt after Disable: %v, channel touched: %v", err, ch.interrupts != 0)
	}
}

// answerAll answers events with some flags.
func answerAll(t *testing.T, m *xenctrl.Monitor, flags xenctrl.Flags, step xenctrl.View) {
	t.Helper()
	var ev xenctrl.Event
	for m.Next(&ev) {
		rsp := ev.Response()
		rsp.Flags |= flags
		rsp.StepView = step
		must(t, m.Respond(&rsp))
	}
	must(t, errors.Join(m.Err(), m.Notify()))
}

// event has a vCPU report a violation.
func event(g *xentest.Guest, vcpu int) bool {
	return g.VCPU(vcpu).Event(xenctrl.Event{Reason: xenctrl.ReasonMemAccess, GFN: 5})
}

// inView2 switches altp2m on and puts the vCPUs into the second view.
func inView2(t *testing.T, dom xenctrl.Domain) {
	t.Helper()
	must(t, dom.SetAltp2m(true))
	for range 2 {
		_, err := dom.CreateView(xenctrl.AccessRWX)
		must(t, err)
	}
	must(t, dom.SwitchView(2))
}

func TestMonitorDisable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		taken      int // events taken and not answered
		responded  int // of these, answered but not sent
		inRing     int // events not taken
		queued     int // events that find no slot
		vcpus      int
		altp2m     bool
		busy       int
		wantFailed bool
	}{
		{name: "nothing outstanding", vcpus: 2},
		{name: "events in the ring", inRing: 2, vcpus: 2},
		{name: "events taken", taken: 2, vcpus: 2},
		{name: "taken and in the ring", taken: 1, inRing: 2, vcpus: 3, altp2m: true},
		{name: "answered and not sent", taken: 2, responded: 2, inRing: 1, vcpus: 3, altp2m: true},
		{name: "ring full", taken: 3, responded: 1, inRing: 5, vcpus: 8, altp2m: true},
		{name: "more vcpus than slots", taken: 1, inRing: 7, vcpus: 20},
		{name: "vcpus that wait for a slot", inRing: 8, queued: 12, vcpus: 20, altp2m: true},
		{name: "busy for a while", inRing: 1, vcpus: 2, busy: 3},
		{name: "busy for good", vcpus: 1, busy: xenctrl.DisableTries + 5, wantFailed: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, g := newGuest(t, c.vcpus)
			m := mustEnable(t, h, g)
			dom := h.Xen().Domain(g.ID())
			if c.altp2m {
				inView2(t, dom)
			}
			// Each vCPU has a fast step to do.
			must(t, m.SingleStep(true))
			for v := range c.vcpus {
				event(g, v)
				answerAll(t, m, xenctrl.FlagFastSingleStep, 1)
			}
			for v := range c.taken + c.inRing + c.queued {
				if event(g, v) != (v < c.taken+c.inRing) {
					t.Fatalf("the ring has not as many slots as the test needs, at event %d", v)
				}
			}
			var ev xenctrl.Event
			var kept []xenctrl.Response
			for range c.taken {
				if !m.Next(&ev) {
					t.Fatal("no event")
				}
				kept = append(kept, ev.Response())
			}
			for i := range c.responded {
				must(t, m.Respond(&kept[i]))
			}
			h.Fail("xc_monitor_disable", syscall.EBUSY, c.busy)
			before := len(h.Calls())
			err := m.Disable()
			if c.wantFailed {
				if !errors.Is(err, xenctrl.ErrBusy) || g.Paused() != 0 {
					t.Fatalf("error %v, %d pauses left", err, g.Paused())
				}
				return
			}
			must(t, err)
			calls := h.Calls()[before:]
			if !slices.Contains(calls, "xenevtchn_unbind") || h.Mappings() != 0 {
				t.Errorf("after %v: channel open or %d pages mapped", calls, h.Mappings())
			}
			if i, j := slices.Index(calls, "xc_domain_debug_control"), slices.Index(calls,
				"xc_altp2m_switch_to_view"); c.altp2m && (i < 0 || j < i) {
				t.Errorf("order %v: views must be left after the steps ended", calls)
			}
			if err := m.Disable(); !errors.Is(err, xenctrl.ErrClosed) {
				t.Errorf("second Disable: %v", err)
			}
			must(t, dom.SetAltp2m(false)) // the caller's
			if err := g.Clean(); err != nil {
				t.Error(err)
			}
		})
	}
}

// strictXen fails the test if CR3 is reported while the guest runs: nobody reads the ring.
type strictXen struct {
	xenctrl.Hypervisor
	t *testing.T
	g *xentest.Guest
}

func (x *strictXen) MonitorCtrlReg(d xenctrl.DomID, r xenctrl.CtrlReg, on, sync bool, ignore uint64,
	onChange bool) error {
	if on && x.g.Paused() == 0 {
		x.t.Error("CR3 is reported to a ring that nobody reads")
	}
	return x.Hypervisor.MonitorCtrlReg(d, r, on, sync, ignore, onChange)
}

func TestRecover(t *testing.T) {
	t.Parallel()
	restrict := func(t *testing.T, dom xenctrl.Domain) {
		must(t, dom.SetMemAccess(5, 1, xenctrl.AccessRW))
		must(t, dom.SetMemAccess(9, 1, xenctrl.AccessRX))
	}
	for _, c := range []struct {
		name string
		// die is a monitor that ends without Disable.
		die  func(t *testing.T, h *xentest.Host, g *xentest.Guest, dom xenctrl.Domain)
		want xenctrl.Recovery
	}{
		{"guest in order", func(*testing.T, *xentest.Host, *xentest.Guest, xenctrl.Domain) {},
			xenctrl.Recovery{Answered: true}},
		{"monitor died with events unanswered", func(t *testing.T, h *xentest.Host, g *xentest.Guest, dom xenctrl.Domain) {
			m := mustEnable(t, h, g)
			event(g, 1)
			answerAll(t, m, xenctrl.FlagToggleSingleStep, 0)
			event(g, 1)
			event(g, 2)
			event(g, 2)
			must(t, m.WriteCtrlReg(xenctrl.CR3, true, xenctrl.CtrlRegOptions{Sync: true}))
		}, xenctrl.Recovery{MonitorWasOn: true, Answered: true}},
		{"monitor disabled with an event unanswered", func(t *testing.T, h *xentest.Host, g *xentest.Guest,
			dom xenctrl.Domain) {
			mustEnable(t, h, g)
			event(g, 0)
			must(t, h.Hypervisor().DisableMonitor(g.ID()))
		}, xenctrl.Recovery{Answered: true}},
		{"in a view, fast stepping", func(t *testing.T, h *xentest.Host, g *xentest.Guest, dom xenctrl.Domain) {
			m := mustEnable(t, h, g)
			must(t, m.SingleStep(true))
			inView2(t, dom)
			for v := range 12 {
				event(g, v)
				answerAll(t, m, xenctrl.FlagFastSingleStep, 1)
			}
			for v := range 8 {
				event(g, v)
			}
		}, xenctrl.Recovery{MonitorWasOn: true, Altp2mWasOn: true, Answered: true}},
		{"paused by the toolstack", func(t *testing.T, _ *xentest.Host, _ *xentest.Guest, dom xenctrl.Domain) {
			must(t, dom.Pause())
		}, xenctrl.Recovery{Answered: true, StillPaused: true}},
		{"at a breakpoint, with frames restricted and added",
			func(t *testing.T, h *xentest.Host, g *xentest.Guest, dom xenctrl.Domain) {
				m := mustEnable(t, h, g)
				must(t, m.SoftwareBreakpoint(true))
				g.VCPU(3).Event(xenctrl.Event{Reason: xenctrl.ReasonSoftwareBreakpoint, InsnLen: 1})
				restrict(t, dom)
				must(t, dom.AddFrame(77))
				g.Page(8)[0x123] = 0xcc
			}, xenctrl.Recovery{MonitorWasOn: true, Answered: true, Restricted: 2, BytesRestored: 1, FramesRemoved: 1}},
		{"something else stands where the patch was", func(_ *testing.T, _ *xentest.Host, g *xentest.Guest,
			_ xenctrl.Domain) {
			g.Page(8)[0x123] = 0xe9
		}, xenctrl.Recovery{Answered: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Twelve vCPUs need more than one ring of answers.
			h, g := newGuest(t, 12)
			dom := xenctrl.New(&strictXen{h.Hypervisor(), t, g}).Domain(g.ID())
			must(t, h.Hypervisor().SetAccessRequired(g.ID(), true))
			g.Page(8)[0x123] = 0x55
			c.die(t, h, g, dom)
			paused, other := g.Paused(), g.Page(8)[0x123] == 0xe9
			before, answers := len(h.Calls()), make([]uint64, 12)
			for v := range answers {
				answers[v] = g.VCPU(v).Stats().Answers
			}
			left := xenctrl.Leftover{Restricted: []uint64{5, 9, 1 << 30}, Added: []uint64{77, 78},
				Patched: []xenctrl.Patched{{GPA: 0x8123, Old: []byte{0x55}, By: []byte{0xcc}},
					{GPA: 0x9000, Old: []byte{1}, By: []byte{2}}}}
			got, err := dom.Recover(left)
			must(t, err)
			c.want.AccessReset = 2
			if got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			calls := h.Calls()[before:]
			clean := func() {
				t.Helper()
				for range paused {
					must(t, dom.Unpause())
				}
				if err := g.Clean(); err != nil {
					t.Error(err)
				}
				for range paused {
					must(t, dom.Pause())
				}
			}
			clean()
			if g.Paused() != paused {
				t.Errorf("%d pauses, there were %d", g.Paused(), paused)
			}
			if b := g.Page(8)[0x123]; b != 0x55 && !other || other && b != 0xe9 {
				t.Errorf("memory is left %#x", b)
			}
			for v := range answers {
				if n := g.VCPU(v).Stats().Answers - answers[v]; n != xenctrl.AnswerRounds {
					t.Errorf("vCPU %d got %d answers", v, n)
				}
			}
			i := slices.Index(calls, "xenforeignmemory_map")
			j := slices.IndexFunc(calls, func(c string) bool { return strings.HasPrefix(c, "answer") })
			if i < 0 || j >= 0 && j < i {
				t.Errorf("order %v: a vCPU was answered before memory was restored", calls)
			}
			health, err := dom.Probe(left, time.Millisecond)
			if err != nil || !health.OK() || health.Paused != (paused > 0) {
				t.Errorf("afterwards: %+v, %v", health, err)
			}
			// Once more finds nothing to do.
			again, err := dom.Recover(left)
			if want := (xenctrl.Recovery{AccessReset: 2, Answered: true, StillPaused: c.want.StillPaused}); err != nil ||
				again != want {
				t.Errorf("recovered twice: %+v, %v", again, err)
			}
			clean()
			// A violation without a monitor must not crash the guest any more.
			if info, err := dom.Info(); err != nil || info.Shutdown {
				t.Errorf("%+v, %v", info, err)
			}
		})
	}
}

// TestRecoverFastStep: a fast step that is not done when its monitor is disabled goes on
// for ever before Xen 4.19. Recover ends it, and brings the vCPU back from its view.
func TestRecoverFastStep(t *testing.T) {
	t.Parallel()
	for _, minor := range []int{17, 19, 20} {
		xen := xenctrl.Version{Major: 4, Minor: minor}
		h := xentest.NewHost(xentest.Config{Xen: xen})
		t.Cleanup(func() { must(t, h.Close()) })
		g := h.NewGuest(xentest.GuestConfig{Pages: 16})
		dom := h.Xen().Domain(g.ID())
		g.VCPU(0).SetProgram(true, xentest.Instruction{GPA: 0x5000})
		m := mustEnable(t, h, g)
		must(t, m.SingleStep(true))
		inView2(t, dom)
		must(t, dom.Pause())
		event(g, 0)
		answerAll(t, m, xenctrl.FlagFastSingleStep, 1)
		if !g.VCPU(0).Stepping() {
			t.Fatalf("Xen %v: no step", xen)
		}
		must(t, h.Hypervisor().DisableMonitor(g.ID()))
		must(t, dom.Unpause())
		g.Run(3)
		if on, want := g.VCPU(0).Stepping(), minor < 19; on != want {
			t.Errorf("Xen %v: without a monitor the vCPU steps: %v, want %v", xen, on, want)
		}
		_, err := dom.Recover(xenctrl.Leftover{})
		must(t, err)
		before := g.VCPU(0).Stats().Executed
		g.Run(3)
		if n := g.VCPU(0).Stats().Executed - before; n != 3 || g.VCPU(0).Stepping() || g.VCPU(0).View() != 0 {
			t.Errorf("Xen %v: recovered, the vCPU executes %d instructions of 3, steps: %v, is in view %d", xen, n,
				g.VCPU(0).Stepping(), g.VCPU(0).View())
		}
		if err := g.Clean(); err != nil {
			t.Errorf("Xen %v: %v", xen, err)
		}
	}
}

// TestFastStepNeedsEvents: before Xen 4.19 a fast step without events would not end.
func TestFastStepNeedsEvents(t *testing.T) {
	t.Parallel()
	h, g := newGuest(t, 1)
	m := mustEnable(t, h, g)
	event(g, 0)
	var ev xenctrl.Event
	if !m.Next(&ev) {
		t.Fatal("no event")
	}
	rsp := ev.Response()
	rsp.Flags |= xenctrl.FlagFastSingleStep
	refused := func(when string) {
		t.Helper()
		if err := m.Respond(&rsp); err == nil || !strings.Contains(err.Error(), "SingleStep(true)") {
			t.Errorf("a fast step %s: %v", when, err)
		}
	}
	refused("before events are on")
	h.Fail("xc_monitor_singlestep", syscall.EOPNOTSUPP, 1)
	if err := m.SingleStep(true); err == nil {
		t.Error("xc_monitor_singlestep failed, SingleStep did not")
	}
	refused("when events could not be switched on")
	must(t, m.SingleStep(true))
	must(t, m.SingleStep(false))
	refused("when events are off again")
	must(t, m.SingleStep(true))
	must(t, m.Respond(&rsp))
	must(t, m.Disable())
	if err := g.Clean(); err != nil {
		t.Error(err)
	}
}

// TestRecoverListener: once it is recovered, a guest that needed a listener does not
// crash at a violation.
func TestRecoverListener(t *testing.T) {
	t.Parallel()
	for _, recovered := range []bool{false, true} {
		h, g := newGuest(t, 1)
		dom := h.Xen().Domain(g.ID())
		must(t, h.Hypervisor().SetAccessRequired(g.ID(), true))
		mustEnable(t, h, g)
		must(t, dom.SetMemAccess(5, 1, xenctrl.AccessRW))
		if recovered {
			_, err := dom.Recover(xenctrl.Leftover{})
			must(t, err)
		} else {
			must(t, h.Hypervisor().DisableMonitor(g.ID()))
		}
		g.VCPU(0).SetProgram(true, xentest.Instruction{GPA: 0x5000})
		g.Run(1)
		if info, err := dom.Info(); err != nil || info.Shutdown == recovered {
			t.Errorf("recovered %v: %+v, %v", recovered, info, err)
		}
	}
}

func TestRecoverUnpauses(t *testing.T) {
	t.Parallel()
	for pauses, want := range map[int]xenctrl.Recovery{
		0: {Answered: true},
		2: {Answered: true, Unpaused: 2},
		9: {Answered: true, Unpaused: xenctrl.MaxPauses, StillPaused: true},
	} {
		h, g := newGuest(t, 1)
		dom := h.Xen().Domain(g.ID())
		for range pauses {
			must(t, dom.Pause())
		}
		if got, err := dom.Recover(xenctrl.Leftover{Unpause: true}); err != nil || got != want ||
			g.Paused() != pauses-want.Unpaused {
			t.Errorf("%d pauses: %+v, %v, want %+v; %d are left", pauses, got, err, want, g.Paused())
		}
	}
}

func TestRecoverBadPatch(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]xenctrl.Patched{
		"lengths":    {GPA: 0x8000, Old: []byte{1}, By: []byte{1, 2}},
		"two frames": {GPA: 0x8fff, Old: []byte{1, 2}, By: []byte{3, 4}},
	} {
		h, g := newGuest(t, 1)
		r, err := h.Xen().Domain(g.ID()).Recover(xenctrl.Leftover{Patched: []xenctrl.Patched{p}})
		if err == nil || g.Paused() != 0 {
			t.Errorf("%s: %+v, %d pauses left", name, r, g.Paused())
		}
	}
}

// TestProbe: Probe finds everything that a monitor can leave behind.
func TestProbe(t *testing.T) {
	t.Parallel()
	left := xenctrl.Leftover{Restricted: []uint64{5, 6}, Patched: []xenctrl.Patched{{GPA: 0x8123, Old: []byte{0x55},
		By: []byte{0xcc}}}}
	for name, c := range map[string]struct {
		setup func(t *testing.T, h *xentest.Host, g *xentest.Guest, dom xenctrl.Domain)
		bad   func(h xenctrl.Health) bool
	}{
		"ring": {func(t *testing.T, h *xentest.Host, g *xentest.Guest, _ xenctrl.Domain) { mustEnable(t, h, g) },
			func(h xenctrl.Health) bool { return !h.RingFree }},
		"views": {func(t *testing.T, _ *xentest.Host, _ *xentest.Guest, dom xenctrl.Domain) {
			must(t, dom.SetAltp2m(true))
		},
			func(h xenctrl.Health) bool { return h.Altp2m }},
		"permission": {func(t *testing.T, h *xentest.Host, g *xentest.Guest, dom xenctrl.Domain) {
			m := mustEnable(t, h, g)
			must(t, dom.SetMemAccess(6, 1, xenctrl.AccessRW))
			must(t, m.Disable())
		}, func(h xenctrl.Health) bool { return len(h.Restricted) == 1 && h.Restricted[0] == 6 }},
		"step": {func(t *testing.T, h *xentest.Host, g *xentest.Guest, dom xenctrl.Domain) {
			g.VCPU(1).SetProgram(true, xentest.Instruction{GPA: 0x1000})
			must(t, dom.SetSingleStep(1, true))
		}, func(h xenctrl.Health) bool { return h.Stepping && h.Stray > 0 }},
		"breakpoint": {func(_ *testing.T, _ *xentest.Host, g *xentest.Guest, _ xenctrl.Domain) { g.Page(8)[0x123] = 0xcc },
			func(h xenctrl.Health) bool { return h.Standing == 1 }},
	} {
		h, g := newGuest(t, 2)
		dom := h.Xen().Domain(g.ID())
		c.setup(t, h, g, dom)
		health, err := dom.Probe(left, 5*time.Millisecond)
		if err != nil || health.OK() || !c.bad(health) {
			t.Errorf("%s: %+v, %v", name, health, err)
		}
	}
}

// stuckXen takes no answers.
type stuckXen struct{ xenctrl.Hypervisor }

func (stuckXen) ResumeMonitor(xenctrl.DomID) error { return nil }

func TestRecoverFailures(t *testing.T) {
	t.Parallel()
	h, g := newGuest(t, 9)
	mustEnable(t, h, g)
	for v := range 9 {
		event(g, v)
	}
	if _, err := h.Xen().Domain(g.ID()).Recover(xenctrl.Leftover{}); !errors.Is(err, xenctrl.ErrBusy) || g.Paused() != 0 {
		t.Errorf("vCPUs waiting for a slot: %v, %d pauses left", err, g.Paused())
	}
	h, g = newGuest(t, 1)
	r, err := xenctrl.New(stuckXen{h.Hypervisor()}).Domain(g.ID()).Recover(xenctrl.Leftover{})
	if !errors.Is(err, xenctrl.ErrCorrupt) || r.Answered {
		t.Errorf("Xen does not take answers: %+v %v", r, err)
	}
	if err := g.Clean(); err != nil {
		t.Error(err)
	}
}

// TestDisableCorrupt: events that cannot be read any more are answered.
func TestDisableCorrupt(t *testing.T) {
	t.Parallel()
	h, g := newGuest(t, 3)
	m := mustEnable(t, h, g)
	event(g, 0)
	event(g, 2)
	event(g, 2) // one exit can make two
	copy(g.RingPage(), []byte{99})
	var ev xenctrl.Event
	if m.Next(&ev) || !errors.Is(m.Err(), xenctrl.ErrCorrupt) {
		t.Fatalf("%+v, %v", ev, m.Err())
	}
	must(t, m.Disable())
	if err := g.Clean(); err != nil {
		t.Error(err)
	}
}

func TestEnableMonitorBusy(t *testing.T) {
	t.Parallel()
	h, g := newGuest(t, 1)
	mustEnable(t, h, g)
	_, err := h.Xen().Domain(g.ID()).EnableMonitor()
	if !errors.Is(err, xenctrl.ErrBusy) || g.Paused() != 0 {
		t.Errorf("second monitor: %v, %d pauses left", err, g.Paused())
	}
}
