package sign

import (
	"time"

	"hangbench/guests/beat"
)

// Poll is how often the counters are read. On a host with one CPU every reading takes
// time from the guest.
const Poll = 20 * time.Millisecond

// Sign is how a guest shows that a fault has hung it.
type Sign interface {
	// String is the sign's name: one lower-case word.
	String() string
	// Effects says what else the sign tells of the guest.
	Effects() Effects
	// Follow begins to look for the sign.
	Follow(t *Truth) Watch
	// Resumed begins to look whether the guest goes on, from when the fault was removed.
	// The function that it returns reports whether it has gone on so far.
	Resumed(t *Truth) func() bool
}

// Effects is what a sign tells of the guest beside its counters. It decides which of
// the guest's own watchdogs can see the fault.
type Effects struct {
	// TasksSleep: tasks of the guest sleep and cannot be woken.
	TasksSleep bool
	// GuestEnds: the guest panics or ends itself.
	GuestEnds bool
}

// Watch looks for a sign. Truth.Look must be called before each of its calls.
type Watch interface {
	// Shown reports whether the guest shows the sign now, and since when. An error
	// means that the host failed.
	Shown(now int64) (shown bool, since int64, err error)
	// Refuted says in a clause why the guest does not show the sign.
	Refuted(now int64) string
}

// Bounded is a sign that can be told of a fault that is removed after a fixed time.
// Such a fault may be too short for Watch. It counts if the guest stood still once,
// from before the fault was removed, for at least half the time of the fault and
// clearly longer than usual; or, if the sign is about pace, if the guest did less than
// half its work throughout.
type Bounded interface {
	Sign
	// Stood says since when the guest stood still. If it did not, why says so in a
	// clause.
	Stood(t *Truth, b Bound) (since int64, why string)
}

// Bound is what is known of a fault that was removed after a fixed time.
type Bound struct {
	Length    time.Duration // how long the fault was to last
	RemovedAt int64         // when its removal began
	Work      uint64        // units of work done from the fault until then
}

// Disturbance is a sign that can be told of a control that was disturbed for a while.
type Disturbance interface {
	Sign
	// Failed says in a clause why the disturbance had no effect, and "" if it had.
	Failed(d Disturbed) string
}

// Disturbed is what a guest did before and during a disturbance.
type Disturbed struct {
	CPUs   int
	Before Pace
	During Pace
}

// Pace is what a guest did in a window of time.
type Pace struct {
	beat.Count
	Window time.Duration
	// Works are the units of each work, if the guest does several at a time.
	Works []uint64
}

// VCPUs says which vCPUs a fault stops.
type VCPUs string

const (
	// Every vCPU stops.
	Every VCPUs = "every"
	// First: vCPU 0 stops. The others may wait for it sooner or later.
	First VCPUs = "first"
	// OnlyLast: the last vCPU stops and the others go on.
	OnlyLast VCPUs = "only-last"
	// Some: one vCPU or more stop, and nobody knows which.
	Some VCPUs = "some"
)

// of returns the numbers of the vCPUs, in a guest that has n. Of Some it returns those
// that may stop.
func (v VCPUs) of(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	switch v {
	case First:
		return all[:1]
	case OnlyLast:
		return all[n-1:]
	}
	return all
}
