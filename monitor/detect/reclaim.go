package detect

import (
	"fmt"
	"time"
)

// fruitless finds allocations that reclaim memory again and again and get none: memory is
// used up, tasks search for pages to take, hardly any is taken, and nobody is killed for
// want of memory. The kernel gives up a search after 16 rounds and kills a process, which
// takes moments. It goes on for ever if that cannot be done: the lock oom_lock is never
// released, or the process that was killed does not get to its end. Each task then sleeps
// for a tick between two rounds, so that none of them seems to wait for long.
//
// It is part of thrashRule: both are about memory for which every allocation waits.
type fruitless struct {
	level level

	sinceNS     int64  // first inspection of the streak
	inspections int    // of the streak; 0 if there is none
	hot         int    // of these, those with enough stalls
	hotNS       int64  // last one of these
	ranNS       uint64 // time that all vCPUs have run in the streak
	total       Memory // events in the streak
	free        uint64 // free pages at the last inspection
	cpuNS       uint64 // time that all vCPUs have run at the last inspection

	// A thread that was seen in the midst of it, and at how many inspections one was.
	pid      int32
	comm     string
	function string
	retries  int
}

// observe takes an inspection. d are the events since the last one, dt ns before; ok is
// false if they are not known.
func (f *fruitless) observe(s *step, now, d Memory, ok bool, dt int64, t *ThrashThresholds) {
	var cpuNS uint64
	for i := range s.vcpus {
		cpuNS += s.vcpus[i].CPUTimeNS
	}
	ran := cpuNS - f.cpuNS
	f.cpuNS = cpuNS
	hot := d.Stalls >= max(1, stallRate*uint64(dt)/uint64(time.Second))
	none := ok && ran < mostEvents && d.Stolen < max(1, d.Stalls) && d.OOMKills == 0 &&
		100*now.FreePages < uint64(t.ThrashFree)*now.TotalPages
	if !none || f.inspections == 0 && !hot {
		*f = fruitless{level: calm, cpuNS: cpuNS}
		return
	}
	if f.inspections == 0 { // the events since the last inspection count, its time does not
		f.sinceNS, ran = s.t, 0
	}
	f.inspections++
	f.ranNS += ran
	f.total.add(d)
	f.free = now.FreePages
	if hot {
		f.hot++
		f.hotNS = s.t
	}
	f.name(s.kernel)
	switch {
	case 4*f.hot < 3*f.inspections, s.t-f.hotNS >= int64(t.Reclaim)/4:
		*f = fruitless{level: calm, cpuNS: cpuNS}
	case f.hot >= minSamples && s.t-f.sinceNS >= int64(t.Reclaim) && reclaimShare*f.ranNS >= uint64(t.Reclaim):
		f.level = hung
	case f.level != hung:
		f.level = watching
	}
}

// reclaimShare is the part of the time, one in so many, that the guest must have run: its
// tasks sleep between two rounds. A guest that gets little time takes long to kill a
// process.
const reclaimShare = 8

// name keeps the name of a thread that allocates.
func (f *fruitless) name(k *Kernel) {
	for i := range k.Waiting[:min(len(k.Waiting), MaxWaiting)] {
		w := &k.Waiting[i]
		for _, function := range w.Stack[:min(len(w.Stack), maxCallers)] {
			if hasPrefix(function, "__alloc_pages", "__alloc_frozen_pages") {
				f.pid, f.comm, f.function = w.PID, w.Comm, function
				f.retries++
				return
			}
		}
	}
}

// evidence describes the streak at dom0's time t.
func (f *fruitless) evidence(t int64, totalPages uint64) []string {
	e := []string{
		fmt.Sprintf("memory is used up for %d ms: allocations had to reclaim %d times and got %d pages, "+
			"nobody was killed for want of memory", (t-f.sinceNS)/1e6, f.total.Stalls, f.total.Stolen),
		fmt.Sprintf("free: %d of %d pages", f.free, totalPages),
	}
	if f.retries > 0 {
		e = append(e, fmt.Sprintf("threads slept in an allocation at %d of %d inspections, the last one %s (%d) in %s",
			f.retries, f.inspections, f.comm, f.pid, f.function))
	}
	return e
}

func (f *fruitless) notes(to []string) []string {
	if f.inspections > 0 {
		to = append(to, fmt.Sprintf("thrash: at %d of %d inspections reclaim got %d pages in %d rounds, within %d ms of "+
			"running", f.hot, f.inspections, f.total.Stolen, f.total.Stalls, f.ranNS/1e6))
	}
	return to
}
