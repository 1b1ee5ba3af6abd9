package linux

import (
	"fmt"
	"slices"
	"strings"

	"hangbench/monitor/detect"
)

// A Need is something that a Kernel reads of a guest's kernel, and what depends on it.
type Need struct {
	// What says it for people, as in "the locks of class mutex".
	What string
	// Ways lists how kernels of different ages have it. Each way is a list of names, of
	// which the kernel must have all: a field as type.path, a type, a constant as "enum
	// NAME", or a variable or function as "symbol NAME". The first way that the kernel has
	// is used, except with Every.
	Ways [][]string
	// Every: all ways that the kernel has are used together, for instance counters that
	// are added up.
	Every bool
	// More are names that are used if the kernel has them, and that change nothing if not.
	More []string
	// Open: without it the kernel cannot be read at all, and Open returns an error.
	Open bool
	// Stops lists the classes that cannot be judged without it.
	Stops []detect.Class
	// Without says what else is worse without it, as a sentence without its subject's
	// class. It is empty if Open or Stops says all.
	Without string
}

const symbolName, enumName = "symbol ", "enum "

// one returns a way that each of the names is by itself.
func one(names ...string) [][]string {
	var ways [][]string
	for _, n := range names {
		ways = append(ways, []string{n})
	}
	return ways
}

// each returns names with a prefix.
func each(prefix string, names []string) []string {
	var all []string
	for _, n := range names {
		all = append(all, prefix+n)
	}
	return all
}

// lockNeed is the need of a class of sleeping locks: its owner, if it has one, its queue
// of waiters and a waiter's element. Since Linux 7.1 the lock points at its first waiter
// and the waiters form a ring; before, the lock holds the head of their list. With
// task_struct.blocker (6.16) the thread says itself which lock it waits for.
func lockNeed(typ, waiter, owner string) Need {
	queue := []string{waiter + ".list", waiter + ".task"}
	n := Need{
		What: "the " + typ + " that a thread waits for",
		Ways: [][]string{
			append([]string{typ + ".wait_list"}, queue...),
			append([]string{typ + ".first_waiter"}, queue...),
			{"task_struct.blocker"},
		},
		More: []string{"task_struct.blocker"},
	}
	if owner != "" {
		for i := range n.Ways {
			n.Ways[i] = append(n.Ways[i], typ+"."+owner)
		}
	}
	return n
}

