package detect

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// spinning and its kin have the threshold behind observation 50, from which on the
// guest hangs: at 100 ms each, 500 ms are over with observation 54 or 55.
func TestSpin(t *testing.T) {
	runScenes(t, []scene{
		{name: "switches that the mechanism missed", each: after(func(g *guest, i int) { g.run(0, slow, true).Queue.Switches++ })},
		{name: "the user part of it breaks the row", each: after(func(g *guest, i int) {
			if g.run(0, slow, true); i%4 == 0 {
				g.compute(0)
			}
		})},
		{name: "one of two", vcpus: 2, each: after(func(g *guest, i int) { g.run(1, slow, true).Lock = "rdi = tasklist_lock" }),
			class: ClassSpin, scope: Partial, at: [2]int{54, 56}, evidence: "tasklist_lock"},
		{name: "with the lock's holder in a loop of its own, interrupts off", vcpus: 2, each: after(func(g *guest, i int) {
			g.run(0, "holder", false)
			g.run(1, slow, true)
		}), class: ClassSpin, scope: Full, at: [2]int{54, 56}, evidence: slow},
		{name: "polls for a paravirtualised lock", each: after(func(g *guest, i int) {
			v := g.run(0, "xen_hypercall_hvm", false)
			v.Blocked, v.Running = true, false
			v.CPUTimeNS -= uint64(g.period)
			v.Callers = []string{"xen_poll_irq_timeout", "xen_qlock_wait"}
		}), class: ClassHard, scope: Full, at: [2]int{54, 56}, evidence: "polled for the lock"},
		{name: "spins and polls in turn, as interrupts wake it", vcpus: 2, each: after(func(g *guest, i int) {
			switch v := g.run(0, pvSlowPath, true); i % 3 {
			case 0:
				v.Symbol, v.Callers = "xen_hypercall_intel", []string{"xen_poll_irq", "xen_qlock_wait", pvSlowPath}
			case 1:
				v.Symbol, v.Callers = "xen_qlock_wait", []string{pvSlowPath}
			}
		}), class: ClassSpin, scope: Partial, at: [2]int{54, 56}, evidence: pvSlowPath + "+"},
		{name: "one lock, interrupts off at one of its waiters", vcpus: 2, each: after(func(g *guest, i int) {
			g.run(0, slow, false).Lock = "rdi = tasklist_lock"
			g.run(1, slow, true).Lock = "rbx = tasklist_lock"
		}), class: ClassSpin, scope: Full, at: [2]int{54, 56}, evidence: "interrupts on at 0 of these"},
		{name: "a lock waited for with interrupts off, and another one", vcpus: 2, each: after(func(g *guest, i int) {
			g.run(0, slow, true).Lock = "rdi = tasklist_lock"
			g.run(1, slow, false).Lock = "r13 = pidmap_lock"
		}), class: ClassHard, scope: Full, at: [2]int{54, 56}, evidence: "r13 = pidmap_lock"},
		{name: "the same, without names: locks of two kinds", vcpus: 2, each: after(func(g *guest, i int) {
			g.run(0, slow, true)
			g.run(1, pvSlowPath, false)
		}), class: ClassHard, scope: Full, at: [2]int{54, 56}, evidence: pvSlowPath},
		{name: "the same, of one kind", vcpus: 2, each: after(func(g *guest, i int) {
			g.run(0, pvSlowPath, true)
			g.run(1, pvSlowPath, false)
		}), class: ClassSpin, scope: Full, at: [2]int{54, 56}, evidence: pvSlowPath},
		{name: "a hypercall for another reason", each: after(func(g *guest, i int) {
			g.run(0, "xen_hypercall_hvm", true).Callers = []string{"a", "b", "c", "d", "xen_qlock_wait"}
		})},
		{name: "starts in an interrupt", each: after(func(g *guest, i int) {
			if g.run(0, slow, true); i%2 == 0 {
				g.o.VCPUs[0].Symbol = rcuTick
			}
		}), class: ClassSpin, scope: Full, at: [2]int{55, 57}, evidence: "3 of "},
		{name: "threshold", each: after(func(g *guest, i int) { g.run(0, slow, true) }), set: func(t *Thresholds) { t.Spin = 2 * time.Second },
			class: ClassSpin, scope: Full, at: [2]int{69, 71}, evidence: slow},
		{name: "a pause in between counts for nothing", each: after(func(g *guest, i int) {
			g.run(0, slow, true)
			g.o.Domain.Paused = i >= 53 && i < 57
		}), class: ClassSpin, scope: Full, at: [2]int{61, 63}, evidence: slow},
	})
}

