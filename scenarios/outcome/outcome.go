package outcome

import (
	"fmt"
	"time"

	"hangbench/guests/beat"
	"hangbench/results"
)

const (
	// missing is how many usual pauses a part must stand still to count as stopped. It is
	// that of the signs (scenarios/sign).
	missing = 6
	// again is how much longer than every pause since the fault the last one must be. A part
	// that a delay stops for a while, again and again, is slowed and not stopped.
	again = 2
	// half of its former pace is what a part that is not slowed does at least.
	half = 2
)

// Names of the parts of a guest.

// Beat is the heartbeat of a vCPU.
func Beat(vcpu int) string { return fmt.Sprintf("beat %d", vcpu) }

// Work is the work of a vCPU.
func Work(vcpu int) string { return fmt.Sprintf("work %d", vcpu) }

// Canary is a process that does small things all the time.
func Canary(c beat.Canary) string { return "canary " + c.String() }

// PID1 is the guest's first process, as it answers from outside.
const PID1 = "pid1"

// Part is a part of a guest that counts its progress.
type Part struct {
	Name string
	// Units is what the part did in a window before the fault.
	Units uint64
}

// Follower follows the parts of a guest from a fault on.
type Follower struct {
	t0     int64
	parts  []part
	now    int64 // of the last sample
	endsAt int64 // when the guest was seen to have ended itself, or 0
}

// part is a Part that is followed. Times are those of the samples.
type part struct {
	Part
	at     int // its place in a sample
	usual  int64
	start  uint64
	count  uint64
	moved  int64 // when it last moved; not before t0
	paused int64 // longest pause that has ended
	gone   bool  // its process has ended
}

// New begins to follow the parts of a guest, which have counted start by now. What they did
// in a window before says how long they pause. A part that did nothing then is left out:
// nothing can be told of it.
func New(now int64, parts []Part, window time.Duration, start []uint64) *Follower {
	f := &Follower{t0: now, now: now}
	for i, p := range parts {
		if p.Units == 0 {
			continue
		}
		f.parts = append(f.parts, part{
			Part: p, at: i, usual: max(int64(beat.Period), int64(window)/int64(p.Units)), start: start[i], count: start[i],
			moved: now,
		})
	}
	return f
}

// Begin says when the fault landed: not before New was called. No part is taken to have
// stopped before that.
func (f *Follower) Begin(t0 int64) {
	f.t0 = t0
	for i := range f.parts {
		f.parts[i].moved = max(f.parts[i].moved, t0)
	}
}

// Add takes the next sample: what each part given to New has counted by now, and whether
// its process has ended. Samples must come in order of time.
func (f *Follower) Add(now int64, counts []uint64, gone []bool) {
	f.now = now
	for i := range f.parts {
		p := &f.parts[i]
		p.gone = p.gone || gone[p.at]
		if n := counts[p.at]; n != p.count {
			p.paused = max(p.paused, now-p.moved)
			p.count, p.moved = n, now
		}
	}
}

// End says that the guest has ended itself. The first call counts.
func (f *Follower) End(now int64) {
	if f.endsAt == 0 {
		f.now, f.endsAt = now, now
	}
}

// gap is how long the part is still at least when it has stopped.
func (p *part) gap() int64 { return max(missing*p.usual, again*p.paused) }

// stopped reports whether the part has stopped and not gone on.
func (p *part) stopped(now int64) bool { return !p.gone && now-p.moved >= p.gap() }

// slowed reports whether the part stood still for as long as one that has stopped, or did
// less than half, from the fault on.
func (p *part) slowed(t0, now int64) bool {
	if p.paused >= missing*p.usual {
		return true
	}
	expected := (now - t0) / p.usual
	return expected >= missing*half && half*int64(p.count-p.start) < expected
}

// Silent returns the vCPUs whose heartbeat has stopped.
func (f *Follower) Silent() []int {
	var vcpus []int
	for i := range f.parts {
		var vcpu int
		if n, _ := fmt.Sscanf(f.parts[i].Name, "beat %d", &vcpu); n == 1 && f.parts[i].stopped(f.now) {
			vcpus = append(vcpus, vcpu)
		}
	}
	return vcpus
}

// Effect returns what has become of the guest by the last sample. reached says whether the
// guest came to the place of the fault; it is nil if nobody can tell.
func (f *Follower) Effect(reached *bool) results.Effect {
	e := results.Effect{What: results.NoEffect, Reached: reached}
	var first, last, settled int64 // settled: when the first part had stopped for long
	all := len(f.parts) > 0
	for i := range f.parts {
		p := &f.parts[i]
		if p.gone {
			e.Ended = append(e.Ended, p.Name)
			continue
		}
		last = max(last, p.moved)
		switch {
		case p.stopped(f.now):
			if len(e.Stopped) == 0 || p.moved < first {
				first = p.moved
			}
			if end := p.moved + p.gap(); len(e.Stopped) == 0 || end < settled {
				settled = end
			}
			e.Stopped = append(e.Stopped, p.Name)
		case p.slowed(f.t0, f.now):
			e.Slowed = append(e.Slowed, p.Name)
			fallthrough
		default:
			all = false
			e.PauseNS = max(e.PauseNS, p.paused)
		}
	}
	switch {
	case f.endsAt != 0:
		e.What = results.Crashed
		if len(e.Stopped) == 0 || f.endsAt < first {
			first = f.endsAt
		}
	case len(e.Stopped) > 0 && all:
		e.What, e.Grew = results.AllHung, last > settled
		full := last - f.t0
		e.FullNS = &full
	case len(e.Stopped) > 0:
		e.What = results.PartHung
	case len(e.Ended) > 0:
		e.What = results.Failed
	case len(e.Slowed) > 0:
		e.What = results.Slowed
	case reached != nil && !*reached:
		e.What = results.NotReached
	}
	if e.Hung() {
		hung := first - f.t0
		e.HungNS = &hung
	}
	return e
}
