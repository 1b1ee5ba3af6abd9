package reach

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"hangbench/guests/kernel"
	"hangbench/monitor/driver"
	"hangbench/scenarios/inject"
	"hangbench/scenarios/sites"
)

const (
	pageSize = 4096
	int3     = 0xcc
	// drain is how long events that were under way are answered after the breakpoints are
	// gone.
	drain = 100 * time.Millisecond
	// poll bounds a wait for events.
	poll = 20 * time.Millisecond
	// firstArgument is the place of RDI in driver.Registers.General.
	firstArgument = 5
)

// takers are the functions that take a lock whose address is their first argument, by the
// kind of lock. A kernel has some of them.
func takers() map[string]string {
	all := map[string]string{
		"mutex_lock": sites.Mutex, "mutex_lock_interruptible": sites.Mutex, "mutex_lock_killable": sites.Mutex,
		"mutex_trylock": sites.Mutex, "mutex_lock_io": sites.Mutex,
		"down_read": sites.RWSem, "down_read_interruptible": sites.RWSem, "down_read_killable": sites.RWSem,
		"down_read_trylock": sites.RWSem, "down_write": sites.RWSem, "down_write_killable": sites.RWSem,
		"down_write_trylock": sites.RWSem,
	}
	for _, how := range []string{"", "_irq", "_irqsave", "_bh"} {
		all["_raw_spin_lock"+how] = sites.Spinlock
		all["_raw_read_lock"+how] = sites.RWLock
		all["_raw_write_lock"+how] = sites.RWLock
	}
	all["_raw_spin_trylock"] = sites.Spinlock
	return all
}

// Symbols is the symbol table of a kernel: a *kernel.Symbols is one.
type Symbols interface {
	Len() int
	At(i int) kernel.Symbol
	Lookup(name string) (kernel.Symbol, bool)
	Find(addr uint64) (s kernel.Symbol, offset uint64, ok bool)
}

// Config is a guest whose work is recorded, and how.
type Config struct {
	Driver    driver.Driver
	Translate func(va uint64) (gpa uint64, err error)
	Symbols   Symbols
	Slide     uint64 // by which the kernel was moved
	// Do has the guest do a work, and returns when it does.
	Do  func(ctx context.Context, work string) error
	Now func() int64 // nanoseconds
	// Functions and Locks are how long the guest is recorded with each work.
	Functions, Locks time.Duration
	// MostLocks is the largest number of locks taken that are looked at with each work.
	MostLocks int
	Log       *slog.Logger
}

// Record records the places that each of the works reaches. Kernel and Release of the file
// are empty.
func Record(ctx context.Context, c Config, works []string) (*sites.File, error) {
	if n := c.Driver.VCPUs(); n != 1 {
		return nil, fmt.Errorf("record sites: the guest has %d vCPUs, give it one", n)
	}
	r := &recorder{Config: c, at: make(map[uint64]*place), locks: make(map[uint64]*place),
		named: make(map[string]int)}
	if err := r.find(); err != nil {
		return nil, err
	}
	f := &sites.File{Works: works}
	all := make(map[[2]string][]string) // works, by kind and name of the place
	for _, work := range works {
		c.Log.Info("sites of " + work)
		if err := c.Do(ctx, work); err != nil {
			return nil, err
		}
		r.hit = make(map[[2]string]bool)
		if err := errors.Join(r.during(ctx, c.Functions, r.at, false), r.during(ctx, c.Locks, r.locks, true)); err != nil {
			return nil, fmt.Errorf("record sites of %s: %w", work, err)
		}
		for key := range r.hit {
			all[key] = append(all[key], work)
		}
	}
	for key, works := range all {
		f.Sites = append(f.Sites, sites.Site{Kind: key[0], Name: key[1], Works: works})
	}
	f.Sort()
	return f, nil
}

// place is a function with a breakpoint at its first byte.
type place struct {
	name, lock string // lock is the kind of lock that the function takes, or empty
	va, gpa    uint64
	old        byte
	out        bool // its breakpoint is not there
}

// recorder is a recording under way. Places are found by their address.
type recorder struct {
	Config
	at    map[uint64]*place  // functions with a hook
	locks map[uint64]*place  // functions that take locks
	named map[string]int     // symbols of each name
	hit   map[[2]string]bool // places that the present work has reached: kind and name
	taken int                // locks, in this window
	steps *place             // that the vCPU steps over
}

