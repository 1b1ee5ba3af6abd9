package trap

import "hangbench/monitor/driver"

func execAltp2mFastStepping() Mechanism {
	return Mechanism{
		Name: "exec-altp2m-fast",
		Traps: switchPage + ", in a view of its own; " +
			"Xen steps each instruction in view 0 and comes back without a second event",
		Miss:      missPasses,
		Needs:     needsMTF + " with fast single-step (Xen 4.14)" + needsAltp2m,
		View:      Altp2m,
		Opens:     true,
		PageTrap:  true,
		Traced:    driver.AccessRW,
		Frames:    (*Site).page,
		TwinOf:    "exec-step",
		Yardstick: true,
		New:       func(h Host) Trap { return &execAltp2mFast{newViews(h), findEntries(h)} },
	}
}

// execAltp2mFast traps as execAltp2m does. Xen executes each instruction of the
// page in the host view and returns to the trap's view by itself: one event for
// each instruction, and none for the step.
type execAltp2mFast struct {
	views
	entries
}

func (m *execAltp2mFast) Plan() (Changes, error) { return Changes{}, nil }
func (m *execAltp2mFast) Arm() error             { return m.restrict(driver.AccessRW, m.Site().GFN) }
func (m *execAltp2mFast) Check() error           { return checkView(m, m.view, m.Site().GFN, driver.AccessRW) }

func (m *execAltp2mFast) Handle(ev *driver.Event, r *driver.Response) error {
	if ev.Kind != driver.EventAccess {
		return nil
	}
	if m.Site().At(ev) {
		m.Signal(ev.VCPU)
	}
	m.toHost(ev, r, m.begins(m.Site(), ev))
	return nil
}
