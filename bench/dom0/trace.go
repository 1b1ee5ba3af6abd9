package dom0

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"hangbench/bench/trial"
	xc "hangbench/cgo/xenctrl"
	"hangbench/monitor/detect"
)

// tracer counts a guest's EPT violations in Xen's trace. It empties the trace buffers
// in a goroutine of its own until it is stopped.
type tracer struct {
	t      *xc.Trace
	domid  xc.DomID
	traps  []uint64  // guest frames that the monitor restricts
	access xc.Access // access to them that the guest keeps
	views  bool      // the monitor has an altp2m view
	owners xc.Owners
	stop   chan struct{}
	wg     sync.WaitGroup

	mu     sync.Mutex // the fields below
	counts trial.Violations
	err    error // of emptying the buffers
	ended  bool
}

// drainPeriod is the time between two drains. With buffers of 64 pages (256 KiB) it
// suffices for several times the highest rate of violations seen in the lab.
const drainPeriod = 250 * time.Millisecond

// startTrace starts to count the violations of a guest. Its monitor restricts the
// frames traps to access, in a view of its own if views is set.
func startTrace(xen *xc.Xen, domid int, traps []uint64, access xc.Access, views bool) (*tracer, error) {
	doms, err := xen.Domains()
	if err != nil {
		return nil, err
	}
	events := xc.TraceHandlers
	for _, d := range doms {
		if d.HVM && int(d.ID) != domid {
			// Only scheduling tells whose violations they are. It is not traced without
			// need, because tracing costs the guest time.
			events |= xc.TraceRunstate
		}
	}
	t, err := xen.OpenTrace(xc.TraceConfig{Events: events})
	if err != nil {
		return nil, err
	}
	tr := &tracer{t: t, domid: xc.DomID(domid), traps: traps, access: access, views: views, stop: make(chan struct{})}
	tr.wg.Go(func() {
		tick := time.NewTicker(drainPeriod)
		defer tick.Stop()
		for {
			select {
			case <-tr.stop:
				return
			case <-tick.C:
				if tr.drain() != nil {
					return
				}
			}
		}
	})
	return tr, nil
}

// drain empties the buffers and returns the first error of doing so. It does nothing
// once the trace has ended.
func (tr *tracer) drain() error {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.err == nil && !tr.ended {
		tr.err = tr.t.Drain(tr.record)
	}
	return tr.err
}

// soFar returns the counts until now, for a recording. It returns nil once the trace
// has failed or ended.
func (tr *tracer) soFar() *detect.EPT {
	if tr.drain() != nil {
		return nil
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.ended {
		return nil
	}
	n := &tr.counts
	return &detect.EPT{Permission: n.Trapped, Lazy: n.Lazy, Other: n.MMIO + n.Superpage + n.Residual}
}

// record counts one trace record. Violations of other guests do not count. As long as
// it is unknown which guest runs on a physical CPU, a violation there counts.
func (tr *tracer) record(r *xc.Record) {
	tr.owners.Observe(r)
	n, ok := r.NPF()
	if !ok {
		return
	}
	if d, _, known := tr.owners.Owner(r.CPU); known && d != tr.domid {
		return
	}
	a := xc.AccessRWX
	if slices.Contains(tr.traps, n.GFN()) {
		a = tr.access
	}
	switch n.Class(a, tr.views) {
	case xc.NPFPermission, xc.NPFPageWalk:
		tr.counts.Trapped++
	case xc.NPFLazyCopy:
		tr.counts.Lazy++
	case xc.NPFMMIO:
		tr.counts.MMIO++
	case xc.NPFSuperpage:
		tr.counts.Superpage++
	default:
		tr.counts.Residual++
	}
}

// Stop ends the trace and returns the counts.
func (tr *tracer) Stop() (trial.Violations, error) {
	close(tr.stop)
	tr.wg.Wait()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.ended = true
	err := tr.err
	if err == nil {
		err = errors.Join(tr.t.Stop(), tr.t.Drain(tr.record))
	}
	tr.counts.Lost = tr.t.Stats().Lost
	if err = errors.Join(err, tr.t.Close()); err != nil {
		return tr.counts, fmt.Errorf("read Xen's trace: %w", err)
	}
	return tr.counts, nil
}
