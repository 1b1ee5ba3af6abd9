package monitor

import "errors"

// views is the part that all mechanisms with altp2m have in common: one view of
// their own in which the trap lies, and view 0 in which there is none. Each vCPU
// is in one of them by itself, so that others never slip past a trap that one
// of them has to be let through.
type views struct {
	s    *Session
	on   bool // altp2m is on
	open bool // some vCPU was left in the host view until the next sampling period
	view View
}

// create turns altp2m on, makes the view and allows steps.
func (m *views) create() error {
	if err := m.s.ring.EnableViews(true); err != nil {
		return err
	}
	m.on = true
	v, err := m.s.ring.CreateView()
	if err != nil {
		return err
	}
	m.view = v
	return m.s.ring.EnableStep(true)
}

// restrict makes the view with so much access to the frames, and puts every vCPU
// into it.
func (m *views) restrict(a Access, gfns ...uint64) error {
	if err := m.create(); err != nil {
		return err
	}
	for _, gfn := range gfns {
		if err := m.s.ring.SetAccess(m.view, gfn, a); err != nil {
			return err
		}
	}
	return m.s.ring.SwitchAll(m.view)
}

// toHost sends the vCPU to view 0: for one instruction if it has passes left in
// this sampling period, else until the next. start is Session.spend's.
func (m *views) toHost(ev *Event, r *Response, start bool) {
	r.SwitchView, r.View = true, HostView
	if m.s.spend(ev.VCPU, start) {
		r.FastStep, r.StepView = true, m.view
	} else {
		m.open = true
	}
}

func (m *views) rearm() error {
	if !m.open {
		return nil
	}
	m.open = false
	// A vCPU in the middle of its steps comes along; it traps once more.
	return m.s.ring.SwitchAll(m.view)
}

func (m *views) release(ev *Event, r *Response) {
	r.SwitchView, r.View = true, HostView
	m.s.step(ev.VCPU, false, r)
}

func (m *views) disarm() error {
	// Steps first: a fast step in flight would put its vCPU back into the view.
	err := m.s.stopSteps()
	if !m.on {
		return err
	}
	err = errors.Join(err, m.s.ring.SwitchAll(HostView))
	if m.view != HostView {
		err = errors.Join(err, m.s.ring.DestroyView(m.view))
		m.view = HostView
	}
	m.on = false
	// Turning altp2m off also frees a view that could not be destroyed.
	return errors.Join(err, m.s.ring.EnableViews(false))
}

// probe puts all vCPUs in the host view for the time until the next sample, or
// back into the trap's.
func (m *views) probe(host bool) error {
	if host {
		m.open = false
		return m.s.ring.SwitchAll(HostView)
	}
	return m.s.ring.SwitchAll(m.view)
}
