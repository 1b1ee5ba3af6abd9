package monitor

import (
	"errors"
	"fmt"
)

// Place is where a variable of the guest's kernel lies in its memory.
type Place struct {
	GFN    uint64 // guest frame
	Offset uint64 // in bytes, in the frame
}

// writeAltp2m takes write permission off the pages of the run queues' counters,
// in a view of its own. Only writes of the counter of switches are the signal;
// the scheduler writes much else on that page.
type writeAltp2m struct{ views }

func (m *writeAltp2m) plan() (Changes, error) {
	if len(m.s.cfg.Counters) < len(m.s.signals) {
		return Changes{}, fmt.Errorf("the counters of %d of %d run queues are known: the guest's kernel cannot be read", len(m.s.cfg.Counters), len(m.s.signals))
	}
	// A vCPU that was idle writes much else on its way to the first switch.
	m.s.maxPass = 4 * longPass
	return Changes{}, nil
}

func (m *writeAltp2m) arm() error {
	var gfns []uint64
	for _, p := range m.s.cfg.Counters {
		gfns = append(gfns, p.GFN)
	}
	return m.restrict(AccessRX, gfns...)
}

func (m *writeAltp2m) armed() error {
	var errs []error
	for _, p := range m.s.cfg.Counters {
		errs = append(errs, m.s.checkView(m.view, p.GFN, AccessRX))
	}
	return errors.Join(errs...)
}

func (m *writeAltp2m) handle(ev *Event, r *Response) error {
	if ev.Kind != EventAccess {
		return nil
	}
	ours := false
	for cpu, p := range m.s.cfg.Counters {
		if p.GFN == ev.GFN && p.Offset == ev.Offset && cpu < len(m.s.signals) {
			m.s.signal(cpu)
			ours = true
		}
	}
	m.toHost(ev, r, ours)
	return nil
}
