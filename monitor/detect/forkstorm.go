package detect

import (
	"fmt"
	"time"
)

// ClassForkstorm: threads multiply.
const ClassForkstorm Class = "forkstorm"

// ForkstormThresholds are the limits of the rule about threads that multiply.
type ForkstormThresholds struct {
	// Forkstorm is how long threads must multiply.
	Forkstorm time.Duration
	// ForkstormThreads is by how many threads their number must have grown, or how
	// many threads of one name there must be.
	ForkstormThreads int64
	// ForkstormRunning is the number of threads per online vCPU, runnable or waiting for a
	// sleeping lock, from which on the run queues are long.
	ForkstormRunning int64
}

func (t *ForkstormThresholds) entry() entry {
	return entry{
		start: func() rule { return &forkstormRule{t: *t} },
		classes: []class{{
			Info: Info{
				Class: ClassForkstorm, Severity: 40, Waits: true,
				Reads: "number of threads, forks, largest group of one name, run queues, threads that wait for a lock",
				Early: "threads multiply and still do; or a large group, long run queues and forks that go on",
				Late:  "a group that had multiplied keeps the run queues long for four times as long",
			},
			knobs: []knob{
				milliseconds(&t.Forkstorm, "forkstorm_ms", 1500, "threads multiply"),
				number(&t.ForkstormThreads, "forkstorm_threads", 200, 10, 1_000_000,
					"threads that are new, or are of one name; half if all new ones are runnable"),
				number(&t.ForkstormRunning, "forkstorm_running", 20, 2, 100_000,
					"threads per vCPU, runnable or waiting for a lock, from which on run queues are long"),
			},
			needsKernel: true, needsQueue: true,
		}},
	}
}

// forkstormRule finds threads that multiply.
//
// Early: within forkWindow, for as long as Forkstorm and still so, the number of
// threads has grown by ForkstormThreads. In addition, either most of the new ones
// have one name and the run queues are long, or there are four times as many.
// Half of ForkstormThreads is enough if as many threads as are new are runnable: a
// guest that its load or its monitor slows down forks slowly. A service that starts
// its workers is done sooner, and its workers sleep.
//
// At a limit the number no longer grows. Then the rule needs a large group of one
// name, long run queues and forks that go on, for as long as Forkstorm. If every
// fork fails, no forks are counted. Then it needs a group that has grown within
// forkMemory and run queues that are long for four times Forkstorm.
//
// Programs that fork and exit within limits have few threads and short run queues.
//
// A thread that waits for a sleeping lock counts as a runnable one. Processes that fork
// share locks of memory. If the kernel may take a vCPU from a thread that owns one, the
// others gather behind that lock, and few are runnable.
type forkstormRule struct {
	t     ForkstormThresholds
	ring  [64]forkCount // of the last inspections
	next  int           // the ring's next place
	n     int           // counts in the ring
	level level

	now        forkCount
	grownNS    int64  // last inspection that found the number grown; 0 for never
	forking    span   // large group, long queues, forks go on
	full       span   // large group, long queues, grown before
	grown      uint64 // by how many threads within the window
	overNS     int64  // time of that growth
	forks      uint64 // forks of that growth
	running    uint64 // runnable threads
	locked     uint64 // threads that wait for a sleeping lock
	shortest   uint64 // shortest run queue
	queues     bool   // running and shortest are known; else they are 0
	multiplies bool   // the number grows, and still does
	comm       string // name of the largest group
	group      uint64 // its size
}

type forkCount struct {
	t              int64
	threads, forks uint64
}

const (
	// forkWindow is how far back the rule searches for growth.
	forkWindow = 6 * time.Second
	// forkMemory is how long a growth is remembered.
	forkMemory = time.Minute
	// forkRate is the number of forks per second from which on forks go on.
	forkRate = 10
)

func (r *forkstormRule) restart(int) {
	*r = forkstormRule{t: r.t}
}

func (r *forkstormRule) observe(s *step) level {
	k := s.kernel
	if k == nil || k.Threads == 0 { // every guest has a thread, so 0 was not read
		return r.level
	}
	last, had := r.now, r.n > 0
	r.now = forkCount{s.t, k.Threads, k.Forks}
	r.ring[r.next] = r.now
	r.next = (r.next + 1) % len(r.ring)
	r.n = min(r.n+1, len(r.ring))
	r.comm, r.group = k.LargestComm, uint64(max(k.LargestCount, 0))
	r.running, r.shortest, r.queues = s.queues()
	r.locked = lockWaiters(k)
	long := r.queues && r.running+r.locked >= uint64(r.t.ForkstormRunning)*uint64(s.online)

	r.multiplies = r.growth(long) && k.Threads > last.threads
	if r.grown >= uint64(r.t.ForkstormThreads) {
		r.grownNS = s.t
	}
	large := long && r.group >= uint64(r.t.ForkstormThreads)
	r.forking.extend(s.t, large && had && last.forksTo(r.now))
	r.full.extend(s.t, large && r.grownNS != 0 && s.t-r.grownNS < int64(forkMemory))
	switch {
	case r.multiplies, r.forking.lasts(s.t, r.t.Forkstorm), r.full.lasts(s.t, 4*r.t.Forkstorm):
		r.level = hung
	case !had:
		r.level = blind
	case large || 2*r.grown >= uint64(r.t.ForkstormThreads):
		r.level = watching
	default:
		r.level = calm
	}
	return r.level
}

