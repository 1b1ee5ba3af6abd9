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

// Mechanisms returns the names of the mechanisms that can miss a switch: all that trap.
// The others have no count of their own.
func Mechanisms() []string {
	var names []string
	for _, m := range trap.Mechanisms() {
		if m.Watches() && !m.Polls {
			names = append(names, m.Name)
		}
	}
	return names
}

// Edge is the largest difference between the two counts, either way, that can come from
// counting at different instructions: two switches per vCPU.
func Edge(vcpus int) int64 { return 2 * int64(vcpus) }

// Unlimited is monitor.Config.Passes for a trap without a limit.
const Unlimited = -1

// Watcher is an attached monitor; a *monitor.Session is one.
type Watcher interface {
	Detach() (monitor.Counters, error)
}

// Attach attaches a monitor whose trap stops each vCPU at most passes times in a sampling
// period (monitor.Config.Passes).
type Attach func(mechanism string, passes int, period time.Duration) (Watcher, error)

// Count holds the counts of one session.
type Count struct {
	Passes   int    `json:"passes"`   // limit in a sampling period, or Unlimited
	Signals  uint64 `json:"signals"`  // switches that the mechanism has reported
	Switches uint64 `json:"switches"` // switches that the guest has counted
	Events   uint64 `json:"events"`   // how often a vCPU was stopped
	// Work is the guest's work in the window, and NS the window's length in nanoseconds.
	Work uint64 `json:"work"`
	NS   int64  `json:"ns"`
	// BackedOut is the reason why the monitor detached by itself. Its counts mean nothing
	// then.
	BackedOut string `json:"backed_out,omitempty"`
}

// Series holds the measurements of one mechanism.
type Series struct {
	Mechanism string  `json:"mechanism"`
	Counts    []Count `json:"counts"`
	// Work and time of two windows without a monitor, one before and one after.
	BaseWork uint64 `json:"base_work"`
	BaseNS   int64  `json:"base_ns"`
	Alive    bool   `json:"alive"` // the guest had a heartbeat afterwards
}

// Config says how to measure.
type Config struct {
	Window time.Duration // length of each window
	Sample time.Duration // the sampling period
	// Log gets a record before each measurement.
	Log *slog.Logger
}

// errIdle means that there is nothing to compare with.
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

// Passes names a limit of passes.
func Passes(n int) string {
	if n < 0 {
		return "unlimited"
	}
	return fmt.Sprint(n)
}
