package monitor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hangbench/monitor/detect"
	"hangbench/monitor/driver"
	"hangbench/monitor/trap"
)

type noNames struct{}

func (noNames) Function(uint64) (string, uint64, bool) { return "", 0, false }
func (noNames) Data(uint64) (string, bool)             { return "", false }

// switchSite is where the fake's kernel can be trapped.
func switchSite() trap.Site {
	return trap.Site{Symbol: "__switch_to_asm", VA: trapVA, GFN: trapGFN,
		Counters: []trap.Place{{GFN: counterGFN, Offset: counterOff}}}
}

// attachTo attaches a session to the guest. Each of change may change its Config.
func attachTo(g *fakeGuest, mechanism string, passes int, change ...func(*Config)) (*Session, error) {
	m, err := trap.Find(mechanism)
	if err != nil {
		return nil, err
	}
	site := switchSite()
	for i := range g.hung {
		site.Counters = append(site.Counters, trap.Place{GFN: counterGFN, Offset: 0x800 + 8*uint64(i)})
	}
	c := Config{Driver: g, Mechanism: m, Site: site, Kernel: g, Symbols: noNames{},
		Thresholds: detect.DefaultThresholds(), Sample: 5 * time.Millisecond, Passes: passes, Now: g.now}
	if m.Polls { // it waits by itself, in the test's time
		start := time.Now()
		c.Now = func() int64 { return int64(time.Since(start)) }
	}
	for _, f := range change {
		f(&c)
	}
	return Attach(c)
}

// sampled returns a change of a Config that counts observations, and a function that
// waits for that many.
func sampled(t *testing.T) (func(*Config), func(n int)) {
	samples := make(chan struct{}, 1)
	record := func(c *Config) {
		c.Record = func(*detect.Observation) {
			select {
			case samples <- struct{}{}:
			default:
			}
		}
	}
	return record, func(n int) {
		t.Helper()
		for range n {
			select {
			case <-samples:
			case <-time.After(10 * time.Second):
				t.Fatal("the session makes no observations")
			}
		}
	}
}

// finish waits until the guest has executed its script.
func (g *fakeGuest) finish(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Microsecond) {
		g.mu.Lock()
		done, pc := g.pc == len(g.script) && g.pending == nil, g.pc
		g.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the guest stands still at instruction %d of %d", pc, len(g.script))
		}
	}
}

// again makes the guest execute its script once more.
func (g *fakeGuest) again() {
	defer g.lock()()
	g.pc = 0
	g.runs++
}

// watching returns all mechanisms that attach a monitor.
func watching() []string {
	var names []string
	for _, m := range trap.Mechanisms() {
		if m.Watches() {
			names = append(names, m.Name)
		}
	}
	return names
}

// pass is one pass over the switch function, with all instructions that some mechanism
// takes for a signal.
var pass = []uint64{writeVA, otherVA, cr3VA, trapVA, trapVA + 4, trapVA + 8, offPage}

// TestSession: two passes over the switch function give two signals. They cost exactly
// the events of the mechanism, and nothing is left behind.
func TestSession(t *testing.T) {
	t.Parallel()
	for mech, want := range map[string]Counters{
		"poll":             {},
		"cr3":              {CR3: 2},
		"exec-step":        {Accesses: 2, Counts: Counts{Steps: 6}},
		"exec-emulate":     {Accesses: 6},
		"exec-altp2m":      {Accesses: 2, Counts: Counts{Steps: 6}},
		"exec-altp2m-fast": {Accesses: 6},
		"int3-step":        {Breakpoints: 2, Counts: Counts{Steps: 2}},
		"int3-altp2m":      {Breakpoints: 2},
		"write-altp2m":     {Accesses: 4},
	} {
		for _, serves := range []bool{false, true} {
			g := newFakeGuest(append(append([]uint64{userVA}, pass...), pass...)...)
			g.serves = serves
			s, err := attachTo(g, mech, -1)
			if err != nil {
				t.Fatal(err)
			}
			if mech == "poll" {
				g.mu.Lock()
				g.advance()
				g.mu.Unlock()
			}
			g.finish(t)
			c, err := s.Detach()
			if err != nil {
				t.Fatal(err)
			}
			want.Delivered = want.Accesses + want.Breakpoints + want.CR3
			want.Signals, want.Switches, want.Samples, want.Inspections = 2, 2, c.Samples, c.Inspections
			if c != want {
				t.Errorf("%s, called back %v: %+v, want %+v", mech, serves, c, want)
			}
			if err := g.clean(); err != nil {
				t.Errorf("%s, called back %v: %v", mech, serves, err)
			}
		}
	}
	if n := len(watching()); n != 9 {
		t.Errorf("%d mechanisms watch, 9 are in the table above", n)
	}
}

