package detect

import "fmt"

// graces follows RCU's grace periods. They are shown only while a thread waits for one.
type graces struct {
	last       Grace
	lastNS     int64 // last inspection that showed it; 0 for never
	movedNS    int64 // last inspection that showed that one began or ended, or the first one
	expMovedNS int64 // the same of expedited ones
	asleepNS   int64 // since then RCU's thread has slept without a run though it was asked; 0 if not
}

// observe takes what an inspection shows. wasNS is the time of the last inspection.
func (g *graces) observe(now *Grace, t, wasNS int64) {
	if now == nil {
		return
	}
	first, last := g.lastNS == 0, &g.last
	if first || now.Seq != last.Seq {
		g.movedNS = t
	}
	if first || now.Expedited != last.Expedited {
		g.expMovedNS = t
	}
	switch asleep := now.Asked && now.Thread != "" && now.ThreadState != OwnerRuns && now.ThreadState != ""; {
	case !asleep:
		g.asleepNS = 0
	case g.asleepNS == 0 || g.lastNS != wasNS || now.ThreadSwitches != last.ThreadSwitches:
		g.asleepNS = t
	}
	g.last, g.lastNS = *now, t
}

// stuckGrace decides on a wait for a grace period of that age, in ns.
//
// Early: RCU's thread was asked to begin one, sleeps and has not run: nobody has woken it.
// Later: none begins or ends for long, though the thread does not wait for a CPU. Some CPU
// or task never reports that it has left its read-side critical section. The kernel's own
// limit for that is 21 s (rcu_cpu_stall_timeout).
func (r *taskRule) stuckGrace(w *wait, age, t int64) bool {
	g := &r.graces
	if g.lastNS == 0 {
		return age >= int64(r.t.Grace)
	}
	silent := t - g.movedNS
	if expedited(w.function) {
		silent = t - g.expMovedNS
	} else if g.asleepNS != 0 && min(age, silent, t-g.asleepNS) >= int64(r.t.Blocked) {
		return true
	}
	return min(age, silent) >= int64(r.t.Grace) && g.last.ThreadState != OwnerRuns
}

// evidence describes the grace periods at time t.
func (g *graces) evidence(t int64) string {
	l := &g.last
	e := fmt.Sprintf("RCU: no grace period has begun or ended for %d ms", (t-g.movedNS)/1e6)
	if l.AgeNS > 0 {
		state := "the last one began"
		if l.Seq&3 != 0 {
			state = "the one under way began"
		}
		e += fmt.Sprintf(", %s %d ms ago", state, l.AgeNS/1e6)
	}
	if l.Asked {
		e += ", the next one is asked for"
	}
	if l.Thread != "" {
		e += ", its thread " + l.Thread + " " + doing(l.ThreadState, "")
		if g.asleepNS != 0 {
			e += fmt.Sprintf(" and has not run for %d ms", (t-g.asleepNS)/1e6)
		}
	}
	return e
}

// WaitsForGrace reports whether a thread with this stack waits for a grace period of RCU.
// Those of sleepable RCU and of tasks' RCU are others, with threads of their own.
func WaitsForGrace(stack []string) bool {
	_, f, _ := reasonOf(&Waiting{Stack: stack})
	return graceWait(f)
}

// graceWait reports whether a task in this kernel function waits for a grace period
// (kernel/rcu/update.c, tree.c, tree_exp.h).
func graceWait(symbol string) bool {
	switch bare(symbol) {
	case "__wait_rcu_gp", "synchronize_rcu", "synchronize_rcu_normal", "rcu_barrier":
		return true
	}
	return expedited(symbol)
}

func expedited(symbol string) bool { return bare(symbol) == "synchronize_rcu_expedited" }

// otherGrace reports whether a function waits for a grace period of another kind, which may
// take minutes: every task must have slept, or every reader of one structure has ended.
func otherGrace(symbol string) bool {
	return hasPrefix(bare(symbol), "synchronize_rcu_tasks", "synchronize_srcu", "__synchronize_srcu", "srcu_barrier",
		"rcu_barrier_tasks")
}
