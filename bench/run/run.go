package run

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"hangbench/bench/plan"
	"hangbench/results"
)

// Host runs trials.
type Host interface {
	// Run runs one trial and logs its steps. An error means that the host failed and
	// not the guest. With Jobs > 1, several goroutines call Run at once.
	Run(ctx context.Context, t plan.Trial, log *slog.Logger) (results.Trial, error)
}

// Options are the plan of a run, its host and its store.
type Options struct {
	Host  Host
	Plan  []plan.Trial
	Store *results.Store
	Jobs  int // trials at a time, at least 1
	// Log gets the steps of each trial, its end, and failures of the host, with the
	// attributes that bench/progress shows. It may be nil.
	Log *slog.Logger
}

// attempts is the number of failures of the host at one trial that end the run.
const attempts = 2

// Run runs every trial of the plan that has no record in the store. It returns the
// cause of ctx's end if ctx ends, and the host's errors if the host fails twice at one
// trial. The records of trials that ended before are stored in both cases.
func Run(ctx context.Context, o Options) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	remaining := o.Store.Remaining()
	r := runner{Options: o, begun: time.Now(), done: len(o.Plan) - len(remaining)}
	if r.Log == nil {
		r.Log = slog.New(slog.DiscardHandler)
	}
	r.Log.Info("trials", "done", r.done, "total", len(o.Plan))
	todo := make(chan plan.Trial)
	var wg sync.WaitGroup
	for range max(o.Jobs, 1) {
		wg.Go(func() {
			for t := range todo {
				if err := r.one(ctx, t); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
feed:
	for _, i := range remaining {
		if i >= len(o.Plan) {
			cancel(fmt.Errorf("the store asks for trial %d of a plan of %d", i, len(o.Plan)))
			break
		}
		select {
		case todo <- o.Plan[i]:
		case <-ctx.Done():
			break feed
		}
	}
	close(todo)
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// runner is the state of a run.
type runner struct {
	Options
	begun time.Time

	mu   sync.Mutex
	done int // trials that have a record
}

// one runs a trial and stores its record. It logs each failure of the host.
func (r *runner) one(ctx context.Context, t plan.Trial) error {
	log := r.Log.With("trial", t.Index, "scenario", t.Scenario, "mechanism", t.Mechanism)
	var failure error
	for range attempts {
		start := time.Now()
		rec, err := r.Host.Run(ctx, t, log)
		if err == nil {
			took := time.Since(start)
			if why := rec.Validate(); why != nil {
				log.Warn("impossible", "error", why)
				rec = impossible(t, rec, why)
			}
			planned := t.Planned()
			err = planned.Check(&rec)
			if err == nil && rec.Trial != t.Index {
				err = fmt.Errorf("the record is of trial %d", rec.Trial)
			}
			if err != nil {
				return fmt.Errorf("trial %d: the host returned the record of another trial: %w", t.Index, err)
			}
			if err := r.Store.Append(rec, took); err != nil {
				return fmt.Errorf("store trial %d: %w", t.Index, err)
			}
			log.Debug("stored", "outcome", rec.Outcome, "wall", took)
			r.ended(log, rec.Outcome)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		log.Warn("failed", "error", err)
		failure = err
	}
	// The log has the others.
	return fmt.Errorf("trial %d (%s, %s) failed %d times: %w",
		t.Index, t.Scenario, t.Mechanism, attempts, failure)
}

// impossible is the record of a trial whose record cannot be, as when a guest lies about
// what it did. It keeps what is known without the guest. One such trial must not end a
// run.
func impossible(t plan.Trial, rec results.Trial, why error) results.Trial {
	cell := t.Cell
	cell.Kind, cell.GuestKernel = rec.Kind, rec.GuestKernel
	bad := results.Trial{
		Schema: results.Schema, Suite: t.Suite, Trial: t.Index, Block: t.Block, Host: rec.Host, Cell: cell, Seed: t.Seed,
		Outcome: results.Invalid, Reason: fmt.Sprintf("the record is impossible: %v", why),
	}
	if rec.Kind == results.Fault || rec.Kind == results.Unknown {
		bad.Expected, bad.DeadlineNS = rec.Expected, t.DeadlineNS()
	}
	return bad
}

// ended logs the end of a trial.
func (r *runner) ended(log *slog.Logger, outcome results.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done++
	log.Info(fmt.Sprintf("%s; the run has taken %.0f s", outcome, time.Since(r.begun).Seconds()),
		"done", r.done, "total", len(r.Plan))
}
