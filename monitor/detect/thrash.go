package detect

import (
	"fmt"
	"time"
)

// ClassThrash: the guest needs again at once what it has just reclaimed.
const ClassThrash Class = "thrash"

// ThrashThresholds are the limits of the rule about too little memory.
type ThrashThresholds struct {
	// Thrash is how long memory must thrash.
	Thrash time.Duration
	// Reclaim is how long allocations must reclaim memory and get none.
	Reclaim time.Duration
	// ThrashFree is the share of memory, in percent, below which free memory is low.
	// Under reclaim it lies between the watermarks, at some percent.
	ThrashFree int64
	// ThrashRefaults is the share of reclaimed pages, in percent, that must have been
	// needed again.
	ThrashRefaults int64
	// ThrashRate is the number of pages needed again, per second, below which nothing
	// thrashes.
	ThrashRate int64
}

func (t *ThrashThresholds) entry() entry {
	return entry{
		start: func() rule { return &thrashRule{t: *t} },
		classes: []class{{
			Info: Info{
				Class: ClassThrash, Severity: 30, Waits: true,
				Reads: "free memory, reclaimed and refaulted pages, stalls, major faults",
				Early: "memory is low, most of what is reclaimed is needed again, and tasks wait for it; or tasks reclaim again " +
					"and again and get nothing, and nobody is killed for want of memory",
			},
			knobs: []knob{
				milliseconds(&t.Thrash, "thrash_ms", 2000, "memory thrashes"),
				milliseconds(&t.Reclaim, "reclaim_ms", 4000, "allocations reclaim memory and get none"),
				number(&t.ThrashFree, "thrash_free_percent", 10, 1, 50, "share of free memory below which it is low"),
				number(&t.ThrashRefaults, "thrash_refault_percent", 50, 1, 100, "share of reclaimed pages that are needed again"),
				number(&t.ThrashRate, "thrash_refaults", 200, 1, 1_000_000, "pages needed again per second"),
			},
			needsKernel: true,
		}},
	}
}

// thrashRule finds a guest with too little memory for its work: free memory is low,
// most of what is reclaimed is needed again at once, and tasks have to wait for
// that. All three must hold for as long as Thrash, at three of four inspections.
//
// Reclaim alone is healthy: a file that is read once evicts pages that nothing
// needs. Reclaim that gets nothing is not: see fruitless.
type thrashRule struct {
	t         ThrashThresholds
	last      Memory
	seen      int64 // when last was read; 0 if it was not
	level     level // by memory that is needed again
	fruitless fruitless

	sinceNS     int64  // first inspection of the streak
	hotNS       int64  // last one that thrashed
	inspections int    // of the streak; 0 if there is none
	hot         int    // of these, those that thrashed
	free        uint64 // free pages at the last one that thrashed
	total       Memory // events in the streak
}

const (
	// stallRate is the number of allocations per second that have to reclaim memory
	// themselves from which on tasks are slowed down.
	stallRate = 10
	// majorRate is the same for faults that have to read from a device.
	majorRate = 50
	// mostPages is more memory than any guest has: 4 PiB.
	mostPages = 1 << 40
	// mostEvents is more than any guest counts between two inspections.
	mostEvents = 1 << 40
)

func (r *thrashRule) restart(int) { *r = thrashRule{t: r.t} }

func (r *thrashRule) observe(s *step) level {
	if s.kernel != nil {
		r.inspect(s)
	}
	return max(r.level, r.fruitless.level)
}

