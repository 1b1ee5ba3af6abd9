package detect

import (
	"fmt"
	"time"
)

// forkstormRule finds processes that multiply.
//
// Early: the number of threads has grown by ForkstormThreads within some seconds,
// for as long as Forkstorm and still does, and either most of the growth is of
// one name and the run queues are long, or there are four times as many. Half of
// ForkstormThreads will do if as many as have come are runnable: a guest that its
// load or its monitor slows down forks slowly. A service that starts its workers
// is done in less, and they sleep.
//
// At a limit nothing grows: then a large group of one name, long run queues and
// forks that go on, for as long as Forkstorm. Where every fork fails there are no
// forks to be counted: then it takes a group that has grown within a minute and
// run queues that are long for four times Forkstorm.
//
// A storm of forks and exits within limits has few threads and short run queues.
type forkstormRule struct {
	t     Thresholds
	looks [64]forkLook // ring
	next  int
	n     int
	level level

	grownNS    int64 // last look that found the number grown; 0 for never
	forking    span  // large group, long queues, forks going on
	full       span  // large group, long queues, grown before
	grown      uint64
	overNS     int64
	forks      uint64
	running    uint64
	shortest   uint64
	queues     bool
	multiplies bool
	look       forkLook
	comm       string
	group      uint64
}

type forkLook struct {
	t              int64
	threads, forks uint64
}

// forkWindow is how far back growth is looked for.
const forkWindow = 6 * time.Second

// forkRate is how many forks per second mean that they go on.
const forkRate = 10

func (r *forkstormRule) restart(int) {
	*r = forkstormRule{t: r.t}
}

func (r *forkstormRule) observe(s *step) level {
	k := s.look
	if k == nil {
		return r.level
	}
	if k.Threads == 0 { // there is no guest without a thread: it was not read
		return r.level
	}
	last := r.look
	had := r.n > 0
	r.look = forkLook{s.t, k.Threads, k.Forks}
	r.looks[r.next] = r.look
	r.next = (r.next + 1) % len(r.looks)
	r.n = min(r.n+1, len(r.looks))
	r.comm, r.group = k.LargestComm, uint64(max(k.LargestCount, 0))
	r.running, r.shortest, r.queues = s.queues()
	long := r.queues && r.running >= uint64(r.t.ForkstormRunning)*uint64(s.online)

	r.multiplies = r.growth(long) && k.Threads > last.threads
	if r.grown >= uint64(r.t.ForkstormThreads) {
		r.grownNS = s.t
	}
	large := long && r.group >= uint64(r.t.ForkstormThreads)
	goesOn := had && k.Forks > last.forks && (k.Forks-last.forks) >= uint64(forkRate*(s.t-last.t)/int64(time.Second))
	r.forking.extend(s, large && goesOn)
	r.full.extend(s, large && r.grownNS != 0 && s.t-r.grownNS < int64(time.Minute))
	switch {
	case r.multiplies, r.forking.lasts(s.t, r.t.Forkstorm), r.full.lasts(s.t, 4*r.t.Forkstorm):
		r.level = hung
	case !had:
		r.level = blind
	case r.forking.samples > 1 || r.full.samples > 1 || large || 2*r.grown >= uint64(r.t.ForkstormThreads):
		r.level = watching
	default:
		r.level = calm
	}
	return r.level
}

// growth finds the smallest number of threads in the window and how they came to
// be as many as now, and reports whether they multiply.
func (r *forkstormRule) growth(long bool) bool {
	now := r.look
	low := now
	for i := range r.n {
		l := r.looks[i]
		if now.t-l.t <= int64(forkWindow) && l.threads < low.threads || l.threads == low.threads && l.t > low.t {
			low = l
		}
	}
	r.grown, r.overNS, r.forks = now.threads-low.threads, now.t-low.t, now.forks-low.forks
	want := uint64(r.t.ForkstormThreads)
	ofOne := long && r.group >= r.grown/2
	crowd := ofOne && r.running >= r.grown && 2*r.grown >= want
	if !crowd && r.grown < want || r.overNS < int64(r.t.Forkstorm) {
		return false
	}
	// It must not have been one burst: a quarter of it came in the second half. Where
	// looks are few that half is most of the time, so the last of them counts as well.
	half := low
	for i := range r.n {
		if l := r.looks[i]; l.t >= low.t && l.t-low.t <= r.overNS/2 && l.t > half.t {
			half = l
		}
	}
	if now.threads < half.threads || now.threads-half.threads < r.grown/4 {
		return false
	}
	return r.grown >= 4*want || ofOne
}

func (r *forkstormRule) verdict(s *step) Verdict {
	v := Verdict{Class: ClassForkstorm, Scope: Partial}
	if r.queues && r.shortest >= uint64(r.t.ForkstormRunning) {
		v.Scope = Full
	}
	if r.multiplies {
		v.Evidence = append(v.Evidence, fmt.Sprintf("the number of threads has grown by %d to %d within %d ms, by %d forks, and still does", r.grown, r.look.threads, r.overNS/1e6, r.forks))
	}
	if r.forking.lasts(s.t, r.t.Forkstorm) {
		v.Evidence = append(v.Evidence, fmt.Sprintf("forks go on for %d ms, %d since boot", (s.t-r.forking.sinceNS)/1e6, r.look.forks))
	} else if r.full.lasts(s.t, 4*r.t.Forkstorm) {
		v.Evidence = append(v.Evidence, fmt.Sprintf("threads had multiplied %d ms ago, and the run queues have been long for %d ms since", (s.t-r.grownNS)/1e6, (s.t-r.full.sinceNS)/1e6))
	}
	v.Evidence = append(v.Evidence, fmt.Sprintf("%d of %d threads are named %q", r.group, r.look.threads, r.comm))
	if r.queues {
		v.Evidence = append(v.Evidence, fmt.Sprintf("runnable threads: %d on %d vCPUs", r.running, s.online))
	}
	return v
}

func (r *forkstormRule) notes(to []string) []string {
	if r.level == watching {
		to = append(to, fmt.Sprintf("forkstorm: %d threads, grown by %d within %d ms; %d named %q; %d runnable", r.look.threads, r.grown, r.overNS/1e6, r.group, r.comm, r.running))
	}
	return to
}
