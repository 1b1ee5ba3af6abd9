package event

import (
	"cmp"
	"slices"
	"strings"
)

// InstantKind is what happened at an Instant.
type InstantKind uint8

// Kinds of instants. The first group comes from Xen's trace, the second from
// the monitor.
const (
	GuestExit  InstantKind = iota // the guest's vCPU left guest mode
	GuestEntry                    // it entered guest mode again
	GuestStops                    // Xen's scheduler took it off its CPU, to wait for an answer
	GuestReady                    // it may run again: Xen has taken the answer
	GuestRuns                     // Xen's scheduler put it on a CPU
	Dom0Runs                      // Xen's scheduler put dom0 on a CPU
	Dom0Stops                     // and took it off
	Hypercall                     // dom0 entered Xen with a hypercall

	Woke      // the monitor came back from waiting for events
	Sleeps    // it begins to wait, with its answers
	CallBegin // it begins a call of a library that enters the kernel
	CallEnd   // and is back from it
)

// Instant is one point on the way of an event.
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

// Parts is the time of one event by who spends it, in cycles of the time-stamp
// counter. Together they are all that passes from the guest's exit to its entry.
type Parts struct {
	// Hypervisor: from the guest's exit until dom0 is put on the CPU; in dom0,
	// hypercalls whose end is known: the answer, until the guest may run, and
	// those within a library call of the monitor; and from the block of dom0
	// until the guest's entry.
	Hypervisor uint64 `json:"hypervisor"`
	// Wakeup: dom0's kernel, from being put on the CPU until the monitor is back
	// from its wait: interrupt, event channel, scheduler, return from the system call.
	Wakeup uint64 `json:"wakeup"`
	// Monitor: its own instructions, from there until it waits again.
	Monitor uint64 `json:"monitor"`
	// Kernel: dom0's kernel otherwise: into the system calls of the monitor and
	// back, and from the answer until dom0 blocks. Hypercalls whose end is not
	// known (returns to user mode, timers, descriptors) are in it.
	Kernel uint64 `json:"kernel"`
}

// Total is the whole way.
func (p Parts) Total() uint64 { return p.Hypervisor + p.Wakeup + p.Monitor + p.Kernel }

// Step is one step of the most frequent way of an event.
type Step struct {
	Name   string  `json:"name"`          // what happened at its end
	Cycles float64 `json:"median_cycles"` // since the step before
}

// Breakdown is what became of the events of one run.
type Breakdown struct {
	Events int // whole ones: exit, dom0, answer, entry
	Other  int // stops of the guest that were no event of ours
	Parts  []Parts
	// Typical is the way that most events took, and Typicals how many did.
	Typical  []Step
	Typicals int
	// Hypercalls is how many of each kind dom0 made in an event, on average.
	Hypercalls map[string]float64
}

// maxWay bounds the instants of one event: what is longer is no event.
const maxWay = 512

// Split takes the events of a guest with one vCPU apart. Instants may come in
// any order.
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

// parts attributes the time of one way, from exit to entry. stopped says that
// the guest was taken off its CPU at all.
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

// Handling returns how long the monitor took for each batch of events, from
// being back from its wait until it begins to wait again with its answers, in
// cycles. A wait that is over at once ends in the same way.
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

// Names of the hypercalls that begin a part.
const (
	notifyCall = "event_channel_op"
	blockCall  = "sched_op"
)
