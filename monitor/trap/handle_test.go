package trap

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"hangbench/monitor/driver"
)

// testHost is a session with its guest's ring. It notes what a trap does, as text.
type testHost struct {
	fakeHost
	calls   []string
	charge  bool // result of Charge
	mayOpen bool // result of MayOpen
	offline map[int]bool
	in      map[int]driver.View // the vCPUs' views, where not view
	view    driver.View         // of the other vCPUs
	access  map[uint64]driver.Access
	bytes   map[uint64]byte
	fail    string // the call that fails
}

// newTestHost is a host of two vCPUs whose site has both counters in frame 8.
func newTestHost() *testHost {
	return &testHost{
		fakeHost: fakeHost{vcpus: 2, site: Site{Symbol: "__switch_to_asm", VA: switchVA, GFN: 7,
			Counters: []Place{{GFN: 8, Offset: 0x40}, {GFN: 8, Offset: 0x80}}}},
		charge: true, mayOpen: true,
		access: map[uint64]driver.Access{}, bytes: map[uint64]byte{}, in: map[int]driver.View{},
	}
}

func (h *testHost) note(format string, args ...any) error {
	call := fmt.Sprintf(format, args...)
	h.calls = append(h.calls, call)
	if h.fail == call {
		return errors.New(call + " fails")
	}
	return nil
}

// noted returns the calls since the last time.
func (h *testHost) noted() string {
	s := strings.Join(h.calls, ", ")
	h.calls = nil
	return s
}

func (h *testHost) Ring() driver.Controls { return h }
func (h *testHost) Memory() driver.Memory { return h }
func (h *testHost) Online(vcpu int) bool  { return !h.offline[vcpu] }
func (h *testHost) Signal(vcpu int)       { h.note("signal %d", vcpu) }
func (h *testHost) MayOpen() bool         { return h.mayOpen }

func (h *testHost) Charge(vcpu int, start bool) bool {
	if start {
		h.note("pass %d", vcpu)
	} else {
		h.note("stop %d", vcpu)
	}
	return h.charge
}

var accessNames = map[driver.Access]string{driver.AccessRWX: "rwx", driver.AccessRW: "rw", driver.AccessRX: "rx",
	driver.AccessX: "x"}

func onOff(on bool) string { return map[bool]string{true: "on", false: "off"}[on] }

func (h *testHost) SetAccess(v driver.View, gfn uint64, a driver.Access) error {
	h.access[gfn] = a
	return h.note("frame %d in view %d: %s", gfn, v, accessNames[a])
}

func (h *testHost) Access(v driver.View, gfn uint64) (driver.Access, error) {
	return h.access[gfn], nil
}

func (h *testHost) EnableStep(on bool) error        { return h.note("steps %s", onOff(on)) }
func (h *testHost) StopStep(vcpu int) error         { return h.note("stop stepping %d", vcpu) }
func (h *testHost) EnableUnemulated(on bool) error  { return h.note("unemulated %s", onOff(on)) }
func (h *testHost) EnableBreakpoints(on bool) error { return h.note("breakpoints %s", onOff(on)) }
func (h *testHost) EnableViews(on bool) error       { return h.note("views %s", onOff(on)) }
func (h *testHost) DestroyView(v driver.View) error { return h.note("destroy %d", v) }
func (h *testHost) AddFrame(gfn uint64) error       { return h.note("add %d", gfn) }
func (h *testHost) RemoveFrame(gfn uint64) error    { return h.note("remove %d", gfn) }
func (h *testHost) SpareFrame() (uint64, error)     { return 9, nil }

func (h *testHost) EnableCR3(on bool, ignore uint64) error {
	return h.note("cr3 %s but for %#x", onOff(on), ignore)
}

func (h *testHost) CreateView() (driver.View, error) { return 1, h.note("create") }

func (h *testHost) SwitchAll(v driver.View) error {
	h.view = v
	return h.note("all in view %d", v)
}

