package inject

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Release is a place where the kernel releases a spinlock.
type Release struct {
	Lock     string // the lock's variable
	Function string // the function that takes and releases it
	Unlock   string // the function that Function calls to release it
}

const (
	callBytes = 5    // opcode and a distance of 32 bits
	callNear  = 0xe8 // call, with the distance from its end
	maxSites  = 8    // calls of one function in another
	maxCode   = 4096 // bytes of a function that are searched
	// A lock that is held at heldLooks looks in a row, a millisecond or more apart,
	// is not held by a task that is about to release it.
	heldLooks = 20
	// forgetTime bounds the wait until tasks have taken the locks.
	forgetTime = 5 * time.Second
)

// lockState is how ForgetUnlock sees one lock.
type lockState struct {
	held    func() (bool, error)
	release func(ctx context.Context) error
}

// find returns the calls that release the lock, and the lock.
func (r Release) find(t Target) ([]*site, lockState, error) {
	calls, err := callsOf(t, r.Function, r.Unlock)
	if err != nil {
		return nil, lockState{}, err
	}
	va, err := t.Symbol(r.Lock)
	if err != nil {
		return nil, lockState{}, err
	}
	gpa, err := spinByte(t, r.Lock, va)
	if err != nil {
		return nil, lockState{}, err
	}
	return calls, lockState{
		held: func() (bool, error) {
			var b [1]byte
			err := t.ReadPhysical(gpa, b[:])
			return b[0] != 0, err
		},
		release: func(ctx context.Context) error {
			if err := releaseSpin(ctx, t, va, gpa); err != nil {
				return fmt.Errorf("release %s: %w", r.Lock, err)
			}
			return nil
		},
	}, nil
}

// ForgetUnlock makes kernel functions forget to release a lock each, once. It
// replaces the calls that release the lock by no-operations, waits until a task has
// taken the lock and keeps it, and puts the calls back when every lock is held so. A
// task that asks for one of the locks after that waits for a task that is elsewhere.
//
// Remove releases the locks as their holders should have done.
func ForgetUnlock(releases ...Release) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		var sites []*site
		var locks []lockState
		var what []string
		for _, r := range releases {
			calls, lock, err := r.find(t)
			if err != nil {
				return nil, err
			}
			sites, locks = append(sites, calls...), append(locks, lock)
			what = append(what, fmt.Sprintf("%s not released by %s", r.Lock, r.Function))
		}
		in := &Injection{
			What: strings.Join(what, ", "), Asked: true,
			remove: func(ctx context.Context) error { return releaseAll(ctx, locks) },
		}
		if err := skipAll(ctx, t, sites); err != nil {
			return nil, err
		}
		// An interrupted trial puts the calls back all the same.
		always := context.WithoutCancel(ctx)
		held := awaitHeld(ctx, t, in.What, locks)
		if err := errors.Join(held, restoreAll(always, t, sites)); err != nil {
			return nil, errors.Join(err, in.Remove(always))
		}
		return in, nil
	}
}

// SkipCalls makes a kernel function leave out its calls of another one, as one that
// forgets to wake somebody does. Remove puts the calls back.
func SkipCalls(function, callee string) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		sites, err := callsOf(t, function, callee)
		if err != nil {
			return nil, err
		}
		if err := skipAll(ctx, t, sites); err != nil {
			return nil, err
		}
		return &Injection{
			What:   function + " does not call " + callee,
			remove: func(ctx context.Context) error { return restoreAll(ctx, t, sites) },
		}, nil
	}
}

// skipAll replaces calls by no-operations. If that fails, all calls are there.
func skipAll(ctx context.Context, t Target, sites []*site) error {
	for i, s := range sites {
		if err := s.write(ctx, t, s.old, skipCall, s.atStart); err != nil {
			return errors.Join(err, restoreAll(context.WithoutCancel(ctx), t, sites[:i]))
		}
	}
	return nil
}

// restoreAll puts calls back, whatever fails on the way.
func restoreAll(ctx context.Context, t Target, sites []*site) error {
	var errs []error
	for _, s := range sites {
		errs = append(errs, s.write(ctx, t, skipCall, s.old, s.atStart))
	}
	return errors.Join(errs...)
}

// releaseAll releases the locks that are held, whatever fails on the way.
func releaseAll(ctx context.Context, locks []lockState) error {
	var errs []error
	for _, lock := range locks {
		held, err := lock.held()
		if err == nil && held {
			err = lock.release(ctx)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// allHeld reports whether every lock is held.
func allHeld(locks []lockState) (bool, error) {
	for _, lock := range locks {
		if held, err := lock.held(); err != nil || !held {
			return false, err
		}
	}
	return true, nil
}

// awaitHeld waits until all locks were held at heldLooks looks in a row. The error is
// ErrBusy if that took more than forgetTime.
func awaitHeld(ctx context.Context, t Target, what string, locks []lockState) error {
	looks := 0
	for end := t.Now() + int64(forgetTime); ; {
		held, err := allHeld(locks)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if looks++; !held {
			looks = 0
		}
		if looks == heldLooks {
			return nil
		}
		if t.Now() > end {
			return fmt.Errorf("%s: %w: no task took the lock within %v", what, ErrBusy, forgetTime)
		}
		if err := t.Sleep(ctx, tryPause); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

// readCode reads n bytes of a function's code from va on.
func readCode(t Target, va, n uint64, function string) ([]byte, error) {
	code := make([]byte, n)
	for at := uint64(0); at < n; {
		part := min(4096-(va+at)%4096, n-at)
		gpa, err := t.Translate(va + at)
		if err == nil {
			err = t.ReadPhysical(gpa, code[at:at+part])
		}
		if err != nil {
			return nil, fmt.Errorf("read the code of %s: %w", function, err)
		}
		at += part
	}
	return code, nil
}

// callsOf finds the calls of callee in a function, by the distance to callee that
// each call instruction holds.
func callsOf(t Target, function, callee string) ([]*site, error) {
	va, err := t.Symbol(function)
	if err != nil {
		return nil, err
	}
	to, err := t.Symbol(callee)
	if err != nil {
		return nil, err
	}
	size, err := t.Size(function)
	if err != nil {
		return nil, err
	}
	code, err := readCode(t, va, min(size, maxCode), function)
	if err != nil {
		return nil, err
	}
	var sites []*site
	for at := 0; at+callBytes <= len(code); at++ {
		end := va + uint64(at) + callBytes
		if code[at] != callNear || end+uint64(int64(int32(binary.LittleEndian.Uint32(code[at+1:])))) != to {
			continue
		}
		s := &site{function: function, va: va + uint64(at), old: bytes.Clone(code[at : at+callBytes])}
		if s.va%4096 > 4096-callBytes {
			return nil, fmt.Errorf("patch %s: its call of %s lies across pages", function, callee)
		}
		if s.gpa, err = t.Translate(s.va); err != nil {
			return nil, fmt.Errorf("patch %s: %w", function, err)
		}
		if sites = append(sites, s); len(sites) > maxSites {
			break
		}
	}
	if len(sites) == 0 || len(sites) > maxSites {
		return nil, fmt.Errorf("patch %s: it calls %s %d times, want 1 to %d", function, callee, len(sites), maxSites)
	}
	return sites, nil
}
