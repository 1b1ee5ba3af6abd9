package linux

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"time"

	"hangbench/monitor/detect"
)

const (
	// maxThreads bounds the walk of the task list: more than a guest of a few
	// hundred MiB can have.
	maxThreads = 1 << 14
	// maxWalk ends a walk that takes too long, because every task lies in another
	// page that has to be mapped first.
	maxWalk = time.Second
	// maxUnreadable bounds detect.Kernel.Unreadable.
	maxUnreadable = 16

	// maxReuse is how many looks may make use of one walk of the task list.
	maxReuse = 10

	// Bits of a task's state (include/linux/sched.h).
	taskRunning         = 0x000
	taskUninterruptible = 0x002
	taskNoLoad          = 0x400
)

// walked is what the walks of the task list leave behind. Most threads are there
// the next time again.
type walked struct {
	looks   uint64           // looks so far
	tasks   []task           // threads met in any of them
	known   map[uint64]int32 // address of a thread to its place in tasks
	met     int              // threads met in this one
	next    int32            // where in tasks the next thread was, if nothing has changed
	waiting []int32          // the first of them in state D, their places in tasks
	total   int              // of threads in state D
	began   time.Time

	// What the counters said at the last walk, and how often it has been made use
	// of since; maxReuse if it may not be.
	thenForks, thenThreads uint64
	reused                 int
}

type task struct {
	addr  uint64
	look  uint64 // the look that met it last
	pid   int32
	group int32    // of threads of this name, -1 before it is known
	comm  [16]byte // the name as it stands in memory
	runs  bool     // it is runnable, or was running
	wait  *wait    // what was found when it was in state D
}

// lookSymbols are addresses of variables, slid; 0 for those that this kernel
// does not have.
type lookSymbols struct {
	initTask, threads, forks, panicCPU, timekeeping uint64
	state                                           uint64 // system_state
	runningState                                    uint32 // its value from the first process on
	totalRAM, zones, nodes                          uint64
	eventSums                                       [6][]uint64 // offsets in vm_event_states, in the order of events
	eventSpan                                       span        // that holds them all
	refaults                                        []uint64    // offsets in vm_node_stat
	free                                            place       // in vm_zone_stat
}

func (k *Kernel) findSymbols() {
	at := func(names ...string) uint64 {
		for _, name := range names {
			if va, err := k.Symbol(name); err == nil {
				return va
			}
		}
		return 0
	}
	// An array of the kernel's counters has some hundred, and fits in maxSpan.
	counters := func(names []string) (offs []uint64) {
		for _, name := range names {
			if v, ok := k.layout.Constant(name); ok && v >= 0 && v < maxSpan/8 {
				offs = append(offs, 8*uint64(v))
			}
		}
		return offs
	}
	k.lookSymbols = lookSymbols{
		initTask: at("init_task"), threads: at("nr_threads"), forks: at("total_forks"), panicCPU: at("panic_cpu"),
		timekeeping: at("tk_core"), totalRAM: at("_totalram_pages", "totalram_pages"), zones: at("vm_zone_stat"), nodes: at("vm_node_stat"),
		refaults: counters(refaults),
	}
	if v, ok := k.layout.Constant("SYSTEM_RUNNING"); ok && v > 0 && v < 100 {
		k.state, k.runningState = at("system_state"), uint32(v)
	}
	for i, names := range [...][]string{events.scanned, events.stolen, events.major, events.stalls, events.oom, events.io} {
		k.eventSums[i] = counters(names)
		for _, off := range k.eventSums[i] {
			if k.eventSpan.len == 0 {
				k.eventSpan = span{off, 8}
			}
			k.eventSpan = cover(k.eventSpan.off, k.eventSpan.len, off, 8)
		}
	}
	if c := counters([]string{"NR_FREE_PAGES"}); len(c) == 1 {
		k.free = place{c[0], true}
	}
}

