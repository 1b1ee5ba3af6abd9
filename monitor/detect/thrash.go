package detect

import (
	"fmt"
	"time"
)

// thrashRule finds a guest whose memory is too small for what it does: free
// memory is low, most of what is reclaimed is needed again at once, and tasks
// have to wait for that. All of it for as long as Thrash, at three of four looks.
//
// Reclaim alone is healthy: a file read once pushes out what nobody misses.
type thrashRule struct {
	t     Thresholds
	last  Memory
	seen  int64 // when last was read; 0 if it was not
	level level

	sinceNS int64 // begin of the row
	hotNS   int64 // last look that thrashed
	looks   int
	hot     int
	free    uint64 // at the last look that thrashed
	total   Memory // events in the row
}

// stallRate and majorRate are how many allocations per second have to reclaim for
// themselves, and how many faults have to read, for tasks to be slowed down.
const (
	stallRate = 10
	majorRate = 50
)

// mostPages is more memory than any guest has: 4 PiB.
const mostPages = 1 << 40

func (r *thrashRule) restart(int) { *r = thrashRule{t: r.t} }

func (r *thrashRule) observe(s *step) level {
	if s.look == nil {
		return r.level
	}
	now := s.look.Memory
	if now.TotalPages == 0 || now.TotalPages > mostPages || now.FreePages > now.TotalPages { // not read, or garbage
		return r.level
	}
	was, wasNS := r.last, r.seen
	r.last, r.seen = now, s.t
	if wasNS == 0 {
		r.level = blind
		return r.level
	}
	d, ok := since(now, was)
	hot := ok && r.thrashes(now, d, s.t-wasNS)
	if r.looks == 0 && !hot {
		r.level = calm
		return r.level
	}
	if r.looks == 0 {
		r.sinceNS, r.hot, r.total = s.t, 0, Memory{} // when it began since the last look is unknown
	}
	r.looks++
	r.total.Scanned += d.Scanned
	r.total.Stolen += d.Stolen
	r.total.Refaults += d.Refaults
	r.total.MajorFault += d.MajorFault
	r.total.Stalls += d.Stalls
	r.total.OOMKills += d.OOMKills
	if hot {
		r.hot++
		r.hotNS, r.free = s.t, now.FreePages
	}
	switch {
	case !ok || 4*r.hot < 3*r.looks-3 || s.t-r.hotNS >= int64(r.t.Thrash)/2:
		r.looks = 0
		r.level = calm
	case hot && r.hot >= minSamples && 4*r.hot >= 3*r.looks && s.t-r.sinceNS >= int64(r.t.Thrash):
		r.level = hung
	case r.level != hung:
		r.level = watching
	}
	return r.level
}

// thrashes judges the events of one time between two looks.
func (r *thrashRule) thrashes(now, d Memory, dt int64) bool {
	perSecond := func(rate uint64) uint64 { return rate * uint64(dt) / uint64(time.Second) }
	return 100*now.FreePages < uint64(r.t.ThrashFree)*now.TotalPages &&
		d.Refaults >= max(1, perSecond(uint64(r.t.ThrashRate))) &&
		100*d.Refaults >= uint64(r.t.ThrashRefaults)*d.Stolen &&
		d.Stolen > 0 &&
		(d.Stalls >= max(1, perSecond(stallRate)) || d.MajorFault >= max(1, perSecond(majorRate)))
}

// since returns the events between two looks; false if a counter went back.
func since(now, was Memory) (Memory, bool) {
	d := Memory{Scanned: now.Scanned - was.Scanned, Stolen: now.Stolen - was.Stolen, Refaults: now.Refaults - was.Refaults,
		MajorFault: now.MajorFault - was.MajorFault, Stalls: now.Stalls - was.Stalls, OOMKills: now.OOMKills - was.OOMKills}
	const most = 1 << 40 // no guest makes as many between two looks
	for _, n := range [...]uint64{d.Scanned, d.Stolen, d.Refaults, d.MajorFault, d.Stalls, d.OOMKills} {
		if n > most {
			return Memory{}, false
		}
	}
	return d, true
}

func (r *thrashRule) verdict(s *step) Verdict {
	ms := max((s.t-r.sinceNS)/1e6, 1)
	return Verdict{Class: ClassThrash, Scope: Full, Evidence: []string{
		fmt.Sprintf("memory thrashed at %d of %d looks within %d ms: %d pages reclaimed, %d needed again", r.hot, r.looks, ms, r.total.Stolen, r.total.Refaults),
		fmt.Sprintf("allocations that had to reclaim: %d, faults that had to read: %d, killed for want of memory: %d", r.total.Stalls, r.total.MajorFault, r.total.OOMKills),
		fmt.Sprintf("free: %d of %d pages", r.free, r.last.TotalPages),
	}}
}

func (r *thrashRule) notes(to []string) []string {
	if r.looks > 0 {
		to = append(to, fmt.Sprintf("thrash: at %d of %d looks; %d pages reclaimed, %d needed again, %d stalls, %d major faults", r.hot, r.looks, r.total.Stolen, r.total.Refaults, r.total.Stalls, r.total.MajorFault))
	}
	return to
}