// Needs returns everything that a Kernel reads. Fields, Open, Inspect and the command
// that checks a kernel use this table.
func Needs() []Need {
	waits := []detect.Class{detect.ClassBlocked, detect.ClassIO}
	lists := append(slices.Clone(waits), detect.ClassStarvation)
	counts := func(names []string) [][]string {
		var ways [][]string
		for _, n := range names {
			of := eventCounts
			if strings.HasPrefix(n, nodes) {
				of = nodeCounts
			}
			ways = append(ways, []string{symbolName + of, enumName + n})
		}
		return ways
	}
	waiter := []string{"task_struct.on_rq", "task_struct.on_cpu", "task_struct.prio", "task_struct.policy"}
	keeper := []string{"timekeeper.tkr_mono.base", "timekeeper.tkr_mono.xtime_nsec", "timekeeper.tkr_mono.shift"}
	mutex := lockNeed("mutex", "mutex_waiter", "owner")
	mutex.Stops = []detect.Class{detect.ClassBlocked}
	rwsem := lockNeed("rw_semaphore", "rwsem_waiter", "owner")
	rwsem.Stops = []detect.Class{detect.ClassBlocked}
	semaphore := lockNeed("semaphore", "semaphore_waiter", "")
	semaphore.Without = "blocked: a semaphore has no name"
	semaphore.More = append(semaphore.More, "semaphore.last_holder")
	return []Need{
		{What: "the kernel's banner", Ways: one("symbol linux_banner"), Open: true},
		{What: "an entry point that tells where the kernel is", Open: true, Every: true,
			Ways: one(each(symbolName, slices.Concat(systemCallEntries, pageFaultEntries))...)},
		{What: "the kernel's own page tables", Ways: one(each(symbolName, ownRoots)...),
			Without: "all: those of a process are used, which end with it"},
		{What: "the run queues", Open: true, Ways: [][]string{{"symbol runqueues", "symbol __per_cpu_offset",
			"rq.nr_switches", "rq.nr_running", "rq.clock", "rq.curr"}}},
		{What: "the threads", Open: true, Ways: [][]string{{"task_struct.pid", "task_struct.comm", "task_struct.tasks",
			"task_struct.signal", "task_struct.thread_node", "task_struct.stack", "task_struct.thread.sp",
			"task_struct.nvcsw", "task_struct.nivcsw", "signal_struct.thread_head"}}},
		{What: "the list of threads", Ways: one("symbol init_task"), Stops: lists, More: []string{"rq.nr_uninterruptible"}},
		{What: "the state of a thread", Ways: one("task_struct.__state", "task_struct.state"), Stops: lists},
		{What: "the functions on a stack", Ways: [][]string{{"symbol _stext", "symbol _etext"}}, Stops: waits},
		{What: "whether a thread waits for I/O", Ways: one("task_struct.in_iowait"),
			Without: "io: a wait for I/O is known by its stack alone"},
		mutex, rwsem, semaphore,
		{What: "the request to schedule", Ways: one("task_struct.thread_info.flags"),
			Without: "soft: a request by another CPU is not seen, only the number of runnable threads"},
		{What: "the preempt count",
			Ways:    [][]string{{"pcpu_hot.preempt_count", "symbol pcpu_hot"}, {"symbol __preempt_count"}},
			Without: "soft: a request by the CPU itself is not seen"},
		{What: "a CPU's next timer", Stops: []detect.Class{detect.ClassStopped}, Ways: [][]string{{"symbol hrtimer_bases",
			"hrtimer_cpu_base.expires_next", "hrtimer_cpu_base.hres_active"}}},
		{What: "the guest's clock", Stops: []detect.Class{detect.ClassStopped}, Ways: [][]string{
			append([]string{"symbol timekeeper_data", "tk_data.timekeeper"}, keeper...), // since 6.15
			append([]string{"symbol tk_core", "tk_data.timekeeper"}, keeper...),         // since 6.13
			append([]string{"symbol tk_core", "seqcount_raw_spinlock_t"}, keeper...),
		}},
		{What: "a CPU's count of interrupts", Ways: [][]string{
			{"symbol irq_stat", "irq_cpustat_t.irq_hv_callback_count"},
			{"symbol irq_stat", "irq_cpustat_t.counts", "enum IRQ_COUNT_HYPERVISOR_CALLBACK"},
		}, More: append(each("irq_cpustat_t.", interrupts), each(enumName, interruptCounts)...),
			Without: "hard: more samples are needed, and the places in the code decide"},
		{What: "the interrupts of a CPU that have a number", Ways: [][]string{{"symbol kstat", "kernel_stat.irqs_sum"}},
			Without: "soft: a CPU that handles one interrupt after the other with interrupts off is called hard"},
		{What: "the threads that wait for a CPU", Stops: []detect.Class{detect.ClassStarvation}, Ways: [][]string{
			append([]string{"task_struct.thread_info.cpu"}, waiter...), // since 5.16
			append([]string{"task_struct.cpu"}, waiter...),
		}, More: []string{"rq.stop", "task_struct.se.cfs_rq", "cfs_rq.throttle_count"}},
		{What: "the number of threads and forks", Stops: []detect.Class{detect.ClassForkstorm},
			Ways: [][]string{{"symbol nr_threads", "symbol total_forks"}}},
		{What: "the CPU that panics", Ways: one("symbol panic_cpu"),
			Without: "panic: a panic that does not tell the hypervisor is not found"},
		{What: "whether the kernel boots", Ways: [][]string{{"symbol system_state", "enum SYSTEM_RUNNING",
			"enum SYSTEM_SCHEDULING"}}, Without: "all: a guest that boots is judged like one that runs"},
		{What: "the size of memory", Ways: one("symbol _totalram_pages", "symbol totalram_pages"),
			Stops: []detect.Class{detect.ClassThrash}},
		{What: "free memory", Ways: [][]string{{"symbol vm_zone_stat", enumName + freePages}},
			Stops: []detect.Class{detect.ClassThrash}},
		{What: "reclaimed pages that were needed again", Every: true, Stops: []detect.Class{detect.ClassThrash},
			Ways: counts(vmEvents.refaults)},
		{What: "reclaimed pages", Every: true, Ways: counts(vmEvents.stolen), Stops: []detect.Class{detect.ClassThrash}},
		{What: "scanned pages", Every: true, Ways: counts(vmEvents.scanned), Without: "thrash: the evidence lacks them"},
		{What: "major faults", Every: true, Ways: counts(vmEvents.major), Stops: []detect.Class{detect.ClassThrash}},
		{What: "allocations that had to reclaim", Every: true, Ways: counts(vmEvents.stalls),
			Stops: []detect.Class{detect.ClassThrash}},
		{What: "kills for want of memory", Every: true, Ways: counts(vmEvents.oom),
			Without: "thrash: the evidence lacks them"},
		{What: "sectors read and written", Every: true, Ways: counts(vmEvents.io),
			Without: "io, blocked: a disk that is slow and works is not told from one that is stuck"},
		disksNeed(), gracePeriods(), frozenNeed(), serverNeed(),
		{What: "the map of all memory", Ways: [][]string{{"symbol page_offset_base", "symbol max_pfn"}},
			Without: "all: each address is translated by the page tables, which takes longer"},
		{What: "page-table isolation", Ways: [][]string{{"symbol boot_cpu_data", "cpuinfo_x86.x86_capability"}},
			Without: "all: whether it is on is not said"},
	}
}

