package libvmi

import (
	"errors"
	"testing"

	vmi "hangbench/cgo/libvmi"
	xc "hangbench/cgo/xenctrl"
	"hangbench/cgo/xenctrl/xentest"
	"hangbench/monitor/driver"
	xcdriver "hangbench/monitor/driver/xenctrl"
)

// onXen returns a driver on a Xen in memory. LibVMI itself cannot be opened there.
func onXen(t *testing.T) (*Driver, *xentest.Guest, xc.Domain) {
	t.Helper()
	h := xentest.NewHost(xentest.Config{})
	g := h.NewGuest(xentest.GuestConfig{VCPUs: 2, Pages: 16})
	state, err := xcdriver.New(h.Xen(), int(g.ID()))
	if err != nil {
		t.Fatal(err)
	}
	d, _, _ := testDriver()
	d.state, d.dom = state, h.Xen().Domain(g.ID())
	d.limit = func() error { return d.dom.SetMaxPages(16) }
	t.Cleanup(func() {
		if err := errors.Join(d.Close(), h.Close()); err != nil {
			t.Error(err)
		}
	})
	return d, g, d.dom
}

// TestFromXen: the parts that LibVMI does not have come from libxenctrl.
func TestFromXen(t *testing.T) {
	t.Parallel()
	d, g, dom := onXen(t)
	g.VCPU(1).SetProgram(true, xentest.Instruction{})
	g.Run(3)
	states := make([]driver.VCPUState, 2)
	dst, err := d.State(states)
	if want := (driver.VCPUState{Online: true, Running: true, CPUTimeNS: 3000}); err != nil || states[1] != want ||
		dst != (driver.DomainState{}) || d.VCPUs() != 2 || d.Name() != "libvmi" {
		t.Errorf("%+v, %+v, %v", dst, states, err)
	}
	m, err := dom.EnableMonitor()
	if err != nil {
		t.Fatal(err)
	}
	r := &ring{d: d}
	if err := errors.Join(dom.SetMemAccess(5, 1, xc.AccessRX), dom.SetAltp2m(true)); err != nil {
		t.Fatal(err)
	}
	if a, err := r.Access(driver.HostView, 5); err != nil || a != driver.AccessRX {
		t.Errorf("access %d, %v", a, err)
	}
	v, err := dom.CreateView(xc.AccessRWX)
	if err != nil {
		t.Fatal(err)
	}
	if err := dom.SwitchView(v); err != nil {
		t.Fatal(err)
	}
	if got, err := r.CurrentView(1); err != nil || got != driver.View(v) {
		t.Errorf("view %d, %v, want %d", got, err, v)
	}
	if err := errors.Join(dom.SetMemAccess(5, 1, xc.AccessRWX), m.Disable(), dom.SetAltp2m(false)); err != nil {
		t.Fatal(err)
	}
}

// TestListenBusy: LibVMI's error does not say that another monitor has the ring.
func TestListenBusy(t *testing.T) {
	t.Parallel()
	d, g, dom := onXen(t)
	failed := errors.New("vmi_init failed")
	d.open = func(bool) (*vmi.VMI, error) { return nil, failed }
	if _, err := d.Listen(); !errors.Is(err, failed) || errors.Is(err, xc.ErrBusy) {
		t.Errorf("nobody has the ring: %v", err)
	}
	if err := g.Clean(); err != nil {
		t.Errorf("after looking: %v", err)
	}
	if _, err := dom.EnableMonitor(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Listen(); !errors.Is(err, failed) || !errors.Is(err, xc.ErrBusy) {
		t.Errorf("another monitor has it: %v", err)
	}
}

// TestAddFrame: the guest's limit of memory is raised by the frame that is added.
func TestAddFrame(t *testing.T) {
	t.Parallel()
	d, _, dom := onXen(t)
	r := &ring{d: d}
	gfn, err := r.SpareFrame()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.AddFrame(gfn); err != nil {
		t.Fatal(err)
	}
	if info, err := dom.Info(); err != nil || info.MaxPages != 17 {
		t.Errorf("limit %d, %v, want 17", info.MaxPages, err)
	}
	if err := r.RemoveFrame(gfn); err != nil {
		t.Error(err)
	}
}

// TestServe: Wake ends the next wait, the error of a handler comes back, and the
// events after it are answered without the handler.
func TestServe(t *testing.T) {
	t.Parallel()
	d, _, _ := onXen(t)
	r := &ring{d: d}
	r.Wake()
	if !r.woken.Load() || r.Full() != 0 {
		t.Error("not woken")
	}
	broken, calls := errors.New("broken"), 0
	r.handle = func(ev *driver.Event, resp *driver.Response) error {
		calls++
		resp.ToggleStep = true
		if calls == 2 {
			return broken
		}
		return nil
	}
	var answers []vmi.Response
	for range 3 {
		answers = append(answers, r.event(&vmi.Event{Kind: vmi.KindSingleStep}))
	}
	if calls != 2 || !errors.Is(r.err, broken) || !answers[0].ToggleStep || answers[1] != (vmi.Response{}) ||
		answers[2] != (vmi.Response{}) {
		t.Errorf("%d calls, %v, answers %+v", calls, r.err, answers)
	}
	// Without handlers these do nothing.
	if err := errors.Join(r.StopStep(0), r.EnableCR3(false, 0), r.EnableStep(false)); err != nil {
		t.Error(err)
	}
}
