package trial

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"hangbench/guests/beat"
	"hangbench/results"
	"hangbench/scenarios/inject"
	"hangbench/scenarios/sign"
)

// step is one part of a trial.
type step struct {
	stage string                          // told to the log when the step begins; empty for none
	when  func() bool                     // the step is left out unless when returns true; nil: it never is
	do    func(ctx context.Context) error // the first error ends the trial
}

// steps are the parts of a trial in their order.
func (r *run) steps() []step {
	var (
		beside    = func() bool { return len(r.env.Beside) > 0 }
		disturbs  = func() bool { return r.sc.Disturb != nil && !r.cut() }
		hangs     = func() bool { return !r.sc.Control() && r.verdict == nil }
		injected  = func() bool { return r.t0 != 0 }
		bounded   = func() bool { return injected() && r.p.BoundedMS > 0 }
		unbounded = func() bool { return injected() && r.p.BoundedMS == 0 }
		waits     = func() bool { return unbounded() && beside() }
		removed   = func() bool { return injected() && !r.final() }
		over      = func() bool { return r.recovered && r.verdict != nil }
		quiet     = func() bool { return bounded() && !over() }
		living    = func() bool { return !r.ended && (!injected() || !r.final()) }
	)
	begin := []step{
		{"workload", nil, r.startWorkload},
		{"attach observers", beside, r.attachBeside},
	}
	if r.sc.Measures() {
		return append(begin,
			step{"", nil, r.delay},
			step{"warm up", nil, r.warmUp},
			step{"", nil, r.windows},
			step{"", nil, r.outlives},
			step{"", nil, r.comparePaired},
		)
	}
	if r.sc.Unknown() {
		return append(begin, r.unknownSteps()...)
	}
	return append(begin,
		step{"baseline", nil, r.baseline},
		step{"attach", nil, r.attach},
		step{"observe", nil, r.observe},
		step{"disturb", disturbs, r.disturb},
		step{"", nil, r.rest},
		step{"inject", hangs, r.inject},
		step{"", unbounded, r.awaitVerdict},
		step{"", bounded, r.sitOut},
		step{"await observers", waits, r.awaitBeside},
		step{"remove", injected, r.removeFault},
		step{"", removed, r.recover},
		step{"", bounded, r.confirmBounded},
		step{"", over, r.awaitAllClear},
		step{"", quiet, r.watchOn},
		step{"detach", nil, r.undo.pop},
		step{"", living, r.outlives},
	)
}

// all runs the steps of a trial and concludes what it came to. However the trial ends,
// it removes the fault and detaches every observer.
func (r *run) all(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, r.undo.all(ctx)) }()
	for _, s := range r.steps() {
		if s.when != nil && !s.when() {
			continue
		}
		if s.stage != "" {
			r.env.Log.Progress(s.stage)
		}
		if err := s.do(ctx); err != nil {
			return err
		}
	}
	r.conclude()
	return nil
}

// startWorkload asks for the scenario's workload and waits until it runs.
func (r *run) startWorkload(ctx context.Context) error {
	const startTime = 10 * time.Second
	if !r.page.Valid() {
		return Invalid("the guest's heartbeat page lost its mark")
	}
	want := r.sc.Workload
	if err := r.page.SetCommand(r.sc.Exec); err != nil {
		return err
	}
	r.page.Want(want)
	for end := r.clock.Now() + int64(startTime); !r.page.Runs(want) || want.Works() && slices.Contains(r.works(), 0); {
		if r.clock.Now() > end {
			return Invalid("the guest did not start the %s workload%s", want, r.complaint())
		}
		if err := r.clock.Sleep(ctx, sign.Poll); err != nil {
			return err
		}
	}
	_, err := r.window(ctx, 4*beat.Period) // the workload settles
	return err
}

// baseline counts what the guest does without the observer.
func (r *run) baseline(ctx context.Context) error {
	var err error
	if r.before, r.dom0Before, err = r.accounted(ctx, ms(r.p.Timing.BaselineMS)); err != nil {
		return err
	}
	r.rec.Guest.BeatsBefore = r.before.Beats
	if r.before.Beats == 0 {
		return Invalid("the guest's heartbeat stood still before the monitor was attached")
	}
	return nil
}

