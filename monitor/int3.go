package monitor

import (
	"errors"
	"fmt"
)

// breakpoint is the INT3 instruction.
const breakpoint = 0xcc

// int3 is what both breakpoint mechanisms have in common: where the breakpoint
// is, and what stands there without it.
type int3 struct {
	s        *Session
	gpa      uint64 // of the breakpoint
	original byte
}

// look reads the original byte.
func (m *int3) look() error {
	m.gpa = m.s.trap.GFN<<12 | m.s.trap.VA&0xfff
	var b [1]byte
	if err := m.s.cfg.Driver.ReadPhysical(m.gpa, b[:]); err != nil {
		return fmt.Errorf("read %s: %w", m.s.trap.Symbol, err)
	}
	if b[0] == breakpoint {
		return fmt.Errorf("there is a breakpoint at %s already, of another monitor or one that died: run hangbench recover first", m.s.trap.Symbol)
	}
	m.original = b[0]
	return nil
}

// ours reports whether the breakpoint event is of our breakpoint. The guest's
// own INT3 is given back to it.
func (m *int3) ours(ev *Event, r *Response) bool {
	if ev.RIP != m.s.trap.VA {
		r.Reinject = true
		return false
	}
	return true
}

func (m *int3) write(gpa uint64, b byte) error {
	if err := m.s.cfg.Driver.WritePhysical(gpa, []byte{b}); err != nil {
		return fmt.Errorf("write the breakpoint of %s: %w", m.s.trap.Symbol, err)
	}
	return nil
}

func (m *int3) standing(gpa uint64, want byte) error {
	var b [1]byte
	if err := m.s.cfg.Driver.ReadPhysical(gpa, b[:]); err != nil {
		return fmt.Errorf("check the trap: %w", err)
	}
	if b[0] != want {
		return fmt.Errorf("check the trap: byte %#x at %#x, not %#x", b[0], gpa, want)
	}
	return nil
}

// int3Step has the breakpoint in the guest's one copy of the kernel. It is taken
// out while a vCPU steps over it.
type int3Step struct {
	int3
	open     bool
	steppers int
}

func (m *int3Step) plan() (Changes, error) {
	if err := m.look(); err != nil {
		return Changes{}, err
	}
	return Changes{Patched: []Patch{{GPA: m.gpa, Original: []byte{m.original}, Patched: []byte{breakpoint}}}}, nil
}

func (m *int3Step) arm() error {
	if err := errors.Join(m.s.ring.EnableStep(true), m.s.ring.EnableBreakpoints(true)); err != nil {
		return err
	}
	return m.write(m.gpa, breakpoint)
}

func (m *int3Step) armed() error { return m.standing(m.gpa, breakpoint) }

func (m *int3Step) handle(ev *Event, r *Response) error {
	switch ev.Kind {
	case EventBreakpoint:
		if !m.ours(ev, r) {
			return nil
		}
		m.s.signal(ev.VCPU)
		if m.s.spend(ev.VCPU, true) || !m.s.heardAll() {
			m.steppers++
			m.s.step(ev.VCPU, true, r)
		} else {
			m.open = true
		}
		return m.write(m.gpa, m.original)
	case EventStep:
		if m.s.stepping[ev.VCPU] && m.steppers > 0 { // none after a probe
			m.steppers--
		}
		m.s.step(ev.VCPU, false, r)
		if m.open || m.steppers > 0 {
			return nil
		}
		return m.write(m.gpa, breakpoint)
	}
	return nil
}

func (m *int3Step) rearm() error {
	if !m.open {
		return nil
	}
	m.open = false
	if m.steppers > 0 {
		return nil
	}
	return m.write(m.gpa, breakpoint)
}

// probe takes the breakpoint out for the time until the next sample, or puts it in.
func (m *int3Step) probe(host bool) error {
	m.open, m.steppers = false, 0
	if host {
		return m.write(m.gpa, m.original)
	}
	return m.write(m.gpa, breakpoint)
}

