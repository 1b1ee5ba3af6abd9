package trap

import (
	"errors"

	"hangbench/monitor/driver"
)

func execStepping() Mechanism {
	return Mechanism{
		Name:      "exec-step",
		Traps:     switchPage + "; the one host view is opened for all vCPUs while one of them steps off the page",
		Miss:      "switches of other vCPUs during a step; " + missPasses,
		Needs:     needsMTF,
		View:      HostView,
		Opens:     true,
		PageTrap:  true,
		Traced:    driver.AccessRW,
		Frames:    (*Site).page,
		Yardstick: true,
		New:       func(h Host) Trap { return newExecStep(h) },
	}
}

// execStep takes execute permission from the trapped page in the host view. A
// vCPU that reaches the page single-steps with the permission restored until it
// leaves the page.
type execStep struct {
	steps
	open     bool // left open until the next sampling period
	steppers int  // vCPUs that step while the page is open
}

func newExecStep(h Host) *execStep { return &execStep{steps: newSteps(h)} }

func (m *execStep) Plan() (Changes, error) {
	return Changes{Restricted: []uint64{m.Site().GFN}}, nil
}

func (m *execStep) Arm() error {
	if err := m.Ring().EnableStep(true); err != nil {
		return err
	}
	return m.restrict()
}

func (m *execStep) Check() error {
	return checkAccess(m, driver.HostView, m.Site().GFN, driver.AccessRW)
}

// restrict takes execute permission from the page.
func (m *execStep) restrict() error {
	return m.Ring().SetAccess(driver.HostView, m.Site().GFN, driver.AccessRW)
}

// permit restores execute permission of the page.
func (m *execStep) permit() error {
	return m.Ring().SetAccess(driver.HostView, m.Site().GFN, driver.AccessRWX)
}

// pass lets the vCPU pass. If again is set, the vCPU steps, and the page is
// restricted again when it is off the page. Else the page stays open until the next
// sampling period.
func (m *execStep) pass(ev *driver.Event, r *driver.Response, again bool) error {
	if again {
		if !m.stepping[ev.VCPU] {
			m.steppers++
		}
		m.step(ev.VCPU, true, r)
	} else {
		m.open = true
	}
	return m.permit()
}

func (m *execStep) Handle(ev *driver.Event, r *driver.Response) error {
	if m.Site().At(ev) {
		m.Signal(ev.VCPU)
	}
	switch ev.Kind {
	case driver.EventAccess:
		return m.pass(ev, r, m.Charge(ev.VCPU, true) || !m.MayOpen())
	case driver.EventStep:
		if m.Site().onPage(ev.RIP) {
			return nil // continue stepping: it costs less than a violation for each instruction
		}
		return m.stepped(ev, r)
	}
	return nil
}

// stepped ends the steps of a vCPU. It restricts the page if no other vCPU steps.
func (m *execStep) stepped(ev *driver.Event, r *driver.Response) error {
	if m.stepping[ev.VCPU] && m.steppers > 0 { // Suspend sets it to 0 while vCPUs still step
		m.steppers--
	}
	m.step(ev.VCPU, false, r)
	if m.open || m.steppers > 0 {
		return nil
	}
	return m.restrict()
}

func (m *execStep) Rearm() error {
	if !m.open {
		return nil
	}
	m.open = false
	if m.steppers > 0 {
		return nil // the last of them restricts it
	}
	return m.restrict()
}

func (m *execStep) Suspend() error {
	m.open, m.steppers = false, 0
	return m.permit()
}

func (m *execStep) Resume() error {
	m.open, m.steppers = false, 0
	return m.restrict()
}

func (m *execStep) Release(ev *driver.Event, r *driver.Response) { m.step(ev.VCPU, false, r) }

func (m *execStep) Disarm() error { return errors.Join(m.permit(), m.stopSteps()) }
