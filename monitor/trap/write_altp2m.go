package trap

import (
	"errors"
	"fmt"

	"hangbench/monitor/driver"
)

func writeAltp2mCounters() Mechanism {
	return Mechanism{
		Name:  "write-altp2m",
		Traps: "writes to the page of each run queue's counters, in a view of its own; Xen steps each in view 0",
		Miss: missPasses + ", which are most: the scheduler writes hundreds of other fields of the page " +
			"for each switch of a busy guest, and each is an event",
		Needs:    needsMTF + " with fast single-step; the guest kernel's types" + needsAltp2m,
		View:     Altp2m,
		Opens:    true,
		PageTrap: true,
		Traced:   driver.AccessRX,
		Frames:   (*Site).counters,
		// A vCPU that was idle writes many other fields before its first switch.
		MaxStops: 4 * LongPass,
		New:      func(h Host) Trap { return &writeAltp2m{newViews(h)} },
	}
}

// writeAltp2m takes write permission from the pages of the run queues' counters,
// in a view of its own. Only a write of the counter of switches is a signal; the
// scheduler writes many other fields of that page.
type writeAltp2m struct{ views }

func (m *writeAltp2m) Plan() (Changes, error) {
	if known := len(m.Site().Counters); known < m.VCPUs() {
		return Changes{}, fmt.Errorf("the counters of %d of %d run queues are known: "+
			"the guest's kernel cannot be read", known, m.VCPUs())
	}
	return Changes{}, nil
}

func (m *writeAltp2m) Arm() error { return m.restrict(driver.AccessRX, m.Site().counters()...) }

func (m *writeAltp2m) Check() error {
	var errs []error
	for _, p := range m.Site().Counters {
		errs = append(errs, checkView(m, m.view, p.GFN, driver.AccessRX))
	}
	return errors.Join(errs...)
}

func (m *writeAltp2m) Handle(ev *driver.Event, r *driver.Response) error {
	if ev.Kind != driver.EventAccess {
		return nil
	}
	counter := false
	for cpu, p := range m.Site().Counters {
		if p.GFN == ev.GFN && p.Offset == ev.Offset && cpu < m.VCPUs() {
			m.Signal(cpu)
			counter = true
		}
	}
	m.toHost(ev, r, counter)
	return nil
}