// inspect takes an inspection of the kernel.
func (r *thrashRule) inspect(s *step) {
	now := s.kernel.Memory
	if now.TotalPages == 0 || now.TotalPages > mostPages || now.FreePages > now.TotalPages { // not read, or garbage
		return
	}
	was, wasNS := r.last, r.seen
	r.last, r.seen = now, s.t
	if wasNS == 0 {
		return
	}
	d, ok := since(now, was)
	r.fruitless.observe(s, now, d, ok, s.t-wasNS, &r.t)
	hot := r.thrashes(now, d, s.t-wasNS)
	if r.inspections == 0 && !hot {
		r.level = calm
		return
	}
	if r.inspections == 0 { // the events since the last inspection count, its time does not
		r.sinceNS, r.hot, r.total = s.t, 0, Memory{}
	}
	r.inspections++
	r.total.add(d)
	if hot {
		r.hot++
		r.hotNS, r.free = s.t, now.FreePages
	}
	switch {
	case !ok || 4*r.hot < 3*r.inspections-3 || s.t-r.hotNS >= int64(r.t.Thrash)/2:
		r.inspections = 0
		r.level = calm
	case hot && r.hot >= minSamples && 4*r.hot >= 3*r.inspections && s.t-r.sinceNS >= int64(r.t.Thrash):
		r.level = hung
	case r.level != hung:
		r.level = watching
	}
}

// thrashes judges the events d between two inspections that are dt ns apart.
func (r *thrashRule) thrashes(now, d Memory, dt int64) bool {
	perSecond := func(rate uint64) uint64 { return rate * uint64(dt) / uint64(time.Second) }
	return 100*now.FreePages < uint64(r.t.ThrashFree)*now.TotalPages &&
		d.Refaults >= max(1, perSecond(uint64(r.t.ThrashRate))) &&
		100*d.Refaults >= uint64(r.t.ThrashRefaults)*d.Stolen &&
		d.Stolen > 0 &&
		(d.Stalls >= max(1, perSecond(stallRate)) || d.MajorFault >= max(1, perSecond(majorRate)))
}

// since returns the events between two inspections. It returns none, and false,
// if a counter went back or grew by more than mostEvents.
func since(now, was Memory) (Memory, bool) {
	d := Memory{
		Scanned: now.Scanned - was.Scanned, Stolen: now.Stolen - was.Stolen, Refaults: now.Refaults - was.Refaults,
		MajorFault: now.MajorFault - was.MajorFault, Stalls: now.Stalls - was.Stalls, OOMKills: now.OOMKills - was.OOMKills,
	}
	for _, n := range [...]uint64{d.Scanned, d.Stolen, d.Refaults, d.MajorFault, d.Stalls, d.OOMKills} {
		if n > mostEvents {
			return Memory{}, false
		}
	}
	return d, true
}

// add adds the events that evidence and notes show.
func (m *Memory) add(d Memory) {
	m.Stolen += d.Stolen
	m.Refaults += d.Refaults
	m.MajorFault += d.MajorFault
	m.Stalls += d.Stalls
	m.OOMKills += d.OOMKills
}

func (r *thrashRule) verdict(s *step) Verdict {
	if r.level != hung {
		return Verdict{Class: ClassThrash, Scope: Full, Evidence: r.fruitless.evidence(s.t, r.last.TotalPages)}
	}
	return Verdict{Class: ClassThrash, Scope: Full, Evidence: []string{
		fmt.Sprintf("memory thrashed at %d of %d inspections within %d ms: %d pages reclaimed, %d needed again",
			r.hot, r.inspections, (s.t-r.sinceNS)/1e6, r.total.Stolen, r.total.Refaults),
		fmt.Sprintf("allocations that had to reclaim: %d, faults that had to read: %d, killed for want of memory: %d",
			r.total.Stalls, r.total.MajorFault, r.total.OOMKills),
		fmt.Sprintf("free: %d of %d pages", r.free, r.last.TotalPages),
	}}
}

func (r *thrashRule) notes(to []string) []string {
	if r.inspections > 0 {
		to = append(to, fmt.Sprintf("thrash: at %d of %d inspections; %d pages reclaimed, %d needed again, %d stalls, "+
			"%d major faults", r.hot, r.inspections, r.total.Stolen, r.total.Refaults, r.total.Stalls, r.total.MajorFault))
	}
	return r.fruitless.notes(to)
}
