package inject

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Release is where the kernel releases a spinlock.
type Release struct {
	Lock     string // the lock's variable
	Function string // who takes and releases it
	Unlock   string // what Function calls to release it
}

const (
	callBytes = 5    // opcode and a distance of 32 bits
	callNear  = 0xe8 // call, with the distance from its end
	maxSites  = 8    // calls of one function in another
	maxCode   = 4096 // bytes of a function that are searched
	// A lock that is held at heldLooks looks in a row, a millisecond or more apart,
	// is not held by somebody who is about to leave it.
	heldLooks = 20
	// forgetTime bounds the wait until the guest has come by.
	forgetTime = 5 * time.Second
)

// ForgetUnlock makes kernel functions forget to release a lock each, once: while
// the calls that would release it are no-operations, somebody takes the lock and
// keeps it. When every lock is held so, the calls are put back. Whoever asks for
// one after that waits for a task that has long gone elsewhere.
//
// Lifting releases the locks as their holders ought to have.
func ForgetUnlock(t Target, releases ...Release) (_ *Injection, err error) {
	var sites []*site
	var locks []func() (held bool, release func() error, err error)
	what := ""
	for _, r := range releases {
		found, err := callsOf(t, r.Function, r.Unlock)
		if err != nil {
			return nil, err
		}
		sites = append(sites, found...)
		va, err := t.Symbol(r.Lock)
		if err != nil {
			return nil, err
		}
		gpa, err := spinByte(t, r.Lock, va)
		if err != nil {
			return nil, err
		}
		locks = append(locks, func() (bool, func() error, error) {
			var b [1]byte
			err := t.ReadPhysical(gpa, b[:])
			return b[0] != 0, func() error {
				if err := releaseSpin(t, va, gpa); err != nil {
					return fmt.Errorf("release %s: %w", r.Lock, err)
				}
				return nil
			}, err
		})
		if what != "" {
			what += ", "
		}
		what += fmt.Sprintf("%s not released by %s", r.Lock, r.Function)
	}
	lift := func() error {
		var errs []error
		for _, lock := range locks {
			held, release, err := lock()
			if err == nil && held {
				err = release()
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
	restore := func(sites []*site) error {
		var errs []error
		for _, s := range sites {
			errs = append(errs, s.write(t, skipCall, s.old, s.atStart))
		}
		return errors.Join(errs...)
	}
	for i, s := range sites {
		if err := s.write(t, s.old, skipCall, s.atStart); err != nil {
			return nil, errors.Join(err, restore(sites[:i]))
		}
	}
	held := awaitHeld(t, what, func() (bool, error) {
		for _, lock := range locks {
			if held, _, err := lock(); err != nil || !held {
				return false, err
			}
		}
		return true, nil
	})
	if err := errors.Join(held, restore(sites)); err != nil {
		return nil, errors.Join(err, lift())
	}
	return &Injection{What: what, Asked: true, lift: lift}, nil
}

// awaitHeld waits until held was true at every look for a while.
func awaitHeld(t Target, what string, held func() (bool, error)) error {
	looks := 0
	for end := time.Now().Add(forgetTime); ; {
		now, err := held()
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if looks++; !now {
			looks = 0
		}
		if looks == heldLooks {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: %w: nobody came by within %v", what, ErrBusy, forgetTime)
		}
		time.Sleep(tryPause)
	}
}

// callsOf finds the calls of another function in a function, by the distance
// that stands in each.
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
	code := make([]byte, min(size, maxCode))
	for at := uint64(0); at < uint64(len(code)); {
		n := min(4096-(va+at)%4096, uint64(len(code))-at)
		gpa, err := t.Translate(va + at)
		if err == nil {
			err = t.ReadPhysical(gpa, code[at:at+n])
		}
		if err != nil {
			return nil, fmt.Errorf("read the code of %s: %w", function, err)
		}
		at += n
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
