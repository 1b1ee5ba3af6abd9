package inject

import (
	"context"
	"errors"
	"testing"
)

func TestSlowed(t *testing.T) {
	t.Parallel()
	g := newFake()
	removed, during := 0, 0
	inner := func(_ context.Context, target Target) (*Injection, error) {
		during = g.capped
		return &Injection{What: "broken", Asked: true, remove: func(context.Context) error {
			removed++
			if g.capped != 0 {
				t.Errorf("the fault is removed under a limit of %d%%", g.capped)
			}
			return errBroken
		}}, nil
	}
	in, err := Slowed(5, inner)(t.Context(), g)
	if err != nil || during != 5 || !in.Asked || in.What != "guest limited to 5% of a CPU; broken" {
		t.Fatalf("limited to %d%%: %+v, %v", during, in, err)
	}
	if err := in.Remove(t.Context()); !errors.Is(err, errBroken) || removed != 1 || g.capped != 0 {
		t.Errorf("removed %d times, limited to %d%%: %v", removed, g.capped, err)
	}
	// A fault that cannot be brought in leaves no limit, also if the trial has ended.
	ctx, cancel := context.WithCancel(t.Context())
	fails := func(context.Context, Target) (*Injection, error) {
		cancel()
		return nil, errBroken
	}
	if _, err := Slowed(5, fails)(ctx, g); !errors.Is(err, errBroken) || g.capped != 0 {
		t.Errorf("limited to %d%%: %v", g.capped, err)
	}
	g.unwatched = true
	if _, err := Slowed(5, inner)(t.Context(), g); err == nil || during != 5 {
		t.Error("a scheduler that knows no limit limits the guest")
	}
}

var errBroken = errors.New("broken")
