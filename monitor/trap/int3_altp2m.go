package trap

import (
	"errors"
	"fmt"

	"hangbench/monitor/driver"
)

func int3Altp2mShadow() Mechanism {
	return Mechanism{
		Name: "int3-altp2m",
		Traps: "a breakpoint at the switch function's first byte in a shadow copy of the page, " +
			"which one view shows for execution only; Xen steps over it in view 0",
		Miss: missPasses,
		Needs: needsMTF + " with fast single-step, execute-only EPT, a frame of memory beside the guest's" +
			needsAltp2m,
		View:   Altp2m,
		Opens:  true,
		Traced: driver.AccessX,
		Frames: (*Site).page,
		TwinOf: "int3-step",
		New:    func(h Host) Trap { return &int3Altp2m{views: newViews(h), bp: breakpoint{host: h}} },
	}
}

// int3Altp2m has the breakpoint in a copy of the page. One view shows the copy in
// place of the page, for execution only. A vCPU that reads or writes the page does
// so in view 0, where the original is.
type int3Altp2m struct {
	views
	bp     breakpoint
	shadow uint64 // frame number of the copy
	added  bool   // the guest has memory at shadow
	page   [4096]byte
}

func (m *int3Altp2m) Plan() (Changes, error) {
	if err := m.bp.find(); err != nil {
		return Changes{}, err
	}
	gfn, err := m.Ring().SpareFrame()
	if err != nil {
		return Changes{}, fmt.Errorf("find a frame for the shadow page: %w", err)
	}
	m.shadow = gfn
	return Changes{Added: []uint64{gfn}}, nil
}

// copyPage copies the present original to the shadow page and sets the breakpoint
// there.
func (m *int3Altp2m) copyPage() error {
	d := m.Memory()
	if err := d.ReadPhysical(m.bp.gpa&^0xfff, m.page[:]); err != nil {
		return fmt.Errorf("read the page of %s: %w", m.Site().Symbol, err)
	}
	m.page[m.bp.gpa&0xfff] = int3
	if err := d.WritePhysical(m.shadow<<12, m.page[:]); err != nil {
		return fmt.Errorf("write the shadow page: %w", err)
	}
	return nil
}

func (m *int3Altp2m) Arm() error {
	gfn := m.Site().GFN
	if err := m.Ring().AddFrame(m.shadow); err != nil {
		return fmt.Errorf("add a frame for the shadow page: %w", err)
	}
	m.added = true
	if err := m.copyPage(); err != nil {
		return err
	}
	if err := errors.Join(m.Ring().EnableBreakpoints(true), m.create()); err != nil {
		return err
	}
	if err := m.Ring().Remap(m.view, gfn, m.shadow); err != nil {
		return err
	}
	if err := m.Ring().SetAccess(m.view, gfn, driver.AccessX); err != nil {
		return err
	}
	return m.Ring().SwitchAll(m.view)
}

func (m *int3Altp2m) Check() error {
	return errors.Join(
		checkView(m, m.view, m.Site().GFN, driver.AccessX),
		m.bp.checkByte(m.shadow<<12|m.bp.gpa&0xfff, int3),
		m.bp.checkByte(m.bp.gpa, m.bp.original))
}

func (m *int3Altp2m) Handle(ev *driver.Event, r *driver.Response) error {
	switch ev.Kind {
	case driver.EventBreakpoint:
		if !m.bp.ours(ev, r) {
			return nil
		}
		m.Signal(ev.VCPU)
		m.toHost(ev, r, true)
	case driver.EventAccess:
		if !ev.Write {
			m.toHost(ev, r, false)
			return nil
		}
		// The kernel patches itself on this page. After the write the copy must be
		// made anew.
		r.SwitchView, r.View = true, driver.HostView
		m.step(ev.VCPU, true, r)
	case driver.EventStep:
		if err := m.copyPage(); err != nil {
			return err
		}
		m.step(ev.VCPU, false, r)
		r.SwitchView, r.View = true, m.view
	}
	return nil
}

// Release moves a vCPU at the breakpoint to view 0, where it executes the original
// byte.
func (m *int3Altp2m) Release(ev *driver.Event, r *driver.Response) {
	if ev.Kind == driver.EventBreakpoint {
		m.bp.ours(ev, r)
	}
	m.views.Release(ev, r)
}

func (m *int3Altp2m) Disarm() error {
	err := m.views.Disarm()
	err = errors.Join(err, m.Ring().EnableBreakpoints(false))
	if m.added {
		err = errors.Join(err, m.Ring().RemoveFrame(m.shadow))
		m.added = false
	}
	return err
}