// Look fills out anew. Its work is bounded: at most maxThreads tasks are read,
// and the stacks of detect.MaxWaiting of them.
func (k *Kernel) Look(out *detect.Kernel) {
	*out = detect.Kernel{Panicking: -1, Waiting: out.Waiting[:0], Unreadable: out.Unreadable[:0]}
	k.forget()
	lost := func(what string, err error) {
		if len(out.Unreadable) < maxUnreadable {
			out.Unreadable = append(out.Unreadable, fmt.Sprintf("%s: %v", what, err))
		}
	}
	number := func(symbol string, va uint64) uint64 {
		if va == 0 {
			lost(symbol, errAbsent)
			return 0
		}
		v, err := k.u64(va)
		if err != nil {
			lost(symbol, err)
			return 0
		}
		return v
	}
	// An int in the kernel, whatever lies behind it.
	out.Threads = number("nr_threads", k.threads) & math.MaxUint32
	out.Forks = number("total_forks", k.forks)
	if k.panicCPU == 0 {
		lost("panic_cpu", errAbsent)
	} else if v, err := k.u32(k.panicCPU); err != nil {
		lost("panic_cpu", err)
	} else if int32(v) >= 0 {
		out.Panicking = int(v)
	}
	if k.state == 0 {
		lost("system_state", errAbsent)
	} else if v, err := k.u32(k.state); err != nil {
		lost("system_state", err)
	} else if out.Phase = detect.PhaseRunning; v < k.runningState {
		out.Phase = detect.PhaseBooting
	}
	k.time(out, lost)
	k.memory(out, number, lost)
	k.threadsOf(out, lost)
}

type layoutError string

func (e layoutError) Error() string { return string(e) }

const errAbsent = layoutError("this kernel has none, or its layout does not say where")

// time reads the guest's monotonic clock as of its last update. The kernel's
// sequence count is odd during an update.
func (k *Kernel) time(out *detect.Kernel, lost func(string, error)) {
	o := &k.off
	if k.timekeeping == 0 || !o.keeper.ok || !o.base.ok || !o.xtime.ok || !o.shift.ok {
		lost("the guest's clock", errAbsent)
		return
	}
	for range 4 {
		before, err := k.u32(k.timekeeping)
		var base, xtime uint64
		var shift, after uint32
		for _, r := range []struct {
			off place
			to  *uint64
		}{{o.base, &base}, {o.xtime, &xtime}} {
			if err == nil {
				*r.to, err = k.u64(k.timekeeping + o.keeper.off + r.off.off)
			}
		}
		if err == nil {
			shift, err = k.u32(k.timekeeping + o.keeper.off + o.shift.off)
		}
		if err == nil {
			after, err = k.u32(k.timekeeping)
		}
		if err != nil {
			lost("the guest's clock", err)
			return
		}
		if before == after && before&1 == 0 && shift < 64 && base <= math.MaxInt64/2 {
			out.MonotonicNS = int64(base + xtime>>shift&(math.MaxInt64/2))
			return
		}
	}
	lost("the guest's clock", layoutError("it is in the middle of an update, or garbage"))
}

func (k *Kernel) memory(out *detect.Kernel, number func(string, uint64) uint64, lost func(string, error)) {
	m := &out.Memory
	m.TotalPages = number("totalram_pages", k.totalRAM)
	if k.zones == 0 || !k.free.ok {
		lost("NR_FREE_PAGES", errAbsent)
	} else if v := int64(number("vm_zone_stat", k.zones+k.free.off)); v > 0 {
		// The sum may be below zero for a moment: what CPUs have not added yet.
		m.FreePages = uint64(v)
	}
	if k.nodes == 0 || len(k.refaults) == 0 {
		lost("WORKINGSET_REFAULT", errAbsent)
	}
	for _, off := range k.refaults {
		if k.nodes != 0 {
			m.Refaults += uint64(max(0, int64(number("vm_node_stat", k.nodes+off))))
		}
	}
	sums := [...]*uint64{&m.Scanned, &m.Stolen, &m.MajorFault, &m.Stalls, &m.OOMKills, &out.IOSectors}
	for i := range sums {
		if len(k.eventSums[i]) == 0 {
			lost("counters of "+[...]string{"scanned pages", "reclaimed pages", "major faults", "stalled allocations", "OOM kills", "I/O"}[i], errAbsent)
		}
	}
	for c := range k.cpus {
		at := k.cpus[c].events
		if at == 0 && c == 0 {
			lost("vm_event_states", errAbsent)
		}
		if at == 0 || k.eventSpan.len == 0 {
			continue
		}
		b := k.span[:k.eventSpan.len]
		if err := k.read(at+k.eventSpan.off, b); err != nil {
			lost("vm_event_states", err)
			continue
		}
		for i, to := range sums {
			for _, off := range k.eventSums[i] {
				*to += binary.LittleEndian.Uint64(b[off-k.eventSpan.off:])
			}
		}
	}
}

