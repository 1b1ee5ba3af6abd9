package trap

import (
	"errors"

	"hangbench/monitor/driver"
)

// views is what all mechanisms with altp2m share: one view of their own, in which
// the trap lies, and view 0, in which there is none. Each vCPU is in one of them,
// whatever the others do. So no vCPU can slip past the trap while another passes it.
type views struct {
	steps
	enabled bool // altp2m is on
	open    bool // some vCPU was left in the host view until the next sampling period
	view    driver.View
}

func newViews(h Host) views { return views{steps: newSteps(h)} }

// create turns altp2m on, makes the view and allows steps.
func (m *views) create() error {
	if err := m.Ring().EnableViews(true); err != nil {
		return err
	}
	m.enabled = true
	v, err := m.Ring().CreateView()
	if err != nil {
		return err
	}
	m.view = v
	return m.Ring().EnableStep(true)
}

// restrict makes the view, gives it that access to the frames, and puts every vCPU
// in it.
func (m *views) restrict(a driver.Access, gfns ...uint64) error {
	if err := m.create(); err != nil {
		return err
	}
	for _, gfn := range gfns {
		if err := m.Ring().SetAccess(m.view, gfn, a); err != nil {
			return err
		}
	}
	return m.Ring().SwitchAll(m.view)
}

// toHost puts the vCPU in view 0: for one instruction if its budget for this
// sampling period allows another stop, else until the next period. start is that of
// Host.Charge.
func (m *views) toHost(ev *driver.Event, r *driver.Response, start bool) {
	r.SwitchView, r.View = true, driver.HostView
	if m.Charge(ev.VCPU, start) {
		r.FastStep, r.StepView = true, m.view
	} else {
		m.open = true
	}
}

func (m *views) Rearm() error {
	if !m.open {
		return nil
	}
	m.open = false
	// A vCPU in the middle of its steps is switched too; it traps once more.
	return m.Ring().SwitchAll(m.view)
}

func (m *views) Release(ev *driver.Event, r *driver.Response) {
	r.SwitchView, r.View = true, driver.HostView
	m.step(ev.VCPU, false, r)
}

func (m *views) Disarm() error {
	// Steps end first: a fast step in flight would put its vCPU back in the view.
	err := m.stopSteps()
	if !m.enabled {
		return err
	}
	err = errors.Join(err, m.Ring().SwitchAll(driver.HostView))
	if m.view != driver.HostView {
		err = errors.Join(err, m.Ring().DestroyView(m.view))
		m.view = driver.HostView
	}
	m.enabled = false
	// Turning altp2m off also frees a view that could not be destroyed.
	return errors.Join(err, m.Ring().EnableViews(false))
}

func (m *views) Suspend() error {
	m.open = false
	return m.Ring().SwitchAll(driver.HostView)
}

func (m *views) Resume() error { return m.Ring().SwitchAll(m.view) }
