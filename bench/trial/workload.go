package trial

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hangbench/guests/beat"
	"hangbench/guests/stress"
	"hangbench/results"
	"hangbench/scenarios/sign"
)

const (
	// warmUp is how long a workload runs before the windows, in seconds. What it does
	// for the first time (memory that was never used, a file system) must not count in
	// a window.
	warmUp = 1
	// extraTime is how much longer than ordered a workload may take, beside the time to
	// accept the order. A slow monitor makes its start and its end slow too.
	extraTime = 60 * time.Second
)

// onOff says in which windows the monitor is on. A steady drift over the trial has the
// same effect on both kinds, because their mean instants are equal.
func onOff() []bool { return []bool{false, true, true, false} }

// PairedWindows is how long the windows of a measured workload take in all, each of
// length d, including the time to warm up.
func PairedWindows(d time.Duration) time.Duration {
	return warmUp*time.Second + time.Duration(len(onOff()))*d
}

// delay moves the windows by a time that follows from the trial's seed.
func (r *run) delay(ctx context.Context) error {
	_, err := r.window(ctx, time.Duration(r.p.Seed%uint64(phase)))
	return err
}

// warmUp has the workload do for the first time what it does in every window.
func (r *run) warmUp(ctx context.Context) error {
	_, err := r.do(ctx, warmUp)
	return err
}

// windows runs the workload in windows with and without the observer.
func (r *run) windows(ctx context.Context) error {
	w := &results.Workload{Op: r.sc.Stress.Op()}
	for i, on := range onOff() {
		r.env.Log.Progress(fmt.Sprintf("window %d", i))
		s, beats, err := r.pairedWindow(ctx, on)
		if err != nil {
			return err
		}
		if on {
			r.rec.Guest.BeatsDuring += beats
		} else if r.rec.Guest.BeatsBefore += beats; s.Ops == 0 {
			return Invalid("%s did nothing in a window without a monitor", r.sc.Stress)
		}
		w.Program = program(s)
		w.Windows = append(w.Windows, results.Window{Monitor: on, Ops: s.Ops, NS: int64(s.NS)})
		r.rec.Workload = w
	}
	return nil
}

// comparePaired compares the windows with the observer with the others.
func (r *run) comparePaired(context.Context) error {
	on, off := r.rec.Workload.Sums()
	r.rec.Guest.ProgressRatio = fraction(float64(on.Ops)/float64(on.NS), float64(off.Ops)/float64(off.NS))
	return nil
}

// program names the program that did the work.
func program(s beat.Sample) string {
	if s.Version == 0 {
		return "timer"
	}
	return "stress-ng " + stress.Version(s.Version).String()
}

// pairedWindow runs the workload once, with the observer or without. Violations are
// traced in both, and counted with the observer.
func (r *run) pairedWindow(ctx context.Context, on bool) (s beat.Sample, beats uint64, err error) {
	if on {
		err = r.attach(ctx)
	} else {
		err = r.traceOnly()
	}
	if err != nil {
		return s, 0, err
	}
	defer func() { err = errors.Join(err, r.undo.pop(ctx)) }()
	before := r.count().Beats
	if s, err = r.do(ctx, int(r.p.Timing.BaselineMS/1000)); err != nil {
		return s, 0, err
	}
	beats = r.count().Beats - before
	return s, beats, r.checkSignals(beats)
}

// traceOnly traces violations and counts none.
func (r *run) traceOnly() error {
	traced, err := r.env.Host.Trace(r.mech)
	if err != nil {
		return fmt.Errorf("trace EPT violations: %w", err)
	}
	r.undo.push(func(context.Context) error {
		if _, err := traced.Stop(); err != nil {
			return fmt.Errorf("trace EPT violations: %w", err)
		}
		return nil
	})
	return nil
}

// do has the guest do its work for so many seconds and returns what came of it. The
// numbers are the guest's. A verdict meanwhile is a false alarm, and the work goes on.
func (r *run) do(ctx context.Context, seconds int) (beat.Sample, error) {
	r.page.Order(beat.Order{Work: uint64(r.sc.Stress), Seconds: uint64(seconds)})
	token := r.page.Ask(beat.Measure)
	began := r.clock.Now()
	end, said := began+int64(requestTime+time.Duration(seconds)*time.Second+extraTime), began
	for {
		if err := r.clock.Sleep(ctx, sign.Poll); err != nil {
			return beat.Sample{}, err
		}
		if err := r.poll(); err != nil {
			return beat.Sample{}, err
		}
		s, ok := r.page.Delivered(token)
		now := r.clock.Now()
		if ok {
			return s, r.plausible(s)
		}
		if now > end {
			return s, Invalid("the guest was not done with %d s of %s after %d s", seconds, r.sc.Stress, (now-began)/1e9)
		}
		if now-said >= int64(sayEvery) {
			said = now
			r.env.Log.Progress(fmt.Sprintf("%d s of %s: %d s", seconds, r.sc.Stress, (now-began)/1e9))
		}
	}
}

// plausible confirms that numbers which the guest gave can be true.
func (r *run) plausible(s beat.Sample) error {
	if s.Failed {
		return Invalid("the guest could not do %s; its console says why", r.sc.Stress)
	}
	if s.NS == 0 || s.NS > uint64(stress.MostReal) || s.Ops > stress.MostOps || s.Version > stress.MostVersion {
		return Invalid("the guest says that it did %d operations of %s in %d ns, with version %d",
			s.Ops, r.sc.Stress, s.NS, s.Version)
	}
	return nil
}
