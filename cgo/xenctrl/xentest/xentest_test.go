package xentest_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hangbench/cgo/xenctrl"
	"hangbench/cgo/xenctrl/xentest"
)

func open(t *testing.T, c xentest.Config, g xentest.GuestConfig) (*xentest.Host, *xentest.Guest, xenctrl.Domain) {
	t.Helper()
	h := xentest.NewHost(c)
	t.Cleanup(func() { must(t, h.Close()) })
	guest := h.NewGuest(g)
	return h, guest, h.Xen().Domain(guest.ID())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func fails(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestHost(t *testing.T) {
	t.Parallel()
	h, g, dom := open(t, xentest.Config{PhysicalCPUs: 9}, xentest.GuestConfig{Name: "one", VCPUs: 2, Pages: 8})
	pv := h.NewGuest(xentest.GuestConfig{PV: true})
	x := h.Xen()
	if v, err := x.Version(); err != nil || v.String() != "4.20.4" || v.CommandLine != "altp2m=1" {
		t.Errorf("%+v, %v", v, err)
	}
	all, err := x.Domains()
	if err != nil || len(all) != 3 || all[0].ID != 0 || all[0].HVM || all[1].ID != g.ID() || all[2].ID != pv.ID() ||
		all[2].HVM {
		t.Errorf("%+v, %v", all, err)
	}
	want := xenctrl.DomainInfo{ID: g.ID(), Blocked: true, HVM: true, VCPUs: 2, MaxVCPU: 1, Pages: 8, MaxPages: 8}
	if info, err := dom.Info(); err != nil || info != want {
		t.Errorf("%+v, %v, want %+v", info, err, want)
	}
	if info, err := x.Domain(0).Info(); err != nil || info.HVM || !info.Running {
		t.Errorf("dom0: %+v, %v", info, err)
	}
	if top, err := dom.SpareFrame(); err != nil || top != 8 {
		t.Errorf("spare frame %d, %v", top, err)
	}
	_, err = dom.VCPU(2)
	fails(t, "a vCPU too many", err, syscall.EINVAL)
	g.VCPU(1).SetOnline(false)
	var r xenctrl.Registers
	fails(t, "registers of a vCPU that is down", dom.Registers(1, &r), syscall.ENODATA)
	fails(t, "unpausing what is not paused", dom.Unpause(), syscall.EINVAL)
	_, err = x.Domain(99).Info()
	fails(t, "a domain too many", err, xenctrl.ErrNoDomain)
}

func TestFail(t *testing.T) {
	t.Parallel()
	h, g, dom := open(t, xentest.Config{}, xentest.GuestConfig{})
	h.Fail("xc_domain_pause", syscall.EPERM, 2)
	for i, want := range []error{xenctrl.ErrPerm, xenctrl.ErrPerm, nil} {
		if err := dom.Pause(); !errors.Is(err, want) {
			t.Errorf("pause %d: %v, want %v", i, err, want)
		}
	}
	if n := g.Paused(); n != 1 {
		t.Errorf("%d pauses: a call that fails has an effect", n)
	}
	var e *xenctrl.Error
	h.Fail("xc_vcpu_getinfo", syscall.EIO, 1)
	if _, err := dom.VCPU(3); !errors.As(err, &e) || e.Domain != int(g.ID()) || e.VCPU != 3 || e.Op != "xc_vcpu_getinfo" {
		t.Errorf("%+v", e)
	}
	h.Fail("xs_read", syscall.EACCES, 1)
	if _, err := h.Store().Read("/x"); !errors.As(err, &e) || e.Path != "/x" || !errors.Is(err, xenctrl.ErrPerm) {
		t.Errorf("%+v", e)
	}
	want := []string{"xc_domain_pause", "xc_domain_pause", "xc_domain_pause", "xc_vcpu_getinfo", "xs_read"}
	if got := h.Calls(); !slices.Equal(got, want) {
		t.Errorf("calls %v, want %v", got, want)
	}
}

// TestMemory: mappings share the guest's memory, frames in any order.
func TestMemory(t *testing.T) {
	t.Parallel()
	h, g, dom := open(t, xentest.Config{}, xentest.GuestConfig{Pages: 4})
	special := g.AddPage(0xfffff)
	g.RemovePage(1)
	if g.Page(1) != nil {
		t.Error("a page that was removed")
	}
	m, err := dom.Map([]uint64{3, 1, 0xfffff, 0}, xenctrl.ReadWrite)
	must(t, err)
	if m.Page(1) != nil || !errors.Is(m.Err(1), syscall.EINVAL) || m.Bytes() != nil {
		t.Errorf("a hole: %v", m.Err(1))
	}
	copy(m.Page(0), "three")
	copy(special, "special")
	g.Write(0x0ffe, []byte("x"))
	if !bytes.HasPrefix(g.Page(3), []byte("three")) || !bytes.HasPrefix(m.Page(2), []byte("special")) ||
		m.Page(3)[0xffe] != 'x' {
		t.Error("the mapping is not the guest's memory")
	}
	// A mapping keeps the old frame when the guest's changes.
	g.RemovePage(3)
	g.AddPage(3)
	if !bytes.HasPrefix(m.Page(0), []byte("three")) || g.Page(3)[0] != 0 {
		t.Error("the mapping shows the guest's new frame")
	}
	_, err = dom.Map([]uint64{1, 99}, xenctrl.ReadOnly)
	fails(t, "only holes", err, syscall.EINVAL)
	if n := h.Mappings(); n != 1 {
		t.Errorf("%d mappings", n)
	}
	must(t, m.Close())
	if n := h.Mappings(); n != 0 {
		t.Errorf("%d mappings after closing", n)
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	_, g, dom := open(t, xentest.Config{}, xentest.GuestConfig{Pages: 4})
	must(t, dom.AddFrame(4)) // raises the limit by one
	must(t, dom.SetMaxPages(3))
	must(t, dom.MakeRoom())
	if info, err := dom.Info(); err != nil || info.MaxPages != 6 {
		t.Errorf("%+v, %v", info, err)
	}
	g.SetMaxPages(5)
	if err := g.Clean(); err == nil || !strings.Contains(err.Error(), "frame 0x4") {
		t.Errorf("with a frame added: %v", err)
	}
	must(t, dom.RemoveFrame(4))
	fails(t, "removing a frame twice", dom.RemoveFrame(4), xenctrl.ErrBusy)
	must(t, g.Clean())
}

// TestDestroy: a destroyed domain is dying until its memory is unmapped.
func TestDestroy(t *testing.T) {
	t.Parallel()
	h, g, dom := open(t, xentest.Config{}, xentest.GuestConfig{Name: "g"})
	m, err := dom.Map([]uint64{0}, xenctrl.ReadOnly)
	must(t, err)
	g.Destroy()
	if info, err := dom.Info(); err != nil || !info.Dying {
		t.Errorf("mapped: %+v, %v", info, err)
	}
	_, err = h.Store().DomainByName("g")
	fails(t, "its name", err, xenctrl.ErrNoDomain)
	must(t, m.Close())
	_, err = dom.Info()
	fails(t, "unmapped", err, xenctrl.ErrNoDomain)
}

func TestStore(t *testing.T) {
	t.Parallel()
	h, _, _ := open(t, xentest.Config{}, xentest.GuestConfig{})
	s, other := h.Store(), h.Store()
	must(t, s.Write("/a/b/c", "one"))
	must(t, other.Write("/a/b", ""))
	for path, want := range map[string]string{"/a/b/c": "one", "/a/b": "", "/a": ""} {
		if v, err := other.Read(path); err != nil || v != want {
			t.Errorf("%s: %q, %v", path, v, err)
		}
	}
	if names, err := s.Directory("/a"); err != nil || !slices.Equal(names, []string{"b"}) {
		t.Errorf("%v, %v", names, err)
	}
	if names, err := s.Directory("/a/b/c"); err != nil || len(names) != 0 {
		t.Errorf("below a leaf: %v, %v", names, err)
	}
	_, err := s.Directory("/x")
	fails(t, "names below a node that is not there", err, xenctrl.ErrNotExist)
	fails(t, "removing it", s.Remove("/x/y"), xenctrl.ErrNotExist)
	must(t, s.Remove("/a/x")) // its parent is there
	must(t, s.Remove("/a/b"))
	_, err = s.Read("/a/b/c")
	fails(t, "a node that was removed with its parent", err, xenctrl.ErrNotExist)
	fails(t, "a path with a NUL", s.Write("/a\x00b", ""), syscall.EINVAL)
}

func TestSources(t *testing.T) {
	t.Parallel()
	_, g, dom := open(t, xentest.Config{}, xentest.GuestConfig{})
	m, err := dom.EnableMonitor()
	must(t, err)
	must(t, m.SingleStep(true))
	fails(t, "on twice", m.SingleStep(true), syscall.EEXIST)
	fails(t, "off twice", m.SoftwareBreakpoint(false), syscall.EEXIST)
	must(t, m.WriteCtrlReg(xenctrl.CR3, true, xenctrl.CtrlRegOptions{}))
	fails(t, "CR3 on twice", m.WriteCtrlReg(xenctrl.CR3, true, xenctrl.CtrlRegOptions{}), syscall.EEXIST)
	err = g.Clean()
	for _, want := range []string{"event ring", "xc_monitor_singlestep", "control registers [1]"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("what is left lacks %q: %v", want, err)
		}
	}
	must(t, m.Disable())
	must(t, g.Clean())
	fails(t, "a permission without a monitor", dom.SetMemAccess(1, 1, xenctrl.AccessR), syscall.ENODEV)
	_, err = dom.MemAccess(1)
	fails(t, "reading one without a monitor", err, syscall.ENODEV)
}

// TestCR3: a write is reported before it is made, and is not made if it is denied.
func TestCR3(t *testing.T) {
	t.Parallel()
	_, g, dom := open(t, xentest.Config{}, xentest.GuestConfig{})
	m, err := dom.EnableMonitor()
	must(t, err)
	must(t, m.WriteCtrlReg(xenctrl.CR3, true, xenctrl.CtrlRegOptions{Sync: true, OnChange: true}))
	g.VCPU(0).SetProgram(false,
		xentest.Instruction{Op: xentest.LoadCR3, Value: 0x1000},
		xentest.Instruction{Op: xentest.LoadCR3, Value: 0x1000},
		xentest.Instruction{Op: xentest.LoadCR3, Value: 0x2000})
	cr3 := func() uint64 {
		var r xenctrl.Registers
		must(t, dom.Registers(0, &r))
		return r.CR3
	}
	for i, want := range []uint64{0x1000, 0x2000} {
		_, err := m.Wait(time.Minute)
		must(t, err)
		var ev xenctrl.Event
		if !m.Next(&ev) || ev.NewValue != want || cr3() == want {
			t.Errorf("%+v, CR3 is %#x", ev, cr3())
		}
		rsp := ev.Response()
		if i == 1 {
			rsp.Flags |= xenctrl.FlagDeny
		}
		must(t, m.Respond(&rsp))
	}
	must(t, m.Notify())
	g.Run(10)
	if cr3() != 0x1000 {
		t.Errorf("CR3 is %#x after a denied write of 0x2000", cr3())
	}
	must(t, m.Disable())
}

// TestUnmonitored: a guest without a monitor executes its program.
func TestUnmonitored(t *testing.T) {
	t.Parallel()
	_, g, dom := open(t, xentest.Config{}, xentest.GuestConfig{Pages: 16})
	cpu := g.VCPU(0)
	g.Page(2)[0] = 0xcc
	cpu.SetProgram(false,
		xentest.Instruction{GPA: 0x1000, Op: xentest.Write, Target: 0x3008, Value: 7},
		xentest.Instruction{GPA: 0x1000, Op: xentest.Add, Target: 0x3008, Value: 2},
		xentest.Instruction{GPA: 0x2000},
		xentest.Instruction{GPA: 0x1000, Op: xentest.Halt},
		xentest.Instruction{GPA: 0x1000, Do: func(r *xenctrl.Registers) { r.RAX = 5 }})
	g.Run(100)
	if v := binary.LittleEndian.Uint64(g.Page(3)[8:]); v != 9 {
		t.Errorf("wrote %d", v)
	}
	info, err := dom.VCPU(0)
	if st := cpu.Stats(); err != nil || !info.Blocked || st.Executed != 3 || st.Breakpoints != 1 ||
		info.CPUTimeNS != 3000 {
		t.Errorf("%+v, %+v, %v", info, st, err)
	}
	cpu.Interrupt()
	g.Run(100)
	var r xenctrl.Registers
	if err := dom.Registers(0, &r); err != nil || r.RAX != 5 || cpu.Stats().Executed != 4 {
		t.Errorf("after the interrupt: %+v, %+v, %v", r, cpu.Stats(), err)
	}
	// A page that a monitor has left restricted costs one violation.
	m, err := dom.EnableMonitor()
	must(t, err)
	must(t, dom.SetMemAccess(1, 1, xenctrl.AccessR))
	must(t, m.Disable())
	cpu.SetProgram(false, xentest.Instruction{GPA: 0x1000})
	g.Run(1)
	must(t, g.Clean())
}

func TestEmulation(t *testing.T) {
	t.Parallel()
	_, g, dom := open(t, xentest.Config{}, xentest.GuestConfig{Pages: 16})
	m, err := dom.EnableMonitor()
	must(t, err)
	must(t, dom.SetMemAccess(1, 1, xenctrl.AccessR))
	cpu := g.VCPU(0)
	cpu.SetProgram(false,
		xentest.Instruction{GPA: 0x1000, Op: xentest.Write, Target: 0x1100, Value: 3},
		xentest.Instruction{GPA: 0x1001, NoEmulation: true})
	for range 2 {
		_, err := m.Wait(time.Minute)
		must(t, err)
		var ev xenctrl.Event
		if !m.Next(&ev) || ev.Reason != xenctrl.ReasonMemAccess || ev.Access&xenctrl.TouchedX == 0 {
			t.Fatalf("%+v", ev)
		}
		rsp := ev.Response()
		rsp.Flags |= xenctrl.FlagEmulate
		must(t, m.Respond(&rsp))
	}
	must(t, m.Notify())
	g.Run(10)
	if st := cpu.Stats(); st.Undefined != 1 || st.Executed != 1 || g.Page(1)[0x100] != 3 {
		t.Errorf("%+v, memory %d", st, g.Page(1)[0x100])
	}
	must(t, dom.SetMemAccess(1, 1, xenctrl.AccessRWX))
	must(t, m.Disable())
	must(t, g.Clean())
}

func TestViews(t *testing.T) {
	t.Parallel()
	_, g, dom := open(t, xentest.Config{}, xentest.GuestConfig{Pages: 16})
	_, err := dom.CreateView(xenctrl.AccessRWX)
	fails(t, "a view while altp2m is off", err, syscall.EINVAL)
	_, err = dom.VCPUView(0)
	fails(t, "the view of a vCPU", err, xenctrl.ErrUnsupported)
	must(t, dom.SetAltp2m(true))
	for i := range 9 {
		if v, err := dom.CreateView(xenctrl.AccessRWX); err != nil || v != xenctrl.View(i+1) {
			t.Errorf("view %d: %v", v, err)
		}
	}
	_, err = dom.CreateView(xenctrl.AccessRWX)
	fails(t, "an eleventh view", err, syscall.EINVAL)
	must(t, dom.SwitchView(3))
	fails(t, "destroying a view in use", dom.DestroyView(3), xenctrl.ErrBusy)
	must(t, dom.DestroyView(4))
	fails(t, "destroying it twice", dom.DestroyView(4), xenctrl.ErrBusy)
	fails(t, "switching to it", dom.SwitchView(4), syscall.EINVAL)
	_, err = dom.ViewAccess(3, 1)
	fails(t, "a page that the view does not hold", err, xenctrl.ErrNoDomain)
	g.VCPU(0).SetProgram(true, xentest.Instruction{GPA: 0x1000})
	g.Run(1)
	if a, err := dom.ViewAccess(3, 1); err != nil || a != xenctrl.AccessRWX {
		t.Errorf("a page that was touched: %v, %v", a, err)
	}
	must(t, dom.SetViewAccess(3, 99, xenctrl.AccessR)) // no memory: no error
	fails(t, "showing a frame without memory", dom.ChangeGFN(3, 1, 99), syscall.EINVAL)
	if err := g.Clean(); err == nil || !strings.Contains(err.Error(), "altp2m with 9 views") ||
		!strings.Contains(err.Error(), "view 3") {
		t.Errorf("%v", err)
	}
	must(t, dom.SetAltp2m(false))
	must(t, g.Clean())

	_, _, without := open(t, xentest.Config{NoAltp2m: true}, xentest.GuestConfig{})
	fails(t, "a Xen without altp2m", without.SetAltp2m(true), xenctrl.ErrUnsupported)
	_, _, without = open(t, xentest.Config{}, xentest.GuestConfig{NoAltp2m: true})
	fails(t, "a guest without altp2m", without.SetAltp2m(true), syscall.EINVAL)
}

// TestTrace: violations are traced with their causes. Records that do not fit in the
// buffer are counted.
// TestCopiedAccess: a page that the host view restricts is copied into a view with the
// host view's permission before Xen 4.19, and with the view's own since.
func TestCopiedAccess(t *testing.T) {
	t.Parallel()
	for minor, want := range map[int]xenctrl.Access{17: xenctrl.AccessRW, 18: xenctrl.AccessRW, 19: xenctrl.AccessRX,
		20: xenctrl.AccessRX} {
		h, g, dom := open(t, xentest.Config{Xen: xenctrl.Version{Major: 4, Minor: minor}}, xentest.GuestConfig{Pages: 8})
		if v, err := h.Xen().Version(); err != nil || v.Minor != minor {
			t.Errorf("%+v, %v", v, err)
		}
		m, err := dom.EnableMonitor()
		must(t, err)
		must(t, dom.SetMemAccess(3, 1, xenctrl.AccessRW))
		must(t, dom.SetAltp2m(true))
		own, err := dom.CreateView(xenctrl.AccessRX)
		must(t, err)
		set, err := dom.CreateView(xenctrl.AccessRX)
		must(t, err)
		must(t, dom.SetViewAccess(set, 3, xenctrl.AccessRWX))
		must(t, dom.SwitchView(own))
		g.VCPU(0).SetProgram(true, xentest.Instruction{GPA: 0x3000})
		g.Run(1)
		if a, err := dom.ViewAccess(own, 3); err != nil || a != want {
			t.Errorf("Xen 4.%d: copied with %v, %v, want %v", minor, a, err, want)
		}
		executed := g.VCPU(0).Stats().Executed
		if stopped := g.VCPU(0).Waiting() == 1; stopped != (want == xenctrl.AccessRW) || stopped == (executed == 1) {
			t.Errorf("Xen 4.%d: stopped %v after %d instructions", minor, stopped, executed)
		}
		// Every release keeps a permission that was set.
		if a, err := dom.ViewAccess(set, 3); err != nil || a != xenctrl.AccessRWX {
			t.Errorf("Xen 4.%d: the page that was set has %v, %v", minor, a, err)
		}
		must(t, m.Disable())
	}
}

func TestTrace(t *testing.T) {
	t.Parallel()
	h, g, dom := open(t, xentest.Config{PhysicalCPUs: 2}, xentest.GuestConfig{VCPUs: 2, Pages: 512})
	m, err := dom.EnableMonitor()
	must(t, err)
	must(t, dom.SetAltp2m(true))
	v, err := dom.CreateView(xenctrl.AccessRWX)
	must(t, err)
	must(t, dom.SetViewAccess(v, 1, xenctrl.AccessRW))
	must(t, dom.SwitchView(v))
	tr, err := h.Xen().OpenTrace(xenctrl.TraceConfig{Pages: 1,
		Events: xenctrl.TraceHandlers | xenctrl.TraceEntryExit | xenctrl.TraceRunstate})
	must(t, err)
	var owners xenctrl.Owners
	classes, exits, entries, whose := map[xenctrl.NPFClass]int{}, 0, 0, map[int]int{}
	see := func(r *xenctrl.Record) {
		owners.Observe(r)
		if reason, rip, ok := r.VMExit(); ok && reason == xenctrl.ExitEPTViolation && rip == 0xffffffff81001000 {
			exits++
		}
		if r.IsVMEntry() {
			entries++
		}
		if n, ok := r.NPF(); ok {
			a := xenctrl.AccessRWX
			if n.GFN() == 1 {
				a = xenctrl.AccessRW
			}
			classes[n.Class(a, true)]++
			if d, vcpu, ok := owners.Owner(r.CPU); ok && d == g.ID() {
				whose[vcpu]++
			}
		}
	}
	g.VCPU(1).SetProgram(false,
		xentest.Instruction{RIP: 0xffffffff81001000, GPA: 0x2000, Op: xentest.Read, Target: 0x3000},
		xentest.Instruction{RIP: 0xffffffff81001000, GPA: 0x1000})
	g.Run(10)
	must(t, tr.Drain(see))
	want := map[xenctrl.NPFClass]int{xenctrl.NPFLazyCopy: 2, xenctrl.NPFPermission: 1}
	if !maps.Equal(classes, want) || exits != 3 || entries != 3 || whose[1] != 3 || g.VCPU(1).Waiting() != 1 {
		t.Errorf("classes %v, %d exits, %d entries, by vCPU %v, waits %d", classes, exits, entries, whose,
			g.VCPU(1).Waiting())
	}
	// More violations than a buffer of one page holds.
	var program []xentest.Instruction
	for gfn := uint64(10); gfn < 400; gfn++ {
		program = append(program, xentest.Instruction{GPA: gfn << 12})
	}
	g.VCPU(0).SetProgram(false, program...)
	g.Run(1000)
	must(t, tr.Drain(see))
	g.VCPU(0).SetProgram(false, xentest.Instruction{GPA: 450 << 12})
	g.Run(1)
	must(t, tr.Drain(see))
	if st := tr.Stats(); st.Lost == 0 || st.Gaps != 1 || st.Corrupt != 0 || st.Peak < 0.9 {
		t.Errorf("%+v", st)
	}
	must(t, errors.Join(tr.Close(), m.Disable(), dom.SetAltp2m(false)))
	if err := g.Clean(); err != nil {
		t.Error(err)
	}
}

// TestStart: after Start the guest executes, and its events wake a monitor.
func TestStart(t *testing.T) {
	t.Parallel()
	_, g, dom := open(t, xentest.Config{}, xentest.GuestConfig{})
	n := 0
	g.VCPU(0).SetProgram(true, xentest.Instruction{GPA: 0x1000, Do: func(*xenctrl.Registers) { n++ }})
	stop := g.Start(5)
	for end := time.Now().Add(10 * time.Second); g.VCPU(0).Stats().Executed < 20 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	stop()
	if st := g.VCPU(0).Stats(); st.Executed < 20 || st.Executed != uint64(n) {
		t.Errorf("%+v, and %d by its own count", st, n)
	}
	m, err := dom.EnableMonitor()
	must(t, err)
	must(t, dom.SetMemAccess(1, 1, xenctrl.AccessR))
	if w, err := m.Wait(time.Minute); err != nil || w != xenctrl.WakeEvents {
		t.Errorf("%v, %v", w, err)
	}
	must(t, errors.Join(dom.SetMemAccess(1, 1, xenctrl.AccessRWX), m.Disable()))
}
