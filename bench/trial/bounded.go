package trial

import (
	"context"
	"time"

	"hangbench/scenarios/sign"
)

// sitOut leaves a bounded fault in place for its time, whatever the observer reports
// meanwhile.
func (r *run) sitOut(ctx context.Context) error {
	end := r.t0 + r.p.BoundedMS*1e6
	for now := r.clock.Now(); now < end; now = r.clock.Now() {
		if err := r.clock.Sleep(ctx, min(sign.Poll, time.Duration(end-now))); err != nil {
			return err
		}
		r.truth.Look(r.clock.Now())
		if err := r.poll(); err != nil {
			return err
		}
	}
	return nil
}

// confirmBounded confirms that the guest stood still while the bounded fault was in
// place.
func (r *run) confirmBounded(context.Context) error {
	r.truth.End(r.clock.Now())
	length := ms(r.p.BoundedMS)
	r.rec.Guest.SilentVCPUs = r.truth.Paused(length)
	s, ok := r.sc.Sign.(sign.Bounded)
	if !ok {
		return Invalid("the sign %s cannot be told of a bounded fault", r.sc.Sign)
	}
	since, why := s.Stood(r.truth, sign.Bound{Length: length, RemovedAt: r.removingAt, Work: r.rec.Guest.WorkHung})
	if why != "" {
		return Invalid("%s", why)
	}
	if err := r.checkPartial(); err != nil {
		return err
	}
	r.noteHang(since)
	return r.poll()
}

// watchOn waits for as long as a window after a bounded fault. A verdict that comes
// when all is over is a false alarm.
func (r *run) watchOn(ctx context.Context) error {
	_, err := r.window(ctx, ms(r.p.Timing.BaselineMS))
	return err
}
