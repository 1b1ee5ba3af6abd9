package monitor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Mechanism is how a session learns of the guest's task switches.
type Mechanism struct {
	Name  string
	Traps string // what is trapped
	Miss  string // what it can miss
	Needs string // what it needs of the host
	Views bool   // uses altp2m
	new   func(s *Session) mechanism
}

// Watches reports whether the mechanism attaches a monitor at all.
func (m Mechanism) Watches() bool { return m.new != nil }

// mechanism is an armed Mechanism. Its methods run on the session's thread.
type mechanism interface {
	// arm sets the trap. The guest is paused.
	arm() error
	// armed proves that the trap is set.
	armed() error
	// handle answers an event.
	handle(ev *Event, r *Response) error
	// rearm sets the trap again where it was left open because a vCPU had used up
	// its passes. It is called once a sampling period.
	rearm() error
	// release answers an event while the session lets go: no trap, no step, view 0.
	release(ev *Event, r *Response)
	// disarm takes the trap back. The guest is paused and no event is open.
	disarm() error
}

// Mechanisms returns every mechanism, in the order in which tables list them.
func Mechanisms() []Mechanism {
	return []Mechanism{
		{
			Name:  "none",
			Traps: "nothing: no monitor is attached",
			Miss:  "every hang",
			Needs: "nothing",
		},
		{
			Name:  "exec-step",
			Traps: "execution of the page that holds the scheduler's switch function; the one host view is opened for all vCPUs while one of them steps off the page",
			Miss:  "switches of other vCPUs during a step; switches past the passes of a sampling period",
			Needs: "EPT, mem_access, monitor trap flag",
			new:   func(s *Session) mechanism { return &execStep{s: s} },
		},
		{
			Name:  "exec-altp2m",
			Traps: "execution of the page that holds the scheduler's switch function, in a view of its own; a vCPU steps off the page in view 0",
			Miss:  "switches past the passes of a sampling period",
			Needs: "EPT, mem_access, monitor trap flag, Xen booted with altp2m=1, guest with altp2m=\"external\"; on Xen 4.20 also hap_2mb=0 hap_1gb=0",
			Views: true,
			new:   func(s *Session) mechanism { return &execAltp2m{s: s} },
		},
	}
}

// FindMechanism returns the mechanism of that name.
func FindMechanism(name string) (Mechanism, error) {
	all := Mechanisms()
	i := slices.IndexFunc(all, func(m Mechanism) bool { return m.Name == name })
	if i < 0 {
		var names []string
		for _, m := range all {
			names = append(names, m.Name)
		}
		return Mechanism{}, fmt.Errorf("there is no mechanism %q; there are %s", name, strings.Join(names, ", "))
	}
	return all[i], nil
}

// execStep takes execute permission off the trapped page in the host view. A
// vCPU that touches it is single-stepped with the permission given back until
// it leaves the page.
type execStep struct {
	s    *Session
	open bool // left open until the next sampling period
}

func (m *execStep) arm() error {
	if err := m.s.ring.EnableStep(true); err != nil {
		return err
	}
	return m.s.ring.SetAccess(HostView, m.s.trap.GFN, AccessRW)
}

func (m *execStep) armed() error { return m.s.checkAccess(HostView, AccessRW) }

func (m *execStep) handle(ev *Event, r *Response) error {
	switch ev.Kind {
	case EventAccess:
		if m.s.pass(ev.VCPU) {
			m.s.step(ev.VCPU, true, r)
		} else {
			m.open = true
		}
		return m.s.ring.SetAccess(HostView, m.s.trap.GFN, AccessRWX)
	case EventStep:
		if m.s.onPage(ev.RIP) {
			return nil // go on stepping: cheaper than a violation for each instruction
		}
		m.s.step(ev.VCPU, false, r)
		if m.open {
			return nil
		}
		return m.s.ring.SetAccess(HostView, m.s.trap.GFN, AccessRW)
	}
	return nil
}

func (m *execStep) rearm() error {
	if !m.open {
		return nil
	}
	m.open = false
	return m.s.ring.SetAccess(HostView, m.s.trap.GFN, AccessRW)
}

func (m *execStep) release(ev *Event, r *Response) { m.s.step(ev.VCPU, false, r) }

func (m *execStep) disarm() error {
	return errors.Join(m.s.ring.SetAccess(HostView, m.s.trap.GFN, AccessRWX), m.s.stopSteps())
}

// execAltp2m takes execute permission off the trapped page in a view of its
// own. A vCPU that touches it moves to the host view, steps off the page there,
// and comes back: other vCPUs stay in the trapped view all the while.
type execAltp2m struct {
	s    *Session
	on   bool // altp2m is on
	open bool // some vCPU was left in the host view until the next sampling period
	view View
}

func (m *execAltp2m) arm() error {
	if err := m.s.ring.EnableViews(true); err != nil {
		return err
	}
	m.on = true
	v, err := m.s.ring.CreateView()
	if err != nil {
		return err
	}
	m.view = v
	if err := m.s.ring.EnableStep(true); err != nil {
		return err
	}
	if err := m.s.ring.SetAccess(m.view, m.s.trap.GFN, AccessRW); err != nil {
		return err
	}
	return m.s.ring.SwitchAll(m.view)
}

func (m *execAltp2m) armed() error { return m.s.checkAccess(m.view, AccessRW) }

func (m *execAltp2m) handle(ev *Event, r *Response) error {
	switch ev.Kind {
	case EventAccess:
		r.SwitchView, r.View = true, HostView
		if m.s.pass(ev.VCPU) {
			m.s.step(ev.VCPU, true, r)
		} else {
			m.open = true
		}
	case EventStep:
		if m.s.onPage(ev.RIP) {
			return nil
		}
		m.s.step(ev.VCPU, false, r)
		r.SwitchView, r.View = true, m.view
	}
	return nil
}

func (m *execAltp2m) rearm() error {
	if !m.open {
		return nil
	}
	m.open = false
	// A vCPU in the middle of its steps comes along; it traps once more.
	return m.s.ring.SwitchAll(m.view)
}

func (m *execAltp2m) release(ev *Event, r *Response) {
	r.SwitchView, r.View = true, HostView
	m.s.step(ev.VCPU, false, r)
}

func (m *execAltp2m) disarm() error {
	if !m.on {
		return m.s.stopSteps()
	}
	err := errors.Join(m.s.ring.SwitchAll(HostView), m.s.stopSteps())
	if m.view != HostView {
		err = errors.Join(err, m.s.ring.DestroyView(m.view))
		m.view = HostView
	}
	m.on = false
	// Turning altp2m off also frees a view that could not be destroyed.
	return errors.Join(err, m.s.ring.EnableViews(false))
}
