package monitor

import (
	"errors"
	"fmt"

	"hangbench/monitor/detect"
	"hangbench/monitor/driver"
	"hangbench/monitor/trap"
)

// vcpu holds a session's counts of one vCPU.
type vcpu struct {
	signals uint64 // so far
	sampled uint64 // signals at the last sample
	queue   detect.RunQueue
	// Switches that the run queue had counted when the trap was set, and at the last
	// sample.
	firstSwitches, lastSwitches uint64
}

// period returns the time to the next observation: Config.Sample, longer or
// shorter by up to an eighth. With a constant period the samples would align with
// the guest's timer tick, and every sample would show the tick's handler.
func (s *Session) period() int64 {
	eighth := int64(s.cfg.Sample) / 8
	return int64(s.cfg.Sample) - eighth + s.dither.Int64N(2*eighth+1)
}

// sample makes one observation and passes it to the detector.
func (s *Session) sample(now int64) error {
	if err := s.observe(now); err != nil {
		return err
	}
	if err := s.checkLivelock(); err != nil {
		return err
	}
	s.budget.newPeriod()
	if err := s.trap.Rearm(); err != nil {
		return fmt.Errorf("set the trap again: %w", err)
	}
	if s.cfg.Record != nil {
		s.cfg.Record(&s.obs)
	}
	s.judge()
	return nil
}

// observe fills the observation.
func (s *Session) observe(now int64) error {
	s.count.Samples++
	s.obs.TimeNS = now
	dom, err := s.cfg.Driver.State(s.states)
	s.dying = dom.Dying
	if err != nil {
		return fmt.Errorf("observe the guest: %w", err)
	}
	if dom.Shutdown != s.obs.Domain.Shutdown {
		s.nextInspection = now // its memory says why it ended
	}
	s.obs.Domain = detect.Domain{Paused: dom.Paused, Shutdown: dom.Shutdown}
	for i := range s.obs.VCPUs {
		if err := s.sampleVCPU(i, now, !dom.Paused && dom.Shutdown == ""); err != nil {
			return fmt.Errorf("observe vCPU %d: %w", i, err)
		}
	}
	s.obs.Kernel = nil
	if s.cfg.Kernel != nil && now >= s.nextInspection {
		s.cfg.Kernel.Inspect(&s.kernel)
		s.obs.Kernel = &s.kernel
		s.count.Inspections++
		s.nextInspection = now + int64(s.cfg.Inspect)
	}
	var total uint64
	for i := range s.vcpus {
		total += s.vcpus[i].signals
	}
	s.total.Store(total)
	return nil
}

// sampleVCPU observes a vCPU. live is false while its domain cannot run.
func (s *Session) sampleVCPU(i int, now int64, live bool) error {
	st, v, o := &s.states[i], &s.vcpus[i], &s.obs.VCPUs[i]
	*o = detect.VCPU{Online: st.Online, Blocked: st.Blocked, Running: st.Running, CPUTimeNS: st.CPUTimeNS,
		Callers: o.Callers[:0]}
	if s.cfg.Kernel != nil && s.cfg.Kernel.RunQueue(i, &v.queue) {
		o.Queue = &v.queue
		if s.polls {
			v.signals = o.Queue.Switches - v.firstSwitches
		}
	}
	o.Signals = v.signals
	expected := v.expectsSignal(st, o.Queue)
	s.budget.expect(i, expected)
	// A vCPU that waits for a paravirtual spinlock halts: in a task's context, or in an
	// interrupt of the idle task, and then its timer becomes overdue.
	idle := st.Blocked && (o.Queue == nil || o.Queue.PID == 0) && !s.detector.Doubts(i)
	silent := o.Signals == v.sampled
	v.sampled = o.Signals
	s.budget.observe(i, st.CPUTimeNS, silent && !expected && st.Online && !st.Blocked)
	change := keepTrap
	switch {
	case !live || !st.Online:
		change = s.livelock.absent(i)
	case silent && !idle:
		if err := s.cfg.Driver.Registers(i, &s.regs); err != nil {
			return err
		}
		s.describe(o, &s.regs)
		change = s.livelock.sample(i, now, st.CPUTimeNS, &s.regs)
	case !st.Blocked && s.livelock.repeating(i):
		// It gave a signal, and then made the same stop again and again.
		if err := s.cfg.Driver.Registers(i, &s.regs); err != nil {
			return err
		}
		change = s.livelock.sample(i, now, st.CPUTimeNS, &s.regs)
	default:
		s.livelock.progress(i)
	}
	return s.changeTrap(change)
}

