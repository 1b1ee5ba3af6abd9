package trap

import "hangbench/monitor/driver"

func cr3Writes() Mechanism {
	return Mechanism{
		Name: "cr3",
		Traps: "writes of CR3 that change the address space; " +
			"the user/kernel bit of page-table isolation and PCIDs are masked out inside Xen",
		Miss: "switches to kernel threads and back (lazy TLB writes no CR3), " +
			"switches between threads of one process; " + missPasses,
		Needs: "Intel VMX; the CR3 exits themselves cost a guest with page-table isolation " +
			"two for each kernel entry",
		Yardstick: true,
		New:       func(h Host) Trap { return &cr3{Host: h} },
	}
}

// cr3 gets an event for each write of CR3. Once a vCPU has used up its budget, no
// write of any vCPU is reported until the next sampling period.
type cr3 struct {
	Host
	open bool // writes are not reported until the next sampling period
	on   bool // writes are reported
}

// sameSpace are the bits of CR3 in which two values may differ and still name
// the same address space: PCID (bits 0 to 11), of which Linux uses bit 11 for
// the user half under page-table isolation, and bit 12, which tells the two
// halves of the root apart (arch/x86/entry/calling.h, PTI_USER_PGTABLE_BIT).
const sameSpace = 1<<13 - 1

func (m *cr3) Plan() (Changes, error) { return Changes{}, nil }

func (m *cr3) set(on bool) error {
	m.on = on
	return m.Ring().EnableCR3(on, sameSpace)
}

func (m *cr3) Arm() error { return m.set(true) }

// Check checks nothing: Xen has no call that tells whether writes of CR3 are
// reported.
func (m *cr3) Check() error { return nil }

func (m *cr3) Handle(ev *driver.Event, r *driver.Response) error {
	if ev.Kind != driver.EventCR3 {
		return nil
	}
	m.Signal(ev.VCPU)
	if m.Charge(ev.VCPU, true) || !m.MayOpen() || m.open {
		return nil
	}
	m.open = true
	return m.set(false)
}

func (m *cr3) Rearm() error {
	if !m.open {
		return nil
	}
	m.open = false
	return m.set(true)
}

func (m *cr3) Release(*driver.Event, *driver.Response) {}

func (m *cr3) Disarm() error {
	if !m.on {
		return nil
	}
	return m.set(false)
}
