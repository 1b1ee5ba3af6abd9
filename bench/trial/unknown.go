package trial

import (
	"context"
	"fmt"
	"slices"
	"time"

	"hangbench/guests/beat"
	"hangbench/results"
	"hangbench/scenarios/outcome"
	"hangbench/scenarios/sign"
)

const (
	// locateEvery is how often vCPUs without a heartbeat are located, and whether the guest
	// has come to the place of the fault is asked.
	locateEvery = time.Second
	// placesKept is how many places of a vCPU are kept: the last ones.
	placesKept = 3
	// probeAgain is how long PID 1 has to answer before it is asked again. A request that it
	// has not begun is replaced.
	probeAgain = 5 * time.Second
)

// unknownSteps are the steps of a trial whose fault has an effect that nobody knows
// before, behind those that begin every trial.
func (r *run) unknownSteps() []step {
	quiet := func() bool { return r.verdict == nil }
	injected := func() bool { return r.t0 != 0 }
	return []step{
		{"canaries", nil, r.startCanaries},
		{"attach", nil, r.attach},
		{"learn", nil, r.learn},
		{"inject", quiet, r.inject},
		{"follow", injected, r.follow},
		{"remove", injected, r.mend},
		{"detach", nil, r.undo.pop},
	}
}

// startCanaries has PID 1 start the canaries, and waits until each has done a unit.
func (r *run) startCanaries(ctx context.Context) error {
	if err := (target{r: r, Clock: r.clock}).Ask(ctx, beat.Canaries); err != nil {
		return err
	}
	for _, c := range beat.AllCanaries() {
		alive, err := r.within(ctx, func() bool { return r.page.Sung(c) > 0 })
		if err != nil {
			return err
		}
		if !alive {
			return Invalid("the canary %s does nothing in a healthy guest", c)
		}
	}
	return nil
}

// follower follows the parts of the guest of a run.
type follower struct {
	r     *run
	names []string
	// counts and gone are what each part has counted, and whether its process has ended.
	counts []uint64
	gone   []bool

	probe    uint64 // token of the probe under way, 0 without one
	probedAt int64
	answers  uint64 // of PID 1

	*outcome.Follower
	places  [][]outcome.Place // by vCPU, the last ones
	reached *bool
}

// newFollower returns a follower that has read the counters once.
func newFollower(r *run) *follower {
	f := &follower{r: r, places: make([][]outcome.Place, r.cpus)}
	for cpu := range r.cpus {
		f.names = append(f.names, outcome.Beat(cpu), outcome.Work(cpu))
	}
	for _, c := range beat.AllCanaries() {
		f.names = append(f.names, outcome.Canary(c))
	}
	f.names = append(f.names, outcome.PID1)
	f.counts, f.gone = make([]uint64, len(f.names)), make([]bool, len(f.names))
	f.read(r.clock.Now())
	return f
}

// read reads the counters, in the order of names, and probes PID 1.
func (f *follower) read(now int64) {
	page := f.r.page
	if f.probe != 0 && page.Answered(f.probe) {
		f.probe = 0
		f.answers++
	}
	if f.probe == 0 || now-f.probedAt >= int64(probeAgain) {
		f.probe, f.probedAt = page.Ask(beat.Probe), now
	}
	g, i := page.Gone(), 0
	put := func(n, gone uint64, bit int) {
		f.counts[i], f.gone[i] = n, gone>>bit&1 != 0
		i++
	}
	for cpu := range f.r.cpus {
		c := page.Count(cpu)
		put(c.Beats, g.Beats, cpu)
		put(c.Work, g.Works, cpu)
	}
	for _, c := range beat.AllCanaries() {
		put(page.Sung(c), g.Canaries, int(c))
	}
	put(f.answers, 0, 0)
}

// learn counts what each part of the guest does with the observer, before the fault.
func (r *run) learn(ctx context.Context) error {
	f := newFollower(r)
	r.follower = f
	began, start := r.clock.Now(), slices.Clone(f.counts)
	before := r.count()
	window := ms(r.p.Timing.ObserveMS) + time.Duration(r.p.Seed%uint64(phase))
	for now := began; now < began+int64(window); now = r.clock.Now() {
		if err := r.clock.Sleep(ctx, min(sign.Poll, time.Duration(began+int64(window)-now))); err != nil {
			return err
		}
		f.read(r.clock.Now())
		if err := r.poll(); err != nil {
			return err
		}
	}
	c, g := r.count(), &r.rec.Guest
	r.during = sign.Pace{Count: beat.Count{Beats: c.Beats - before.Beats, Work: c.Work - before.Work}, Window: window}
	g.BeatsDuring, g.WorkDuring = r.during.Beats, r.during.Work
	var parts []outcome.Part
	for i, name := range f.names {
		parts = append(parts, outcome.Part{Name: name, Units: f.counts[i] - start[i]})
		if parts[i].Units == 0 && (i%2 == 0 || i >= 2*r.cpus) { // work may do nothing
			return Invalid("%s did nothing in %d ms before the fault", name, window.Milliseconds())
		}
	}
	f.Follower = outcome.New(r.clock.Now(), parts, window, slices.Clone(f.counts))
	return r.checkSignals(r.during.Beats)
}

