package recovery

import (
	"context"
	"errors"
	"fmt"

	"hangbench/monitor"
)

// newsBuffer is how many findings may wait for their listener.
const newsBuffer = 64

// errEnded means that a monitor ended without having been told to.
var errEnded = errors.New("the monitor ended by itself")

// Watched is an attached monitor; *Session is one.
type Watched interface {
	// Done is closed when the monitor has ended.
	Done() <-chan struct{}
	Detach() (monitor.Counters, error)
}

// Watch attaches a monitor and lets it run until ctx ends. attach starts it with
// the given monitor.Config.Report. attached is called once it is attached, and tell
// with each of its findings; both run on the caller's goroutine.
//
// It is no error that ctx ended. It is one if the monitor ended by itself
// (monitor.ErrGone if the guest was being destroyed), and if findings were dropped
// because tell did not keep up.
func Watch(ctx context.Context, attach func(report func(monitor.News)) (Watched, error),
	attached func(), tell func(monitor.News)) (monitor.Counters, error) {
	news := make(chan monitor.News, newsBuffer)
	dropped := 0
	s, err := attach(func(n monitor.News) {
		select {
		case news <- n:
		default: // the monitor's thread must not wait for a listener
			dropped++
		}
	})
	if err != nil {
		return monitor.Counters{}, err
	}
	attached()
	for running := true; running; {
		select {
		case n := <-news:
			tell(n)
		case <-s.Done():
			running = false
		case <-ctx.Done():
			running = false
		}
	}
	byItself := ctx.Err() == nil
	c, err := s.Detach()
	for len(news) > 0 { // findings of the last observations
		tell(<-news)
	}
	switch {
	case err != nil:
		return c, err
	case byItself:
		return c, errEnded
	case dropped > 0:
		return c, fmt.Errorf("%d findings were dropped: their listener did not keep up", dropped)
	}
	return c, nil
}
