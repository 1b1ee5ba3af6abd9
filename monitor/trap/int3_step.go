package trap

import (
	"errors"

	"hangbench/monitor/driver"
)

func int3Stepping() Mechanism {
	return Mechanism{
		Name: "int3-step",
		Traps: "a breakpoint at the switch function's first byte, " +
			"taken out for all vCPUs while one of them steps over it",
		Miss:  "switches of other vCPUs during a step; " + missPasses,
		Needs: "Intel VMX, monitor trap flag; the guest can see the breakpoint",
		View:  HostView,
		Opens: true,
		New:   func(h Host) Trap { return &int3Step{steps: newSteps(h), bp: breakpoint{host: h}} },
	}
}

// int3Step has the breakpoint in the guest's one copy of the kernel. It takes the
// breakpoint out while a vCPU steps over it.
type int3Step struct {
	steps
	bp       breakpoint
	open     bool // left out until the next sampling period
	steppers int  // vCPUs that step while it is out
}

func (m *int3Step) Plan() (Changes, error) {
	if err := m.bp.find(); err != nil {
		return Changes{}, err
	}
	return Changes{Patched: []Patch{{GPA: m.bp.gpa, Original: []byte{m.bp.original}, Patched: []byte{int3}}}}, nil
}

func (m *int3Step) Arm() error {
	if err := errors.Join(m.Ring().EnableStep(true), m.Ring().EnableBreakpoints(true)); err != nil {
		return err
	}
	return m.insert()
}

// insert puts the breakpoint in the guest's code.
func (m *int3Step) insert() error { return m.bp.write(m.bp.gpa, int3) }

// remove restores the original byte.
func (m *int3Step) remove() error { return m.bp.write(m.bp.gpa, m.bp.original) }

func (m *int3Step) Check() error { return m.bp.checkByte(m.bp.gpa, int3) }

func (m *int3Step) Handle(ev *driver.Event, r *driver.Response) error {
	switch ev.Kind {
	case driver.EventBreakpoint:
		if !m.bp.ours(ev, r) {
			return nil
		}
		m.Signal(ev.VCPU)
		if m.Charge(ev.VCPU, true) || !m.MayOpen() {
			m.steppers++
			m.step(ev.VCPU, true, r)
		} else {
			m.open = true
		}
		return m.remove()
	case driver.EventStep:
		if m.stepping[ev.VCPU] && m.steppers > 0 { // Suspend sets it to 0 while vCPUs still step
			m.steppers--
		}
		m.step(ev.VCPU, false, r)
		if m.open || m.steppers > 0 {
			return nil
		}
		return m.insert()
	}
	return nil
}

func (m *int3Step) Rearm() error {
	if !m.open {
		return nil
	}
	m.open = false
	if m.steppers > 0 {
		return nil // the last of them inserts it
	}
	return m.insert()
}

func (m *int3Step) Suspend() error {
	m.open, m.steppers = false, 0
	return m.remove()
}

func (m *int3Step) Resume() error {
	m.open, m.steppers = false, 0
	return m.insert()
}

// Release needs no other byte than the original: Disarm and Suspend have restored
// it before.
func (m *int3Step) Release(ev *driver.Event, r *driver.Response) {
	if ev.Kind == driver.EventBreakpoint {
		m.bp.ours(ev, r)
	}
	m.step(ev.VCPU, false, r)
}

func (m *int3Step) Disarm() error {
	return errors.Join(m.remove(), m.Ring().EnableBreakpoints(false), m.stopSteps())
}
