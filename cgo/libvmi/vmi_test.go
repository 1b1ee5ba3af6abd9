package libvmi

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func open(t *testing.T, c Config) (*VMI, *fakeLib) {
	t.Helper()
	f := newFake()
	v, err := newVMI(f, c)
	if err != nil {
		t.Fatal(err)
	}
	return v, f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// gone fails if an event or a handle is left.
func gone(t *testing.T, f *fakeLib, handles ...handle) {
	t.Helper()
	if n := len(f.live); n != 0 {
		t.Errorf("%d events were not freed", n)
	}
	for _, h := range handles {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("handle %d was not deleted", h)
				}
			}()
			h.Value()
		}()
	}
}

// TestEvents: each event reaches its handler, each answer reaches LibVMI, and nothing
// is left after Close.
func TestEvents(t *testing.T) {
	v, f := open(t, Config{Events: true})
	var got []Event
	var handles []handle
	for _, s := range []Spec{GenericMemoryEvent(TrapAll), RegisterEvent(CR3), SingleStepEvent(3),
		BreakpointEvent(), FailedEmulationEvent()} {
		r, err := v.Register(s, func(e *Event) Response {
			got = append(got, *e)
			return Response{ToggleStep: true, Reinject: e.Kind == KindBreakpoint}
		})
		must(t, err)
		handles = append(handles, r.handle)
		f.ring = append(f.ring, Event{Kind: s.Kind, VCPU: 1, GFN: 5, Value: 1})
	}
	want := slices.Clone(f.ring)
	must(t, v.Listen(0))
	if !slices.Equal(got, want) {
		t.Errorf("handled %+v, want %+v", got, want)
	}
	for i, r := range f.answer {
		if want := (Response{ToggleStep: true, Reinject: want[i].Kind == KindBreakpoint}); r != want {
			t.Errorf("answer %d is %+v, want %+v", i, r, want)
		}
	}
	must(t, v.Close())
	must(t, v.Close()) // a second time is nothing
	gone(t, f, handles...)
}

// TestTeardown: the order in which Close releases a guest.
func TestTeardown(t *testing.T) {
	v, f := open(t, Config{Events: true})
	handled := 0
	count := func(*Event) Response { handled++; return Response{} }
	for _, s := range []Spec{GenericMemoryEvent(TrapAll), SingleStepEvent(3)} {
		_, err := v.Register(s, count)
		must(t, err)
	}
	must(t, v.EnableViews(true))
	view, err := v.CreateView()
	must(t, err)
	must(t, v.SetTrap(9, TrapExec, 0))
	must(t, v.SetTrap(8, TrapExec, 0))
	must(t, v.SetTrap(8, TrapNone, 0))
	must(t, v.SetTrap(9, TrapExec, view))
	must(t, v.SwitchView(view))
	f.ring = []Event{{Kind: KindMemory}, {Kind: KindSingleStep, VCPU: 1}}
	f.log = nil
	must(t, v.Close())
	log := strings.Join(f.log, ", ")
	const want = "pause, trap 1 of 9 in 0, stop step 0, stop step 1, switch 0, listen, destroy view 1, slat false"
	if !strings.HasPrefix(log, want) || !strings.HasSuffix(log, "resume, destroy") {
		t.Errorf("let go by %s, want %s, ..., resume, destroy", log, want)
	}
	if handled != 0 || len(f.stuck) != 0 || len(f.answer) != 2 {
		t.Errorf("open events: %d handled, %d stuck, %d answered; want 0, 0, 2", handled, len(f.stuck), len(f.answer))
	}
	if f.paused != 0 || f.vcpu != 0 || f.slatOn || len(f.views) != 0 {
		t.Errorf("left paused %d, in view %d, views on %v, %v", f.paused, f.vcpu, f.slatOn, f.views)
	}
	gone(t, f)
	for name, err := range map[string]error{"Pause": v.Pause(), "Listen": v.Listen(0),
		"SetTrap": v.SetTrap(1, TrapExec, 0), "ReadPhysical": v.ReadPhysical(0, make([]byte, 1))} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
}