func (h *testHost) CurrentView(vcpu int) (driver.View, error) {
	if v, ok := h.in[vcpu]; ok {
		return v, nil
	}
	if h.fail == "current view" {
		return 0, errors.New("current view fails")
	}
	return h.view, nil
}

func (h *testHost) Remap(v driver.View, from, to uint64) error {
	return h.note("view %d shows %d as %d", v, to, from)
}

// Memory is 0x55 everywhere, until it is written.

func (h *testHost) ReadPhysical(gpa uint64, b []byte) error {
	for i := range b {
		c, ok := h.bytes[gpa+uint64(i)]
		if !ok {
			c = 0x55
		}
		b[i] = c
	}
	return nil
}

func (h *testHost) WritePhysical(gpa uint64, b []byte) error {
	for i, c := range b {
		h.bytes[gpa+uint64(i)] = c
	}
	if len(b) == 1 {
		return h.note("write %#x to %#x", b[0], gpa)
	}
	return h.note("write %d bytes to %#x", len(b), gpa)
}

// text returns a response as text.
func text(r *driver.Response) string {
	var parts []string
	add := func(on bool, s string) {
		if on {
			parts = append(parts, s)
		}
	}
	add(r.ToggleStep, "toggle")
	add(r.SwitchView, fmt.Sprintf("view %d", r.View))
	add(r.FastStep, fmt.Sprintf("fast step to %d", r.StepView))
	add(r.Emulate, "emulate")
	add(r.Reinject, "reinject")
	return strings.Join(parts, ", ")
}

// act is one thing that happens to an armed trap, and what the trap does then.
type act struct {
	do    any  // an event, or the name of a call
	vcpu  int  // of an event
	spent bool // Charge says no
	keep  bool // MayOpen says no
	calls string
	says  string // the response
}

const (
	off     = 0xffffffff82000000 // not on the page
	onPage  = switchVA + 4
	other   = switchVA + 0x40 // where another function of the page begins
	bpGPA   = 7<<12 | switchVA&0xfff
	bpIn    = "write 0xcc to 0x71e0"
	bpOut   = "write 0x55 to 0x71e0"
	closed  = "frame 7 in view 0: rw"
	opened  = "frame 7 in view 0: rwx"
	release = "release"
)

func access(rip uint64) driver.Event {
	return driver.Event{Kind: driver.EventAccess, RIP: rip, GFN: 7, Execute: true}
}

func stepped(rip uint64) driver.Event { return driver.Event{Kind: driver.EventStep, RIP: rip} }

func write(gfn, offset uint64) driver.Event {
	return driver.Event{Kind: driver.EventAccess, RIP: off, GFN: gfn, Offset: offset, Write: true}
}

var (
	hitBreakpoint = driver.Event{Kind: driver.EventBreakpoint, RIP: switchVA}
	ownBreakpoint = driver.Event{Kind: driver.EventBreakpoint, RIP: off}
	wroteCR3      = driver.Event{Kind: driver.EventCR3, RIP: off}
	unemulated    = driver.Event{Kind: driver.EventUnemulated, RIP: onPage}
	nothing       = driver.Event{RIP: off}
)

