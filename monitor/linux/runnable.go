package linux

import (
	"hangbench/monitor/detect"
)

const (
	// realTime is the least priority below which threads are real-time ones: MAX_RT_PRIO
	// in include/linux/sched/prio.h.
	realTime = 100
	// onQueue is the value of task_struct.on_rq of a thread in a run queue:
	// TASK_ON_RQ_QUEUED in kernel/sched/sched.h.
	onQueue = 1
	// maxQueued bounds how many runnable threads are read in one walk. The rest is
	// counted.
	maxQueued = 1 << 10
)

// policies are the scheduling policies by their numbers (include/uapi/linux/sched.h).
var policies = [...]string{
	0: detect.PolicyNormal, 1: detect.PolicyFIFO, 2: detect.PolicyRR, 3: detect.PolicyBatch, 5: detect.PolicyIdle,
	6: detect.PolicyDeadline, 7: detect.PolicyExt,
}

// scheduling are the offsets of what tells how a thread is scheduled, and whether it
// waits for a CPU.
type scheduling struct {
	prio, policy, onRQ, onCPU, cpu place // of a task
	stop                           place // of a run queue: the thread of PolicyStop
	// Of a task: the queue that it is in, which is its control group's. Of such a queue:
	// how many of its control groups are throttled. A kernel without control groups of
	// this kind, or without a limit on their use of the CPU, has none.
	group, throttled place
	known            bool // whether a thread waits for a CPU can be read
}

// lookUpScheduling fills k.off.scheduling from the layout.
func (k *Kernel) lookUpScheduling(may func(typ, path string) place) {
	s := &k.off.scheduling
	*s = scheduling{
		prio: may("task_struct", "prio"), policy: may("task_struct", "policy"), onRQ: may("task_struct", "on_rq"),
		onCPU: may("task_struct", "on_cpu"), cpu: may("task_struct", "thread_info.cpu"), stop: may("rq", "stop"),
		group: may("task_struct", "se.cfs_rq"), throttled: may("cfs_rq", "throttle_count"),
	}
	if !s.cpu.ok { // before 5.16
		s.cpu = may("task_struct", "cpu")
	}
	s.known = s.prio.ok && s.policy.ok && s.onRQ.ok && s.onCPU.ok && s.cpu.ok && k.off.state.ok
}

// schedule reads how a thread is scheduled. Policy is empty if that cannot be read.
func (k *Kernel) schedule(task uint64) (s detect.Schedule) {
	o := &k.off.scheduling
	if !o.prio.ok || !o.policy.ok {
		return s
	}
	policy, err := k.u32(task + o.policy.off)
	if err != nil || policy >= uint32(len(policies)) || policies[policy] == "" {
		return s
	}
	prio, err := k.u32(task + o.prio.off)
	if err != nil || int32(prio) < -1 || int32(prio) >= realTime+40 {
		return s
	}
	return detect.Schedule{Policy: policies[policy], Priority: int32(prio)}
}

// running reads how the current thread of a CPU is scheduled.
func (k *Kernel) running(rq, curr uint64) detect.Schedule {
	s := k.schedule(curr)
	if stop := k.off.scheduling.stop; stop.ok && s.Policy == detect.PolicyFIFO {
		if v, err := k.u64(rq + stop.off); err == nil && v == curr {
			s.Policy = detect.PolicyStop
		}
	}
	return s
}

// runnables keeps what walks of the task list have found of threads that wait for a CPU.
type runnables struct {
	tried   int     // runnable threads that the last walk has read
	queued  int     // of these, those that waited for a CPU
	waited  []int32 // of these, indexes in tasks of those that had not run since the walk before
	arrived []int32 // and of the others; both have at most detect.MaxRunnable
}

// queue is what the last walk that found a thread waiting for a CPU has read of it.
type queue struct {
	walk     uint64 // number of the walk
	pid      int32
	switches uint64
}

// addRunnable notes a runnable thread, if it waits for a CPU. Threads that end meanwhile
// are no error.
func (k *Kernel) addRunnable(i int32) {
	l, t, o := &k.taskList, &k.tasks[i], &k.off.scheduling
	if !o.known || l.tried >= maxQueued {
		return
	}
	l.tried++
	on, err := k.u32(t.addr + o.onRQ.off)
	if err != nil || on != onQueue {
		return
	}
	if runs, err := k.u32(t.addr + o.onCPU.off); err != nil || runs != 0 {
		return
	}
	switches, err := k.switchesOf(t.addr)
	if err != nil || k.limited(t.addr) {
		return
	}
	l.queued++
	list := &l.arrived
	if t.queue == (queue{k.walks - 1, t.pid, switches}) {
		list = &l.waited
	}
	t.queue = queue{k.walks, t.pid, switches}
	if len(*list) < detect.MaxRunnable {
		*list = append(*list, i)
	}
}

// limited reports whether a limit on its use of the CPU may keep a runnable thread from
// running: its control group is throttled, or its policy is SCHED_DEADLINE.
func (k *Kernel) limited(task uint64) bool {
	o := &k.off.scheduling
	if policy, err := k.u32(task + o.policy.off); err != nil || policy == 6 {
		return true
	}
	if !o.group.ok || !o.throttled.ok {
		return false
	}
	group, err := k.u64(task + o.group.off)
	if err != nil || group < kernelHalf {
		return true // it cannot be told
	}
	n, err := k.u32(group + o.throttled.off)
	return err != nil || n != 0
}

// describeRunnable lists the threads that wait for a CPU, those first that have not run
// since the walk before.
func (k *Kernel) describeRunnable(out *detect.Kernel) {
	l := &k.taskList
	out.RunnableTotal = l.queued
	for _, list := range [...][]int32{l.waited, l.arrived} {
		for _, i := range list {
			if len(out.Runnable) == detect.MaxRunnable {
				return
			}
			t := &l.tasks[i]
			cpu, err := k.u32(t.addr + k.off.scheduling.cpu.off)
			if err != nil || uint64(cpu) >= uint64(len(k.cpus)) {
				continue
			}
			out.Runnable = append(out.Runnable, detect.Runnable{PID: t.pid, Comm: k.groups[t.group].comm,
				Switches: t.queue.switches, CPU: int(cpu), Schedule: k.schedule(t.addr)})
		}
	}
}

// crowded reports whether the run queue of a CPU, as RunQueue read it last, asks for the
// threads that wait for it: there are some, and it runs a real-time thread, or it has not
// switched tasks since the last call.
func (c *cpu) crowded() bool {
	still := c.switches == c.switchesThen
	c.switchesThen = c.switches
	return c.runnable > 1 && (still || c.schedule.Policy != "" && c.schedule.Priority < realTime)
}
