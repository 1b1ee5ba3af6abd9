package monitor

import (
	"errors"
	"time"
)

// poll traps nothing. The signal is the run queue's own count, which the session
// reads at every sample anyway.
type poll struct{ s *Session }

func (m *poll) plan() (Changes, error) {
	if m.s.cfg.Kernel == nil {
		return Changes{}, errors.New("the guest's kernel cannot be read, and there is nothing else to poll")
	}
	return Changes{}, nil
}

func (m *poll) arm() error                     { return nil }
func (m *poll) armed() error                   { return nil }
func (m *poll) handle(*Event, *Response) error { return nil }
func (m *poll) rearm() error                   { return nil }
func (m *poll) release(*Event, *Response)      {}
func (m *poll) disarm() error                  { return nil }

// noRing is the ring of a session that needs no events: a guest whose ring is
// not open pays nothing for it.
type noRing struct {
	Ring  // none: whatever is called beyond the methods below is a mistake
	wake  chan struct{}
	timer *time.Timer
}

func newNoRing() *noRing {
	return &noRing{wake: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
}

func (r *noRing) Wait(d time.Duration) error {
	r.timer.Reset(d)
	select {
	case <-r.wake:
	case <-r.timer.C:
	}
	return nil
}

func (r *noRing) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *noRing) Next(*Event) (bool, error) { return false, nil }
func (r *noRing) Flush() error              { return nil }
func (r *noRing) Full() uint64              { return 0 }
func (r *noRing) Close() error              { r.timer.Stop(); return nil }
