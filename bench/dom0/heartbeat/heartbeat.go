// Package heartbeat reads, from a control domain, the page on which a guest counts
// its heartbeats and its work (guests/beat).
package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hangbench/bench/dom0/clock"
	xc "hangbench/cgo/xenctrl"
	"hangbench/guests/beat"
)

// Times on dom0's clock.
const (
	bootDeadline     = 120 * time.Second // for a guest's announcement after it was made
	workloadDeadline = 10 * time.Second  // for a workload to begin
	aliveDeadline    = 10 * time.Second  // for MinBeats heartbeats and some work
	pollPeriod       = 20 * time.Millisecond
	bootPollPeriod   = 50 * time.Millisecond
)

// MinBeats is how many heartbeats a guest must make to count as alive.
const MinBeats = 2

// Announced returns what the guest has announced in xenstore. The error is
// xenctrl.ErrNotExist if it has announced nothing. The text comes from the guest.
func Announced(store *xc.Store, domid int) (beat.Announcement, error) {
	text, err := store.Read(xc.DomainPath(xc.DomID(domid)) + "/" + beat.Node)
	if err == nil && text == "" {
		err = xc.ErrNotExist
	}
	if err != nil {
		return beat.Announcement{}, fmt.Errorf("domain %d has announced no heartbeat: %w", domid, err)
	}
	return beat.ParseAnnouncement(text)
}

// Await waits until the guest has announced itself, for two minutes at most.
func Await(ctx context.Context, store *xc.Store, domid int) (beat.Announcement, error) {
	for end := clock.Now() + int64(bootDeadline); ; {
		a, err := Announced(store, domid)
		if !errors.Is(err, xc.ErrNotExist) {
			return a, err
		}
		if clock.Now() > end {
			return a, fmt.Errorf("wait %v for the guest: %w", bootDeadline, err)
		}
		if err := clock.Sleep(ctx, bootPollPeriod); err != nil {
			return a, err
		}
	}
}

// Page is the mapped heartbeat page of a guest.
type Page struct {
	*beat.Page
	CPUs    int // vCPUs that have a heartbeat
	mapping *xc.Mapping
}

// Open maps the page that a guest has announced.
func Open(xen *xc.Xen, domid int, a beat.Announcement) (*Page, error) {
	m, err := xen.Domain(xc.DomID(domid)).Map([]uint64{a.GFN}, xc.ReadWrite)
	if err != nil {
		return nil, fmt.Errorf("map the heartbeat page: %w", err)
	}
	p, err := beat.New(m.Bytes())
	if err == nil && !p.Valid() {
		err = fmt.Errorf("the frame %#x that the guest announced is not its heartbeat page", a.GFN)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return &Page{Page: p, CPUs: a.CPUs, mapping: m}, nil
}

// Close unmaps the page.
func (p *Page) Close() error { return p.mapping.Close() }

// Counts adds up the counters of all vCPUs.
func (p *Page) Counts() beat.Count { return p.Total(p.CPUs) }

// SetBusy asks for the busy workload, or for none, and waits until the guest has
// taken it up: for busy, until it has done some work.
func (p *Page) SetBusy(ctx context.Context, busy bool) error {
	want := beat.Idle
	if busy {
		want = beat.Busy
	}
	p.Want(want)
	before := p.Counts().Work
	for end := clock.Now() + int64(workloadDeadline); !p.Runs(want) || busy && p.Counts().Work == before; {
		if clock.Now() > end {
			return fmt.Errorf("the guest did not start the workload %s within %v", want.Name, workloadDeadline)
		}
		if err := clock.Sleep(ctx, pollPeriod); err != nil {
			return err
		}
	}
	return nil
}

// Progress waits until the guest has made MinBeats heartbeats and done some work,
// or for ten seconds, and returns both counts. They are below that if the guest
// does not go on.
func (p *Page) Progress(ctx context.Context) (beat.Count, error) {
	before := p.Counts()
	for end := clock.Now() + int64(aliveDeadline); ; {
		now := p.Counts()
		c := beat.Count{Beats: now.Beats - before.Beats, Work: now.Work - before.Work}
		if c.Beats >= MinBeats && c.Work > 0 || clock.Now() > end {
			return c, nil
		}
		if err := clock.Sleep(ctx, pollPeriod); err != nil {
			return c, err
		}
	}
}
