package detect

import (
	"fmt"
	"math"
	"strings"
)

// spinRule finds vCPUs that wait in the slow path of a spinning lock. Its class
// is hard if there is a lock for which nobody was ever seen to wait with interrupts
// on, and spin if not. Who holds such a lock has them off until he releases it. So
// whoever waits elsewhere with interrupts on does not hold it, and is held up by
// those who wait for it, if by anybody here.
//
// A vCPU that spins with interrupts on is now and then seen in an interrupt
// handler instead, so half of the samples have to show the lock. Time counts
// twice: on the clock, and as time that the vCPU has really run, of which it
// must have had half as much: a vCPU that others keep from running is not judged
// by the clock alone.
//
// A paravirtualised lock polls in the hypervisor after a while of spinning: then
// the vCPU is blocked, and the time of that counts as time run.
type spinRule struct {
	t     Thresholds
	nowNS int64
	rows  []spinRow
}

// spinRow is a row of samples of one vCPU without a task switch, at least half of
// them in one lock slow path.
type spinRow struct {
	broken      reason // why there is no row
	samples     int
	inLock      int    // of the samples, those in the slow path
	sinceNS     int64  // last sample before the row: the vCPU had switched or was elsewhere then
	spunNS      uint64 // time it has run since
	symbol      string
	interrupts  int // samples with interrupts on
	polled      int // samples in which it polled for the lock
	lock        string
	inside      int    // samples with RIP in the slow path itself, not in what it calls
	first, last uint64 // RIP range of these
}

func (r *spinRule) restart(vcpus int) {
	if len(r.rows) != vcpus {
		r.rows = make([]spinRow, vcpus)
	}
	clear(r.rows)
}

func (r *spinRule) observe(s *step) level {
	l := calm
	r.nowNS = s.t
	for i := range s.vcpus {
		if !s.vcpus[i].Online {
			r.rows[i] = spinRow{}
			continue
		}
		switch {
		case r.extend(&r.rows[i], s, &s.vcpus[i], &s.last[i]):
			s.affected[i] = true
			l = hung
		case r.rows[i].samples > 0:
			l = max(l, watching)
		}
	}
	return l
}

// extend extends or breaks the row of a vCPU and reports whether it is long
// enough.
func (r *spinRule) extend(row *spinRow, s *step, now, was *VCPU) bool {
	lock, polls := lockWait(now)
	broken := reason{}
	if polls {
		if n := switched(now, was); n != 0 {
			broken = reason{text: becauseSwitched, n: n}
		}
	} else if broken = alive(now, was); broken.text == "" && lock == "" {
		if now.Symbol == "" {
			broken = reason{text: becauseUser} // a module, or code without a name
		} else if 2*row.inLock < row.samples+1 {
			broken = reason{text: becauseIn, symbol: now.Symbol}
		}
	}
	if broken.text != "" {
		*row = spinRow{broken: broken}
		return false
	}
	if lock != "" {
		if row.inLock == 0 || row.symbol != lock {
			*row = spinRow{sinceNS: s.t - s.dt, symbol: lock, first: math.MaxUint64}
		}
		row.inLock++
		if now.Symbol == lock {
			row.inside++
			row.first, row.last = min(row.first, now.Offset), max(row.last, now.Offset)
		}
		if now.InterruptsOn {
			row.interrupts++
		}
		if now.Lock != "" {
			row.lock = now.Lock
		}
	}
	row.samples++
	if polls {
		row.polled++
		row.spunNS += uint64(s.dt)
	} else {
		row.spunNS += now.CPUTimeNS - was.CPUTimeNS
	}
	return r.hangs(row, s.t)
}

// hangs reports whether a row is long enough.
func (r *spinRule) hangs(row *spinRow, t int64) bool {
	return row.inLock >= minSamples && t-row.sinceNS >= int64(r.t.Spin) && 2*row.spunNS >= uint64(r.t.Spin)
}

// masked reports whether nobody was ever seen to wait for the row's lock with
// interrupts on. Others may not have waited for long enough to hang.
func (r *spinRule) masked(row *spinRow) bool {
	for i := range r.rows {
		if other := &r.rows[i]; other.interrupts > 0 && other.sameLock(row) {
			return false
		}
	}
	return true
}

