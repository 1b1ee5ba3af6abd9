package cli

import (
	"context"
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"hangbench/analysis/table"
	"hangbench/bench/dom0"
	"hangbench/bench/exit"
	"hangbench/bench/labhost"
	"hangbench/bench/price"
	"hangbench/bench/price/misses"
	"hangbench/bench/price/tables"
	"hangbench/results"
)

// missesFlags are the flags of "bench misses".
type missesFlags struct {
	guestBench
	vcpus          int
	window, sample time.Duration
}

func (a *app) benchMisses() *cobra.Command {
	c := a.command("misses", "count the task switches that each mechanism misses",
		"Count the task switches that each mechanism misses on a busy guest: its signals beside the run queues' own count, "+
			"once with the guest stopped at every switch, and once with the default limit of stops. "+
			"The guest is stopped very often meanwhile.", 0, 0)
	var m missesFlags
	f := c.Flags()
	f.IntVar(&m.vcpus, "vcpus", 2, "vCPUs of the lab's guest, 1 to 8")
	f.DurationVar(&m.window, "window", 2*time.Second, "`length` of a window on dom0's clock, 200ms to 1m")
	f.DurationVar(&m.sample, "sample", 100*time.Millisecond,
		"sampling `period`, 10ms to 1s and not longer than the window")
	m.add(c, misses.Mechanisms())
	c.RunE = func(c *cobra.Command, _ []string) error { return m.run(c.Context(), a) }
	return c
}

func (m *missesFlags) run(ctx context.Context, a *app) error {
	if err := m.check(); err != nil {
		return err
	}
	job := price.MissesJob{Driver: m.driver, Mechanisms: m.mechanisms, Window: m.window, Sample: m.sample}
	guest := m.guest()
	guest.VCPUs = m.vcpus
	var r *misses.Report
	var err error
	if m.host == results.Xen {
		err = m.onThisHost(ctx, func(g *dom0.Guest) (err error) {
			r, err = job.Run(ctx, g, a.log)
			return err
		})
	} else {
		err = m.inLab(ctx, a, guest, func(h *labhost.Host, machine *labhost.Machine) (err error) {
			if r, err = machine.MeasureMisses(job, a.log); err == nil {
				r.Xen = h.Lab.Manifest.XenVersion()
			}
			return err
		})
	}
	if err != nil {
		return err
	}
	r.Compute()
	a.display.End()
	return m.show(a, r)
}

func (m *missesFlags) check() error {
	if err := m.guestBench.check(misses.Mechanisms()); err != nil {
		return err
	}
	switch {
	case m.vcpus < 1 || m.vcpus > 8:
		return exit.Usagef("--vcpus %d: want 1 to 8", m.vcpus)
	case m.window < 200*time.Millisecond || m.window > time.Minute:
		return exit.Usagef("--window %v: want 200ms to 1m", m.window)
	case m.sample < 10*time.Millisecond || m.sample > min(time.Second, m.window):
		return exit.Usagef("--sample %v: want 10ms to 1s, and not longer than the window", m.sample)
	}
	return nil
}

// show prints the report. It returns exit.ErrFailed if a guest has stopped beating.
func (m *missesFlags) show(a *app, r *misses.Report) error {
	if m.asJSON {
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", " ")
		if err := enc.Encode(r); err != nil {
			return err
		}
	} else if err := tables.Misses(r).Write(a.out, table.Terminal); err != nil {
		return err
	}
	for _, s := range r.Series {
		if !s.Alive {
			a.warn("the guest no longer beats after %s", s.Mechanism)
			return exit.ErrFailed
		}
	}
	return nil
}