func TestHard(t *testing.T) {
	runScenes(t, []scene{
		{name: "loop with interrupts off", each: after(func(g *guest, i int) {
			g.run(0, "delay_tsc", false).Callers = []string{"broken_driver"}
		}), class: ClassHard, scope: Full, at: [2]int{54, 56}, evidence: "not one interrupt"},
		{name: "in a module", vcpus: 2, each: after(func(g *guest, i int) {
			g.run(0, "", false).RIP = 0xffffffffc0123456
		}), class: ClassHard, scope: Partial, at: [2]int{54, 56}, evidence: "a module"},
		{name: "nothing counted", each: after(func(g *guest, i int) {
			g.run(0, "delay_tsc", false).Queue = nil
		}), class: ClassHard, scope: Full, at: [2]int{54, 56}, evidence: "delay_tsc"},
		{name: "in many functions, but no interrupt is counted", each: after(func(g *guest, i int) {
			g.run(0, fmt.Sprint("f", i), false)
		}), class: ClassHard, scope: Full, at: [2]int{54, 56}, evidence: "f50"},
		{name: "in many functions, nothing counted", each: after(func(g *guest, i int) {
			g.run(0, fmt.Sprint("f", i%9), false).Queue = nil
		}), set: func(t *Thresholds) { t.Hard = time.Second }},
		{name: "interrupts on at one of five samples", each: after(func(g *guest, i int) {
			g.run(0, "delay_tsc", i%5 == 0)
		})},
		{name: "gets a tenth of the time", each: after(func(g *guest, i int) {
			g.run(0, "delay_tsc", false).CPUTimeNS -= uint64(9 * g.period / 10)
		}), class: ClassHard, scope: Full, at: [2]int{73, 76}, evidence: "delay_tsc"},
	})
}

// TestBooting: a kernel that starts is not judged, unless it panics or never gets
// through.
func TestBooting(t *testing.T) {
	starts := func(phase func(i int) string) func(g *guest, i int) {
		return func(g *guest, i int) {
			g.run(0, "delay_tsc", false)
			if g.kernel.Phase = phase(i); i%5 != 0 {
				g.o.Kernel = nil
			}
		}
	}
	runScenes(t, []scene{
		{name: "interrupts off", each: starts(func(int) string { return PhaseBooting }), n: 600},
		{name: "never gets through", each: starts(func(int) string { return PhaseBooting }), n: 700, class: ClassHard, scope: Full, at: [2]int{603, 608}, evidence: "delay_tsc"},
		{name: "gets through and hangs", each: starts(func(i int) string {
			if i < 50 {
				return PhaseBooting
			}
			return PhaseRunning
		}), class: ClassHard, scope: Full, at: [2]int{54, 57}, evidence: "delay_tsc"},
		{name: "it cannot be read how far it is", each: starts(func(int) string { return "" }), class: ClassHard, scope: Full, at: [2]int{4, 7}, evidence: "delay_tsc"},
		{name: "says that it boots again", each: starts(func(i int) string {
			if i == 0 {
				return PhaseRunning
			}
			return PhaseBooting
		}), class: ClassHard, scope: Full, at: [2]int{4, 7}, evidence: "delay_tsc"},
		{name: "panics", each: func(g *guest, i int) {
			starts(func(int) string { return PhaseBooting })(g, i)
			if g.o.Kernel != nil && i >= 20 {
				g.kernel.Panicking = 0
			}
		}, class: ClassPanic, scope: Full, at: [2]int{20, 25}, evidence: "panic"},
		{name: "boot_ms", each: starts(func(int) string { return PhaseBooting }), set: func(t *Thresholds) { t.Boot = 2 * time.Second },
			class: ClassHard, scope: Full, at: [2]int{23, 28}, evidence: "delay_tsc"},
	})
}

