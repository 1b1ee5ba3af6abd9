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
	} {
		t.Run(c.name, func(t *testing.T) {
			// Twelve vCPUs need more than one ring of answers.
			x := &fakeXen{vcpus: make([]fakeVCPU, 12), listener: true, restricted: map[uint64]bool{5: true, 9: true}}
			c.setup(x)
			paused := x.paused
			got, err := (&Xen{hv: x}).Domain(1).Recover([]uint64{5, 9, 1 << 30})
			if err != nil {
				t.Fatal(err)
			}
			c.want.AccessReset = 2
			if got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			if x.ring != nil || x.paused != paused || x.altp2m || x.listener || x.restricted[5] || x.restricted[9] {
				t.Errorf("left: %+v", x)
			}
			for v, s := range x.vcpus {
				if s.pauseCount != 0 || s.step || s.fast || s.view != 0 || s.answers != answerRounds {
					t.Errorf("vcpu %d is left %+v", v, s)
				}
			}
		})
	}
}

func TestRecoverFailures(t *testing.T) {
	x := &fakeXen{vcpus: make([]fakeVCPU, 1), busy: 1}
	x.monitorEnable(1)
	if _, err := (&Xen{hv: x}).Domain(1).Recover(nil); !errors.Is(err, ErrBusy) || x.paused != 0 {
		t.Errorf("vCPUs waiting for a slot: %v, %d pauses left", err, x.paused)
	}
	x = &fakeXen{vcpus: make([]fakeVCPU, 1), stuck: true}
	r, err := (&Xen{hv: x}).Domain(1).Recover(nil)
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