// describe adds to the observation where a vCPU is.
func (s *Session) describe(o *detect.VCPU, r *driver.Registers) {
	o.Sampled, o.UserMode, o.RIP, o.InterruptsOn = true, r.UserMode, r.RIP, r.InterruptsOn()
	if r.UserMode {
		return
	}
	o.Symbol, o.Offset, _ = s.cfg.Symbols.Function(r.RIP)
	if s.cfg.Kernel != nil {
		o.Callers = s.cfg.Kernel.Callers(o.Callers, r.RSP)
	}
	if detect.WaitsForLock(o) {
		o.Lock = s.lockIn(r)
	}
}

// lockIn names the first register that points at a kernel variable. In the slow
// path of a lock, and in the functions that it calls, that is the lock.
func (s *Session) lockIn(r *driver.Registers) string {
	for i, v := range r.General {
		if name, ok := s.cfg.Symbols.Data(v); ok {
			return driver.RegisterName(i) + " = " + name
		}
	}
	return ""
}

// expectsSignal reports whether a signal of the vCPU is expected in the sampling
// period that begins. A vCPU that runs and did not switch in the last period hangs,
// or is busy with one task. To wait for its signal would keep a shared trap closed,
// and stop the other vCPUs at every switch for as long as it hangs. The run queue
// tells when it switches again; then its signal is expected again.
func (v *vcpu) expectsSignal(st *driver.VCPUState, queue *detect.RunQueue) bool {
	still := false
	if queue != nil {
		still = queue.Switches == v.lastSwitches
		v.lastSwitches = queue.Switches
	}
	return st.Online && !st.Blocked && !still
}

// checkLivelock removes the trap if it holds the guest up.
func (s *Session) checkLivelock() error {
	v, since, found := s.livelock.found()
	if !found {
		return nil
	}
	if !s.alarms.causedByMonitor() {
		return s.changeTrap(resumeTrap)
	}
	if err := s.backOut(v.Evidence[0], since); err != nil {
		return err
	}
	v.Evidence = append(v.Evidence,
		fmt.Sprintf("the monitor removed its trap %d ms after that began, and polls", s.count.BackOutNS/1e6))
	s.withheld = nil // the livelock explains it
	s.deliver(v)
	s.alarms.end(s.cfg.Now()) // the guest runs again
	return nil
}

// judge passes the observation to the detector and reports its verdict. While a
// test for a livelock runs, it withholds the verdict.
func (s *Session) judge() {
	s.mu.Lock()
	v, hung := s.detector.Observe(&s.obs)
	over, recovered := s.detector.Recovered()
	s.mu.Unlock()
	if hung {
		s.withheld = &v
	}
	if s.withheld != nil && !s.livelock.testing() {
		s.deliver(*s.withheld)
		s.withheld = nil
	}
	if recovered {
		s.alarms.recovered(over)
	}
}

// deliver reports a verdict as of now: the guest may have run while it was observed.
func (s *Session) deliver(v detect.Verdict) {
	v.TimeNS = s.cfg.Now()
	s.alarms.raise(v)
}

// changeTrap suspends the trap or resumes it.
func (s *Session) changeTrap(c trapChange) error {
	t, ok := s.trap.(trap.Suspender)
	if !ok {
		return nil
	}
	var err error
	switch c {
	case suspendTrap:
		err = t.Suspend()
	case resumeTrap:
		err = t.Resume()
	}
	if err != nil {
		return fmt.Errorf("test whether the trap holds the guest up: %w", err)
	}
	return nil
}

// backOut removes the trap from a guest that has been held up since sinceNS, and
// continues by polling.
func (s *Session) backOut(why string, sinceNS int64) error {
	s.count.BackedOut = why
	s.livelock.off = true
	err := s.removeTrap()
	s.count.BackOutNS = s.cfg.Now() - sinceNS
	s.trap, s.polls = trap.Nothing{}, true
	if err == nil && s.cfg.Kernel == nil {
		err = errors.New("the guest's kernel cannot be read, so the monitor cannot poll instead")
	}
	if err != nil {
		return fmt.Errorf("remove the trap that held the guest up: %w", err)
	}
	return nil
}

// removeTrap removes the trap and answers the open events. The ring stays open.
func (s *Session) removeTrap() (err error) {
	if err := s.cfg.Driver.Pause(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.cfg.Driver.Unpause()) }()
	return errors.Join(s.trap.Disarm(), s.drain())
}
