package event

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Account is what stands in the accounts at one instant.
type Account struct {
	NS     int64  // dom0's monotonic clock
	Cycles uint64 // time-stamp counter
	Dom0NS int64  // time that dom0's vCPUs ran so far
	Work   uint64 // units of work the guest has done
	Beats  uint64 // heartbeats of the guest
}

// Counts is what a loop counted from attaching to its end.
type Counts struct{ Events uint64 }

// Loop is a loop that answers events.
type Loop interface {
	// Stop ends it, lets go of the guest and returns its counts.
	Stop() (Counts, error)
}

// Host is where it runs.
type Host interface {
	// Look reads the accounts.
	Look() (Account, error)
	// Ours attaches the project's loop, C the yardstick.
	Ours(ctx context.Context, mechanism string) (Loop, error)
	C(ctx context.Context, mechanism string) (Loop, error)
	// Sleep waits on dom0's clock.
	Sleep(ctx context.Context, d time.Duration) error
}

func median(s []float64) float64 {
	if len(s) == 0 {
		return 0
	}
	s = slices.Clone(s)
	slices.SortFunc(s, cmp.Compare)
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}
