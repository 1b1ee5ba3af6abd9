package detect

import (
	"fmt"
	"time"
)

// ClassStarvation: threads are runnable and never run, although their vCPU does.
const ClassStarvation Class = "starvation"

// StarvationThresholds are the limits of the rule about threads that never run. Both are
// times that the thread's vCPU has run, by the hypervisor: a guest that gets little time
// has its threads wait for long.
type StarvationThresholds struct {
	// Starvation is how long a thread must wait for a CPU that runs what has precedence.
	// By default the kernel leaves other threads 5% of each second beside real-time ones.
	Starvation time.Duration
	// StarvationLate is the same, whatever the CPU runs.
	StarvationLate time.Duration
}

func (t *StarvationThresholds) entry() entry {
	return entry{
		start: func() rule { return &starvationRule{t: *t} },
		classes: []class{{
			Info: Info{
				Class: ClassStarvation, Severity: 45, Waits: true,
				Reads: "threads that wait for a CPU, their task switches, policy and priority, CPU time, run queue",
				Early: "runnable, has not run, and its vCPU runs a real-time or deadline thread that has precedence",
				Late:  "runnable and has not run for very long while its vCPU runs others, whatever they are",
			},
			knobs: []knob{
				milliseconds(&t.Starvation, "starvation_ms", 3000,
					"a vCPU runs threads that have precedence, and one that waits for it does not run"),
				milliseconds(&t.StarvationLate, "starvation_late_ms", 15_000, "the same, whatever the vCPU runs"),
			},
			needsKernel: true, needsQueue: true,
		}},
	}
}

// starvationRule finds threads that are runnable and do not run, although the vCPU in
// whose run queue they are runs others. All times are those that the vCPU has run.
//
// Early: at three of four inspections the vCPU runs a real-time or deadline thread that
// has precedence over the one that waits. If the vCPU has not switched tasks since, the
// time Starvation is enough. If it has, the kernel may leave the others their 5% of each
// second, for which all of them queue: then the time must also be that of sharedSlice
// for each runnable thread.
//
// Late, on its length alone: StarvationLate, and fairSlice for each runnable thread. A
// thread that has asked for little is left out: SCHED_IDLE, or a nice value above 0.
//
// Threads that a limit stops are not listed as runnable (Kernel.Runnable). The vCPU's own
// thread that goes before all others (PolicyStop) starves nobody: it runs for moments,
// and if it never ends, the rules about vCPUs find it.
type starvationRule struct {
	t       StarvationThresholds
	waits   []queued // at most MaxRunnable
	next    []queued // the same of the inspection that is read
	vcpus   []starvedVCPU
	total   int // Kernel.RunnableTotal of the last inspection
	began   bool
	level   level
	threads int // that starve
}

// starvedVCPU is what the rule knows of a vCPU.
type starvedVCPU struct {
	cpuNS    uint64 // time run at the last inspection
	switches uint64 // task switches at the last inspection
	read     bool   // switches was read
	starves  bool   // threads that wait for it starve
}

// queued is one wait of a thread for a CPU.
type queued struct {
	Runnable
	sinceNS     int64  // first inspection that showed it
	ranNS       uint64 // time that its vCPU has run since then
	inspections int    // that showed it
	preceded    int    // of these, at which its vCPU ran what has precedence
	switched    bool   // its vCPU has switched tasks since then, or nobody can say
	by          Runnable
	running     uint32 // runnable threads of its vCPU
	starves     bool
	late        bool // decided by its length alone
}

const (
	// sharedSlice is the time for each thread that waits beside a real-time thread: a
	// slice of up to 10 ms (a tick, HZ at 100) in the 5% that the kernel leaves to all of
	// them (kernel.sched_rt_runtime_us; since Linux 6.12 fair_server).
	sharedSlice = 200 * time.Millisecond
	// fairSlice is the time for each thread that waits beside its equals: a tick.
	fairSlice = 10 * time.Millisecond
	// realTime is the least priority below which threads are real-time ones: MAX_RT_PRIO
	// in include/linux/sched/prio.h.
	realTime = 100
	// niceZero is the priority of nice 0: DEFAULT_PRIO in the same file.
	niceZero = 120
)