// find finds the functions: those of the kernel's own code that have a name of their own.
func (r *recorder) find() error {
	start, ok := r.Symbols.Lookup("_stext")
	end, ok2 := r.Symbols.Lookup("_etext")
	if !ok || !ok2 {
		return errors.New("record sites: the kernel has no symbols _stext and _etext")
	}
	for i := range r.Symbols.Len() {
		r.named[r.Symbols.At(i).Name]++
	}
	kinds := takers()
	page, of := make([]byte, pageSize), uint64(1) // no page begins at 1
	var last uint64
	for i := range r.Symbols.Len() {
		s := r.Symbols.At(i)
		if s.Addr < start.Addr || s.Addr >= end.Addr || s.Addr == last || r.named[s.Name] > 1 || s.Size < inject.HookBytes {
			continue
		}
		last = s.Addr
		va := s.Addr + r.Slide
		gpa, err := r.Translate(va)
		if err != nil || gpa%pageSize > pageSize-inject.HookBytes {
			continue // code that the kernel has given back, or that no fault fits
		}
		if base := gpa &^ (pageSize - 1); base != of {
			of = base
			if err := r.Driver.ReadPhysical(base, page); err != nil {
				return fmt.Errorf("record sites: read the kernel's code: %w", err)
			}
		}
		head := page[gpa-of:]
		p := &place{name: s.Name, lock: kinds[s.Name], va: va, gpa: gpa}
		if p.lock != "" {
			r.locks[va] = p
		}
		if inject.Hooked(head[:inject.HookBytes]) {
			q := *p
			r.at[va] = &q
		}
	}
	if len(r.at) == 0 || len(r.locks) == 0 {
		return fmt.Errorf("record sites: the kernel has %d functions with a hook, and %d that take locks", len(r.at),
			len(r.locks))
	}
	r.Log.Info(fmt.Sprintf("%d functions with a hook, %d that take locks", len(r.at), len(r.locks)))
	return nil
}

// during sets breakpoints at the places, answers events for so long, and removes them.
func (r *recorder) during(ctx context.Context, d time.Duration, at map[uint64]*place, stay bool) (err error) {
	ring, err := r.Driver.Listen()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ring.Close()) }()
	puller, ok := ring.(driver.Puller)
	if !ok {
		return fmt.Errorf("the driver %s cannot give events one by one", r.Driver.Name())
	}
	if err := errors.Join(ring.EnableBreakpoints(true), ring.EnableStep(true)); err != nil {
		return err
	}
	r.taken, r.steps = 0, nil
	if err := r.write(at, true); err != nil {
		return errors.Join(err, r.write(at, false))
	}
	err = r.events(ctx, puller, at, d, stay)
	err = errors.Join(err, r.write(at, false))
	// Events that were under way: the vCPU goes on in code without breakpoints.
	err = errors.Join(err, r.events(context.WithoutCancel(ctx), puller, at, drain, false))
	return errors.Join(err, ring.EnableStep(false), ring.EnableBreakpoints(false))
}

// write sets or removes all breakpoints, page by page, while the guest is paused.
func (r *recorder) write(at map[uint64]*place, set bool) (err error) {
	if err := r.Driver.Pause(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Driver.Unpause()) }()
	pages := make(map[uint64][]*place)
	for _, p := range at {
		pages[p.gpa&^(pageSize-1)] = append(pages[p.gpa&^(pageSize-1)], p)
	}
	b := make([]byte, pageSize)
	for _, base := range slices.Sorted(maps.Keys(pages)) {
		if err := r.Driver.ReadPhysical(base, b); err != nil {
			return err
		}
		for _, p := range pages[base] {
			off := p.gpa - base
			switch {
			case set:
				p.old, p.out = b[off], false
				b[off] = int3
			case !p.out && b[off] == int3:
				b[off], p.out = p.old, true
			}
		}
		if err := r.Driver.WritePhysical(base, b); err != nil {
			return err
		}
	}
	return nil
}

// events answers events for so long.
func (r *recorder) events(ctx context.Context, ring driver.Puller, at map[uint64]*place, d time.Duration,
	stay bool) error {
	var ev driver.Event
	for end := r.Now() + int64(d); r.Now() < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := ring.Wait(poll); err != nil {
			return err
		}
		for {
			ok, err := ring.Next(&ev)
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			var answer driver.Response
			if err := r.event(&ev, &answer, at, stay); err != nil {
				return err
			}
			if err := ring.Respond(&answer); err != nil {
				return err
			}
		}
		if err := ring.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// event answers one event. A breakpoint is removed; one that stays comes back when the vCPU
// has stepped over its place.
func (r *recorder) event(ev *driver.Event, answer *driver.Response, at map[uint64]*place, stay bool) error {
	switch ev.Kind {
	case driver.EventStep:
		p := r.steps
		r.steps = nil
		answer.ToggleStep = true
		if p == nil || !stay || r.taken >= r.MostLocks {
			return nil
		}
		p.out = false
		return r.Driver.WritePhysical(p.gpa, []byte{int3})
	case driver.EventBreakpoint:
		p := at[ev.RIP]
		if p == nil {
			answer.Reinject = true // the guest's own
			return nil
		}
		if p.out { // it was removed when the event was under way
			return nil
		}
		if err := r.note(p, ev); err != nil {
			return err
		}
		p.out = true
		if stay && r.taken < r.MostLocks {
			r.steps = p
			answer.ToggleStep = true
		}
		return r.Driver.WritePhysical(p.gpa, []byte{p.old})
	}
	return nil
}

// note notes that a place was reached: a function, or the lock that it takes.
func (r *recorder) note(p *place, ev *driver.Event) error {
	if r.locks[p.va] != p {
		r.hit[[2]string{sites.Function, p.name}] = true
		return nil
	}
	r.taken++
	var regs driver.Registers
	if err := r.Driver.Registers(ev.VCPU, &regs); err != nil {
		return fmt.Errorf("read the argument of %s: %w", p.name, err)
	}
	s, offset, ok := r.Symbols.Find(regs.General[firstArgument] - r.Slide)
	if ok && offset == 0 && !s.Text && r.named[s.Name] == 1 {
		r.hit[[2]string{p.lock, s.Name}] = true
	}
	return nil
}
