package linux

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"hangbench/monitor/detect"
)

const (
	// maxThreads bounds the walk of the task list. A guest of a few hundred MiB cannot
	// have so many threads.
	maxThreads = 1 << 14
	// maxWalk ends a walk that takes too long, because every task lies in another
	// page that must be mapped first.
	maxWalk = time.Second

	// maxReuse is how many inspections may use one walk of the task list.
	maxReuse = 10

	// Bits of a task's state (include/linux/sched.h).
	taskRunning         = 0x000
	taskUninterruptible = 0x002
	taskStopped         = 0x004
	taskTraced          = 0x008
	taskDead            = 0x080
	taskWakeKill        = 0x100
	taskNoLoad          = 0x400
	taskFrozen          = 0x8000 // since 6.1
)

// taskList keeps what walks of the task list have found. Most threads are still there at
// the next walk.
type taskList struct {
	walks   uint64           // walks so far
	tasks   []task           // threads found in any of them
	known   map[uint64]int32 // from a thread's address to its index in tasks
	found   int              // threads found in the last walk
	next    int32            // index in tasks of the next thread, if nothing has changed
	waiting []int32          // indexes in tasks of threads in state D, at most detect.MaxWaiting
	total   int              // threads in state D
	runnables
	began time.Time // of the last walk

	// The counters at the last walk, and how many inspections have used it since;
	// maxReuse if none may.
	forksThen, threadsThen uint64
	reused                 int
}

// task is a thread.
type task struct {
	addr  uint64
	walk  uint64 // number of the last walk that found it
	pid   int32
	group int32    // index in reader.groups of its name; -1 before it is known
	comm  [16]byte // the name in memory
	state uint32   // in the last walk
	wait  *wait    // what was read when it was in state D
	queue queue    // what was read when it waited for a CPU
}

// readThreads describes the threads: how many there are, the most common name, and
// those in state D.
func (k *Kernel) readThreads(out *detect.Kernel, unreadable func(string, error)) {
	l := &k.taskList
	if k.unchanged(out) {
		l.reused++
	} else {
		k.walk(out, unreadable)
	}
	out.Walked, out.WaitingTotal = l.found, l.total
	for i := range k.groups {
		// Among equals the first name, so that the result is repeatable.
		g := &k.groups[i]
		if g.walk == l.walks &&
			(g.size > out.LargestCount || g.size == out.LargestCount && g.comm < out.LargestComm) {
			out.LargestComm, out.LargestCount = g.comm, g.size
		}
	}
	for _, i := range l.waiting {
		w, err := k.readWaiting(&l.tasks[i])
		if err != nil {
			unreadable(fmt.Sprintf("a waiting thread, %s (%d)", w.Comm, w.PID), err)
		}
		out.Waiting = append(out.Waiting, w)
	}
	if l.reused == 0 || l.reused == maxReuse { // the list was walked just now
		k.describeRunnable(out)
	}
}

