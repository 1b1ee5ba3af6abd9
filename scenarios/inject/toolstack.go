package inject

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hangbench/guests/beat"
)

const (
	// followTime is how long a guest may take to do what the toolstack asks it to.
	followTime = 30 * time.Second
	followPoll = 20 * time.Millisecond
)

// follow waits until the guest has done what it was asked to. The error is ErrDeaf if it
// never does; then says what it was to do.
func follow(ctx context.Context, c Clock, then string, done func() (bool, error)) error {
	for end := c.Now() + int64(followTime); ; {
		if ok, err := done(); ok || err != nil {
			return err
		}
		if c.Now() >= end {
			return fmt.Errorf("%w within %v: %s", ErrDeaf, followTime, then)
		}
		if err := c.Sleep(ctx, followPoll); err != nil {
			return err
		}
	}
}

// limit is a fault that sets a limit. 0 removes it.
func limit(what string, n int, outside bool, set func(Target, context.Context, int) error) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		if err := set(t, ctx, n); err != nil {
			return nil, err
		}
		return &Injection{
			What: what, Outside: outside,
			remove: func(ctx context.Context) error { return set(t, ctx, 0) },
		}, nil
	}
}

// Capped limits the guest to so many percent of one physical CPU, for all of its vCPUs
// together.
func Capped(percent int) Fault {
	return limit(fmt.Sprintf("guest limited to %d%% of a CPU", percent), percent, false, Target.Cap)
}

// CappedControl limits the control domain to so many percent of one physical CPU.
func CappedControl(percent int) Fault {
	return limit(fmt.Sprintf("dom0 limited to %d%% of a CPU", percent), percent, true, Target.CapControl)
}

// FilledControl takes memory in the control domain until programs can get so many MiB.
func FilledControl(left int) Fault {
	return limit(fmt.Sprintf("%d MiB left in dom0", left), left, true,
		func(t Target, _ context.Context, n int) error { return t.FillControl(n) })
}

// OthersBuilt has another guest built and destroyed, again and again.
func OthersBuilt() Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		if err := t.BuildOthers(ctx, true); err != nil {
			return nil, err
		}
		return &Injection{
			What: "other guests built", Outside: true,
			remove: func(ctx context.Context) error { return t.BuildOthers(ctx, false) },
		}, nil
	}
}

// obeyed is a fault that the guest brings in itself when do asks it to, and takes back when
// undo does. Both wait until the guest has done it.
func obeyed(ctx context.Context, what string, do, undo func(ctx context.Context) error) (*Injection, error) {
	if err := do(ctx); err != nil {
		return nil, errors.Join(err, undo(context.WithoutCancel(ctx)))
	}
	return &Injection{What: what, Asked: true, remove: undo}, nil
}

// thenOnline returns a function that asks the guest for something and waits until n vCPUs
// are online.
func thenOnline(t Target, n int, ask func(ctx context.Context) error) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		if err := ask(ctx); err != nil {
			return err
		}
		return follow(ctx, t, fmt.Sprintf("use %d vCPUs", n), func() (bool, error) {
			r, err := t.Resources()
			return r.VCPUs == n, err
		})
	}
}

// Unplugged has the toolstack take vCPUs from the guest until n are left. It is an error
// if the guest has no more than n.
func Unplugged(n int) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		if t.VCPUs() <= n {
			return nil, fmt.Errorf("the guest has %d vCPUs: none can be taken if %d are to stay", t.VCPUs(), n)
		}
		set := func(n int) func(context.Context) error {
			return func(ctx context.Context) error { return t.SetVCPUs(ctx, n) }
		}
		return obeyed(ctx, fmt.Sprintf("%d vCPUs left", n), thenOnline(t, n, set(n)), thenOnline(t, t.VCPUs(), set(0)))
	}
}

// Offline has PID 1 take the guest's last vCPU offline.
func Offline() Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		ask := func(r beat.Request) func(context.Context) error {
			return func(ctx context.Context) error { return t.Ask(ctx, r) }
		}
		return obeyed(ctx, "last vCPU offline", thenOnline(t, t.VCPUs()-1, ask(beat.Offline)),
			thenOnline(t, t.VCPUs(), ask(beat.Online)))
	}
}

// memorySlack is by how much a guest's memory may differ from what it was asked to use, in
// bytes: pages of the hypervisor and of the toolstack count too.
const memorySlack = 2 << 20

// Ballooned has the guest give memory back until it uses so many MiB. It is an error if it
// uses no more.
func Ballooned(mib int) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		before, err := t.Resources()
		if err != nil {
			return nil, err
		}
		least := uint64(mib) << 20
		if before.Memory <= least+memorySlack {
			return nil, fmt.Errorf("the guest uses %d MiB: it can give none back and still use %d", before.Memory>>20, mib)
		}
		set := func(mib int, then string, done func(memory uint64) bool) func(context.Context) error {
			return func(ctx context.Context) error {
				if err := t.SetMemory(ctx, mib); err != nil {
					return err
				}
				return follow(ctx, t, then, func() (bool, error) {
					r, err := t.Resources()
					return done(r.Memory), err
				})
			}
		}
		return obeyed(ctx, fmt.Sprintf("guest uses %d MiB", mib),
			set(mib, fmt.Sprintf("use %d MiB", mib), func(m uint64) bool { return m <= least+memorySlack }),
			set(0, "take its memory back", func(m uint64) bool { return m+memorySlack >= before.Memory }))
	}
}

// Checkpointed has the guest saved while it stays in its domain.
func Checkpointed() Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		if err := t.Checkpoint(ctx); err != nil {
			return nil, err
		}
		return &Injection{What: "guest saved, and continued", Asked: true}, nil
	}
}

// Saved has the guest saved and its domain destroyed. When it is removed the guest comes
// back in another domain, with a wall clock that is later by a time.
func Saved(later time.Duration) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		if err := t.Save(ctx); err != nil {
			return nil, err
		}
		return &Injection{
			What: "guest saved", Asked: true, Outside: true, Away: true,
			remove: func(ctx context.Context) error { return t.Restore(ctx, later) },
		}, nil
	}
}

// EndedBy asks the guest to end itself.
func EndedBy(how Ending) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		if err := t.End(ctx, how); err != nil {
			return nil, err
		}
		err := follow(ctx, t, string(how), func() (bool, error) {
			got, err := t.Ended()
			if err == nil && got != "" && got != string(how) {
				err = fmt.Errorf("the guest was asked for %s and has ended with %s", how, got)
			}
			return got == string(how), err
		})
		if err != nil {
			return nil, err
		}
		return &Injection{What: "guest ended with " + string(how), Asked: true, Ends: true}, nil
	}
}
