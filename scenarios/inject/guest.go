package inject

import (
	"context"
	"fmt"
	"time"

	"hangbench/guests/beat"
)

// Asked sends the guest's PID 1 a request, and to remove the fault by another
// one. The latter is empty for a fault that ends by itself. The text says what the first
// one does.
func Asked(what string, do, undo beat.Request) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		if err := t.Ask(ctx, do); err != nil {
			return nil, err
		}
		in := &Injection{What: what, Asked: true}
		if undo != "" {
			in.remove = func(ctx context.Context) error { return t.Ask(ctx, undo) }
		}
		return in, nil
	}
}

// outside is a fault of what the guest runs on, which set turns on and off.
func outside(what string, set func(t Target, on bool) error) Fault {
	return func(_ context.Context, t Target) (*Injection, error) {
		if err := set(t, true); err != nil {
			return nil, err
		}
		return &Injection{
			What: what, Outside: true,
			remove: func(context.Context) error { return set(t, false) },
		}, nil
	}
}

// StallDisk makes the guest's disk complete no request.
func StallDisk() Fault { return outside("disk stalled", Target.StallDisk) }

// Mishandled makes the monitor the guest's fault: every vCPU that meets its trap
// meets it again, without end.
func Mishandled() Fault { return outside("trap answered and left closed", Target.Mishandle) }

// Paused pauses the whole guest from outside.
func Paused() Fault {
	return outside("guest paused", func(t Target, on bool) error {
		if on {
			return t.Pause()
		}
		return t.Unpause()
	})
}

// FailDisk makes the guest's disk complete each request with an error.
func FailDisk() Fault { return outside("disk fails", Target.FailDisk) }

// SlowDisk delays each request of the guest's disk by a time.
func SlowDisk(by time.Duration) Fault {
	return outside(fmt.Sprintf("disk slower by %v", by), func(t Target, on bool) error {
		if on {
			return t.SlowDisk(by)
		}
		return t.SlowDisk(0)
	})
}
