package detect

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// ClassSpin: vCPUs wait for a spinning lock with interrupts on.
const ClassSpin Class = "spin"

// SpinThresholds are the limits of the rule about spinning locks.
type SpinThresholds struct {
	// Spin is how long a vCPU must wait in a lock slow path without a task switch. A
	// healthy kernel holds a contended spinlock for microseconds, rarely for
	// milliseconds.
	Spin time.Duration
}

func (t *SpinThresholds) entry() entry {
	return entry{
		start: func() rule { return &spinRule{t: *t} },
		classes: []class{{
			Info: Info{
				Class: ClassSpin, Severity: 80,
				Reads: "task switches, CPU time, registers, callers of a polling vCPU",
				Early: "in one lock slow path at half of the samples, interrupts on, no task switch; " +
					"with interrupts off the class is hard",
			},
			knobs: []knob{milliseconds(&t.Spin, "spin_ms", 500, "a vCPU waits in a lock slow path without a task switch")},
		}},
	}
}

// spinRule finds vCPUs that wait in the slow path of a spinning lock. The class is
// hard if some lock is only ever waited for with interrupts off, else spin. The
// holder of such a lock keeps interrupts off. A vCPU that waits for another lock
// with interrupts on therefore cannot be its holder.
//
// A vCPU that spins with interrupts on is sometimes sampled in an interrupt
// handler, so half of the samples must show the lock. The vCPU must also have run
// for half of the threshold. A vCPU that others keep from running is not judged by
// the clock alone.
//
// A paravirtualised lock spins for a while and then polls in the hypervisor. The
// vCPU is blocked then. That time counts as time run.
type spinRule struct {
	t     SpinThresholds
	nowNS int64
	vcpus []spinStreak
}

// spinStreak is a streak of samples of one vCPU without a task switch. At least
// half of them are in one lock slow path.
type spinStreak struct {
	ended       reason // why there is no streak
	samples     int
	inLock      int    // samples in the slow path
	sinceNS     int64  // last sample before the streak
	spunNS      uint64 // time run since then
	symbol      string // of the slow path
	interrupts  int    // samples in the slow path with interrupts on
	polled      int    // samples in which it polled for the lock
	lock        string // VCPU.Lock, where known
	inside      int    // samples with RIP in the slow path itself, not in a function that it calls
	first, last uint64 // offsets of RIP in these, smallest and largest
}

func (r *spinRule) restart(vcpus int) {
	if len(r.vcpus) != vcpus {
		r.vcpus = make([]spinStreak, vcpus)
	}
	clear(r.vcpus)
}

func (r *spinRule) observe(s *step) level {
	l := calm
	r.nowNS = s.t
	for i := range s.vcpus {
		if !s.vcpus[i].Online {
			r.vcpus[i] = spinStreak{}
			continue
		}
		switch {
		case r.extend(&r.vcpus[i], s, &s.vcpus[i], &s.last[i]):
			s.affected[i] = true
			l = hung
		case r.vcpus[i].samples > 0:
			l = max(l, watching)
		}
	}
	return l
}

// extend extends or ends the streak of a vCPU. It reports whether the vCPU hangs.
func (r *spinRule) extend(k *spinStreak, s *step, now, was *VCPU) bool {
	lock, polls := lockWait(now)
	if ended := k.end(lock, polls, now, was); ended.text != "" {
		*k = spinStreak{ended: ended}
		return false
	}
	if lock != "" {
		if k.symbol != lock {
			*k = spinStreak{sinceNS: s.t - s.dt, symbol: lock, first: math.MaxUint64}
		}
		k.inLock++
		if now.Symbol == lock {
			k.inside++
			k.first, k.last = min(k.first, now.Offset), max(k.last, now.Offset)
		}
		if now.InterruptsOn {
			k.interrupts++
		}
		if now.Lock != "" {
			k.lock = now.Lock
		}
	}
	k.samples++
	if polls {
		k.polled++
		k.spunNS += uint64(s.dt)
	} else {
		k.spunNS += now.CPUTimeNS - was.CPUTimeNS
	}
	return r.hangs(k, s.t)
}

// end returns the reason why a sample ends the streak, or the zero reason. lock
// and polls are lockWait's for the sample.
func (k *spinStreak) end(lock string, polls bool, now, was *VCPU) reason {
	if polls {
		if n := switched(now, was); n != 0 {
			return reason{text: becauseSwitched, n: n}
		}
		return reason{}
	}
	ended := alive(now, was)
	switch {
	case ended.text != "" || lock != "":
	case now.Symbol == "":
		ended = reason{text: becauseUser} // a module, or code without a name
	case 2*k.inLock < k.samples+1:
		ended = reason{text: becauseIn, symbol: now.Symbol}
	}
	return ended
}

// hangs reports whether a streak is long enough.
func (r *spinRule) hangs(k *spinStreak, t int64) bool {
	return k.inLock >= minSamples && t-k.sinceNS >= int64(r.t.Spin) && 2*k.spunNS >= uint64(r.t.Spin)
}