// stepMechanism returns the acts that exec-step and int3-step share, with two vCPUs.
func stepMechanism(hit driver.Event, open, closed string) [][]act {
	pass := func(vcpu int) act {
		return act{do: hit, vcpu: vcpu, calls: fmt.Sprintf("signal %d, pass %d, %s", vcpu, vcpu, open), says: "toggle"}
	}
	last := func(vcpu int) act { return act{do: stepped(off), vcpu: vcpu, calls: closed, says: "toggle"} }
	leave := func(vcpu int) act {
		return act{do: hit, vcpu: vcpu, spent: true, calls: fmt.Sprintf("signal %d, pass %d, %s", vcpu, vcpu, open)}
	}
	return [][]act{
		// The last vCPU that steps closes the trap.
		{pass(0), pass(1), {do: stepped(off), vcpu: 0, says: "toggle"}, last(1), pass(1), last(1)},
		// Out of budget, and others have not signalled: it steps all the same.
		{{do: hit, spent: true, keep: true, calls: "signal 0, pass 0, " + open, says: "toggle"}, last(0)},
		// Out of budget: the trap stays open until it is armed again, once.
		{leave(0), {do: "rearm", calls: closed}, {do: "rearm"}},
		// A vCPU that steps does not close a trap that was left open.
		{pass(0), leave(1), {do: stepped(off), vcpu: 0, says: "toggle"}, {do: "rearm", calls: closed}},
		// It is armed again by the last vCPU that steps.
		{pass(0), leave(1), {do: "rearm"}, last(0)},
		// A step of somebody who does not step.
		{pass(0), {do: stepped(off), vcpu: 1}, last(0)},
		// A step that began before the trap was suspended.
		{pass(0), {do: "suspend", calls: open}, {do: "resume", calls: closed}, last(0),
			pass(0), pass(1), {do: stepped(off), vcpu: 1, says: "toggle"}, last(0)},
		{pass(0), {do: "suspend", calls: open}, {do: release, says: "toggle"}, {do: release}},
		// Suspended and resumed, it needs no arming.
		{leave(0), {do: "suspend", calls: open}, {do: "rearm"}, {do: "resume", calls: closed}, {do: "rearm"}},
		{leave(0), {do: "resume", calls: closed}, {do: "rearm"}},
		{{do: nothing}},
	}
}

// inTable fails if a mechanism is missing in a table of what each of them does.
func inTable[T any](t *testing.T, table map[string]T) {
	t.Helper()
	for _, m := range Mechanisms() {
		if _, ok := table[m.Name]; ok != m.Watches() {
			t.Errorf("%s is in the table: %v", m.Name, ok)
		}
	}
}