// attach begins the monitored window: it starts the trace and attaches the observer
// whose verdict ends the trial, if there is one.
func (r *run) attach(ctx context.Context) error {
	var err error
	if r.traced, err = r.env.Host.Trace(r.mech); err != nil {
		return fmt.Errorf("trace EPT violations: %w", err)
	}
	r.armedAt = r.clock.Now()
	if r.env.Watcher != nil {
		if err := r.env.Watcher.Attach(ctx, r.subject()); err != nil {
			_, serr := r.traced.Stop()
			return errors.Join(blame(err), serr)
		}
		r.attached = true
	}
	r.undo.push(r.detach)
	return nil
}

// observe counts what the guest does with the observer, and compares that with the
// baseline.
func (r *run) observe(ctx context.Context) error {
	during, dom0, err := r.accounted(ctx, ms(r.p.Timing.BaselineMS))
	if err != nil {
		return err
	}
	r.during = during
	g := &r.rec.Guest
	g.BeatsDuring, g.WorkDuring = during.Beats, during.Work
	if r.cut() { // the verdict cut the window short
		return nil
	}
	on, off := during.Beats, r.before.Beats
	if r.sc.Workload.Works() {
		on, off = during.Work, r.before.Work
	}
	g.ProgressRatio = fraction(float64(on), float64(off))
	g.Dom0BeforeNS, g.Dom0DuringNS, g.PairedNS = r.dom0Before, dom0, r.p.Timing.BaselineMS*1e6
	return nil
}

// rest is the rest of the time before the fault. The trial's seed makes it longer.
func (r *run) rest(ctx context.Context) error {
	rest := ms(r.p.Timing.ObserveMS - r.p.Timing.BaselineMS)
	rest += time.Duration(r.p.Seed % uint64(phase))
	later, err := r.window(ctx, rest)
	if err != nil || r.cut() {
		return err
	}
	for i, name := range beat.Parts(r.sc.Workload.Name) {
		// One unit may have been under way when the window began.
		if n := r.during.Works[i] + later.Works[i]; r.sc.ByWork && n < 2 {
			return Invalid("the guest finished %d units of the %s workload while it was watched%s", n, name, r.complaint())
		}
	}
	return r.checkSignals(r.during.Beats)
}

// complaint is what the guest says about what it cannot do, as the end of a reason. It is
// empty if the guest does not complain.
func (r *run) complaint() string {
	if says := r.page.Complaint(); says != "" {
		return "; it says: " + says
	}
	return ""
}

// checkSignals confirms that the observer has seen the guest. A guest that beats
// switches tasks. An observer that counts task switches and saw none has no trap in
// place.
func (r *run) checkSignals(beats uint64) error {
	s, ok := r.env.Watcher.(Signaller)
	if ok && r.attached && beats > 0 && s.Signals() == 0 {
		return Invalid("%s gave no signal although the guest beat: the trap is not armed", r.mech.Name)
	}
	return nil
}

// bring puts a fault or a disturbance in place. What says in a word what was to happen.
// The undo stack removes it.
func (r *run) bring(ctx context.Context, f inject.Fault, what string) (*inject.Injection, error) {
	in, err := f(ctx, target{r.env.Guest, r.clock, r})
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, Invalid("%s: %v", what, err)
	}
	r.undo.push(func(ctx context.Context) error { return r.remove(ctx, in) })
	return in, nil
}

// remove removes an injection. A guest that an observer has destroyed runs no more:
// nothing in its memory needs to be removed, and waiting for one of its vCPUs would
// never end. A guest that lives and whose vCPUs never leave the place makes the trial
// invalid.
func (r *run) remove(ctx context.Context, in *inject.Injection) error {
	if !in.Outside && r.destroyed() {
		return nil
	}
	err := in.Remove(ctx)
	if in.Away && err != nil {
		return Invalid("the guest did not come back: %v", err)
	}
	if errors.Is(err, inject.ErrBusy) || errors.Is(err, inject.ErrDeaf) {
		return Invalid("what was done to the guest could not be removed: %v", err)
	}
	return err
}

