package monitor

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"hangbench/monitor/detect"
	"hangbench/monitor/driver"
)

// fakeGuest is a guest and its hypervisor. Its first vCPU executes a script of
// instruction addresses; further vCPUs hang. The clean method reports what a monitor
// left behind.
type fakeGuest struct {
	serves bool // its ring calls back

	mu       sync.Mutex
	script   []uint64 // RIPs to execute, then it halts
	pc       int
	runs     int  // how often the script was begun anew
	endless  bool // it begins the script anew at its end
	stride   int  // instructions it executes at most before it looks at the time; 0 for any number
	paused   int
	busy     bool // runs until the moment of a pause, not only while it is waited for
	ring     bool
	stepOn   bool // single-step events enabled
	stepping bool
	cr3On    bool
	int3On   bool
	unemul   bool
	fast     bool // one instruction, then fastView
	fastView driver.View
	emulate  bool // the next instruction whatever the permissions
	frames   map[uint64]*[4096]byte
	added    map[uint64]bool
	access   map[frameIn]driver.Access // what is not there is rwx
	remap    map[frameIn]uint64
	views    map[driver.View]bool
	viewsOn  bool
	view     driver.View
	pending  *driver.Event
	taken    bool
	wake     chan struct{}
	fail     string // operation that fails once, without effect
	failNext string // and the one that fails after that
	destroys string // operation during which the guest is destroyed; all later ones fail
	ownInt3  int    // INT3 that reached the guest
	shutdown string
	panicked bool
	dying    bool
	switches uint64 // what its run queue counts
	hung     int    // further vCPUs: they run, far from any trap, and never switch
	freeze   bool   // runs and gets nowhere while it is in a view other than the host's
	spins    bool   // the switch function's first instruction jumps to itself
	cpuNS    uint64
	nowNS    int64 // the clock: an instruction takes 1 us, and waiting takes its time
}

type frameIn struct {
	view driver.View
	gfn  uint64
}

// int3 is the breakpoint instruction.
const int3 = 0xcc

// The fake's kernel. Every address executes as one instruction; some do more.
const (
	trapVA  = 0xffffffff810081e0
	trapGFN = 0x1008

	foreignVA  = 0xffffffff81099000
	foreignGFN = 0x1099

	writeVA    = 0xffffffff82000100 // writes the run queue's counter of switches
	otherVA    = 0xffffffff82000200 // writes another field of that page
	cr3VA      = 0xffffffff82000300 // loads CR3
	readVA     = 0xffffffff82000400 // reads the page of the trap
	patchVA    = 0xffffffff82000500 // writes the page of the trap
	ownInt3VA  = 0xffffffff82000600 // an INT3 of the guest's own
	userVA     = 0x400000
	offPage    = 0xffffffff82000000
	counterGFN = 0x2000
	counterOff = 0x40
)

func newFakeGuest(script ...uint64) *fakeGuest {
	g := &fakeGuest{script: script, views: map[driver.View]bool{}, access: map[frameIn]driver.Access{},
		remap:  map[frameIn]uint64{},
		frames: map[uint64]*[4096]byte{}, added: map[uint64]bool{}, wake: make(chan struct{}, 1)}
	for _, gfn := range []uint64{trapGFN, counterGFN, foreignGFN} {
		g.frames[gfn] = &[4096]byte{}
	}
	g.frames[trapGFN][trapVA&0xfff] = 0x55
	return g
}

func (g *fakeGuest) op(name string) error {
	if g.destroys == name {
		g.shutdown, g.dying = "crash", true
	}
	if g.dying && g.destroys != "" && name != "domain" && name != "vcpu" {
		return fmt.Errorf("%s: no such domain", name)
	}
	if g.fail == name {
		g.fail, g.failNext = g.failNext, ""
		return fmt.Errorf("%s fails", name)
	}
	return nil
}

func (g *fakeGuest) may(gfn uint64) driver.Access { return g.access[frameIn{g.view, gfn}] }

// event stops the vCPU until it is answered.
func (g *fakeGuest) event(ev driver.Event) {
	ev.View, ev.RSP = g.view, uint64(g.runs<<16+g.pc) // a stack of its own for each place in the script
	g.pending, g.taken = &ev, false
}

