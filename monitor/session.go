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

// Symbols names addresses of the guest's kernel.
type Symbols interface {
	// Function returns the function that holds addr and addr's offset in it.
	Function(addr uint64) (name string, offset uint64, ok bool)
	// Data returns the name of the variable that starts at addr.
	Data(addr uint64) (name string, ok bool)
}

// Config is what a session needs.
type Config struct {
	Driver    driver.Driver
	Mechanism trap.Mechanism
	// Site is where the guest's kernel can be trapped.
	Site    trap.Site
	Symbols Symbols
	// Kernel reads the guest's kernel; nil if nothing can.
	Kernel Kernel
	// Journal, if set, is told of every change in the guest before it is made.
	Journal    Journal
	Thresholds detect.Thresholds
	// Sample is the time between two observations, on average.
	Sample time.Duration
	// Look is the time between two looks at the guest's task list; 0 means
	// DefaultLook.
	Look time.Duration
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
	// Report, if set, is told every verdict and every end of a hang. It runs on the
	// session's thread and must not wait.
	Report func(News)
}

// News is something that a monitor has to say: exactly one of its fields is set.
type News struct {
	Verdict   *detect.Verdict
	Recovered *detect.Recovery
}

// Alarm is a time during which a session held the guest for hung, on the
// session's clock.
type Alarm struct {
	Class   detect.Class // of the verdict that raised it
	StartNS int64        // when that was given
	EndNS   int64        // when it was certain that the hang is over; 0 if it never was
}

// MaxAlarms bounds the alarms that a session remembers: the first ones.
const MaxAlarms = 256

// DefaultPasses is Config.Passes where nothing else is asked for: one pass that
// is followed to its end, and one that opens the trap.
const DefaultPasses = 2

// DefaultLook is Config.Look where nothing else is asked for.
const DefaultLook = 500 * time.Millisecond

// Counters are what a session counted from attach to detach.
type Counters struct {
	Accesses    uint64 // access events delivered
	Steps       uint64 // single-step events delivered
	Breakpoints uint64 // breakpoint events delivered
	CR3         uint64 // writes of CR3 delivered
	RingFull    uint64 // times the ring was seen without a free slot
	Signals     uint64 // signs of life that the mechanism saw
	// Switches is what the guest's own run queues counted meanwhile, 0 if that
	// cannot be read: 1 - Signals/Switches is the share that the mechanism missed.
	Switches uint64
	Samples  uint64 // observations made
	Looks    uint64 // of these, with a look at the task list
	Strange  uint64 // events that no trap of ours explains; answered, and nothing else
	// BackedOut says why the monitor let go of the guest by itself and went on
	// polling; empty if it did not.
	BackedOut string
	// BackOutNS is the time from when the guest was first seen to stand still to
	// when it was let go, of a monitor that backed out.
	BackOutNS int64
}

// Events is how many times a vCPU was stopped.
func (c *Counters) Events() uint64 {
	return c.Accesses + c.Steps + c.Breakpoints + c.CR3 + c.Strange
}

