package trial

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hangbench/results"
)

// slowPoll is how often observers are polled while nothing else is awaited. The
// kernel's log has times of its own, and polling costs a host with one CPU. It bounds
// how late a report of Xen's watchdog is seen.
const slowPoll = 100 * time.Millisecond

// bystander is an observer that watches for the whole trial, and whose reports do not
// end it.
type bystander struct {
	Observer
	since    int64  // when it was attached
	failed   string // why it failed, or empty
	failedAt int64
}

// subject is the guest of the trial as an observer sees it.
func (r *run) subject() Subject {
	return Subject{
		Guest: r.env.Guest, Clock: r.clock, Workload: r.sc.Workload,
		Settings: Settings{Thresholds: r.p.Thresholds.Map(), Sample: ms(r.p.Timing.SampleMS)},
	}
}

// blame makes the failure of the observer whose verdict ends the trial the reason why
// the trial is invalid. Other errors stay what they are.
func blame(err error) error {
	if e, ok := errors.AsType[*ObserverError](err); ok {
		return &InvalidError{e.Reason}
	}
	return err
}

// attachBeside attaches the observers that watch for the whole trial.
func (r *run) attachBeside(ctx context.Context) error {
	r.undo.push(r.dismissBeside)
	for _, o := range r.env.Beside {
		if err := o.Attach(ctx, r.subject()); err != nil {
			return blame(err)
		}
		r.beside = append(r.beside, &bystander{Observer: o, since: r.clock.Now()})
	}
	return nil
}

// dismissBeside detaches the observers that watched for the whole trial, and records
// what they reported, also if the trial is invalid.
func (r *run) dismissBeside(ctx context.Context) error {
	until := r.until
	if until == 0 {
		until = r.clock.Now()
	}
	var errs []error
	for _, b := range slices.Backward(r.beside) {
		_, err := b.Detach(ctx)
		errs = append(errs, r.tolerate(b, err))
	}
	for _, b := range r.beside {
		r.note(b, until)
	}
	return errors.Join(errs...)
}

// tolerate takes note if an observer beside failed. It returns other errors.
func (r *run) tolerate(b *bystander, err error) error {
	if e, ok := errors.AsType[*ObserverError](err); ok {
		if b.failed == "" {
			b.failed, b.failedAt = e.Reason, r.clock.Now()
		}
		return nil
	}
	return err
}

// poll takes in what observers have reported. The first report of the one whose verdict
// ends the trial is that verdict.
func (r *run) poll() error {
	if r.attached && !r.cut() {
		if err := r.env.Watcher.Poll(r.t0); err != nil {
			return blame(err)
		}
		if r.verdict == nil {
			if reports := r.env.Watcher.Reports(); len(reports) > 0 {
				r.verdict = &reports[0]
			}
		}
	}
	return r.pollBeside()
}

func (r *run) pollBeside() error {
	for _, b := range r.beside {
		if b.failed != "" {
			continue
		}
		if err := r.tolerate(b, b.Poll(r.t0)); err != nil {
			return err
		}
	}
	return nil
}

// destroyed reports whether an observer has destroyed the guest.
func (r *run) destroyed() bool {
	for _, b := range r.beside {
		if d, ok := b.Observer.(Destroyer); ok && d.Destroyed() {
			return true
		}
	}
	return false
}

// awaitBeside keeps the fault in place for as long as the observers beside need, or
// until each of them has reported.
func (r *run) awaitBeside(ctx context.Context) error {
	var patients []Patient
	end := int64(0)
	for _, b := range r.beside {
		if p, ok := b.Observer.(Patient); ok {
			patients = append(patients, p)
			end = max(end, p.Await(r.clock.Now(), r.t0, r.sc.Sign.Effects()))
		}
	}
	complete := func() bool {
		for _, p := range patients {
			if !p.Complete() {
				return false
			}
		}
		return true
	}
	for said := r.clock.Now(); ; {
		if err := r.pollBeside(); err != nil {
			return err
		}
		now := r.clock.Now()
		if now >= end || r.destroyed() || complete() {
			r.until = now
			return nil
		}
		if now-said >= int64(sayEvery) {
			said = now
			r.env.Log.Progress(fmt.Sprintf("await observers, %d of %d s", (now-r.t0)/1e9, (end-r.t0)/1e9))
		}
		if err := r.clock.Sleep(ctx, min(slowPoll, time.Duration(end-now))); err != nil {
			return err
		}
	}
}

// detach ends the monitored window and adds what observer and trace counted to the
// record.
func (r *run) detach(ctx context.Context) error {
	var c Counts
	var oerr error
	if r.attached {
		c, oerr = r.env.Watcher.Detach(ctx)
		if e, ok := errors.AsType[*ObserverError](oerr); ok && e.Gone && r.away {
			oerr = nil
		}
		r.attached, oerr = false, blame(oerr)
		r.writeAlarms(c)
	}
	r.rec.WindowNS += r.clock.Now() - r.armedAt
	n, terr := r.traced.Stop()
	if terr != nil {
		terr = fmt.Errorf("trace EPT violations: %w", terr)
	}
	r.rec.Events.Add(c.Events)
	if c.BackedOut != "" {
		r.rec.BackedOut, r.rec.BackOutNS = c.BackedOut, &c.BackOutNS
	}
	perm := min(n.Trapped, c.Accesses)
	r.rec.EPT.Add(results.EPT{
		Permission: perm, Suppressed: n.Trapped - perm,
		Lazy: n.Lazy, MMIO: n.MMIO, Superpage: n.Superpage, Residual: n.Residual,
		Total:     n.Trapped + n.Lazy + n.MMIO + n.Superpage + n.Residual,
		TraceLost: n.Lost,
	})
	return errors.Join(oerr, terr)
}

// writeAlarms records the reports of the observer that was detached, and those about
// neighbours. Of several monitored windows each begins where the last one ended.
func (r *run) writeAlarms(c Counts) {
	zero := r.armedAt - r.rec.WindowNS
	write := func(to []results.Alarm, reports []Report) []results.Alarm {
		for _, report := range reports {
			a := results.Alarm{Class: report.Class, StartNS: report.AtNS - zero}
			if report.EndNS != 0 {
				end := report.EndNS - zero
				a.EndNS = &end
			}
			to = append(to, a)
		}
		return to
	}
	r.rec.Alarms = write(r.rec.Alarms, r.env.Watcher.Reports())
	r.rec.NeighbourAlarms = write(r.rec.NeighbourAlarms, c.Neighbours)
}