func TestSoft(t *testing.T) {
	runScenes(t, []scene{
		{name: "asked to schedule", each: after(func(g *guest, i int) { g.run(0, "broken_loop", true).Queue.NeedResched = true }),
			class: ClassSoft, scope: Full, at: [2]int{69, 71}, evidence: "victim (77), 1 runnable, asked to schedule: true"},
		{name: "another task waits", vcpus: 2, each: after(func(g *guest, i int) {
			g.run(0, fmt.Sprint("f", i), true).Queue.Running = 2
		}), class: ClassSoft, scope: Partial, at: [2]int{69, 71}, evidence: "and others"},
		{name: "interrupts counted, never seen on", each: after(func(g *guest, i int) {
			g.run(0, "broken_loop", false).Queue.Running = 2
			g.queues[0].Interrupts++
		}), class: ClassSoft, scope: Full, at: [2]int{69, 71}, evidence: "broken_loop"},
		{name: "interrupts never seen: that would be hard", each: after(func(g *guest, i int) {
			g.run(0, "broken_loop", false).Queue.Running = 2
		}), class: ClassHard, scope: Full, at: [2]int{54, 56}, evidence: "broken_loop"},
		{name: "just short of it", each: after(func(g *guest, i int) {
			g.run(0, "broken_loop", true).Queue.NeedResched = i < 69
		})},
		{name: "a switch every 1.9 s", each: after(func(g *guest, i int) {
			g.run(0, "broken_loop", true).Queue.NeedResched = true
			if i%19 == 0 {
				g.queues[0].Switches++
			}
		}), n: 600},
		{name: "silence, no queue", each: after(func(g *guest, i int) {
			g.still[0] = true
			g.run(0, "broken_loop", true).Queue = nil
		}), n: 200,
			class: ClassSoft, scope: Full, at: [2]int{148, 152}, evidence: "unreadable"},
		{name: "silence, the queue read now and then", each: after(func(g *guest, i int) {
			g.still[0] = true
			if g.run(0, "broken_loop", true).Queue.NeedResched = true; i%2 == 0 {
				g.o.VCPUs[0].Queue = nil
			}
		}), n: 200, class: ClassSoft, scope: Full, at: [2]int{148, 152}, evidence: "unreadable"},
	})
}