// TestPollOpensNoRing: a guest that is polled has no event ring, which would cost it.
func TestPollOpensNoRing(t *testing.T) {
	t.Parallel()
	g := newFakeGuest(pass...)
	g.fail = "listen"
	s, err := attachTo(g, "poll", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Detach(); err != nil {
		t.Error(err)
	}
}

// TestDeadGuestIsInspected: when a guest shuts down, its kernel is inspected at once.
func TestDeadGuestIsInspected(t *testing.T) {
	t.Parallel()
	for _, panicked := range []bool{false, true} {
		g := newFakeGuest(userVA)
		alive, dead := make(chan bool, 1), make(chan bool, 1)
		s, err := attachTo(g, "poll", 0, func(c *Config) {
			c.Inspect = time.Hour
			c.Record = func(o *detect.Observation) {
				c := alive
				if o.Domain.Shutdown != "" {
					c = dead
				}
				select {
				case c <- true:
				default:
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		<-alive
		g.mu.Lock()
		g.shutdown, g.panicked = "reboot", panicked
		g.mu.Unlock()
		<-dead
		if panicked {
			if v := <-s.Verdict(); v.Class != detect.ClassPanic {
				t.Errorf("a guest that panicked and rebooted: %+v", v)
			}
		}
		c, err := s.Detach()
		if err != nil {
			t.Fatal(err)
		}
		if c.Inspections != 2 {
			t.Errorf("panicked %v: %d inspections, want one at first and one at the end", panicked, c.Inspections)
		}
		select {
		case v := <-s.Verdict():
			t.Errorf("panicked %v: verdict %+v", panicked, v)
		default:
		}
	}
}

// TestGuestIsDestroyed: a session ends by itself when its guest is being destroyed,
// although calls fail then, and reports how the guest ended.
func TestGuestIsDestroyed(t *testing.T) {
	t.Parallel()
	for _, mech := range watching() {
		for _, fail := range []string{"", "pause", "domain"} {
			g := newFakeGuest(pass...)
			s, err := attachTo(g, mech, -1)
			if err != nil {
				t.Fatal(err)
			}
			g.mu.Lock()
			g.shutdown, g.dying, g.fail = "crash", true, fail
			g.mu.Unlock()
			<-s.Done()
			if _, err := s.Detach(); !errors.Is(err, ErrGone) {
				t.Errorf("%s, %q fails: %v, want that the guest is gone", mech, fail, err)
			}
			if fail == "domain" {
				continue // nothing was observed any more
			}
			select {
			case v := <-s.Verdict():
				if v.Class != detect.ClassPanic {
					t.Errorf("%s: verdict %+v", mech, v)
				}
			default:
				t.Errorf("%s: no verdict on a guest that crashed", mech)
			}
		}
	}
}

// TestGuestIsDestroyedMeanwhile: whichever call is under way when the guest is
// destroyed, the session says that the guest is gone, and how it ended.
func TestGuestIsDestroyedMeanwhile(t *testing.T) {
	t.Parallel()
	reached := map[string]bool{}
	for _, mech := range watching() {
		for _, call := range []string{"next", "flush", "access", "step", "switch", "registers", "write", "pause", "unpause"} {
			g := newFakeGuest(pass...)
			g.endless, g.stride = true, 1000
			g.serves = call == "flush" // only a ring that calls back flushes
			s, err := attachTo(g, mech, -1)
			if err != nil {
				t.Fatal(err)
			}
			g.mu.Lock()
			g.destroys = call
			g.mu.Unlock()
			select {
			case <-s.Done():
			case <-time.After(10 * time.Millisecond):
			}
			_, err = s.Detach()
			if g.dying != errors.Is(err, ErrGone) || strings.Contains(fmt.Sprint(err), "no such domain") {
				t.Errorf("%s, destroyed (%v) in %s: %v", mech, g.dying, call, err)
			}
			reached[call] = reached[call] || g.dying
		}
	}
	for call, ok := range reached {
		if !ok {
			t.Errorf("no mechanism made the call %s", call)
		}
	}
}

// TestPasses: a guest that switches all the time is stopped at most as often as the
// passes of a sampling period allow, and still signals in each period. That also holds
// when another vCPU hangs: a shared trap must not wait for it.
func TestPasses(t *testing.T) {
	t.Parallel()
	for _, mech := range watching() {
		for _, tt := range []struct{ passes, hung int }{{1, 0}, {3, 0}, {1, 1}, {3, 2}} {
			g := newFakeGuest(pass...)
			g.endless, g.stride, g.hung = true, 1000, tt.hung
			record, wait := sampled(t)
			s, err := attachTo(g, mech, tt.passes, record)
			if err != nil {
				t.Fatal(err)
			}
			wait(20)
			c, err := s.Detach()
			if err != nil {
				t.Fatal(err)
			}
			if err := g.clean(); err != nil {
				t.Errorf("%s: %v", mech, err)
			}
			// The fake's pass has up to three stops; a trap that all vCPUs share stays
			// until it was heard of, four times as many passes in the period in which the
			// others begin to hang.
			stops, signals := c.Accesses+c.Breakpoints+c.CR3, c.Signals
			if mech == "poll" {
				signals = c.Samples // its signals are the guest's own count
			}
			most := (c.Samples + 1) * uint64(tt.passes+1)
			if tt.hung > 0 {
				most += uint64(4 * tt.passes)
			}
			if stops > 3*most || signals > most || signals < c.Samples/2 {
				t.Errorf("%s, %d passes, %d vCPUs hung: %d stops and %d signals, want %d signals at most: %+v",
					mech, tt.passes,
					tt.hung, stops, signals, most, c)
			}
		}
	}
}

// TestDetachAnywhere: a session that detaches at any instant of an endless loop over all
// traps leaves nothing behind.
func TestDetachAnywhere(t *testing.T) {
	t.Parallel()
	script := slices.Concat(pass, []uint64{readVA, patchVA, ownInt3VA})
	for _, mech := range watching() {
		for i := range 30 {
			g := newFakeGuest(script...)
			g.endless, g.stride, g.serves = true, 1000, i%4 < 2
			s, err := attachTo(g, mech, 2*(i%2)-1)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(i*37) * time.Microsecond)
			g.mu.Lock()
			g.busy = true // an event may be open when the session detaches
			g.mu.Unlock()
			if _, err := s.Detach(); err != nil {
				t.Fatal(err)
			}
			if err := g.clean(); err != nil {
				t.Fatalf("%s, detach %d: %v", mech, i, err)
			}
		}
	}
}

// TestAttachFails: whichever step of attaching fails, nothing is left behind.
func TestAttachFails(t *testing.T) {
	t.Parallel()
	for mech, ops := range map[string][]string{
		"cr3":              {"listen", "cr3"},
		"exec-step":        {"listen", "step", "access"},
		"exec-emulate":     {"listen", "unemulated", "step", "access"},
		"exec-altp2m":      {"listen", "views", "create", "step", "access", "switch"},
		"exec-altp2m-fast": {"listen", "views", "create", "step", "access", "switch"},
		"int3-step":        {"listen", "step", "int3", "write"},
		"int3-altp2m": {"listen", "spare", "add", "write", "int3", "views", "create", "step", "remap", "access",
			"switch"},
		"write-altp2m": {"listen", "views", "create", "step", "access", "switch"},
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

// TestNotArmed: a trap that cannot be set is an error.
func TestNotArmed(t *testing.T) {
	t.Parallel()
	for _, mech := range []string{"poll", "write-altp2m"} {
		m, err := trap.Find(mech)
		if err != nil {
			t.Fatal(err)
		}
		g := newFakeGuest()
		if _, err := Attach(Config{Driver: g, Mechanism: m, Symbols: noNames{}, Sample: time.Second,
			Now: func() int64 { return 0 }}); err == nil {
			t.Errorf("%s attached to a guest whose kernel cannot be read", mech)
		}
		if err := g.clean(); err != nil {
			t.Errorf("%s: %v", mech, err)
		}
	}
	g := newFakeGuest()
	g.frames[trapGFN][trapVA&0xfff] = int3
	if _, err := attachTo(g, "int3-step", -1); err == nil || !strings.Contains(err.Error(), "recover") {
		t.Errorf("a breakpoint of somebody else: %v", err)
	}
}

// TestBreakpoints: the guest gets its own INT3. When the kernel patches the page of the
// breakpoint, the copy is patched too.
func TestBreakpoints(t *testing.T) {
	t.Parallel()
	for _, mech := range []string{"int3-step", "int3-altp2m"} {
		g := newFakeGuest(append([]uint64{ownInt3VA, readVA, patchVA}, pass...)...)
		s, err := attachTo(g, mech, -1)
		if err != nil {
			t.Fatal(err)
		}
		g.finish(t)
		if mech == "int3-altp2m" {
			g.mu.Lock()
			if shadow := g.frames[0x9000]; shadow == nil || shadow[1] != 1 || shadow[trapVA&0xfff] != int3 {
				t.Error("the shadow page is not what the kernel made of the original")
			}
			g.mu.Unlock()
		}
		c, err := s.Detach()
		if err != nil {
			t.Fatal(err)
		}
		if g.ownInt3 != 1 || c.Breakpoints != 2 || c.Signals != 1 {
			t.Errorf("%s: %d INT3 reached the guest, %+v", mech, g.ownInt3, c)
		}
		if err := g.clean(); err != nil {
			t.Errorf("%s: %v", mech, err)
		}
	}
}

// TestLivelock: a vCPU that the view holds up is noticed. The monitor removes its
// trap, says so and continues by polling.
func TestLivelock(t *testing.T) {
	t.Parallel()
	g := newFakeGuest(append([]uint64{userVA}, pass...)...)
	g.freeze = true
	s, err := attachTo(g, "exec-altp2m", -1)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case v := <-s.Verdict():
		checkLivelock(t, v)
	case <-time.After(10 * time.Second):
		t.Fatal("the livelock was not noticed")
	}
	g.finish(t)
	c, err := s.Detach()
	if err != nil {
		t.Fatal(err)
	}
	if c.BackedOut == "" || c.BackOutNS <= 0 {
		t.Errorf("the counters do not say that the monitor backed out, and how soon: %+v", c)
	}
	if a := s.Alarms(); len(a) != 1 || a[0].Class != detect.ClassMonitor || a[0].EndNS < a[0].StartNS {
		t.Errorf("alarms %+v: the trap was removed, so it is over", a)
	}
	if err := g.clean(); err != nil {
		t.Error(err)
	}
}

// TestLivelockOfHungGuest: the trap stays when a guest that hung by itself continues,
// although its registers stood still in the view and moved in the host's. It is removed
// from a guest that the view really holds up, also during an alarm.
func TestLivelockOfHungGuest(t *testing.T) {
	t.Parallel()
	for _, lasts := range []bool{false, true} {
		var script []uint64
		for range 2000 {
			script = append(script, pass...)
		}
		g := newFakeGuest(script...)
		g.freeze, g.stride = true, 1
		var s atomic.Pointer[Session]
		tried := make(chan struct{})
		once := sync.OnceFunc(func() { close(tried) })
		attached, err := attachTo(g, "exec-altp2m", -1, func(c *Config) {
			c.Record = func(*detect.Observation) {
				x := s.Load()
				if x == nil {
					return
				}
				x.alarms.mu.Lock()
				suspected := x.alarms.suspected
				x.alarms.mu.Unlock()
				if suspected {
					once()
					if !lasts { // the hang is over
						g.mu.Lock()
						g.freeze = false
						g.mu.Unlock()
					}
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		attached.alarms.mu.Lock()
		attached.alarms.list, attached.alarms.active = []Alarm{{Class: detect.ClassSpin, StartNS: 1}}, true
		attached.alarms.mu.Unlock()
		s.Store(attached)
		select {
		case <-tried:
		case <-time.After(10 * time.Second):
			t.Fatal("it was not tested whether it is the view")
		}
		if lasts {
			select {
			case v := <-attached.Verdict():
				checkLivelock(t, v)
			case <-time.After(10 * time.Second):
				t.Fatal("the livelock was not noticed")
			}
		}
		g.mu.Lock()
		g.stride = 0
		g.mu.Unlock()
		g.finish(t)
		c, err := attached.Detach()
		if err != nil {
			t.Fatal(err)
		}
		if (c.BackedOut != "") != lasts {
			t.Errorf("held up for good %v: backed out %q", lasts, c.BackedOut)
		}
		if err := g.clean(); err != nil {
			t.Error(err)
		}
	}
}

func checkLivelock(t *testing.T, v detect.Verdict) {
	t.Helper()
	if v.Class != detect.ClassMonitor || v.Scope != detect.Full || len(v.Evidence) != 2 ||
		!strings.Contains(v.Evidence[1], "removed its trap") {
		t.Errorf("verdict %+v", v)
	}
}

// removing returns all mechanisms whose answers must open the trap.
func opening() []string {
	var names []string
	for _, m := range trap.Mechanisms() {
		if m.Opens {
			names = append(names, m.Name)
		}
	}
	return names
}

// TestMishandle: a monitor that answers without opening its trap is found out. It
// removes its trap and reports that, and the guest continues. The repeated stops count
// as no signals.
func TestMishandle(t *testing.T) {
	t.Parallel()
	if got := len(opening()); got != 7 {
		t.Errorf("%d mechanisms have a trap that an answer must open, want 7: %v", got, opening())
	}
	for _, name := range opening() {
		t.Run(name, func(t *testing.T) {
			g := newFakeGuest(slices.Concat([]uint64{userVA}, pass, pass, pass)...)
			s, err := attachTo(g, name, -1)
			if err != nil {
				t.Fatal(err)
			}
			g.finish(t)
			if err := s.Mishandle(true); err != nil {
				t.Fatal(err)
			}
			g.again()
			select {
			case v := <-s.Verdict():
				checkLivelock(t, v)
			case <-time.After(10 * time.Second):
				t.Fatal("the livelock was not noticed")
			}
			g.finish(t)
			c, err := s.Detach()
			if err != nil {
				t.Fatal(err)
			}
			if c.BackedOut == "" || c.Signals > 6 {
				t.Errorf("%+v, want a monitor that backed out, and a signal for each of 6 passes at most", c)
			}
			if err := g.clean(); err != nil {
				t.Error(err)
			}
		})
	}
	for _, name := range []string{"cr3", "poll"} {
		s, err := attachTo(newFakeGuest(), name, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Mishandle(true); err == nil {
			t.Errorf("%s: nobody says that it cannot hold a guest up", name)
		}
		if _, err := s.Detach(); err != nil {
			t.Error(err)
		}
	}
}

// TestOwnLoopAtTrap: a guest's own loop of one instruction at the trap repeats the same
// event. That is not a livelock of the monitor. When the loop ends the trap is still set.
func TestOwnLoopAtTrap(t *testing.T) {
	t.Parallel()
	for _, name := range opening() {
		if name == "write-altp2m" { // traps no execution
			continue
		}
		t.Run(name, func(t *testing.T) {
			g := newFakeGuest(pass...)
			g.spins, g.stride = true, 10
			record, wait := sampled(t)
			s, err := attachTo(g, name, -1, record)
			if err != nil {
				t.Fatal(err)
			}
			wait(10 * (stillSamples + awaySamples))
			g.mu.Lock()
			g.spins = false
			g.mu.Unlock()
			g.finish(t)
			before := s.Signals()
			g.again()
			g.finish(t)
			c, err := s.Detach()
			if err != nil {
				t.Fatal(err)
			}
			if c.BackedOut != "" || c.Signals <= before {
				t.Errorf("%d signals before the next pass, %+v", before, c)
			}
			if err := g.clean(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestForeignRestriction: a restriction that a dead monitor left on another page is
// removed, and the guest continues.
func TestForeignRestriction(t *testing.T) {
	t.Parallel()
	g := newFakeGuest(foreignVA, foreignVA+4, 0x400000)
	g.access[frameIn{driver.HostView, foreignGFN}] = driver.AccessRW
	s, err := attachTo(g, "exec-step", -1)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Microsecond) {
		g.mu.Lock()
		done := g.pc == len(g.script)
		g.mu.Unlock()
		if done {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the guest meets the same violation forever")
		}
	}
	c, err := s.Detach()
	if err != nil {
		t.Fatal(err)
	}
	if c.Strange != 1 || c.Accesses != 0 || c.Signals != 0 {
		t.Errorf("%+v, want one strange event and nothing else", c)
	}
	if err := g.clean(); err != nil {
		t.Error(err)
	}
}

// TestAttachTellsAll: when attaching fails and detaching fails too, the error has both.
func TestAttachTellsAll(t *testing.T) {
	t.Parallel()
	g := newFakeGuest()
	g.fail, g.failNext = "access", "close"
	_, err := attachTo(g, "exec-step", -1)
	if err == nil || !strings.Contains(err.Error(), "access fails") || !strings.Contains(err.Error(), "close fails") {
		t.Errorf("Attach: %v", err)
	}
}

// TestLoopFails: a driver that fails during the session ends it. Nothing is left behind,
// and Detach returns the error.
func TestLoopFails(t *testing.T) {
	t.Parallel()
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

func TestAttachNone(t *testing.T) {
	t.Parallel()
	if _, err := attachTo(newFakeGuest(), "none", 0); err == nil {
		t.Error("none was attached")
	}
}
