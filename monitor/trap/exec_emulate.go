package trap

import (
	"errors"

	"hangbench/monitor/driver"
)

func execEmulation() Mechanism {
	return Mechanism{
		Name:      "exec-emulate",
		Traps:     switchPage + "; each instruction on the page is emulated by Xen, one event each",
		Miss:      "switches during the step of an instruction that Xen cannot emulate; " + missPasses,
		Needs:     needsMTF,
		View:      HostView,
		Opens:     true,
		PageTrap:  true,
		Traced:    driver.AccessRW,
		Frames:    (*Site).page,
		Yardstick: true,
		New:       func(h Host) Trap { return &execEmulate{execStep: newExecStep(h), entries: findEntries(h)} },
	}
}

// execEmulate restricts the page as execStep does and makes Xen emulate each
// instruction on it. A vCPU single-steps an instruction that Xen cannot emulate.
type execEmulate struct {
	*execStep
	entries
}

func (m *execEmulate) Arm() error {
	if err := m.Ring().EnableUnemulated(true); err != nil {
		return err
	}
	return m.execStep.Arm()
}

func (m *execEmulate) Handle(ev *driver.Event, r *driver.Response) error {
	switch ev.Kind {
	case driver.EventAccess:
		if m.Site().At(ev) {
			m.Signal(ev.VCPU)
		}
		if m.Charge(ev.VCPU, m.begins(m.Site(), ev)) || !m.MayOpen() {
			r.Emulate = true
			return nil
		}
		return m.pass(ev, r, false)
	case driver.EventUnemulated:
		return m.pass(ev, r, true)
	case driver.EventStep:
		return m.stepped(ev, r)
	}
	return nil
}

func (m *execEmulate) Disarm() error {
	return errors.Join(m.execStep.Disarm(), m.Ring().EnableUnemulated(false))
}
