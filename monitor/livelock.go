package monitor

import (
	"errors"
	"fmt"

	"hangbench/monitor/detect"
	"hangbench/monitor/driver"
	"hangbench/monitor/trap"
)

// watchdog looks for hangs that the monitor itself causes. A vCPU in an altp2m
// view can fault on the same frame for ever, inside Xen and without an event: it
// runs all the time and retires nothing, so all of its registers stand still.
// That is also what a guest's own one-instruction loop looks like. The watchdog
// tells them apart by trying: it puts the vCPUs in the host view, where nothing
// of the monitor's is in their way. If the registers move on then, it was the view.
//
// One look is not enough: with interrupts on, a guest's own loop shows other
// registers whenever the look falls into the handler of its timer tick, and the
// loop's again afterwards. Who was held up by the view does not come back to
// where it was, to the last register. A guest's own loop that ends by itself
// within those few samples cannot be told from a livelock.
//
// Or it faults with an event each time, is answered, and faults again at the same
// instruction: then the monitor is busy, the vCPU runs, and the guest gets nowhere
// either. Such events are echoes. They are no sign of life, in every mechanism in
// which an answer must lift the trap; the watchdog tries those as it tries a view.
type watchdog struct {
	vcpus  []watched
	echoes []echo
}

type watched struct {
	regs    driver.Registers
	cpuNS   uint64
	sinceNS int64 // when the registers were first seen as they are
	still   int   // samples in a row with the same registers while it ran
	fed     int   // of these, how many had echoes since the one before
	probing bool  // it is in the host view to see whether it moves
	away    int   // samples of the probe with other registers
	moved   bool  // it did move on
	note    string

	// The guest's own loop, once one was found: not tried again before the vCPU
	// gives a sign of life.
	own   driver.Registers
	loops bool
}

const (
	// stillSamples is how many samples in a row must show the same registers as
	// the first: with the usual sampling period of 100 ms, a third of a second.
	stillSamples = 3
	// awaySamples is how many samples in a row must show other registers in the
	// host view. Together with stillSamples and the time before the first sample
	// that is less than a second at the usual period, dither included.
	awaySamples = 3
)

// echo is where a vCPU was at its last event, and how often it has been there
// since it was anywhere else.
type echo struct {
	rip, rsp, cr3 uint64
	some          bool
	n             int
	told          int   // n at the last sample
	sinceNS       int64 // when the first of the n came
}

func newWatchdog(n int) watchdog { return watchdog{vcpus: make([]watched, n), echoes: make([]echo, n)} }

// event takes note of an event and reports whether it is an echo of the one
// before. Two passes of the switch function in a row are on two tasks' stacks, and
// any instruction that was executed leaves RIP elsewhere, unless it jumps to
// itself or repeats. A write of CR3 is over when it is told of.
func (w *watchdog) event(ev *driver.Event, now func() int64) bool {
	e := &w.echoes[ev.VCPU]
	at := echo{rip: ev.RIP, rsp: ev.RSP, cr3: ev.CR3, some: true}
	if ev.Kind == driver.EventCR3 || !e.some || at.rip != e.rip || at.rsp != e.rsp || at.cr3 != e.cr3 {
		*e = at
		w.alive(ev.VCPU)
		return false
	}
	if e.n++; e.n == 1 {
		e.sinceNS = now()
	}
	return true
}

// echoing reports whether there were echoes since the last sample.
func (w *watchdog) echoing(i int) bool { return w.echoes[i].n > w.echoes[i].told }

// alive takes note that a vCPU got somewhere: it made an event that is no echo,
// switched tasks or halted.
func (w *watchdog) alive(i int) {
	v := &w.vcpus[i]
	if v.probing {
		v.moved = true
		return
	}
	*v = watched{}
}

// gone takes note that a vCPU is not to run now, because it is offline or its
// domain is paused: what it did before says nothing any more.
func (w *watchdog) gone(s *Session, i int) error {
	v := &w.vcpus[i]
	probing := v.probing
	*v = watched{}
	if probing {
		return w.endProbe(s)
	}
	return nil
}