// TestHandle follows each mechanism from event to event.
func TestHandle(t *testing.T) {
	t.Parallel()
	fast := "view 0, fast step to 1"
	table := map[string][][]act{
		"poll": {{{do: access(switchVA)}, {do: "rearm"}, {do: release}}},
		"cr3": {{
			{do: wroteCR3, calls: "signal 0, pass 0"},
			{do: wroteCR3, vcpu: 1, spent: true, keep: true, calls: "signal 1, pass 1"},
			{do: "rearm"},
			{do: wroteCR3, vcpu: 1, spent: true, calls: "signal 1, pass 1, cr3 off but for 0x1fff"},
			{do: wroteCR3, vcpu: 0, spent: true, calls: "signal 0, pass 0"}, // it was on its way already
			{do: "rearm", calls: "cr3 on but for 0x1fff"},
			{do: "rearm"},
			{do: access(switchVA)},
			{do: release},
		}},
		"exec-step": append(stepMechanism(access(switchVA), opened, closed),
			[]act{ // the rest of the page: no signal, and it is stepped off
				{do: access(onPage), calls: "pass 0, " + opened, says: "toggle"},
				{do: stepped(onPage + 4)},
				{do: stepped(off), calls: closed, says: "toggle"},
			},
			[]act{ // a pass that shows as a step
				{do: access(onPage), calls: "pass 0, " + opened, says: "toggle"},
				{do: stepped(switchVA), calls: "signal 0"},
				{do: stepped(off), calls: closed, says: "toggle"},
			},
			[]act{ // twice at the page before its step: one stepper
				{do: access(onPage), calls: "pass 0, " + opened, says: "toggle"},
				{do: access(onPage), calls: "pass 0, " + opened},
				{do: stepped(off), calls: closed, says: "toggle"},
			}),
		"exec-emulate": {{
			{do: access(switchVA), calls: "signal 0, pass 0", says: "emulate"},
			{do: access(onPage), calls: "stop 0", says: "emulate"},
			{do: access(other), calls: "pass 0", says: "emulate"},
			{do: access(onPage), spent: true, keep: true, calls: "stop 0", says: "emulate"},
			{do: unemulated, calls: opened, says: "toggle"},
			{do: stepped(onPage), calls: closed, says: "toggle"},
			{do: access(onPage), spent: true, calls: "stop 0, " + opened},
			{do: "rearm", calls: closed},
			{do: nothing},
		}},
		"exec-altp2m": {{
			{do: access(switchVA), calls: "signal 0, pass 0", says: "toggle, view 0"},
			{do: stepped(onPage)},
			{do: stepped(off), says: "toggle, view 1"},
			{do: access(onPage), calls: "pass 0", says: "toggle, view 0"},
			{do: stepped(switchVA), calls: "signal 0"},
			{do: "rearm"},
			{do: stepped(off), says: "toggle, view 1"},
			{do: access(onPage), vcpu: 1, spent: true, keep: true, calls: "pass 1", says: "view 0"},
			{do: "rearm", calls: "all in view 1"},
			{do: "rearm"},
			{do: access(switchVA), calls: "signal 0, pass 0", says: "toggle, view 0"},
			{do: "suspend", calls: "all in view 0"},
			{do: release, says: "toggle, view 0"},
			{do: release, vcpu: 1, says: "view 0"},
			{do: "resume", calls: "all in view 1"},
			{do: nothing},
		}, {
			{do: access(onPage), spent: true, calls: "pass 0", says: "view 0"},
			{do: "suspend", calls: "all in view 0"},
			{do: "rearm"},
		}},
		"exec-altp2m-fast": {{
			{do: access(switchVA), calls: "signal 0, pass 0", says: fast},
			{do: access(onPage), calls: "stop 0", says: fast},
			{do: access(other), vcpu: 1, calls: "pass 1", says: fast},
			{do: access(onPage), spent: true, keep: true, calls: "stop 0", says: "view 0"},
			{do: "rearm", calls: "all in view 1"},
			{do: "rearm"},
			{do: stepped(switchVA)},
			{do: release, says: "view 0"},
		}},
		"int3-step": append(stepMechanism(hitBreakpoint, bpOut, bpIn),
			[]act{
				{do: ownBreakpoint, says: "reinject"},
				{do: "suspend", calls: bpOut},
				{do: "release own breakpoint", says: "reinject"},
				{do: "release breakpoint"},
				{do: "release step"},
			}),
		"int3-altp2m": {{
			{do: hitBreakpoint, calls: "signal 0, pass 0", says: fast},
			{do: ownBreakpoint, says: "reinject"},
			{do: hitBreakpoint, vcpu: 1, spent: true, calls: "signal 1, pass 1", says: "view 0"},
			{do: "rearm", calls: "all in view 1"},
			{do: driver.Event{Kind: driver.EventAccess, GFN: 7, RIP: off}, calls: "stop 0", says: fast}, // it reads the page
			{do: write(7, 1), says: "toggle, view 0"},
			{do: stepped(off), calls: "write 4096 bytes to 0x9000", says: "toggle, view 1"},
			{do: nothing},
			{do: "release own breakpoint", says: "view 0, reinject"},
			{do: "release breakpoint", says: "view 0"},
			{do: "release step", says: "view 0"},
		}},
		"write-altp2m": {{
			{do: write(8, 0x40), calls: "signal 0, pass 0", says: fast},
			{do: write(8, 0x80), calls: "signal 1, pass 0", says: fast}, // on behalf of vCPU 1
			{do: write(8, 0x48), calls: "stop 0", says: fast},
			{do: write(9, 0x40), calls: "stop 0", says: fast},
			{do: write(8, 0x80), vcpu: 1, spent: true, calls: "signal 1, pass 1", says: "view 0"},
			{do: write(8, 0xc0), calls: "stop 0", says: fast}, // the counter of a CPU that the guest does not have
			{do: stepped(off)},
		}},
	}
	inTable(t, table)
	for name, runs := range table {
		m, err := Find(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, run := range runs {
			t.Run(fmt.Sprintf("%s/%d", name, i), func(t *testing.T) {
				t.Parallel()
				h := newTestHost()
				if name == "write-altp2m" {
					h.site.Counters = append(h.site.Counters, Place{GFN: 8, Offset: 0xc0})
				}
				tr := m.New(h)
				if _, err := tr.Plan(); err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(tr.Arm(), tr.Check()); err != nil {
					t.Fatal(err)
				}
				h.noted()
				for j, a := range run {
					says, err := h.apply(tr, a)
					if calls := h.noted(); err != nil || calls != a.calls || says != a.says {
						t.Fatalf("act %d, %+v:\ncalls %q, response %q, %v\nwant  %q, response %q",
							j, a.do, calls, says, err, a.calls, a.says)
					}
				}
			})
		}
	}
}

// apply does one thing to a trap and returns the response as text.
func (h *testHost) apply(tr Trap, a act) (string, error) {
	h.charge, h.mayOpen = !a.spent, !a.keep
	var r driver.Response
	switch do := a.do.(type) {
	case driver.Event:
		do.VCPU = a.vcpu
		err := tr.Handle(&do, &r)
		return text(&r), err
	case string:
		ev := driver.Event{Kind: driver.EventAccess, VCPU: a.vcpu, RIP: off}
		switch do {
		case "rearm":
			return "", tr.Rearm()
		case "suspend":
			return "", tr.(Suspender).Suspend()
		case "resume":
			return "", tr.(Suspender).Resume()
		case "release own breakpoint":
			ev.Kind = driver.EventBreakpoint
		case "release breakpoint":
			ev.Kind, ev.RIP = driver.EventBreakpoint, switchVA
		case "release step":
			ev.Kind = driver.EventStep
		}
		tr.Release(&ev, &r)
	}
	return text(&r), nil
}

// TestArm: what each mechanism sets, in which order, and removes again.
func TestArm(t *testing.T) {
	t.Parallel()
	stop := "stop stepping 0, stop stepping 1, steps off"
	views := "views on, create, steps on"
	noViews := stop + ", all in view 0, destroy 1, views off"
	table := map[string][2]string{
		"poll":             {"", ""},
		"cr3":              {"cr3 on but for 0x1fff", "cr3 off but for 0x1fff"},
		"exec-step":        {"steps on, " + closed, opened + ", " + stop},
		"exec-emulate":     {"unemulated on, steps on, " + closed, opened + ", " + stop + ", unemulated off"},
		"exec-altp2m":      {views + ", frame 7 in view 1: rw, all in view 1", noViews},
		"exec-altp2m-fast": {views + ", frame 7 in view 1: rw, all in view 1", noViews},
		"int3-step":        {"steps on, breakpoints on, " + bpIn, bpOut + ", breakpoints off, " + stop},
		"int3-altp2m": {"add 9, write 4096 bytes to 0x9000, breakpoints on, " + views + ", view 1 shows 9 as 7, " +
			"frame 7 in view 1: x, all in view 1", noViews + ", breakpoints off, remove 9"},
		"write-altp2m": {views + ", frame 8 in view 1: rx, frame 8 in view 1: rx, all in view 1", noViews},
	}
	inTable(t, table)
	for name, want := range table {
		m, err := Find(name)
		if err != nil {
			t.Fatal(err)
		}
		h := newTestHost()
		tr := m.New(h)
		if _, err := tr.Plan(); err != nil {
			t.Fatal(err)
		}
		if err := tr.Arm(); err != nil {
			t.Fatal(err)
		}
		armed := h.noted()
		if err := tr.Check(); err != nil {
			t.Errorf("%s is not armed: %v", name, err)
		}
		if err := tr.Disarm(); err != nil {
			t.Fatal(err)
		}
		if disarmed := h.noted(); armed != want[0] || disarmed != want[1] {
			t.Errorf("%s:\narmed    %q\nwant     %q\ndisarmed %q\nwant     %q", name, armed, want[0], disarmed, want[1])
		}
		// Once more, as after a failure to arm: nothing that must not be done twice.
		if err := tr.Disarm(); err != nil {
			t.Error(err)
		}
		if again := h.noted(); strings.Contains(again, "remove") || strings.Contains(again, "destroy") ||
			strings.Contains(again, "cr3") || strings.Contains(again, "views") {
			t.Errorf("%s is disarmed twice: %q", name, again)
		}
	}
}

// TestPlan: what a mechanism is going to change in the guest is in its plan.
func TestPlan(t *testing.T) {
	t.Parallel()
	table := map[string]string{
		"poll": "{}", "cr3": "{}", "exec-altp2m": "{}", "exec-altp2m-fast": "{}", "write-altp2m": "{}",
		"exec-step": "{restricted 7}", "exec-emulate": "{restricted 7}",
		"int3-step": "{patched 0x71e0 from 0x55 to 0xcc}", "int3-altp2m": "{added 9}",
	}
	inTable(t, table)
	for name, want := range table {
		m, err := Find(name)
		if err != nil {
			t.Fatal(err)
		}
		c, err := m.New(newTestHost()).Plan()
		if err != nil {
			t.Fatal(err)
		}
		var parts []string
		for _, gfn := range c.Restricted {
			parts = append(parts, fmt.Sprintf("restricted %d", gfn))
		}
		for _, p := range c.Patched {
			parts = append(parts, fmt.Sprintf("patched %#x from %#x to %#x", p.GPA, p.Original, p.Patched))
		}
		for _, gfn := range c.Added {
			parts = append(parts, fmt.Sprintf("added %d", gfn))
		}
		if got := "{" + strings.Join(parts, " ") + "}"; got != want {
			t.Errorf("%s plans %s, want %s", name, got, want)
		}
	}
}

// TestCheck: a trap that is not set as it should be is noticed.
func TestCheck(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, mechanism string
		change          func(h *testHost)
		says            string // part of the error; empty for none
	}{
		{"open page", "exec-step", func(h *testHost) { h.access[7] = driver.AccessRWX },
			"access of frame 0x7 in view 0 is 0, not 1"},
		{"open page in the view", "exec-altp2m", func(h *testHost) { h.access[7] = driver.AccessRWX },
			"in view 1 is 0, not 1"},
		{"a vCPU elsewhere", "exec-altp2m-fast", func(h *testHost) { h.in[1] = 0 }, "vCPU 1 is in view 0, not 1"},
		{"an offline vCPU elsewhere", "exec-altp2m", func(h *testHost) { h.in[1] = 0; h.offline = map[int]bool{1: true} },
			""},
		{"a vCPU elsewhere, another offline", "exec-altp2m",
			func(h *testHost) { h.in[1] = 0; h.offline = map[int]bool{0: true} }, "vCPU 1 is in view 0, not 1"},
		{"views that cannot be read", "exec-altp2m", func(h *testHost) { h.fail = "current view" }, "current view fails"},
		{"no breakpoint", "int3-step", func(h *testHost) { h.bytes[bpGPA] = 0x55 }, "byte 0x55 at 0x71e0, not 0xcc"},
		{"no breakpoint in the copy", "int3-altp2m", func(h *testHost) { h.bytes[9<<12|switchVA&0xfff] = 0x55 }, "not 0xcc"},
		{"a breakpoint in the original", "int3-altp2m", func(h *testHost) { h.bytes[bpGPA] = 0xcc }, "not 0x55"},
		{"the copy can be read", "int3-altp2m", func(h *testHost) { h.access[7] = driver.AccessRX }, "is 2, not 3"},
		{"writable counters", "write-altp2m", func(h *testHost) { h.access[8] = driver.AccessRWX }, "frame 0x8"},
	} {
		m, err := Find(tc.mechanism)
		if err != nil {
			t.Fatal(err)
		}
		h := newTestHost()
		tr := m.New(h)
		if _, err := tr.Plan(); err != nil {
			t.Fatal(err)
		}
		if err := tr.Arm(); err != nil {
			t.Fatal(err)
		}
		tc.change(h)
		err = tr.Check()
		if tc.says == "" && err != nil || tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.says)
		}
	}
}
