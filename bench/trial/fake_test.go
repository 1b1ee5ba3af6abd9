package trial_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
	"unsafe"

	"hangbench/bench/observe"
	"hangbench/bench/plan"
	"hangbench/bench/trial"
	"hangbench/guests/beat"
	"hangbench/monitor"
	"hangbench/monitor/detect"
	"hangbench/monitor/trap"
	"hangbench/results"
	"hangbench/scenarios/inject"
	places "hangbench/scenarios/outcome"
)

const (
	lockVA = 0xffffffff82005000
	lockPA = 0x5000
	// workPeriod is how long the fake guest takes for one unit of work.
	workPeriod = 10 * time.Millisecond
	never      = time.Duration(1<<62 - 1)
)

// world is a guest with its hypervisor and its monitor. Its clock moves only while the
// trial sleeps. All times below are of that clock.
type world struct {
	t     *testing.T
	now   int64
	mem   []byte
	page  *beat.Page
	lock  byte
	calls []string // what was done to the guest, in order

	nextBeat, nextWork int64

	// How the guest is to behave.
	deaf       bool          // does not start workloads
	lazy       bool          // starts workloads and does no work
	immune     bool          // does not hang although the lock is held
	still      bool          // its heartbeat stands still
	linger     time.Duration // how long it goes on after the fault
	fatal      bool          // does not recover from the fault
	dieOnLeave bool          // hangs when the monitor is detached
	slow       float64       // factor of the period of heartbeats while watched
	slowWork   float64       // factor of the period of work while watched

	cpus      int
	spared    []int         // vCPUs that the fault does not stop
	idleHands bool          // the fault stops work and not the heartbeat
	pace      float64       // factor of the period of work during a storm
	numb      bool          // does not take requests up
	heldUp    bool          // its monitor holds it up
	sings     bool          // canaries have been asked for
	mute      []beat.Canary // that do nothing, whatever happens
	spares    bool          // the fault leaves canaries and PID 1 alone
	place     places.Place  // of every vCPU
	backs     bool          // the monitor backs out when it gives its verdict

	// Measured workloads: what becomes of them, and the one under way.
	delivers func(beat.Sample) beat.Sample // nil: as it is
	token    uint64                        // 0: none
	doneAt   int64
	orders   []beat.Order

	// A guest that is saved: its page is then another one, and its monitor ends.
	savedPage    []byte
	unaware      bool // its monitor does not end
	lost         bool // it does not go on when it is restored
	alarmOnSave  bool
	detachOnSave error // of the monitor; nil: that the guest is gone
	restoreErr   error
	inject.Toolstack
	inject.ControlDomain

	ram   []byte // from ramPA on
	storm bool
	how   string // it has ended itself
	asked []beat.Request

	// How the monitor is to behave.
	alarmAfterAttach, alarmAfterFault, endAfterAttach time.Duration
	late                                              time.Duration // from the verdict's time to its delivery
	calmAfterRemoval, calmAfterAlarm                  time.Duration // when it sees that all is over
	alarms, neighbourAlarms                           []monitor.Alarm
	class                                             detect.Class
	detachErr                                         error
	counters                                          monitor.Counters
	signals                                           uint64
	violations                                        trial.Violations

	// How the host is to fail.
	noSymbol                                bool
	attachErr, traceErr, stopErr, removeErr error
	endErr, cpuTimeErr                      error
	// console reads the guest's console.
	console func() ([]byte, error)
	// onSleep is called after each sleep.
	onSleep func()

	attached, faulted int64 // when, or 0
	removedAt         int64
	watching          bool
	paused            int
	verdict           chan detect.Verdict
	done              chan struct{}
	ended             bool
	stages            []string
	stagesAt          []int64 // when each began
	toldT0            []int64
	toldRemoved       []int64
	injectedAt        []int64 // when the lock was taken
}

func newWorld(t *testing.T) *world {
	t.Helper()
	// A whole page of words is aligned as the page must be.
	words := make([]uint64, beat.Size/8)
	w := &world{
		t: t, now: 5e9, mem: unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), beat.Size),
		alarmAfterAttach: never, alarmAfterFault: never, endAfterAttach: never, calmAfterRemoval: 300 * time.Millisecond,
		calmAfterAlarm: never, class: detect.ClassSpin,
		slow: 1, slowWork: 1, signals: 1, cpus: 1, pace: 1,
		verdict: make(chan detect.Verdict, 1), done: make(chan struct{}),
	}
	var err error
	if w.page, err = beat.New(w.mem); err != nil {
		t.Fatal(err)
	}
	w.page.Init()
	w.ram = make([]byte, 32)
	copy(w.ram, []byte{0xf3, 0x0f, 0x1e, 0xfa})                     // kernel_wait4 begins with endbr64
	copy(w.ram[16:], []byte{0, 0x10, 0, 0, 0x80, 0x88, 0xff, 0xff}) // kthreadd
	w.nextBeat, w.nextWork = w.now+int64(beat.Period), w.now+int64(workPeriod)
	return w
}