// sameLock reports whether two rows are of one lock, as far as is known: by name,
// else by the kind of its slow path.
func (row *spinRow) sameLock(other *spinRow) bool {
	if row.lock != "" && other.lock != "" {
		return lockName(row.lock) == lockName(other.lock)
	}
	return row.symbol == other.symbol
}

// lockName cuts the register off a VCPU's Lock.
func lockName(lock string) string {
	_, name, _ := strings.Cut(lock, " = ")
	return name
}

func (r *spinRule) verdict(s *step) Verdict {
	v := Verdict{Class: ClassSpin, Scope: s.scope()}
	for i := range r.rows {
		row := &r.rows[i]
		if !r.hangs(row, s.t) {
			continue
		}
		if r.masked(row) {
			v.Class = ClassHard
		}
		v.VCPUs = append(v.VCPUs, i)
		v.Evidence = append(v.Evidence, row.evidence(i, s.t)...)
	}
	return v
}

func (row *spinRow) evidence(i int, t int64) []string {
	share := 100 * float64(row.spunNS) / float64(t-row.sinceNS)
	where := "in what " + row.symbol + " calls"
	if row.inside > 0 {
		where = fmt.Sprintf("RIP in %s+%#x..%#x", row.symbol, row.first, row.last)
		if row.inside < row.inLock {
			where += " or in what it calls"
		}
	}
	e := []string{
		fmt.Sprintf("vCPU %d: no task switch for %d ms while it ran %.0f%% of the time", i, (t-row.sinceNS)/1e6, share),
		fmt.Sprintf("vCPU %d: %s at %d of %d samples, interrupts on at %d of these", i, where, row.inLock, row.samples, row.interrupts),
	}
	if row.polled > 0 {
		e = append(e, fmt.Sprintf("vCPU %d: polled for the lock in the hypervisor at %d samples", i, row.polled))
	}
	if row.lock != "" {
		e = append(e, fmt.Sprintf("vCPU %d: %s", i, row.lock))
	}
	return e
}

func (r *spinRule) notes(to []string) []string {
	for i := range r.rows {
		row := &r.rows[i]
		switch {
		case row.samples > 0:
			to = append(to, fmt.Sprintf("vCPU %d: in %s at %d of %d samples, for %d ms, of which it ran %d ms", i, row.symbol, row.inLock, row.samples, (r.nowNS-row.sinceNS)/1e6, row.spunNS/1e6))
		case row.broken.text != "":
			to = append(to, fmt.Sprintf("vCPU %d: in the last sampling period %s", i, row.broken))
		}
	}
	return to
}

// pvSlowPath is the slow path of a paravirtualised lock. It waits in
// xen_qlock_wait, which nobody else calls.
const pvSlowPath = "__pv_queued_spin_lock_slowpath"

// lockWait returns the lock slow path in which the vCPU was sampled, "" if in
// none, and whether it polls there in the hypervisor instead of spinning. A
// polling vCPU is in the hypercall, the slow path among its callers. One and the
// same wait spins and polls in turn when interrupts wake it, so its slow path has
// one name wherever in it the sample fell.
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
	if !strings.HasPrefix(v.Symbol, "xen_hypercall") && !strings.HasPrefix(v.Symbol, "xen_poll_irq") && v.Symbol != "hypercall_page" {
		return "", false
	}
	for _, c := range v.Callers[:min(len(v.Callers), 4)] {
		if lockSlowPath(c) {
			return slowPath(c), v.Blocked
		}
	}
	return "", false
}

// WaitsForLock reports whether the vCPU was sampled in the slow path of a spinning
// lock, or in what that calls.
func WaitsForLock(v *VCPU) bool {
	symbol, _ := lockWait(v)
	return symbol != ""
}

// lockSlowPath reports whether a kernel function is one in which a CPU waits for
// a spinning lock: kernel/locking/qspinlock.c and qrwlock.c, with the
// paravirtual variants. Sleeping locks (mutex, rwsem) have slow paths too, but
// a task in one of those schedules.
func lockSlowPath(symbol string) bool {
	switch bare(symbol) {
	case "queued_read_lock_slowpath", "queued_write_lock_slowpath",
		"native_queued_spin_lock_slowpath", "__pv_queued_spin_lock_slowpath",
		"queued_spin_lock_slowpath", "virt_spin_lock", "xen_qlock_wait":
		return true
	}
	return false
}
