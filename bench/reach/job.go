package reach

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"hangbench/bench/dom0"
	"hangbench/bench/dom0/clock"
	"hangbench/guests/beat"
)

const (
	// startTime is how long the guest may take to begin a work.
	startTime = 10 * time.Second
	// settle is how long a work runs before it is recorded: what it does once, to start, is
	// not of it.
	settle = 2 * time.Second
)

// Job says what to record.
type Job struct {
	Works     []string      `json:"works"`
	Functions time.Duration `json:"functions_ns"` // of each work, on dom0's clock
	Locks     time.Duration `json:"locks_ns"`     // likewise
	MostLocks int           `json:"most_locks"`   // taken, of each work
}

// Works returns the names of the works that are recorded: all whose unit takes no minute.
func Works() []string {
	var names []string
	for _, w := range beat.Workloads() {
		if w != beat.Kernel {
			names = append(names, w.Name)
		}
	}
	return names
}

// Report is what was recorded.
type Report struct {
	Release string `json:"release"` // of the guest's kernel
	Sites   string `json:"sites"`   // a sites.File without kernel and release
}

// Run records a guest, which is good for nothing else afterwards.
func (j Job) Run(ctx context.Context, g *dom0.Guest, log *slog.Logger) (*Report, error) {
	symbols, slide := g.Symbols()
	f, err := Record(ctx, Config{
		Driver: g.Watched().Driver, Translate: g.Translate, Symbols: symbols, Slide: slide, Now: clock.Now,
		Do:        func(ctx context.Context, work string) error { return do(ctx, g, work) },
		Functions: j.Functions, Locks: j.Locks, MostLocks: j.MostLocks, Log: log,
	}, j.Works)
	if err != nil {
		return nil, err
	}
	f.Kernel, f.Release = "-", g.Release
	text, err := f.Bytes()
	return &Report{g.Release, string(text)}, err
}

// do has the guest do a work.
func do(ctx context.Context, g *dom0.Guest, name string) error {
	w, ok := beat.FindWorkload(name)
	if !ok {
		return fmt.Errorf("record sites: there is no work %q", name)
	}
	g.Heartbeat.Want(w)
	for end := clock.Now() + int64(startTime); !g.Heartbeat.Runs(w); {
		if clock.Now() > end {
			return fmt.Errorf("record sites: the guest did not begin the work %s within %v", w, startTime)
		}
		if err := clock.Sleep(ctx, poll); err != nil {
			return err
		}
	}
	return clock.Sleep(ctx, settle)
}
