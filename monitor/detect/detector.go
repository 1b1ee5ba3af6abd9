package detect

import (
	"fmt"
	"strings"
	"time"
)

// Class is the kind of a hang.
type Class string

const (
	ClassSpin Class = "spin" // spinning on a lock, interrupts on
	ClassHard Class = "hard" // spinning with interrupts off
	// ClassMonitor is no hang of the guest: the monitor held it up, noticed, and
	// let go.
	ClassMonitor Class = "monitor-livelock"
)

// Scope tells whether all online vCPUs hang or only some.
type Scope string

const (
	Partial Scope = "partial"
	Full    Scope = "full"
)

// Verdict says that the guest hangs, how, and why one should believe it.
type Verdict struct {
	TimeNS   int64 // dom0's monotonic clock
	Class    Class
	VCPUs    []int
	Scope    Scope
	Evidence []string
}

// Thresholds are the knobs of the detector, all of them.
type Thresholds struct {
	// Spin is how long a vCPU must run in a lock slow path without a switch
	// before that is a hang. A contended kernel spinlock is held for
	// microseconds, rarely for milliseconds.
	Spin time.Duration
}

// DefaultThresholds are used where a suite sets none.
func DefaultThresholds() Thresholds { return Thresholds{Spin: 500 * time.Millisecond} }

// minSamples is how many samples in a row must agree before a rule may fire,
// however long they took: one sample is an accident.
const minSamples = 3

// Detector turns observations into verdicts. It has no clock and does no I/O:
// the same observations give the same verdicts.
type Detector struct {
	t     Thresholds
	last  []VCPU
	lastT int64
	spin  []streak
}

// streak is a row of samples of one vCPU without a task switch, at least half of
// them in one lock slow path.
type streak struct {
	broken      string // why there is no row
	samples     int
	inLock      int    // of the samples, those in the slow path
	sinceNS     int64  // last sample before the row: the vCPU had switched or was elsewhere then
	sinceCPU    uint64 // its CPU time then
	spunNS      uint64 // time it has run since
	symbol      string
	interrupts  int // samples with interrupts on
	lock        string
	first, last uint64 // RIP range
}

// NewDetector returns a detector that has seen nothing yet.
func NewDetector(t Thresholds) *Detector { return &Detector{t: t} }

// Observe takes the next observation and reports a hang, if there is one now.
// Observations must come in order of time; one from the past is ignored.
func (d *Detector) Observe(o *Observation) (Verdict, bool) {
	if len(d.last) != len(o.VCPUs) { // first observation, or vCPUs were plugged
		d.last = append([]VCPU(nil), o.VCPUs...)
		d.lastT = o.TimeNS
		d.spin = make([]streak, len(o.VCPUs))
		return Verdict{}, false
	}
	if o.TimeNS <= d.lastT {
		return Verdict{}, false
	}
	v := Verdict{TimeNS: o.TimeNS, Class: ClassHard}
	online := 0
	for i := range o.VCPUs {
		now := &o.VCPUs[i]
		if !now.Online {
			d.spin[i] = streak{}
			continue
		}
		online++
		if d.observeSpin(i, o.TimeNS, now) {
			v.VCPUs = append(v.VCPUs, i)
			v.Evidence = append(v.Evidence, d.spinEvidence(i, o.TimeNS, now)...)
			if d.spin[i].interrupts > 0 {
				v.Class = ClassSpin
			}
		}
	}
	copy(d.last, o.VCPUs)
	d.lastT = o.TimeNS
	if len(v.VCPUs) == 0 {
		return Verdict{}, false
	}
	v.Scope = Partial
	if len(v.VCPUs) == online {
		v.Scope = Full
	}
	return v, true
}