// The original byte is back when release is called (disarm comes first for
// breakpoints, and so does probe), so a vCPU that stands at ours executes the original.
func (m *int3Step) release(ev *Event, r *Response) {
	if ev.Kind == EventBreakpoint {
		m.ours(ev, r)
	}
	m.s.step(ev.VCPU, false, r)
}

func (m *int3Step) disarm() error {
	err := m.write(m.gpa, m.original)
	return errors.Join(err, m.s.ring.EnableBreakpoints(false), m.s.stopSteps())
}

// int3Altp2m has the breakpoint in a copy of the page that one view shows in its
// place, for execution only: whoever reads or writes the page does so in view 0,
// where the original is.
type int3Altp2m struct {
	views
	int3
	shadow uint64 // frame number of the copy
	added  bool   // there is memory behind it
	page   [4096]byte
}

func (m *int3Altp2m) plan() (Changes, error) {
	if err := m.look(); err != nil {
		return Changes{}, err
	}
	gfn, err := m.int3.s.ring.SpareFrame()
	if err != nil {
		return Changes{}, fmt.Errorf("find a frame for the shadow page: %w", err)
	}
	m.shadow = gfn
	return Changes{Added: []uint64{gfn}}, nil
}

// copyPage makes the shadow page what the original is now, with the breakpoint.
func (m *int3Altp2m) copyPage() error {
	d := m.int3.s.cfg.Driver
	if err := d.ReadPhysical(m.gpa&^0xfff, m.page[:]); err != nil {
		return fmt.Errorf("read the page of %s: %w", m.int3.s.trap.Symbol, err)
	}
	m.page[m.gpa&0xfff] = breakpoint
	if err := d.WritePhysical(m.shadow<<12, m.page[:]); err != nil {
		return fmt.Errorf("write the shadow page: %w", err)
	}
	return nil
}

func (m *int3Altp2m) arm() error {
	s := m.int3.s
	if err := s.ring.AddFrame(m.shadow); err != nil {
		return fmt.Errorf("add a frame for the shadow page: %w", err)
	}
	m.added = true
	if err := m.copyPage(); err != nil {
		return err
	}
	if err := errors.Join(s.ring.EnableBreakpoints(true), m.create()); err != nil {
		return err
	}
	if err := s.ring.Remap(m.view, s.trap.GFN, m.shadow); err != nil {
		return err
	}
	if err := s.ring.SetAccess(m.view, s.trap.GFN, AccessX); err != nil {
		return err
	}
	return s.ring.SwitchAll(m.view)
}

func (m *int3Altp2m) armed() error {
	s := m.int3.s
	return errors.Join(s.checkView(m.view, s.trap.GFN, AccessX), m.standing(m.shadow<<12|m.gpa&0xfff, breakpoint), m.standing(m.gpa, m.original))
}

func (m *int3Altp2m) handle(ev *Event, r *Response) error {
	s := m.int3.s
	switch ev.Kind {
	case EventBreakpoint:
		if !m.ours(ev, r) {
			return nil
		}
		s.signal(ev.VCPU)
		m.toHost(ev, r, true)
	case EventAccess:
		if !ev.Write {
			m.toHost(ev, r, false)
			return nil
		}
		// The kernel patches itself on this page: once it has, so must the copy be.
		r.SwitchView, r.View = true, HostView
		s.step(ev.VCPU, true, r)
	case EventStep:
		if err := m.copyPage(); err != nil {
			return err
		}
		s.step(ev.VCPU, false, r)
		r.SwitchView, r.View = true, m.view
	}
	return nil
}

// A vCPU that stands at our breakpoint goes on in view 0 with the original byte.
func (m *int3Altp2m) release(ev *Event, r *Response) {
	if ev.Kind == EventBreakpoint {
		m.ours(ev, r)
	}
	m.views.release(ev, r)
}

func (m *int3Altp2m) disarm() error {
	s := m.int3.s
	err := m.views.disarm()
	err = errors.Join(err, s.ring.EnableBreakpoints(false))
	if m.added {
		err = errors.Join(err, s.ring.RemoveFrame(m.shadow))
		m.added = false
	}
	return err
}
