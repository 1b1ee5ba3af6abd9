package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"hangbench/analysis/figure"
	"hangbench/analysis/table"
	"hangbench/bench/dom0"
	"hangbench/bench/exit"
	"hangbench/bench/labhost"
	"hangbench/bench/price"
	"hangbench/bench/price/event"
	"hangbench/bench/price/tables"
	"hangbench/guests/lab/place"
	"hangbench/results"
)

// eventFlags are the flags of "bench event".
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
	f.BoolVar(&e.breakdown, "breakdown", false, "print what each part of one event costs, from the hypervisor's trace")
	f.StringVar(&e.out, "out", "", "with --breakdown: write breakdown.csv, .png, .svg, .pdf and .txt to this `folder`")
	completeFlag(c, "out", folders)
	e.add(c, price.EventMechanisms())
	c.RunE = func(c *cobra.Command, _ []string) error { return e.run(c.Context(), a) }
	return c
}

func (e *eventFlags) run(ctx context.Context, a *app) error {
	if err := e.check(); err != nil {
		return err
	}
	job := price.EventJob{
		Driver: e.driver, Mechanisms: e.mechanisms, Blocks: e.blocks, Window: e.window, Yardstick: e.yardstick,
	}
	var r *event.Report
	var err error
	if e.host == results.Xen {
		err = e.onThisHost(ctx, func(g *dom0.Guest) (err error) {
			r, err = job.Run(ctx, g, a.log)
			return err
		})
	} else {
		job.Yardstick = "" // the lab's own
		err = e.inLab(ctx, a, e.guest(), func(h *labhost.Host, m *labhost.Machine) (err error) {
			if r, err = m.MeasureEvent(job, a.log); err == nil {
				r.Xen, r.PerSecond = h.Lab.Manifest.XenVersion(), float64(h.Lab.Manifest.Machine.IPS)
			}
			return err
		})
	}
	if err != nil {
		return err
	}
	r.Compute()
	a.display.End()
	return e.show(a, r)
}

func (e *eventFlags) check() error {
	if err := e.guestBench.check(price.EventMechanisms()); err != nil {
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

// show prints the report. It returns exit.ErrFailed if a guest has stopped beating.
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
			a.warn("the guest no longer beats after %s", s.Mechanism)
			return exit.ErrFailed
		}
	}
	return nil
}

// draw writes the figure of the breakdown.
func (e *eventFlags) draw(r *event.Report) error {
	b := figure.Breakdown{Name: "breakdown", Host: r.Host, Kernel: r.GuestKernel, Xen: r.Xen}
	for _, s := range r.Series {
		if s.TimedOurs != nil {
			b.Bars = append(b.Bars, breakdownBar(s.Mechanism, "hangbench", s.TimedOurs))
		}
		if s.TimedC != nil {
			b.Bars = append(b.Bars, breakdownBar(s.Mechanism, "C loop", s.TimedC))
		}
	}
	return writeBreakdown(&b, e.out)
}
