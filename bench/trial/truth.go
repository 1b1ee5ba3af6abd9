package trial

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hangbench/guests/beat"
	"hangbench/scenarios"
	"hangbench/scenarios/inject"
)

const (
	// slowFactor is how many times slower than before a guest's work must be to
	// count as Slow, over a whole slowWindow. It counts as recovered when it is at
	// half its pace.
	slowFactor = 10
	slowWindow = 2 * time.Second
	// errandTime is how long PID 1 may take to take an errand up. It looks once a
	// second and takes precedence over everything else in the guest.
	errandTime = 10 * time.Second
)

// target adds to the guest's machine what its PID 1 does on request.
type target struct {
	inject.Machine
	Clock
	r *run
}

func (r *run) target() inject.Target { return target{r.env.Guest, r.env.Host, r} }

// Ask has PID 1 do an errand. An interrupted trial asks all the same: what was
// done to the guest is taken back.
func (t target) Ask(ctx context.Context, e beat.Errand) error {
	ctx = context.WithoutCancel(ctx)
	token := t.r.env.Guest.Page().Ask(e)
	for end := t.r.env.Host.Now() + int64(errandTime); !t.r.env.Guest.Page().Answered(token); {
		if t.r.env.Host.Now() > end {
			return invalid(fmt.Sprintf("the guest did not take up errand %d within %v", e, errandTime))
		}
		if err := t.r.env.Host.Sleep(ctx, poll); err != nil {
			return err
		}
	}
	return nil
}

// Mishandle breaks or mends the monitor of the trial.
func (t target) Mishandle(on bool) error {
	if t.r.watcher == nil {
		return errors.New("no monitor is attached")
	}
	return t.r.watcher.Mishandle(on)
}

// lift takes an injection back. A guest that Xen has ended runs no more and does
// no errands: what is in its memory stays, and a vCPU in the midst of it would be
// waited for in vain. One that lives and never lets go of the place is no guest to
// measure.
func (r *run) lift(in *inject.Injection) error {
	if !in.Outside && r.endedByXen() {
		return nil
	}
	err := in.Lift(context.WithoutCancel(r.ctx))
	if errors.Is(err, inject.ErrBusy) {
		return invalid(fmt.Sprintf("what was done to the guest could not be lifted: %v", err))
	}
	return err
}

// disturb does to a control what its scenario says, and takes it back. The
// injection in place is in *in for as long as it is to be taken back.
func (r *run) disturb(in **inject.Injection, during beat.Count) error {
	r.env.Log.Progress("disturb")
	var err error
	if *in, err = r.sc.Disturb(r.ctx, r.target()); err != nil {
		if r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		return invalid(fmt.Sprintf("the guest could not be disturbed: %v", err))
	}
	c, err := r.window(r.sc.Disturbed)
	if err != nil {
		return err
	}
	lift := *in
	*in = nil
	if err := r.lift(lift); err != nil {
		return err
	}
	if r.cut() {
		return nil
	}
	// One beat or unit a vCPU may have been under way.
	most := uint64(r.env.Guest.Facts().CPUs)
	switch {
	case r.sc.Sign == scenarios.Silent && c.Beats > most:
		return invalid(fmt.Sprintf("the disturbance did not take: %d beats meanwhile", c.Beats))
	case r.sc.Sign == scenarios.Stuck && c.Work > most:
		return invalid(fmt.Sprintf("the disturbance did not take: %d units of work meanwhile", c.Work))
	case r.sc.Sign == scenarios.Slow && 2*c.Work*uint64(r.p.Timing.BaselineMS) >= during.Work*uint64(r.sc.Disturbed.Milliseconds()):
		return invalid(fmt.Sprintf("the disturbance did not take: %d units of work in %v, and %d in %d ms before it", c.Work, r.sc.Disturbed, during.Work, r.p.Timing.BaselineMS))
	}
	return nil
}

// pause is when a counter of the guest last moved, and for how long it ever stood
// still.
type pause struct {
	count         uint64
	at            int64
	from, longest int64
}

func (p *pause) look(n uint64, now int64) {
	if n != p.count {
		p.end(now)
		p.count, p.at = n, now
	}
}

// end takes a pause that goes on as one that ends now.
func (p *pause) end(now int64) {
	if now-p.at > p.longest {
		p.from, p.longest = p.at, now-p.at
	}
}

// pulse is the pauses of all counters of the guest.
type pulse struct {
	page  *beat.Page
	beats []pause // by vCPU
	work  pause
}

func newPulse(page *beat.Page, cpus int, now int64) *pulse {
	p := &pulse{page: page, beats: make([]pause, cpus)}
	for i := range cpus {
		p.beats[i] = pause{count: page.Count(i).Beats, at: now}
	}
	p.work = pause{count: page.Total(cpus).Work, at: now}
	return p
}

