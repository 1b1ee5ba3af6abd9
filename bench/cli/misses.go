package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"hangbench/analysis/table"
	"hangbench/bench/price/misses"
	"hangbench/bench/price/tables"
)

// missesFlags say what hangbench bench misses measures.
type missesFlags struct {
	guestBench
	vcpus          int
	window, sample time.Duration
}

func benchMisses(ctx context.Context, env *Env, args []string) error {
	f := flags(env, "bench misses", "", "Count the task switches that each mechanism misses on a busy guest: its signals beside the run queues' own count, stopping the guest at every switch and, beside it, with the passes that are the default. Guests are stopped often and hard meanwhile.")
	var m missesFlags
	f.IntVar(&m.vcpus, "vcpus", 2, "vCPUs of the lab's guest, 1 to 8")
	f.DurationVar(&m.window, "window", 2*time.Second, "`length` of a window on dom0's clock, 200ms to 1m")
	f.DurationVar(&m.sample, "sample", 100*time.Millisecond, "sampling `period`, 10ms to 1s and not longer than the window")
	m.add(f, misses.Mechanisms())
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	if err := m.check(); err != nil {
		return err
	}
	p := newProgress(env, 0)
	defer p.end()
	var r *misses.Report
	var err error
	if m.host == "xen" {
		r, err = m.xen(ctx, p)
	} else {
		r, err = m.inLab(ctx, env, p)
	}
	p.end()
	if err != nil {
		return err
	}
	return m.show(env, r)
}

func (m *missesFlags) check() error {
	if err := m.guestBench.check(misses.Mechanisms()); err != nil {
		return err
	}
	switch {
	case m.vcpus < 1 || m.vcpus > 8:
		return usagef("--vcpus %d: want 1 to 8", m.vcpus)
	case m.window < 200*time.Millisecond || m.window > time.Minute:
		return usagef("--window %v: want 200ms to 1m", m.window)
	case m.sample < 10*time.Millisecond || m.sample > min(time.Second, m.window):
		return usagef("--sample %v: want 10ms to 1s, and not longer than the window", m.sample)
	}
	return nil
}

// xen measures on this dom0.
func (m *missesFlags) xen(ctx context.Context, p *progress) (_ *misses.Report, err error) {
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
		s, err := misses.Measure(ctx, guest, name, misses.Config{Window: m.window, Sample: m.sample, Progress: p.step})
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
func (m *missesFlags) inLab(ctx context.Context, env *Env, p *progress) (_ *misses.Report, err error) {
	h, err := m.lab.host(ctx, env, p)
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
		p.step(name)
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
func (m *missesFlags) show(env *Env, r *misses.Report) error {
	if m.asJSON {
		enc := json.NewEncoder(env.Stdout)
		enc.SetIndent("", " ")
		if err := enc.Encode(r); err != nil {
			return err
		}
	} else if err := tables.Misses(r).Write(env.Stdout, table.Terminal); err != nil {
		return err
	}
	for _, s := range r.Series {
		if !s.Alive {
			env.warn("the guest's heart stood still after %s", s.Mechanism)
			return errFailed
		}
	}
	return nil
}