// Session is a monitor attached to a guest.
type Session struct {
	cfg  Config
	ring driver.Ring
	mech trap.Trap
	// trapped are the frames that the mechanism restricts.
	trapped []uint64
	// polls: the signal is the run queues' own count.
	polls bool

	event       driver.Event // of a pulled ring, reused, with its response
	response    driver.Response
	answers     func(*driver.Event, *driver.Response) error // answer, made once
	count       Counters
	signals     []uint64 // by vCPU, like all below
	lastSignals []uint64
	spent       []int     // passes in this sampling period
	passes      []onePass // the last ones
	maxPass     int       // bound of what a pass may grow to, in stops
	heard       []bool    // whether there was a signal in this sampling period, or none is to be expected
	queues      []detect.RunQueue
	firstSwitch []uint64 // the run queues' counts when the trap was set
	lastSwitch  []uint64 // and in the last sample
	states      []driver.VCPUState

	mu       sync.Mutex // guards detector against Undecided, and alarms
	detector *detect.Detector
	alarms   []Alarm
	alarmed  bool // there is an alarm that has not ended
	suspect  bool // during it the monitor seemed to hold the guest up, once
	obs      detect.Observation
	look     detect.Kernel
	nextLook int64
	dying    bool // the last observation was of a guest that is being destroyed
	watchdog watchdog
	echo     bool            // the event in hand shows the same stop as the one before
	withheld *detect.Verdict // until it is known whether the monitor itself is at fault

	mishandle atomic.Bool // see Mishandle

	dither *rand.Rand    // of period; its seed is fixed, so that equal runs stay equal
	total  atomic.Uint64 // signals up to the last observation

	verdict chan detect.Verdict
	stop    chan struct{}
	done    chan struct{}
	err     error // why the loop ended early; valid once done is closed
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
		cfg: cfg, polls: cfg.Mechanism.Polls, trapped: cfg.Mechanism.Trapped(&cfg.Site),
		signals: make([]uint64, n), lastSignals: make([]uint64, n),
		spent: make([]int, n), passes: make([]onePass, n), heard: make([]bool, n),
		queues: make([]detect.RunQueue, n), firstSwitch: make([]uint64, n), lastSwitch: make([]uint64, n), states: make([]driver.VCPUState, n),
		watchdog: newWatchdog(n),
		detector: detect.NewDetector(cfg.Thresholds),
		dither:   rand.New(rand.NewPCG(0, 0)),
		obs:      detect.Observation{VCPUs: make([]detect.VCPU, n)},
		verdict:  make(chan detect.Verdict, 1),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
		maxPass:  cfg.Mechanism.MaxStops,
	}
	for i := range s.passes {
		s.passes[i].limit = trap.LongPass
	}
	if s.maxPass == 0 {
		s.maxPass = trap.DefaultMaxStops
	}
	if s.cfg.Passes == 0 {
		s.cfg.Passes = DefaultPasses
	}
	if s.cfg.Look == 0 {
		s.cfg.Look = DefaultLook
	}
	s.answers = s.answer
	s.mech = cfg.Mechanism.New(host{s})
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

// Alarms returns the alarms so far, in order. It may be called at any time, from
// any goroutine.
func (s *Session) Alarms() []Alarm {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.alarms)
}

// Undecided says what the last observation made of each vCPU. It may be called
// at any time, from any goroutine.
func (s *Session) Undecided() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.detector.Undecided()
}

// Signals is how many signs of life the mechanism had seen at the last
// observation. It may be called at any time, from any goroutine.
func (s *Session) Signals() uint64 { return s.total.Load() }

// Done is closed when the loop has ended: after Detach, or early on an error
// that Detach returns.
func (s *Session) Done() <-chan struct{} { return s.done }

// ErrGone says that the guest is being destroyed, and that the session has let go
// of it.
var ErrGone = errors.New("the guest is being destroyed")

// Detach takes the trap back, lets go of the guest and returns what was
// counted. It may be called once. The error wraps ErrGone if the guest was being
// destroyed before that.
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
	if s.polls {
		s.ring = &noRing{}
	} else {
		ring, err := s.cfg.Driver.Listen()
		if err != nil {
			ready <- err
			return
		}
		s.ring = ring
		_, pulls := ring.(driver.Puller)
		if _, serves := ring.(driver.Server); !pulls && !serves {
			ready <- errors.Join(fmt.Errorf("driver %s: no events can be had of its ring", s.cfg.Driver.Name()), ring.Close())
			return
		}
	}
	// Whatever happens from here on, the guest is let go: also when a rule panics.
	defer func() {
		if p := recover(); p != nil {
			s.err = fmt.Errorf("monitor panicked: %v", p)
		}
		// What is being destroyed needs no trap taken back, and refuses much of that.
		if err := s.release(); !errors.Is(s.err, ErrGone) {
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
			s.ring.Wake()
		case <-waker:
		}
	}()
	defer close(waker)
	s.err = s.loop()
}

// arm sets the trap while the guest is paused, so that no vCPU meets it half set.
func (s *Session) arm() (err error) {
	if err := s.cfg.Driver.Pause(); err != nil {
		return err
	}
	// Deferred, so that a panic does not leave the guest paused either.
	defer func() { err = errors.Join(err, s.cfg.Driver.Unpause()) }()
	changes, err := s.mech.Plan()
	if s.polls && s.cfg.Kernel == nil {
		err = errors.New("the guest's kernel cannot be read, and there is nothing else to poll")
	}
	if err == nil && s.cfg.Journal != nil {
		changes.Mechanism = s.cfg.Mechanism.Name
		if err = s.cfg.Journal.Write(changes); err != nil {
			err = fmt.Errorf("write down what is going to be changed: %w", err)
		}
	}
	if err == nil {
		err = s.mech.Arm()
	}
	if err == nil {
		err = s.mech.Check()
	}
	s.readSwitches(s.firstSwitch)
	return err
}