func TestStopped(t *testing.T) {
	runScenes(t, []scene{
		// The nap ends with observation 80, and nobody wakes.
		{name: "halted past its timer", each: func(g *guest, i int) {
			g.still[0] = i >= 50
		}, n: 200, class: ClassStopped, scope: Full, at: [2]int{87, 91}, evidence: "overdue by"},
		{name: "halted past its timer, and paused when that was lost", each: func(g *guest, i int) {
			g.still[0] = i >= 50
			g.o.Domain.Paused = i >= 77 && i < 79
		}, n: 200, class: ClassStopped, scope: Full, at: [2]int{89, 93}, evidence: "overdue by"},
		{name: "paused for two seconds of its nap, with its clock standing still", each: func(g *guest, i int) {
			g.o.Domain.Paused = i >= 60 && i < 80
			g.still[0] = i >= 60
			if i >= 100 && (i-100)%nap == 0 { // so much later than it was to be
				g.wake(0)
				g.kernel.MonotonicNS -= 2000 * ms
				g.queues[0].TimerNS -= 2000 * ms
			}
		}, n: 1000},
		{name: "halted past its timer, for a paravirtualised lock", each: func(g *guest, i int) {
			g.still[0] = i >= 50
			if v := &g.o.VCPUs[0]; g.doubts(0) {
				v.Sampled, v.Symbol, v.RIP, v.Callers = true, "xen_hypercall_hvm", 0xffffffff81000000, []string{"xen_poll_irq_timeout", "xen_qlock_wait"}
			}
		}, n: 200, class: ClassHard, scope: Full, at: [2]int{86, 89}, evidence: "polled for the lock"},
		{name: "halted in its timer's handler, for a paravirtualised lock", each: after(func(g *guest, i int) {
			g.still[0] = true
			g.queues[0].TimerNS = math.MaxInt64
			if v := &g.o.VCPUs[0]; g.doubts(0) {
				v.Sampled, v.Symbol, v.RIP, v.Callers = true, "xen_hypercall_hvm", 0xffffffff81000000, []string{"xen_poll_irq_timeout", "xen_qlock_wait"}
			}
		}), class: ClassHard, scope: Full, at: [2]int{55, 57}, evidence: "polled for the lock"},
		{name: "one of two", vcpus: 2, each: func(g *guest, i int) {
			g.still[1] = i >= 50
		}, n: 200, class: ClassStopped, scope: Partial, at: [2]int{87, 91}, evidence: "vCPU 1"},
		{name: "wakes half a second late", each: func(g *guest, i int) {
			g.still[0] = i >= 50
			if i >= 50 && g.n%nap == 6 {
				g.wake(0)
				g.queues[0].TimerNS -= 5 * g.period // so that it is that late each time
			}
		}, n: 3000},
		{name: "the clock of dom0 jumps by 0.9 s", each: func(g *guest, i int) {
			if i == 90 {
				g.t += 900 * ms
				g.o.TimeNS = g.t
			}
			if i >= 90 && g.n%nap == 1 {
				g.kernel.MonotonicNS -= 900 * ms
				g.queues[0].TimerNS -= 900 * ms
			}
		}, n: 1000},
		{name: "the guest's clock cannot be read", each: func(g *guest, i int) {
			g.kernel.MonotonicNS = 0
			g.still[0] = i >= 50
		}, n: 600},
		{name: "halted with tasks to run", each: after(func(g *guest, i int) {
			g.stay(0)
			g.queues[0].Running = 2
		}), class: ClassStopped, scope: Full, at: [2]int{56, 58}, evidence: "2 runnable tasks"},
		{name: "halted in a task", each: after(func(g *guest, i int) {
			g.stay(0)
			g.queues[0].PID, g.queues[0].Comm = 77, "victim"
		}), class: ClassStopped, scope: Full, at: [2]int{56, 58}, evidence: "in task victim (77)"},
		{name: "halted with tasks to run at each sample, but they run in between", each: after(func(g *guest, i int) {
			g.queues[0].Running = 2
			g.queues[0].Switches++
		})},
		{name: "taken offline with tasks to run", vcpus: 2, each: after(func(g *guest, i int) {
			g.stay(1)
			g.o.VCPUs[1].Online, g.o.VCPUs[1].Blocked = false, false
			g.queues[1].Running = 1
		}), class: ClassStopped, scope: Partial, at: [2]int{56, 58}, evidence: "taken offline"},
		{name: "never online", vcpus: 2, each: func(g *guest, i int) {
			g.stay(1)
			g.o.VCPUs[1].Online, g.o.VCPUs[1].Blocked = false, false
			g.queues[1].Running = 1
		}},
		{name: "runnable, never run", each: after(func(g *guest, i int) {
			g.stay(0)
			g.o.VCPUs[0].Blocked = false
		}), n: 200, class: ClassStopped, scope: Full, at: [2]int{100, 102}, evidence: "given it no time"},
		{name: "the watchdog's end", each: after(func(g *guest, i int) { g.o.Domain.Shutdown = "watchdog" }),
			class: ClassStopped, scope: Full, at: [2]int{50, 50}, evidence: "watchdog"},
	})
}

// stay keeps a vCPU from waking; no timer is due.
func (g *guest) stay(i int) {
	g.still[i] = true
	g.queues[i].TimerNS = math.MaxInt64
}

