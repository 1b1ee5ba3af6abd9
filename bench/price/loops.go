package price

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hangbench/bench/dom0/clock"
	"hangbench/bench/price/event"
	"hangbench/bench/price/tsc"
	xc "hangbench/cgo/xenctrl"
	"hangbench/monitor/driver"
	"hangbench/monitor/trap"
)

// loops are the two loops that answer a guest's events: event.Loops.
type loops struct {
	*guest
	yardstick string // path of the C loop
	pages     uint   // of the trace buffer
}

// Start attaches a loop.
func (l loops) Start(ctx context.Context, kind event.LoopKind, mechanism string) (event.Loop, error) {
	if kind == event.Yardstick {
		return l.startYardstick(ctx, l.yardstick, mechanism, 0)
	}
	return l.ours(mechanism, l.Watched().Driver)
}

// ours attaches the project's own loop.
func (g *guest) ours(mechanism string, d driver.Driver) (event.Loop, error) {
	m, err := trap.Find(mechanism)
	if err != nil {
		return nil, err
	}
	s, err := g.AttachExactly(g.config(m, d))
	if err != nil {
		return nil, err
	}
	return session{s}, nil
}

// Limits of a timed pass: the number of instants from the loop, and from the trace.
const (
	maxStamps   = 1 << 16
	maxInstants = 1 << 20
)

// tracePages is the size of the trace buffer in pages: 4 MiB. It is not drained during
// a timed pass.
const tracePages = 1024

// Timed runs a loop for d while it and Xen's trace take times.
func (l loops) Timed(ctx context.Context, kind event.LoopKind, mechanism string, d time.Duration) (all []event.Instant,
	lost uint64, err error) {
	stamps := make([]event.Instant, 0, maxStamps)
	var loop event.Loop
	var q *process
	if kind == event.Yardstick {
		q, err = l.startYardstick(ctx, l.yardstick, mechanism, maxStamps/4)
		loop = q
	} else {
		loop, err = l.ours(mechanism, stampedDriver{l.Watched().Driver, &stamps})
	}
	if err != nil {
		return nil, 0, err
	}
	// Two main classes of the trace and one subclass. The mask excludes everything else.
	t, err := l.Host().Xen.OpenTrace(xc.TraceConfig{
		Pages: l.pages, Events: xc.TraceEntryExit | xc.TraceRunstate | xc.TracePVEntry,
	})
	if err != nil {
		_, serr := loop.Stop()
		return nil, 0, errors.Join(err, serr)
	}
	err = errors.Join(clock.Sleep(ctx, d), t.Stop())
	_, serr := loop.Stop()
	guest := xc.DomID(l.Domid)
	err = errors.Join(err, serr, t.Drain(func(r *xc.Record) {
		if in, ok := instant(r, guest); ok && len(all) < maxInstants {
			all = append(all, in)
		}
	}))
	lost = t.Stats().Lost
	if err = errors.Join(err, t.Close()); err != nil {
		return nil, lost, fmt.Errorf("timed pass: %w", err)
	}
	if q != nil {
		stamps = q.stamps()
	}
	return append(all, stamps...), lost, nil
}

// instant converts a trace record to an instant. Exits and entries belong to the only
// guest that runs.
func instant(r *xc.Record, guest xc.DomID) (event.Instant, bool) {
	in := event.Instant{TSC: r.TSC}
	if !r.HasTSC {
		return in, false
	}
	if _, _, ok := r.VMExit(); ok {
		in.Kind = event.GuestExit
		return in, true
	}
	if r.IsVMEntry() {
		in.Kind = event.GuestEntry
		return in, true
	}
	if h, _, ok := r.Hypercall(); ok {
		in.Kind, in.Name = event.Hypercall, h.String()
		return in, true
	}
	d, _, from, to, ok := r.Runstate()
	switch {
	case !ok:
	case d == 0 && to == xc.RunstateRunning:
		in.Kind = event.Dom0Runs
		return in, true
	case d == 0 && from == xc.RunstateRunning:
		in.Kind = event.Dom0Stops
		return in, true
	case d == guest && to == xc.RunstateRunning:
		in.Kind = event.GuestRuns
		return in, true
	case d == guest && from == xc.RunstateRunning && to == xc.RunstateOffline:
		in.Kind = event.GuestStops
		return in, true
	case d == guest && from == xc.RunstateOffline:
		in.Kind = event.GuestReady
		return in, true
	}
	return in, false
}

// stampedRing records when the loop waits and when it works.
type stampedRing struct {
	driver.Ring
	stamps *[]event.Instant
}

func (r stampedRing) stamp(k event.InstantKind) {
	if len(*r.stamps) < cap(*r.stamps) {
		*r.stamps = append(*r.stamps, event.Instant{TSC: tsc.Read(), Kind: k})
	}
}

// stampedPuller is a stampedRing from which the loop takes events itself.
type stampedPuller struct {
	stampedRing
	driver.Puller
}

func (r stampedPuller) Wait(d time.Duration) error {
	r.stamp(event.Sleeps)
	err := r.Puller.Wait(d)
	r.stamp(event.Woke)
	return err
}

// stampedServer is a stampedRing that calls back for each event. The loop works from
// the first one on.
type stampedServer struct {
	stampedRing
	driver.Server
}

func (r stampedServer) Serve(d time.Duration, handle func(*driver.Event, *driver.Response) error) (int, error) {
	woke := false
	wake := func() {
		if !woke {
			woke = true
			r.stamp(event.Woke)
		}
	}
	r.stamp(event.Sleeps)
	defer wake()
	return r.Server.Serve(d, func(ev *driver.Event, resp *driver.Response) error {
		wake()
		return handle(ev, resp)
	})
}

func (r stampedRing) SetAccess(v driver.View, gfn uint64, a driver.Access) error {
	r.stamp(event.CallBegin)
	defer r.stamp(event.CallEnd)
	return r.Ring.SetAccess(v, gfn, a)
}

// Flush is a system call like Wait, which the loop begins with the answers.
func (r stampedPuller) Flush() error {
	r.stamp(event.CallBegin)
	defer r.stamp(event.CallEnd)
	return r.Puller.Flush()
}

type stampedDriver struct {
	driver.Driver
	stamps *[]event.Instant
}

func (d stampedDriver) Listen() (driver.Ring, error) {
	ring, err := d.Driver.Listen()
	if err != nil {
		return nil, err
	}
	r := stampedRing{ring, d.stamps}
	switch x := ring.(type) {
	case driver.Puller:
		return stampedPuller{r, x}, nil
	case driver.Server:
		return stampedServer{r, x}, nil
	}
	return r, nil
}
