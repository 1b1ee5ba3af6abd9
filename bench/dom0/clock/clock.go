// Package clock is the one clock of everything that is measured in a control
// domain: its monotonic time. In the lab it is virtual.
package clock

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// Now returns CLOCK_MONOTONIC in nanoseconds.
func Now() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // it cannot fail with this clock
	return ts.Nano()
}

// Sleep waits for d, or until ctx ends and returns ctx's error.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
