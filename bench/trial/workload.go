package trial

import (
	"errors"
	"fmt"
	"time"

	"hangbench/guests/beat"
	"hangbench/guests/stress"
	"hangbench/results"
)

const (
	// warmUp is for how long a workload runs before the windows, in seconds: what it
	// does for the first time (memory that was never used, a file system) is no
	// window's.
	warmUp = 1
	// extraTime is how much longer than it was told a workload may take, besides the
	// time to take it up: a slow monitor slows its start and its end down, too.
	extraTime = 60 * time.Second
)

// windows says in which windows the monitor is on. What drifts steadily over the
// trial falls on both kinds alike: their mean instants are the same.
func windows() []bool { return []bool{false, true, true, false} }

// PairedWindows is how long the windows of a measured workload take, each of length
// d, with the time that it warms up.
func PairedWindows(d time.Duration) time.Duration {
	return warmUp*time.Second + time.Duration(len(windows()))*d
}

// paired runs the scenario's workload in windows with and without the monitor.
func (r *run) paired() error {
	if _, err := r.window(time.Duration(r.p.Seed % uint64(phase))); err != nil {
		return err
	}
	r.env.Log.Progress("warm up")
	if _, err := r.do(warmUp); err != nil {
		return err
	}
	w := &results.Workload{Op: r.sc.Stress.Op()}
	for i, on := range windows() {
		r.env.Log.Progress(fmt.Sprintf("window %d", i))
		s, beats, err := r.pairedWindow(on)
		if err != nil {
			return err
		}
		if on {
			r.rec.Guest.BeatsDuring += beats
		} else if r.rec.Guest.BeatsBefore += beats; s.Ops == 0 {
			return invalid(fmt.Sprintf("%s did nothing in a window without a monitor", r.sc.Stress))
		}
		w.Program = program(s)
		w.Windows = append(w.Windows, results.Window{Monitor: on, Ops: s.Ops, NS: int64(s.NS)})
		r.rec.Workload = w
	}
	if err := r.outlives(); err != nil {
		return err
	}
	on, off := w.Sums()
	r.rec.Guest.ProgressRatio = fraction(float64(on.Ops)/float64(on.NS), float64(off.Ops)/float64(off.NS))
	r.conclude(0)
	return nil
}

// program names what worked.
func program(s beat.Sample) string {
	if s.Version == 0 {
		return "timer"
	}
	return "stress-ng " + stress.Version(s.Version).String()
}

// pairedWindow runs the workload once, with the monitor or without. Violations are
// traced in both, and counted if the monitor is on.
func (r *run) pairedWindow(on bool) (s beat.Sample, beats uint64, err error) {
	r.watcher = nil
	if on {
		err = r.attach()
	} else if r.traced, err = r.env.Host.Trace(r.mech); err != nil {
		err = fmt.Errorf("trace EPT violations: %w", err)
	}
	if err != nil {
		return s, 0, err
	}
	defer func() {
		if on {
			_, derr := r.detach()
			err = errors.Join(err, derr)
		} else if _, terr := r.traced.Stop(); terr != nil {
			err = errors.Join(err, fmt.Errorf("trace EPT violations: %w", terr))
		}
	}()
	before := r.count().Beats
	if s, err = r.do(int(r.p.Timing.BaselineMS / 1000)); err != nil {
		return s, 0, err
	}
	beats = r.count().Beats - before
	if r.watcher != nil && beats > 0 && r.watcher.Signals() == 0 {
		return s, beats, r.unarmed()
	}
	return s, beats, nil
}

// do has the guest do its work for so many seconds and returns what came of it. The
// numbers are the guest's. A verdict meanwhile is a false alarm, and goes on.
func (r *run) do(seconds int) (beat.Sample, error) {
	r.env.Guest.Page().Order(beat.Order{Work: uint64(r.sc.Stress), Seconds: uint64(seconds)})
	token := r.env.Guest.Page().Ask(beat.Measure)
	began := r.env.Host.Now()
	end, said := began+int64(errandTime+time.Duration(seconds)*time.Second+extraTime), began
	for {
		if err := r.env.Host.Sleep(r.ctx, poll); err != nil {
			return beat.Sample{}, err
		}
		if err := r.look(); err != nil {
			return beat.Sample{}, err
		}
		if err := r.hear(); err != nil {
			return beat.Sample{}, err
		}
		s, ok := r.env.Guest.Page().Delivered(token)
		now := r.env.Host.Now()
		switch {
		case ok && s.Failed:
			return s, invalid(fmt.Sprintf("the guest could not do %s; its console says why", r.sc.Stress))
		case ok && (s.NS == 0 || s.NS > uint64(stress.MostReal) || s.Ops > stress.MostOps || s.Version > stress.MostVersion):
			return s, invalid(fmt.Sprintf("the guest says that it did %d operations of %s in %d ns, with version %d", s.Ops, r.sc.Stress, s.NS, s.Version))
		case ok:
			return s, nil
		case now > end:
			return s, invalid(fmt.Sprintf("the guest was not done with %d s of %s after %d s", seconds, r.sc.Stress, (now-began)/1e9))
		case now-said >= int64(sayEvery):
			said = now
			r.env.Log.Progress(fmt.Sprintf("%d s of %s: %d s", seconds, r.sc.Stress, (now-began)/1e9))
		}
	}
}
