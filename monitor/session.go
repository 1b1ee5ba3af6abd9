package monitor

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"hangbench/monitor/detect"
	"hangbench/monitor/driver"
	"hangbench/monitor/trap"
)

// Counts are what a session counts for the record of a trial. The fields are those of
// results.Events, in the same order: package observe converts one into the other, and
// does not compile if they differ.
type Counts struct {
	Delivered uint64 // access, breakpoint and CR3 events delivered
	Steps     uint64 // single-step events delivered
	RingFull  uint64 // times the ring was seen without a free slot
	Signals   uint64 // task switches that the mechanism saw
	// Switches is the number of task switches that the guest's run queues counted, 0 if
	// they cannot be read: 1 - Signals/Switches is the share that the mechanism missed.
	Switches uint64
	Samples  uint64 // observations made
	// Inspections counts the observations that include an inspection of the kernel.
	Inspections uint64 `json:"Looks"`
	Strange     uint64 // events that no trap of the session explains; only answered
}

// Events is how many times a vCPU was stopped.
func (c *Counts) Events() uint64 { return c.Delivered + c.Steps + c.Strange }

// Counters are what a session counted from attach to detach.
type Counters struct {
	Counts
	// Accesses, Breakpoints and CR3 are the events of Delivered, by kind.
	Accesses    uint64
	Breakpoints uint64
	CR3         uint64 // writes of CR3
	// BackedOut says why the monitor removed its trap by itself and went on polling;
	// empty if it did not.
	BackedOut string
	// BackOutNS is the time in nanoseconds from when the guest was first seen to stand
	// still to when the trap was removed, of a monitor that backed out.
	BackOutNS int64
}

// add counts an event by its kind.
func (c *Counters) add(ev *driver.Event) {
	switch ev.Kind {
	case driver.EventAccess:
		c.Accesses++
	case driver.EventBreakpoint:
		c.Breakpoints++
	case driver.EventCR3:
		c.CR3++
	case driver.EventStep:
		c.Steps++
		return
	default:
		c.Strange++
		return
	}
	c.Delivered++
}

// Session is a monitor attached to a guest.
type Session struct {
	cfg     Config
	ring    driver.Ring // nil if the mechanism polls
	source  source
	trap    trap.Trap
	trapped []uint64 // frames that the trap restricts
	polls   bool     // the signal is the run queues' own count
	answers answer   // answer, made once

	count    Counters
	states   []driver.VCPUState
	vcpus    []vcpu
	regs     driver.Registers // reused
	budget   *budget
	alarms   *alarms
	livelock *livelock
	repeated bool            // the present event repeats the one before
	withheld *detect.Verdict // until it is known whether the monitor causes the hang

	mu             sync.Mutex // guards detector against Undecided
	detector       *detect.Detector
	obs            detect.Observation
	kernel         detect.Kernel
	nextInspection int64
	dying          bool // the last observation was of a guest that is being destroyed

	mishandle atomic.Bool // see Mishandle

	dither *rand.Rand    // of period; its seed is fixed, so that equal runs stay equal
	total  atomic.Uint64 // signals up to the last observation

	stop chan struct{}
	done chan struct{}
	err  error // why the loop ended early; valid once done is closed
}

// Attach arms the mechanism and starts the event loop. The caller must Detach.
// After an error the guest is as it was before, unless the error says that
// detaching failed as well.
func Attach(cfg Config) (*Session, error) {
	if !cfg.Mechanism.Watches() {
		return nil, fmt.Errorf("mechanism %q attaches nothing", cfg.Mechanism.Name)
	}
	s := newSession(cfg)
	ready := make(chan error)
	go s.run(ready)
	var err error
	select {
	case err = <-ready:
		if err == nil {
			return s, nil
		}
		<-s.done
	case <-s.done: // it panicked before it could say anything
	}
	// Detaching may have failed too, and then the guest is not as it was.
	return nil, fmt.Errorf("attach %s: %w", cfg.Mechanism.Name, errors.Join(err, s.err))
}

// newSession returns a session that is not attached yet.
func newSession(cfg Config) *Session {
	if cfg.Inspect == 0 {
		cfg.Inspect = DefaultInspect
	}
	n := cfg.Driver.VCPUs()
	s := &Session{
		cfg: cfg, polls: cfg.Mechanism.Polls, trapped: cfg.Mechanism.Trapped(&cfg.Site),
		vcpus: make([]vcpu, n), states: make([]driver.VCPUState, n),
		budget:   newBudget(n, cfg.Passes, cfg.Mechanism.MaxStops, cfg.Sample),
		alarms:   newAlarms(cfg.Report),
		livelock: newLivelock(n, cfg.Mechanism.View == trap.Altp2m),
		detector: detect.NewDetector(cfg.Thresholds),
		dither:   rand.New(rand.NewPCG(0, 0)),
		obs:      detect.Observation{VCPUs: make([]detect.VCPU, n)},
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
	}
	s.answers = s.answer
	s.trap = cfg.Mechanism.New(host{s})
	return s
}

