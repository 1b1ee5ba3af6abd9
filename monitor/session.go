package monitor

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"

	"hangbench/monitor/detect"
)

// Trap is the place in the guest's kernel whose execution tells of a task
// switch.
type Trap struct {
	Symbol string // the function
	VA     uint64 // its virtual address
	GFN    uint64 // guest frame that holds it
}

// Symbols names addresses of the guest's kernel.
type Symbols interface {
	// Function returns the function that holds addr and addr's offset in it.
	Function(addr uint64) (name string, offset uint64, ok bool)
	// Data returns the name of the variable that starts at addr.
	Data(addr uint64) (name string, ok bool)
}

// Config is what a session needs.
type Config struct {
	Driver     Driver
	Mechanism  Mechanism
	Trap       Trap
	Symbols    Symbols
	Thresholds detect.Thresholds
	// Sample is the time between two observations, on average.
	Sample time.Duration
	// Passes is how often in a sampling period each vCPU may be stopped by the
	// trap; after that the trap stays open until the next period. It bounds the
	// price of the monitor: a detector needs to know that the vCPU switches, not
	// how often, and a guest that is stopped at every switch can livelock, because
	// its timers expire faster than it switches. 0 means DefaultPasses, a negative
	// number no limit.
	Passes int
	// Now is the clock: dom0's monotonic time in nanoseconds.
	Now func() int64
	// Record, if set, gets every observation. It must not keep it.
	Record func(*detect.Observation)
}

// DefaultPasses is Config.Passes where nothing else is asked for: one pass that
// is followed to its end, and one that opens the trap.
const DefaultPasses = 2

// Counters are what a session counted from attach to detach.
type Counters struct {
	Accesses uint64 // access events delivered
	Steps    uint64 // single-step events delivered
	RingFull uint64 // times the ring was seen without a free slot
	Switches uint64 // passes of the switch function
	Samples  uint64 // observations made
	Strange  uint64 // events that no trap of ours explains; answered, and nothing else
}

// Session is a monitor attached to a guest.
type Session struct {
	cfg  Config
	ring Ring
	mech mechanism
	trap Trap

	accesses, steps, strange, samples uint64
	switches                          []uint64 // by vCPU, like all below
	lastSwitches                      []uint64
	passes                            []int  // in this sampling period
	stepping                          []bool // as the hypervisor has it
	detector                          *detect.Detector
	obs                               detect.Observation

	dither    *rand.Rand               // of period; its seed is fixed, so that equal runs stay equal
	undecided atomic.Pointer[[]string] // of the last observation

	verdict chan detect.Verdict
	stop    chan struct{}
	done    chan struct{}
	err     error // why the loop ended early; valid once done is closed
	full    uint64
}

// Attach arms the mechanism and starts the event loop. The caller must Detach.
// On error the guest is as it was before, unless the error says that letting go
// of it failed as well.
func Attach(cfg Config) (*Session, error) {
	if !cfg.Mechanism.Watches() {
		return nil, fmt.Errorf("mechanism %q attaches nothing", cfg.Mechanism.Name)
	}
	n := cfg.Driver.VCPUs()
	s := &Session{
		cfg: cfg, trap: cfg.Trap,
		switches: make([]uint64, n), lastSwitches: make([]uint64, n),
		passes: make([]int, n), stepping: make([]bool, n),
		detector: detect.NewDetector(cfg.Thresholds),
		dither:   rand.New(rand.NewPCG(0, 0)),
		obs:      detect.Observation{VCPUs: make([]detect.VCPU, n)},
		verdict:  make(chan detect.Verdict, 1),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
	}
	if s.cfg.Passes == 0 {
		s.cfg.Passes = DefaultPasses
	}
	s.mech = cfg.Mechanism.new(s)
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
	// Letting go may have failed too, and then the guest is not as it was.
	return nil, fmt.Errorf("attach %s: %w", cfg.Mechanism.Name, errors.Join(err, s.err))
}

// Verdict delivers the first verdict of the session.
func (s *Session) Verdict() <-chan detect.Verdict { return s.verdict }

