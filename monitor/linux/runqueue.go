package linux

import (
	"encoding/binary"
	"math"

	"hangbench/monitor/detect"
)

const (
	// maxPID bounds pid_t: PID_MAX_LIMIT in include/linux/threads.h.
	maxPID = 4 << 20
	// preemptResched is the bit of a CPU's preempt count that is clear when it
	// shall schedule: PREEMPT_NEED_RESCHED in arch/x86/include/asm/preempt.h.
	preemptResched = 1 << 31
	// maxRunning is more than a run queue can hold.
	maxRunning = maxPID
)

// RunQueue fills q with the run queue of a CPU. It is false if what stands there
// cannot be read or cannot be a run queue. It allocates nothing but the name of
// a task that was never met before.
func (k *Kernel) RunQueue(cpu int, q *detect.RunQueue) bool {
	*q = detect.RunQueue{}
	if cpu < 0 || cpu >= len(k.cpus) {
		return false
	}
	c := &k.cpus[cpu]
	var err error
	if q.Switches, err = k.u64(c.rq + k.off.switches); err != nil {
		return false
	}
	if q.Running, err = k.u32(c.rq + k.off.running); err != nil || q.Running > maxRunning {
		return false
	}
	if q.ClockNS, err = k.u64(c.rq + k.off.clock); err != nil {
		return false
	}
	curr, err := k.u64(c.rq + k.off.curr)
	if err != nil || curr < kernelHalf {
		return false
	}
	pid, err := k.u32(curr + k.off.pid)
	if err != nil || pid > maxPID {
		return false
	}
	q.PID = int32(pid)
	// TASK_COMM_LEN is 16 and the last byte 0.
	if err := k.read(curr+k.off.comm, k.buf[:16]); err != nil {
		return false
	}
	if k.buf != c.comm || c.name == "" {
		c.comm, c.name = k.buf, k.nameOf(k.buf[:16])
	}
	q.Comm = c.name
	// A CPU asks another one to schedule by the task's flag and an interrupt, and
	// only that interrupt's handler clears the bit in the count.
	if k.off.flags.ok {
		flags, err := k.u32(curr + k.off.flags.off)
		q.NeedResched = err == nil && flags&k.needResched != 0
	}
	if c.preempt != 0 {
		if n, err := k.u32(c.preempt); err == nil {
			q.Preempt = n &^ preemptResched
			q.NeedResched = q.NeedResched || n&preemptResched == 0
		}
	}
	if c.timers != 0 && c.highRes != 0 {
		if err := k.read(c.highRes, k.buf[:1]); err == nil && k.buf[0]&k.off.highResBit != 0 {
			// KTIME_MAX: there is no timer.
			if t, err := k.u64(c.timers); err == nil && t < math.MaxInt64 {
				q.TimerNS = int64(t)
			}
		}
	}
	if c.irqs != 0 {
		if b := k.irqs[:k.off.irqsLen]; k.read(c.irqs, b) == nil {
			for _, off := range k.off.irq {
				q.Interrupts += uint64(binary.LittleEndian.Uint32(b[off:]))
			}
		}
	}
	return true
}