// env is the surroundings of a trial of p.
func (w *world) env(p plan.Trial) trial.Env {
	m, err := trial.Mechanism(p)
	if err != nil {
		m = trap.Mechanism{} // Run finds out
	}
	env := trial.Env{Host: w, Guest: w, Log: w}
	env.Watcher, env.Beside = observe.All(p, m, func(t detect.Thresholds, sample time.Duration) (observe.Session, error) {
		w.call("attach %s spin=%v sample=%v", m.Name, t.Spin, sample)
		if w.attachErr != nil {
			return nil, w.attachErr
		}
		w.attached, w.watching = w.now, true
		if w.ended { // another session than the last
			w.done, w.ended = make(chan struct{}), false
		}
		return w, nil
	})
	return env
}

// run runs a trial in the world. Its record must be one that the store takes.
func (w *world) run(ctx context.Context, p plan.Trial) (results.Trial, error) {
	p.VCPUs = w.cpus
	rec, err := trial.Run(ctx, p, w.env(p))
	if err == nil {
		if verr := rec.Validate(); verr != nil {
			w.t.Errorf("the record is impossible: %v", verr)
		}
	}
	return rec, err
}

func (w *world) call(format string, a ...any) { w.calls = append(w.calls, fmt.Sprintf(format, a...)) }

// The control domain.

func (w *world) Kind() string { return "lab" }

// CPUTime says that the control domain uses a hundredth of a CPU.
func (w *world) CPUTime() (int64, error) { return w.now / 100, w.cpuTimeErr }

func (w *world) Trace(trap.Mechanism) (trial.Tracer, error) {
	w.call("trace")
	return tracer{w}, w.traceErr
}

func (w *world) Now() int64 { return w.now }

// The log.

func (w *world) Progress(stage string) {
	w.stages = append(w.stages, stage)
	w.stagesAt = append(w.stagesAt, w.now)
}

func (w *world) Injected(t0 int64) { w.toldT0 = append(w.toldT0, t0) }
func (w *world) Removed(at int64)  { w.toldRemoved = append(w.toldRemoved, at) }

// hung reports whether the guest stands still.
func (w *world) hung() bool {
	switch {
	case w.still:
		return true
	case w.heldUp:
		return !w.immune
	case w.faulted == 0 || w.immune || w.now <= w.faulted+int64(w.linger):
		return false
	}
	return w.lock == 0xff || w.fatal
}

// Sleep moves the clock, the guest and the monitor on.
func (w *world) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		w.t.Fatalf("slept for %v: the trial would never end", d)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if !w.deaf && !w.hung() {
		w.page.SetActive(w.page.Wanted())
	}
	if e, token, ok := w.page.Asked(); ok && !w.numb && !(w.sings && w.hung() && !w.spares) {
		w.page.Answer(token)
		w.asked = append(w.asked, e)
		if e == beat.Measure {
			o := w.page.Ordered()
			w.orders = append(w.orders, o)
			w.token, w.doneAt = token, w.now+int64(o.Seconds)*1e9
		}
		if e == beat.Bomb {
			w.faulted = w.now
		}
		w.sings = w.sings || e == beat.Canaries
		w.storm = e == beat.Bomb || e == beat.Stop || e == beat.Limited
	}
	slow, slowWork := 1.0, 1.0
	if w.watching {
		slow, slowWork = w.slow, w.slowWork
	}
	if w.token != 0 && w.now >= w.doneAt && !w.hung() {
		s := beat.Sample{Ops: uint64(1000 / slowWork), NS: 1e9, Version: 1902}
		if w.delivers != nil {
			s = w.delivers(s)
		}
		w.page.Deliver(w.token, s)
		w.token = 0
	}
	for end := w.now + int64(d); w.now < end; {
		w.now = min(end, w.nextBeat, w.nextWork)
		if w.now == w.nextBeat {
			for cpu := range w.cpus {
				if !w.hung() && w.paused == 0 || w.hung() && (w.idleHands || slices.Contains(w.spared, cpu)) {
					w.page.Beat(cpu)
				}
			}
			for _, c := range beat.AllCanaries() {
				if w.sings && (!w.hung() || w.spares) && !slices.Contains(w.mute, c) {
					w.page.Sing(c)
				}
			}
			w.nextBeat += int64(slow * float64(beat.Period))
		}
		if w.now == w.nextWork {
			if !w.hung() && !w.lazy && !w.page.Runs(beat.Idle) {
				w.page.Work(0)
			}
			if w.storm {
				slowWork = w.pace
			}
			w.nextWork += int64(slowWork * float64(workPeriod))
		}
	}
	w.watch()
	if w.onSleep != nil {
		w.onSleep()
	}
	return ctx.Err()
}