func TestPanic(t *testing.T) {
	runScenes(t, []scene{
		{name: "panic_cpu", vcpus: 2, each: after(func(g *guest, i int) { g.kernel.Panicking = 1 }), class: ClassPanic, scope: Full, at: [2]int{50, 50}, evidence: "CPU 1"},
		{name: "at the first look", each: func(g *guest, i int) { g.kernel.Panicking = 0 }, class: ClassPanic, scope: Full, evidence: "CPU 0"},
		{name: "crash", each: after(func(g *guest, i int) { g.o.Domain.Shutdown = "crash" }), class: ClassPanic, scope: Full, at: [2]int{50, 50}, evidence: "crash"},
		{name: "crash while paused, then unpaused", each: after(func(g *guest, i int) {
			g.o.Domain.Shutdown, g.o.Domain.Paused = "crash", i < 60
		}), class: ClassPanic, scope: Full, at: [2]int{60, 60}, evidence: "crash"},
		{name: "in the panic code", each: after(func(g *guest, i int) {
			g.o.Kernel = nil
			g.run(0, "delay_tsc", true).Callers = []string{"__const_udelay", "vpanic", "panic"}
		}), class: ClassPanic, scope: Full, at: [2]int{51, 51}, evidence: "vpanic"},
		{name: "one stray word on the stack", each: after(func(g *guest, i int) {
			if v := g.run(0, "vfs_read", true); i%2 == 0 {
				v.Callers = []string{"panic"}
			} else {
				v.Signals++
			}
		})},
		{name: "reboot", each: after(func(g *guest, i int) { g.o.Domain.Shutdown = "reboot" })},
		{name: "reboot after a panic, seen in what is left of the guest", each: after(func(g *guest, i int) {
			g.o.Domain.Shutdown = "reboot"
			g.kernel.Panicking = 0
		}), class: ClassPanic, scope: Full, at: [2]int{50, 50}, evidence: "shut down: reboot"},
	})
}

