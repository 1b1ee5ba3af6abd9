package xenctrl

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// quietChannel notifies and never sleeps nor allocates.
type quietChannel struct {
	x *fakeXen
}

func (c *quietChannel) wait(uint32, bool, time.Duration) (Wake, bool, error) {
	return WakeEvents, false, c.notify()
}
func (c *quietChannel) notify() error    { return c.x.monitorResume(1) }
func (c *quietChannel) interrupt() error { return nil }
func (c *quietChannel) close() error     { return nil }

func mustEnable(t testing.TB, x *fakeXen) *Monitor {
	t.Helper()
	d := (&Xen{hv: x}).Domain(1)
	m, err := d.EnableMonitor()
	if err != nil {
		t.Fatal(err)
	}
	if x.paused != 0 || x.pausedMax == 0 {
		t.Fatalf("enabled under %d pauses, %d are left: want it paused for the time of the call", x.pausedMax, x.paused)
	}
	return m
}

func TestMonitorLoop(t *testing.T) {
	x := &fakeXen{vcpus: make([]fakeVCPU, 4), altp2m: true}
	m := mustEnable(t, x)
	ch := m.ch.(*fakeChannel)
	for v := range 3 {
		x.event(v, rawEvent{reason: uint32(ReasonMemAccess), u: [4]uint64{uint64(v)}})
	}
	w, err := m.Wait(time.Hour)
	if err != nil || w != WakeEvents || len(ch.waits) != 0 {
		t.Fatalf("Wait with events there: %v %v, %d calls of the channel", w, err, len(ch.waits))
	}
	var ev Event
	for m.Next(&ev) {
		rsp := ev.Response()
		rsp.Flags |= FlagAlternateP2M | FlagToggleSingleStep
		rsp.View = View(ev.VCPU + 1)
		if err := m.Respond(&rsp); err != nil {
			t.Fatal(err)
		}
	}
	if ch.notified != 0 {
		t.Fatal("notified before Wait")
	}
	// The answers go out with the next Wait, in one notification.
	if w, err = m.Wait(0); err != nil || w != 0 || ch.notified != 1 {
		t.Fatalf("Wait: %v %v, %d notifications", w, err, ch.notified)
	}
	for v := range 3 {
		if c := x.vcpus[v]; c.pauseCount != 0 || !c.step || c.view != uint16(v+1) {
			t.Errorf("vcpu %d: %+v", v, c)
		}
	}
	if err := m.Notify(); err != nil || ch.notified != 1 {
		t.Errorf("Notify with nothing to send: %v, %d notifications", err, ch.notified)
	}
	if st := m.Stats(); st.Requests != 3 || st.Responses != 3 || st.Batches != 1 || st.MaxDepth != 3 || st.Waits != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestMonitorInterrupt(t *testing.T) {
	x := &fakeXen{vcpus: make([]fakeVCPU, 1)}
	m := mustEnable(t, x)
	ch := m.ch.(*fakeChannel)
	if err := m.Interrupt(); err != nil {
		t.Fatal(err)
	}
	if w, err := m.Wait(-1); err != nil || w != WakeInterrupt {
		t.Fatalf("Wait after Interrupt: %v %v", w, err)
	}
	// The channel's wake-up may still be set; it must not count twice.
	if w, err := m.Wait(-1); err != nil || w != 0 {
		t.Fatalf("second Wait: %v %v", w, err)
	}
	ch.wake = 0
	// A busy ring must not hide it.
	m.Interrupt()
	x.event(0, rawEvent{reason: uint32(ReasonSingleStep)})
	if w, err := m.Wait(-1); err != nil || w != WakeInterrupt|WakeEvents {
		t.Fatalf("Wait with events after Interrupt: %v %v", w, err)
	}
	if err := m.Disable(); err != nil {
		t.Fatal(err)
	}
	ch.wake = 0
	if err := m.Interrupt(); err != nil || ch.wake != 0 {
		t.Fatalf("Interrupt after Disable: %v, channel touched: %v", err, ch.wake != 0)
	}
}

func TestMonitorDisable(t *testing.T) {
	for _, c := range []struct {
		name       string
		taken      int // events taken and not answered
		responded  int // of these, answered but not sent
		inRing     int // events not taken
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
		{name: "busy for a while", inRing: 1, vcpus: 2, busy: 3},
		{name: "busy for good", vcpus: 1, busy: disableTries + 5, wantFailed: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := &fakeXen{vcpus: make([]fakeVCPU, c.vcpus), altp2m: c.altp2m, busy: c.busy}
			m := mustEnable(t, x)
			ch := m.ch.(*fakeChannel)
			for v := range x.vcpus {
				x.vcpus[v].step, x.vcpus[v].fast = true, true
				if c.altp2m {
					x.vcpus[v].view = 2
				}
			}
			for v := range c.taken + c.inRing {
				if !x.event(v, rawEvent{reason: uint32(ReasonMemAccess), altp2m: 2}) {
					t.Fatal("ring too small for the test")
				}
			}
			var ev Event
			var kept []Response
			for range c.taken {
				if !m.Next(&ev) {
					t.Fatal("no event")
				}
				kept = append(kept, ev.Response())
			}
			for i := range c.responded {
				if err := m.Respond(&kept[i]); err != nil {
					t.Fatal(err)
				}
			}
			err := m.Disable()
			if c.wantFailed {
				if !errors.Is(err, ErrBusy) || x.paused != 0 {
					t.Fatalf("error %v, %d pauses left", err, x.paused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if x.ring != nil || x.paused != 0 || !ch.closed {
				t.Errorf("ring left: %v, pauses left: %d, channel closed: %v", x.ring != nil, x.paused, ch.closed)
			}
			for v, s := range x.vcpus {
				if s.pauseCount != 0 || s.step || s.fast || s.view != 0 {
					t.Errorf("vcpu %d is left %+v", v, s)
				}
			}
			if i, j := slices.Index(x.log, "step off"), slices.Index(x.log, "view"); c.altp2m && (i < 0 || j < i) {
				t.Errorf("order %v: views must be left after the steps ended", x.log)
			}
			if err := m.Disable(); !errors.Is(err, ErrClosed) {
				t.Errorf("second Disable: %v", err)
			}
		})
	}
}

func TestRecover(t *testing.T) {
	for _, c := range []struct {
		name  string
		setup func(x *fakeXen)
		want  Recovery
	}{
		{"guest in order", func(x *fakeXen) {}, Recovery{Answered: true}},
		{"monitor died with events unanswered", func(x *fakeXen) {
			x.monitorEnable(1)
			x.event(1, rawEvent{})
			x.event(2, rawEvent{})
			x.event(2, rawEvent{})
			x.vcpus[1].step = true
			x.cr3 = true
		}, Recovery{MonitorWasOn: true, Answered: true}},
		{"monitor disabled with an event unanswered", func(x *fakeXen) {
			x.vcpus[0].pauseCount = 1
		}, Recovery{Answered: true}},
		{"in a view, fast stepping", func(x *fakeXen) {
			x.altp2m = true
			for i := range x.vcpus {
				x.vcpus[i] = fakeVCPU{pauseCount: 1, step: true, fast: true, view: 1}
			}
			x.monitorEnable(1)
		}, Recovery{MonitorWasOn: true, Altp2mWasOn: true, Answered: true}},
		{"paused by the toolstack", func(x *fakeXen) { x.paused = 1 }, Recovery{Answered: true, StillPaused: true}},
		{"at a breakpoint, with frames restricted and added", func(x *fakeXen) {
			x.monitorEnable(1)
			x.event(3, rawEvent{reason: uint32(ReasonSoftwareBreakpoint)})
			x.restricted[5], x.restricted[9] = true, true
			x.added[77] = true
			x.memory[8][0x123] = 0xcc
		}, Recovery{MonitorWasOn: true, Answered: true, Restricted: 2, BytesRestored: 1, FramesRemoved: 1}},
		{"something else stands where the patch was", func(x *fakeXen) { x.memory[8][0x123] = 0xe9 }, Recovery{Answered: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Twelve vCPUs need more than one ring of answers.
			x := &fakeXen{vcpus: make([]fakeVCPU, 12), listener: true, restricted: map[uint64]bool{},
				added: map[uint64]bool{}, memory: map[uint64][]byte{8: fakePage()}}
			x.memory[8][0x123] = 0x55
			c.setup(x)
			paused := x.paused
			other := x.memory[8][0x123] == 0xe9
			left := Leftover{Restricted: []uint64{5, 9, 1 << 30}, Added: []uint64{77, 78},
				Patched: []Patched{{GPA: 0x8123, Old: []byte{0x55}, By: []byte{0xcc}}, {GPA: 0x9000, Old: []byte{1}, By: []byte{2}}}}
			d := (&Xen{hv: x}).Domain(1)
			got, err := d.Recover(left)
			if err != nil {
				t.Fatal(err)
			}
			c.want.AccessReset = 2
			if got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			if x.ring != nil || x.paused != paused || x.altp2m || x.listener || x.restricted[5] || x.restricted[9] || x.added[77] || x.cr3 {
				t.Errorf("left: %+v", x)
			}
			if b := x.memory[8][0x123]; b != 0x55 && !other || other && b != 0xe9 {
				t.Errorf("memory is left %#x", b)
			}
			for v, s := range x.vcpus {
				if s.pauseCount != 0 || s.step || s.fast || s.view != 0 || s.answers != answerRounds {
					t.Errorf("vcpu %d is left %+v", v, s)
				}
			}
			if i, j := slices.Index(x.log, "map"), slices.Index(x.log, "answered"); i < 0 || j >= 0 && j < i {
				t.Errorf("order %v: a vCPU was answered before memory was restored", x.log)
			}
			h, err := d.Probe(left, time.Millisecond)
			if err != nil || !h.OK() || h.Paused != (paused > 0) || x.ring != nil {
				t.Errorf("afterwards: %+v, %v", h, err)
			}
			// Once more finds nothing to do.
			again, err := d.Recover(left)
			if want := (Recovery{AccessReset: 2, Answered: true, StillPaused: c.want.StillPaused}); err != nil || again != want {
				t.Errorf("recovered twice: %+v, %v", again, err)
			}
		})
	}
}

func TestRecoverUnpauses(t *testing.T) {
	for pauses, want := range map[int]Recovery{
		0: {Answered: true},
		2: {Answered: true, Unpaused: 2},
		9: {Answered: true, Unpaused: maxPauses, StillPaused: true},
	} {
		x := &fakeXen{vcpus: make([]fakeVCPU, 1), paused: pauses}
		if got, err := (&Xen{hv: x}).Domain(1).Recover(Leftover{Unpause: true}); err != nil || got != want {
			t.Errorf("%d pauses: %+v, %v, want %+v", pauses, got, err, want)
		}
	}
}

func TestRecoverBadPatch(t *testing.T) {
	for name, p := range map[string]Patched{
		"lengths":    {GPA: 0x8000, Old: []byte{1}, By: []byte{1, 2}},
		"two frames": {GPA: 0x8fff, Old: []byte{1, 2}, By: []byte{3, 4}},
	} {
		x := &fakeXen{vcpus: make([]fakeVCPU, 1), memory: map[uint64][]byte{8: fakePage()}}
		if r, err := (&Xen{hv: x}).Domain(1).Recover(Leftover{Patched: []Patched{p}}); err == nil || x.paused != 0 {
			t.Errorf("%s: %+v, %d pauses left", name, r, x.paused)
		}
	}
}

// TestProbe: what is left of a monitor is seen.
func TestProbe(t *testing.T) {
	left := Leftover{Restricted: []uint64{5, 6}, Patched: []Patched{{GPA: 0x8123, Old: []byte{0x55}, By: []byte{0xcc}}}}
	for name, c := range map[string]struct {
		setup func(x *fakeXen)
		bad   func(h Health) bool
	}{
		"ring":       {func(x *fakeXen) { x.monitorEnable(1) }, func(h Health) bool { return !h.RingFree }},
		"views":      {func(x *fakeXen) { x.altp2m = true }, func(h Health) bool { return h.Altp2m }},
		"permission": {func(x *fakeXen) { x.restricted[6] = true }, func(h Health) bool { return len(h.Restricted) == 1 && h.Restricted[0] == 6 }},
		"step":       {func(x *fakeXen) { x.vcpus[1].step = true }, func(h Health) bool { return h.Stepping && h.Stray > 0 }},
		"breakpoint": {func(x *fakeXen) { x.memory[8][0x123] = 0xcc }, func(h Health) bool { return h.Standing == 1 }},
	} {
		x := &fakeXen{vcpus: make([]fakeVCPU, 2), restricted: map[uint64]bool{}, memory: map[uint64][]byte{8: fakePage()}}
		c.setup(x)
		h, err := (&Xen{hv: x}).Domain(1).Probe(left, 5*time.Millisecond)
		if err != nil || h.OK() || !c.bad(h) {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
}

func TestRecoverFailures(t *testing.T) {
	x := &fakeXen{vcpus: make([]fakeVCPU, 1), busy: 1}
	x.monitorEnable(1)
	if _, err := (&Xen{hv: x}).Domain(1).Recover(Leftover{}); !errors.Is(err, ErrBusy) || x.paused != 0 {
		t.Errorf("vCPUs waiting for a slot: %v, %d pauses left", err, x.paused)
	}
	x = &fakeXen{vcpus: make([]fakeVCPU, 1), stuck: true}
	r, err := (&Xen{hv: x}).Domain(1).Recover(Leftover{})
	if !errors.Is(err, ErrCorrupt) || r.Answered || x.ring != nil || x.paused != 0 {
		t.Errorf("Xen does not take answers: %+v %v, ring left: %v", r, err, x.ring != nil)
	}
}

func TestEnableMonitorBusy(t *testing.T) {
	x := &fakeXen{vcpus: make([]fakeVCPU, 1)}
	mustEnable(t, x)
	_, err := (&Xen{hv: x}).Domain(1).EnableMonitor()
	if !errors.Is(err, ErrBusy) || x.paused != 0 {
		t.Errorf("second monitor: %v, %d pauses left", err, x.paused)
	}
}