// sample compares the registers of a vCPU that gave no signal with those before.
func (w *watchdog) sample(s *Session, i int, now int64, cpuNS uint64, r *driver.Registers) error {
	v, e := &w.vcpus[i], &w.echoes[i]
	fed := w.echoing(i)
	e.told = e.n
	if v.probing {
		if cpuNS == v.cpuNS { // it did not run: that says nothing
			return nil
		}
		v.cpuNS = cpuNS
		if *r != v.regs {
			v.away++
			v.moved = v.away >= awaySamples
			return nil
		}
		// It stands still in the host view too: the guest's own doing.
		*v = watched{regs: *r, cpuNS: cpuNS, sinceNS: v.sinceNS, own: *r, loops: true}
		return w.endProbe(s)
	}
	if *r != v.regs {
		*v = watched{regs: *r, cpuNS: cpuNS, sinceNS: now, own: v.own, loops: v.loops}
		return nil
	}
	if cpuNS == v.cpuNS || v.loops && *r == v.own {
		return nil
	}
	v.cpuNS = cpuNS
	v.still++
	if fed {
		v.fed++
	}
	switch {
	case v.still < stillSamples || s.count.BackedOut != "":
		return nil
	case v.fed >= stillSamples:
		v.sinceNS = e.sinceNS
		v.note = fmt.Sprintf("vCPU %d: all registers stood still for %d ms at RIP %#x while the monitor answered %d events of that one instruction, and moved on once the trap was lifted", i, (now-v.sinceNS)/1e6, r.RIP, e.n+1)
	case s.cfg.Mechanism.View == trap.Altp2m:
		v.note = fmt.Sprintf("vCPU %d: all registers stood still for %d ms at RIP %#x in the monitor's view while it ran, and moved on in view 0", i, (now-v.sinceNS)/1e6, r.RIP)
	default:
		return nil
	}
	first := !w.probing()
	v.probing = true
	if !first {
		return nil // all vCPUs are in the host view already
	}
	return s.probe(true)
}

// probing reports whether some vCPU is being tried.
func (w *watchdog) probing() bool {
	for i := range w.vcpus {
		if w.vcpus[i].probing {
			return true
		}
	}
	return false
}

// endProbe puts the vCPUs back into the view when none is being tried any more.
func (w *watchdog) endProbe(s *Session) error {
	if w.probing() {
		return nil
	}
	return s.probe(false)
}

// livelock reports a livelock that was proven, and since when the first of its
// vCPUs was seen to stand still.
func (w *watchdog) livelock() (v detect.Verdict, sinceNS int64, stuck bool) {
	for i := range w.vcpus {
		if w.vcpus[i].moved {
			if len(v.VCPUs) == 0 || w.vcpus[i].sinceNS < sinceNS {
				sinceNS = w.vcpus[i].sinceNS
			}
			v.VCPUs = append(v.VCPUs, i)
			v.Evidence = append(v.Evidence, w.vcpus[i].note)
		}
	}
	if len(v.VCPUs) == 0 {
		return v, 0, false
	}
	clear(w.vcpus)
	clear(w.echoes)
	v.Class, v.Scope = detect.ClassMonitor, detect.Partial
	if len(v.VCPUs) == len(w.vcpus) {
		v.Scope = detect.Full
	}
	return v, sinceNS, true
}

// probe lifts the trap for all vCPUs, with views by putting them in the host
// view, or sets it again.
func (s *Session) probe(host bool) error {
	m, ok := s.mech.(trap.Suspender)
	if !ok {
		return nil
	}
	change := m.Resume
	if host {
		change = m.Suspend
	}
	if err := change(); err != nil {
		return fmt.Errorf("see whether the monitor's trap holds the guest up: %w", err)
	}
	return nil
}

// backOut lets go of the guest, which stood still since then, and goes on without
// traps, by polling.
func (s *Session) backOut(why string, sinceNS int64) error {
	s.count.BackedOut = why
	err := s.letGo()
	s.count.BackOutNS = s.cfg.Now() - sinceNS
	s.mech, s.polls = trap.Nothing{}, true
	if err == nil && s.cfg.Kernel == nil {
		err = errors.New("there is nothing to go on with: the guest's kernel cannot be read")
	}
	if err != nil {
		return fmt.Errorf("let go of the guest, which the monitor held up: %w", err)
	}
	return nil
}

// letGo takes the trap back and answers what is open. The ring stays.
func (s *Session) letGo() (err error) {
	if err := s.cfg.Driver.Pause(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.cfg.Driver.Unpause()) }()
	return errors.Join(s.mech.Disarm(), s.drain())
}