// unchanged reports whether walking the task list again would give the same result:
// no thread was in state D then or is now, none waited for a CPU for long, and forks and
// live threads have the same counts. Each CPU counts the threads that went to sleep in
// state D on it, less those that were woken from it on it, so only the sum over all CPUs
// has a meaning. The counters are read while the guest runs, so the list is still walked
// again after maxReuse inspections.
func (k *Kernel) unchanged(out *detect.Kernel) bool {
	l := &k.taskList
	crowded := false
	for i := range k.cpus {
		crowded = k.cpus[i].crowded() || crowded
	}
	if crowded || !k.off.uninterruptible.ok || l.reused >= maxReuse-1 || out.Forks == 0 || out.Threads == 0 ||
		out.Forks != l.forksThen || out.Threads != l.threadsThen {
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

// walk walks the task list: all processes, and all threads of each.
func (k *Kernel) walk(out *detect.Kernel, unreadable func(string, error)) {
	l := &k.taskList
	l.walks++
	l.reused = maxReuse // until the walk has succeeded
	l.waiting, l.found, l.total, l.next = l.waiting[:0], 0, 0, 0
	l.runnables = runnables{waited: l.waited[:0], arrived: l.arrived[:0]}
	if len(l.tasks) > 2*maxThreads || len(k.groups) > maxNames {
		clear(l.known)
		clear(l.tasks) // they hold pointers
		l.tasks = l.tasks[:0]
		clear(k.names)
		clear(k.groups)
		k.groups = k.groups[:0]
	}
	l.began = time.Now()
	if k.initTask == 0 {
		unreadable("the task list", errAbsent)
		return
	}
	if !k.off.state.ok {
		unreadable("task states", errAbsent)
	}
	err := k.walkProcesses()
	if err != nil {
		unreadable("the task list", err)
	}
	// Tasks come and go during the walk. If more than a few are missing, the list or the
	// count is wrong.
	off, tolerated := int64(out.Threads)-int64(l.found), 4+int64(out.Threads)/8
	if off > tolerated || -off > tolerated {
		unreadable("the task list", layoutError("met "+strconv.Itoa(l.found)+
			" threads, nr_threads says "+strconv.FormatUint(out.Threads, 10)))
	} else if err == nil && l.total == 0 && len(l.waited) == 0 && k.off.state.ok {
		l.forksThen, l.threadsThen, l.reused = out.Forks, out.Threads, 0
	}
}

// errLoop says that a list does not come back to its head.
const errLoop = layoutError("the list does not come back to its head")

// follow follows a list for at most *budget elements. head is the list's head and
// node the first element's node. visit gets the address of a node and returns the
// next one. A loop that misses the head is noticed after at most three times around
// it (Brent's algorithm: the node at every power of two is remembered).
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

// errBudget says that a walk has reached its bound of threads or of time.
const errBudget = layoutError("the walk was cut short")

// walkProcesses walks all processes. It continues after a process that cannot be
// read, and returns the first error.
func (k *Kernel) walkProcesses() error {
	// Every process has at least one thread: each list draws on a budget of the same
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
		before := k.found
		err := k.walkThreads(leader, signal, &threads)
		if err != nil {
			note(err)
			if threads < 0 || time.Since(k.began) > maxWalk {
				return 0, errBudget
			}
		}
		// At least the leader is added; a process that is ending has no threads left.
		if err != nil && k.found == before {
			if err := k.readTask(leader); err != nil {
				return 0, err
			}
			if err := k.addTask(leader); err != nil {
				return 0, err
			}
		}
		return next, nil
	}))
	return first
}

// walkThreads adds the threads of a process. The caller has read its leader, which
// is usually the first of them.
func (k *Kernel) walkThreads(leader, signal uint64, budget *int) error {
	if signal < kernelHalf {
		return fmt.Errorf("%#x stands where a process' signals should be", signal)
	}
	head := signal + k.off.head
	if k.field(k.off.node) == head && k.field(k.off.node+8) == head {
		// The list is the head and the leader: most processes have one thread.
		*budget--
		return k.addTask(leader)
	}
	start, err := k.u64(head)
	if err != nil {
		return err
	}
	alreadyRead := leader
	return k.follow(head, start, budget, func(node uint64) (uint64, error) {
		addr := node - k.off.node
		if addr != alreadyRead {
			if err := k.readTask(addr); err != nil {
				return 0, err
			}
		}
		alreadyRead = 0
		return k.field(k.off.node), k.addTask(addr)
	})
}

// readTask reads into k.span, in one piece, what a walk needs of a task.
func (k *Kernel) readTask(addr uint64) error {
	return k.read(addr+k.off.walk.off, k.span[:k.off.walk.len])
}

// field returns 8 bytes of the task read last.
func (k *Kernel) field(off uint64) uint64 {
	return binary.LittleEndian.Uint64(k.span[off-k.off.walk.off:])
}

// thread returns the thread at an address, if the last walk found one there.
func (k *Kernel) thread(addr uint64) (*task, bool) {
	i, ok := k.known[addr]
	if !ok || k.tasks[i].walk != k.walks {
		return nil, false
	}
	return &k.tasks[i], true
}

// addTask adds the thread read last, which is at addr.
func (k *Kernel) addTask(addr uint64) error {
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
	if t.walk == k.walks {
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
	t.walk, t.pid, t.state = k.walks, int32(pid), 0
	k.found++
	g := &k.groups[t.group]
	if g.walk != k.walks {
		g.walk, g.size = k.walks, 0
	}
	g.size++
	if !k.off.state.ok {
		return nil
	}
	state, err := k.u32(addr + k.off.state.off) // the low half, where the state has eight bytes
	if err != nil {
		return err
	}
	if t.state = state; state == taskRunning {
		k.addRunnable(i)
	}
	if state&taskUninterruptible != 0 && state&taskNoLoad == 0 {
		if k.total++; len(k.waiting) < detect.MaxWaiting {
			k.waiting = append(k.waiting, i)
		}
	}
	return nil
}