// disturb disturbs a control as its scenario says, removes the disturbance, and
// confirms that it had an effect.
func (r *run) disturb(ctx context.Context) error {
	in, err := r.bring(ctx, r.sc.Disturb, "the guest could not be disturbed")
	if err != nil {
		return err
	}
	if in.Away {
		return r.absent(ctx)
	}
	if r.ended = in.Ends; r.ended {
		if r.rec.Guest.Ended, err = r.env.Guest.Ended(); err != nil {
			return fmt.Errorf("ask how the guest has ended: %w", err)
		}
	}
	during, err := r.window(ctx, r.sc.Disturbed)
	if err != nil {
		return err
	}
	if err := r.undo.pop(ctx); err != nil || r.cut() {
		return err
	}
	s, ok := r.sc.Sign.(sign.Disturbance)
	if !ok {
		return nil
	}
	if why := s.Failed(sign.Disturbed{CPUs: r.cpus, Before: r.during, During: during}); why != "" {
		return Invalid("the disturbance did not take: %s%s", why, r.complaint())
	}
	return nil
}

// saved is what a record says of a guest that was saved and came back.
const saved = "saved"

// absent is the time of a disturbance during which the guest has no domain. The observer
// must end by itself, because its guest is gone, and is detached. The guest comes back in
// another domain, where it must go on without the observer. The observer is then attached
// there.
func (r *run) absent(ctx context.Context) error {
	r.away, r.rec.Guest.Ended = true, saved
	back := r.clock.Now() + int64(r.sc.Disturbed)
	r.undo.swap() // the observer is detached before the guest comes back
	if e, ok := r.env.Watcher.(Ender); ok && r.attached {
		if over, err := r.within(ctx, e.Ended); err != nil {
			return err
		} else if !over {
			return Invalid("the monitor did not notice that its guest was gone")
		}
	}
	if err := r.undo.pop(ctx); err != nil {
		return err
	}
	if r.env.Watcher != nil && r.verdict == nil {
		if reports := r.env.Watcher.Reports(); len(reports) > 0 {
			r.verdict = &reports[0]
		}
	}
	for now := r.clock.Now(); now < back; now = r.clock.Now() {
		if err := r.clock.Sleep(ctx, min(sign.Poll, time.Duration(back-now))); err != nil {
			return err
		}
		if err := r.pollBeside(); err != nil {
			return err
		}
	}
	if err := r.undo.pop(ctx); err != nil { // the guest comes back
		return err
	}
	r.away, r.page = false, r.env.Guest.Page()
	alive, err := r.within(ctx, sign.Beaten(r.page, r.cpus))
	if err != nil {
		return err
	}
	if !alive {
		return Invalid("the guest made no progress after it was restored")
	}
	if err := r.attach(ctx); err != nil {
		return err
	}
	_, err = r.window(ctx, ms(r.p.Timing.BaselineMS))
	return err
}

// inject brings the fault in and begins to follow the ground truth.
func (r *run) inject(ctx context.Context) error {
	t0 := r.clock.Now()
	in, err := r.bring(ctx, r.sc.Fault, "the fault could not be injected")
	if err != nil {
		return err
	}
	if in.Asked {
		t0 = r.clock.Now()
	}
	r.env.Log.Injected(t0)
	r.t0, r.injection = t0, in
	r.truth = sign.NewTruth(sign.Config{
		Page: r.page, CPUs: r.cpus, Now: r.clock.Now, Ended: r.env.Guest.Ended, T0: t0, Before: r.during,
	})
	return nil
}

// awaitVerdict waits for the verdict or the deadline, and confirms by the guest's own
// counters that the guest hangs as the scenario says. Without an observer only the
// ground truth is awaited.
func (r *run) awaitVerdict(ctx context.Context) error {
	watch := r.sc.Sign.Follow(r.truth)
	deadline := r.t0 + r.p.Timing.DeadlineMS*1e6
	for {
		if err := r.clock.Sleep(ctx, sign.Poll); err != nil {
			return err
		}
		now := r.clock.Now()
		r.truth.Look(now)
		shown, since, err := watch.Shown(now)
		if err != nil {
			return err
		}
		if err := r.poll(); err != nil {
			return err
		}
		if r.verdict != nil && r.verdict.AtNS > deadline {
			r.verdict = nil // a miss is censored at the deadline, however late the host looks
		}
		done := shown && (r.verdict != nil || !r.attached)
		if !done && now < deadline {
			continue
		}
		r.noteHung(r.truth.Silent(now))
		if !shown {
			return Invalid("%s%s", watch.Refuted(now), r.complaint())
		}
		if err := r.checkPartial(); err != nil {
			return err
		}
		r.noteHang(since)
		r.explainMiss()
		return nil
	}
}