// readSwitches reads what the run queues have counted, and says whether it could.
func (s *Session) readSwitches(into []uint64) bool {
	if s.cfg.Kernel == nil {
		return false
	}
	for i := range into {
		if !s.cfg.Kernel.RunQueue(i, &s.queues[i]) {
			return false
		}
		into[i] = s.queues[i].Switches
	}
	return true
}

const (
	// batch is how many events are answered at most before the answers are sent:
	// as many as a ring holds.
	batch = 8
	// rounds is how often answers are sent at most before the clock is looked at
	// again: on a PV dom0 that is a system call.
	rounds = 8
)

// loop answers events and makes an observation every sampling period.
func (s *Session) loop() error {
	var (
		now   = s.cfg.Now()
		next  = now
		round int
	)
	s.nextLook = now
	for {
		select {
		case <-s.stop:
			return nil
		default:
		}
		if now >= next {
			err := s.sample(now)
			if s.dying {
				return ErrGone // the last observation is made, as far as it could be
			}
			if err != nil {
				return err
			}
			// A sample that came late does not make the next ones come faster.
			now = s.cfg.Now()
			next = max(next+s.period(), now)
			// Not with every event, though the runtime would like it: it hands the
			// goroutine to another thread meanwhile.
			runtime.Gosched()
			continue
		}
		events, err := s.serve(time.Duration(next-now), s.answers)
		if err != nil {
			return err
		}
		if round++; events == 0 || round == rounds {
			now, round = s.cfg.Now(), 0
		}
	}
}

// serve waits for events for up to d and has answer decide on their responses. It
// returns how many there were. A pulled ring sends the answers with its next Wait.
func (s *Session) serve(d time.Duration, answer func(*driver.Event, *driver.Response) error) (int, error) {
	if r, ok := s.ring.(driver.Server); ok {
		return r.Serve(d, answer)
	}
	r := s.ring.(driver.Puller)
	if err := r.Wait(d); err != nil {
		return 0, err
	}
	return s.pull(r, batch, answer)
}

// pull answers up to n events that are there.
func (s *Session) pull(r driver.Puller, n int, answer func(*driver.Event, *driver.Response) error) (int, error) {
	for i := range n {
		ok, err := r.Next(&s.event)
		if err != nil || !ok {
			return i, err
		}
		s.response = driver.Response{}
		if err := answer(&s.event, &s.response); err != nil {
			return i, err
		}
		if err := r.Respond(&s.response); err != nil {
			return i, err
		}
	}
	return n, nil
}

// answer decides on the response to an event.
func (s *Session) answer(ev *driver.Event, r *driver.Response) error {
	if ev.VCPU < 0 || ev.VCPU >= len(s.signals) {
		s.count.Strange++
		return nil
	}
	if ev.Kind == driver.EventAccess && !slices.Contains(s.trapped, ev.GFN) {
		// A permission that we did not take, left by a monitor that died: the vCPU
		// would meet it again and again.
		s.count.Strange++
		return s.ring.SetAccess(ev.View, ev.GFN, driver.AccessRWX)
	}
	s.counted(ev)
	s.echo = s.watchdog.event(ev, s.cfg.Now)
	if s.watchdog.probing() {
		// The trap is lifted, and no answer may set it again.
		s.mech.Release(ev, r)
		return nil
	}
	if s.mishandle.Load() && s.stopped(ev) {
		return nil
	}
	return s.mech.Handle(ev, r)
}

// Mishandle breaks the monitor on purpose, or mends it: it answers whoever meets
// the trap without lifting the trap, so that the vCPU meets it again, for ever.
// It is there to prove that the watchdog sees that, and nothing but a scenario
// calls it. The error says that the mechanism has no trap of that kind. It may be
// called at any time, from any goroutine.
func (s *Session) Mishandle(on bool) error {
	if on && !s.cfg.Mechanism.Lifts {
		return fmt.Errorf("mechanism %s stops nobody who cannot go on by himself", s.cfg.Mechanism.Name)
	}
	s.mishandle.Store(on)
	return nil
}