// Fields returns the names that a Kernel looks up in a Layout besides symbols: fields as
// type.path, types, and constants as "enum NAME". A name that some kernels lack ends in
// "?".
func Fields() []string {
	var fields []string
	seen := map[string]bool{}
	add := func(names []string, mark string) {
		for _, n := range names {
			if !strings.HasPrefix(n, symbolName) && !seen[n] {
				seen[n] = true
				fields = append(fields, n+mark)
			}
		}
	}
	for _, n := range Needs() {
		mark := "?"
		if n.Open {
			mark = ""
		}
		for _, w := range n.Ways {
			add(w, mark)
		}
		add(n.More, "?")
	}
	return fields
}

// Has reports whether a layout has a name of a Need.
func Has(l Layout, name string) bool {
	if s, ok := strings.CutPrefix(name, symbolName); ok {
		_, _, ok := l.Lookup(s)
		return ok
	}
	if c, ok := strings.CutPrefix(name, enumName); ok {
		_, ok := l.Constant(c)
		return ok
	}
	if typ, path, ok := strings.Cut(name, "."); ok {
		_, ok := l.Field(typ, path)
		return ok
	}
	_, ok := l.SizeOf(name)
	return ok
}

// Lacks returns, for each way, the first name that the layout does not have, and "" for a
// way that it has. met reports whether it has one of the ways.
func (n *Need) Lacks(l Layout) (first []string, met bool) {
	first = make([]string, len(n.Ways))
	for i, way := range n.Ways {
		if j := slices.IndexFunc(way, func(name string) bool { return !Has(l, name) }); j >= 0 {
			first[i] = way[j]
		} else {
			met = true
		}
	}
	return first, met
}

// Why says what is missing, for a Need that the layout does not meet.
func (n *Need) Why(l Layout) string {
	first, _ := n.Lacks(l)
	return fmt.Sprintf("%s: the kernel has no %s", n.What, strings.Join(slices.Compact(first), " and no "))
}

// Unjudged returns the classes that cannot be judged in a guest with this layout.
func Unjudged(l Layout) []detect.Unjudged {
	var all []detect.Unjudged
	for _, n := range Needs() {
		if _, met := n.Lacks(l); met {
			continue
		}
		for _, c := range n.Stops {
			if !slices.ContainsFunc(all, func(u detect.Unjudged) bool { return u.Class == c }) {
				all = append(all, detect.Unjudged{Class: c, Why: n.Why(l)})
			}
		}
	}
	return all
}
