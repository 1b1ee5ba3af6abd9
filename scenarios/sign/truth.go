package sign

import (
	"time"

	"hangbench/guests/beat"
)

// silentBeats is how many heartbeats in a row must be missing before a guest counts as
// silent, at the pace that it had before the fault. For work it is as many units.
const silentBeats = 6

// clearly is how much longer than its usual pause a guest must stand still to show
// that a bounded fault hung it. It is more than the error of two readings of the
// counters, one at either end of the pause.
const clearly = 3 * int64(Poll)

// Config is what a Truth has to know.
type Config struct {
	Page *beat.Page
	CPUs int          // vCPUs that have a heartbeat
	Now  func() int64 // dom0's clock
	// Ended returns how the guest has ended itself, and "" while it runs.
	Ended  func() (string, error)
	T0     int64 // when the fault landed
	Before Pace  // what the guest did in a window with the monitor, before the fault

	// units returns how much work the guest has done. It is nil for all works together.
	units func() uint64
}

// Truth follows the counters of a guest from the fault on.
type Truth struct {
	Config
	start beat.Count // at the fault
	beats []pause    // by vCPU
	work  pause
	each  []*Truth // of each work, if the guest does several at a time

	// The longest time for which a healthy guest has no heartbeat and does no work, in
	// nanoseconds, at the pace that it had before the fault. A mechanism that slows the
	// guest down must not make it look hung.
	beatGap, workGap int64
}

// NewTruth begins to follow the counters of a guest.
func NewTruth(c Config) *Truth {
	t := &Truth{Config: c, start: c.Page.Total(c.CPUs), beats: make([]pause, c.CPUs), each: each(c)}
	t.start.Work = t.done()
	now := c.Now()
	for i := range t.beats {
		t.beats[i] = pause{count: c.Page.Count(i).Beats, at: now}
	}
	t.work = pause{count: t.done(), at: now}
	gap := func(n uint64) int64 {
		return silentBeats * max(int64(beat.Period), int64(c.Before.Window)/int64(max(n, 1)))
	}
	t.beatGap, t.workGap = gap(c.Before.Beats/uint64(c.CPUs)), gap(c.Before.Work)
	return t
}

// Look reads the counters.
func (t *Truth) Look(now int64) {
	for i := range t.beats {
		t.beats[i].look(t.Page.Count(i).Beats, now)
	}
	t.work.look(t.done(), now)
	for _, one := range t.each {
		one.Look(now)
	}
}

// done is how much work the guest has done.
func (t *Truth) done() uint64 {
	if t.units != nil {
		return t.units()
	}
	return t.Page.Total(t.CPUs).Work
}

// Since returns what the guest has done since the fault.
func (t *Truth) Since() beat.Count {
	c := t.Page.Total(t.CPUs)
	return beat.Count{Beats: c.Beats - t.start.Beats, Work: c.Work - t.start.Work}
}

// Silent returns the vCPUs that have had no heartbeat for longer than a healthy guest.
func (t *Truth) Silent(now int64) (vcpus []int) {
	for i := range t.beats {
		if now-t.beats[i].at >= t.beatGap {
			vcpus = append(vcpus, i)
		}
	}
	return vcpus
}

// End takes the pauses that go on as pauses that end now. Stood and Paused count them
// then.
func (t *Truth) End(now int64) {
	for i := range t.beats {
		t.beats[i].end(now)
	}
	t.work.end(now)
	for _, one := range t.each {
		one.End(now)
	}
}

// Paused returns the vCPUs whose heartbeat stood still once, long enough to show a
// fault of that length.
func (t *Truth) Paused(length time.Duration) (vcpus []int) {
	for i := range t.beats {
		if t.beats[i].shows(length, t.beatGap/silentBeats) {
			vcpus = append(vcpus, i)
		}
	}
	return vcpus
}

// pace is the units of work per nanosecond that the guest did before the fault.
func (t *Truth) pace() float64 { return float64(t.Before.Work) / float64(t.Before.Window) }

// afterMS is how many milliseconds have passed since the fault.
func (t *Truth) afterMS(now int64) int64 { return (now - t.T0) / 1e6 }

// beaten begins to count heartbeats. The function that it returns reports whether every
// vCPU has had two since.
func (t *Truth) beaten() func() bool { return Beaten(t.Page, t.CPUs) }

// Beaten begins to count heartbeats. The function that it returns reports whether every
// vCPU has had two since.
func Beaten(page *beat.Page, cpus int) func() bool {
	start := make([]uint64, cpus)
	for i := range start {
		start[i] = page.Count(i).Beats
	}
	return func() bool {
		for i, n := range start {
			if page.Count(i).Beats-n < 2 {
				return false
			}
		}
		return true
	}
}

// worked begins to count work. The function that it returns reports whether the guest
// has done two units since.
func (t *Truth) worked() func() bool {
	start := t.done()
	return func() bool { return t.done()-start >= 2 }
}

// pause is when a counter last moved, and its longest pause so far. Times are
// nanoseconds on dom0's clock.
type pause struct {
	count         uint64
	at            int64 // when it last moved
	from, longest int64 // of the longest pause: its beginning and its length
}

func (p *pause) look(n uint64, now int64) {
	if n != p.count {
		p.end(now)
		p.count, p.at = n, now
	}
}

// end takes a pause that goes on as one that ends now.
func (p *pause) end(now int64) {
	if now-p.at > p.longest {
		p.from, p.longest = p.at, now-p.at
	}
}

// shows reports whether the longest pause shows a fault of that length, in a guest
// whose usual pause is usual nanoseconds.
func (p *pause) shows(length time.Duration, usual int64) bool {
	return p.longest >= max(int64(length)/2, usual+clearly)
}