// Undecided says what the last observation made of each vCPU. It may be called
// at any time, from any goroutine.
func (s *Session) Undecided() []string {
	if notes := s.undecided.Load(); notes != nil {
		return *notes
	}
	return nil
}

// Done is closed when the loop has ended: after Detach, or early on an error
// that Detach returns.
func (s *Session) Done() <-chan struct{} { return s.done }

// Detach takes the trap back, lets go of the guest and returns what was
// counted. It may be called once.
func (s *Session) Detach() (Counters, error) {
	close(s.stop)
	<-s.done
	c := Counters{Accesses: s.accesses, Steps: s.steps, RingFull: s.full, Samples: s.samples, Strange: s.strange}
	for _, n := range s.switches {
		c.Switches += n
	}
	if s.err != nil {
		return c, fmt.Errorf("session with %s: %w", s.cfg.Mechanism.Name, s.err)
	}
	return c, nil
}

// run is the session's thread.
func (s *Session) run(ready chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(s.done)
	ring, err := s.cfg.Driver.Listen()
	if err != nil {
		ready <- err
		return
	}
	s.ring = ring
	// Whatever happens from here on, the guest is let go: also when a rule panics.
	defer func() {
		if p := recover(); p != nil {
			s.err = fmt.Errorf("monitor panicked: %v", p)
		}
		s.err = errors.Join(s.err, s.release())
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
			ring.Wake()
		case <-waker:
		}
	}()
	defer close(waker)
	s.err = s.loop()
}

// arm sets the trap while the guest is paused, so that no vCPU meets it half set.
func (s *Session) arm() error {
	if err := s.cfg.Driver.Pause(); err != nil {
		return err
	}
	err := s.mech.arm()
	if err == nil {
		err = s.mech.armed()
	}
	return errors.Join(err, s.cfg.Driver.Unpause())
}

// loop answers events and makes an observation every sampling period.
func (s *Session) loop() error {
	var (
		ev   Event
		resp Response
		next = s.cfg.Now()
	)
	for {
		select {
		case <-s.stop:
			return nil
		default:
		}
		now := s.cfg.Now()
		if now >= next {
			if err := s.sample(now); err != nil {
				return err
			}
			// A sample that came late does not make the next ones come faster.
			next = max(next+s.period(), s.cfg.Now())
			continue
		}
		if err := s.ring.Wait(time.Duration(next - now)); err != nil {
			return err
		}
		// At most one ring's worth before the clock is looked at again.
		answered := false
		for range 64 {
			ok, err := s.ring.Next(&ev)
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			resp = Response{}
			if ev.Kind == EventOther || ev.VCPU < 0 || ev.VCPU >= len(s.switches) || ev.Kind == EventAccess && ev.GFN != s.trap.GFN {
				s.strange++
				// A permission that we did not take, left by a monitor that died: the
				// vCPU would meet it again and again.
				if ev.Kind == EventAccess {
					if err := s.ring.SetAccess(ev.View, ev.GFN, AccessRWX); err != nil {
						return err
					}
				}
			} else {
				s.count(&ev)
				if err := s.mech.handle(&ev, &resp); err != nil {
					return err
				}
			}
			if err := s.ring.Respond(&resp); err != nil {
				return err
			}
			answered = true
		}
		if answered {
			if err := s.ring.Flush(); err != nil {
				return err
			}
		}
	}
}

// period returns the time to the next observation: Config.Sample, longer or
// shorter by up to an eighth. Sampling at a constant pace falls into step with
// the guest's timer tick, and then every sample shows the tick's handler.
func (s *Session) period() int64 {
	eighth := int64(s.cfg.Sample) / 8
	return int64(s.cfg.Sample) - eighth + s.dither.Int64N(2*eighth+1)
}

