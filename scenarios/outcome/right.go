package outcome

import (
	"fmt"
	"slices"
	"strings"

	"hangbench/guests/beat"
	"hangbench/monitor/detect"
	"hangbench/results"
)

// Place is where a vCPU was seen, from outside.
type Place struct {
	VCPU       int
	Symbol     string   // function of RIP; empty outside the kernel's code
	Callers    []string // functions on its stack, the innermost first
	Interrupts bool     // it takes interrupts
	User       bool     // it runs a program
	Halted     bool     // it waits for an event
}

// String says where the vCPU was, in a sentence.
func (p Place) String() string {
	state := "runs"
	if p.Halted {
		state = "is halted"
	}
	where := p.Symbol
	switch {
	case p.User:
		where = "a program"
	case where == "":
		where = "code without a name"
	}
	irq := "off"
	if p.Interrupts {
		irq = "on"
	}
	text := fmt.Sprintf("vCPU %d %s in %s, interrupts %s", p.VCPU, state, where, irq)
	if len(p.Callers) > 0 {
		text += ", called from " + strings.Join(p.Callers[:min(len(p.Callers), 4)], " < ")
	}
	return text
}

// lockCode begins the names of the kernel's functions in which a vCPU waits for a lock that
// spins (kernel/locking).
var lockCode = []string{"native_queued_spin_lock_slowpath", "__pv_queued_spin_lock_slowpath",
	"queued_spin_lock_slowpath", "queued_read_lock_slowpath", "queued_write_lock_slowpath", "_raw_spin_lock",
	"_raw_read_lock", "_raw_write_lock", "osq_lock", "xen_qlock_wait"}

// in reports whether RIP or a caller is in a function whose name begins with one of these.
func (p *Place) in(names ...string) bool {
	for _, at := range append([]string{p.Symbol}, p.Callers...) {
		if slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(at, name) }) {
			return true
		}
	}
	return false
}

// classes returns the classes that a vCPU without a heartbeat permits, which was seen at a
// place.
//
//   - It waits for a lock that spins: spin. With interrupts off the waiting hides behind
//     them: hard as well.
//   - Interrupts are off: hard.
//   - It is halted: nobody wakes it (stopped), or its tasks wait (blocked). From outside
//     the two look alike.
//   - It runs a program: the heartbeat's task is runnable and never runs (starvation).
//   - Else it computes in the kernel, and its tasks do not run: soft.
func (p *Place) classes() []detect.Class {
	switch {
	case p.in("panic", "vpanic", "die", "oops_end"):
		return []detect.Class{detect.ClassPanic}
	case p.in(lockCode...) && !p.User:
		if p.Interrupts || p.Halted {
			return []detect.Class{detect.ClassSpin}
		}
		return []detect.Class{detect.ClassSpin, detect.ClassHard}
	case p.Halted:
		return []detect.Class{detect.ClassStopped, detect.ClassBlocked}
	case p.User:
		return []detect.Class{detect.ClassStarvation}
	case !p.Interrupts:
		return []detect.Class{detect.ClassHard}
	}
	return []detect.Class{detect.ClassSoft}
}

// Right returns the classes that a verdict about the guest may name, in the order of their
// names. places are where its vCPUs without a heartbeat were; work is what the guest did.
// A verdict may name what any of these vCPUs does. If every vCPU has a heartbeat, tasks
// wait: blocked, and io if the work needs the disk. A guest that does not hang has none.
func Right(e *results.Effect, places []Place, work beat.Workload) []string {
	if !e.Hung() {
		return nil
	}
	if e.What == results.Crashed {
		return []string{string(detect.ClassPanic)}
	}
	var all []string
	add := func(classes ...detect.Class) {
		for _, c := range classes {
			if !slices.Contains(all, string(c)) {
				all = append(all, string(c))
			}
		}
	}
	for i := range places {
		add(places[i].classes()...)
	}
	if len(places) == 0 {
		add(detect.ClassBlocked)
	}
	if work == beat.Disk || work == beat.Pages {
		add(detect.ClassIO)
	}
	slices.Sort(all)
	return all
}
