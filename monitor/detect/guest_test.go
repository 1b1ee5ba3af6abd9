package detect

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// guest makes the observations of a made-up guest, one each period, with an inspection of
// the kernel each time. Its vCPUs are idle: halted, a tickless nap of four seconds
// between two wake-ups, in which the heartbeat runs.
type guest struct {
	t      int64
	period int64
	n      int // observations made
	o      Observation
	queues []RunQueue
	kernel Kernel
	still  []bool              // by vCPU: it does not wake from its nap
	doubts func(vcpu int) bool // the detector's: whether a halted vCPU is sampled
}

const ms = int64(time.Millisecond)

func newGuest(vcpus int) *guest {
	g := &guest{period: 100 * ms, t: 1000 * ms, queues: make([]RunQueue, vcpus), still: make([]bool, vcpus)}
	g.o.VCPUs = make([]VCPU, vcpus)
	g.kernel = Kernel{Panicking: -1, Threads: 60, Forks: 1000, Walked: 60, LargestComm: "kworker", LargestCount: 12,
		Memory: Memory{TotalPages: 40_000, FreePages: 20_000, Scanned: 10, Stolen: 10}}
	for i := range g.o.VCPUs {
		g.o.VCPUs[i] = VCPU{Online: true, Blocked: true, CPUTimeNS: 5e9}
		g.queues[i] = RunQueue{Switches: 1000, Interrupts: 5000}
	}
	return g
}

const nap = 40 // observations

// next makes the next observation of the idle guest; the caller then turns it into
// what it wants to be.
func (g *guest) next() *Observation {
	g.n++
	g.t += g.period
	g.o.TimeNS = g.t
	g.o.Domain = Domain{}
	g.kernel.Waiting, g.kernel.WaitingTotal = nil, 0
	g.kernel.Runnable, g.kernel.RunnableTotal = nil, 0
	g.kernel.Unreadable = nil
	g.kernel.Walked = int(g.kernel.Threads)
	g.o.Kernel = &g.kernel
	for i := range g.o.VCPUs {
		v, q := &g.o.VCPUs[i], &g.queues[i]
		if v.Running { // it goes to sleep now
			q.TimerNS = g.guestNS() + int64((nap+1-g.n%nap)%nap)*g.period
		}
		*v = VCPU{Online: true, Blocked: true, CPUTimeNS: v.CPUTimeNS, Signals: v.Signals, Queue: q}
		q.Running, q.PID, q.Comm, q.NeedResched = 0, 0, "swapper", false
		q.Schedule, q.Preempt = Schedule{}, 0
		if g.n%nap == 1 && !g.still[i] {
			g.wake(i)
		}
	}
	return &g.o
}

// skip makes the observation that next has made come that many milliseconds later.
func (g *guest) skip(milliseconds int64) {
	g.t += milliseconds * ms
	g.o.TimeNS = g.t
}

// wake lets a vCPU handle its timer and run something for a moment.
func (g *guest) wake(i int) {
	v, q := &g.o.VCPUs[i], &g.queues[i]
	v.CPUTimeNS += uint64(ms)
	v.Signals += 2
	q.Switches += 2
	q.Interrupts += 3
	q.ClockNS = uint64(g.t)
	q.TimerNS = g.guestNS() + nap*g.period
	g.kernel.MonotonicNS = g.guestNS() - 2*ms
}

// guestNS is the guest's clock: it booted a while after dom0.
func (g *guest) guestNS() int64 { return g.t - 700*ms }

// run lets a vCPU run for the whole period in the kernel, without a sign of life but
// the tick's.
func (g *guest) run(i int, symbol string, interruptsOn bool) *VCPU {
	v, q := &g.o.VCPUs[i], &g.queues[i]
	v.Blocked, v.Running, v.Sampled, v.Symbol, v.InterruptsOn = false, true, true, symbol, interruptsOn
	v.RIP, v.Offset = 0xffffffff81000000, 0x20
	v.CPUTimeNS += uint64(g.period)
	q.PID, q.Comm, q.Running = 77, "victim", 1
	if interruptsOn {
		q.Interrupts += 25
		q.ClockNS = uint64(g.t)
		q.TimerNS = g.guestNS() + 4*ms
		g.kernel.MonotonicNS = g.guestNS() - 4*ms
	}
	return v
}

// compute lets a vCPU run in user mode without a switch.
func (g *guest) compute(i int) *VCPU {
	v := g.run(i, "", true)
	v.UserMode, v.RIP = true, 0x401000
	return v
}

// scene is a test of the detector as a whole: a made-up guest, and the verdict that
// is right.
type scene struct {
	name  string
	vcpus int // 0 for 1
	// each turns the idle observation number i, counted from 0, into the scene's.
	each func(g *guest, i int)
	n    int // observations; 0 for 100
	set  func(*Thresholds)
	want *expected // nil: no verdict
}

// expected is a whole verdict and the number of the observation that gives it.
type expected struct {
	at int
	Verdict
}

func want(at int, class Class, scope Scope, vcpus []int, evidence ...string) *expected {
	return &expected{at, Verdict{Class: class, Scope: scope, VCPUs: vcpus, Evidence: evidence}}
}

// run gives the scene to a detector and compares the first verdict.
func (sc scene) run(t *testing.T) {
	t.Helper()
	th := DefaultThresholds()
	if sc.set != nil {
		sc.set(&th)
	}
	g, d := newGuest(max(sc.vcpus, 1)), NewDetector(th)
	g.doubts = d.Doubts
	n := sc.n
	if n == 0 {
		n = 100
	}
	for i := range n {
		o := g.next()
		sc.each(g, i)
		v, ok := d.Observe(o)
		if !ok {
			continue
		}
		if sc.want == nil {
			t.Fatalf("%s: %s at observation %d, want none; evidence:\n%s", sc.name, v.Class, i, strings.Join(v.Evidence, "\n"))
		}
		right := sc.want.Verdict
		if right.TimeNS = o.TimeNS; i != sc.want.at || !reflect.DeepEqual(v, right) {
			t.Errorf("%s:\nat %d: %+v\nwant at %d: %+v", sc.name, i, v, sc.want.at, right)
		}
		return
	}
	if sc.want != nil {
		t.Fatalf("%s: no verdict in %d observations, want %s; undecided:\n%s", sc.name, n, sc.want.Class,
			strings.Join(d.Undecided(), "\n"))
	}
}

// runScenes runs the scenes in turn.
func runScenes(t *testing.T, scenes []scene) {
	t.Helper()
	for _, sc := range scenes {
		sc.run(t)
	}
}

// levels gives n observations to a detector and returns what the rule of a class
// made of each from number from on: b for blind, c for calm, w for watching, h for
// hung.
func levels(class Class, vcpus, from, n int, each func(g *guest, i int)) string {
	g, d := newGuest(vcpus), NewDetector(DefaultThresholds())
	rule := slices.IndexFunc(d.entries, func(e entry) bool { return e.classes[0].Class == class })
	var all strings.Builder
	for i := range from + n {
		o := g.next()
		each(g, i)
		d.Observe(o)
		if i >= from {
			all.WriteByte("bcwh"[d.levels[rule]])
		}
	}
	return all.String()
}

// after leaves the guest idle for the first 50 observations.
func after(each func(g *guest, i int)) func(g *guest, i int) {
	return func(g *guest, i int) {
		if i >= 50 {
			each(g, i)
		}
	}
}

const (
	rcuTick = "rcu_sched_clock_irq"
	hour    = 36000 // observations
)