// advance executes until an event is pending or the script ends.
func (g *fakeGuest) advance() {
	for n := 0; g.paused == 0 && g.pending == nil && g.pc < len(g.script) && (g.stride == 0 || n < g.stride); n++ {
		g.cpuNS += 1000
		g.nowNS += 1000
		if g.freeze && g.view != driver.HostView {
			g.cpuNS += 1e6
			g.nowNS += 1e6
			return
		}
		if !g.execute(g.script[g.pc]) {
			return
		}
	}
}

// execute executes one instruction. It returns false if that makes an event.
func (g *fakeGuest) execute(rip uint64) bool {
	emulate := g.emulate
	g.emulate = false
	shown := func(gfn uint64) uint64 { // which frame the view shows
		if to, ok := g.remap[frameIn{g.view, gfn}]; ok {
			return to
		}
		return gfn
	}
	switch {
	case rip>>12 == foreignVA>>12 && g.may(foreignGFN) == driver.AccessRW:
		g.event(driver.Event{Kind: driver.EventAccess, GFN: foreignGFN, RIP: rip, Execute: true})
		return false
	case rip>>12 == trapVA>>12 && g.may(trapGFN) == driver.AccessRW && !emulate:
		g.event(driver.Event{Kind: driver.EventAccess, GFN: trapGFN, RIP: rip, Execute: true})
		return false
	case rip>>12 == trapVA>>12 && g.frames[shown(trapGFN)][rip&0xfff] == int3, rip == ownInt3VA:
		if g.int3On {
			g.event(driver.Event{Kind: driver.EventBreakpoint, RIP: rip})
			return false
		}
		g.ownInt3++
	case rip == writeVA || rip == otherVA:
		off := uint64(counterOff)
		if rip == otherVA {
			off = 0x80
		}
		if g.may(counterGFN) == driver.AccessRX {
			g.event(driver.Event{Kind: driver.EventAccess, GFN: counterGFN, Offset: off, Write: true, RIP: rip})
			return false
		}
	case (rip == readVA || rip == patchVA) && g.may(trapGFN) == driver.AccessX:
		g.event(driver.Event{Kind: driver.EventAccess, GFN: trapGFN, Offset: 1, Write: rip == patchVA, RIP: rip})
		return false
	case rip == cr3VA && g.cr3On && !emulate:
		g.event(driver.Event{Kind: driver.EventCR3, RIP: rip})
		g.emulate = true // the write happens once it is answered
		return false
	}
	if rip == patchVA {
		g.frames[shown(trapGFN)][1]++
	}
	if rip == trapVA {
		g.switches++
	}
	if !g.spins || rip != trapVA {
		g.pc++
	}
	if g.endless && g.pc == len(g.script) {
		g.pc = 0
		g.runs++
	}
	if g.fast {
		g.fast = false
		g.view = g.fastView
	}
	if g.stepping && g.stepOn {
		next := uint64(0)
		if g.pc < len(g.script) {
			next = g.script[g.pc]
		}
		g.event(driver.Event{Kind: driver.EventStep, RIP: next})
		return false
	}
	return true
}

func (g *fakeGuest) lock() func() { g.mu.Lock(); return g.mu.Unlock }

func (g *fakeGuest) Name() string { return "fake" }
func (g *fakeGuest) VCPUs() int   { return 1 + g.hung }

// State returns the guest's state with an error too, as a driver does.
func (g *fakeGuest) State(vcpus []driver.VCPUState) (driver.DomainState, error) {
	defer g.lock()()
	dom := driver.DomainState{Shutdown: g.shutdown, Dying: g.dying}
	if err := g.op("domain"); err != nil {
		return dom, err
	}
	for i := range vcpus {
		vcpus[i] = driver.VCPUState{Online: true, Running: true, CPUTimeNS: g.cpuNS}
	}
	if len(vcpus) > 0 {
		vcpus[0] = driver.VCPUState{Online: true, Blocked: g.pc >= len(g.script), CPUTimeNS: g.cpuNS}
		return dom, g.op("vcpu")
	}
	return dom, nil
}

// Registers changes with each instruction. The vCPUs that hang run a loop.
func (g *fakeGuest) Registers(i int, r *driver.Registers) error {
	defer g.lock()()
	*r = driver.Registers{RIP: offPage + uint64(g.pc)}
	if r.General[0] = uint64(g.runs); i > 0 {
		r.General[0] = uint64(g.nowNS)
	}
	return g.op("registers")
}