// sample makes one observation and hands it to the detector.
func (s *Session) sample(now int64) error {
	s.samples++
	s.obs.TimeNS = now
	for i := range s.obs.VCPUs {
		st, err := s.cfg.Driver.VCPU(i)
		if err != nil {
			return fmt.Errorf("observe vCPU %d: %w", i, err)
		}
		o := detect.VCPU{Online: st.Online, Blocked: st.Blocked, CPUTimeNS: st.CPUTimeNS, Signals: s.switches[i]}
		if st.Online && !st.Blocked && o.Signals == s.lastSwitches[i] {
			var r Registers
			if err := s.cfg.Driver.Registers(i, &r); err != nil {
				return fmt.Errorf("observe vCPU %d: %w", i, err)
			}
			o.Sampled, o.RIP, o.InterruptsOn = true, r.RIP, r.InterruptsOn()
			o.Symbol, o.Offset, _ = s.cfg.Symbols.Function(r.RIP)
			if detect.LockSlowPath(o.Symbol) {
				o.Lock = s.lockIn(&r)
			}
		}
		s.lastSwitches[i] = o.Signals
		s.obs.VCPUs[i] = o
	}
	clear(s.passes)
	if err := s.mech.rearm(); err != nil {
		return fmt.Errorf("set the trap again: %w", err)
	}
	if s.cfg.Record != nil {
		s.cfg.Record(&s.obs)
	}
	v, hung := s.detector.Observe(&s.obs)
	notes := s.detector.Undecided()
	s.undecided.Store(&notes)
	if hung {
		select {
		case s.verdict <- v:
		default: // only the first verdict counts
		}
	}
	return nil
}

// lockIn names the first register that points at a kernel variable: in a lock
// slow path that is the lock.
func (s *Session) lockIn(r *Registers) string {
	for i, v := range r.General {
		if name, ok := s.cfg.Symbols.Data(v); ok {
			return RegisterNames[i] + " = " + name
		}
	}
	return ""
}

// count counts an event. A pass of the switch function shows as an access or as
// a step, whichever reaches its first instruction.
func (s *Session) count(ev *Event) {
	if ev.RIP == s.trap.VA {
		s.switches[ev.VCPU]++
	}
	if ev.Kind == EventAccess {
		s.accesses++
	} else {
		s.steps++
	}
}

// pass takes note that the trap has stopped a vCPU, and reports whether it may
// do so again in this sampling period.
func (s *Session) pass(vcpu int) bool {
	s.passes[vcpu]++
	return s.cfg.Passes < 0 || s.passes[vcpu] < s.cfg.Passes
}

// step has the response turn single-stepping of the vCPU on or off. The
// hypervisor knows only a toggle, so the session keeps the state.
func (s *Session) step(vcpu int, on bool, r *Response) {
	r.ToggleStep = s.stepping[vcpu] != on
	s.stepping[vcpu] = on
}

func (s *Session) onPage(rip uint64) bool { return rip>>12 == s.trap.VA>>12 }

func (s *Session) checkAccess(v View, want Access) error {
	got, err := s.ring.Access(v, s.trap.GFN)
	if err != nil {
		return fmt.Errorf("check the trap: %w", err)
	}
	if got != want {
		return fmt.Errorf("check the trap: access of frame %#x in view %d is %d, not %d", s.trap.GFN, v, got, want)
	}
	return nil
}

func (s *Session) stopSteps() error {
	var errs []error
	for i := range s.switches {
		errs = append(errs, s.ring.StopStep(i))
	}
	return errors.Join(append(errs, s.ring.EnableStep(false))...)
}

// release answers what is open, takes the trap back and closes the ring. It
// goes on after errors: a guest half released is worse than an error reported.
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
	try("answer open events", s.drain())
	try("take the trap back", s.mech.disarm())
	try("answer open events", s.drain())
	s.full = s.ring.Full()
	try("close the ring", s.ring.Close())
	if perr == nil {
		try("unpause after detaching", s.cfg.Driver.Unpause())
	}
	return errors.Join(errs...)
}

// drain answers all open events so that the guest leaves step and view.
func (s *Session) drain() error {
	var ev Event
	answered := false
	for range 4 * max(len(s.switches), 16) {
		ok, err := s.ring.Next(&ev)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		var r Response
		if ev.Kind != EventOther && ev.VCPU >= 0 && ev.VCPU < len(s.switches) {
			s.count(&ev)
			s.mech.release(&ev, &r)
		}
		if err := s.ring.Respond(&r); err != nil {
			return err
		}
		answered = true
	}
	if answered {
		return s.ring.Flush()
	}
	return nil
}
