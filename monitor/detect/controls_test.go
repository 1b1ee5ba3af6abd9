package detect

import (
	"math"
	"testing"
)

// TestControls: nothing that is healthy gives a verdict.
func TestControls(t *testing.T) {
	t.Parallel()
	entry := []string{"entry_SYSCALL_64", "syscall_return_via_sysret", "entry_SYSCALL_64_after_hwframe", "do_syscall_64"}
	scenes := []scene{
		{name: "idle for an hour", each: func(*guest, int) {}, n: hour},
		{name: "two idle", vcpus: 2, each: func(*guest, int) {}, n: 3000},
		{name: "idle without timers for ten minutes",
			each: func(g *guest, i int) { g.queues[0].TimerNS = []int64{0, math.MaxInt64}[i/3000] }, n: 6000},
		{name: "idle, nothing readable",
			each: func(g *guest, i int) { g.o.Kernel = nil; g.o.VCPUs[0].Queue = nil }, n: 6000},
		{name: "idle by polling", each: func(g *guest, i int) {
			g.run(0, "poll_idle", true).Queue = nil
		}, n: 3000},
		{name: "idle by polling with interrupts off at each sample, nothing counted", each: func(g *guest, i int) {
			g.run(0, "default_idle", false).Queue = nil
		}, n: 3000},
		{name: "computes without a switch", each: func(g *guest, i int) { g.compute(0) }, n: 3000},
		{name: "computes while others wait", each: func(g *guest, i int) { g.compute(0).Queue.Running = 3 }, n: 300},
		{name: "system calls all the time, alone",
			each: func(g *guest, i int) { g.run(0, "copy_page_to_iter", true) }, n: 3000},
		{name: "system calls, interrupts off at each sample", each: func(g *guest, i int) {
			g.run(0, entry[i%len(entry)], false)
			g.queues[0].Interrupts += 25
		}, n: 3000},
		{name: "system calls, interrupts off at each sample, nothing counted", each: func(g *guest, i int) {
			g.run(0, entry[i%len(entry)], false).Queue = nil
		}, n: 3000},
		{name: "system calls, interrupts off by chance, no count, but the clock", each: func(g *guest, i int) {
			g.run(0, "kmem_cache_alloc_noprof", false)
			g.queues[0].Interrupts = 0
			g.queues[0].ClockNS = uint64(g.t)
		}, n: 3000},
		{name: "system calls and somebody waits now and then",
			each: func(g *guest, i int) { g.run(0, "vfs_read", true).Queue.NeedResched = i%10 != 0 }, n: 3000},
		{name: "no queue: nine seconds in the kernel", each: func(g *guest, i int) {
			if g.run(0, "clear_page_rep", true).Queue = nil; i%90 == 0 {
				g.o.VCPUs[0].Signals++
			}
		}, n: 3000},
		{name: "no queue: long in the kernel, in many functions", each: func(g *guest, i int) {
			g.run(0, "f"+string(rune('a'+i%20)), true).Queue = nil
		}, n: 3000},
		{name: "one of two idle, the other computes", vcpus: 2, each: func(g *guest, i int) { g.compute(1) }, n: 3000},
		{name: "starved: runnable, gets a little now and then", each: func(g *guest, i int) {
			v := &g.o.VCPUs[0]
			v.Blocked, v.Sampled, v.Symbol = false, true, slow
			if i%45 == 0 {
				v.CPUTimeNS += 1000
			}
		}, n: 1000},
		{name: "paused for a minute, mid-work", each: func(g *guest, i int) {
			v := g.run(0, slow, false)
			v.Queue.Running = 9
			if i > 3 {
				v.CPUTimeNS -= uint64(g.period)
				v.Running = false
				g.o.Domain.Paused = true
			}
		}, n: 600},
		{name: "paused and resumed all the time", each: func(g *guest, i int) {
			g.run(0, slow, false)
			g.o.Domain.Paused = i%5 == 4
		}, n: 600},
		{name: "suspended", each: after(func(g *guest, i int) { g.o.Domain.Shutdown = "suspend" })},
		{name: "powered off", each: after(func(g *guest, i int) { g.o.Domain.Shutdown = "poweroff" })},
		{name: "a gap in the observations, each 0.4 s of a spin", each: func(g *guest, i int) {
			if g.run(0, slow, true); i%5 == 4 {
				g.t += 60_000 * ms
			}
		}, n: 300},
		{name: "dom0's clock jumps by two seconds while the guest naps", each: func(g *guest, i int) {
			if i == 90 {
				g.t += 2000 * ms
				g.o.TimeNS = g.t
			}
			if i >= 90 { // the guest's clock has not jumped, nor has its timer
				g.kernel.MonotonicNS -= 2000 * ms * int64(btoi(g.n%nap == 1))
				g.queues[0].TimerNS -= 2000 * ms * int64(btoi(g.n%nap == 1))
			}
		}, n: 1000},
		{name: "unplugged",
			vcpus: 2, each: after(func(g *guest, i int) { g.o.VCPUs[1].Online, g.o.VCPUs[1].Blocked = false, false }), n: 600},
		{name: "forks and exits", each: func(g *guest, i int) {
			g.kernel.Forks += 80
			g.kernel.Threads = 60 + uint64(i%37)
			g.kernel.LargestComm, g.kernel.LargestCount = "sh", i%37
			v := g.compute(0)
			v.Signals++
			g.queues[0].Switches += 200
			g.queues[0].Running = uint32(1 + i%15)
		}, n: 3000},
		{name: "a service starts 250 workers", each: after(func(g *guest, i int) {
			g.kernel.Threads = 60 + min(250, uint64(i-50)*50)
			g.kernel.Forks = 1000 + g.kernel.Threads
			g.kernel.LargestComm, g.kernel.LargestCount = "worker", int(g.kernel.Threads-60)
		}), n: 600},
		{name: "a service starts 1200 workers, in half a second", each: after(func(g *guest, i int) {
			g.kernel.Threads = 60 + min(1200, uint64(i-47)*240)
			g.kernel.LargestComm, g.kernel.LargestCount = "worker", int(g.kernel.Threads-60)
		}), n: 600},
		{name: "reads a large file once", each: func(g *guest, i int) {
			g.kernel.Memory.FreePages = 900
			g.kernel.Memory.Scanned += 3000
			g.kernel.Memory.Stolen += 2500
			g.kernel.Memory.Refaults += 200
			g.kernel.Memory.Stalls += 4
			g.kernel.Memory.MajorFault += 3
		}, n: 3000},
		{name: "refaults with memory to spare", each: func(g *guest, i int) {
			g.kernel.Memory.Stolen += 100
			g.kernel.Memory.Refaults += 100
			g.kernel.Memory.Stalls += 50
		}, n: 600},
		{name: "thrashes for 1.5 s at a time", each: func(g *guest, i int) {
			if i%40 < 15 {
				g.thrash()
			}
		}, n: 3000},
		{name: "slow I/O: each wait ends after two seconds", each: func(g *guest, i int) {
			g.wait(Waiting{PID: 300, Comm: "dd", Switches: uint64(i / 20),
				Stack: []string{"io_schedule", "folio_wait_bit_common"}})
		}, n: 3000},
		{name: "a queue of slow I/O: each waits ten seconds, one ends each second", each: func(g *guest, i int) {
			for j := range 10 {
				g.wait(Waiting{PID: int32(300 + j), Comm: "dd", Switches: uint64(i+10*j) / 100, Stack: []string{"io_schedule"}})
			}
		}, n: 3000},
		{name: "a named lock handed on", each: func(g *guest, i int) {
			for j := range 10 {
				g.wait(Waiting{PID: int32(300 + j), Comm: "ip", Switches: uint64(i+10*j) / 100,
					Stack: []string{"__mutex_lock"}, Lock: "rtnl_mutex"})
			}
		}, n: 3000},
		{name: "a lock of the file behind a slow disk", each: func(g *guest, i int) {
			g.wait(Waiting{PID: 300, Comm: "dd", Switches: uint64(i / 20),
				Stack: []string{"io_schedule_timeout", "balance_dirty_pages"}})
			g.wait(Waiting{PID: 301, Comm: "dd", Switches: uint64(i / 100),
				Stack: []string{"rwsem_down_write_slowpath"}, Owner: "dd (300)"})
		}, n: 3000},
		{name: "vfork's parent and a kernel thread not yet started", each: func(g *guest, i int) {
			g.wait(Waiting{PID: 300, Comm: "make", Switches: 9, Stack: []string{"wait_for_vfork_done", "kernel_clone"}})
			g.wait(Waiting{PID: 301, Comm: "kworker/1:0", Stack: []string{"kthread", "ret_from_fork", "ret_from_fork_asm"}})
		}, n: 3000},
		{name: "sleeps uninterruptibly for 25 s at a time", each: func(g *guest, i int) {
			g.wait(Waiting{PID: 300, Comm: "driver", Switches: uint64(i / 250), Stack: []string{"msleep"}})
		}, n: 3000},
	}
	runScenes(t, scenes)
	runScenes(t, seldom(scenes))
}

