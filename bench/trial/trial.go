package trial

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"hangbench/bench/plan"
	"hangbench/guests/beat"
	"hangbench/guests/watchdog"
	"hangbench/monitor"
	"hangbench/monitor/detect"
	"hangbench/monitor/trap"
	"hangbench/results"
	"hangbench/scenarios"
	"hangbench/scenarios/inject"
)

// Watcher is an attached monitor; a *monitor.Session is one.
type Watcher interface {
	Verdict() <-chan detect.Verdict
	Done() <-chan struct{}
	// Signals counts the signs of life that the mechanism has seen.
	Signals() uint64
	// Undecided says why there is no verdict yet.
	Undecided() []string
	// Alarms are the times during which the guest was held for hung.
	Alarms() []monitor.Alarm
	// Mishandle breaks the monitor on purpose, or mends it.
	Mishandle(on bool) error
	Detach() (monitor.Counters, error)
}

const (
	// poll is how often the trial looks at the heartbeat. On a host with one CPU
	// every look takes time from the guest.
	poll = 20 * time.Millisecond
	// silent is how many heartbeats in a row must be missing before the guest is
	// taken to hang, at the pace it had before the fault.
	silent = 6
	// sayEvery is how often a long window tells how far it is.
	sayEvery = 20 * time.Second
	// phase is the span over which a trial's seed moves its injection: two
	// heartbeats, so that every phase of the guest's own period is hit.
	phase = 2 * beat.Period
)

// invalid says why the ground truth of a trial was not confirmed.
type invalid string

func (e invalid) Error() string { return string(e) }

// reasons returns why the trial is invalid, if err says nothing but that. An
// interrupted trial or a failed host is not the trial's outcome, whatever else
// went wrong on the way out.
func reasons(err error) ([]string, bool) {
	switch e := err.(type) {
	case invalid:
		return []string{string(e)}, true
	case interface{ Unwrap() []error }:
		var all []string
		for _, err := range e.Unwrap() {
			why, ok := reasons(err)
			if !ok {
				return nil, false
			}
			all = append(all, why...)
		}
		return all, true
	}
	return nil, false
}

// Run runs one trial. The error is for what is not the trial's outcome: ctx
// ended, or the host failed. A guest or monitor that misbehaved is in the record.
func Run(ctx context.Context, p plan.Trial, env Env) (results.Trial, error) {
	rec := results.Trial{
		Schema: results.Schema, Suite: p.Suite, Trial: p.Index, Block: p.Block,
		Scenario: p.Scenario, Mechanism: p.Mechanism, Driver: p.Driver, Host: env.Host.Kind(),
		GuestKernel: env.Guest.Facts().Release, GuestBoot: p.Guest.Boot, Superpages: p.Guest.Superpages, Programs: p.Guest.Programs, Neighbours: p.Guest.Neighbours, VCPUs: p.Guest.VCPUs, MemoryMiB: p.Guest.MemoryMiB, Seed: p.Seed,
		Thresholds: p.Thresholds,
	}
	sc, err := scenarios.Find(p.Scenario)
	if err != nil {
		return rec, err
	}
	mech, err := trap.Find(p.Mechanism)
	if err != nil {
		return rec, err
	}
	rec.Expected = sc.Class
	if !sc.Control() {
		rec.DeadlineNS = p.Timing.DeadlineMS * 1e6
	}
	if p.BoundedMS > 0 {
		if why := sc.Lasting(); why != "" {
			return rec, fmt.Errorf("scenario %s %s and cannot be bounded", sc.ID, why)
		}
		rec.BoundedMS, rec.DeadlineNS = p.BoundedMS, p.BoundedMS*1e6
	}
	r := &run{ctx: ctx, p: p, env: env, sc: sc, mech: mech, rec: &rec}
	if env.Guest.Facts().CPUs < sc.MinVCPUs {
		return rec, fmt.Errorf("scenario %s needs a guest with %d vCPUs, this one has %d", sc.ID, sc.MinVCPUs, env.Guest.Facts().CPUs)
	}
	err = r.all()
	if why, ok := reasons(err); ok {
		rec.Outcome, rec.Reason = results.Invalid, strings.ReplaceAll(strings.Join(why, "; "), "\n", "; ")
		return rec, nil
	}
	return rec, err
}