// stopped reports whether the vCPU stands at the trap and cannot go on before it
// is lifted.
func (s *Session) stopped(ev *driver.Event) bool {
	return ev.Kind == driver.EventAccess || ev.Kind == driver.EventBreakpoint && s.cfg.Site.At(ev)
}

// counted counts an event by its kind.
func (s *Session) counted(ev *driver.Event) {
	switch ev.Kind {
	case driver.EventAccess:
		s.count.Accesses++
	case driver.EventStep:
		s.count.Steps++
	case driver.EventBreakpoint:
		s.count.Breakpoints++
	case driver.EventCR3:
		s.count.CR3++
	default:
		s.count.Strange++
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
	s.count.Samples++
	s.obs.TimeNS = now
	dom, err := s.cfg.Driver.State(s.states)
	s.dying = dom.Dying
	if err != nil {
		return fmt.Errorf("observe the guest: %w", err)
	}
	if dom.Shutdown != s.obs.Domain.Shutdown {
		s.nextLook = now // why it ended itself stands in its memory
	}
	s.obs.Domain = detect.Domain{Paused: dom.Paused, Shutdown: dom.Shutdown}
	for i := range s.obs.VCPUs {
		if err := s.sampleVCPU(i, now, !dom.Paused && dom.Shutdown == ""); err != nil {
			return fmt.Errorf("observe vCPU %d: %w", i, err)
		}
	}
	s.obs.Kernel = nil
	if s.cfg.Kernel != nil && now >= s.nextLook {
		s.cfg.Kernel.Look(&s.look)
		s.obs.Kernel = &s.look
		s.count.Looks++
		s.nextLook = now + int64(s.cfg.Look)
	}
	var total uint64
	for _, n := range s.signals {
		total += n
	}
	s.total.Store(total)
	if v, since, stuck := s.watchdog.livelock(); stuck && !s.convicted() {
		if err := s.probe(false); err != nil {
			return err
		}
	} else if stuck {
		if err := s.backOut(v.Evidence[0], since); err != nil {
			return err
		}
		v.Evidence = append(v.Evidence, fmt.Sprintf("the monitor let go of the guest %d ms after that set in, and polls", s.count.BackOutNS/1e6))
		s.withheld = nil // whatever it looked like
		s.deliver(v)
		s.allClear(s.cfg.Now()) // it was let go
	}
	clear(s.spent)
	if err := s.mech.Rearm(); err != nil {
		return fmt.Errorf("set the trap again: %w", err)
	}
	if s.cfg.Record != nil {
		s.cfg.Record(&s.obs)
	}
	s.mu.Lock()
	v, hung := s.detector.Observe(&s.obs)
	over, recovered := s.detector.Recovered()
	s.mu.Unlock()
	if hung {
		s.withheld = &v
	}
	if s.withheld != nil && !s.watchdog.probing() {
		s.deliver(*s.withheld)
		s.withheld = nil
	}
	if recovered {
		s.allClear(over.TimeNS)
		if s.cfg.Report != nil {
			s.cfg.Report(News{Recovered: &over})
		}
	}
	return nil
}

// convicted reports whether a livelock that the watchdog has just proven is the
// monitor's doing. While an alarm lasts one proof is not enough: the guest hangs of
// its own, and what ends that hang, as it does in every trial, makes the registers
// move on just as leaving the view does. A view that holds it up does so again at once.
func (s *Session) convicted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	again := s.suspect
	s.suspect = s.alarmed
	return !s.alarmed || again
}

// deliver passes a verdict on, as of now: the guest may have run while it was
// observed. Only the first goes to Verdict. One of another class while an alarm
// lasts is no other alarm.
func (s *Session) deliver(v detect.Verdict) {
	v.TimeNS = s.cfg.Now()
	select {
	case s.verdict <- v:
	default:
	}
	s.mu.Lock()
	if !s.alarmed && len(s.alarms) < MaxAlarms {
		s.alarmed, s.suspect = true, false
		s.alarms = append(s.alarms, Alarm{Class: v.Class, StartNS: v.TimeNS})
	}
	s.mu.Unlock()
	if s.cfg.Report != nil {
		s.cfg.Report(News{Verdict: &v})
	}
}

// allClear ends the alarm, if there is one.
func (s *Session) allClear(now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.alarmed {
		s.alarmed = false
		a := &s.alarms[len(s.alarms)-1]
		a.EndNS = max(now, a.StartNS)
	}
}