// observeSpin extends or breaks the streak of a vCPU and reports whether it is
// long enough.
//
// A vCPU that spins with interrupts on is now and then seen in an interrupt
// handler instead, so half of the samples have to show the lock. Time counts
// twice: on the clock, and as time that the vCPU has really run, of which it
// must have had half as much: a vCPU that others keep from running is not judged
// by the clock alone.
func (d *Detector) observeSpin(i int, t int64, now *VCPU) bool {
	was, s := &d.last[i], &d.spin[i]
	broken := ""
	switch {
	case now.Signals != was.Signals:
		broken = fmt.Sprintf("it switched tasks %d times", now.Signals-was.Signals)
	case now.Blocked:
		broken = "it was halted"
	case !now.Sampled || now.Symbol == "":
		broken = "it ran outside the kernel"
	case now.CPUTimeNS <= was.CPUTimeNS:
		broken = "it did not run"
	case !LockSlowPath(now.Symbol) && 2*s.inLock < s.samples+1:
		broken = "it was in " + now.Symbol
	}
	if broken != "" {
		*s = streak{broken: broken}
		return false
	}
	if LockSlowPath(now.Symbol) {
		if s.inLock == 0 || s.symbol != now.Symbol {
			*s = streak{sinceNS: d.lastT, sinceCPU: was.CPUTimeNS, symbol: now.Symbol, first: now.Offset, last: now.Offset}
		}
		s.inLock++
		s.first, s.last = min(s.first, now.Offset), max(s.last, now.Offset)
		if now.InterruptsOn {
			s.interrupts++
		}
		if now.Lock != "" {
			s.lock = now.Lock
		}
	}
	s.samples++
	s.spunNS = now.CPUTimeNS - s.sinceCPU
	return s.inLock >= minSamples && t-s.sinceNS >= int64(d.t.Spin) && 2*s.spunNS >= uint64(d.t.Spin)
}

// Undecided says for each vCPU what the last observation made of it: why there
// is no verdict. It is the evidence of a miss.
func (d *Detector) Undecided() []string {
	var notes []string
	for i := range d.spin {
		s := &d.spin[i]
		switch {
		case s.samples > 0:
			notes = append(notes, fmt.Sprintf("vCPU %d: in %s at %d of %d samples, for %d ms, of which it ran %d ms", i, s.symbol, s.inLock, s.samples, (d.lastT-s.sinceNS)/1e6, s.spunNS/1e6))
		case s.broken != "":
			notes = append(notes, fmt.Sprintf("vCPU %d: in the last sampling period %s", i, s.broken))
		}
	}
	return notes
}

func (d *Detector) spinEvidence(i int, t int64, now *VCPU) []string {
	s := &d.spin[i]
	share := 100 * float64(now.CPUTimeNS-s.sinceCPU) / float64(t-s.sinceNS)
	e := []string{
		fmt.Sprintf("vCPU %d: no task switch for %d ms while it ran %.0f%% of the time", i, (t-s.sinceNS)/1e6, share),
		fmt.Sprintf("vCPU %d: RIP in %s+%#x..%#x at %d of %d samples, interrupts on at %d of these", i, s.symbol, s.first, s.last, s.inLock, s.samples, s.interrupts),
	}
	if s.lock != "" {
		e = append(e, fmt.Sprintf("vCPU %d: %s", i, s.lock))
	}
	return e
}

// LockSlowPath reports whether a kernel function is one in which a CPU waits for
// a spinning lock: kernel/locking/qspinlock.c and qrwlock.c, with the
// paravirtual variants. Sleeping locks (mutex, rwsem) have slow paths too, but
// a task in one of those schedules.
func LockSlowPath(symbol string) bool {
	symbol, _, _ = strings.Cut(symbol, ".") // compiler's suffixes: .part.0, .constprop.0
	switch symbol {
	case "queued_read_lock_slowpath", "queued_write_lock_slowpath",
		"native_queued_spin_lock_slowpath", "__pv_queued_spin_lock_slowpath",
		"queued_spin_lock_slowpath", "virt_spin_lock", "xen_qlock_wait":
		return true
	}
	return false
}
