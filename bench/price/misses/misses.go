package misses

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"hangbench/bench/price/event"
	"hangbench/monitor"
	"hangbench/monitor/trap"
)

// Mechanisms returns the mechanisms that can miss something: all that trap. The
// others count nothing of their own.
func Mechanisms() []string {
	var names []string
	for _, m := range trap.Mechanisms() {
		if m.Watches() && !m.Polls {
			names = append(names, m.Name)
		}
	}
	return names
}

// Edge is by how many switches the two counts may differ, either way, of a guest
// with so many vCPUs and a mechanism that misses nothing: see the package.
func Edge(vcpus int) int64 { return 2 * int64(vcpus) }

// Unlimited is monitor.Config.Passes for a trap that never lets go.
const Unlimited = -1

// Watcher is an attached monitor; a *monitor.Session is one.
type Watcher interface {
	Detach() (monitor.Counters, error)
}

// Attach attaches a monitor that stops each vCPU at most so many times in a
// sampling period (monitor.Config.Passes).
type Attach func(mechanism string, passes int, period time.Duration) (Watcher, error)

// Count is what one session came to.
type Count struct {
	Passes   int    `json:"passes"`   // in a sampling period, Unlimited for no limit
	Signals  uint64 `json:"signals"`  // switches that the mechanism saw
	Switches uint64 `json:"switches"` // switches that the guest counted
	Events   uint64 `json:"events"`   // how often a vCPU was stopped
	// Work is the guest's work, and NS the time, of the window that lies within.
	Work uint64 `json:"work"`
	NS   int64  `json:"ns"`
	// BackedOut says why the monitor let go by itself; its counts are worth nothing
	// then.
	BackedOut string `json:"backed_out,omitempty"`
}

// Series is what was measured of one mechanism.
type Series struct {
	Mechanism string  `json:"mechanism"`
	Counts    []Count `json:"counts"`
	// Work and time of two windows without a monitor, before and after.
	BaseWork uint64 `json:"base_work"`
	BaseNS   int64  `json:"base_ns"`
	Alive    bool   `json:"alive"` // the guest's heart beat afterwards
}

// Config says how to measure.
type Config struct {
	Window time.Duration // of each session, and each window without one
	Sample time.Duration // the sampling period
	// Log gets a record of what is measured now.
	Log *slog.Logger
}

// errIdle says that there is nothing to compare with.
var errIdle = errors.New("the guest did no work without a monitor")

// Measure counts with one mechanism: without limit, and with the default.
func Measure(ctx context.Context, g event.Guest, attach Attach, mechanism string, c Config) (Series, error) {
	s := Series{Mechanism: mechanism}
	wrap := func(what string, err error) (Series, error) {
		return s, fmt.Errorf("%s, %s: %w", mechanism, what, err)
	}
	if err := g.SetBusy(ctx, true); err != nil {
		return wrap("workload", err)
	}
	base := func() error {
		c.Log.Info(mechanism + ": baseline")
		work, ns, err := window(ctx, g, c.Window)
		s.BaseWork += work
		s.BaseNS += ns
		return err
	}
	if err := base(); err != nil {
		return wrap("baseline", err)
	}
	for _, passes := range []int{Unlimited, monitor.DefaultPasses} {
		what := Passes(passes)
		c.Log.Info(mechanism + ": passes " + what)
		n, err := count(ctx, g, attach, mechanism, passes, c)
		if err != nil {
			return wrap("passes "+what, err)
		}
		s.Counts = append(s.Counts, n)
	}
	if err := base(); err != nil {
		return wrap("baseline", err)
	}
	if s.BaseWork == 0 {
		return wrap("baseline", errIdle)
	}
	var err error
	if s.Alive, err = event.Alive(ctx, g); err != nil {
		return wrap("heartbeat", err)
	}
	return s, nil
}

func count(ctx context.Context, g event.Guest, attach Attach, mechanism string, passes int, c Config) (Count, error) {
	w, err := attach(mechanism, passes, c.Sample)
	if err != nil {
		return Count{}, err
	}
	work, ns, err := window(ctx, g, c.Window)
	n, derr := w.Detach()
	return Count{
		Passes: passes, Signals: n.Signals, Switches: n.Switches, Events: n.Events(), Work: work, NS: ns,
		BackedOut: n.BackedOut,
	}, errors.Join(err, derr)
}

func window(ctx context.Context, g event.Guest, d time.Duration) (work uint64, ns int64, err error) {
	before, err := g.Accounts()
	if err != nil {
		return 0, 0, err
	}
	if err := g.Sleep(ctx, d); err != nil {
		return 0, 0, err
	}
	after, err := g.Accounts()
	return after.Work - before.Work, after.NS - before.NS, err
}

// Passes names a number of passes.
func Passes(n int) string {
	if n < 0 {
		return "unlimited"
	}
	return fmt.Sprint(n)
}