// threadsOf walks the task list: all processes, and of each all threads.
// unchanged reports whether a walk of the task list would come to what the last
// one came to: no thread was in state D then and none is now, and as many have
// been born and are alive as then. Each CPU counts how many went to sleep in
// state D there less how many were woken from it there, whence sums alone mean
// something; they are read while the guest runs, whence the list is walked again
// soon in any case.
func (k *Kernel) unchanged(out *detect.Kernel) bool {
	w := &k.walked
	if !k.off.uninterruptible.ok || w.reused >= maxReuse-1 || out.Forks == 0 || out.Threads == 0 || out.Forks != w.thenForks || out.Threads != w.thenThreads {
		return false
	}
	var sum uint32
	for i := range k.cpus {
		n, err := k.u32(k.cpus[i].rq + k.off.uninterruptible.off)
		if err != nil {
			return false
		}
		sum += n
	}
	return sum == 0
}

func (k *Kernel) threadsOf(out *detect.Kernel, lost func(string, error)) {
	w := &k.walked
	if k.unchanged(out) {
		w.reused++
	} else {
		k.walk(out, lost)
	}
	out.Walked, out.WaitingTotal = w.met, w.total
	for i := range k.groups {
		// Among equals the first name, to be repeatable.
		if g := &k.groups[i]; g.look == w.looks && (g.size > out.LargestCount || g.size == out.LargestCount && g.comm < out.LargestComm) {
			out.LargestComm, out.LargestCount = g.comm, g.size
		}
	}
	for _, i := range w.waiting {
		wt, err := k.waits(&w.tasks[i])
		if err != nil {
			lost(fmt.Sprintf("a waiting thread, %s (%d)", wt.Comm, wt.PID), err)
		}
		out.Waiting = append(out.Waiting, wt)
	}
}

// walk goes through the task list.
func (k *Kernel) walk(out *detect.Kernel, lost func(string, error)) {
	w := &k.walked
	w.looks++
	w.reused = maxReuse // unless all is well
	w.waiting, w.met, w.total, w.next = w.waiting[:0], 0, 0, 0
	if len(w.tasks) > 2*maxThreads || len(k.groups) > maxNames {
		clear(w.known)
		clear(w.tasks) // they hold pointers
		w.tasks = w.tasks[:0]
		clear(k.names)
		clear(k.groups)
		k.groups = k.groups[:0]
	}
	w.began = time.Now()
	if k.initTask == 0 {
		lost("the task list", errAbsent)
		return
	}
	if !k.off.state.ok {
		lost("task states", errAbsent)
	}
	err := k.walkProcesses()
	if err != nil {
		lost("the task list", err)
	}
	// Tasks come and go during the walk; more than a few missing is another thing.
	if off := int64(out.Threads) - int64(w.met); off > 4+int64(out.Threads)/8 || -off > 4+int64(out.Threads)/8 {
		lost("the task list", layoutError("met "+strconv.Itoa(w.met)+" threads, nr_threads says "+strconv.FormatUint(out.Threads, 10)))
	} else if err == nil && w.total == 0 && k.off.state.ok {
		w.thenForks, w.thenThreads, w.reused = out.Forks, out.Threads, 0
	}
}

// errLoop says that a list does not come back to its head.
const errLoop = layoutError("the list does not come back to its head")

// follow goes through a list, given its head and the first element's list node,
// for at most *budget elements. visit gets the address of a node and returns the
// one after it. A loop that misses the head is noticed (Brent's way: the node at
// every power of two is remembered) after at most three times around.
func (k *Kernel) follow(head, node uint64, budget *int, visit func(node uint64) (next uint64, err error)) error {
	mark, steps, limit := uint64(0), 0, 1
	for node != head {
		if node < kernelHalf || node&7 != 0 {
			return fmt.Errorf("%#x stands where the next element should be", node)
		}
		if node == mark {
			return errLoop
		}
		if steps&63 == 63 && time.Since(k.began) > maxWalk {
			return fmt.Errorf("walking it takes longer than %v", maxWalk)
		}
		if steps++; steps == limit {
			mark, steps, limit = node, 0, 2*limit
		}
		if *budget--; *budget < 0 {
			return fmt.Errorf("more than %d elements", maxThreads)
		}
		var err error
		if node, err = visit(node); err != nil {
			return err
		}
	}
	return nil
}

const errBudget = layoutError("the walk was cut short")

