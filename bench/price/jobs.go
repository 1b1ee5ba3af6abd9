package price

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"hangbench/bench/dom0"
	"hangbench/bench/price/event"
	"hangbench/bench/price/misses"
	"hangbench/guests/lab/place"
)

// PollMechanism is the mechanism whose samples are priced; it has no events.
const PollMechanism = "poll"

// EventMechanisms returns the names of the mechanisms that an EventJob can measure.
func EventMechanisms() []string { return append(event.Mechanisms(), PollMechanism) }

// timedPass is the length of a timed pass on dom0's clock: some hundred events.
const timedPass = 500 * time.Millisecond

// pollWindows is the length of a window of polling, in windows. Polling costs little, so a
// short window would show nothing.
const pollWindows = 4

// EventJob says what to measure of events.
type EventJob struct {
	Driver     string        `json:"driver"` // one of dom0.Drivers
	Mechanisms []string      `json:"mechanisms"`
	Blocks     int           `json:"blocks"`    // of six windows each
	Window     time.Duration `json:"window_ns"` // on dom0's clock
	// Yardstick is the path of the C event loop; empty means place.Yardstick.
	Yardstick string `json:"yardstick,omitempty"`
}

// Run measures on a guest and leaves it idle. The report lacks what
// event.Report.Compute computes.
func (j EventJob) Run(ctx context.Context, guest *dom0.Guest, log *slog.Logger) (*event.Report, error) {
	return j.run(ctx, guest, tracePages, log)
}

// run is Run with trace buffers of that many pages for the timed passes.
func (j EventJob) run(ctx context.Context, guest *dom0.Guest, pages uint, log *slog.Logger) (_ *event.Report,
	err error) {
	if j.Yardstick == "" {
		j.Yardstick = place.Yardstick
	}
	g, err := open(guest, j.Driver)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	xen, err := guest.Host().Version()
	if err != nil {
		return nil, err
	}
	r := &event.Report{Schema: event.Schema, Host: guest.Host().Kind(), Driver: j.Driver, Xen: xen,
		GuestKernel: guest.Release, VCPUs: guest.VCPUs(), WindowMS: j.Window.Milliseconds()}
	first, err := g.Accounts()
	if err != nil {
		return nil, err
	}
	for _, m := range j.Mechanisms {
		if m == PollMechanism {
			if r.Polling, err = event.MeasurePoll(ctx, g, g.poll, pollWindows*j.Window, log); err != nil {
				return nil, err
			}
			if r.Reads, err = g.reads(); err != nil {
				return nil, err
			}
			continue
		}
		c := event.Config{Blocks: j.Blocks, Window: j.Window, Timed: timedPass, Log: log}
		s, err := event.Measure(ctx, g, loops{g, j.Yardstick, pages}, m, c)
		if err != nil {
			return nil, err
		}
		r.Series = append(r.Series, s)
	}
	last, err := g.Accounts()
	if err != nil {
		return nil, err
	}
	r.PerSecond = 1e9 * float64(last.Cycles-first.Cycles) / float64(last.NS-first.NS)
	return r, nil
}

// MissesJob says of which mechanisms to count the missed task switches.
type MissesJob struct {
	Driver     string        `json:"driver"` // one of dom0.Drivers
	Mechanisms []string      `json:"mechanisms"`
	Window     time.Duration `json:"window_ns"` // on dom0's clock
	Sample     time.Duration `json:"sample_ns"` // sampling period
}

// Run measures on a guest and leaves it idle. The report lacks what
// misses.Report.Compute computes.
func (j MissesJob) Run(ctx context.Context, guest *dom0.Guest, log *slog.Logger) (_ *misses.Report, err error) {
	g, err := open(guest, j.Driver)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	xen, err := guest.Host().Version()
	if err != nil {
		return nil, err
	}
	r := &misses.Report{Schema: misses.Schema, Host: guest.Host().Kind(), Driver: j.Driver, Xen: xen,
		GuestKernel: guest.Release, VCPUs: guest.VCPUs(),
		WindowMS: j.Window.Milliseconds(), SampleMS: j.Sample.Milliseconds()}
	c := misses.Config{Window: j.Window, Sample: j.Sample, Log: log}
	for _, name := range j.Mechanisms {
		s, err := misses.Measure(ctx, g, g.watch, name, c)
		if err != nil {
			return nil, err
		}
		r.Series = append(r.Series, s)
	}
	return r, nil
}
