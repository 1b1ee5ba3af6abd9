package linux

import (
	"encoding/binary"
	"math"

	"hangbench/monitor/detect"
)

const (
	// maxPID bounds pid_t: PID_MAX_LIMIT in include/linux/threads.h.
	maxPID = 4 << 20
	// preemptResched is the bit of a CPU's preempt count that is clear when the CPU
	// must schedule: PREEMPT_NEED_RESCHED in arch/x86/include/asm/preempt.h.
	preemptResched = 1 << 31
	// maxRunning bounds rq.nr_running: a run queue holds no more threads than there are.
	maxRunning = maxPID
)

// RunQueue fills q with the run queue of a CPU. It returns false if the run queue
// cannot be read or its values are impossible. It allocates nothing but the name of a
// task that was never seen before.
func (k *Kernel) RunQueue(cpu int, q *detect.RunQueue) bool {
	*q = detect.RunQueue{}
	if cpu < 0 || cpu >= len(k.cpus) {
		return false
	}
	c := &k.cpus[cpu]
	o, le := &k.off, binary.LittleEndian
	b := k.span[:o.counts.len]
	if k.read(c.rq+o.counts.off, b) != nil {
		return false
	}
	q.Switches, q.Running = le.Uint64(b[o.switches-o.counts.off:]), le.Uint32(b[o.running-o.counts.off:])
	b = k.span[:o.current.len]
	if q.Running > maxRunning || k.read(c.rq+o.current.off, b) != nil {
		return false
	}
	q.ClockNS = le.Uint64(b[o.clock-o.current.off:])
	curr := le.Uint64(b[o.curr-o.current.off:])
	b = k.span[:o.who.len]
	if curr < kernelHalf || k.read(curr+o.who.off, b) != nil {
		return false
	}
	pid := le.Uint32(b[o.pid-o.who.off:])
	if pid > maxPID {
		return false
	}
	q.PID = int32(pid)
	q.Schedule = k.running(c.rq, curr)
	c.runnable, c.schedule, c.switches = q.Running, q.Schedule, q.Switches
	// TASK_COMM_LEN is 16 and the last byte 0.
	if comm := b[o.comm-o.who.off:][:16]; [16]byte(comm) != c.comm || c.name == "" {
		c.comm, c.name = [16]byte(comm), k.nameOf(comm)
	}
	q.Comm = c.name
	// A CPU asks another one to schedule by setting the task's flag and sending an
	// interrupt. Only that interrupt's handler clears the bit in the count.
	if o.flags.ok {
		flags, err := k.u32(curr + o.flags.off)
		q.NeedResched = err == nil && flags&k.needResched != 0
	}
	if c.preempt != 0 {
		if n, err := k.u32(c.preempt); err == nil {
			q.Preempt = n &^ preemptResched
			q.NeedResched = q.NeedResched || n&preemptResched == 0
		}
	}
	if c.timers != 0 {
		b := k.span[:o.timer.len]
		if k.read(c.timers+o.timer.off, b) == nil && b[o.highRes.off-o.timer.off]&o.highResBit != 0 {
			// KTIME_MAX: there is no timer.
			if t := le.Uint64(b[o.expires.off-o.timer.off:]); t < math.MaxInt64 {
				q.TimerNS = int64(t)
			}
		}
	}
	if c.irqs != 0 {
		b := k.span[:o.irqs.len]
		if k.read(c.irqs+o.irqs.off, b) == nil {
			for _, off := range o.irq {
				q.Interrupts += uint64(le.Uint32(b[off-o.irqs.off:]))
			}
		}
	}
	if c.numbered != 0 {
		if n, err := k.u64(c.numbered); err == nil {
			q.Interrupts += n
		}
	}
	return true
}