// Verdict delivers the first verdict of the session.
func (s *Session) Verdict() <-chan detect.Verdict { return s.alarms.first }

// Alarms returns the alarms so far, in order. Any goroutine may call it at any
// time.
func (s *Session) Alarms() []Alarm { return s.alarms.all() }

// Undecided says what the last observation made of each vCPU. Any goroutine may
// call it at any time.
func (s *Session) Undecided() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.detector.Undecided()
}

// Signals is how many task switches the mechanism had seen at the last observation.
// Any goroutine may call it at any time.
func (s *Session) Signals() uint64 { return s.total.Load() }

// Done is closed when the loop has ended: after Detach, or early on an error
// that Detach returns.
func (s *Session) Done() <-chan struct{} { return s.done }

// ErrGone says that the guest is being destroyed, and that the session has
// released it.
var ErrGone = errors.New("the guest is being destroyed")

// Mishandle breaks the monitor on purpose, or repairs it. A broken monitor answers
// a vCPU at the trap without opening the trap, so that the vCPU stops there again,
// forever. It exists to prove that the check for livelocks notices; only a scenario
// calls it. It returns an error if the mechanism has no trap of that kind. Any
// goroutine may call it at any time.
func (s *Session) Mishandle(on bool) error {
	if on && !s.cfg.Mechanism.Opens {
		return fmt.Errorf("mechanism %s has no trap that an answer must open", s.cfg.Mechanism.Name)
	}
	s.mishandle.Store(on)
	return nil
}

// Detach removes the trap, releases the guest and returns what was counted. It may
// be called once. The error wraps ErrGone if the guest was being destroyed before
// that.
func (s *Session) Detach() (Counters, error) {
	close(s.stop)
	<-s.done
	if s.err != nil {
		return s.count, fmt.Errorf("session with %s: %w", s.cfg.Mechanism.Name, s.err)
	}
	return s.count, nil
}

// run is the session's goroutine.
func (s *Session) run(ready chan<- error) {
	defer close(s.done)
	if err := s.open(); err != nil {
		ready <- err
		return
	}
	// Whatever happens from here on, the guest is released: also when a rule panics.
	defer func() {
		if p := recover(); p != nil {
			s.err = fmt.Errorf("monitor panicked: %v", p)
		}
		// A guest that is being destroyed needs no trap removed, and most calls on it fail.
		if err := s.release(); err != nil && !errors.Is(s.err, ErrGone) {
			if s.gone() {
				err = ErrGone
			}
			s.err = errors.Join(s.err, err)
		}
	}()
	if err := s.arm(); err != nil {
		ready <- err
		return
	}
	ready <- nil
	waker := make(chan struct{})
	go func() {
		select {
		case <-s.stop:
			s.source.Wake()
		case <-waker:
		}
	}()
	defer close(waker)
	s.err = s.loop()
	if s.err != nil && !s.dying && s.gone() {
		// The call failed because the guest is being destroyed. A last observation says how
		// the guest ended.
		_ = s.sample(s.cfg.Now())
		s.err = ErrGone
	}
}

// gone reports whether the guest is being destroyed.
func (s *Session) gone() bool {
	dom, _ := s.cfg.Driver.State(nil)
	return dom.Dying
}

// open opens the source of events.
func (s *Session) open() error {
	if s.polls {
		s.source = &timer{}
		return nil
	}
	ring, err := s.cfg.Driver.Listen()
	if err != nil {
		return err
	}
	s.ring, s.source = ring, newSource(ring, len(s.vcpus))
	if s.source == nil {
		return errors.Join(fmt.Errorf("driver %s: its ring delivers no events", s.cfg.Driver.Name()), ring.Close())
	}
	return nil
}

// arm sets the trap while the guest is paused, so that no vCPU reaches it half set.
func (s *Session) arm() (err error) {
	if err := s.cfg.Driver.Pause(); err != nil {
		return err
	}
	// Deferred, so that a panic does not leave the guest paused either.
	defer func() { err = errors.Join(err, s.cfg.Driver.Unpause()) }()
	if s.polls && s.cfg.Kernel == nil {
		return errors.New("the guest's kernel cannot be read, so there is nothing to poll")
	}
	changes, err := s.trap.Plan()
	if err != nil {
		return err
	}
	if s.cfg.Journal != nil {
		changes.Mechanism = s.cfg.Mechanism.Name
		if err := s.cfg.Journal.Write(changes); err != nil {
			return fmt.Errorf("journal the changes: %w", err)
		}
	}
	if err := s.trap.Arm(); err != nil {
		return err
	}
	if err := s.trap.Check(); err != nil {
		return err
	}
	first := make([]uint64, len(s.vcpus))
	s.readSwitches(first)
	for i, n := range first {
		s.vcpus[i].firstSwitches = n
	}
	return nil
}