func (s *Session) sampleVCPU(i int, now int64, live bool) error {
	st := s.states[i]
	o := &s.obs.VCPUs[i]
	*o = detect.VCPU{Online: st.Online, Blocked: st.Blocked, Running: st.Running, CPUTimeNS: st.CPUTimeNS, Callers: o.Callers[:0]}
	if s.cfg.Kernel != nil && s.cfg.Kernel.RunQueue(i, &s.queues[i]) {
		o.Queue = &s.queues[i]
		if s.polls {
			s.signals[i] = o.Queue.Switches - s.firstSwitch[i]
		}
	}
	o.Signals = s.signals[i]
	s.heard[i] = !s.mayBeHeard(i, &st, o.Queue)
	// A vCPU that waits for a paravirtual spinlock halts: in a task's context, or in
	// an interrupt of the idle task, and then its timer becomes overdue.
	idle := st.Blocked && (o.Queue == nil || o.Queue.PID == 0) && !s.detector.Doubts(i)
	if live && st.Online && !idle && o.Signals == s.lastSignals[i] {
		var r driver.Registers
		if err := s.cfg.Driver.Registers(i, &r); err != nil {
			return err
		}
		o.Sampled, o.UserMode, o.RIP, o.InterruptsOn = true, r.UserMode, r.RIP, r.InterruptsOn()
		if !r.UserMode {
			o.Symbol, o.Offset, _ = s.cfg.Symbols.Function(r.RIP)
			if s.cfg.Kernel != nil {
				o.Callers = s.cfg.Kernel.Callers(o.Callers, r.RSP)
			}
			if detect.WaitsForLock(o) {
				o.Lock = s.lockIn(&r)
			}
		}
		if err := s.watchdog.sample(s, i, now, st.CPUTimeNS, &r); err != nil {
			return err
		}
	} else if live && st.Online && !st.Blocked && s.watchdog.echoing(i) {
		// It gave a signal, and then the same stop over and over.
		var r driver.Registers
		if err := s.cfg.Driver.Registers(i, &r); err != nil {
			return err
		}
		if err := s.watchdog.sample(s, i, now, st.CPUTimeNS, &r); err != nil {
			return err
		}
	} else if live && st.Online {
		s.watchdog.alive(i)
	} else if err := s.watchdog.gone(s, i); err != nil {
		return err
	}
	s.lastSignals[i] = o.Signals
	return nil
}

// mayBeHeard reports whether a vCPU may give a signal in the sampling period that
// begins. One that runs and did not switch in the last period hangs, or is busy
// with one task: to wait for it would keep a trap in common shut, and hold up the
// others at every switch for as long as it hangs. The run queue tells when it
// switches again, and then it is waited for again.
func (s *Session) mayBeHeard(i int, st *driver.VCPUState, queue *detect.RunQueue) bool {
	still := false
	if queue != nil {
		still = queue.Switches == s.lastSwitch[i]
		s.lastSwitch[i] = queue.Switches
	}
	return st.Online && !st.Blocked && !still
}

// lockIn names the first register that points at a kernel variable: in a lock
// slow path, and in what that calls, that is the lock.
func (s *Session) lockIn(r *driver.Registers) string {
	for i, v := range r.General {
		if name, ok := s.cfg.Symbols.Data(v); ok {
			return driver.RegisterName(i) + " = " + name
		}
	}
	return ""
}

// signal counts a sign of life of a vCPU. An echo is none.
func (s *Session) signal(vcpu int) {
	if s.echo {
		return
	}
	s.signals[vcpu]++
	s.heard[vcpu] = true
}

// spend takes note that the trap has stopped a vCPU, and reports whether it may
// do so again in this sampling period. start says that the stop begins a pass,
// of whatever function; others belong to the pass before, unless they become too many: then that was all
// for this period. The next time twice as many may come, up to maxPass, until a
// pass begins: or a vCPU that always does something long before it gets to that
// would never be seen to.
func (s *Session) spend(vcpu int, start bool) bool {
	p := &s.passes[vcpu]
	p.stops++
	switch {
	case start:
		p.stops, p.limit = 0, trap.LongPass
		s.spent[vcpu]++
	case p.stops >= p.limit:
		p.stops, p.limit = 0, min(2*p.limit, s.maxPass)
		s.spent[vcpu] = max(s.spent[vcpu], s.cfg.Passes)
	}
	return s.cfg.Passes < 0 || s.spent[vcpu] < s.cfg.Passes
}