func (p *pulse) look(now int64) {
	for i := range p.beats {
		p.beats[i].look(p.page.Count(i).Beats, now)
	}
	p.work.look(p.page.Total(len(p.beats)).Work, now)
}

func (p *pulse) end(now int64) {
	for i := range p.beats {
		p.beats[i].end(now)
	}
	p.work.end(now)
}

// silent returns the vCPUs that have not beaten for d.
func (p *pulse) silent(now, d int64) (vcpus []int) {
	for i := range p.beats {
		if now-p.beats[i].at >= d {
			vcpus = append(vcpus, i)
		}
	}
	return vcpus
}

// truth watches for the sign of a fault.
type truth struct {
	r      *run
	t0     int64
	start  beat.Count
	pulse  *pulse
	during beat.Count

	// The longest time for which a healthy guest stays silent, or without work, at
	// the pace it had before the fault: a mechanism that slows the guest down must
	// not make it look hung.
	beatGap, workGap int64

	windowAt   int64 // of Slow: where the present window began
	windowWork uint64
	slowAt     int64 // where the first of the slow windows in a row began, or 0

	endedAt int64

	heldAt, heldNS int64 // when the longest time without work began, and how long it was
}

func (r *run) newTruth(t0 int64, during beat.Count) *truth {
	now := r.env.Host.Now()
	window := r.p.Timing.BaselineMS * 1e6
	gap := func(n uint64) int64 {
		return silent * max(int64(beat.Period), window/int64(max(n, 1)))
	}
	return &truth{
		r: r, t0: t0, start: r.count(), pulse: newPulse(r.env.Guest.Page(), r.env.Guest.Facts().CPUs, now), during: during,
		beatGap: gap(during.Beats / uint64(r.env.Guest.Facts().CPUs)), workGap: gap(during.Work),
		windowAt: now, windowWork: r.count().Work,
	}
}

// concerned are the vCPUs that must fall silent.
func (t *truth) concerned() []int {
	var all []int
	for i := range t.pulse.beats {
		all = append(all, i)
	}
	switch t.r.sc.VCPUs {
	case scenarios.First:
		return all[:1]
	case scenarios.OnlyLast:
		return all[len(all)-1:]
	}
	return all
}

// look looks once and reports whether the sign is there now, and since when.
func (t *truth) look(now int64) (shown bool, since int64, err error) {
	t.pulse.look(now)
	switch t.r.sc.Sign {
	case scenarios.Silent:
		shown = true
		quiet := t.pulse.silent(now, t.beatGap)
		for _, i := range t.concerned() {
			shown = shown && slices.Contains(quiet, i)
			since = max(since, t.pulse.beats[i].at)
		}
	case scenarios.Stuck:
		shown, since = now-t.pulse.work.at >= t.workGap, t.pulse.work.at
	case scenarios.Slow:
		if now-t.windowAt >= int64(slowWindow) {
			done := float64(t.pulse.work.count-t.windowWork) / float64(now-t.windowAt)
			if slowFactor*done >= t.pace() {
				t.slowAt = 0
			} else if t.slowAt == 0 {
				t.slowAt = t.windowAt
			}
			t.windowAt, t.windowWork = now, t.pulse.work.count
		}
		shown, since = t.slowAt != 0, t.slowAt
	case scenarios.Held:
		// The monitor may let go at any moment: the longest time counts.
		if still := now - max(t.pulse.work.at, t.t0); still > t.heldNS {
			t.heldAt, t.heldNS = max(t.pulse.work.at, t.t0), still
		}
		shown, since = t.heldNS >= t.heldGap(), t.heldAt
	case scenarios.Ended:
		if t.endedAt == 0 {
			how, err := t.r.env.Guest.Ended()
			if err != nil {
				return false, 0, fmt.Errorf("ask whether the guest has ended: %w", err)
			}
			if how != "" {
				t.endedAt = now
			}
		}
		shown, since = t.endedAt != 0 && len(t.pulse.silent(now, t.beatGap)) == t.r.env.Guest.Facts().CPUs, t.endedAt
	}
	return shown, since, nil
}

// heldUnits is how many units of work in a row must be missing for a guest to have
// been held up. The monitor lets go within a second, and with two vCPUs a unit
// takes some 150 ms under the slowest mechanisms.
const heldUnits = 3

// heldGap is how long a guest must be without work to have been held up.
func (t *truth) heldGap() int64 {
	return max(heldUnits*t.r.p.Timing.BaselineMS*1e6/int64(max(t.during.Work, 1)), silent*int64(poll))
}