// noteHung records what the guest did while it was to hang.
func (r *run) noteHung(silent []int) {
	did, g := r.truth.Since(), &r.rec.Guest
	g.BeatsHung, g.WorkHung, g.SilentVCPUs = did.Beats, did.Work, silent
}

// noteHang records when the guest gave its last sign of life.
func (r *run) noteHang(since int64) {
	hang := max(since-r.t0, 0)
	r.rec.HangNS = &hang
}

// explainMiss records why the observer has given no verdict.
func (r *run) explainMiss() {
	if e, ok := r.env.Watcher.(Explainer); ok && r.attached && r.verdict == nil {
		r.rec.Evidence = e.Undecided()
	}
}

// checkPartial confirms that a fault of one vCPU stopped one.
func (r *run) checkPartial() error {
	if n := len(r.rec.Guest.SilentVCPUs); r.sc.Partial() && n != 1 {
		return Invalid("the fault was to stop one vCPU and stopped %d", n)
	}
	return nil
}

// removeFault removes the fault.
func (r *run) removeFault(ctx context.Context) error {
	if r.p.BoundedMS > 0 {
		r.explainMiss()
		r.noteHung(nil)
		r.removingAt = r.clock.Now()
	}
	if err := r.undo.pop(ctx); err != nil {
		return err
	}
	r.removedAt = r.clock.Now()
	if r.p.BoundedMS > 0 {
		undone := r.removedAt - r.t0
		r.rec.UndoneNS = &undone
	} else if r.until == 0 {
		r.until = r.removedAt
	}
	if !r.destroyed() {
		r.env.Log.Removed(r.removedAt)
	}
	return nil
}

// recover waits until the guest goes on after the fault.
func (r *run) recover(ctx context.Context) error {
	good := r.sc.Sign.Resumed(r.truth)
	if r.p.BoundedMS > 0 {
		resumed := good
		good = func() bool {
			r.truth.Look(r.clock.Now())
			return resumed()
		}
	}
	var err error
	if r.recovered, err = r.within(ctx, good); err != nil {
		return err
	}
	r.rec.Recovered = &r.recovered
	if r.recovered && r.p.BoundedMS > 0 {
		resumed := r.clock.Now() - r.t0
		r.rec.ResumedNS = &resumed
	}
	return nil
}

// awaitAllClear waits until the observer reports that the hang is over, for as long as
// the guest had to recover.
func (r *run) awaitAllClear(ctx context.Context) error {
	var failed error
	_, err := r.within(ctx, func() bool {
		if failed = r.env.Watcher.Poll(r.t0); failed != nil {
			return true
		}
		reports := r.env.Watcher.Reports()
		if len(reports) == 0 || reports[len(reports)-1].EndNS == 0 {
			return false
		}
		if d := reports[len(reports)-1].EndNS - r.removedAt; d >= 0 {
			r.rec.AllClearNS = &d
		}
		return true
	})
	return errors.Join(err, blame(failed))
}

// outlives confirms that the guest goes on without the observer.
func (r *run) outlives(ctx context.Context) error {
	start := r.count().Beats
	alive, err := r.within(ctx, sign.Beaten(r.page, r.cpus))
	if err != nil {
		return err
	}
	r.rec.Guest.BeatsAfter = r.count().Beats - start
	if !alive {
		return Invalid("the guest made no progress after the monitor was detached")
	}
	return nil
}

// cut reports whether there is a verdict that ends the trial early. A control goes on:
// how long a false alarm lasts is measured too. So does a fault of unknown effect: what
// becomes of it does not depend on a monitor.
func (r *run) cut() bool { return r.verdict != nil && !r.sc.Control() && !r.sc.Unknown() }

