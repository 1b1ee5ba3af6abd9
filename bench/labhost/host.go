package labhost

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"hangbench/bench/agent"
	"hangbench/bench/dom0"
	"hangbench/bench/plan"
	"hangbench/guests/lab"
	"hangbench/guests/lab/bochs"
	"hangbench/guests/lab/wire"
	"hangbench/results"
	"hangbench/scenarios/suites"
)

// Host is a lab on which trials run. It may be used by several goroutines: each
// trial has a machine of its own.
type Host struct {
	Lab *lab.Lab
	// Shim is the path of the emulator's preload library (bochs.BuildShim).
	Shim string
	// Log gets the steps of making snapshots, and a warning for each snapshot that is
	// damaged and made anew.
	Log *slog.Logger
	// Variant builds another lab of the same source, for guests that Lab cannot have.
	// It is called when the first such guest is needed. If it is nil such guests are an
	// error.
	Variant func(context.Context, lab.Variant) (*lab.Lab, error)

	variants variants

	mu     sync.Mutex // held while a snapshot is made
	times  Times
	opened map[string]*bochs.Snapshot // by their names
}

// Times are wall times of the lab's own work, in seconds. A time is 0 if the cache had
// the result.
type Times struct {
	ColdBootSec  float64   // from power-on to agent ready
	GuestBootSec float64   // from restored dom0 to guest up
	Restores     []float64 // from starting the emulator to the agent's first message
}

// New returns the host of a lab, and builds the emulator's preload library.
func New(ctx context.Context, l *lab.Lab, log *slog.Logger) (*Host, error) {
	shim, err := bochs.BuildShim(ctx, l.CC, filepath.Dir(l.CC))
	if err != nil {
		return nil, fmt.Errorf("build the emulator's preload library: %w", err)
	}
	return &Host{Lab: l, Shim: shim, Log: log}, nil
}

// Times returns what was measured so far.
func (h *Host) Times() Times {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.times
	t.Restores = slices.Clone(t.Restores)
	return t
}

// Run runs one trial in a machine of its own. If a snapshot is damaged it is made anew,
// from power-on, with a warning.
func (h *Host) Run(ctx context.Context, t plan.Trial, log *slog.Logger) (results.Trial, error) {
	return h.run(ctx, t, log, nil)
}

// Record runs one trial like Run. It also returns the observations of the trial's
// monitor. Recording them takes time in dom0, so the record may differ from Run's.
func (h *Host) Record(ctx context.Context, t plan.Trial, log *slog.Logger) (results.Trial, dom0.Recording, error) {
	var taken dom0.Recording
	rec, err := h.run(ctx, t, log, &taken)
	return rec, taken, err
}

func (h *Host) run(ctx context.Context, t plan.Trial, log *slog.Logger, taken *dom0.Recording) (results.Trial, error) {
	h, err := h.Of(ctx, t.Machine)
	if err != nil {
		return results.Trial{}, err
	}
	return retry(ctx, h, func() (results.Trial, error) { return h.runOnce(ctx, t, log, taken) }, guestName(t.Machine),
		baseName)
}

// retry calls f, and once more if a snapshot that it needs turns out to be damaged.
// The named snapshots are those that f may need; f makes anew those that are missing.
func retry[T any](ctx context.Context, h *Host, f func() (T, error), names ...string) (T, error) {
	v, err := f()
	if err == nil || ctx.Err() != nil {
		return v, err
	}
	h.mu.Lock()
	again := h.dropDamaged(ctx, err, names...)
	h.mu.Unlock()
	if !again {
		return v, err
	}
	return f()
}

func (h *Host) runOnce(ctx context.Context, t plan.Trial, log *slog.Logger, taken *dom0.Recording) (results.Trial,
	error) {
	var rec results.Trial
	snap, err := h.guest(ctx, t.Machine)
	if err != nil {
		return rec, err
	}
	log.Info("restore")
	start := time.Now()
	m, err := h.start(ctx, snap, &agent.Job{Trial: &t, Record: taken != nil}, log)
	if err != nil {
		return rec, err
	}
	defer m.Close()
	first := true
	err = m.expect(wire.KindRecord, &rec, func(p agent.Progress) {
		if first {
			first = false
			h.mu.Lock()
			h.times.Restores = append(h.times.Restores, time.Since(start).Seconds())
			h.mu.Unlock()
		}
		log.Info(p.Stage)
	})
	if err != nil {
		if ctx.Err() != nil {
			m.keep.Store(false) // the logs of an interrupted machine are of no use
		}
		return rec, err
	}
	if rec.Trial != t.Index || rec.Seed != t.Seed {
		return rec, fmt.Errorf("the lab answered trial %d with the record of trial %d", t.Index, rec.Trial)
	}
	if taken != nil {
		*taken = dom0.Recording{}
		if err := m.expect(wire.KindStream, taken, nil); err != nil {
			return rec, err
		}
	}
	if !snap.Untouched() {
		return rec, &bochs.SnapshotError{Dir: snap.Dir, Err: bochs.ErrTouched}
	}
	return rec, nil
}

// Inspect reads the kernel of a guest that has just come up.
func (h *Host) Inspect(ctx context.Context, g suites.Guest) (dom0.Inspection, error) {
	var s dom0.Inspection
	h, err := h.Of(ctx, g)
	if err != nil {
		return s, err
	}
	snap, err := h.guest(ctx, g)
	if err != nil {
		return s, err
	}
	m, err := h.start(ctx, snap, &agent.Job{Inspect: true}, h.Log)
	if err != nil {
		return s, err
	}
	defer m.Close()
	return s, m.expect(wire.KindRecord, &s, nil)
}

// Up starts a machine with dom0 and no guest, for Exec.
func (h *Host) Up(ctx context.Context) (*Machine, error) {
	return retry(ctx, h, func() (*Machine, error) { return h.startFrom(ctx, h.Base) }, baseName)
}

// UpGuest starts a machine with dom0 and a guest that is up, for Exec and for
// measurements.
func (h *Host) UpGuest(ctx context.Context, g suites.Guest) (*Machine, error) {
	h, err := h.Of(ctx, g)
	if err != nil {
		return nil, err
	}
	snap := func(ctx context.Context) (*bochs.Snapshot, error) { return h.guest(ctx, g) }
	return retry(ctx, h, func() (*Machine, error) { return h.startFrom(ctx, snap) }, guestName(g), baseName)
}

// startFrom starts a machine from a snapshot, without a job.
func (h *Host) startFrom(ctx context.Context, snap func(context.Context) (*bochs.Snapshot, error)) (*Machine, error) {
	s, err := snap(ctx)
	if err != nil {
		return nil, err
	}
	return h.start(ctx, s, nil, h.Log)
}
