package trial

import (
	"fmt"
	"time"

	"hangbench/guests/beat"
	"hangbench/scenarios"
	"hangbench/scenarios/inject"
)

// lull is how much longer than its usual pause a guest must stand still to show
// that a bounded fault took. It is more than a look at the guest, at either end
// of a pause, can be off.
const lull = 3 * int64(poll)

// bounded leaves the fault in place for its time, whatever the monitor says of
// it meanwhile, takes it back, and sees the guest go on. Then it waits for as
// long as a window: a verdict that comes when all is over is a false alarm.
//
// A fault that is short leaves no room for the sign that awaitVerdict waits for.
// Here a guest is taken to have hung if it stood still once, from before the end
// of the fault, for half the fault's time and distinctly longer than it does when
// it is healthy; or, of a fault that slows it down, if it was at less than half
// its pace all along.
func (r *run) bounded(t0 int64, during beat.Count, in **inject.Injection) error {
	t := r.newTruth(t0, during)
	end := t0 + r.p.BoundedMS*1e6
	for now := r.env.Host.Now(); now < end; now = r.env.Host.Now() {
		if err := r.env.Host.Sleep(r.ctx, min(poll, time.Duration(end-now))); err != nil {
			return err
		}
		t.pulse.look(r.env.Host.Now())
		if err := r.look(); err != nil {
			return err
		}
	}
	r.env.Log.Progress("lift")
	if r.verdict == nil && r.watcher != nil {
		r.rec.Evidence = r.watcher.Undecided()
	}
	c, lifting := r.count(), r.env.Host.Now()
	g := &r.rec.Guest
	g.BeatsHung, g.WorkHung = c.Beats-t.start.Beats, c.Work-t.start.Work
	lift := *in
	*in = nil
	if err := r.lift(lift); err != nil {
		return err
	}
	lifted := r.env.Host.Now()
	r.env.Log.Lifted(lifted)
	undone := lifted - t0
	r.rec.UndoneNS = &undone

	good := r.resumed(during)
	recovered, err := r.within(ms(r.p.Timing.RecoveryMS), func() bool {
		t.pulse.look(r.env.Host.Now())
		return good()
	})
	if err != nil {
		return err
	}
	r.rec.Recovered = &recovered
	if recovered {
		resumed := r.env.Host.Now() - t0
		r.rec.ResumedNS = &resumed
	}
	if err := r.stoodStill(t, lifting); err != nil {
		return err
	}
	if err := r.look(); err != nil {
		return err
	}
	if r.verdict != nil && recovered {
		return r.awaitAllClear(t0 + undone)
	}
	_, err = r.window(ms(r.p.Timing.BaselineMS))
	return err
}

// stoodStill confirms that a bounded fault took, which began to be lifted at
// lifting.
func (r *run) stoodStill(t *truth, lifting int64) error {
	now := r.env.Host.Now()
	half := r.p.BoundedMS * 1e6 / 2
	took := func(p *pause, usual int64) bool { return p.longest >= max(half, usual+lull) }
	t.pulse.end(now)
	for i := range t.pulse.beats {
		if took(&t.pulse.beats[i], t.beatGap/silent) {
			r.rec.Guest.SilentVCPUs = append(r.rec.Guest.SilentVCPUs, i)
		}
	}
	var since int64
	switch r.sc.Sign {
	case scenarios.Silent:
		for _, i := range t.concerned() {
			p := &t.pulse.beats[i]
			if !took(p, t.beatGap/silent) {
				return invalid(fmt.Sprintf("the heartbeat of vCPU %d never paused for more than %d ms of the fault's %d", i, p.longest/1e6, r.p.BoundedMS))
			}
			since = max(since, p.from)
		}
		if r.sc.Partial() && len(r.rec.Guest.SilentVCPUs) != 1 {
			return invalid(fmt.Sprintf("the fault was to stop one vCPU and stopped %d", len(r.rec.Guest.SilentVCPUs)))
		}
	case scenarios.Stuck:
		p := &t.pulse.work
		if !took(p, t.workGap/silent) {
			return invalid(fmt.Sprintf("the guest's work never paused for more than %d ms of the fault's %d", p.longest/1e6, r.p.BoundedMS))
		}
		since = p.from
	case scenarios.Slow:
		if did := float64(r.rec.Guest.WorkHung); 2*did >= t.pace()*float64(lifting-t.t0) {
			return invalid(fmt.Sprintf("the guest's work went on during the fault: %.0f units in %d ms", did, (lifting-t.t0)/1e6))
		}
		since = t.t0
	}
	hang := max(since-t.t0, 0)
	r.rec.HangNS = &hang
	return nil
}