func TestTasks(t *testing.T) {
	stuck := func(w Waiting) func(g *guest, i int) {
		return after(func(g *guest, i int) { g.wait(w) })
	}
	mutex := Waiting{PID: 300, Comm: "ip", Switches: 7, Stack: []string{"__mutex_lock.constprop.0", "rtnl_newlink"}, Lock: "rtnl_mutex", Owner: "kworker/0:1 (17)"}
	disk := Waiting{PID: 400, Comm: "dd", Switches: 9, Stack: []string{"io_schedule", "folio_wait_bit_common"}, IOWait: true}
	// A thread that does direct I/O and whose wait is cut in pieces of half a second.
	woken := func(change func(g *guest, w *Waiting, i int)) func(g *guest, i int) {
		return after(func(g *guest, i int) {
			w := Waiting{PID: 402, Comm: "mkfs", Switches: uint64(i / 5), Stack: []string{"io_schedule_timeout", "submit_bio_wait", "__blkdev_direct_IO_simple"}, IOWait: true}
			g.kernel.IOSectors = 4096
			if change != nil {
				change(g, &w, i)
			}
			g.wait(w)
		})
	}
	runScenes(t, []scene{
		{name: "mutex", each: stuck(mutex), class: ClassBlocked, scope: Partial, at: [2]int{75, 76}, evidence: "ip (300) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, waits for lock rtnl_mutex held by kworker/0:1 (17)"},
		{name: "its owner is runnable", each: stuck(Waiting{PID: 300, Comm: "ip", Lock: "rtnl_mutex", Owner: "make (17)", OwnerRunnable: true}), n: 300},
		{name: "its owner is runnable now and then", each: after(func(g *guest, i int) {
			w := mutex
			w.OwnerRunnable = i%20 == 0
			g.wait(w)
		}), class: ClassBlocked, scope: Partial, at: [2]int{75, 76}, evidence: "rtnl_mutex"},
		{name: "lock known, stack not", each: stuck(Waiting{PID: 300, Comm: "ip", Lock: "rtnl_mutex"}), class: ClassBlocked, scope: Partial, at: [2]int{75, 76}, evidence: "rtnl_mutex"},
		{name: "no name, quiet disk", each: stuck(Waiting{PID: 300, Comm: "ip", Stack: []string{"schedule_preempt_disabled", "rwsem_down_read_slowpath"}}), class: ClassBlocked, scope: Partial, at: [2]int{75, 76}, evidence: "rwsem_down_read_slowpath"},
		{name: "disk", each: stuck(disk), class: ClassIO, scope: Partial, at: [2]int{75, 76}, evidence: "dd (400)"},
		{name: "disk by its flag alone", each: stuck(Waiting{PID: 300, Comm: "dd", IOWait: true}), class: ClassIO, scope: Partial, at: [2]int{75, 76}, evidence: "in_iowait"},
		{name: "a lock behind the disk", each: after(func(g *guest, i int) {
			g.wait(mutex)
			if i >= 60 {
				g.wait(disk)
			}
		}), class: ClassIO, scope: Partial, at: [2]int{85, 86}, evidence: "behind it: thread ip (300)"},
		{name: "moves every 2.4 s", each: after(func(g *guest, i int) {
			w := mutex
			w.Switches = uint64(i / 24)
			g.wait(w)
		}), n: 1000},
		{name: "another thread of that number", each: after(func(g *guest, i int) {
			w := mutex
			w.Comm = fmt.Sprint("ip", i/24)
			g.wait(w)
		}), n: 1000},
		{name: "the disk goes on for others: only late", each: after(func(g *guest, i int) {
			g.wait(disk)
			g.wait(Waiting{PID: 401, Comm: "cp", Switches: uint64(i), Stack: []string{"io_schedule"}})
		}), n: 500, class: ClassIO, scope: Partial, at: [2]int{350, 351}, evidence: "by its length alone"},
		{name: "the same, and memory is never readable", each: after(func(g *guest, i int) {
			g.wait(disk)
			if i%2 == 0 {
				g.wait(Waiting{PID: 401, Comm: "cp", Switches: 5, Stack: []string{"io_schedule"}})
			}
			g.kernel.Unreadable = []string{"counters of OOM kills: absent"}
		}), n: 300},
		{name: "walks that end early prove no end of a wait", each: after(func(g *guest, i int) {
			g.wait(disk)
			if i%2 == 0 {
				g.wait(Waiting{PID: 401, Comm: "cp", Switches: 5, Stack: []string{"io_schedule"}})
			} else {
				g.kernel.Walked = 20
			}
		}), class: ClassIO, scope: Partial, at: [2]int{75, 76}, evidence: "dd (400)"},
		{name: "woken to look whether its I/O is over", each: woken(nil), class: ClassIO, scope: Partial, at: [2]int{75, 76}, evidence: "mkfs (402) has done nothing for 2500 ms but check 5 times whether its I/O is over: in uninterruptible sleep in io_schedule_timeout"},
		{name: "the same, and something is read every two seconds", each: woken(func(g *guest, w *Waiting, i int) { g.kernel.IOSectors += uint64(i/20) * 8 }), n: 500},
		{name: "flushes one after the other", each: woken(func(g *guest, w *Waiting, i int) {
			w.Stack = []string{"io_schedule_timeout", "submit_bio_wait", "blkdev_issue_flush", "blkdev_fsync"}
		}), n: 500},
		{name: "waits where nothing wakes it", each: woken(func(g *guest, w *Waiting, i int) { w.Stack = []string{"io_schedule", "folio_wait_bit_common"} }), n: 500},
		{name: "wakes too often", each: woken(func(g *guest, w *Waiting, i int) { w.Switches *= 2 }), n: 500},
		{name: "the count of I/O is not readable", each: woken(func(g *guest, w *Waiting, i int) { g.kernel.IOSectors = 0 }), n: 500},
		{name: "msleep: only late", each: stuck(Waiting{PID: 300, Comm: "driver", Stack: []string{"msleep", "broken_probe"}}), n: 500,
			class: ClassBlocked, scope: Partial, at: [2]int{350, 351}, evidence: "in msleep; judged by its length alone"},
		{name: "looks once a second", each: func(g *guest, i int) {
			if i >= 50 {
				g.wait(mutex)
			}
			if i%10 != 0 {
				g.o.Kernel = nil
			}
		}, class: ClassBlocked, scope: Partial, at: [2]int{80, 80}, evidence: "rtnl_mutex"},
		{name: "looks that leave it out now and then", each: after(func(g *guest, i int) {
			if i%3 != 0 {
				g.wait(mutex)
			}
			g.kernel.WaitingTotal = 90
		}), class: ClassBlocked, scope: Partial, at: [2]int{75, 77}, evidence: "uninterruptible sleep: 90"},
		{name: "unreadable now and then", each: after(func(g *guest, i int) {
			if g.wait(mutex); i%3 == 0 {
				g.kernel.Waiting, g.kernel.WaitingTotal, g.kernel.Walked = nil, 0, 0
				g.kernel.Unreadable = []string{"init_task: page not present"}
			} else {
				g.kernel.Walked = 60
			}
		}), class: ClassBlocked, scope: Partial, at: [2]int{75, 77}, evidence: "rtnl_mutex"},
		{name: "a hundred at once", each: after(func(g *guest, i int) {
			for j := range 100 {
				w := mutex
				w.PID += int32((i + j) % 100)
				g.wait(w)
			}
		}), class: ClassBlocked, scope: Partial, at: [2]int{75, 77}, evidence: "uninterruptible sleep: 100"},
	})
	for _, tc := range []struct {
		w      Waiting
		kind   Class
		benign bool
	}{
		{Waiting{Stack: []string{"bit_wait_io", "out_of_line_wait_on_bit_lock"}}, ClassIO, false},
		{Waiting{Stack: []string{"rwsem_down_write_slowpath", "submit_bio_wait"}}, ClassBlocked, false},
		{Waiting{Stack: []string{"percpu_rwsem_wait.part.0"}}, ClassBlocked, false},
		{Waiting{Stack: []string{"__down_common"}}, ClassBlocked, false},
		{Waiting{Stack: []string{"msleep"}}, "", false},
		{Waiting{}, "", false},
		{Waiting{Stack: []string{"kthread"}}, "", true},
		{Waiting{Stack: []string{"kthread", "msleep"}}, "", false},
		{Waiting{Stack: []string{"wait_for_vfork_done"}, IOWait: true}, "", true},
	} {
		if kind, _, benign := reasonOf(&tc.w); kind != tc.kind || benign != tc.benign {
			t.Errorf("%+v: %q, benign %v, want %q, %v", tc.w, kind, benign, tc.kind, tc.benign)
		}
	}
	for owner, want := range map[string]int32{"kworker/0:1 (17)": 17, "a (b) (3)": 3, "(999999999)": 999999999, "": -1, "x ()": -1, "x (1": -1, "x (1a)": -1, "x (9999999999)": -1, "x (-1)": -1} {
		if pid, ok := ownerPID(owner); ok != (want >= 0) || ok && pid != want {
			t.Errorf("owner %q: %d, %v, want %d", owner, pid, ok, want)
		}
	}
}

