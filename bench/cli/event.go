package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"hangbench/analysis/figure"
	"hangbench/analysis/table"
	"hangbench/bench/exit"
	"hangbench/bench/price/event"
	"hangbench/bench/price/tables"
	"hangbench/guests/lab/place"
)

// pollMechanism is measured too where nothing else is asked for; it has no events.
const pollMechanism = "poll"

// eventMechanisms are all that can be measured.
func eventMechanisms() []string { return append(event.Mechanisms(), pollMechanism) }

// eventFlags say what hangbench bench event measures.
type eventFlags struct {
	guestBench
	yardstick, out string
	blocks         int
	window         time.Duration
	breakdown      bool
}

func (a *app) benchEvent() *cobra.Command {
	c := a.command("event", "measure the price of an event",
		"Measure the price of an event: the monitor's loop beside a minimal C loop on the same busy guest, in alternation, "+
			"with windows without a monitor; and the price of polling. The guest is stopped very often meanwhile.", 0, 0)
	var e eventFlags
	f := c.Flags()
	f.StringVar(&e.yardstick, "yardstick", place.Yardstick,
		"`path` of the C loop, for --host xen (make build-xen makes bin/eventloop)")
	f.IntVar(&e.blocks, "blocks", 3, "`number` of blocks of six windows for each mechanism, 1 to 100")
	f.DurationVar(&e.window, "window", 500*time.Millisecond, "`length` of a window on dom0's clock, 50ms to 1m")
	f.BoolVar(&e.breakdown, "breakdown", false, "print one event by who spends it, from the hypervisor's trace")
	f.StringVar(&e.out, "out", "", "with --breakdown: write breakdown.csv, .png, .svg, .pdf and .txt to this `folder`")
	completeFlag(c, "out", folders)
	e.add(c, eventMechanisms())
	c.RunE = func(c *cobra.Command, _ []string) error { return e.run(c.Context(), a) }
	return c
}

func (e *eventFlags) run(ctx context.Context, a *app) error {
	if err := e.check(); err != nil {
		return err
	}
	var r *event.Report
	var err error
	if e.host == "xen" {
		r, err = e.xen(ctx, a)
	} else {
		r, err = e.inLab(ctx, a)
	}
	if err != nil {
		return err
	}
	a.display.End()
	return e.show(a, r)
}

func (e *eventFlags) check() error {
	if err := e.guestBench.check(eventMechanisms()); err != nil {
		return err
	}
	switch {
	case e.blocks < 1 || e.blocks > 100:
		return exit.Usagef("--blocks %d: want 1 to 100", e.blocks)
	case e.window < 50*time.Millisecond || e.window > time.Minute:
		return exit.Usagef("--window %v: want 50ms to 1m", e.window)
	case e.out != "" && !e.breakdown:
		return exit.Usagef("--out is for --breakdown")
	}
	return nil
}

// timedPass is how long the pass that takes times lasts: some hundred events.
const timedPass = 500 * time.Millisecond

// pollWindows is how many windows long one of polling is: it costs little, so
// that a short window shows nothing.
const pollWindows = 4

// xen measures on this dom0.
func (e *eventFlags) xen(ctx context.Context, a *app) (_ *event.Report, err error) {
	x, err := e.openXen()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	v, err := x.Version()
	if err != nil {
		return nil, err
	}
	price, err := x.Price(ctx, e.domain, e.yardstick)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, price.Close()) }()
	r := &event.Report{Host: x.Kind(), Driver: e.driver, Xen: v, GuestKernel: price.Release(), VCPUs: price.VCPUs(), WindowMS: e.window.Milliseconds()}
	first, err := price.Look()
	if err != nil {
		return nil, err
	}
	for _, m := range e.mechanisms {
		if m == pollMechanism {
			if r.Polling, err = event.MeasurePoll(ctx, price, pollWindows*e.window, a.log); err != nil {
				return nil, err
			}
			if r.Reads, err = price.Reads(); err != nil {
				return nil, err
			}
			continue
		}
		c := event.Config{Blocks: e.blocks, Window: e.window, Timed: timedPass, Log: a.log}
		s, err := event.Measure(ctx, price, m, c)
		if err != nil {
			return nil, err
		}
		r.Series = append(r.Series, s)
	}
	last, err := price.Look()
	if err != nil {
		return nil, err
	}
	r.PerSecond = 1e9 * float64(last.Cycles-first.Cycles) / float64(last.NS-first.NS)
	r.Compute()
	return r, nil
}

// inLab runs the same program in the dom0 of a lab with a guest up, one
// mechanism at a time, all in one lab.
func (e *eventFlags) inLab(ctx context.Context, a *app) (_ *event.Report, err error) {
	h, err := e.lab.host(ctx, a)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.Lab.Close()) }()
	m, err := h.UpGuest(ctx, e.guest())
	if err != nil {
		return nil, err
	}
	defer m.Close()
	var all *event.Report
	for _, mech := range e.mechanisms {
		a.step(mech)
		r, err := measureIn[event.Report](m, "event", "--driver", e.driver, "--mechanism", mech, "--blocks", fmt.Sprint(e.blocks), "--window", e.window.String())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", mech, err)
		}
		if all == nil {
			all = r
			continue
		}
		all.Series = append(all.Series, r.Series...)
		all.Polling = append(all.Polling, r.Polling...)
		if r.Reads != nil {
			all.Reads = r.Reads
		}
	}
	all.Host, all.Driver = "lab", e.driver
	all.Xen = h.Lab.Manifest.XenVersion()
	all.PerSecond = float64(h.Lab.Manifest.Machine.IPS)
	all.Compute()
	return all, nil
}

// show prints the report. A guest that no longer beats makes it a failure.
func (e *eventFlags) show(a *app, r *event.Report) error {
	if e.asJSON {
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", " ")
		if err := enc.Encode(r); err != nil {
			return err
		}
	} else {
		all := tables.Event(r)
		if e.breakdown {
			all = append(all, tables.Breakdown(r))
		}
		for _, t := range all {
			if err := t.Write(a.out, table.Terminal); err != nil {
				return err
			}
			fmt.Fprintln(a.out)
		}
	}
	if e.out != "" {
		if err := e.draw(r); err != nil {
			return err
		}
	}
	for _, s := range r.Series {
		if !s.Alive {
			a.warn("the guest's heart stood still after %s", s.Mechanism)
			return exit.ErrFailed
		}
	}
	return nil
}

// draw writes the figure of the breakdown.
func (e *eventFlags) draw(r *event.Report) error {
	b := figure.Breakdown{Host: r.Host, Kernel: r.GuestKernel, Xen: r.Xen}
	for _, s := range r.Series {
		for _, side := range []struct {
			name string
			s    *event.Side
		}{{"hangbench", s.TimedOurs}, {"C loop", s.TimedC}} {
			if side.s == nil {
				continue
			}
			bar := figure.BreakdownBar{Mechanism: s.Mechanism, Loop: side.name, Events: side.s.Events}
			for _, name := range event.PartNames() {
				bar.Parts = append(bar.Parts, figure.BreakdownPart{Name: name, Value: side.s.Parts[name]})
			}
			b.Bars = append(b.Bars, bar)
		}
	}
	if err := os.MkdirAll(e.out, 0o755); err != nil {
		return fmt.Errorf("write the figure: %w", err)
	}
	_, err := b.Figure().Write(e.out)
	return err
}