// walkProcesses goes on after a process that cannot be read, and returns the
// first error.
func (k *Kernel) walkProcesses() error {
	// Every process has at least one thread: each list draws on a budget of its own
	// size, and both together bound the walk.
	processes, threads := maxThreads, maxThreads
	var first error
	note := func(err error) {
		if first == nil {
			first = err
		}
	}
	head := k.initTask + k.off.tasks
	start, err := k.u64(head)
	if err != nil {
		return err
	}
	note(k.follow(head, start, &processes, func(node uint64) (uint64, error) {
		leader := node - k.off.tasks
		if err := k.readTask(leader); err != nil {
			return 0, err
		}
		next, signal := k.field(k.off.tasks), k.field(k.off.signal)
		before := k.met
		err := k.walkThreads(leader, signal, &threads)
		if err != nil {
			note(err)
			if threads < 0 || time.Since(k.began) > maxWalk {
				return 0, errBudget
			}
		}
		// The leader at least; a process that ends has no threads left.
		if err != nil && k.met == before {
			if err := k.readTask(leader); err != nil {
				return 0, err
			}
			if err := k.meet(leader); err != nil {
				return 0, err
			}
		}
		return next, nil
	}))
	return first
}

// walkThreads meets the threads of a process. Its leader, which comes first as a
// rule, has been read.
func (k *Kernel) walkThreads(leader, signal uint64, budget *int) error {
	if signal < kernelHalf {
		return fmt.Errorf("%#x stands where a process' signals should be", signal)
	}
	head := signal + k.off.head
	if k.field(k.off.node) == head && k.field(k.off.node+8) == head {
		// The list is the head and the leader: most processes have one thread.
		*budget--
		return k.meet(leader)
	}
	start, err := k.u64(head)
	if err != nil {
		return err
	}
	fresh := leader
	return k.follow(head, start, budget, func(node uint64) (uint64, error) {
		addr := node - k.off.node
		if addr != fresh {
			if err := k.readTask(addr); err != nil {
				return 0, err
			}
		}
		fresh = 0
		return k.field(k.off.node), k.meet(addr)
	})
}

// readTask reads what the walk needs of a task at once.
func (k *Kernel) readTask(addr uint64) error {
	return k.read(addr+k.off.walk.off, k.span[:k.off.walk.len])
}

// field returns 8 bytes of the task read last.
func (k *Kernel) field(off uint64) uint64 {
	return binary.LittleEndian.Uint64(k.span[off-k.off.walk.off:])
}

// thread returns a thread that this look has met.
func (k *Kernel) thread(addr uint64) (*task, bool) {
	i, ok := k.known[addr]
	if !ok || k.tasks[i].look != k.looks {
		return nil, false
	}
	return &k.tasks[i], true
}

// meet takes note of the thread read last.
func (k *Kernel) meet(addr uint64) error {
	i := k.next
	if int(i) >= len(k.tasks) || k.tasks[i].addr != addr {
		var ok bool
		if i, ok = k.known[addr]; !ok {
			i = int32(len(k.tasks))
			k.known[addr] = i
			k.tasks = append(k.tasks, task{addr: addr, group: -1})
		}
	}
	k.next = i + 1
	t := &k.tasks[i]
	if t.look == k.looks {
		return errLoop
	}
	pid := binary.LittleEndian.Uint32(k.span[k.off.pid-k.off.walk.off:])
	if pid > maxPID {
		return fmt.Errorf("a thread with the PID %d", pid)
	}
	// TASK_COMM_LEN is 16 and the last byte 0.
	if comm := k.span[k.off.comm-k.off.walk.off:][:16]; t.group < 0 || [16]byte(comm) != t.comm {
		t.comm, t.group = [16]byte(comm), k.groupOf(comm)
	}
	t.look, t.pid, t.runs = k.looks, int32(pid), false
	k.met++
	g := &k.groups[t.group]
	if g.look != k.looks {
		g.look, g.size = k.looks, 0
	}
	g.size++
	if !k.off.state.ok {
		return nil
	}
	state, err := k.u32(addr + k.off.state.off) // the low half, where it has eight bytes
	if err != nil {
		return err
	}
	t.runs = state == taskRunning
	if state&taskUninterruptible != 0 && state&taskNoLoad == 0 {
		if k.total++; len(k.waiting) < detect.MaxWaiting {
			k.waiting = append(k.waiting, i)
		}
	}
	return nil
}
