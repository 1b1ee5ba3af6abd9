package monitor

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"hangbench/monitor/detect"
)

// fakeGuest is a one-vCPU guest with a hypervisor that is strict about what a
// monitor may leave behind. It executes a script of instruction addresses.
type fakeGuest struct {
	mu       sync.Mutex
	script   []uint64 // RIPs to execute, then it halts
	pc       int
	stride   int // instructions it executes at most before it looks at the time; 0 for any number
	paused   int
	ring     bool
	stepOn   bool // single-step events enabled
	stepping bool
	host     Access
	views    map[View]Access
	viewsOn  bool
	view     View
	pending  *Event
	taken    bool
	wake     chan struct{}
	fail     string // operation that fails once, without effect
	failNext string // and the one that fails after that
	foreign  bool   // the page at foreignVA was restricted by somebody else
}

const (
	trapVA  = 0xffffffff810081e0
	trapGFN = 0x1008

	foreignVA  = 0xffffffff81099000
	foreignGFN = 0x1099
)

func newFakeGuest(script ...uint64) *fakeGuest {
	return &fakeGuest{script: script, host: AccessRWX, views: map[View]Access{}, wake: make(chan struct{}, 1)}
}

func (g *fakeGuest) op(name string) error {
	if g.fail == name {
		g.fail, g.failNext = g.failNext, ""
		return fmt.Errorf("%s fails", name)
	}
	return nil
}

// advance executes until an event is pending or the script ends.
func (g *fakeGuest) advance() {
	for n := 0; g.paused == 0 && g.pending == nil && g.pc < len(g.script) && (g.stride == 0 || n < g.stride); n++ {
		rip := g.script[g.pc]
		access := g.host
		if g.view != HostView {
			access = g.views[g.view]
		}
		if g.foreign && rip>>12 == foreignVA>>12 {
			g.pending = &Event{Kind: EventAccess, GFN: foreignGFN, RIP: rip, View: g.view}
			g.taken = false
			return
		}
		if rip>>12 == trapVA>>12 && access == AccessRW {
			g.pending = &Event{Kind: EventAccess, GFN: trapGFN, RIP: rip, View: g.view}
			g.taken = false
			return
		}
		g.pc++
		if g.stepping && g.stepOn {
			next := uint64(0)
			if g.pc < len(g.script) {
				next = g.script[g.pc]
			}
			g.pending = &Event{Kind: EventStep, RIP: next, View: g.view}
			g.taken = false
			return
		}
	}
}

func (g *fakeGuest) lock() func() { g.mu.Lock(); return g.mu.Unlock }

func (g *fakeGuest) Name() string { return "fake" }
func (g *fakeGuest) VCPUs() int   { return 1 }
func (g *fakeGuest) VCPU(int) (VCPUState, error) {
	defer g.lock()()
	return VCPUState{Online: true, Blocked: g.pc >= len(g.script)}, g.op("vcpu")
}
func (g *fakeGuest) Registers(_ int, r *Registers) error      { r.RIP = trapVA; return nil }
func (g *fakeGuest) Pause() error                             { defer g.lock()(); g.paused++; return g.op("pause") }
func (g *fakeGuest) Unpause() error                           { defer g.lock()(); g.paused--; return g.op("unpause") }
func (g *fakeGuest) Domain() (DomainState, error)             { return DomainState{}, nil }
func (g *fakeGuest) ReadPhysical(gpa uint64, b []byte) error  { return nil }
func (g *fakeGuest) WritePhysical(gpa uint64, b []byte) error { return nil }
func (g *fakeGuest) EnableCR3(bool, uint64) error             { return nil }
func (g *fakeGuest) EnableBreakpoints(bool) error             { return nil }
func (g *fakeGuest) CurrentView(int) (View, error)            { defer g.lock()(); return g.view, nil }
func (g *fakeGuest) AddFrame() (uint64, error)                { return 0x2000, nil }
func (g *fakeGuest) RemoveFrame(uint64) error                 { return nil }
func (g *fakeGuest) Remap(View, uint64, uint64) error         { return nil }
func (g *fakeGuest) Listen() (Ring, error) {
	defer g.lock()()
	if err := g.op("listen"); err != nil {
		return nil, err
	}
	g.ring = true
	return g, nil
}
func (g *fakeGuest) Wait(d time.Duration) error {
	g.mu.Lock()
	g.advance()
	have := g.pending != nil && !g.taken
	g.mu.Unlock()
	if !have {
		select {
		case <-g.wake:
		case <-time.After(min(d, time.Millisecond)):
		}
	}
	return nil
}
func (g *fakeGuest) Wake() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}
func (g *fakeGuest) Next(ev *Event) (bool, error) {
	defer g.lock()()
	if g.pending == nil || g.taken {
		return false, nil
	}
	g.taken = true
	*ev = *g.pending
	return true, g.op("next")
}
func (g *fakeGuest) Respond(r *Response) error {
	defer g.lock()()
	if g.pending == nil {
		return errors.New("nothing to answer")
	}
	g.pending = nil
	if r.ToggleStep {
		g.stepping = !g.stepping
	}
	if r.SwitchView {
		g.view = r.View
	}
	return nil
}
func (g *fakeGuest) Flush() error { defer g.lock()(); return g.op("flush") }
func (g *fakeGuest) Full() uint64 { return 0 }
func (g *fakeGuest) SetAccess(v View, gfn uint64, a Access) error {
	defer g.lock()()
	if err := g.op("access"); err != nil {
		return err
	}
	if gfn == foreignGFN {
		g.foreign = a != AccessRWX
		return nil
	}
	if v == HostView {
		g.host = a
	} else {
		g.views[v] = a
	}
	return nil
}
func (g *fakeGuest) Access(v View, gfn uint64) (Access, error) {
	defer g.lock()()
	if v == HostView {
		return g.host, nil
	}
	return g.views[v], nil
}
func (g *fakeGuest) EnableStep(on bool) error {
	defer g.lock()()
	if err := g.op("step"); err != nil {
		return err
	}
	g.stepOn = on
	return nil
}
func (g *fakeGuest) StopStep(int) error { defer g.lock()(); g.stepping = false; return nil }
func (g *fakeGuest) EnableViews(on bool) error {
	defer g.lock()()
	if err := g.op("views"); err != nil {
		return err
	}
	g.viewsOn = on
	return nil
}
func (g *fakeGuest) CreateView() (View, error) {
	defer g.lock()()
	if err := g.op("create"); err != nil {
		return 0, err
	}
	g.views[1] = AccessRWX
	return 1, nil
}
func (g *fakeGuest) DestroyView(v View) error {
	defer g.lock()()
	if g.view == v {
		return errors.New("busy")
	}
	delete(g.views, v)
	return nil
}
func (g *fakeGuest) SwitchAll(v View) error {
	defer g.lock()()
	if err := g.op("switch"); err != nil {
		return err
	}
	g.view = v
	return nil
}
func (g *fakeGuest) Close() error { defer g.lock()(); g.ring = false; return g.op("close") }

