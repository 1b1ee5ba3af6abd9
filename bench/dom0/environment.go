package dom0

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"time"

	"hangbench/bench/dom0/clock"
	"hangbench/bench/observe"
	"hangbench/bench/plan"
	"hangbench/bench/trial"
	"hangbench/guests/beat"
	"hangbench/guests/watchdog"
	"hangbench/monitor/detect"
	xcdriver "hangbench/monitor/driver/xenctrl"
	"hangbench/monitor/trap"
	"hangbench/results"
)

// Run runs one trial on the guest. The observations of its monitor are added to taken,
// unless that is nil. An error means that the host failed; a sick guest makes the trial
// invalid.
func (g *Guest) Run(ctx context.Context, p plan.Trial, taken *Recording) (results.Trial, error) {
	for _, x := range append([]*Guest{g}, g.neighbours...) {
		if err := x.Use(p.Driver); err != nil {
			return results.Trial{}, err
		}
	}
	e := &environment{Guest: g, taken: taken}
	var err error
	if e.trapped, err = g.Site(); err != nil {
		return results.Trial{}, err
	}
	c, err := openConsole(g.host.consoles, g.name)
	switch {
	case err == nil:
		defer c.close()
		e.console = c
	case p.Watchdogs != string(watchdog.Off) || !errors.Is(err, os.ErrNotExist):
		return results.Trial{}, err
	}
	env := trial.Env{Host: e, Guest: e, Log: e}
	m, err := trial.Mechanism(p)
	if err != nil {
		return results.Trial{}, err
	}
	open := func(t detect.Thresholds, sample time.Duration) (observe.Session, error) {
		return g.attachGroup(m, t, sample, e.record())
	}
	env.Watcher, env.Beside = observe.All(p, m, open)
	rec, err := trial.Run(ctx, p, env)
	if err != nil || c == nil {
		return rec, err
	}
	said, err := c.end()
	rec.Console = results.CleanConsole(said)
	return rec, err
}

// environment is a guest and its control domain as one trial sees them: trial.Guest,
// trial.Host and trial.Log. The guest's machine and kernel are Guest's own methods.
type environment struct {
	*Guest
	trapped trap.Site
	console *console   // nil if it is not logged
	taken   *Recording // nil if nothing is recorded
	traced  atomic.Pointer[tracer]
}

// Facts returns what is known of the guest and does not change.
func (e *environment) Facts() trial.Facts {
	return trial.Facts{Name: e.name, Domid: e.Domid, Release: e.Release, CPUs: e.Heartbeat.CPUs}
}

// Page is the page with the guest's heartbeat.
func (e *environment) Page() *beat.Page { return e.Heartbeat.Page }

// Console returns what the guest has written to its console since the last call.
func (e *environment) Console() ([]byte, error) {
	if e.console == nil {
		return nil, nil
	}
	b, err := e.console.read()
	if e.taken != nil {
		e.taken.listen(b)
	}
	return b, err
}

// Kind is lab or xen.
func (e *environment) Kind() string { return e.host.Kind() }

// Now returns the time of dom0's monotonic clock.
func (e *environment) Now() int64 { return clock.Now() }

// Sleep waits, or until ctx ends.
func (e *environment) Sleep(ctx context.Context, d time.Duration) error { return clock.Sleep(ctx, d) }

// CPUTime returns the CPU time of dom0.
func (e *environment) CPUTime() (int64, error) {
	info, err := e.host.Xen.Domain(0).Info()
	return int64(info.CPUTimeNS), err
}

// Trace starts to count the guest's EPT violations.
func (e *environment) Trace(m trap.Mechanism) (trial.Tracer, error) {
	tr, err := startTrace(e.host.Xen, e.Domid, m.Trapped(&e.trapped), xcdriver.Access(m.Traced), m.View == trap.Altp2m)
	if err != nil {
		return nil, err
	}
	e.traced.Store(tr)
	return tr, nil
}

// record returns a function that adds an observation to the recording, and nil if
// nothing is recorded.
func (e *environment) record() func(*detect.Observation) {
	if e.taken == nil {
		return nil
	}
	return func(o *detect.Observation) {
		if tr := e.traced.Load(); tr != nil {
			o.EPT = tr.soFar()
		}
		e.taken.add(o)
		o.EPT = nil // o is used again
	}
}

// Progress is told what the trial does.
func (e *environment) Progress(stage string) { e.host.Log.Info(stage) }

// Injected is told when the fault landed.
func (e *environment) Injected(t0 int64) {
	if e.taken != nil {
		e.taken.T0NS = t0
	}
}

// Removed is told when the fault had been removed.
func (e *environment) Removed(at int64) {
	if e.taken != nil {
		e.taken.RemovedNS = at
	}
}
