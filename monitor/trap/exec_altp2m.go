package trap

import "hangbench/monitor/driver"

func execAltp2mStepping() Mechanism {
	return Mechanism{
		Name:      "exec-altp2m",
		Traps:     switchPage + ", in a view of its own; a vCPU steps off the page in view 0",
		Miss:      missPasses,
		Needs:     needsMTF + needsAltp2m,
		View:      Altp2m,
		Opens:     true,
		PageTrap:  true,
		Traced:    driver.AccessRW,
		Frames:    (*Site).page,
		TwinOf:    "exec-step",
		Yardstick: true,
		New:       func(h Host) Trap { return &execAltp2m{newViews(h)} },
	}
}

// execAltp2m takes execute permission from the trapped page in a view of its own.
// A vCPU that reaches the page moves to the host view, single-steps there until it
// leaves the page, and returns.
type execAltp2m struct{ views }

func (m *execAltp2m) Plan() (Changes, error) { return Changes{}, nil }

func (m *execAltp2m) Arm() error   { return m.restrict(driver.AccessRW, m.Site().GFN) }
func (m *execAltp2m) Check() error { return checkView(m, m.view, m.Site().GFN, driver.AccessRW) }

func (m *execAltp2m) Handle(ev *driver.Event, r *driver.Response) error {
	if m.Site().At(ev) {
		m.Signal(ev.VCPU)
	}
	switch ev.Kind {
	case driver.EventAccess:
		r.SwitchView, r.View = true, driver.HostView
		if m.Charge(ev.VCPU, true) {
			m.step(ev.VCPU, true, r)
		} else {
			m.open = true
		}
	case driver.EventStep:
		if m.Site().onPage(ev.RIP) {
			return nil
		}
		m.step(ev.VCPU, false, r)
		r.SwitchView, r.View = true, m.view
	}
	return nil
}
