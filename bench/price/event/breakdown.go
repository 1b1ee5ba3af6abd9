package event

import (
	"cmp"
	"slices"
	"strings"
)

// InstantKind is the kind of an Instant.
type InstantKind uint8

// Kinds of instants. Those of the first group come from Xen's trace, those of the second
// from the monitor.
const (
	GuestExit  InstantKind = iota // the guest's vCPU left guest mode
	GuestEntry                    // it entered guest mode again
	GuestStops                    // Xen's scheduler removed it from its CPU, to wait for an answer
	GuestReady                    // it may run again: Xen has read the answer
	GuestRuns                     // Xen's scheduler put it on a CPU
	Dom0Runs                      // Xen's scheduler put dom0 on a CPU
	Dom0Stops                     // Xen's scheduler removed dom0 from its CPU
	Hypercall                     // dom0 entered Xen with a hypercall

	Woke      // the monitor returned from waiting for events
	Sleeps    // it begins to wait; its answers are ready
	CallBegin // it begins a library call that enters the kernel
	CallEnd   // the library call has returned
)

// Instant is one point in the course of an event.
type Instant struct {
	TSC  uint64 // time-stamp counter of the host
	Kind InstantKind
	Name string // of a hypercall
}

func (i Instant) name() string {
	names := [...]string{"guest exit", "guest entry", "guest stops", "guest ready", "guest runs", "dom0 runs",
		"dom0 stops",
		"hypercall", "woke", "sleeps", "call", "call end"}
	if i.Kind == Hypercall {
		return i.Name
	}
	return names[i.Kind]
}

// Parts divides the time of one event by who spends it, in cycles of the time-stamp
// counter. The sum is the time from the guest's exit to its entry.
type Parts struct {
	// Hypervisor: from the guest's exit until dom0 is put on the CPU; from the block of
	// dom0 until the guest's entry; and in between, hypercalls of dom0 whose end is known:
	// the answer, until the guest may run, and those within a library call of the monitor.
	Hypervisor uint64 `json:"hypervisor"`
	// Wakeup: dom0's kernel, from being put on the CPU until the monitor has returned from
	// its wait: interrupt, event channel, scheduler, return from the system call.
	Wakeup uint64 `json:"wakeup"`
	// Monitor: the monitor's own instructions, from there until it waits again.
	Monitor uint64 `json:"monitor"`
	// Kernel: dom0's kernel otherwise: entering and leaving the monitor's system calls, and
	// from the answer until dom0 blocks. It includes hypercalls whose end is not known
	// (returns to user mode, timers, descriptors).
	Kernel uint64 `json:"kernel"`
}

// Step is one step of the most frequent course of an event.
type Step struct {
	Name   string  `json:"name"`          // of the instant at its end
	Cycles float64 `json:"median_cycles"` // since the instant before
}

// Breakdown divides the events of one run.
type Breakdown struct {
	Events int // complete ones: exit, dom0, answer, entry
	Other  int // stops of the guest for other reasons
	Parts  []Parts
	// Typical is the most frequent course, and Typicals the number of events with it.
	Typical  []Step
	Typicals int
	// Hypercalls is the mean number of hypercalls that dom0 makes in an event, by name.
	Hypercalls map[string]float64
}

// maxWay bounds the instants of one event. A longer course is not an event.
const maxWay = 512

// Split divides the events of a guest with one vCPU. The instants may be in any order.
func Split(all []Instant) Breakdown {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b Instant) int { return cmp.Compare(a.TSC, b.TSC) })
	var b Breakdown
	calls := map[string]int{}
	ways := map[string][][]Instant{}
	var way []Instant
	for _, in := range all {
		if in.Kind == GuestExit {
			way = way[:0]
		}
		if in.Kind != GuestExit && len(way) == 0 || len(way) >= maxWay {
			way = way[:0]
			continue
		}
		way = append(way, in)
		if in.Kind != GuestEntry {
			continue
		}
		p, stopped, ok := parts(way)
		switch {
		case ok:
			b.Events++
			b.Parts = append(b.Parts, p)
			var sig strings.Builder
			for _, in := range way {
				sig.WriteString(in.name())
				sig.WriteByte(';')
				if in.Kind == Hypercall {
					calls[in.Name]++
				}
			}
			ways[sig.String()] = append(ways[sig.String()], slices.Clone(way))
		case stopped:
			b.Other++
		}
		way = way[:0]
	}
	b.Hypercalls = map[string]float64{}
	for name, n := range calls {
		b.Hypercalls[name] = float64(n) / float64(b.Events)
	}
	best := ""
	for sig, w := range ways {
		if n := len(ways[best]); len(w) > n || len(w) == n && sig < best {
			best = sig
		}
	}
	typical := ways[best]
	b.Typicals = len(typical)
	for i := range typical {
		if i == 0 {
			for j := 1; j < len(typical[0]); j++ {
				var d []float64
				for _, w := range typical {
					d = append(d, float64(w[j].TSC-w[j-1].TSC))
				}
				b.Typical = append(b.Typical, Step{typical[0][j].name(), median(d)})
			}
		}
	}
	return b
}

// parts divides the time of one course, from exit to entry. stopped reports whether the
// guest was removed from its CPU; ok whether the course is an event.
func parts(way []Instant) (p Parts, stopped, ok bool) {
	const (
		hypervisor = iota
		wakeup
		monitor
		kernel
	)
	var sum [4]uint64
	state := hypervisor
	dom0, awake, woken, answered, called := false, false, false, false, false
	for i, in := range way {
		if i > 0 {
			sum[state] += in.TSC - way[i-1].TSC
		}
		switch in.Kind {
		case GuestStops:
			stopped = true
			state = hypervisor
		case Dom0Runs:
			dom0 = true
			switch {
			case awake && called:
				state = kernel
			case awake:
				state = monitor
			case !woken:
				state = wakeup
			default:
				state = kernel
			}
		case Dom0Stops, GuestRuns:
			dom0 = false
			state = hypervisor
		case Woke:
			awake, woken, called = true, true, false
			state = monitor
		case Sleeps:
			awake = false
			state = kernel
		case CallBegin:
			called = true
			state = kernel
		case CallEnd:
			called = false
			state = monitor
		case Hypercall:
			switch {
			case !dom0:
			case awake && called, in.Name == blockCall:
				state = hypervisor
			case woken && !answered && in.Name == notifyCall:
				state = hypervisor
			case awake:
				// The monitor's own page faults and the like.
			case woken:
				state = kernel
			}
		case GuestReady:
			answered = true
			if dom0 {
				state = kernel
			}
		}
	}
	p = Parts{Hypervisor: sum[hypervisor], Wakeup: sum[wakeup], Monitor: sum[monitor], Kernel: sum[kernel]}
	return p, stopped, stopped && woken && answered
}

// Handling returns how long the monitor took for each batch of events, in cycles: from
// its return from a wait until it begins the next wait. A wait that returns at once counts
// like any other.
func Handling(all []Instant) []float64 {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b Instant) int { return cmp.Compare(a.TSC, b.TSC) })
	var out []float64
	var woke uint64
	awake := false
	for _, in := range all {
		switch in.Kind {
		case Woke:
			woke, awake = in.TSC, true
		case Sleeps:
			if awake {
				out = append(out, float64(in.TSC-woke))
			}
			awake = false
		}
	}
	return out
}

// Hypercalls at which a part begins.
const (
	notifyCall = "event_channel_op"
	blockCall  = "sched_op"
)
