package monitor

import (
	"fmt"

	"hangbench/monitor/detect"
	"hangbench/monitor/driver"
)

// livelock finds hangs that the monitor itself causes. There are two kinds.
//
// A vCPU in an altp2m view can fault on the same frame forever, inside Xen and
// without an event: it runs all the time and retires no instruction, so none of its
// registers change. Or it faults with an event each time, is answered, and faults
// again at the same instruction: then the monitor is busy, the vCPU runs, and the
// guest does not progress either. Such events are repeated stops. They are no
// signal.
//
// A guest's own loop of one instruction looks the same. A test tells them apart: the
// session suspends the trap, which with altp2m puts the vCPUs in the host view. If
// the registers change then, the trap was the cause.
//
// One sample is not enough for that. With interrupts on, a guest's own loop shows
// other registers whenever the sample falls in the handler of its timer tick, and the
// loop's registers again afterwards. A vCPU that the trap held up never returns to
// exactly the same registers. A guest's own loop that ends by itself within those few
// samples cannot be told from a livelock.
//
// livelock only decides. The session that owns it suspends and resumes the trap.
type livelock struct {
	altp2m bool // the trap lies in an altp2m view: it can hold a vCPU up without an event
	off    bool // the trap was removed: there is nothing to test any more
	vcpus  []suspect
	stops  []lastStop
}

// suspect holds the samples of a vCPU that gave no signal.
type suspect struct {
	regs    driver.Registers
	cpuNS   uint64
	sinceNS int64 // when these registers were first sampled
	still   int   // samples in a row with the same registers in which it ran
	stopped int   // of these, samples before which it had made repeated stops
	tested  bool  // the trap is suspended to see whether it moves
	away    int   // samples of the test with other registers
	moved   bool  // it did move: the trap was the cause
	note    string

	// Registers of the guest's own loop, once a test has found one. The vCPU is not
	// tested for it again before it makes progress.
	own   driver.Registers
	loops bool
}

// lastStop is the place of a vCPU's last event and how often it was repeated.
type lastStop struct {
	rip, rsp, cr3 uint64
	known         bool
	repeats       int   // events at this place after the first
	sampled       int   // repeats at the last sample
	sinceNS       int64 // time of the first repeat
}

const (
	// stillSamples is the number of samples in a row that must show the same registers
	// as the first: a third of a second with a sampling period of 100 ms.
	stillSamples = 3
	// awaySamples is the number of samples in a row that must show other registers
	// while the trap is suspended. With stillSamples and the time before the first
	// sample that is less than a second with a period of 100 ms, its variation
	// included.
	awaySamples = 3
)

// trapChange is what the session must do with its trap.
type trapChange uint8

const (
	keepTrap trapChange = iota
	suspendTrap
	resumeTrap
)

func newLivelock(vcpus int, altp2m bool) *livelock {
	return &livelock{altp2m: altp2m, vcpus: make([]suspect, vcpus), stops: make([]lastStop, vcpus)}
}

// event notes an event and reports whether it repeats the one before. Two passes
// over the switch function in a row are on the stacks of two tasks, and an
// instruction that was executed leaves RIP elsewhere, unless it jumps to itself or
// has a repeat prefix. A write of CR3 is already complete when its event comes.
func (l *livelock) event(ev *driver.Event, now func() int64) bool {
	s := &l.stops[ev.VCPU]
	if ev.Kind == driver.EventCR3 || !s.known || ev.RIP != s.rip || ev.RSP != s.rsp || ev.CR3 != s.cr3 {
		*s = lastStop{rip: ev.RIP, rsp: ev.RSP, cr3: ev.CR3, known: true}
		l.progress(ev.VCPU)
		return false
	}
	if s.repeats++; s.repeats == 1 {
		s.sinceNS = now()
	}
	return true
}

// repeating reports whether the vCPU made repeated stops since the last sample.
func (l *livelock) repeating(vcpu int) bool { return l.stops[vcpu].repeats > l.stops[vcpu].sampled }