// bomb sets the number of threads, all but 60 of one name, and all of those
// runnable.
func (g *guest) bomb(threads int, forks uint64) {
	g.kernel.Threads, g.kernel.Forks = uint64(60+threads), g.kernel.Forks+forks
	g.kernel.LargestComm, g.kernel.LargestCount = "bomb", threads
	for i := range g.queues {
		g.compute(i).Signals += 5
		g.queues[i].Switches += 5
		g.queues[i].Running = uint32(threads / len(g.queues))
	}
}

func TestForkstorm(t *testing.T) {
	runScenes(t, []scene{
		{name: "bomb", each: after(func(g *guest, i int) { g.bomb(20*(i-49), 20) }), class: ClassForkstorm, scope: Full, at: [2]int{64, 65}, evidence: `named "bomb"`},
		{name: "bomb, explosive", each: after(func(g *guest, i int) { g.bomb(1<<min(i-49, 24), 20) }), class: ClassForkstorm, scope: Full, at: [2]int{64, 72}, evidence: `named "bomb"`},
		{name: "bomb, queues unreadable", each: after(func(g *guest, i int) {
			g.bomb(30*(i-49), 30)
			g.o.VCPUs[0].Queue = nil
		}), class: ClassForkstorm, scope: Partial, at: [2]int{75, 78}, evidence: "has grown by"},
		{name: "one queue of two is long", vcpus: 2, each: after(func(g *guest, i int) {
			g.bomb(20*(i-49), 20)
			g.queues[0].Running, g.queues[1].Running = 0, uint32(20*(i-49))
		}), class: ClassForkstorm, scope: Partial, at: [2]int{64, 66}, evidence: "has grown by"},
		{name: "at a limit within half a second, forks go on", each: after(func(g *guest, i int) { g.bomb(min(300, 60*(i-49)), 30) }),
			class: ClassForkstorm, scope: Full, at: [2]int{65, 70}, evidence: "forks go on"},
		{name: "at a limit, every fork fails", each: after(func(g *guest, i int) { g.bomb(min(300, 60*(i-49)), 0) }), n: 200,
			class: ClassForkstorm, scope: Full, at: [2]int{110, 116}, evidence: "threads had multiplied"},
		{name: "slow, but whoever comes is runnable", each: after(func(g *guest, i int) { g.bomb(4*(i-49), 4) }), class: ClassForkstorm, scope: Full, at: [2]int{73, 75}, evidence: "has grown by"},
		{name: "slow, and one in eight sleeps", each: after(func(g *guest, i int) {
			g.bomb(min(199, 4*(i-49)), 4)
			g.queues[0].Running -= g.queues[0].Running / 8
		}), n: 600},
		{name: "below half the number", each: after(func(g *guest, i int) { g.bomb(min(99, 10*(i-49)), 30) }), n: 600},
		{name: "threshold", each: after(func(g *guest, i int) { g.bomb(min(99, 5*(i-49)), 30) }), n: 600, set: func(t *Thresholds) { t.ForkstormThreads = 100 },
			class: ClassForkstorm, scope: Full, at: [2]int{64, 66}, evidence: "named"},
		{name: "short queues", each: after(func(g *guest, i int) {
			g.bomb(min(700, 20*(i-49)), 20)
			g.queues[0].Running = 5
		}), n: 600},
		{name: "many threads from the start, long queues, no fork", each: func(g *guest, i int) { g.bomb(300, 0) }, n: 600},
	})
}

