package recovery

import (
	"errors"
	"fmt"
	"time"

	xc "hangbench/cgo/xenctrl"
	"hangbench/monitor/trap"
)

// States of a domain's journal.
const (
	JournalNone    = "none"
	JournalDead    = "dead"    // of a monitor that died
	JournalDamaged = "damaged" // makes no sense; the domain was recovered without it
)

// Recovered is what recovering a domain found and did.
type Recovered struct {
	Domain    int    `json:"domain"`
	Journal   string `json:"journal"`
	Mechanism string `json:"mechanism,omitempty"` // of the monitor that died
	PID       int    `json:"pid,omitempty"`

	// What was found, and undone.
	RingOn        bool `json:"ring_on"`
	Altp2mOn      bool `json:"altp2m_on"`
	Restricted    int  `json:"frames_restricted"`
	BytesPatched  int  `json:"bytes_patched"`
	FramesRemoved int  `json:"frames_removed"`
	Pauses        int  `json:"pauses"`

	// What was seen when the domain was examined again.
	RingFree       bool `json:"ring_free"`
	Altp2mOff      bool `json:"altp2m_off"`
	NotStepping    bool `json:"not_stepping"`
	NoTrap         bool `json:"no_trap"`
	NotPaused      bool `json:"not_paused"`
	PausedByOthers bool `json:"paused_by_others,omitempty"` // before the monitor came, or by hand
}

// OK reports whether nothing of a monitor is left in the domain.
func (r *Recovered) OK() bool {
	return r.RingFree && r.Altp2mOff && r.NotStepping && r.NoTrap && (r.NotPaused || r.PausedByOthers)
}

// ErrForeign means that a domain has a monitor that is not hangbench's.
var ErrForeign = errors.New("something monitors the domain and has written no journal: another program, or one that " +
	"died; if it is dead, recover with --force")

// probeTime is how long a recovered guest is watched for events that nobody asked
// for. A guest that steps makes one at each instruction it executes, one with a
// trap at the next task switch.
const probeTime = 60 * time.Millisecond

// Recover undoes what a dead monitor left in a domain. It is harmless where there
// is nothing to undo. The error is an *AttachedError if a monitor lives, and
// ErrForeign if there is one without a journal and force is not set.
func (h *Host) Recover(domid int, force bool) (Recovered, error) {
	r := Recovered{Domain: domid, Journal: JournalNone}
	dom := h.Xen.Domain(xc.DomID(domid))
	info, err := dom.Info()
	if err != nil {
		return r, err
	}
	if !info.HVM {
		return r, fmt.Errorf("domain %d is a PV guest: nothing can monitor it", domid)
	}
	var left xc.Leftover
	paused := info.Paused // and by others, unless a journal says otherwise
	c, err := h.journalOf(domid)
	damaged := (*damagedError)(nil)
	switch {
	case errors.Is(err, xc.ErrNotExist):
		if force {
			break
		}
		health, err := dom.Probe(left, 0)
		if err != nil {
			return r, err
		}
		if !health.RingFree {
			return r, fmt.Errorf("domain %d: %w", domid, ErrForeign)
		}
	case errors.As(err, &damaged):
		r.Journal = JournalDamaged
	case err != nil:
		return r, err
	case alive(c):
		return r, &AttachedError{domid, c}
	default:
		r.Journal, r.Mechanism, r.PID = JournalDead, c.Mechanism, c.PID
		left, paused = leftover(c), c.Paused
	}
	did, err := dom.Recover(left)
	if err != nil {
		return r, err
	}
	r.RingOn, r.Altp2mOn, r.Restricted = did.MonitorWasOn, did.Altp2mWasOn, did.Restricted
	r.BytesPatched, r.FramesRemoved, r.Pauses = did.BytesRestored, did.FramesRemoved, did.Unpaused
	health, err := dom.Probe(left, probeTime)
	if err != nil {
		return r, err
	}
	r.RingFree, r.Altp2mOff = health.RingFree, !health.Altp2m
	r.NotStepping, r.NotPaused = !health.Stepping, !health.Paused
	r.NoTrap = len(health.Restricted) == 0 && health.Standing == 0 && (health.Stray == 0 || health.Stepping)
	r.PausedByOthers = health.Paused && paused
	if r.OK() && r.Journal != JournalNone {
		if err := h.Store.Remove(journalPath(domid)); err != nil && !errors.Is(err, xc.ErrNotExist) {
			return r, fmt.Errorf("remove the journal: %w", err)
		}
	}
	return r, nil
}

// leftover converts a journal to what there is to undo.
func leftover(c trap.Changes) xc.Leftover {
	left := xc.Leftover{Restricted: c.Restricted, Added: c.Added, Unpause: !c.Paused}
	for _, p := range c.Patched {
		left.Patched = append(left.Patched, xc.Patched{GPA: p.GPA, Old: p.Original, By: p.Patched})
	}
	return left
}

// RecoverDead recovers every domain that has the journal of a monitor that died.
// Domains without a journal, and those with a monitor that lives, are left alone.
func (h *Host) RecoverDead() ([]Recovered, error) {
	ids, err := h.Watchable()
	if err != nil {
		return nil, err
	}
	var all []Recovered
	var errs []error
	for _, id := range ids {
		c, err := h.journalOf(id)
		if errors.Is(err, xc.ErrNotExist) || err == nil && alive(c) {
			continue
		}
		r, err := h.Recover(id, false)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, r)
		if !r.OK() {
			errs = append(errs, fmt.Errorf("domain %d could not be recovered: %+v", id, r))
		}
	}
	return all, errors.Join(errs...)
}
