package detect

import (
	"fmt"
	"testing"
	"time"
)

func TestHard(t *testing.T) {
	t.Parallel()
	runScenes(t, []scene{
		{name: "loop with interrupts off", each: after(func(g *guest, i int) {
			g.run(0, "delay_tsc", false).Callers = []string{"broken_driver"}
		}), want: want(54, ClassHard, Full, []int{0},
			"vCPU 0: no task switch for 500 ms while it ran 500 ms in the kernel, interrupts off at all of 5 samples",
			"vCPU 0: seen in delay_tsc",
			"vCPU 0: not one interrupt handled since (5006 since boot)",
			"vCPU 0: runs victim (77), 1 runnable, asked to schedule: false",
			"vCPU 0: called from broken_driver")},
		{name: "in a module", vcpus: 2, each: after(func(g *guest, i int) {
			g.run(0, "", false).RIP = 0xffffffffc0123456
		}), want: want(54, ClassHard, Partial, []int{0},
			"vCPU 0: no task switch for 500 ms while it ran 500 ms in the kernel, interrupts off at all of 5 samples",
			"vCPU 0: seen in a module or unknown code",
			"vCPU 0: not one interrupt handled since (5006 since boot)",
			"vCPU 0: runs victim (77), 1 runnable, asked to schedule: false")},
		{name: "nothing counted", each: after(func(g *guest, i int) {
			g.run(0, "delay_tsc", false).Queue = nil
		}), want: want(54, ClassHard, Full, []int{0},
			"vCPU 0: no task switch for 500 ms while it ran 500 ms in the kernel, interrupts off at all of 5 samples",
			"vCPU 0: seen in delay_tsc")},
		{name: "in many functions, but no interrupt is counted", each: after(func(g *guest, i int) {
			g.run(0, fmt.Sprint("f", i), false)
		}), want: want(54, ClassHard, Full, []int{0},
			"vCPU 0: no task switch for 500 ms while it ran 500 ms in the kernel, interrupts off at all of 5 samples",
			"vCPU 0: seen in f50, f51, f52, f53, f54",
			"vCPU 0: not one interrupt handled since (5006 since boot)",
			"vCPU 0: runs victim (77), 1 runnable, asked to schedule: false")},
		{name: "in many functions, nothing counted", each: after(func(g *guest, i int) {
			g.run(0, fmt.Sprint("f", i%9), false).Queue = nil
		}), set: func(t *Thresholds) { t.Hard = time.Second }},
		{name: "interrupts on at one of five samples", each: after(func(g *guest, i int) {
			g.run(0, "delay_tsc", i%5 == 0)
		})},
		{name: "gets a tenth of the time", each: after(func(g *guest, i int) {
			g.run(0, "delay_tsc", false).CPUTimeNS -= uint64(9 * g.period / 10)
		}), want: want(74, ClassHard, Full, []int{0},
			"vCPU 0: no task switch for 2500 ms while it ran 250 ms in the kernel, interrupts off at all of 25 samples",
			"vCPU 0: seen in delay_tsc",
			"vCPU 0: not one interrupt handled since (5006 since boot)",
			"vCPU 0: runs victim (77), 1 runnable, asked to schedule: false")},
		{name: "no count of interrupts, the other vCPU moves the clock", vcpus: 2, each: func(g *guest, i int) {
			g.queues[0].Interrupts, g.queues[1].Interrupts = 0, 0
			if i >= 50 {
				g.run(0, "delay_tsc", false).Queue.ClockNS = uint64(g.t)
			}
		}, want: want(54, ClassHard, Partial, []int{0},
			"vCPU 0: no task switch for 500 ms while it ran 500 ms in the kernel, interrupts off at all of 5 samples",
			"vCPU 0: seen in delay_tsc",
			"vCPU 0: runs victim (77), 1 runnable, asked to schedule: false")},
		{name: "no count of interrupts, the clock stands still", each: func(g *guest, i int) {
			g.queues[0].Interrupts = 0
			if g.still[0] = i >= 45; i >= 50 {
				g.run(0, "delay_tsc", false).CPUTimeNS -= uint64(10 * ms)
			}
		}, want: want(54, ClassHard, Full, []int{0},
			"vCPU 0: no task switch for 500 ms while it ran 450 ms in the kernel, interrupts off at all of 5 samples",
			"vCPU 0: seen in delay_tsc",
			"vCPU 0: runs victim (77), 1 runnable, asked to schedule: false")},
		{name: "three samples with a count",
			set: func(t *Thresholds) { t.Hard = 100 * time.Millisecond }, each: after(func(g *guest, i int) {
				g.run(0, "delay_tsc", false).Callers = []string{fmt.Sprint("caller", i), "main"}
			}), want: want(52, ClassHard, Full, []int{0},
				"vCPU 0: no task switch for 300 ms while it ran 300 ms in the kernel, interrupts off at all "+
					"of 3 samples",
				"vCPU 0: seen in delay_tsc",
				"vCPU 0: not one interrupt handled since (5006 since boot)",
				"vCPU 0: runs victim (77), 1 runnable, asked to schedule: false",
				"vCPU 0: called from caller52")},
		{name: "five samples without a count",
			set: func(t *Thresholds) { t.Hard = 100 * time.Millisecond }, each: after(func(g *guest, i int) {
				g.run(0, "delay_tsc", false).Queue = nil
			}), want: want(54, ClassHard, Full, []int{0},
				"vCPU 0: no task switch for 500 ms while it ran 500 ms in the kernel, interrupts off at all "+
					"of 5 samples",
				"vCPU 0: seen in delay_tsc")},
		{name: "five samples, one without a count",
			set: func(t *Thresholds) { t.Hard = 100 * time.Millisecond }, each: after(func(g *guest, i int) {
				if g.run(0, "delay_tsc", false); i == 50 {
					g.o.VCPUs[0].Queue = nil
				}
			}), want: want(54, ClassHard, Full, []int{0},
				"vCPU 0: no task switch for 500 ms while it ran 500 ms in the kernel, interrupts off at all "+
					"of 5 samples",
				"vCPU 0: seen in delay_tsc",
				"vCPU 0: runs victim (77), 1 runnable, asked to schedule: false")},
		{name: "one interrupt in 400 ms", n: 300, each: after(func(g *guest, i int) {
			g.still[0] = true
			if g.run(0, "delay_tsc", false); i%5 == 4 {
				g.queues[0].Interrupts++
			}
		})},
		{name: "entry code without an interrupt",
			each: after(func(g *guest, i int) { g.run(0, "entry_SYSCALL_64", false) }),
			want: want(54, ClassHard, Full, []int{0},
				"vCPU 0: no task switch for 500 ms while it ran 500 ms in the kernel, interrupts off at all "+
					"of 5 samples",
				"vCPU 0: seen in entry_SYSCALL_64",
				"vCPU 0: not one interrupt handled since (5006 since boot)",
				"vCPU 0: runs victim (77), 1 runnable, asked to schedule: false")},
		{name: "idles with interrupts off", n: 200, each: after(func(g *guest, i int) {
			g.still[0] = true
			g.run(0, "default_idle", false)
		})},
		{name: "in eight functions, nothing counted", each: after(func(g *guest, i int) {
			g.run(0, fmt.Sprint("f", i%8), false).Queue = nil
		}), set: func(t *Thresholds) { t.Hard = time.Second }, want: want(59, ClassHard, Full, []int{0},
			"vCPU 0: no task switch for 1000 ms while it ran 1000 ms in the kernel, interrupts off at all of "+
				"10 samples",
			"vCPU 0: seen in f2, f3, f4, f5, f6, f7, f0, f1")},
		{name: "runs half of the time", each: after(func(g *guest, i int) {
			g.run(0, "delay_tsc", false).CPUTimeNS -= uint64(50 * ms)
		}), want: want(54, ClassHard, Full, []int{0},
			"vCPU 0: no task switch for 500 ms while it ran 250 ms in the kernel, interrupts off at all of 5 samples",
			"vCPU 0: seen in delay_tsc",
			"vCPU 0: not one interrupt handled since (5006 since boot)",
			"vCPU 0: runs victim (77), 1 runnable, asked to schedule: false")},
		{name: "both vCPUs, one after the other", vcpus: 2, each: after(func(g *guest, i int) {
			if i == 53 {
				g.skip(200)
			}
			g.run(1, "delay_tsc", false)
			if i >= 51 {
				g.run(0, "udelay", false).Queue.NeedResched = true
			}
		}), want: want(53, ClassHard, Full, []int{0, 1},
			"vCPU 0: no task switch for 500 ms while it ran 300 ms in the kernel, interrupts off at all of 3 samples",
			"vCPU 0: seen in udelay",
			"vCPU 0: not one interrupt handled since (5006 since boot)",
			"vCPU 0: runs victim (77), 1 runnable, asked to schedule: true",
			"vCPU 1: no task switch for 600 ms while it ran 400 ms in the kernel, interrupts off at all of 4 samples",
			"vCPU 1: seen in delay_tsc",
			"vCPU 1: not one interrupt handled since (5006 since boot)",
			"vCPU 1: runs victim (77), 1 runnable, asked to schedule: false")},
		{name: "goes offline", vcpus: 2, each: after(func(g *guest, i int) {
			if g.run(1, "delay_tsc", false); i >= 53 {
				g.o.VCPUs[1].Online, g.queues[1].Running, g.queues[1].PID = false, 0, 0
			}
		})},
	})
}