// clean reports what a monitor left behind.
func (g *fakeGuest) clean() error {
	defer g.lock()()
	var left []string
	add := func(bad bool, what string) {
		if bad {
			left = append(left, what)
		}
	}
	add(g.paused != 0, fmt.Sprintf("%d pauses", g.paused))
	add(g.ring, "the ring")
	add(g.stepping, "single-stepping")
	add(g.stepOn, "step events")
	add(g.host != AccessRWX, "a trap in the host view")
	add(g.view != HostView, "a view in use")
	add(len(g.views) != 0, "a view")
	add(g.viewsOn, "altp2m")
	add(g.pending != nil, "an unanswered event")
	if left != nil {
		return errors.New("left behind: " + strings.Join(left, ", "))
	}
	return nil
}

type noNames struct{}

func (noNames) Function(uint64) (string, uint64, bool) { return "", 0, false }
func (noNames) Data(uint64) (string, bool)             { return "", false }

func attachTo(g *fakeGuest, mechanism string, passes int) (*Session, error) {
	m, err := FindMechanism(mechanism)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	return Attach(Config{Driver: g, Mechanism: m, Trap: Trap{Symbol: "__switch_to_asm", VA: trapVA, GFN: trapGFN},
		Symbols: noNames{}, Thresholds: detect.DefaultThresholds(), Sample: 5 * time.Millisecond, Passes: passes,
		Now: func() int64 { return int64(time.Since(start)) }})
}

// TestSession: two passes of the switch function of three instructions each are
// seen as two switches, two violations and six steps, and nothing is left.
func TestSession(t *testing.T) {
	pass := []uint64{trapVA, trapVA + 4, trapVA + 8, 0xffffffff82000000}
	for _, mech := range []string{"exec-step", "exec-altp2m"} {
		g := newFakeGuest(append(append([]uint64{0x400000}, pass...), pass...)...)
		s, err := attachTo(g, mech, -1)
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			g.mu.Lock()
			done := g.pc == len(g.script) && g.pending == nil
			g.mu.Unlock()
			if done {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: the guest stands still at instruction %d of %d", mech, g.pc, len(g.script))
			}
		}
		c, err := s.Detach()
		if err != nil {
			t.Fatal(err)
		}
		if c.Switches != 2 || c.Accesses != 2 || c.Steps != 6 || c.Strange != 0 {
			t.Errorf("%s: %+v, want 2 switches, 2 accesses, 6 steps", mech, c)
		}
		if err := g.clean(); err != nil {
			t.Errorf("%s: %v", mech, err)
		}
	}
}