// Pause stops the guest. A busy guest may have an open event then.
func (g *fakeGuest) Pause() error {
	defer g.lock()()
	if g.busy {
		g.advance()
	}
	g.paused++
	return g.op("pause")
}
func (g *fakeGuest) Unpause() error { defer g.lock()(); g.paused--; return g.op("unpause") }

func (g *fakeGuest) page(gpa uint64, n int) ([]byte, error) {
	p := g.frames[gpa>>12]
	if p == nil || gpa&0xfff+uint64(n) > 4096 {
		return nil, fmt.Errorf("no memory at %#x", gpa)
	}
	return p[gpa&0xfff:][:n], nil
}

func (g *fakeGuest) ReadPhysical(gpa uint64, b []byte) error {
	defer g.lock()()
	p, err := g.page(gpa, len(b))
	copy(b, p)
	return err
}

func (g *fakeGuest) WritePhysical(gpa uint64, b []byte) error {
	defer g.lock()()
	if err := g.op("write"); err != nil {
		return err
	}
	p, err := g.page(gpa, len(b))
	copy(p, b)
	return err
}

// served is the guest's ring as one that calls back.
type served struct {
	driver.Ring
	pull driver.Puller
}

func (r served) Serve(d time.Duration, handle func(*driver.Event, *driver.Response) error) (int, error) {
	if d > 0 {
		if err := r.pull.Wait(d); err != nil {
			return 0, err
		}
	}
	var failed error
	n := 0
	for {
		var ev driver.Event
		ok, err := r.pull.Next(&ev)
		if err != nil || !ok {
			return n, errors.Join(failed, err, r.pull.Flush())
		}
		var resp driver.Response
		if failed == nil {
			n++
			failed = handle(&ev, &resp)
		}
		if err := r.pull.Respond(&resp); err != nil {
			return n, err
		}
	}
}

func (g *fakeGuest) Listen() (driver.Ring, error) {
	defer g.lock()()
	if err := g.op("listen"); err != nil {
		return nil, err
	}
	g.ring = true
	if g.serves {
		return served{g, g}, nil
	}
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
		case <-time.After(20 * time.Microsecond): // of the test's time, which has nothing to do with the guest's
			g.mu.Lock()
			g.nowNS += int64(d)
			g.mu.Unlock()
		}
	}
	return nil
}

// now is the guest's clock. It stands still unless the session waits for events.
func (g *fakeGuest) now() int64 { defer g.lock()(); return g.nowNS }

func (g *fakeGuest) Wake() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

func (g *fakeGuest) Next(ev *driver.Event) (bool, error) {
	defer g.lock()()
	if g.pending == nil || g.taken {
		return false, nil
	}
	g.taken = true
	*ev = *g.pending
	return true, g.op("next")
}

func (g *fakeGuest) Respond(r *driver.Response) error {
	defer g.lock()()
	if g.pending == nil {
		return errors.New("nothing to answer")
	}
	if r.FastStep && r.ToggleStep {
		return errors.New("a fast step and a plain one")
	}
	ev := *g.pending
	g.pending = nil
	if r.ToggleStep {
		g.stepping = !g.stepping
	}
	if r.SwitchView {
		g.view = r.View
	}
	if r.FastStep {
		g.fast, g.fastView = true, r.StepView
	}
	if r.Emulate {
		g.emulate = true
	}
	if r.Reinject {
		if ev.Kind != driver.EventBreakpoint {
			return errors.New("nothing to reinject")
		}
		g.ownInt3++
		g.pc++ // its handler, for all the fake cares
	}
	return nil
}

func (g *fakeGuest) Flush() error { defer g.lock()(); return g.op("flush") }
func (g *fakeGuest) Full() uint64 { return 0 }

func (g *fakeGuest) SetAccess(v driver.View, gfn uint64, a driver.Access) error {
	defer g.lock()()
	if err := g.op("access"); err != nil {
		return err
	}
	if g.frames[gfn] == nil || v != driver.HostView && !g.views[v] {
		return fmt.Errorf("no frame %#x in view %d", gfn, v)
	}
	g.access[frameIn{v, gfn}] = a
	return nil
}

func (g *fakeGuest) Access(v driver.View, gfn uint64) (driver.Access, error) {
	defer g.lock()()
	return g.access[frameIn{v, gfn}], nil
}

