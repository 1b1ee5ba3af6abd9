package monitor

// cr3 is told of writes of CR3. While a vCPU has no passes left nothing is
// reported, for all vCPUs.
type cr3 struct {
	s    *Session
	open bool
	on   bool
}

// sameSpace are the bits of CR3 in which two values may differ and still name
// the same address space: PCID (bits 0 to 11), of which Linux uses bit 11 for
// the user half under page-table isolation, and bit 12, which tells the two
// halves of the root apart (arch/x86/entry/calling.h, PTI_USER_PGTABLE_BIT).
const sameSpace = 1<<13 - 1

func (m *cr3) plan() (Changes, error) { return Changes{}, nil }

func (m *cr3) set(on bool) error {
	m.on = on
	return m.s.ring.EnableCR3(on, sameSpace)
}

func (m *cr3) arm() error { return m.set(true) }

// Xen has no call that tells whether CR3 is watched; that it is shows in the
// first event.
func (m *cr3) armed() error { return nil }

func (m *cr3) handle(ev *Event, r *Response) error {
	if ev.Kind != EventCR3 {
		return nil
	}
	m.s.signal(ev.VCPU)
	if m.s.spend(ev.VCPU, true) || !m.s.heardAll() || m.open {
		return nil
	}
	m.open = true
	return m.set(false)
}

func (m *cr3) rearm() error {
	if !m.open {
		return nil
	}
	m.open = false
	return m.set(true)
}

func (m *cr3) release(*Event, *Response) {}

func (m *cr3) disarm() error {
	if !m.on {
		return nil
	}
	return m.set(false)
}