func TestThrash(t *testing.T) {
	thrash := func(change func(m, was *Memory)) func(g *guest, i int) {
		return after(func(g *guest, i int) {
			was := g.kernel.Memory
			if g.thrash(); change != nil {
				change(&g.kernel.Memory, &was)
			}
		})
	}
	runScenes(t, []scene{
		{name: "thrash", each: thrash(nil), class: ClassThrash, scope: Full, at: [2]int{69, 71}, evidence: "pages reclaimed"},
		{name: "one look of five without", each: after(func(g *guest, i int) {
			if i%5 != 4 {
				g.thrash()
			}
		}), class: ClassThrash, scope: Full, at: [2]int{69, 71}, evidence: "pages reclaimed"},
		{name: "stalls alone", each: thrash(func(m, was *Memory) { m.MajorFault = was.MajorFault }), class: ClassThrash, scope: Full, at: [2]int{69, 71}, evidence: "free:"},
		{name: "nobody waits", each: thrash(func(m, was *Memory) { m.MajorFault, m.Stalls = was.MajorFault, was.Stalls }), n: 300},
		{name: "half of it less one page", each: thrash(func(m, was *Memory) { m.Refaults = was.Refaults + 99 }), n: 300},
		{name: "half of it", each: thrash(func(m, was *Memory) { m.Refaults = was.Refaults + 100 }), class: ClassThrash, scope: Full, at: [2]int{69, 71}, evidence: "free:"},
		{name: "few pages", each: thrash(func(m, was *Memory) { m.Refaults, m.Stolen = was.Refaults+19, was.Stolen+20 }), n: 300},
		{name: "free memory", each: thrash(func(m, was *Memory) { m.FreePages = 4000 }), n: 300},
		{name: "just low", each: thrash(func(m, was *Memory) { m.FreePages = 3999 }), class: ClassThrash, scope: Full, at: [2]int{69, 71}, evidence: "free: 3999 of 40000"},
		{name: "counters that go back", each: after(func(g *guest, i int) {
			if g.thrash(); i%8 == 0 {
				g.kernel.Memory.Refaults = 0
			}
		}), n: 300},
		{name: "unreadable", each: after(func(g *guest, i int) { g.kernel.Memory = Memory{} }), n: 300},
	})
}
