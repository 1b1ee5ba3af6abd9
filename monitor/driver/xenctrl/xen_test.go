package xenctrl_test

import (
	"bytes"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	xc "hangbench/cgo/xenctrl"
	"hangbench/cgo/xenctrl/xentest"
	"hangbench/monitor/driver"
	"hangbench/monitor/driver/xenctrl"
)

// open returns a guest of 16 pages without programs, and its driver.
func open(t testing.TB, vcpus int) (*xentest.Host, *xentest.Guest, *xenctrl.Driver) {
	t.Helper()
	h := xentest.NewHost(xentest.Config{})
	g := h.NewGuest(xentest.GuestConfig{VCPUs: vcpus, Pages: 16})
	d, err := xenctrl.New(h.Xen(), int(g.ID()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(d.Close(), h.Close()); err != nil {
			t.Error(err)
		}
	})
	return h, g, d
}

// listen opens the ring of a guest, which is closed after the test.
func listen(t testing.TB, d *xenctrl.Driver) (driver.Ring, driver.Puller) {
	t.Helper()
	r, err := d.Listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, r.(driver.Puller)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	h := xentest.NewHost(xentest.Config{})
	defer h.Close()
	pv := h.NewGuest(xentest.GuestConfig{PV: true})
	if _, err := xenctrl.New(h.Xen(), int(pv.ID())); err == nil || !strings.Contains(err.Error(), "PV guest") {
		t.Errorf("a PV guest: %v", err)
	}
	if _, err := xenctrl.New(h.Xen(), 99); !errors.Is(err, xc.ErrNoDomain) || !strings.Contains(err.Error(), "domain 99") {
		t.Errorf("a domain that does not exist: %v", err)
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	for _, vcpus := range []int{1, 3} {
		_, g, d := open(t, vcpus)
		if d.Name() != "xenctrl" || d.VCPUs() != vcpus {
			t.Errorf("%s with %d vCPUs", d.Name(), d.VCPUs())
		}
		g.VCPU(0).SetProgram(true, xentest.Instruction{GPA: 0x1000})
		g.Run(5)
		states := make([]driver.VCPUState, vcpus)
		dom, err := d.State(states)
		if want := (driver.VCPUState{Online: true, Running: true, CPUTimeNS: 5000}); err != nil ||
			dom != (driver.DomainState{}) || states[0] != want {
			t.Errorf("%d vCPUs: %+v, first %+v, %v", vcpus, dom, states[0], err)
		}
		if vcpus > 1 {
			g.VCPU(2).SetOnline(false)
			_, err := d.State(states)
			if err != nil || states[1] != (driver.VCPUState{Online: true, Blocked: true}) || states[2].Online {
				t.Errorf("%+v, %v", states, err)
			}
		}
		must(t, d.Pause())
		g.VCPU(0).SetProgram(false)
		if dom, err := d.State(states); err != nil || !dom.Paused || !states[0].Blocked || states[0].Running {
			t.Errorf("paused and halted: %+v, %+v, %v", dom, states[0], err)
		}
		must(t, d.Unpause())
		if dom, err := d.State(states); err != nil || dom.Paused {
			t.Errorf("unpaused: %+v, %v", dom, err)
		}
		g.Shutdown(xc.ShutdownCrash)
		if dom, err := d.State(nil); err != nil || dom.Shutdown != "crash" || dom.Dying {
			t.Errorf("crashed: %+v, %v", dom, err)
		}
		// Its memory is mapped, so it stays.
		must(t, d.ReadPhysical(0, make([]byte, 1)))
		g.Destroy()
		if dom, err := d.State(nil); err != nil || !dom.Dying {
			t.Errorf("dying: %+v, %v", dom, err)
		}
		must(t, d.Forget())
		if dom, err := d.State(states); !errors.Is(err, xc.ErrNoDomain) || !dom.Dying {
			t.Errorf("gone: %+v, %v", dom, err)
		}
	}
}

func TestStateFails(t *testing.T) {
	t.Parallel()
	h, _, d := open(t, 2)
	h.Fail("xc_vcpu_getinfo", syscall.EPERM, 1)
	if _, err := d.State(make([]driver.VCPUState, 2)); !errors.Is(err, xc.ErrPerm) ||
		!strings.Contains(err.Error(), "vCPU 0") {
		t.Error(err)
	}
	if _, err := d.State(make([]driver.VCPUState, 3)); !errors.Is(err, syscall.EINVAL) ||
		!strings.Contains(err.Error(), "vCPU 2") {
		t.Errorf("a vCPU too many: %v", err)
	}
}

func TestRegisters(t *testing.T) {
	t.Parallel()
	_, g, d := open(t, 2)
	x := xc.Registers{RAX: 1, RBX: 2, RCX: 3, RDX: 4, RSI: 5, RDI: 6, RBP: 7, R8: 8, R9: 9, R10: 10, R11: 11, R12: 12,
		R13: 13, R14: 14, R15: 15,
		RIP: 16, RSP: 17, RFLAGS: 1 << 9, CR3: 18, CR4: 19, LSTAR: 20, IDTBase: 21, GSBase: 22, SSAttr: 3 << 5}
	g.VCPU(1).SetRegisters(x)
	want := driver.Registers{RIP: 16, RSP: 17, RFLAGS: 1 << 9, CR3: 18, CR4: 19, LSTAR: 20, IDTBase: 21, GSBase: 22,
		UserMode: true,
		General:  [15]uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}}
	var r driver.Registers
	if err := d.Registers(1, &r); err != nil || r != want || !r.InterruptsOn() {
		t.Errorf("%+v, %v, want %+v", r, err, want)
	}
	if err := d.Registers(0, &r); err != nil || r.UserMode || r.RIP != 0 {
		t.Errorf("vCPU 0: %+v, %v", r, err)
	}
	if err := d.Registers(2, &r); !errors.Is(err, xc.ErrNotExist) {
		t.Errorf("a vCPU too many: %v", err)
	}
}