func (r *starvationRule) restart(vcpus int) {
	if r.waits == nil {
		r.waits, r.next = make([]queued, 0, MaxRunnable), make([]queued, 0, MaxRunnable)
	}
	if len(r.vcpus) != vcpus {
		r.vcpus = make([]starvedVCPU, vcpus)
	}
	clear(r.vcpus)
	*r = starvationRule{t: r.t, waits: r.waits[:0], next: r.next[:0], vcpus: r.vcpus}
}

func (r *starvationRule) observe(s *step) level {
	if k := s.kernel; k != nil && k.Walked > 0 { // else the task list was not read
		r.inspect(s, k)
	}
	for i := range r.vcpus {
		if r.vcpus[i].starves && s.vcpus[i].Online {
			s.affected[i] = true
		}
	}
	return r.level
}

// inspect takes an inspection of the kernel.
func (r *starvationRule) inspect(s *step, k *Kernel) {
	r.next = r.next[:0]
	for i := range k.Runnable[:min(len(k.Runnable), MaxRunnable)] {
		r.take(s, &k.Runnable[i])
	}
	r.waits, r.next = r.next, r.waits
	r.total = max(k.RunnableTotal, len(k.Runnable))
	for i := range r.vcpus {
		v, q := &r.vcpus[i], s.vcpus[i].Queue
		v.cpuNS, v.read, v.starves = s.vcpus[i].CPUTimeNS, q != nil, false
		if q != nil {
			v.switches = q.Switches
		}
	}
	l := calm
	if !r.began {
		l = blind
	}
	r.began, r.threads = true, 0
	for i := range r.waits {
		w := &r.waits[i]
		switch w.starves, w.late = r.starves(w, s.t); {
		case w.starves:
			r.threads++
			r.vcpus[w.CPU].starves = true
			l = hung
		case w.inspections >= minSamples && w.ranNS >= uint64(r.t.Starvation)/4:
			l = max(l, watching)
		}
	}
	r.level = l
}

// take begins the wait of a thread, or continues it.
func (r *starvationRule) take(s *step, k *Runnable) {
	if k.CPU < 0 || k.CPU >= len(s.vcpus) || !s.vcpus[k.CPU].Online {
		return
	}
	w := queued{Runnable: *k, sinceNS: s.t}
	now, was := &s.vcpus[k.CPU], &r.vcpus[k.CPU]
	if old := r.find(k); old != nil {
		w = *old
		w.Runnable = *k
		if now.CPUTimeNS > was.cpuNS {
			w.ranNS += now.CPUTimeNS - was.cpuNS
		}
		w.switched = w.switched || now.Queue == nil || !was.read || now.Queue.Switches != was.switches
	}
	w.inspections++
	if q := now.Queue; q != nil {
		if q.PID == k.PID {
			return // it runs: the list was read a moment after the queue
		}
		w.running = q.Running
		if q.precedes(k) {
			w.preceded++
			w.by = Runnable{PID: q.PID, Comm: q.Comm, Schedule: q.Schedule}
		}
	}
	r.next = append(r.next, w)
}

// find returns the wait that a thread was in at the last inspection, and nil if it has
// run since.
func (r *starvationRule) find(k *Runnable) *queued {
	for i := range r.waits {
		if w := &r.waits[i]; w.PID == k.PID && w.Comm == k.Comm && w.Switches == k.Switches {
			return w
		}
	}
	return nil
}

// precedes reports whether the thread that runs on a CPU keeps it as long as it wants to,
// although another one waits for the CPU.
func (q *RunQueue) precedes(w *Runnable) bool {
	if q.Policy == "" || q.Policy == PolicyStop || w.Policy == "" || q.Priority >= realTime {
		return false
	}
	return q.Priority < w.Priority || q.Priority == w.Priority && q.Policy == PolicyFIFO
}

