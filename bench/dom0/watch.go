package dom0

import (
	"context"
	"fmt"
	"time"

	"hangbench/monitor"
	"hangbench/monitor/detect"
)

// News is something that the monitor of a guest has to say: exactly one of its
// fields is set.
type News struct {
	Verdict   *detect.Verdict
	Recovered *detect.Recovery
}

// Watch monitors the guest until ctx ends, and tells what it finds. Attached is
// called once the trap is set. That ctx ended is no error; a monitor that ended
// by itself is.
func (g *Guest) Watch(ctx context.Context, m monitor.Mechanism, t detect.Thresholds, sample time.Duration, attached func(), tell func(News)) (monitor.Counters, error) {
	// The session delivers one verdict, for a trial. Here all of them count, so a
	// detector of our own sees the same observations. It runs on the session's
	// thread and must not wait for whoever listens.
	news := make(chan News, 64)
	lost := 0
	put := func(n News) {
		select {
		case news <- n:
		default:
			lost++
		}
	}
	d := detect.NewDetector(t)
	s, err := g.attach(m, t, sample, func(o *detect.Observation) {
		if v, hung := d.Observe(o); hung {
			put(News{Verdict: &v})
		}
		if r, over := d.Recovered(); over {
			put(News{Recovered: &r})
		}
	})
	if err != nil {
		return monitor.Counters{}, err
	}
	attached()
	var livelock <-chan detect.Verdict = s.Verdict()
	ended := false
	for !ended {
		select {
		case n := <-news:
			tell(n)
		case v := <-livelock:
			livelock = nil // there is one at most
			if v.Class == detect.ClassMonitor {
				tell(News{Verdict: &v})
			}
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