// readSwitches reads the run queues' counts of switches and reports whether it
// could read all of them.
func (s *Session) readSwitches(into []uint64) bool {
	if s.cfg.Kernel == nil {
		return false
	}
	for i := range into {
		if !s.cfg.Kernel.RunQueue(i, &s.vcpus[i].queue) {
			return false
		}
		into[i] = s.vcpus[i].queue.Switches
	}
	return true
}

// rounds is how often the loop serves events at most before it reads the clock
// again: on a PV dom0 that is a system call.
const rounds = 8

// loop answers events and makes an observation every sampling period.
func (s *Session) loop() error {
	var (
		now   = s.cfg.Now()
		next  = now
		round int
	)
	s.nextInspection = now
	for {
		select {
		case <-s.stop:
			return nil
		default:
		}
		if now >= next {
			err := s.sample(now)
			if s.dying {
				return ErrGone // the last observation is made, as far as possible
			}
			if err != nil {
				return err
			}
			// A sample that came late does not make the next ones come faster.
			now = s.cfg.Now()
			next = max(next+s.period(), now)
			// Not with every event, though the runtime would prefer that: it moves the
			// goroutine to another thread meanwhile.
			runtime.Gosched()
			continue
		}
		events, err := s.source.serve(time.Duration(next-now), s.answers)
		if err != nil {
			return err
		}
		if round++; events == 0 || round == rounds {
			now, round = s.cfg.Now(), 0
		}
	}
}

// answer decides on the response to an event.
func (s *Session) answer(ev *driver.Event, r *driver.Response) error {
	if ev.VCPU < 0 || ev.VCPU >= len(s.vcpus) {
		s.count.Strange++
		return nil
	}
	if ev.Kind == driver.EventAccess && !slices.Contains(s.trapped, ev.GFN) {
		// A restriction that is not the trap's: a monitor that died left it. The vCPU
		// would stop there again and again.
		s.count.Strange++
		return s.ring.SetAccess(ev.View, ev.GFN, driver.AccessRWX)
	}
	s.count.add(ev)
	s.repeated = s.livelock.event(ev, s.cfg.Now)
	if s.livelock.testing() {
		// The trap is suspended, and no answer may set it again.
		s.trap.Release(ev, r)
		return nil
	}
	if s.mishandle.Load() && s.atTrap(ev) {
		return nil
	}
	return s.trap.Handle(ev, r)
}

// atTrap reports whether the vCPU stands at the trap and cannot continue before the
// trap is opened.
func (s *Session) atTrap(ev *driver.Event) bool {
	return ev.Kind == driver.EventAccess || ev.Kind == driver.EventBreakpoint && s.cfg.Site.At(ev)
}

// release answers the open events, removes the trap and closes the ring. It
// continues after errors: a guest half released is worse than an error reported.
func (s *Session) release() error {
	var errs []error
	try := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	perr := s.cfg.Driver.Pause()
	try("pause to detach", perr)
	// With the guest paused no new event can come; each vCPU has at most one open.
	// The trap goes first: a vCPU that stands at a breakpoint must find the original
	// byte.
	try("remove the trap", s.trap.Disarm())
	try("answer open events", s.drain())
	s.countSignals()
	s.count.RingFull = s.source.Full()
	try("close the ring", s.source.Close())
	if len(errs) == 0 && s.cfg.Journal != nil && !errors.Is(s.err, ErrGone) { // the guest takes its journal along
		try("close the journal", s.cfg.Journal.Clear())
	}
	if perr == nil {
		try("unpause after detaching", s.cfg.Driver.Unpause())
	}
	return errors.Join(errs...)
}

// countSignals counts the signals and the guest's switches. The guest is paused.
func (s *Session) countSignals() {
	now := make([]uint64, len(s.vcpus))
	if s.readSwitches(now) {
		for i, n := range now {
			s.count.Switches += n - s.vcpus[i].firstSwitches
		}
	}
	if s.polls && s.count.BackedOut == "" {
		s.count.Signals = s.count.Switches
		return
	}
	for i := range s.vcpus {
		s.count.Signals += s.vcpus[i].signals
	}
}

// drain answers the open events so that each vCPU leaves its step and the trap's
// view.
func (s *Session) drain() error {
	return s.source.drain(func(ev *driver.Event, r *driver.Response) error {
		if ev.Kind != driver.EventOther && ev.VCPU >= 0 && ev.VCPU < len(s.vcpus) {
			s.count.add(ev)
			s.trap.Release(ev, r)
		}
		return nil
	})
}