// watch makes the monitor do what is due by now.
func (w *world) watch() {
	due := func(since int64, after time.Duration) bool {
		return since != 0 && after != never && w.now >= since+int64(after)
	}
	alarm := func(at int64) {
		at -= int64(w.late)
		w.alarms = append(w.alarms, monitor.Alarm{Class: w.class, StartNS: at})
		w.verdict <- detect.Verdict{TimeNS: at, Class: w.class, Scope: detect.Full, VCPUs: []int{0},
			Evidence: []string{"vCPU 0: made up"}}
	}
	if !w.watching {
		return
	}
	if due(w.attached, w.alarmAfterAttach) {
		alarm(w.attached + int64(w.alarmAfterAttach))
		w.alarmAfterAttach = never
	}
	if due(w.faulted, w.alarmAfterFault) {
		alarm(w.faulted + int64(w.alarmAfterFault))
		w.alarmAfterFault = never
		if w.backs {
			w.heldUp = false
			w.counters.BackedOut, w.counters.BackOutNS = "made up", w.now-w.faulted
		}
	}
	if n := len(w.alarms); n > 0 && w.alarms[n-1].EndNS == 0 &&
		(due(w.removedAt, w.calmAfterRemoval) || due(w.alarms[n-1].StartNS, w.calmAfterAlarm)) {
		w.alarms[n-1].EndNS = w.now
	}
	if due(w.attached, w.endAfterAttach) {
		w.end()
	}
}

func (w *world) end() {
	if !w.ended {
		w.ended = true
		close(w.done)
	}
}

// The monitor.

func (w *world) Verdict() <-chan detect.Verdict { return w.verdict }
func (w *world) Done() <-chan struct{}          { return w.done }
func (w *world) Signals() uint64                { return w.signals }
func (w *world) Undecided() []string            { return []string{"vCPU 0: undecided"} }
func (w *world) Alarms() []monitor.Alarm        { return slices.Clone(w.alarms) }

func (w *world) NeighbourAlarms() []monitor.Alarm { return w.neighbourAlarms }

func (w *world) Mishandle(on bool) error {
	w.call("mishandle %v", on)
	if on {
		w.faulted = w.now
	}
	w.heldUp = on
	return nil
}

// accessed are the counters of a monitor to which so many page accesses were delivered.
func accessed(n uint64, c monitor.Counts) monitor.Counters {
	c.Delivered = n
	return monitor.Counters{Counts: c, Accesses: n}
}

func (w *world) Detach() (monitor.Counters, error) {
	w.call("detach")
	w.watching = false
	w.end()
	w.still = w.still || w.dieOnLeave
	return w.counters, w.detachErr
}

type tracer struct{ w *world }

func (t tracer) Stop() (trial.Violations, error) {
	t.w.call("stop trace")
	return t.w.violations, t.w.stopErr
}

// The guest and its kernel.

func (w *world) Facts() trial.Facts {
	return trial.Facts{Name: "guest", Domid: 7, Release: "6.12-test", CPUs: w.cpus}
}
func (w *world) Page() *beat.Page         { return w.page }
func (w *world) Ended() (string, error)   { return w.how, w.endErr }
func (w *world) Console() ([]byte, error) { return w.console() }

// lockNames are all one lock: the fake guest has one byte of it. Other symbols
// lie in its ram.
var lockNames = []string{"tasklist_lock", "file_systems_lock"}

var ramNames = []string{"kernel_wait4", "rtnl_mutex", "kthreadd_task", "panic_on_oops"}

const ramPA = 0x6000

func (w *world) Symbol(name string) (uint64, error) {
	if !w.noSymbol && slices.Contains(lockNames, name) {
		return lockVA, nil
	}
	if i := slices.Index(ramNames, name); i >= 0 {
		return lockVA - lockPA + ramPA + 8*uint64(i), nil
	}
	return 0, fmt.Errorf("no symbol %s", name)
}

