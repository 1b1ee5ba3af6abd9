package linux

import (
	"fmt"
	"slices"

	"hangbench/monitor/detect"
)

// graceFields are what is read of RCU's grace periods.
type graceFields struct {
	state, jiffies                             uint64 // addresses of these variables, slid; 0 if absent
	seq, expedited, start, flags, thread, tick place
}

// gracePeriods is the need of RCU's grace periods.
func gracePeriods() Need {
	return Need{
		What: "the grace periods of RCU", Ways: [][]string{{"symbol rcu_state", "rcu_state.gp_seq", "rcu_state.gp_flags",
			"rcu_state.gp_kthread"}},
		More: []string{"rcu_state.expedited_sequence", "rcu_state.gp_start", "symbol jiffies", "timekeeper.ntp_tick"},
		Without: "blocked: a thread that waits for a grace period is judged after a longer time, and the evidence lacks " +
			"the grace periods",
	}
}

// findGrace fills k.graceAt.
func (k *Kernel) findGrace() {
	k.graceAt = graceFields{
		state: k.variable("rcu_state"), jiffies: k.variable("jiffies"),
		seq: k.fieldOf("rcu_state", "gp_seq"), expedited: k.fieldOf("rcu_state", "expedited_sequence"),
		start: k.fieldOf("rcu_state", "gp_start"), flags: k.fieldOf("rcu_state", "gp_flags"),
		thread: k.fieldOf("rcu_state", "gp_kthread"), tick: k.fieldOf("timekeeper", "ntp_tick"),
	}
}

const (
	// gpInit is the flag of rcu_state.gp_flags, of 16 bits, that asks for a grace period:
	// RCU_GP_FLAG_INIT of kernel/rcu/tree.h.
	gpInit = 1
	// The length of a tick in ns: CONFIG_HZ is 100 to 1000 on x86.
	leastTick, mostTick = 500_000, 20_000_000
	// maxAge bounds the age of a grace period in ticks. It is longer than any guest lives.
	maxAge = 1 << 40
)

// readGrace reads RCU's grace periods if a thread waits for one.
func (k *Kernel) readGrace(out *detect.Kernel, unreadable func(string, error)) {
	waits := func(w detect.Waiting) bool { return detect.WaitsForGrace(w.Stack) }
	if !slices.ContainsFunc(out.Waiting, waits) {
		return
	}
	g := &k.graceAt
	if g.state == 0 || !g.seq.ok || !g.flags.ok || !g.thread.ok {
		unreadable("RCU", errAbsent)
		return
	}
	var v detect.Grace
	var err error
	read := func(at place) uint64 {
		if !at.ok || err != nil {
			return 0
		}
		var n uint64
		n, err = k.u64(g.state + at.off)
		return n
	}
	v.Seq, v.Expedited = read(g.seq), read(g.expedited)
	start, thread := read(g.start), read(g.thread)
	if err == nil {
		var flags uint32
		flags, err = k.u32(g.state + g.flags.off)
		v.Asked = flags&gpInit != 0
	}
	if err != nil {
		unreadable("RCU", err)
		return
	}
	v.AgeNS = k.ageOf(start)
	if t, ok := k.thread(thread); ok {
		if v.ThreadSwitches, err = k.switchesOf(t.addr); err != nil {
			unreadable("RCU's thread", err)
		} else {
			v.Thread = k.nameOfThread(t)
			v.ThreadState, _ = k.doing(t)
		}
	}
	out.Grace = &v
}

// ageOf returns the time in ns since the kernel's count of ticks was at start, or 0 if
// that cannot be told. timekeeper.ntp_tick is the length of a tick in ns, shifted by
// NTP_SCALE_SHIFT of include/linux/timex.h, 32.
func (k *Kernel) ageOf(start uint64) int64 {
	g := &k.graceAt
	if g.jiffies == 0 || !g.start.ok || !g.tick.ok || k.timekeeping == 0 || !k.off.keeper.ok {
		return 0
	}
	now, err := k.u64(g.jiffies)
	if err != nil {
		return 0
	}
	tick, err := k.u64(k.timekeeping + k.off.keeper.off + g.tick.off)
	tick >>= 32
	if ticks := now - start; err == nil && ticks < maxAge && tick >= leastTick && tick <= mostTick {
		return int64(ticks * tick)
	}
	return 0
}

// nameOfThread returns the name and the number of a thread, as in "kworker/0:1 (17)".
func (k *Kernel) nameOfThread(t *task) string {
	return fmt.Sprintf("%s (%d)", k.groups[t.group].comm, t.pid)
}