// progress notes that a vCPU progressed: it made an event that repeats none,
// switched tasks or halted.
func (l *livelock) progress(vcpu int) {
	v := &l.vcpus[vcpu]
	if v.tested {
		v.moved = true
		return
	}
	*v = suspect{}
}

// absent notes that a vCPU cannot run now, because it is offline or its domain is
// paused or shut down. Earlier samples of it mean nothing any more.
func (l *livelock) absent(vcpu int) trapChange {
	v := &l.vcpus[vcpu]
	tested := v.tested
	*v = suspect{}
	if tested {
		return l.endTest()
	}
	return keepTrap
}

// sample compares the registers of a vCPU that gave no signal with those of the
// samples before. cpuNS is the time that the vCPU has run.
func (l *livelock) sample(vcpu int, now int64, cpuNS uint64, r *driver.Registers) trapChange {
	v, s := &l.vcpus[vcpu], &l.stops[vcpu]
	repeating := l.repeating(vcpu)
	s.sampled = s.repeats
	if v.tested {
		if cpuNS == v.cpuNS { // it did not run: that says nothing
			return keepTrap
		}
		v.cpuNS = cpuNS
		if *r != v.regs {
			v.away++
			v.moved = v.away >= awaySamples
			return keepTrap
		}
		// It does not move without the trap either: the guest's own loop.
		*v = suspect{regs: *r, cpuNS: cpuNS, sinceNS: v.sinceNS, own: *r, loops: true}
		return l.endTest()
	}
	if *r != v.regs {
		*v = suspect{regs: *r, cpuNS: cpuNS, sinceNS: now, own: v.own, loops: v.loops}
		return keepTrap
	}
	if cpuNS == v.cpuNS || v.loops && *r == v.own {
		return keepTrap
	}
	v.cpuNS = cpuNS
	v.still++
	if repeating {
		v.stopped++
	}
	switch {
	case v.still < stillSamples || l.off:
		return keepTrap
	case v.stopped >= stillSamples:
		v.sinceNS = s.sinceNS
		v.note = fmt.Sprintf("vCPU %d: no register changed for %d ms at RIP %#x while the monitor answered "+
			"%d events of that instruction; they changed when the trap was suspended",
			vcpu, (now-v.sinceNS)/1e6, r.RIP, s.repeats+1)
	case l.altp2m:
		v.note = fmt.Sprintf("vCPU %d: no register changed for %d ms at RIP %#x in the monitor's view "+
			"while it ran; they changed in view 0", vcpu, (now-v.sinceNS)/1e6, r.RIP)
	default:
		return keepTrap
	}
	first := !l.testing()
	v.tested = true
	if !first {
		return keepTrap // it is suspended already
	}
	return suspendTrap
}

// testing reports whether the trap is suspended for a test of some vCPU.
func (l *livelock) testing() bool {
	for i := range l.vcpus {
		if l.vcpus[i].tested {
			return true
		}
	}
	return false
}

// endTest ends the test of a vCPU. The trap is resumed when none is tested any more.
func (l *livelock) endTest() trapChange {
	if l.testing() {
		return keepTrap
	}
	return resumeTrap
}

// found returns the verdict on a livelock that a test has proven, and the time at
// which the first of its vCPUs stopped moving. It ends all tests then; the trap is
// still suspended.
func (l *livelock) found() (v detect.Verdict, sinceNS int64, ok bool) {
	for i := range l.vcpus {
		if l.vcpus[i].moved {
			if len(v.VCPUs) == 0 || l.vcpus[i].sinceNS < sinceNS {
				sinceNS = l.vcpus[i].sinceNS
			}
			v.VCPUs = append(v.VCPUs, i)
			v.Evidence = append(v.Evidence, l.vcpus[i].note)
		}
	}
	if len(v.VCPUs) == 0 {
		return v, 0, false
	}
	clear(l.vcpus)
	clear(l.stops)
	v.Class, v.Scope = detect.ClassMonitor, detect.Partial
	if len(v.VCPUs) == len(l.vcpus) {
		v.Scope = detect.Full
	}
	return v, sinceNS, true
}
