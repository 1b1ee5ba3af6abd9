package inject

import (
	"context"
	"errors"
	"fmt"
)

// Slowed brings a fault into a guest whose vCPUs together may use only so many percent of
// one physical CPU. The limit comes first and goes first.
func Slowed(percent int, fault Fault) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		limit, err := Capped(percent)(ctx, t)
		if err != nil {
			return nil, err
		}
		in, err := fault(ctx, t)
		if err != nil {
			return nil, errors.Join(err, limit.Remove(context.WithoutCancel(ctx)))
		}
		slowed := *in
		slowed.What = fmt.Sprintf("%s; %s", limit.What, in.What)
		slowed.remove = func(ctx context.Context) error { return errors.Join(limit.Remove(ctx), in.Remove(ctx)) }
		return &slowed, nil
	}
}