// final reports whether the guest cannot recover from what happened to it.
func (r *run) final() bool { return r.sc.Final || r.destroyed() }

// window waits for d and returns what the guest did meanwhile. It ends early if the
// trial does.
func (r *run) window(ctx context.Context, d time.Duration) (sign.Pace, error) {
	began := r.clock.Now()
	start, works, end, said := r.count(), r.works(), began+int64(d), began
	for now := began; now < end && !r.cut(); now = r.clock.Now() {
		if now-said >= int64(sayEvery) {
			said = now
			r.env.Log.Progress(fmt.Sprintf("%d of %d s", (now-began)/1e9, d/time.Second))
		}
		if err := r.clock.Sleep(ctx, min(sign.Poll, time.Duration(end-now))); err != nil {
			return sign.Pace{}, err
		}
		if err := r.poll(); err != nil {
			return sign.Pace{}, err
		}
	}
	c := r.count()
	p := sign.Pace{Count: beat.Count{Beats: c.Beats - start.Beats, Work: c.Work - start.Work}, Window: d}
	for n, units := range r.works() {
		p.Works = append(p.Works, units-works[n])
	}
	return p, nil
}

// works reads how much of each of the works that run at a time the guest has done.
func (r *run) works() []uint64 {
	var all []uint64
	for n := range beat.Parts(r.sc.Workload.Name) {
		all = append(all, r.page.Units(n, r.cpus))
	}
	return all
}

// accounted is a window, and the CPU time that dom0 used in it, in nanoseconds.
func (r *run) accounted(ctx context.Context, d time.Duration) (sign.Pace, int64, error) {
	start, err := r.env.Host.CPUTime()
	if err != nil {
		return sign.Pace{}, 0, fmt.Errorf("read dom0's CPU time: %w", err)
	}
	p, err := r.window(ctx, d)
	if err != nil {
		return p, 0, err
	}
	end, err := r.env.Host.CPUTime()
	if err != nil {
		return p, 0, fmt.Errorf("read dom0's CPU time: %w", err)
	}
	return p, end - start, nil
}

// within calls good every sign.Poll until it returns true, for as long as a guest may
// take to recover, and reports whether it did.
func (r *run) within(ctx context.Context, good func() bool) (bool, error) {
	for end := r.clock.Now() + r.p.Timing.RecoveryMS*1e6; ; {
		if good() {
			return true, nil
		}
		if r.clock.Now() >= end {
			return false, nil
		}
		if err := r.clock.Sleep(ctx, sign.Poll); err != nil {
			return false, err
		}
	}
}

// fraction is on over off, to four digits, which is more than the windows resolve. It
// is nil if off is 0.
func fraction(on, off float64) *float64 {
	if off <= 0 {
		return nil
	}
	ratio := math.Round(1e4*on/off) / 1e4
	return &ratio
}

// conclude records what the trial came to. Its ground truth is confirmed here.
func (r *run) conclude() {
	if r.sc.Unknown() {
		r.concludeUnknown()
		return
	}
	v := r.verdict
	if v != nil {
		r.rec.Class, r.rec.Scope, r.rec.Evidence = v.Class, v.Scope, v.Evidence
	}
	switch {
	case len(r.rec.NeighbourAlarms) > 0:
		r.rec.Outcome = results.FalseAlarm
	case v != nil && (r.t0 == 0 || v.AtNS < r.t0 || r.late(v.AtNS)):
		r.rec.Outcome = results.FalseAlarm
	case v != nil:
		r.rec.Outcome = results.Detected
		d := v.AtNS - r.t0
		r.rec.DetectNS = &d
	case r.sc.Control():
		r.rec.Outcome = results.Clean
	case r.rec.ResumedNS != nil:
		r.rec.Outcome = results.Undone
	default:
		r.rec.Outcome = results.Missed
	}
}

// late reports whether at is after the guest went on from a bounded fault.
func (r *run) late(at int64) bool {
	return r.rec.ResumedNS != nil && at > r.t0+*r.rec.ResumedNS
}