// TestTeardownGoesOn: if one step of Close fails, the others run.
func TestTeardownGoesOn(t *testing.T) {
	for _, fail := range []string{"pause", "trap 1 of 9 in 0", "stop step 0", "switch 0", "destroy view 1",
		"slat false", "clear memory", "resume", "destroy"} {
		v, f := open(t, Config{Events: true})
		for _, s := range []Spec{GenericMemoryEvent(TrapAll), SingleStepEvent(3)} {
			_, err := v.Register(s, func(*Event) Response { return Response{} })
			must(t, err)
		}
		must(t, v.EnableViews(true))
		_, err := v.CreateView()
		must(t, err)
		must(t, v.SetTrap(9, TrapExec, 0))
		f.fail = fail
		if err := v.Close(); err == nil || !strings.Contains(err.Error(), fail) {
			t.Errorf("%s fails: Close says %v", fail, err)
		}
		if !f.destroyed {
			t.Errorf("%s fails: the rest was left out: %v", fail, f.log)
		}
		gone(t, f)
	}
}

// TestPanic: a panic of a handler does not unwind into C, ends Listen, and releases
// the guest.
func TestPanic(t *testing.T) {
	v, f := open(t, Config{Events: true})
	calls := 0
	r, err := v.Register(GenericMemoryEvent(TrapAll), func(*Event) Response {
		calls++
		panic("boo")
	})
	must(t, err)
	h := r.handle
	must(t, v.SetTrap(9, TrapWrite, 0))
	f.ring = []Event{{Kind: KindMemory}, {Kind: KindMemory}}
	var p *PanicError
	if err := v.Listen(time.Second); !errors.As(err, &p) || p.Value != "boo" || !strings.Contains(p.Stack, "TestPanic") {
		t.Errorf("Listen says %v", err)
	}
	if calls != 1 || len(f.answer) != 2 {
		t.Errorf("%d calls, %d answers; want 1, 2", calls, len(f.answer))
	}
	if !f.destroyed || f.traps["0/9"] != TrapNone || f.paused != 0 {
		t.Errorf("the guest was not released: %v", f.log)
	}
	gone(t, f, h)
}

// TestClearInHandler: an event that a handler clears is freed after Listen, since
// LibVMI uses it until then.
func TestClearInHandler(t *testing.T) {
	v, f := open(t, Config{Events: true})
	var r *Registration
	handled := 0
	r, err := v.Register(RegisterEvent(CR3), func(*Event) Response {
		if handled++; handled == 1 {
			must(t, r.Clear())
			if len(f.live) != 1 {
				t.Error("freed while LibVMI has it")
			}
		}
		return Response{}
	})
	must(t, err)
	h := r.handle
	f.ring = []Event{{Kind: KindRegister, Value: 1}, {Kind: KindRegister, Value: 2}}
	must(t, v.Listen(0))
	if handled != 2 {
		t.Errorf("%d of 2 events handled", handled)
	}
	gone(t, f, h)
	must(t, r.Clear()) // nothing is left to do
	must(t, v.Close())
}

// TestClearFails: Close frees an event that LibVMI failed to clear.
func TestClearFails(t *testing.T) {
	v, f := open(t, Config{Events: true})
	r, err := v.Register(RegisterEvent(CR3), nil)
	must(t, err)
	f.fail = "clear register"
	if err := r.Clear(); err == nil || len(f.live) != 1 {
		t.Errorf("Clear says %v, %d events", err, len(f.live))
	}
	f.fail = ""
	must(t, v.Close())
	gone(t, f)
}

// TestRegisterFails: a registration that fails leaves no handle.
func TestRegisterFails(t *testing.T) {
	v, f := open(t, Config{Events: true})
	f.fail = "register breakpoint"
	if _, err := v.Register(BreakpointEvent(), nil); err == nil {
		t.Error("registered")
	}
	if len(v.registered) != 0 {
		t.Error("it is counted as registered")
	}
	must(t, v.Close())
}

// TestIgnore: a write of a register that changes only ignored bits is answered
// without the handler.
func TestIgnore(t *testing.T) {
	v, f := open(t, Config{Events: true})
	s := RegisterEvent(CR3)
	s.Ignore = 1<<13 - 1
	var got []uint64
	_, err := v.Register(s, func(e *Event) Response { got = append(got, e.Value); return Response{Emulate: true} })
	must(t, err)
	f.ring = []Event{
		{Kind: KindRegister, Value: 0x5800, Previous: 0x4000},
		{Kind: KindRegister, Value: 0x6000, Previous: 0x4000},
	}
	must(t, v.Listen(0))
	if !slices.Equal(got, []uint64{0x6000}) || v.ignored != 1 || len(f.answer) != 2 || f.answer[0] != (Response{}) {
		t.Errorf("handled %#x, ignored %d, answers %+v", got, v.ignored, f.answer)
	}
	must(t, v.Close())
}