func TestPhysical(t *testing.T) {
	t.Parallel()
	h, g, d := open(t, 1)
	text := bytes.Repeat([]byte("over the border of pages"), 400) // three pages
	must(t, d.WritePhysical(0x2ff0, text))
	got := make([]byte, len(text))
	if err := d.ReadPhysical(0x2ff0, got); err != nil || !bytes.Equal(got, text) {
		t.Errorf("read what was written: equal %v, %v", bytes.Equal(got, text), err)
	}
	if !bytes.Equal(g.Page(3)[:100], text[16:116]) {
		t.Error("the guest does not see what was written")
	}
	must(t, d.WritePhysical(0, nil))
	g.RemovePage(4)
	for _, c := range []struct {
		name string
		gpa  uint64
		n    int
		want string
	}{
		{"a hole", 0x4000, 8, "map guest memory at 0x4000"},
		{"partly a hole", 0x3ffc, 8, "map guest frame 0x4"},
		{"beyond the end", 16 << 12, 1, "map guest memory at 0x10000"},
		{"too much", 0, 5 << 20, "too much at once"},
		{"over the end of all addresses", ^uint64(0) - 3, 8, "too much at once"},
	} {
		before := append([]byte(nil), g.Page(3)...)
		if err := d.WritePhysical(c.gpa, make([]byte, c.n)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if !bytes.Equal(before, g.Page(3)) {
			t.Errorf("%s: memory was written", c.name)
		}
	}
	h.Fail("xenforeignmemory_map", syscall.ENOMEM, 1)
	if err := d.WritePhysical(0, []byte{1}); !errors.Is(err, syscall.ENOMEM) {
		t.Error(err)
	}
	must(t, d.Close())
	if n := h.Mappings(); n != 0 {
		t.Errorf("%d mappings are left", n)
	}
}

func TestListenBusy(t *testing.T) {
	t.Parallel()
	_, _, d := open(t, 1)
	listen(t, d)
	if _, err := d.Listen(); !errors.Is(err, xc.ErrBusy) {
		t.Error(err)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	_, g, d := open(t, 2)
	r, p := listen(t, d)
	must(t, r.EnableViews(true))
	v, err := r.CreateView()
	must(t, err)
	must(t, r.SwitchAll(v))
	g.VCPU(1).SetRegisters(xc.Registers{RIP: 1, RSP: 2, RFLAGS: 3, CR3: 4})
	for _, c := range []struct {
		ev   xc.Event
		want driver.Event
	}{
		{xc.Event{Reason: xc.ReasonMemAccess, GFN: 5, Offset: 6, Access: xc.TouchedX},
			driver.Event{Kind: driver.EventAccess, GFN: 5, Offset: 6, Execute: true}},
		{xc.Event{Reason: xc.ReasonMemAccess, GFN: 5, Access: xc.TouchedR | xc.TouchedW},
			driver.Event{Kind: driver.EventAccess, GFN: 5, Write: true}},
		{xc.Event{Reason: xc.ReasonMemAccess, GFN: 5, Access: xc.TouchedR}, driver.Event{Kind: driver.EventAccess, GFN: 5}},
		{xc.Event{Reason: xc.ReasonSingleStep, GFN: 5}, driver.Event{Kind: driver.EventStep, GFN: 5}},
		{xc.Event{Reason: xc.ReasonSoftwareBreakpoint, GFN: 5, InsnLen: 1},
			driver.Event{Kind: driver.EventBreakpoint, GFN: 5}},
		{xc.Event{Reason: xc.ReasonEmulUnimplemented}, driver.Event{Kind: driver.EventUnemulated}},
		{xc.Event{Reason: xc.ReasonWriteCtrlReg, CtrlReg: xc.CR3, NewValue: 9, OldValue: 4},
			driver.Event{Kind: driver.EventCR3, CR3: 9}},
		{xc.Event{Reason: xc.ReasonWriteCtrlReg, CtrlReg: xc.CR4, NewValue: 9}, driver.Event{Kind: driver.EventOther}},
		{xc.Event{Reason: xc.ReasonCPUID, InsnLen: 2}, driver.Event{Kind: driver.EventOther}},
	} {
		if !g.VCPU(1).Event(c.ev) {
			t.Fatal("the ring is full")
		}
		c.want.VCPU, c.want.View, c.want.RIP, c.want.RSP, c.want.RFLAGS = 1, v, 1, 2, 3
		if c.want.Kind != driver.EventCR3 {
			c.want.CR3 = 4
		}
		must(t, p.Wait(time.Minute))
		var ev driver.Event
		if ok, err := p.Next(&ev); !ok || err != nil || ev != c.want {
			t.Errorf("%v: %+v, %v, %v, want %+v", c.ev.Reason, ev, ok, err, c.want)
		}
		must(t, p.Respond(&driver.Response{}))
		must(t, p.Flush())
		if ok, err := p.Next(&ev); ok || err != nil || g.VCPU(1).Waiting() != 0 {
			t.Errorf("%v: another event: %v, %v; %d answers missing", c.ev.Reason, ok, err, g.VCPU(1).Waiting())
		}
	}
	must(t, r.EnableViews(false))
}

// TestResponses: each field of a response has its effect on the vCPU.
func TestResponses(t *testing.T) {
	t.Parallel()
	h, g, d := open(t, 1)
	r, p := listen(t, d)
	must(t, errors.Join(r.EnableStep(true), r.EnableBreakpoints(true), r.EnableUnemulated(true), r.EnableViews(true)))
	v1, err := r.CreateView()
	must(t, err)
	cpu := g.VCPU(0)
	g.Page(1)[0] = 0xcc
	cpu.SetProgram(true, xentest.Instruction{RIP: 0x1000, GPA: 0x1000},
		xentest.Instruction{RIP: 0x2000, GPA: 0x2000, NoEmulation: true})
	next := func(want driver.EventKind) {
		t.Helper()
		must(t, p.Wait(time.Minute))
		var ev driver.Event
		if ok, err := p.Next(&ev); !ok || err != nil || ev.Kind != want {
			t.Fatalf("%v, %v, kind %d, want %d", ok, err, ev.Kind, want)
		}
	}
	next(driver.EventBreakpoint)
	h.Fail("xc_hvm_inject_trap", syscall.EINVAL, 1)
	if err := p.Respond(&driver.Response{Reinject: true}); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a breakpoint that cannot be injected: %v", err)
	}
	must(t, p.Respond(&driver.Response{Reinject: true, ToggleStep: true, SwitchView: true, View: v1}))
	next(driver.EventStep) // of the second instruction
	if n := cpu.Stats().Breakpoints; n != 1 || cpu.View() != v1ID(v1) || !cpu.Stepping() {
		t.Errorf("%d breakpoints reached the guest, view %d, stepping %v", n, cpu.View(), cpu.Stepping())
	}
	must(t, p.Respond(&driver.Response{ToggleStep: true, SwitchView: true}))
	next(driver.EventBreakpoint)
	if cpu.Stepping() || cpu.View() != 0 {
		t.Errorf("stepping %v, in view %d", cpu.Stepping(), cpu.View())
	}
	g.Page(1)[0] = 0
	must(t, p.Respond(&driver.Response{FastStep: true, StepView: v1, SwitchView: true}))
	before := cpu.Stats().Executed
	must(t, p.Flush())
	if !cpu.Stepping() || cpu.View() != 0 {
		t.Errorf("fast step: stepping %v, in view %d", cpu.Stepping(), cpu.View())
	}
	g.Run(1)
	if cpu.Stepping() || cpu.View() != v1ID(v1) || cpu.Stats().Executed != before+1 {
		t.Errorf("after the fast step: stepping %v, in view %d, %d instructions", cpu.Stepping(), cpu.View(),
			cpu.Stats().Executed-before)
	}
	// At the second instruction, which cannot be emulated.
	must(t, r.SetAccess(v1, 2, driver.AccessRW))
	next(driver.EventAccess)
	must(t, p.Respond(&driver.Response{Emulate: true}))
	next(driver.EventUnemulated)
	must(t, p.Respond(&driver.Response{SwitchView: true}))
	must(t, p.Flush())
	if r.Full() != 0 {
		t.Errorf("the ring was full %d times", r.Full())
	}
	must(t, errors.Join(r.StopStep(0), r.EnableViews(false)))
}

func v1ID(v driver.View) xc.View { return xc.View(v) }

// TestWake: Wake ends a Wait.
func TestWake(t *testing.T) {
	t.Parallel()
	_, _, d := open(t, 1)
	r, p := listen(t, d)
	go r.Wake()
	must(t, p.Wait(time.Hour))
}

// TestAccess: every permission of Xen is one of ours or an error, in both kinds of
// view, and ours come back as they were set.
func TestAccess(t *testing.T) {
	t.Parallel()
	h, g, d := open(t, 1)
	r, _ := listen(t, d)
	must(t, r.EnableViews(true))
	v, err := r.CreateView()
	must(t, err)
	ours := map[xc.Access]driver.Access{}
	for a := driver.AccessRWX; a <= driver.AccessX; a++ {
		ours[xenctrl.Access(a)] = a
		for _, view := range []driver.View{driver.HostView, v} {
			must(t, r.SetAccess(view, 5, a))
			if got, err := r.Access(view, 5); err != nil || got != a {
				t.Errorf("view %d: set %d, got %d, %v", view, a, got, err)
			}
		}
	}
	if len(ours) != 4 {
		t.Fatalf("two of our permissions are one of Xen's: %v", ours)
	}
	dom := h.Xen().Domain(g.ID())
	for a := xc.AccessN; a <= xc.AccessDefault; a++ {
		want, known := ours[a]
		must(t, dom.SetViewAccess(xc.View(v), 5, a))
		if got, err := xenctrl.ReadAccess(dom, v, 5); known != (err == nil) || got != want {
			t.Errorf("%v: %d, %v, want %d", a, got, err, want)
		} else if !known && !strings.Contains(err.Error(), a.String()) {
			t.Errorf("%v: the error does not name it: %v", a, err)
		}
	}
	if _, err := r.Access(v, 6); !errors.Is(err, xc.ErrNoDomain) {
		t.Errorf("a frame that the view does not hold: %v", err)
	}
	if err := r.SetAccess(driver.HostView, 99, driver.AccessRW); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a frame that the guest does not have: %v", err)
	}
	must(t, r.SetAccess(driver.HostView, 5, driver.AccessRWX))
	must(t, r.EnableViews(false))
}