// TestPasses: a guest that switches all the time is stopped no more often than
// the passes of a sampling period allow, and still seen to switch in each.
func TestPasses(t *testing.T) {
	var script []uint64
	for range 2_000_000 {
		script = append(script, trapVA, trapVA+4, 0xffffffff82000000)
	}
	for _, mech := range []string{"exec-step", "exec-altp2m"} {
		for _, passes := range []int{1, 3} {
			g := newFakeGuest(script...)
			g.stride = 1000
			s, err := attachTo(g, mech, passes)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(150 * time.Millisecond)
			c, err := s.Detach()
			if err != nil {
				t.Fatal(err)
			}
			if err := g.clean(); err != nil {
				t.Errorf("%s: %v", mech, err)
			}
			if c.Accesses > c.Samples*uint64(passes) || c.Switches < c.Samples/2 {
				t.Errorf("%s, %d passes: %+v", mech, passes, c)
			}
			if passes == 1 && c.Steps != 0 {
				t.Errorf("%s, 1 pass: %d steps", mech, c.Steps)
			}
		}
	}
}

// TestDetachAnywhere: detached at any instant of an endless loop over the
// trapped page, a guest is always let go whole.
func TestDetachAnywhere(t *testing.T) {
	var script []uint64
	for range 20000 {
		script = append(script, trapVA, trapVA+4, 0xffffffff82000000)
	}
	for _, mech := range []string{"exec-step", "exec-altp2m"} {
		for i := range 40 {
			g := newFakeGuest(script...)
			s, err := attachTo(g, mech, -1)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(i*37) * time.Microsecond)
			if _, err := s.Detach(); err != nil {
				t.Fatal(err)
			}
			if err := g.clean(); err != nil {
				t.Fatalf("%s, detach %d: %v", mech, i, err)
			}
		}
	}
}

// TestAttachFails: whichever step of attaching fails, the guest is as before.
func TestAttachFails(t *testing.T) {
	for mech, ops := range map[string][]string{
		"exec-step":   {"listen", "step", "access"},
		"exec-altp2m": {"listen", "views", "create", "step", "access", "switch"},
	} {
		for _, op := range ops {
			g := newFakeGuest()
			g.fail = op
			if _, err := attachTo(g, mech, -1); err == nil {
				t.Fatalf("%s: attached although %s failed", mech, op)
			}
			if err := g.clean(); err != nil {
				t.Errorf("%s, %s failed: %v", mech, op, err)
			}
		}
	}
}

// TestForeignRestriction: a permission that a dead monitor left on another page
// is given back, and the guest goes on.
func TestForeignRestriction(t *testing.T) {
	g := newFakeGuest(foreignVA, foreignVA+4, 0x400000)
	g.foreign = true
	s, err := attachTo(g, "exec-step", -1)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		g.mu.Lock()
		done := g.pc == len(g.script)
		g.mu.Unlock()
		if done {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the guest meets the same violation for ever")
		}
	}
	c, err := s.Detach()
	if err != nil {
		t.Fatal(err)
	}
	if c.Strange != 1 || c.Accesses != 0 || c.Switches != 0 {
		t.Errorf("%+v, want one strange event and nothing else", c)
	}
	if err := g.clean(); err != nil {
		t.Error(err)
	}
}

// TestAttachTellsAll: when attaching fails and letting go fails as well, both are
// told.
func TestAttachTellsAll(t *testing.T) {
	g := newFakeGuest()
	g.fail, g.failNext = "access", "close"
	_, err := attachTo(g, "exec-step", -1)
	if err == nil || !strings.Contains(err.Error(), "access fails") || !strings.Contains(err.Error(), "close fails") {
		t.Errorf("Attach: %v", err)
	}
}

// TestLoopFails: a driver that fails in the middle ends the session, lets go of
// the guest, and Detach tells why.
func TestLoopFails(t *testing.T) {
	g := newFakeGuest(trapVA)
	g.fail = "vcpu"
	s, err := attachTo(g, "exec-step", -1)
	if err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if _, err := s.Detach(); err == nil || !strings.Contains(err.Error(), "vcpu fails") {
		t.Errorf("Detach: %v", err)
	}
	if err := g.clean(); err != nil {
		t.Error(err)
	}
}

func TestMechanisms(t *testing.T) {
	if _, err := FindMechanism("exec-magic"); err == nil || !strings.Contains(err.Error(), "exec-altp2m") {
		t.Errorf("unknown mechanism: %v", err)
	}
	for _, m := range Mechanisms() {
		if m.Traps == "" || m.Miss == "" || m.Needs == "" {
			t.Errorf("%s does not say what it traps, misses and needs", m.Name)
		}
		if m.Watches() != (m.Name != "none") {
			t.Errorf("%s: Watches() = %v", m.Name, m.Watches())
		}
	}
	if _, err := attachTo(newFakeGuest(), "none", 0); err == nil {
		t.Error("none was attached")
	}
}