// forksTo reports whether forks went on from this count to now.
func (f forkCount) forksTo(now forkCount) bool {
	least := uint64(forkRate * (now.t - f.t) / int64(time.Second))
	return now.forks > f.forks && now.forks-f.forks >= least
}

// growth finds the count of the window with the fewest threads, and the growth
// since then. It reports whether the threads multiply.
func (r *forkstormRule) growth(long bool) bool {
	now := r.now
	low := now
	for _, f := range r.ring[:r.n] {
		fewer := f.threads < low.threads && now.t-f.t <= int64(forkWindow)
		if fewer || f.threads == low.threads && f.t > low.t {
			low = f
		}
	}
	r.grown, r.overNS, r.forks = now.threads-low.threads, now.t-low.t, now.forks-low.forks
	want := uint64(r.t.ForkstormThreads)
	ofOne := long && r.group >= r.grown/2
	crowd := r.running+r.locked >= r.grown && 2*r.grown >= want
	if !crowd && r.grown < want || r.overNS < int64(r.t.Forkstorm) {
		return false
	}
	return !r.burst(low) && (r.grown >= 4*want || ofOne)
}

// burst reports whether the growth since low was one burst: less than a quarter of
// it came in the second half of the time. If inspections are few, the growth after the
// last one of the first half counts as well.
func (r *forkstormRule) burst(low forkCount) bool {
	half := low
	for _, f := range r.ring[:r.n] {
		if f.t > half.t && f.t-low.t <= r.overNS/2 {
			half = f
		}
	}
	return r.now.threads < half.threads || r.now.threads-half.threads < r.grown/4
}

func (r *forkstormRule) verdict(s *step) Verdict {
	v := Verdict{Class: ClassForkstorm, Scope: Partial}
	// Which run queue the waiting threads will join is not known: each gets its share.
	if r.queues && r.shortest+r.locked/uint64(s.online) >= uint64(r.t.ForkstormRunning) {
		v.Scope = Full
	}
	if r.multiplies {
		v.Evidence = append(v.Evidence, fmt.Sprintf("the number of threads has grown by %d to %d within %d ms, "+
			"by %d forks, and still does", r.grown, r.now.threads, r.overNS/1e6, r.forks))
	}
	if r.forking.lasts(s.t, r.t.Forkstorm) {
		v.Evidence = append(v.Evidence, fmt.Sprintf("forks go on for %d ms, %d since boot",
			(s.t-r.forking.sinceNS)/1e6, r.now.forks))
	} else if r.full.lasts(s.t, 4*r.t.Forkstorm) {
		v.Evidence = append(v.Evidence, fmt.Sprintf("the number of threads has grown until %d ms ago, "+
			"and the run queues have been long for %d ms", (s.t-r.grownNS)/1e6, (s.t-r.full.sinceNS)/1e6))
	}
	v.Evidence = append(v.Evidence, fmt.Sprintf("%d of %d threads are named %q", r.group, r.now.threads, r.comm))
	if r.queues {
		v.Evidence = append(v.Evidence, fmt.Sprintf("runnable threads: %d on %d vCPUs", r.running, s.online)+r.behindLocks())
	}
	return v
}

// behindLocks says how many threads wait for a sleeping lock, if any do.
func (r *forkstormRule) behindLocks() string {
	if r.locked == 0 {
		return ""
	}
	return fmt.Sprintf("; %d wait for a sleeping lock", r.locked)
}

// lockWaiters returns how many threads wait for a sleeping lock. If an inspection lists
// only some of the waiting threads, the others are taken to be like them.
func lockWaiters(k *Kernel) uint64 {
	listed := k.Waiting[:min(len(k.Waiting), MaxWaiting)]
	var locked uint64
	for i := range listed {
		if kind, _, _ := reasonOf(&listed[i]); kind == ClassBlocked {
			locked++
		}
	}
	if locked == 0 {
		return 0
	}
	// No guest has so many threads that this wraps.
	total := uint64(min(max(k.WaitingTotal, len(listed)), 1<<20))
	return locked * total / uint64(len(listed))
}

func (r *forkstormRule) notes(to []string) []string {
	if r.level == watching {
		to = append(to, fmt.Sprintf("forkstorm: %d threads, grown by %d within %d ms; %d named %q; %d runnable%s",
			r.now.threads, r.grown, r.overNS/1e6, r.group, r.comm, r.running, r.behindLocks()))
	}
	return to
}