// starves decides on one wait. late is true if its length alone decided.
func (r *starvationRule) starves(w *queued, t int64) (starves, late bool) {
	if w.inspections < minSamples {
		return false, false
	}
	least := int64(r.t.Starvation)
	if w.switched {
		least = max(least, int64(w.running)*int64(sharedSlice))
	}
	if 4*w.preceded >= 3*w.inspections && t-w.sinceNS >= least && w.ranNS >= uint64(least) {
		return true, false
	}
	modest := w.Policy == "" || w.Policy == PolicyIdle || w.Priority > niceZero
	least = max(int64(r.t.StarvationLate), int64(w.running)*int64(fairSlice))
	late = !modest && t-w.sinceNS >= least && w.ranNS >= uint64(least)
	return late, late
}

func (r *starvationRule) verdict(s *step) Verdict {
	v := Verdict{Class: ClassStarvation, Scope: s.scope()}
	shown := 0
	for i := range r.vcpus {
		if !r.vcpus[i].starves {
			continue
		}
		v.VCPUs = append(v.VCPUs, i)
		first := true
		for j := range r.waits {
			w := &r.waits[j]
			if w.CPU != i || !w.starves {
				continue
			}
			if first {
				v.Evidence = append(v.Evidence, w.runs(s.vcpus[i].Queue))
				first = false
			}
			if shown++; shown <= maxShown {
				v.Evidence = append(v.Evidence, w.evidence(s.t))
			}
		}
	}
	if shown > maxShown {
		v.Evidence = append(v.Evidence, fmt.Sprintf("and %d more", shown-maxShown))
	}
	v.Evidence = append(v.Evidence, fmt.Sprintf("threads that wait for a CPU: %d", r.total))
	return v
}

// runs says what the vCPU of the wait runs instead. q is its run queue now, or nil.
func (w *queued) runs(q *RunQueue) string {
	by := w.by
	if w.preceded == 0 && q != nil {
		by = Runnable{PID: q.PID, Comm: q.Comm, Schedule: q.Schedule}
	}
	e := fmt.Sprintf("vCPU %d: runs %s (%d), %s", w.CPU, by.Comm, by.PID, by.text())
	if w.preceded > 0 {
		e += fmt.Sprintf(", which has precedence, at %d of %d inspections", w.preceded, w.inspections)
	}
	if !w.switched {
		e += "; no task switch since"
	}
	return e
}

// evidence describes a wait at dom0's time t.
func (w *queued) evidence(t int64) string {
	e := fmt.Sprintf("vCPU %d: thread %s (%d), %s, is runnable and has not run for %d ms, of which the vCPU ran %d ms",
		w.CPU, w.Comm, w.PID, w.text(), (t-w.sinceNS)/1e6, w.ranNS/1e6)
	if w.late {
		e += "; judged by its length alone"
	}
	return e
}

// text describes a policy and a priority as chrt(1) and nice(1) do.
func (s Schedule) text() string {
	switch {
	case s.Policy == "":
		return "policy unknown"
	case s.Priority < 0 || s.Policy == PolicyStop:
		return s.Policy
	case s.Priority < realTime:
		return fmt.Sprintf("%s, real-time priority %d", s.Policy, realTime-1-s.Priority)
	}
	return fmt.Sprintf("%s, nice %d", s.Policy, s.Priority-niceZero)
}

func (r *starvationRule) notes(to []string) []string {
	var longest *queued
	for i := range r.waits {
		w := &r.waits[i]
		if w.inspections >= minSamples && (longest == nil || w.ranNS > longest.ranNS) {
			longest = w
		}
	}
	if longest != nil {
		to = append(to, fmt.Sprintf("starvation: %d threads wait for a CPU; longest: %s (%d) on vCPU %d, for %d ms that "+
			"it ran, precedence at %d of %d inspections", r.total, longest.Comm, longest.PID, longest.CPU,
			longest.ranNS/1e6, longest.preceded, longest.inspections))
	}
	return to
}
