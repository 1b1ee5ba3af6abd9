package price

import (
	"context"
	"fmt"
	"time"

	"hangbench/bench/dom0"
	"hangbench/bench/dom0/clock"
	"hangbench/bench/price/event"
	"hangbench/bench/price/misses"
	"hangbench/bench/price/tsc"
	"hangbench/guests/beat"
	"hangbench/monitor"
	"hangbench/monitor/detect"
	"hangbench/monitor/driver"
	"hangbench/monitor/trap"
)

// guest is a guest that is measured: an event.Guest.
type guest struct {
	*dom0.Guest
	site trap.Site
}

// open prepares a guest that has a heartbeat. Monitors watch it through the driver.
func open(g *dom0.Guest, driver string) (*guest, error) {
	if err := g.Use(driver); err != nil {
		return nil, err
	}
	site, err := g.Site()
	if err != nil {
		return nil, err
	}
	return &guest{g, site}, nil
}

// close ends the guest's workload. Monitors use the host's driver again.
func (g *guest) close() error {
	g.Heartbeat.Want(beat.Idle)
	return g.Use(g.Host().Driver)
}

// SetBusy starts or ends the guest's busy workload and waits until it has.
func (g *guest) SetBusy(ctx context.Context, busy bool) error {
	if err := g.Heartbeat.SetBusy(ctx, busy); err != nil {
		return err
	}
	return clock.Sleep(ctx, beat.Period)
}

// Accounts reads the accounts.
func (g *guest) Accounts() (event.Account, error) {
	info, err := g.Host().Xen.Domain(0).Info()
	if err != nil {
		return event.Account{}, fmt.Errorf("read dom0's CPU time: %w", err)
	}
	c := g.Heartbeat.Counts()
	return event.Account{NS: clock.Now(), Cycles: tsc.Read(), Dom0NS: int64(info.CPUTimeNS), Work: c.Work,
		Beats: c.Beats}, nil
}

// Sleep waits on dom0's clock.
func (g *guest) Sleep(ctx context.Context, d time.Duration) error { return clock.Sleep(ctx, d) }

// watch attaches a monitor as a trial does, with a limit of passes in a sampling period
// (monitor.Config.Passes).
func (g *guest) watch(mechanism string, passes int, period time.Duration) (misses.Watcher, error) {
	m, err := trap.Find(mechanism)
	if err != nil {
		return nil, err
	}
	s, err := g.Attach(monitor.Config{
		Mechanism: m, Thresholds: detect.DefaultThresholds(), Sample: period, Passes: passes,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// config configures a session that answers every event and observes almost nothing, so
// that the event loop alone is measured. Each session begins with one observation, which
// is in the window; without a Kernel it reads no task.
func (g *guest) config(m trap.Mechanism, d driver.Driver) monitor.Config {
	return monitor.Config{
		Driver: d, Mechanism: m, Site: g.site, Symbols: g.Watched().Kernel,
		Thresholds: detect.DefaultThresholds(), Sample: 24 * time.Hour, Passes: -1, Now: clock.Now,
	}
}
