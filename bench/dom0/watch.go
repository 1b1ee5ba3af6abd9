package dom0

import (
	"context"
	"fmt"
	"time"

	"hangbench/monitor"
	"hangbench/monitor/detect"
	"hangbench/monitor/trap"
)

// Watch monitors the guest until ctx ends, and tells what it finds. Attached is
// called once the trap is set. That ctx ended is no error; a monitor that ended
// by itself is, and wraps monitor.ErrGone if the guest was being destroyed.
func (g *Guest) Watch(ctx context.Context, m trap.Mechanism, t detect.Thresholds, sample time.Duration, attached func(), tell func(monitor.News)) (monitor.Counters, error) {
	// The session's thread must not wait for whoever listens.
	news := make(chan monitor.News, 64)
	lost := 0
	s, err := g.attachAs(monitor.Config{Mechanism: m, Thresholds: t, Sample: sample, Report: func(n monitor.News) {
		select {
		case news <- n:
		default:
			lost++
		}
	}})
	if err != nil {
		return monitor.Counters{}, err
	}
	attached()
	ended := false
	for !ended {
		select {
		case n := <-news:
			tell(n)
		case <-s.Done():
			ended = true
		case <-ctx.Done():
			ended = true
		}
	}
	byItself := ctx.Err() == nil
	c, err := s.Detach()
	for len(news) > 0 { // what came with the last observations
		tell(<-news)
	}
	switch {
	case err != nil:
		return c, err
	case byItself:
		return c, fmt.Errorf("the monitor of domain %d ended by itself", g.Domid)
	case lost > 0:
		return c, fmt.Errorf("%d verdicts were lost: nobody took them", lost)
	}
	return c, nil
}

// Now is the clock of verdicts: dom0's monotonic time in nanoseconds.
func Now() int64 { return now() }