// TestNested: a handler cannot listen, settle or close.
func TestNested(t *testing.T) {
	v, f := open(t, Config{Events: true})
	var errs []error
	_, err := v.Register(BreakpointEvent(), func(*Event) Response {
		errs = append(errs, v.Listen(0), v.Settle(), v.Close())
		return Response{}
	})
	must(t, err)
	f.ring = []Event{{Kind: KindBreakpoint}}
	must(t, v.Listen(0))
	for _, err := range errs {
		if err != ErrNested {
			t.Errorf("within a handler: %v", err)
		}
	}
	must(t, v.Close())
}

// TestNoEvents: a guest that is opened without events has no ring.
func TestNoEvents(t *testing.T) {
	v, f := open(t, Config{})
	if _, err := v.Register(BreakpointEvent(), nil); err != ErrNoEvents {
		t.Errorf("Register: %v", err)
	}
	if err := v.Listen(0); err != ErrNoEvents {
		t.Errorf("Listen: %v", err)
	}
	must(t, v.Close())
	if !slices.Equal(f.log, []string{"destroy"}) {
		t.Errorf("Close did %v", f.log)
	}
}

// TestStale: reads show the mapped frame until FlushPages.
func TestStale(t *testing.T) {
	v, f := open(t, Config{})
	f.guest[3] = bytes.Repeat([]byte{1}, PageSize)
	var b [4]byte
	must(t, v.ReadPhysical(3*PageSize, b[:]))
	f.guest[3] = bytes.Repeat([]byte{2}, PageSize) // another frame is there now
	must(t, v.ReadPhysical(3*PageSize, b[:]))
	if b[0] != 1 {
		t.Fatal("the fake does not behave as LibVMI does")
	}
	v.FlushPages()
	must(t, v.ReadPhysical(3*PageSize, b[:]))
	if b[0] != 2 {
		t.Error("stale after FlushPages")
	}
	must(t, v.RemoveFrame(3))
	if err := v.ReadPhysical(3*PageSize, b[:]); err == nil {
		t.Error("a frame that was removed is still read")
	}
	must(t, v.Close())
}

// TestLinux: configuration and symbols are passed in memory.
func TestLinux(t *testing.T) {
	l := &Linux{Tasks: 0x4f0, PID: 0x560, Slide: 0x200000,
		Symbols: []KernelSymbol{{"init_task", 0xffffffff81a00000}, {"_text", 0xffffffff81000000}}}
	v, f := open(t, Config{Linux: l})
	for _, want := range []string{`ostype = "Linux";`, `sysmap = "/proc/self/fd/`, "linux_tasks = 0x4f0;",
		"linux_pid = 0x560;", "linux_kaslr = 0x200000;"} {
		if !strings.Contains(f.config, want) {
			t.Errorf("configuration %q lacks %q", f.config, want)
		}
	}
	if _, err := v.sysmap.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(v.sysmap)
	must(t, err)
	if got, want := string(b), "ffffffff81a00000 T init_task\nffffffff81000000 T _text\n"; got != want {
		t.Errorf("symbols %q, want %q", got, want)
	}
	must(t, v.Close())
	if _, err := v.sysmap.Stat(); err == nil {
		t.Error("the file of symbols is still open")
	}
	if _, err := newVMI(newFake(), Config{Linux: &Linux{Symbols: []KernelSymbol{{"a b", 1}}}}); err == nil {
		t.Error("a symbol with a blank was taken")
	}
}

// TestNotBuilt: in a build without LibVMI Open fails with ErrNotBuilt.
func TestNotBuilt(t *testing.T) {
	if Built {
		t.Skip("this build has LibVMI")
	}
	if _, err := Open(ByID(1), Config{}); !errors.Is(err, ErrNotBuilt) {
		t.Errorf("Open says %v", err)
	}
}

// TestAllocations: an event allocates nothing.
func TestAllocations(t *testing.T) {
	if asan {
		t.Skip("the address sanitizer lets more escape")
	}
	v, f := open(t, Config{Events: true})
	_, err := v.Register(BreakpointEvent(), func(*Event) Response { return Response{} })
	must(t, err)
	var h handle
	for _, e := range f.live {
		h = e.h
	}
	fill := func(e *Event) { *e = Event{Kind: KindBreakpoint} }
	if n := testing.AllocsPerRun(100, func() { dispatch(h, fill) }); n != 0 {
		t.Errorf("an event allocates %v times", n)
	}
	must(t, v.Close())
}
