package trial

import (
	"context"
	"errors"

	"hangbench/guests/beat"
	"hangbench/scenarios/inject"
	"hangbench/scenarios/sign"
)

// target is a guest as an injector needs it: its machine, the trial's clock, the
// requests of its PID 1, and the observer that may be broken on purpose.
type target struct {
	inject.Machine
	Clock
	r *run
}

// Ask asks PID 1 for a request and waits until it has accepted it. It waits even if the
// trial is interrupted meanwhile: whether the request will be done must be known, so
// that it can be undone.
func (t target) Ask(ctx context.Context, e beat.Request) error {
	ctx = context.WithoutCancel(ctx)
	token := t.r.page.Ask(e)
	for end := t.Now() + int64(requestTime); !t.r.page.Answered(token); {
		if t.Now() > end {
			return Invalid("the guest did not take up request %q within %v", e, requestTime)
		}
		if err := t.Sleep(ctx, sign.Poll); err != nil {
			return err
		}
	}
	return nil
}

// Mishandle breaks or repairs the observer of the trial.
func (t target) Mishandle(on bool) error {
	if !t.r.attached {
		return errors.New("no monitor is attached")
	}
	b, ok := t.r.env.Watcher.(Breaker)
	if !ok {
		return errors.New("the observer " + t.r.env.Watcher.Name() + " cannot be broken on purpose")
	}
	return b.Mishandle(on)
}
