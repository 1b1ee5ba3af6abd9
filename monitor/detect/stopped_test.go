package detect

import (
	"math"
	"testing"
)

func TestStopped(t *testing.T) {
	t.Parallel()
	runScenes(t, []scene{
		// The nap ends with observation 80, and nobody wakes.
		{name: "halted past its timer", each: func(g *guest, i int) {
			g.still[0] = i >= 50
		}, n: 200, want: want(89, ClassStopped, Full, []int{0},
			"vCPU 0: halted at 8 samples in a row though its timer is overdue by at least 798 ms")},
		{name: "halted past its timer, and paused when that was lost", each: func(g *guest, i int) {
			g.still[0] = i >= 50
			g.o.Domain.Paused = i >= 77 && i < 79
		}, n: 200, want: want(91, ClassStopped, Full, []int{0},
			"vCPU 0: halted at 8 samples in a row though its timer is overdue by at least 798 ms")},
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
				v.Sampled, v.Symbol, v.RIP = true, "xen_hypercall_hvm", 0xffffffff81000000
				v.Callers = []string{"xen_poll_irq_timeout", "xen_qlock_wait"}
			}
		}, n: 200, want: want(87, ClassHard, Full, []int{0},
			"vCPU 0: no task switch for 500 ms while it ran 100% of the time",
			"vCPU 0: in a function that __pv_queued_spin_lock_slowpath calls at 5 of 5 samples, interrupts "+
				"on at 0 of these",
			"vCPU 0: polled for the lock in the hypervisor at 5 samples")},
		{name: "halted in its timer's handler, for a paravirtualised lock", each: after(func(g *guest, i int) {
			g.still[0] = true
			g.queues[0].TimerNS = math.MaxInt64
			if v := &g.o.VCPUs[0]; g.doubts(0) {
				v.Sampled, v.Symbol, v.RIP = true, "xen_hypercall_hvm", 0xffffffff81000000
				v.Callers = []string{"xen_poll_irq_timeout", "xen_qlock_wait"}
			}
		}), want: want(55, ClassHard, Full, []int{0},
			"vCPU 0: no task switch for 500 ms while it ran 100% of the time",
			"vCPU 0: in a function that __pv_queued_spin_lock_slowpath calls at 5 of 5 samples, interrupts "+
				"on at 0 of these",
			"vCPU 0: polled for the lock in the hypervisor at 5 samples")},
		{name: "one of two", vcpus: 2, each: func(g *guest, i int) {
			g.still[1] = i >= 50
		}, n: 200, want: want(89, ClassStopped, Partial, []int{1},
			"vCPU 1: halted at 8 samples in a row though its timer is overdue by at least 798 ms")},
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
		}), want: want(57, ClassStopped, Full, []int{0},
			"vCPU 0: halted for 700 ms, at 8 samples in a row, with 2 runnable tasks, in task swapper (0), "+
				"without a switch")},
		{name: "halted in a task", each: after(func(g *guest, i int) {
			g.stay(0)
			g.queues[0].PID, g.queues[0].Comm = 77, "victim"
		}), want: want(57, ClassStopped, Full, []int{0},
			"vCPU 0: halted for 700 ms, at 8 samples in a row, with 0 runnable tasks, in task victim (77), "+
				"without a switch")},
		{name: "halted with tasks to run at each sample, but they run in between", each: after(func(g *guest, i int) {
			g.queues[0].Running = 2
			g.queues[0].Switches++
		})},
		{name: "taken offline with tasks to run", vcpus: 2, each: after(func(g *guest, i int) {
			g.stay(1)
			g.o.VCPUs[1].Online, g.o.VCPUs[1].Blocked = false, false
			g.queues[1].Running = 1
		}), want: want(57, ClassStopped, Partial, []int{1},
			"vCPU 1: taken offline for 700 ms, at 8 samples in a row, with 1 runnable tasks, in task swapper "+
				"(0), without a switch")},
		{name: "never online", vcpus: 2, each: func(g *guest, i int) {
			g.stay(1)
			g.o.VCPUs[1].Online, g.o.VCPUs[1].Blocked = false, false
			g.queues[1].Running = 1
		}},
		{name: "runnable, never run", each: after(func(g *guest, i int) {
			g.stay(0)
			g.o.VCPUs[0].Blocked = false
		}), n: 200, want: want(100, ClassStopped, Full, []int{0},
			"vCPU 0: runnable for 5000 ms, and the hypervisor has given it no time at all")},
		{name: "unplugged, with its timer left", vcpus: 2, n: 300, each: after(func(g *guest, i int) {
			g.still[1] = true
			g.o.VCPUs[1].Online, g.o.VCPUs[1].Blocked = false, false
		})},
		{name: "runs, and its CPU time stands still", n: 300, each: after(func(g *guest, i int) {
			g.stay(0)
			g.o.VCPUs[0].Blocked, g.o.VCPUs[0].Running = false, true
		})},
		{name: "runnable, run for 1 us every 4.5 s", n: 300, each: after(func(g *guest, i int) {
			g.stay(0)
			if g.o.VCPUs[0].Blocked = false; i%45 == 0 {
				g.o.VCPUs[0].CPUTimeNS += 1000
			}
		})},
		{name: "runnable, not run, but it switches", n: 300, each: after(func(g *guest, i int) {
			g.stay(0)
			g.o.VCPUs[0].Blocked = false
			g.o.VCPUs[0].Signals++
		})},
		{name: "halted past its timer, but it switches", n: 300, each: after(func(g *guest, i int) {
			g.still[0] = true
			g.o.VCPUs[0].Signals++
		})},
		{name: "computes past its timer", n: 300, each: after(func(g *guest, i int) {
			g.still[0] = true
			g.compute(0).Queue.TimerNS = 1
		})},
		{name: "halted past another timer every 500 ms", n: 300, each: after(func(g *guest, i int) {
			g.still[0] = true
			g.queues[0].TimerNS = int64(1 + i/5)
		})},
		{name: "runnable for 5 s and never run, then halted past its timer", n: 110, each: after(func(g *guest, i int) {
			g.still[0] = true
			if g.queues[0].TimerNS = g.guestNS() + 4000*ms; i >= 60 {
				g.queues[0].TimerNS = 1
			}
			g.o.VCPUs[0].Blocked = i >= 100
		}), want: want(107, ClassStopped, Full, []int{0},
			"vCPU 0: halted at 8 samples in a row though its timer is overdue by at least 10997 ms")},
		{name: "its queue cannot be read now and then", n: 200, each: after(func(g *guest, i int) {
			g.stay(0)
			if g.queues[0].Running = 2; i%5 == 0 {
				g.o.VCPUs[0].Queue = nil
			}
		})},
		{name: "both, one with work and one past its timer", vcpus: 2, n: 120, each: after(func(g *guest, i int) {
			g.still[0], g.still[1] = true, true
			if g.queues[0].TimerNS = g.guestNS() + 1000*ms; i >= 60 {
				g.queues[0].TimerNS = 1
			}
			if g.queues[1].TimerNS = math.MaxInt64; i >= 60 {
				g.queues[1].Running, g.queues[1].PID, g.queues[1].Comm = 3, 9, "late"
			}
		}), want: want(67, ClassStopped, Full, []int{0, 1},
			"vCPU 0: halted at 8 samples in a row though its timer is overdue by at least 6997 ms",
			"vCPU 1: halted for 700 ms, at 8 samples in a row, with 3 runnable tasks, in task late (9), "+
				"without a switch")},
		{name: "the watchdog's end", each: after(func(g *guest, i int) { g.o.Domain.Shutdown = "watchdog" }),
			want: want(50, ClassStopped, Full, nil,
				"the hypervisor's watchdog has ended the domain: nothing in it has reset the watchdog in time")},
	})
}

// stay keeps a vCPU from waking; no timer is due.
func (g *guest) stay(i int) {
	g.still[i] = true
	g.queues[i].TimerNS = math.MaxInt64
}