type run struct {
	ctx  context.Context
	p    plan.Trial
	env  Env
	sc   scenarios.Scenario
	mech trap.Mechanism
	rec  *results.Trial

	watcher Watcher
	traced  Tracer
	armedAt int64
	verdict *detect.Verdict

	listener *listener // of a trial with baselines
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func (r *run) count() beat.Count { return r.env.Guest.Page().Total(r.env.Guest.Facts().CPUs) }

// all is the way of a trial. Whatever happens after attaching, the fault is
// lifted and the monitor detached.
func (r *run) all() (err error) {
	r.env.Log.Progress("workload")
	if err := r.startWorkload(); err != nil {
		return err
	}
	if r.p.Baselines != string(watchdog.Off) {
		r.env.Log.Progress("arm watchdogs")
		if err := r.listen(); err != nil {
			return err
		}
		defer r.writeBaselines() // of an invalid trial too
	}
	if r.sc.Stress.Known() {
		return r.paired()
	}
	r.env.Log.Progress("baseline")
	before, dom0Before, err := r.accounted(ms(r.p.Timing.BaselineMS))
	if err != nil {
		return err
	}
	r.rec.Guest.BeatsBefore = before.Beats
	if before.Beats == 0 {
		return invalid("the guest's heartbeat stood still before the monitor was attached")
	}

	r.env.Log.Progress("attach")
	if err := r.attach(); err != nil {
		return err
	}
	attached := true
	var fault *inject.Injection
	defer func() {
		if fault != nil {
			err = errors.Join(err, r.lift(fault))
		}
		if attached {
			_, derr := r.detach()
			err = errors.Join(err, derr)
		}
	}()

	r.env.Log.Progress("observe")
	during, dom0During, err := r.accounted(ms(r.p.Timing.BaselineMS))
	if err != nil {
		return err
	}
	r.rec.Guest.BeatsDuring, r.rec.Guest.WorkDuring = during.Beats, during.Work
	r.progressRatio(before, during)
	if !r.cut() {
		r.rec.Guest.Dom0BeforeNS, r.rec.Guest.Dom0DuringNS, r.rec.Guest.PairedNS = dom0Before, dom0During, r.p.Timing.BaselineMS*1e6
	}
	if r.sc.Disturb != nil && !r.cut() {
		if err := r.disturb(&fault, during); err != nil {
			return err
		}
	}
	rest := ms(r.p.Timing.ObserveMS - r.p.Timing.BaselineMS)
	rest += time.Duration(r.p.Seed % uint64(phase))
	if _, err := r.window(rest); err != nil {
		return err
	}
	// The guest beats, so it switches tasks: a mechanism that saw none of it has
	// no trap in place.
	if r.watcher != nil && !r.cut() && during.Beats > 0 && r.watcher.Signals() == 0 {
		return r.unarmed()
	}

	var t0 int64
	if !r.sc.Control() && r.verdict == nil {
		r.env.Log.Progress("inject")
		t0 = r.env.Host.Now()
		if fault, err = r.sc.Fault(r.ctx, r.target()); err != nil {
			if r.ctx.Err() != nil {
				return r.ctx.Err()
			}
			return invalid(fmt.Sprintf("the fault could not be injected: %v", err))
		}
		if fault.Asked {
			t0 = r.env.Host.Now()
		}
		r.env.Log.Injected(t0)
		if r.listener != nil {
			r.listener.t0 = t0
		}
		if r.p.BoundedMS > 0 {
			err = r.bounded(t0, during, &fault)
		} else {
			err = r.endless(t0, during, &fault)
		}
		if err != nil {
			return err
		}
	}

	r.env.Log.Progress("detach")
	attached = false
	if _, err := r.detach(); err != nil {
		return err
	}
	// After a fault without a way back the guest is not asked for more.
	if t0 == 0 || !r.final() {
		if err := r.outlives(); err != nil {
			return err
		}
	}
	r.conclude(t0)
	return nil
}

// unarmed says that a mechanism saw nothing of a guest that beats.
func (r *run) unarmed() error {
	return invalid(fmt.Sprintf("%s gave no signal although the guest beat: the trap is not armed", r.mech.Name))
}

// outlives confirms that the guest goes on without the monitor.
func (r *run) outlives() error {
	start := r.count().Beats
	alive, err := r.beatsWithin(2, ms(r.p.Timing.RecoveryMS))
	if err != nil {
		return err
	}
	r.rec.Guest.BeatsAfter = r.count().Beats - start
	if !alive {
		return invalid("the guest made no progress after the monitor was detached")
	}
	return nil
}

// endless leaves the fault in place until the verdict or the deadline, takes it
// back, and sees whether the guest goes on.
func (r *run) endless(t0 int64, during beat.Count, in **inject.Injection) error {
	if err := r.awaitVerdict(t0, during); err != nil {
		return err
	}
	if err := r.awaitBaselines(); err != nil {
		return err
	}
	r.env.Log.Progress("lift")
	lift := *in
	*in = nil
	if err := r.lift(lift); err != nil {
		return err
	}
	if !r.endedByXen() {
		r.env.Log.Lifted(r.env.Host.Now())
	}
	if r.final() {
		return nil
	}
	lifted := r.env.Host.Now()
	recovered, err := r.recovers(during)
	if err != nil {
		return err
	}
	r.rec.Recovered = &recovered
	if recovered && r.verdict != nil {
		return r.awaitAllClear(lifted)
	}
	return nil
}

// awaitAllClear gives the monitor as long as the guest had to see that the hang
// is over, which was lifted at lifted.
func (r *run) awaitAllClear(lifted int64) error {
	_, err := r.within(ms(r.p.Timing.RecoveryMS), func() bool {
		alarms := r.watcher.Alarms()
		if len(alarms) == 0 || alarms[len(alarms)-1].EndNS == 0 {
			return false
		}
		if d := alarms[len(alarms)-1].EndNS - lifted; d >= 0 {
			r.rec.AllClearNS = &d
		}
		return true
	})
	return err
}

// startWorkload asks for the scenario's workload and waits until it runs.
func (r *run) startWorkload() error {
	if !r.env.Guest.Page().Valid() {
		return invalid("the guest's heartbeat page lost its mark")
	}
	want := r.sc.Workload
	r.env.Guest.Page().Want(want)
	for end := r.env.Host.Now() + int64(10*time.Second); r.env.Guest.Page().Active() != want || want.Works() && r.count().Work == 0; {
		if r.env.Host.Now() > end {
			return invalid(fmt.Sprintf("the guest did not start the %s workload", r.sc.Workload))
		}
		if err := r.env.Host.Sleep(r.ctx, poll); err != nil {
			return err
		}
	}
	_, err := r.window(4 * beat.Period) // let it settle
	return err
}

// cut reports whether there is a verdict that ends the trial early. A control goes
// on: how long a false alarm lasts is part of what is measured.
func (r *run) cut() bool { return r.verdict != nil && !r.sc.Control() }

// window lets time pass and returns what the guest did meanwhile. It ends early
// if the trial does.
func (r *run) window(d time.Duration) (beat.Count, error) {
	began := r.env.Host.Now()
	start, end, said := r.count(), began+int64(d), began
	for now := began; now < end && !r.cut(); now = r.env.Host.Now() {
		if now-said >= int64(sayEvery) { // silence would be taken for a lab that is stuck
			said = now
			r.env.Log.Progress(fmt.Sprintf("%d of %d s", (now-began)/1e9, d/time.Second))
		}
		if err := r.env.Host.Sleep(r.ctx, min(poll, time.Duration(end-now))); err != nil {
			return beat.Count{}, err
		}
		if err := r.look(); err != nil {
			return beat.Count{}, err
		}
		if err := r.hear(); err != nil {
			return beat.Count{}, err
		}
	}
	c := r.count()
	return beat.Count{Beats: c.Beats - start.Beats, Work: c.Work - start.Work}, nil
}

// accounted is a window, with the CPU time that dom0 had in it.
func (r *run) accounted(d time.Duration) (beat.Count, int64, error) {
	start, err := r.env.Host.CPUTime()
	if err != nil {
		return beat.Count{}, 0, fmt.Errorf("read dom0's CPU time: %w", err)
	}
	c, err := r.window(d)
	if err != nil {
		return c, 0, err
	}
	end, err := r.env.Host.CPUTime()
	if err != nil {
		return c, 0, fmt.Errorf("read dom0's CPU time: %w", err)
	}
	return c, end - start, nil
}

// look takes the verdict, if there is one, and notices a monitor that died.
func (r *run) look() error {
	if r.watcher == nil || r.cut() {
		return nil
	}
	if r.verdict == nil {
		select {
		case v := <-r.watcher.Verdict():
			r.verdict = &v
			return nil
		default:
		}
	}
	select {
	case <-r.watcher.Done():
		return invalid("the monitor ended by itself")
	default:
		return nil
	}
}

func (r *run) attach() error {
	var err error
	if r.traced, err = r.env.Host.Trace(r.mech); err != nil {
		return fmt.Errorf("trace EPT violations: %w", err)
	}
	r.armedAt = r.env.Host.Now()
	if !r.mech.Watches() {
		return nil
	}
	t := detect.DefaultThresholds()
	if err := t.SetAll(r.p.Thresholds); err != nil {
		_, serr := r.traced.Stop()
		return errors.Join(err, serr)
	}
	if r.watcher, err = r.env.Attach(r.mech, t, ms(r.p.Timing.SampleMS)); err != nil {
		_, serr := r.traced.Stop()
		return errors.Join(err, serr)
	}
	return nil
}

// detach ends monitor and trace and adds what they counted to the record.
func (r *run) detach() (monitor.Counters, error) {
	var c monitor.Counters
	var merr error
	if r.watcher != nil {
		if c, merr = r.watcher.Detach(); merr != nil {
			merr = invalid(fmt.Sprintf("the monitor failed: %v", merr))
		}
		r.writeAlarms()
	}
	r.rec.WindowNS += r.env.Host.Now() - r.armedAt
	n, terr := r.traced.Stop()
	if terr != nil {
		terr = fmt.Errorf("trace EPT violations: %w", terr)
	}
	r.rec.Events.Add(results.Events{
		Delivered: c.Accesses + c.Breakpoints + c.CR3, Steps: c.Steps, RingFull: c.RingFull,
		Signals: c.Signals, Switches: c.Switches, Samples: c.Samples, Looks: c.Looks, Strange: c.Strange,
	})
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
	return c, errors.Join(merr, terr)
}

// writeAlarms writes down the alarms of the session that has ended. Of several
// sessions the monitored windows follow each other.
func (r *run) writeAlarms() {
	zero := r.armedAt - r.rec.WindowNS
	write := func(to []results.Alarm, alarms []monitor.Alarm) []results.Alarm {
		for _, a := range alarms {
			out := results.Alarm{Class: string(a.Class), StartNS: a.StartNS - zero}
			if a.EndNS != 0 {
				end := a.EndNS - zero
				out.EndNS = &end
			}
			to = append(to, out)
		}
		return to
	}
	r.rec.Alarms = write(r.rec.Alarms, r.watcher.Alarms())
	if r.env.NeighbourAlarms != nil {
		r.rec.NeighbourAlarms = write(r.rec.NeighbourAlarms, r.env.NeighbourAlarms())
	}
}

// progressRatio compares the paired windows, by work done if the workload does
// any and by heartbeats if not. Without a monitor that is the price of tracing
// EPT violations, which the other mechanisms pay too. Four digits are more than
// the windows resolve.
func (r *run) progressRatio(before, during beat.Count) {
	if r.cut() { // it cut the window short
		return
	}
	on, off := during.Beats, before.Beats
	if r.sc.Workload.Works() {
		on, off = during.Work, before.Work
	}
	r.rec.Guest.ProgressRatio = fraction(float64(on), float64(off))
}

// fraction is on over off, to four digits; nil if there is none.
func fraction(on, off float64) *float64 {
	if off <= 0 {
		return nil
	}
	ratio := math.Round(1e4*on/off) / 1e4
	return &ratio
}

// conclude says what the trial came to. Its ground truth is confirmed here.
func (r *run) conclude(t0 int64) {
	if v := r.verdict; v != nil {
		r.rec.Class, r.rec.Scope, r.rec.Evidence = string(v.Class), string(v.Scope), v.Evidence
	}
	switch {
	case len(r.rec.NeighbourAlarms) > 0:
		r.rec.Outcome = results.FalseAlarm
	case r.verdict != nil && (r.sc.Control() || t0 == 0 || r.verdict.TimeNS < t0 || r.over(t0)):
		r.rec.Outcome = results.FalseAlarm
	case r.verdict != nil:
		r.rec.Outcome = results.Detected
		d := r.verdict.TimeNS - t0
		r.rec.DetectNS = &d
	case r.sc.Control():
		r.rec.Outcome = results.Clean
	case r.rec.ResumedNS != nil:
		r.rec.Outcome = results.Undone
	default:
		r.rec.Outcome = results.Missed
	}
}

// over reports whether the verdict came when a bounded fault was undone and the
// guest had gone on.
func (r *run) over(t0 int64) bool {
	return r.rec.ResumedNS != nil && r.verdict.TimeNS > t0+*r.rec.ResumedNS
}