// masked reports whether the streak's lock was never waited for with interrupts
// on, by any vCPU, whether or not that vCPU hangs already.
func (r *spinRule) masked(k *spinStreak) bool {
	for i := range r.vcpus {
		if other := &r.vcpus[i]; other.interrupts > 0 && other.sameLock(k) {
			return false
		}
	}
	return true
}

// sameLock reports whether two streaks are of one lock. It compares the names if
// both are known, else the slow paths.
func (k *spinStreak) sameLock(other *spinStreak) bool {
	if k.lock != "" && other.lock != "" {
		return lockName(k.lock) == lockName(other.lock)
	}
	return k.symbol == other.symbol
}

// lockName cuts the register off a VCPU's Lock.
func lockName(lock string) string {
	_, name, _ := strings.Cut(lock, " = ")
	return name
}

func (r *spinRule) verdict(s *step) Verdict {
	v := Verdict{Class: ClassSpin, Scope: s.scope()}
	for i := range r.vcpus {
		k := &r.vcpus[i]
		if !r.hangs(k, s.t) {
			continue
		}
		if r.masked(k) {
			v.Class = ClassHard
		}
		v.VCPUs = append(v.VCPUs, i)
		v.Evidence = append(v.Evidence, k.evidence(i, s.t)...)
	}
	return v
}

func (k *spinStreak) evidence(i int, t int64) []string {
	share := 100 * float64(k.spunNS) / float64(t-k.sinceNS)
	where := "in a function that " + k.symbol + " calls"
	if k.inside > 0 {
		where = fmt.Sprintf("RIP in %s+%#x..%#x", k.symbol, k.first, k.last)
		if k.inside < k.inLock {
			where += " or in a function that it calls"
		}
	}
	e := []string{
		fmt.Sprintf("vCPU %d: no task switch for %d ms while it ran %.0f%% of the time", i, (t-k.sinceNS)/1e6, share),
		fmt.Sprintf("vCPU %d: %s at %d of %d samples, interrupts on at %d of these", i, where, k.inLock, k.samples,
			k.interrupts),
	}
	if k.polled > 0 {
		e = append(e, fmt.Sprintf("vCPU %d: polled for the lock in the hypervisor at %d samples", i, k.polled))
	}
	if k.lock != "" {
		e = append(e, fmt.Sprintf("vCPU %d: %s", i, k.lock))
	}
	return e
}

func (r *spinRule) notes(to []string) []string {
	for i := range r.vcpus {
		k := &r.vcpus[i]
		switch {
		case k.samples > 0:
			to = append(to, fmt.Sprintf("vCPU %d: in %s at %d of %d samples, for %d ms, of which it ran %d ms", i,
				k.symbol, k.inLock, k.samples, (r.nowNS-k.sinceNS)/1e6, k.spunNS/1e6))
		case k.ended.text != "":
			to = append(to, fmt.Sprintf("vCPU %d: in the last sampling period %s", i, k.ended))
		}
	}
	return to
}

// pvSlowPath is the slow path of a paravirtualised lock. It waits in
// xen_qlock_wait, which has no other caller.
const pvSlowPath = "__pv_queued_spin_lock_slowpath"

// pollCallers is the number of callers among which the slow path of a polling vCPU
// is searched: xen_poll_irq_timeout, xen_poll_irq, xen_qlock_wait and the slow path.
const pollCallers = 4

// lockWait returns the lock slow path in which the vCPU was sampled, or "", and
// whether the vCPU polls there in the hypervisor instead of spinning. A polling
// vCPU is in the hypercall, and the slow path is among its callers. One wait spins
// and polls in turn as interrupts wake it, so its slow path has one name wherever
// the sample is.
func lockWait(v *VCPU) (symbol string, polls bool) {
	slowPath := func(symbol string) string {
		if bare(symbol) == "xen_qlock_wait" {
			return pvSlowPath
		}
		return symbol
	}
	if !inKernel(v) {
		return "", false
	}
	if lockSlowPath(v.Symbol) {
		return slowPath(v.Symbol), v.Blocked
	}
	if !hasPrefix(v.Symbol, "xen_hypercall", "xen_poll_irq") && v.Symbol != "hypercall_page" {
		return "", false
	}
	for _, c := range v.Callers[:min(len(v.Callers), pollCallers)] {
		if lockSlowPath(c) {
			return slowPath(c), v.Blocked
		}
	}
	return "", false
}

// WaitsForLock reports whether the vCPU was sampled in the slow path of a spinning
// lock, or in a function that the slow path calls.
func WaitsForLock(v *VCPU) bool {
	symbol, _ := lockWait(v)
	return symbol != ""
}

// lockSlowPath reports whether a CPU in this kernel function waits for a spinning
// lock: kernel/locking/qspinlock.c and qrwlock.c, with the paravirtual variants.
// Sleeping locks (mutex, rwsem) have slow paths too, but a task in one of those
// gives up the CPU.
func lockSlowPath(symbol string) bool {
	switch bare(symbol) {
	case "queued_read_lock_slowpath", "queued_write_lock_slowpath",
		"native_queued_spin_lock_slowpath", "__pv_queued_spin_lock_slowpath",
		"queued_spin_lock_slowpath", "virt_spin_lock", "xen_qlock_wait":
		return true
	}
	return false
}
