package run

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"hangbench/bench/plan"
	"hangbench/results"
)

// Host runs trials.
type Host interface {
	// Run runs one trial. Several calls may be under way at once if the host was
	// made for it. An error means that the host failed, not the guest.
	Run(ctx context.Context, t plan.Trial, progress func(stage string)) (results.Trial, error)
}

// Event is one step of a run, for a progress display.
type Event struct {
	Trial plan.Trial
	Stage string         // what it does now; empty when it has ended
	Done  *results.Trial // its record, once it has ended
	Err   error          // why an attempt failed; it is tried again once
}

// Options say how to run.
type Options struct {
	Host  Host
	Plan  []plan.Trial
	Store *results.Store
	Jobs  int         // trials at a time, at least 1
	Event func(Event) // called from one goroutine at a time; may be nil
}

// attempts is how often a trial is tried before the host is given up.
const attempts = 2

// Run runs every trial of the plan that the store does not have. It returns
// ctx's error when interrupted and the host's when that failed twice on one
// trial; what was finished before is stored in both cases.
func Run(ctx context.Context, o Options) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	event := func(e Event) {
		if o.Event != nil {
			mu.Lock()
			defer mu.Unlock()
			o.Event(e)
		}
	}
	todo := make(chan plan.Trial)
	var wg sync.WaitGroup
	for range max(o.Jobs, 1) {
		wg.Go(func() {
			for t := range todo {
				if err := one(ctx, o, t, event); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
feed:
	for _, i := range o.Store.Remaining() {
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

func one(ctx context.Context, o Options, t plan.Trial, event func(Event)) error {
	var failures []error
	for range attempts {
		start := time.Now()
		rec, err := o.Host.Run(ctx, t, func(stage string) { event(Event{Trial: t, Stage: stage}) })
		if err == nil {
			if err := o.Store.Append(rec, time.Since(start)); err != nil {
				return fmt.Errorf("store trial %d: %w", t.Index, err)
			}
			event(Event{Trial: t, Done: &rec})
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		event(Event{Trial: t, Err: err})
		failures = append(failures, err)
	}
	return fmt.Errorf("trial %d (%s, %s) failed %d times: %w", t.Index, t.Scenario, t.Mechanism, attempts, errors.Join(failures...))
}
