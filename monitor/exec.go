package monitor

import "errors"

// execStep takes execute permission off the trapped page in the host view. A
// vCPU that touches it is single-stepped with the permission given back until
// it leaves the page.
type execStep struct {
	s        *Session
	open     bool // left open until the next sampling period
	steppers int  // vCPUs that step with the page open
}

func (m *execStep) plan() (Changes, error) {
	return Changes{Restricted: []uint64{m.s.trap.GFN}}, nil
}

func (m *execStep) arm() error {
	if err := m.s.ring.EnableStep(true); err != nil {
		return err
	}
	return m.close()
}

func (m *execStep) armed() error { return m.s.checkAccess(HostView, m.s.trap.GFN, AccessRW) }

// close takes execute permission off the page.
func (m *execStep) close() error {
	return m.s.ring.SetAccess(HostView, m.s.trap.GFN, AccessRW)
}

// let gives it back, and has the vCPU step if it is to be closed again soon.
func (m *execStep) let(ev *Event, r *Response, more bool) error {
	if more {
		if !m.s.stepping[ev.VCPU] {
			m.steppers++
		}
		m.s.step(ev.VCPU, true, r)
	} else {
		m.open = true
	}
	return m.s.ring.SetAccess(HostView, m.s.trap.GFN, AccessRWX)
}

func (m *execStep) handle(ev *Event, r *Response) error {
	if m.s.atTrap(ev) {
		m.s.signal(ev.VCPU)
	}
	switch ev.Kind {
	case EventAccess:
		return m.let(ev, r, m.s.spend(ev.VCPU, true) || !m.s.heardAll())
	case EventStep:
		if m.s.onPage(ev.RIP) {
			return nil // go on stepping: cheaper than a violation for each instruction
		}
		return m.stepped(ev, r)
	}
	return nil
}

// stepped ends the steps of a vCPU, and closes the page if it was the last.
func (m *execStep) stepped(ev *Event, r *Response) error {
	if m.s.stepping[ev.VCPU] && m.steppers > 0 { // none after a probe
		m.steppers--
	}
	m.s.step(ev.VCPU, false, r)
	if m.open || m.steppers > 0 {
		return nil
	}
	return m.close()
}

func (m *execStep) rearm() error {
	if !m.open {
		return nil
	}
	m.open = false
	if m.steppers > 0 {
		return nil // the last of them closes it
	}
	return m.close()
}

// probe opens the page for the time until the next sample, or closes it.
func (m *execStep) probe(host bool) error {
	m.open, m.steppers = false, 0
	if host {
		return m.s.ring.SetAccess(HostView, m.s.trap.GFN, AccessRWX)
	}
	return m.close()
}

func (m *execStep) release(ev *Event, r *Response) { m.s.step(ev.VCPU, false, r) }

func (m *execStep) disarm() error {
	return errors.Join(m.s.ring.SetAccess(HostView, m.s.trap.GFN, AccessRWX), m.s.stopSteps())
}

// execEmulate restricts the page as execStep does and has Xen emulate each
// instruction on it. One that Xen cannot emulate is stepped.
type execEmulate struct{ execStep }

func (m *execEmulate) arm() error {
	if err := m.s.ring.EnableUnemulated(true); err != nil {
		return err
	}
	return m.execStep.arm()
}

func (m *execEmulate) handle(ev *Event, r *Response) error {
	switch ev.Kind {
	case EventAccess:
		if m.s.atTrap(ev) {
			m.s.signal(ev.VCPU)
		}
		if m.s.spend(ev.VCPU, m.s.begins(ev)) || !m.s.heardAll() {
			r.Emulate = true
			return nil
		}
		return m.let(ev, r, false)
	case EventUnemulated:
		return m.let(ev, r, true)
	case EventStep:
		return m.stepped(ev, r)
	}
	return nil
}

func (m *execEmulate) disarm() error {
	return errors.Join(m.execStep.disarm(), m.s.ring.EnableUnemulated(false))
}

// execAltp2m takes execute permission off the trapped page in a view of its
// own. A vCPU that touches it moves to the host view, steps off the page there,
// and comes back.
type execAltp2m struct{ views }

func (m *execAltp2m) plan() (Changes, error) { return Changes{}, nil }

func (m *execAltp2m) arm() error   { return m.restrict(AccessRW, m.s.trap.GFN) }
func (m *execAltp2m) armed() error { return m.s.checkView(m.view, m.s.trap.GFN, AccessRW) }

func (m *execAltp2m) handle(ev *Event, r *Response) error {
	if m.s.atTrap(ev) {
		m.s.signal(ev.VCPU)
	}
	switch ev.Kind {
	case EventAccess:
		r.SwitchView, r.View = true, HostView
		if m.s.spend(ev.VCPU, true) {
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

// execAltp2mFast traps like execAltp2m. Xen executes each instruction of the page
// in the host view and returns to the trap's view by itself: one event for an
// instruction, and none for the step.
type execAltp2mFast struct{ views }

func (m *execAltp2mFast) plan() (Changes, error) { return Changes{}, nil }
func (m *execAltp2mFast) arm() error             { return m.restrict(AccessRW, m.s.trap.GFN) }
func (m *execAltp2mFast) armed() error           { return m.s.checkView(m.view, m.s.trap.GFN, AccessRW) }

func (m *execAltp2mFast) handle(ev *Event, r *Response) error {
	if ev.Kind != EventAccess {
		return nil
	}
	if m.s.atTrap(ev) {
		m.s.signal(ev.VCPU)
	}
	m.toHost(ev, r, m.s.begins(ev))
	return nil
}