// pace is the work a nanosecond that the guest did before the fault.
func (t *truth) pace() float64 {
	return float64(t.during.Work) / (1e6 * float64(t.r.p.Timing.BaselineMS))
}

// refuted says why the sign is not there.
func (t *truth) refuted(now int64) invalid {
	after := (now - t.t0) / 1e6
	switch t.r.sc.Sign {
	case scenarios.Held:
		return invalid(fmt.Sprintf("the guest's work went on: it stood still for %d ms at most, and %d are needed to tell", t.heldNS/1e6, t.heldGap()/1e6))
	case scenarios.Stuck, scenarios.Slow:
		return invalid(fmt.Sprintf("the guest's work went on after the fault: %d units in %d ms", t.pulse.work.count-t.start.Work, after))
	case scenarios.Ended:
		return invalid(fmt.Sprintf("the guest had not ended %d ms after the fault", after))
	}
	return invalid(fmt.Sprintf("the guest's heartbeat went on after the fault: %d beats in %d ms", t.r.count().Beats-t.start.Beats, after))
}

// awaitVerdict waits for the verdict or the deadline, and confirms from the
// guest's own counters that it hangs as the scenario says. Without a monitor
// there is nothing to wait for but the ground truth.
func (r *run) awaitVerdict(t0 int64, during beat.Count) error {
	t := r.newTruth(t0, during)
	deadline := t0 + r.p.Timing.DeadlineMS*1e6
	for {
		if err := r.env.Host.Sleep(r.ctx, poll); err != nil {
			return err
		}
		now := r.env.Host.Now()
		shown, since, err := t.look(now)
		if err != nil {
			return err
		}
		if err := r.look(); err != nil {
			return err
		}
		if err := r.hear(); err != nil {
			return err
		}
		if shown && (r.verdict != nil || r.watcher == nil) || now >= deadline {
			c, g := r.count(), &r.rec.Guest
			g.BeatsHung, g.WorkHung = c.Beats-t.start.Beats, c.Work-t.start.Work
			g.SilentVCPUs = t.pulse.silent(now, t.beatGap)
			if !shown {
				return t.refuted(now)
			}
			if r.sc.Partial() && len(g.SilentVCPUs) != 1 {
				return invalid(fmt.Sprintf("the fault was to stop one vCPU and stopped %d", len(g.SilentVCPUs)))
			}
			hang := max(since-t0, 0)
			r.rec.HangNS = &hang
			if r.verdict == nil && r.watcher != nil {
				r.rec.Evidence = r.watcher.Undecided() // of the miss
			}
			return nil
		}
	}
}

// within looks again and again, for d at most, and reports whether good became
// true.
func (r *run) within(d time.Duration, good func() bool) (bool, error) {
	for end := r.env.Host.Now() + int64(d); ; {
		if good() {
			return true, nil
		}
		if r.env.Host.Now() >= end {
			return false, nil
		}
		if err := r.env.Host.Sleep(r.ctx, poll); err != nil {
			return false, err
		}
	}
}

// beatsWithin reports whether the heartbeat of every vCPU advances by n within d.
func (r *run) beatsWithin(n uint64, d time.Duration) (bool, error) {
	return r.within(d, r.beaten(n))
}

// beaten returns a function that reports whether the heartbeat of every vCPU has
// advanced by n since.
func (r *run) beaten(n uint64) func() bool {
	start := newPulse(r.env.Guest.Page(), r.env.Guest.Facts().CPUs, 0)
	return func() bool {
		for i, b := range start.beats {
			if r.env.Guest.Page().Count(i).Beats-b.count < n {
				return false
			}
		}
		return true
	}
}

// recovers reports whether the guest goes on after the fault was lifted.
func (r *run) recovers(during beat.Count) (bool, error) {
	return r.within(ms(r.p.Timing.RecoveryMS), r.resumed(during))
}

// resumed returns a function that reports whether what the fault stopped has
// gone on since.
func (r *run) resumed(during beat.Count) func() bool {
	switch r.sc.Sign {
	case scenarios.Stuck, scenarios.Held:
		start := r.count().Work
		return func() bool { return r.count().Work-start >= 2 }
	case scenarios.Slow:
		// At half the pace over a whole beat's time.
		last, at := r.count().Work, r.env.Host.Now()
		return func() bool {
			now := r.env.Host.Now()
			if now-at < int64(beat.Period) {
				return false
			}
			work := r.count().Work
			rate := float64(work-last) / float64(now-at)
			last, at = work, now
			return 2*rate >= float64(during.Work)/(1e6*float64(r.p.Timing.BaselineMS))
		}
	}
	return r.beaten(2)
}
