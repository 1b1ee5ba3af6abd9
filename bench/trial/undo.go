package trial

import (
	"context"
	"errors"
)

// undo is what has to be removed from the guest and the host before a trial ends, the
// last first. Every entry is called once, however the trial ends.
type undo []func(ctx context.Context) error

func (u *undo) push(f func(ctx context.Context) error) { *u = append(*u, f) }

// pop calls the last entry and removes it. It passes a context that does not end with
// the trial's: an interrupted trial leaves nothing behind.
func (u *undo) pop(ctx context.Context) error {
	last := len(*u) - 1
	f := (*u)[last]
	*u = (*u)[:last]
	return f(context.WithoutCancel(ctx))
}

// swap changes the order of the last two entries.
func (u undo) swap() { u[len(u)-1], u[len(u)-2] = u[len(u)-2], u[len(u)-1] }

// all calls all entries, whatever fails.
func (u *undo) all(ctx context.Context) error {
	var errs []error
	for len(*u) > 0 {
		errs = append(errs, u.pop(ctx))
	}
	return errors.Join(errs...)
}
