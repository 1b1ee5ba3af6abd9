package monitor

import (
	"errors"
	"fmt"

	"hangbench/monitor/detect"
)

// watchdog looks for hangs that the monitor itself causes. A vCPU in an altp2m
// view can fault on the same frame for ever, inside Xen and without an event: it
// runs all the time and retires nothing, so all of its registers stand still.
// That is also what a guest's own one-instruction loop looks like. The watchdog
// tells them apart by trying: it puts the vCPUs in the host view, where nothing
// of the monitor's is in their way. If the registers move then, it was the view.
type watchdog struct {
	vcpus []watched
}

type watched struct {
	regs    Registers
	cpuNS   uint64
	sinceNS int64 // when the registers were first seen as they are
	still   int   // samples in a row with the same registers while it ran
	probing bool  // it is in the host view to see whether it moves
	cleared bool  // it did not: the guest does it itself; not tried again while it lasts
	moved   bool  // it did
	note    string
}

// still is how many samples in a row must show the same registers: with the
// usual sampling period of 100 ms, three more samples than the first are a third
// of a second, and a probe is one more.
const stillSamples = 3

func newWatchdog(n int) watchdog { return watchdog{vcpus: make([]watched, n)} }

// alive takes note that a vCPU got somewhere.
func (w *watchdog) alive(i int) {
	v := &w.vcpus[i]
	if v.probing {
		v.moved = true
		return
	}
	*v = watched{}
}

// sample compares the registers of a vCPU that gave no signal with those before.
func (w *watchdog) sample(s *Session, i int, now int64, cpuNS uint64, r *Registers) error {
	v := &w.vcpus[i]
	switch {
	case v.probing && *r != v.regs:
		v.moved = true
	case v.probing:
		// It stands still in the host view too: the guest's own doing.
		v.probing, v.cleared, v.still = false, true, 0
		return s.probe(false)
	case *r != v.regs:
		*v = watched{regs: *r, cpuNS: cpuNS, sinceNS: now}
	case cpuNS == v.cpuNS: // it did not run: that says nothing
	case v.cleared:
	default:
		v.still++
		v.cpuNS = cpuNS
		if v.still >= stillSamples && s.cfg.Mechanism.Views && s.count.BackedOut == "" {
			v.probing = true
			v.note = fmt.Sprintf("vCPU %d: all registers stood still for %d ms at RIP %#x in the monitor's view while it ran, and moved on in view 0", i, (now-v.sinceNS)/1e6, r.RIP)
			return s.probe(true)
		}
	}
	return nil
}

// livelock reports a livelock that was proven.
func (w *watchdog) livelock() (detect.Verdict, bool) {
	var v detect.Verdict
	for i := range w.vcpus {
		if w.vcpus[i].moved {
			v.VCPUs = append(v.VCPUs, i)
			v.Evidence = append(v.Evidence, w.vcpus[i].note)
			w.vcpus[i] = watched{}
		}
	}
	if len(v.VCPUs) == 0 {
		return v, false
	}
	v.Class, v.Scope = detect.ClassMonitor, detect.Partial
	if len(v.VCPUs) == len(w.vcpus) {
		v.Scope = detect.Full
	}
	return v, true
}

// probe puts all vCPUs in the host view, or back.
func (s *Session) probe(host bool) error {
	m, ok := s.mech.(interface{ probe(host bool) error })
	if !ok {
		return nil
	}
	if err := m.probe(host); err != nil {
		return fmt.Errorf("see whether the monitor's view holds the guest up: %w", err)
	}
	return nil
}

// backOut lets go of the guest and goes on without traps, by polling.
func (s *Session) backOut(why string) error {
	s.count.BackedOut = why
	if err := s.cfg.Driver.Pause(); err != nil {
		return err
	}
	err := errors.Join(s.mech.disarm(), s.drain(), s.cfg.Driver.Unpause())
	s.mech = &poll{s: s}
	if err == nil && s.cfg.Kernel == nil {
		err = errors.New("there is nothing to go on with: the guest's kernel cannot be read")
	}
	if err != nil {
		return fmt.Errorf("let go of the guest, which the monitor held up: %w", err)
	}
	return nil
}
