package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"hangbench/analysis/table"
	"hangbench/bench/exit"
	"hangbench/bench/price/misses"
	"hangbench/bench/price/tables"
)

// missesFlags say what hangbench bench misses measures.
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
	var r *misses.Report
	var err error
	if m.host == "xen" {
		r, err = m.xen(ctx, a)
	} else {
		r, err = m.inLab(ctx, a)
	}
	if err != nil {
		return err
	}
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

// xen measures on this dom0.
func (m *missesFlags) xen(ctx context.Context, a *app) (_ *misses.Report, err error) {
	x, err := m.openXen()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	v, err := x.Version()
	if err != nil {
		return nil, err
	}
	guest, err := x.Price(ctx, m.domain, "")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, guest.Close()) }()
	r := &misses.Report{Host: x.Kind(), Driver: m.driver, Xen: v, GuestKernel: guest.Release(), VCPUs: guest.VCPUs(),
		WindowMS: m.window.Milliseconds(), SampleMS: m.sample.Milliseconds()}
	for _, name := range m.mechanisms {
		s, err := misses.Measure(ctx, guest, name, misses.Config{Window: m.window, Sample: m.sample, Log: a.log})
		if err != nil {
			return nil, err
		}
		r.Series = append(r.Series, s)
	}
	r.Compute()
	return r, nil
}

// inLab runs the same program in the dom0 of a lab with a guest up, one mechanism
// at a time, all in one lab.
func (m *missesFlags) inLab(ctx context.Context, a *app) (_ *misses.Report, err error) {
	h, err := m.lab.host(ctx, a)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.Lab.Close()) }()
	guest := m.guest()
	guest.VCPUs = m.vcpus
	machine, err := h.UpGuest(ctx, guest)
	if err != nil {
		return nil, err
	}
	defer machine.Close()
	var all *misses.Report
	for _, name := range m.mechanisms {
		a.step(name)
		r, err := measureIn[misses.Report](machine, "misses", "--driver", m.driver, "--mechanism", name, "--window", m.window.String(), "--sample", m.sample.String())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if all == nil {
			all = r
			continue
		}
		all.Series = append(all.Series, r.Series...)
	}
	all.Xen = h.Lab.Manifest.XenVersion()
	all.Compute()
	return all, nil
}

// show prints the report. A guest that no longer beats makes it a failure.
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
			a.warn("the guest's heart stood still after %s", s.Mechanism)
			return exit.ErrFailed
		}
	}
	return nil
}
