package monitor

import (
	"testing"
	"time"

	"hangbench/monitor/detect"
	"hangbench/monitor/driver"
	"hangbench/monitor/trap"
)

// TestMayOpen: a shared trap stays closed until every vCPU has signalled, unless one
// of them has used four times its budget or is alone.
func TestMayOpen(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		vcpus []vcpuBudget
		want  bool
	}{
		{"alone and silent", []vcpuBudget{{used: DefaultPasses}}, true},
		{"one is silent", []vcpuBudget{{used: DefaultPasses, signalled: true}, {}}, false},
		{"the first is silent", []vcpuBudget{{}, {used: DefaultPasses, signalled: true}}, false},
		{"both have signalled", []vcpuBudget{{used: DefaultPasses, signalled: true}, {used: 1, signalled: true}}, true},
		{"one has used nearly too much", []vcpuBudget{{used: 4*DefaultPasses - 1, signalled: true}, {}}, false},
		{"one has used too much", []vcpuBudget{{used: 4 * DefaultPasses, signalled: true}, {}}, true},
		{"the silent one has used too much", []vcpuBudget{{signalled: true}, {used: 4 * DefaultPasses}}, true},
	} {
		b := &budget{passes: DefaultPasses, vcpus: tt.vcpus}
		if got := b.mayOpen(); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestExpect: a vCPU from which no signal is expected keeps no shared trap closed, and
// a signal is as good.
func TestExpect(t *testing.T) {
	t.Parallel()
	b := newBudget(2, 0, 0, 0)
	for i, step := range []struct {
		do   func()
		want bool
	}{
		{func() {}, false},
		{func() { b.signal(0) }, false},
		{func() { b.expect(1, false) }, true},
		{func() { b.expect(1, true) }, false},
		{func() { b.signal(1) }, true},
	} {
		if step.do(); b.mayOpen() != step.want {
			t.Errorf("step %d: %v, want %v", i, b.mayOpen(), step.want)
		}
	}
}

// TestExpectsSignal: no signal is expected of a vCPU that hangs, halts or is offline,
// until it may signal again.
func TestExpectsSignal(t *testing.T) {
	t.Parallel()
	var v vcpu
	running := &driver.VCPUState{Online: true}
	for i, tt := range []struct {
		state *driver.VCPUState
		queue *detect.RunQueue
		want  bool
	}{
		{running, &detect.RunQueue{Switches: 100}, true},
		{running, &detect.RunQueue{Switches: 101}, true},
		{running, &detect.RunQueue{Switches: 101}, false}, // hangs
		{running, nil, true},                              // not known
		{running, &detect.RunQueue{Switches: 101}, false},
		{running, &detect.RunQueue{Switches: 102}, true}, // goes on
		{&driver.VCPUState{Online: true, Blocked: true}, &detect.RunQueue{Switches: 110}, false},
		{&driver.VCPUState{}, &detect.RunQueue{Switches: 120}, false},
		{running, &detect.RunQueue{Switches: 120}, false}, // just came back
		{running, &detect.RunQueue{Switches: 3}, true},
	} {
		if got := v.expectsSignal(tt.state, tt.queue); got != tt.want {
			t.Errorf("sample %d: %v, want %v", i, got, tt.want)
		}
	}
}

// TestCharge: stops that begin no pass use a sampling period up, the later the more
// often that has happened. A new pass starts over.
func TestCharge(t *testing.T) {
	t.Parallel()
	b := newBudget(2, 2, 4*trap.LongPass, 0)
	// period returns the number of stops until the period of vCPU 0 is used up.
	period := func() (n int) {
		b.newPeriod()
		for n = 1; b.charge(0, false); n++ {
			if n > 100*trap.LongPass {
				t.Fatal("no end")
			}
		}
		return n
	}
	for i, want := range []int{trap.LongPass, 2 * trap.LongPass, 4 * trap.LongPass, 4 * trap.LongPass} {
		if n := period(); n != want {
			t.Errorf("period %d ends after %d stops, want %d", i, n, want)
		}
	}
	b.newPeriod()
	if !b.charge(0, true) || b.charge(0, true) {
		t.Error("a period does not have two passes")
	}
	if n := period(); n != trap.LongPass {
		t.Errorf("after a pass began: %d stops, want %d", n, trap.LongPass)
	}
	// A pass that begins counts its own stops only.
	b.newPeriod()
	for range trap.LongPass - 1 {
		b.charge(1, false)
	}
	b.charge(1, true)
	for n := 1; b.charge(1, false); n++ {
		if n > trap.LongPass {
			t.Fatal("no end")
		}
		if n == trap.LongPass {
			t.Errorf("a pass has more than %d stops after its first", n)
		}
	}
	// What one vCPU uses costs another nothing, and passes beyond the budget stay used.
	b.newPeriod()
	for range 3 {
		b.charge(0, true)
	}
	if !b.charge(1, true) {
		t.Error("a vCPU pays for another")
	}
	for range 2 * trap.LongPass {
		b.charge(0, false)
	}
	if got := b.vcpus[0].used; got != 3 {
		t.Errorf("a long pass after 3 passes makes them %d", got)
	}
}

// TestBudgetDefaults: a budget without numbers has the documented ones, and a
// negative number of passes has no end.
func TestBudgetDefaults(t *testing.T) {
	t.Parallel()
	b := newBudget(1, 0, 0, 0)
	if b.passes != DefaultPasses || b.maxStops != trap.DefaultMaxStops || b.vcpus[0].limit != trap.LongPass {
		t.Errorf("%+v", b)
	}
	b = newBudget(1, -1, 0, 0)
	for range 10 * trap.LongPass {
		if !b.charge(0, true) || !b.charge(0, false) {
			t.Fatal("unlimited passes were used up")
		}
	}
}

// TestNewPeriod: a vCPU that is stuck and gets little time has new passes only when it
// has run for a fifth of a period. Until then its first stop ends its turn.
func TestNewPeriod(t *testing.T) {
	t.Parallel()
	const ms = uint64(time.Millisecond)
	b := newBudget(2, 2, 0, 100*time.Millisecond)
	// stops is how often the trap stops vCPU 0 before it opens.
	stops := func() (n int) {
		for n = 1; b.charge(0, true); n++ {
		}
		return n
	}
	for i, tt := range []struct {
		ran   uint64 // by vCPU 0, in ms, at the end of the period
		stuck bool
		want  int
	}{
		{5, false, 2}, {10, true, 1}, {15, true, 1}, {20, true, 1},
		{24, true, 1},                // 19 ms since it had passes
		{25, true, 2}, {44, true, 1}, // 20 ms, and 19
		{45, true, 2}, {46, false, 2}, {47, true, 1}, {48, false, 2},
	} {
		b.observe(0, tt.ran*ms, tt.stuck)
		if b.newPeriod(); stops() != tt.want {
			t.Errorf("period %d: the trap opens too soon or too late, want stop %d", i, tt.want)
		}
	}
	// One that is held back for long does not open a trap for the others.
	for range 10 {
		b.observe(0, 49*ms, true)
		b.newPeriod()
		stops()
	}
	if b.mayOpen() {
		t.Error("the trap opens before vCPU 1 has signalled")
	}
	// Without a limit nothing changes.
	b = newBudget(1, -1, 0, 100*time.Millisecond)
	b.observe(0, 5*ms, true)
	if b.newPeriod(); !b.charge(0, true) {
		t.Error("a budget without a limit has one")
	}
}

// TestStuck: the session's samples say of a vCPU how long it has run, and whether it
// neither switches tasks nor halts.
func TestStuck(t *testing.T) {
	t.Parallel()
	m, err := trap.Find("exec-step")
	if err != nil {
		t.Fatal(err)
	}
	g := newFakeGuest()
	cfg := Config{Driver: g, Mechanism: m, Site: switchSite(), Kernel: g, Symbols: noNames{},
		Thresholds: detect.DefaultThresholds(), Sample: 100 * time.Millisecond, Now: g.now}
	s := newSession(cfg)
	blind := cfg
	blind.Kernel = nil
	unread := newSession(blind)
	running := driver.VCPUState{Online: true, Running: true}
	for i, tt := range []struct {
		state    driver.VCPUState
		signals  uint64
		switches uint64
		want     bool
	}{
		{running, 1, 101, false},
		{running, 1, 101, true},
		{driver.VCPUState{Online: true}, 1, 101, true}, // it waits for a physical CPU
		{driver.VCPUState{Online: true, Blocked: true}, 1, 101, false},
		{driver.VCPUState{}, 1, 101, false},
		{running, 2, 101, false},
		{running, 2, 102, false},
		{running, 2, 102, true},
	} {
		ran := uint64(i+1) * uint64(time.Millisecond)
		tt.state.CPUTimeNS = ran
		g.switches = tt.switches
		for _, of := range []*Session{s, unread} {
			of.states[0], of.vcpus[0].signals = tt.state, tt.signals
			if err := of.sampleVCPU(0, int64(i), true); err != nil {
				t.Fatal(err)
			}
		}
		if v := s.budget.vcpus[0]; v.stuck != tt.want || v.ranNS != ran {
			t.Errorf("sample %d: %+v, want stuck %v after %d ns", i, v, tt.want, ran)
		}
		if unread.budget.vcpus[0].stuck {
			t.Errorf("sample %d: a vCPU whose run queue nobody can read is stuck", i)
		}
	}
}
