package inject

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"hangbench/guests/beat"
)

// OopsIn makes the next call of a kernel function execute an undefined instruction, in a
// kernel that does not panic for that: the task that calls is killed there, with whatever
// locks it holds. A call in an interrupt, and one of PID 1, panics nevertheless.
//
// It waits until the kernel has counted the oops, for at most five seconds, and puts the
// function back. More than one task may have called it by then. With restart PID 1 is asked
// to start the processes of the work once more, as a manager of services does.
//
// Nothing removes what has happened.
func OopsIn(function string, restart bool) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		oopses, err := addressOf(t, "die_counter")
		if err != nil {
			return nil, err
		}
		before, err := word32(t, oopses)
		if err != nil {
			return nil, fmt.Errorf("read die_counter: %w", err)
		}
		reset, err := setInt(t, "panic_on_oops", 0)
		if err != nil {
			return nil, err
		}
		s, err := patch(ctx, t, function, undefined, firstInstructions...)
		if err != nil {
			return nil, errors.Join(err, reset())
		}
		err = s.awaitOops(ctx, t, oopses, before)
		err = errors.Join(err, s.write(context.WithoutCancel(ctx), t, undefined, s.old, s.atStart), reset())
		if err != nil {
			return nil, err
		}
		if restart {
			if err := t.Ask(ctx, beat.Again); err != nil {
				return nil, err
			}
		}
		return &Injection{What: "a task was killed in " + function, Asked: true}, nil
	}
}

// awaitOops waits until the counter of oopses differs from before.
func (s *site) awaitOops(ctx context.Context, t Target, counter uint64, before uint32) error {
	for end := t.Now() + int64(forgetTime); ; {
		now, err := word32(t, counter)
		if err != nil {
			return fmt.Errorf("read die_counter: %w", err)
		}
		if now != before {
			return nil
		}
		if t.Now() > end {
			return fmt.Errorf("%w: no task has called %s within %v", ErrBusy, s.function, forgetTime)
		}
		if err := t.Sleep(ctx, tryPause); err != nil {
			return err
		}
	}
}

// addressOf returns the guest-physical address of a kernel variable.
func addressOf(t Target, variable string) (uint64, error) {
	va, err := t.Symbol(variable)
	if err != nil {
		return 0, err
	}
	gpa, err := t.Translate(va)
	if err != nil {
		return 0, fmt.Errorf("find %s: %w", variable, err)
	}
	return gpa, nil
}

// word32 reads four bytes at a guest-physical address.
func word32(t Target, gpa uint64) (uint32, error) {
	var b [4]byte
	err := t.ReadPhysical(gpa, b[:])
	return binary.LittleEndian.Uint32(b[:]), err
}