// TestSeldom: an inspection every half second is enough to find what only an inspection
// shows within four seconds, a panic within one.
func TestSeldom(t *testing.T) {
	t.Parallel()
	runScenes(t, seldom([]scene{
		{name: "panic",
			each: after(func(g *guest, i int) { g.kernel.Panicking = 0 }), want: want(50, ClassPanic, Full, nil,
				"CPU 0 of the guest has entered panic (panic_cpu)")},
		{name: "blocked",
			each: after(func(g *guest, i int) { g.wait(Waiting{PID: 300, Lock: "rtnl_mutex"}) }),
			want: want(75, ClassBlocked, Partial, nil,
				"thread  (300) has not run for 2500 ms: in uninterruptible sleep, waits for lock rtnl_mutex",
				"threads in uninterruptible sleep: 1")},
		{name: "io",
			each: after(func(g *guest, i int) { g.wait(Waiting{PID: 300, IOWait: true}) }), want: want(75, ClassIO, Partial, nil,
				"thread  (300) has not run for 2500 ms: in uninterruptible sleep in in_iowait",
				"threads in uninterruptible sleep: 1")},
		{name: "bomb",
			each: after(func(g *guest, i int) { g.bomb(20*(i-49), 20) }), want: want(60, ClassForkstorm, Full, nil,
				"the number of threads has grown by 220 to 280 within 1500 ms, by 220 forks, and still does",
				`220 of 280 threads are named "bomb"`,
				"runnable threads: 220 on 1 vCPUs")},
		{name: "bomb at a limit",
			each: after(func(g *guest, i int) { g.bomb(min(300, 60*(i-49)), 30) }), want: want(70, ClassForkstorm, Full, nil,
				"forks go on for 1500 ms, 1630 since boot",
				`300 of 360 threads are named "bomb"`,
				"runnable threads: 300 on 1 vCPUs")},
		{name: "thrash", each: after(func(g *guest, i int) { g.thrash() }), want: want(70, ClassThrash, Full, nil,
			"memory thrashed at 5 of 5 inspections within 2000 ms: 4200 pages reclaimed, 3150 needed again",
			"allocations that had to reclaim: 105, faults that had to read: 1890, killed for want of memory: 0",
			"free: 800 of 40000 pages")},
		{name: "halted past its timer",
			each: func(g *guest, i int) { g.still[0] = i >= 50 }, want: want(89, ClassStopped, Full, []int{0},
				"vCPU 0: halted at 8 samples in a row though its timer is overdue by at least 798 ms")},
	}))
}

// seldom has the kernel inspected in every fifth observation only.
func seldom(scenes []scene) []scene {
	var all []scene
	for _, sc := range scenes {
		each := sc.each
		sc.name += ", seldom inspected"
		sc.each = func(g *guest, i int) {
			if each(g, i); i%5 != 0 {
				g.o.Kernel = nil
			}
		}
		all = append(all, sc)
	}
	return all
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