func TestViews(t *testing.T) {
	t.Parallel()
	_, g, d := open(t, 2)
	r, _ := listen(t, d)
	must(t, r.EnableViews(true))
	v, err := r.CreateView()
	must(t, err)
	must(t, r.SwitchAll(v))
	if got, err := r.CurrentView(1); err != nil || got != v {
		t.Errorf("vCPU 1 is in view %d, %v", got, err)
	}
	if err := r.DestroyView(v); !errors.Is(err, xc.ErrBusy) {
		t.Errorf("destroyed a view in use: %v", err)
	}
	// A frame of its own, shown in place of another.
	gfn, err := r.SpareFrame()
	must(t, err)
	if err := d.ReadPhysical(gfn<<12, make([]byte, 1)); err == nil {
		t.Error("read a frame that is not there")
	}
	must(t, r.AddFrame(gfn))
	must(t, d.WritePhysical(gfn<<12, []byte{0xcc}))
	if err := d.ReadPhysical(gfn<<12, make([]byte, 1)); err != nil {
		t.Errorf("the frame that was added: %v", err)
	}
	must(t, r.Remap(v, 5, gfn))
	cpu := g.VCPU(0)
	cpu.SetProgram(true, xentest.Instruction{GPA: 0x5000})
	g.Run(1)
	if n := cpu.Stats().Breakpoints; n != 1 {
		t.Errorf("%d breakpoints of the frame that is shown", n)
	}
	must(t, r.Remap(v, 5, driver.NoFrame))
	g.Run(1)
	if st := cpu.Stats(); st.Breakpoints != 1 || st.Executed != 1 {
		t.Errorf("%+v: want one execution of the guest's own frame", st)
	}
	must(t, r.SwitchAll(driver.HostView))
	must(t, errors.Join(r.DestroyView(v), r.RemoveFrame(gfn), r.EnableViews(false)))
	if err := r.RemoveFrame(gfn); !errors.Is(err, xc.ErrBusy) {
		t.Errorf("removed a frame twice: %v", err)
	}
	if err := d.ReadPhysical(gfn<<12, make([]byte, 1)); err == nil {
		t.Error("read a frame that is not there any more")
	}
}

