package agent

import (
	"context"
	"log/slog"

	"hangbench/bench/dom0"
	"hangbench/bench/dom0/recovery"
	"hangbench/bench/plan"
	"hangbench/guests/lab/place"
	"hangbench/results"
	"hangbench/scenarios/suites"
)

// host is the control domain of an agent.
type host interface {
	version() (string, error)
	newGuest(ctx context.Context, spec suites.Guest) (guest, error)
}

// guest is the guest of an agent.
type guest interface {
	spec() suites.Guest
	release() string
	run(ctx context.Context, t plan.Trial, taken *dom0.Recording) (results.Trial, error)
	measure(ctx context.Context, m MeasureJob, log *slog.Logger) (answer any, err error)
	inspect(ctx context.Context) (dom0.Inspection, error)
}

// realHost is bench/dom0's host.
type realHost struct{ h *dom0.Host }

func (r *realHost) version() (string, error) { return r.h.Version() }

func (r *realHost) newGuest(ctx context.Context, spec suites.Guest) (guest, error) {
	g, err := r.h.NewGuest(ctx, GuestName, spec)
	if err != nil {
		return nil, err
	}
	return &realGuest{g}, nil
}

// realGuest is bench/dom0's guest.
type realGuest struct{ g *dom0.Guest }

func (r *realGuest) spec() suites.Guest { return r.g.Spec }
func (r *realGuest) release() string    { return r.g.Release }

func (r *realGuest) inspect(ctx context.Context) (dom0.Inspection, error) { return r.g.Inspect(ctx) }

func (r *realGuest) run(ctx context.Context, t plan.Trial, taken *dom0.Recording) (results.Trial, error) {
	return r.g.Run(ctx, t, taken)
}

func (r *realGuest) measure(ctx context.Context, m MeasureJob, log *slog.Logger) (any, error) {
	switch {
	case m.Event != nil:
		return m.Event.Run(ctx, r.g, log)
	case m.Misses != nil:
		return m.Misses.Run(ctx, r.g, log)
	case m.Sites != nil:
		return m.Sites.Run(ctx, r.g, log)
	}
	k := m.Kill
	watch := recovery.WatchCommand(place.Agent, GuestName, k.Driver, k.Mechanism)
	return r.g.Host().Kill(ctx, r.g.Domid, k.KillJob, watch, log)
}