// onePass is the pass that a vCPU is in.
type onePass struct {
	stops int // since it began
	limit int // stops of it at most
}

// heardAll reports whether a trap that all vCPUs have in common may be opened
// for the rest of the sampling period: each vCPU has given a signal, or none is
// to be expected of it, or one of them has used up so much that the others must wait. A
// lone vCPU keeps none from being heard, and has as many passes as in a view of
// its own: more would cost a guest dearly whose every system call enters the page.
func (s *Session) heardAll() bool {
	if len(s.heard) == 1 {
		return true
	}
	most, all := 0, true
	for i, ok := range s.heard {
		all = all && ok
		most = max(most, s.spent[i])
	}
	return all || most >= 4*s.cfg.Passes
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
	// The trap goes first: a vCPU held at a breakpoint must find the original byte.
	try("take the trap back", s.mech.Disarm())
	try("answer open events", s.drain())
	now := make([]uint64, len(s.signals))
	if s.readSwitches(now) {
		for i, n := range now {
			s.count.Switches += n - s.firstSwitch[i]
		}
	}
	if s.polls && s.count.BackedOut == "" {
		s.count.Signals = s.count.Switches
	} else {
		for _, n := range s.signals {
			s.count.Signals += n
		}
	}
	s.count.RingFull = s.ring.Full()
	try("close the ring", s.ring.Close())
	if len(errs) == 0 && s.cfg.Journal != nil && !errors.Is(s.err, ErrGone) { // which takes the journal along
		try("close the journal", s.cfg.Journal.Clear())
	}
	if perr == nil {
		try("unpause after detaching", s.cfg.Driver.Unpause())
	}
	return errors.Join(errs...)
}

// drain answers all open events so that the guest leaves step and view.
func (s *Session) drain() error {
	answer := func(ev *driver.Event, r *driver.Response) error {
		if ev.Kind != driver.EventOther && ev.VCPU >= 0 && ev.VCPU < len(s.signals) {
			s.counted(ev)
			s.mech.Release(ev, r)
		}
		return nil
	}
	if r, ok := s.ring.(driver.Server); ok {
		_, err := r.Serve(0, answer)
		return err
	}
	r := s.ring.(driver.Puller)
	n, err := s.pull(r, 4*max(len(s.signals), 16), answer)
	if err != nil || n == 0 {
		return err
	}
	return r.Flush()
}

// Journal keeps what a session changes in a guest where it outlives the
// session's process and dies with the guest. A monitor that is killed cannot
// clean up; whoever recovers the guest reads there what there is to undo.
type Journal interface {
	// Write replaces what the journal says. It returns when the text is stored:
	// a change is written down before it is made.
	Write(trap.Changes) error
	// Clear forgets everything: there is nothing left to undo.
	Clear() error
}

// Kernel reads the guest's kernel. monitor/linux has one for Linux. What it
// cannot read it leaves out and says so; it never fails as a whole.
type Kernel interface {
	// RunQueue fills q with the run queue of a CPU; false if it cannot be read.
	RunQueue(cpu int, q *detect.RunQueue) bool
	// Look fills k anew. It walks the task list and is bounded in time, whatever
	// the guest's memory holds.
	Look(k *detect.Kernel)
	// Callers appends to names the functions whose return addresses stand on the
	// stack at rsp, innermost first.
	Callers(names []string, rsp uint64) []string
}

// host is a session as its trap sees it. It implements trap.Host.
type host struct{ s *Session }

func (h host) Ring() driver.Controls            { return h.s.ring }
func (h host) Memory() driver.Memory            { return h.s.cfg.Driver }
func (h host) Site() *trap.Site                 { return &h.s.cfg.Site }
func (h host) VCPUs() int                       { return len(h.s.signals) }
func (h host) Signal(vcpu int)                  { h.s.signal(vcpu) }
func (h host) Charge(vcpu int, start bool) bool { return h.s.spend(vcpu, start) }
func (h host) MayOpen() bool                    { return h.s.heardAll() }

func (h host) Function(addr uint64) (string, uint64, bool) { return h.s.cfg.Symbols.Function(addr) }

func (h host) Online(vcpu int) bool {
	_, err := h.s.cfg.Driver.State(h.s.states)
	return err != nil || h.s.states[vcpu].Online
}