// TestCR3 asks for the writes that change other bits than those that are ignored.
func TestCR3(t *testing.T) {
	t.Parallel()
	_, g, d := open(t, 1)
	r, p := listen(t, d)
	must(t, r.EnableCR3(true, 0xfff))
	g.VCPU(0).SetProgram(false,
		xentest.Instruction{Op: xentest.LoadCR3, Value: 0x1000},
		xentest.Instruction{Op: xentest.LoadCR3, Value: 0x1800},
		xentest.Instruction{Op: xentest.LoadCR3, Value: 0x2000})
	for _, want := range []uint64{0x1000, 0x2000} {
		must(t, p.Wait(time.Minute))
		var ev driver.Event
		if ok, err := p.Next(&ev); !ok || err != nil || ev.Kind != driver.EventCR3 || ev.CR3 != want {
			t.Errorf("%+v, %v, %v", ev, ok, err)
		}
		must(t, p.Respond(&driver.Response{}))
	}
	must(t, p.Flush())
	must(t, r.EnableCR3(false, 0))
}

// FuzzRing overwrites the page of the ring while two vCPUs wait. Taking events must end,
// and each event must be of one of the guest's vCPUs. If the driver reports that the
// ring is corrupt, no vCPU may wait after Close. (Garbage that looks like another valid
// event cannot be detected.)
func FuzzRing(f *testing.F) {
	f.Add([]byte{9}, 0)
	f.Add([]byte{}, 0)
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0)
	f.Add([]byte{7, 0, 0, 0, 1, 0, 0, 0, 16, 0, 0, 0, 3}, 64)
	f.Add([]byte{7, 0, 0, 0, 0x81, 0, 0, 0, 6, 0, 0, 0, 1}, 64+400)
	f.Fuzz(func(t *testing.T, garbage []byte, at int) {
		_, g, d := open(t, 2)
		r, err := d.Listen()
		must(t, err)
		p := r.(driver.Puller)
		for i := range 2 {
			g.VCPU(i).Event(xc.Event{Reason: xc.ReasonSingleStep})
		}
		copy(g.RingPage()[uint(at)%xc.PageSize:], garbage)
		n, corrupt := 0, false
		for {
			var ev driver.Event
			ok, err := p.Next(&ev)
			if corrupt = err != nil; corrupt && !errors.Is(err, xc.ErrCorrupt) && !errors.Is(err, xc.ErrUnsupported) {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			if n++; n > 8 || ev.VCPU < 0 || ev.VCPU > 1 || ev.Kind > driver.EventUnemulated {
				t.Fatalf("event %d: %+v", n, ev)
			}
			must(t, p.Respond(&driver.Response{}))
		}
		must(t, r.Close())
		if err := g.Clean(); err != nil && (corrupt || len(garbage) == 0) {
			t.Fatalf("after %d events: %v", n, err)
		}
	})
}