// follow follows the guest from the fault to the deadline. It ends early if nothing can
// change any more: the guest has ended or all of it has stopped, and there is a verdict.
func (r *run) follow(ctx context.Context) error {
	f := r.follower
	f.Begin(r.t0)
	deadline := r.t0 + r.p.Timing.DeadlineMS*1e6
	ended := false
	for located := r.t0; ; {
		now := r.clock.Now()
		f.read(now)
		f.Add(now, f.counts, f.gone)
		if !ended {
			how, err := r.env.Guest.Ended()
			if err != nil {
				return fmt.Errorf("ask whether the guest has ended: %w", err)
			}
			if ended = how != ""; ended {
				f.End(now)
			}
		}
		if err := r.poll(); err != nil {
			return err
		}
		e := f.Effect(f.reached)
		over := now >= deadline || r.verdict != nil && (e.What == results.AllHung || e.What == results.Crashed)
		if (over || now-located >= int64(locateEvery)) && !ended {
			located = now
			if err := f.locate(); err != nil {
				return err
			}
		}
		if over {
			e = f.Effect(f.reached)
			r.noteEffect(&e, now)
			return nil
		}
		if err := r.clock.Sleep(ctx, min(sign.Poll, time.Duration(deadline-now))); err != nil {
			return err
		}
	}
}

// locate notes where the vCPUs without a heartbeat are, and whether the guest has come to
// the place of the fault.
func (f *follower) locate() error {
	for _, vcpu := range f.Silent() {
		p, err := f.r.env.Guest.Locate(vcpu)
		if err != nil {
			return fmt.Errorf("locate vCPU %d: %w", vcpu, err)
		}
		all := append(f.places[vcpu], p)
		f.places[vcpu] = all[max(0, len(all)-placesKept):]
	}
	if f.reached != nil && *f.reached {
		return nil
	}
	reached, known, err := f.r.injection.Reached()
	if err != nil {
		return fmt.Errorf("ask whether the guest has come to the fault: %w", err)
	}
	if known {
		f.reached = &reached
	}
	return nil
}

// noteEffect records what has become of the guest by now.
func (r *run) noteEffect(e *results.Effect, now int64) {
	f := r.follower
	silent := f.Silent()
	r.noteHung(silent)
	var places []outcome.Place
	for _, vcpu := range silent {
		places = append(places, f.places[vcpu]...)
	}
	e.Right = outcome.Right(e, places, r.sc.Workload)
	if e.Hung() {
		for _, p := range places {
			if text := p.String(); !slices.Contains(e.Places, text) {
				e.Places = append(e.Places, text)
			}
		}
		r.rec.HangNS = e.HungNS
	}
	r.rec.Effect, r.until = e, now
	if e.Hung() {
		r.explainMiss()
	}
}

// mend removes the fault and sees whether the guest goes on. One that does not is no
// reason to refuse the trial: what became of it is known.
func (r *run) mend(ctx context.Context) error {
	err := r.undo.pop(ctx)
	if _, sick := reasons(err); err != nil && !sick {
		return err
	}
	r.removedAt = r.clock.Now()
	r.env.Log.Removed(r.removedAt)
	if r.rec.Effect.What == results.Crashed || r.sc.Final {
		return nil
	}
	recovered := false
	if err == nil {
		if recovered, err = r.within(ctx, sign.Beaten(r.page, r.cpus)); err != nil {
			return err
		}
	}
	r.rec.Recovered = &recovered
	return nil
}

// concludeUnknown records what a trial came to whose fault has an effect that nobody knew
// before. A report is about a hang if it was there when the guest's first part stopped, or
// came later, as long as the guest was followed.
func (r *run) concludeUnknown() {
	var reports []Report
	if r.env.Watcher != nil {
		last := min(r.until, r.t0+r.rec.DeadlineNS)
		for _, p := range r.env.Watcher.Reports() {
			if r.t0 == 0 || p.AtNS <= last {
				reports = append(reports, p)
			}
		}
	}
	of := reports
	hung := r.rec.Effect != nil && r.rec.Effect.Hung()
	if hung {
		onset := r.t0 + *r.rec.Effect.HungNS
		of = slices.DeleteFunc(slices.Clone(reports), func(p Report) bool { return p.EndNS != 0 && p.EndNS <= onset })
	}
	if len(of) == 0 {
		of = reports
	} else if hung && of[0].AtNS >= r.t0 {
		d := of[0].AtNS - r.t0
		r.rec.DetectNS = &d
	}
	if len(of) > 0 {
		r.rec.Class, r.rec.Scope, r.rec.Evidence = of[0].Class, of[0].Scope, of[0].Evidence
	}
	switch {
	case r.rec.DetectNS != nil:
		r.rec.Outcome = results.Detected
	case len(reports) > 0 || len(r.rec.NeighbourAlarms) > 0:
		r.rec.Outcome = results.FalseAlarm
	case hung:
		r.rec.Outcome = results.Missed
	default:
		r.rec.Outcome = results.Clean
	}
}
