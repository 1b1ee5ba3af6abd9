package detect

import (
	"fmt"
	"testing"
	"time"
)

func TestSoft(t *testing.T) {
	t.Parallel()
	runScenes(t, []scene{
		{name: "asked to schedule",
			each: after(func(g *guest, i int) { g.run(0, "broken_loop", true).Queue.NeedResched = true }),
			want: want(69, ClassSoft, Full, []int{0},
				"vCPU 0: no task switch for 2000 ms while it ran 2000 ms in the kernel, at all of 20 "+
					"samples, interrupts on at 20 of these",
				"vCPU 0: seen in broken_loop",
				"vCPU 0: runs victim (77), 1 runnable, asked to schedule: true")},
		{name: "another task waits", vcpus: 2, each: after(func(g *guest, i int) {
			g.run(0, fmt.Sprint("f", i), true).Queue.Running = 2
		}), want: want(69, ClassSoft, Partial, []int{0},
			"vCPU 0: no task switch for 2000 ms while it ran 2000 ms in the kernel, at all of 20 samples, "+
				"interrupts on at 20 of these",
			"vCPU 0: seen in f50, f51, f52, f53, f54, f55, f56, f57 and others",
			"vCPU 0: runs victim (77), 2 runnable, asked to schedule: false")},
		{name: "interrupts counted, never seen on", each: after(func(g *guest, i int) {
			g.run(0, "broken_loop", false).Queue.Running = 2
			g.queues[0].Interrupts++
		}), want: want(69, ClassSoft, Full, []int{0},
			"vCPU 0: no task switch for 2000 ms while it ran 2000 ms in the kernel, at all of 20 samples, "+
				"interrupts on at 20 of these",
			"vCPU 0: seen in broken_loop",
			"vCPU 0: runs victim (77), 2 runnable, asked to schedule: false")},
		{name: "interrupts without end, never seen on", each: after(func(g *guest, i int) {
			q := g.run(0, []string{"hrtimer_interrupt", "__xen_evtchn_do_upcall"}[i%2], false).Queue
			q.Interrupts += 500
			q.NeedResched, q.Preempt = true, 1<<16
		}), want: want(69, ClassSoft, Full, []int{0},
			"vCPU 0: no task switch for 2000 ms while it ran 2000 ms in the kernel, at all of 20 samples, "+
				"interrupts on at 20 of these",
			"vCPU 0: seen in hrtimer_interrupt, __xen_evtchn_do_upcall",
			"vCPU 0: interrupts are handled without end: 10000 in this time, within a handler at 20 of 20 samples",
			"vCPU 0: runs victim (77), 1 runnable, asked to schedule: true")},
		{name: "within a handler at half of the samples", each: after(func(g *guest, i int) {
			q := g.run(0, "broken_loop", true).Queue
			q.NeedResched, q.Preempt = true, uint32(i%2)<<16|1
		}), want: want(69, ClassSoft, Full, []int{0},
			"vCPU 0: no task switch for 2000 ms while it ran 2000 ms in the kernel, at all of 20 samples, "+
				"interrupts on at 20 of these",
			"vCPU 0: seen in broken_loop",
			"vCPU 0: runs victim (77), 1 runnable, asked to schedule: true")},
		{name: "interrupts without end, and nobody waits", n: 300, each: func(g *guest, i int) {
			q := g.run(0, "hrtimer_interrupt", false).Queue
			q.Interrupts += 500
			q.Preempt = 1 << 16
		}},
		{name: "interrupts never seen: that would be hard", each: after(func(g *guest, i int) {
			g.run(0, "broken_loop", false).Queue.Running = 2
		}), want: want(54, ClassHard, Full, []int{0},
			"vCPU 0: no task switch for 500 ms while it ran 500 ms in the kernel, interrupts off at all of 5 samples",
			"vCPU 0: seen in broken_loop",
			"vCPU 0: not one interrupt handled since (5006 since boot)",
			"vCPU 0: runs victim (77), 2 runnable, asked to schedule: false")},
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
			want: want(149, ClassSoft, Full, []int{0},
				"vCPU 0: no task switch for 10000 ms while it ran 10000 ms in the kernel, at all of 100 "+
					"samples, interrupts on at 100 of these",
				"vCPU 0: seen in broken_loop",
				"vCPU 0: its run queue was unreadable at 100 samples: judged by silence alone")},
		{name: "silence, the queue read now and then", each: after(func(g *guest, i int) {
			g.still[0] = true
			if g.run(0, "broken_loop", true).Queue.NeedResched = true; i%2 == 0 {
				g.o.VCPUs[0].Queue = nil
			}
		}), n: 200, want: want(149, ClassSoft, Full, []int{0},
			"vCPU 0: no task switch for 10000 ms while it ran 10000 ms in the kernel, at all of 100 samples, "+
				"interrupts on at 100 of these",
			"vCPU 0: seen in broken_loop",
			"vCPU 0: its run queue was unreadable at 50 samples: judged by silence alone",
			"vCPU 0: runs victim (77), 1 runnable, asked to schedule: true")},
		{name: "runs a tenth of the time: one second of running takes 100 samples",
			n: 200, each: after(func(g *guest, i int) {
				g.still[0] = true
				g.run(0, "broken_loop", i%2 == 0).Queue.NeedResched = true
				g.queues[0].Interrupts++
				g.o.VCPUs[0].CPUTimeNS -= uint64(90 * ms)
				g.o.VCPUs[0].Callers = []string{fmt.Sprint("caller", i)}
			}), want: want(149, ClassSoft, Full, []int{0},
				"vCPU 0: no task switch for 10000 ms while it ran 1000 ms in the kernel, at all of 100 samples, "+
					"interrupts on at 100 of these",
				"vCPU 0: seen in broken_loop",
				"vCPU 0: runs victim (77), 1 runnable, asked to schedule: true",
				"vCPU 0: called from caller149")},
		{name: "runs a tenth of the time, silent: five seconds of running take 500 samples",
			n: 600, each: after(func(g *guest, i int) {
				g.still[0] = true
				g.run(0, "broken_loop", i%4 == 0).Queue.Interrupts++
				g.o.VCPUs[0].CPUTimeNS -= uint64(90 * ms)
				if i != 60 {
					g.o.VCPUs[0].Queue = nil
				} else {
					g.queues[0].NeedResched = true
				}
			}), want: want(549, ClassSoft, Full, []int{0},
				"vCPU 0: no task switch for 50000 ms while it ran 5000 ms in the kernel, at all of 500 samples, "+
					"interrupts on at 125 of these",
				"vCPU 0: seen in broken_loop",
				"vCPU 0: its run queue was unreadable at 499 samples: judged by silence alone",
				"vCPU 0: runs victim (77), 1 runnable, asked to schedule: true")},
		{name: "silent, in eight functions", n: 200, each: after(func(g *guest, i int) {
			g.still[0] = true
			g.run(0, fmt.Sprint("f", i%8), true).Queue = nil
		}), want: want(149, ClassSoft, Full, []int{0},
			"vCPU 0: no task switch for 10000 ms while it ran 10000 ms in the kernel, at all of 100 samples, "+
				"interrupts on at 100 of these",
			"vCPU 0: seen in f2, f3, f4, f5, f6, f7, f0, f1",
			"vCPU 0: its run queue was unreadable at 100 samples: judged by silence alone")},
		{name: "silent, in nine functions", n: 300, each: after(func(g *guest, i int) {
			g.still[0] = true
			g.run(0, fmt.Sprint("f", i%9), true).Queue = nil
		})},
		{name: "silent, in nine functions at first", n: 300, each: after(func(g *guest, i int) {
			g.still[0] = true
			g.run(0, fmt.Sprint("f", min(i, 58)), true).Queue = nil
		})},
		{name: "silent, in entry code now and then", n: 300, each: after(func(g *guest, i int) {
			g.still[0] = true
			if g.run(0, "broken_loop", true).Queue = nil; i%90 == 0 {
				g.o.VCPUs[0].Symbol = "entry_SYSCALL_64"
			}
		})},
		{name: "in entry code, while a task waits", each: after(func(g *guest, i int) {
			g.run(0, "entry_SYSCALL_64", true).Queue.Running = 2
		}), want: want(69, ClassSoft, Full, []int{0},
			"vCPU 0: no task switch for 2000 ms while it ran 2000 ms in the kernel, at all of 20 samples, "+
				"interrupts on at 20 of these",
			"vCPU 0: seen in entry_SYSCALL_64",
			"vCPU 0: runs victim (77), 2 runnable, asked to schedule: false")},
		{name: "polls in the idle loop, asked to schedule", n: 200, each: after(func(g *guest, i int) {
			g.still[0] = true
			g.run(0, "poll_idle", true).Queue.NeedResched = true
		})},
		{name: "five samples",
			set: func(t *Thresholds) { t.Soft = 100 * time.Millisecond }, each: after(func(g *guest, i int) {
				g.run(0, "broken_loop", true).Queue.NeedResched = true
			}), want: want(54, ClassSoft, Full, []int{0},
				"vCPU 0: no task switch for 500 ms while it ran 500 ms in the kernel, at all of 5 samples, "+
					"interrupts on at 5 of these",
				"vCPU 0: seen in broken_loop",
				"vCPU 0: runs victim (77), 1 runnable, asked to schedule: true")},
		{name: "twenty silent samples", set: func(t *Thresholds) { t.SoftSilence = 100 * time.Millisecond },
			each: after(func(g *guest, i int) {
				g.still[0] = true
				g.run(0, "broken_loop", true).Queue = nil
			}), want: want(69, ClassSoft, Full, []int{0},
				"vCPU 0: no task switch for 2000 ms while it ran 2000 ms in the kernel, at all of 20 "+
					"samples, interrupts on at 20 of these",
				"vCPU 0: seen in broken_loop",
				"vCPU 0: its run queue was unreadable at 20 samples: judged by silence alone")},
		{name: "interrupts on at the last sample of twenty only", n: 71, each: after(func(g *guest, i int) {
			g.still[0] = true
			g.run(0, "broken_loop", i == 69).Queue.Running = 2
		}), set: func(t *Thresholds) { t.Hard = 5 * time.Second }, want: want(69, ClassSoft, Full, []int{0},
			"vCPU 0: no task switch for 2000 ms while it ran 2000 ms in the kernel, at all of 20 samples, "+
				"interrupts on at 1 of these",
			"vCPU 0: seen in broken_loop",
			"vCPU 0: runs victim (77), 2 runnable, asked to schedule: false")},
		{name: "interrupts never on, and the limit for that is longer", n: 150, each: after(func(g *guest, i int) {
			g.still[0] = true
			g.run(0, "broken_loop", false).Queue.Running = 2
		}), set: func(t *Thresholds) { t.Hard = 5 * time.Second }, want: want(99, ClassHard, Full, []int{0},
			"vCPU 0: no task switch for 5000 ms while it ran 5000 ms in the kernel, interrupts off at all of "+
				"50 samples",
			"vCPU 0: seen in broken_loop",
			"vCPU 0: not one interrupt handled since (5006 since boot)",
			"vCPU 0: runs victim (77), 2 runnable, asked to schedule: false")},
		{name: "both vCPUs, one after the other", vcpus: 2, each: after(func(g *guest, i int) {
			if i == 68 {
				g.skip(200)
			}
			g.still[0], g.still[1] = true, true
			g.run(1, "broken_loop", true).Queue.Running = 2
			if i >= 51 {
				g.run(0, "broken_loop", true).Queue.Running = 3
			}
		}), want: want(68, ClassSoft, Full, []int{0, 1},
			"vCPU 0: no task switch for 2000 ms while it ran 1800 ms in the kernel, at all of 18 samples, "+
				"interrupts on at 18 of these",
			"vCPU 0: seen in broken_loop",
			"vCPU 0: runs victim (77), 3 runnable, asked to schedule: false",
			"vCPU 1: no task switch for 2100 ms while it ran 1900 ms in the kernel, at all of 19 samples, "+
				"interrupts on at 19 of these",
			"vCPU 1: seen in broken_loop",
			"vCPU 1: runs victim (77), 2 runnable, asked to schedule: false")},
		{name: "goes offline", vcpus: 2, n: 200, each: after(func(g *guest, i int) {
			g.still[1] = true
			if g.run(1, "broken_loop", true).Queue.NeedResched = true; i >= 60 {
				g.o.VCPUs[1].Online, g.queues[1].Running, g.queues[1].PID = false, 0, 0
			}
		})},
	})
}