// toggle sets a switch of the hypervisor.
func (g *fakeGuest) toggle(name string, on bool, what *bool) error {
	defer g.lock()()
	if err := g.op(name); err != nil {
		return err
	}
	*what = on
	return nil
}

func (g *fakeGuest) EnableStep(on bool) error             { return g.toggle("step", on, &g.stepOn) }
func (g *fakeGuest) EnableCR3(on bool, _ uint64) error    { return g.toggle("cr3", on, &g.cr3On) }
func (g *fakeGuest) EnableBreakpoints(on bool) error      { return g.toggle("int3", on, &g.int3On) }
func (g *fakeGuest) EnableUnemulated(on bool) error       { return g.toggle("unemulated", on, &g.unemul) }
func (g *fakeGuest) EnableViews(on bool) error            { return g.toggle("views", on, &g.viewsOn) }
func (g *fakeGuest) CurrentView(int) (driver.View, error) { defer g.lock()(); return g.view, nil }
func (g *fakeGuest) StopStep(i int) error {
	defer g.lock()()
	if i == 0 {
		g.stepping, g.fast = false, false
	}
	return nil
}

func (g *fakeGuest) CreateView() (driver.View, error) {
	defer g.lock()()
	if err := g.op("create"); err != nil {
		return 0, err
	}
	g.views[1] = true
	return 1, nil
}

func (g *fakeGuest) DestroyView(v driver.View) error {
	defer g.lock()()
	if g.view == v || g.fast && g.fastView == v {
		return errors.New("busy")
	}
	delete(g.views, v)
	for f := range g.access {
		if f.view == v {
			delete(g.access, f)
		}
	}
	for f := range g.remap {
		if f.view == v {
			delete(g.remap, f)
		}
	}
	return nil
}

func (g *fakeGuest) SwitchAll(v driver.View) error {
	defer g.lock()()
	if err := g.op("switch"); err != nil {
		return err
	}
	g.view = v
	return nil
}

func (g *fakeGuest) SpareFrame() (uint64, error) { defer g.lock()(); return 0x9000, g.op("spare") }

func (g *fakeGuest) AddFrame(gfn uint64) error {
	defer g.lock()()
	if err := g.op("add"); err != nil {
		return err
	}
	g.frames[gfn], g.added[gfn] = &[4096]byte{}, true
	return nil
}

func (g *fakeGuest) RemoveFrame(gfn uint64) error {
	defer g.lock()()
	if !g.added[gfn] {
		return errors.New("no such frame was added")
	}
	delete(g.added, gfn)
	delete(g.frames, gfn)
	return nil
}

func (g *fakeGuest) Remap(v driver.View, from, to uint64) error {
	defer g.lock()()
	if err := g.op("remap"); err != nil {
		return err
	}
	g.remap[frameIn{v, from}] = to
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
	add(g.stepping || g.fast, "single-stepping")
	add(g.stepOn, "step events")
	add(g.int3On, "breakpoint events")
	add(g.cr3On, "CR3 events")
	add(g.unemul, "events of the emulator")
	for f, a := range g.access {
		add(a != driver.AccessRWX, fmt.Sprintf("a trap on frame %#x in view %d", f.gfn, f.view))
	}
	add(g.frames[trapGFN][trapVA&0xfff] != 0x55, "a breakpoint")
	add(len(g.added) != 0, "a frame")
	add(g.view != driver.HostView, "a view in use")
	add(len(g.views) != 0, "a view")
	add(g.viewsOn, "altp2m")
	add(g.pending != nil, "an unanswered event")
	if left != nil {
		return errors.New("left behind: " + strings.Join(left, ", "))
	}
	return nil
}

// RunQueue, Inspect and Callers make the guest its own kernel reader.
func (g *fakeGuest) RunQueue(cpu int, q *detect.RunQueue) bool {
	defer g.lock()()
	if *q = (detect.RunQueue{Switches: g.switches, Running: 1}); cpu > 0 {
		q.Switches = 7
	}
	return true
}

func (g *fakeGuest) Inspect(k *detect.Kernel) {
	defer g.lock()()
	if *k = (detect.Kernel{Panicking: -1}); g.panicked {
		k.Panicking = 0
	}
}

func (g *fakeGuest) Callers(names []string, _ uint64) []string { return names }