func (w *world) Offset(typ, field string) (uint64, error) { return 0, nil }

func (w *world) Translate(va uint64) (uint64, error) {
	if va < lockVA || va >= lockVA-lockPA+ramPA+uint64(len(w.ram)) {
		return 0, fmt.Errorf("%#x is not mapped", va)
	}
	return va - lockVA + lockPA, nil
}

func (w *world) ReadPhysical(gpa uint64, b []byte) error {
	switch {
	case gpa == lockPA && len(b) <= 4:
		clear(b)
		if b[0] = w.lock; len(b) > 1 && w.hung() {
			b[1] = 1 // somebody waits
		}
	case gpa >= ramPA && gpa+uint64(len(b)) <= ramPA+uint64(len(w.ram)):
		copy(b, w.ram[gpa-ramPA:])
	default:
		return errors.New("no memory there")
	}
	return nil
}

func (w *world) WritePhysical(gpa uint64, b []byte) error {
	if gpa >= ramPA && gpa+uint64(len(b)) <= ramPA+uint64(len(w.ram)) {
		copy(w.ram[gpa-ramPA:], b)
		switch gpa {
		case ramPA: // kernel_wait4
			w.call("crash")
			w.faulted, w.fatal, w.how = w.now, true, "crash"
		case ramPA + 8: // rtnl_mutex
			w.lock = 0
			if b[6] != 0 { // an address, and not only flags
				w.call("hold")
				w.faulted, w.lock = w.now, 0xff
			}
		}
		return nil
	}
	if gpa != lockPA || len(b) != 1 {
		return errors.New("no memory there")
	}
	if b[0] == 0 {
		w.call("remove")
		if w.removeErr != nil {
			return w.removeErr
		}
		w.removedAt = w.now
	} else {
		w.call("hold")
		w.faulted = w.now
		w.injectedAt = append(w.injectedAt, w.now)
	}
	w.lock = b[0]
	return nil
}

func (w *world) VCPUs() int                           { return w.cpus }
func (w *world) Where(vcpu int) (uint64, bool, error) { return 0, true, nil }
func (w *world) Locate(vcpu int) (places.Place, error) {
	p := w.place
	p.VCPU = vcpu
	return p, nil
}
func (w *world) StallDisk(stall bool) error           { return nil }
func (w *world) Size(function string) (uint64, error) { return 0, errors.New("no functions") }
func (w *world) SlowDisk(by time.Duration) error {
	w.call("slow %v", by)
	w.storm = by != 0
	return nil
}
func (w *world) FailDisk(bool) error { return nil }

func (w *world) Checkpoint(context.Context) error {
	w.call("checkpoint")
	return nil
}

// Save destroys the guest's domain. The page that dom0 has mapped stays as it is.
func (w *world) Save(context.Context) error {
	w.call("save")
	w.still = true
	if !w.unaware && w.watching {
		if w.alarmOnSave {
			w.alarmAfterAttach = time.Duration(w.now - w.attached)
			w.watch()
		}
		if w.detachErr = w.detachOnSave; w.detachErr == nil {
			w.detachErr = fmt.Errorf("session: %w", monitor.ErrGone)
		}
		w.end()
	}
	return nil
}

// Restore has the guest go on, with another page.
func (w *world) Restore(_ context.Context, later time.Duration) error {
	w.call("restore %v", later)
	if w.restoreErr != nil {
		return w.restoreErr
	}
	if w.watching {
		w.t.Error("the guest comes back before the monitor has left it")
	}
	words := make([]uint64, beat.Size/8)
	w.savedPage = unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), beat.Size)
	copy(w.savedPage, w.mem)
	w.still, w.detachErr = w.lost, nil
	var err error
	w.page, err = beat.New(w.savedPage)
	return err
}

// End ends the guest.
func (w *world) End(_ context.Context, how inject.Ending) error {
	w.call("end %s", how)
	w.how, w.still = string(how), true
	return nil
}

func (w *world) Resources() (inject.Resources, error) { return inject.Resources{VCPUs: w.cpus}, nil }

func (w *world) SetVCPUs(_ context.Context, n int) error {
	w.call("vcpus %d", n)
	return nil
}

func (w *world) NMI(ctx context.Context, vcpu int) error { return nil }
func (w *world) Pause() error                            { w.paused++; return nil }
func (w *world) Unpause() error                          { w.paused--; return nil }
