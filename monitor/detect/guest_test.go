package detect

import (
	"math"
	"strings"
	"testing"
	"time"
)

// guest makes the observations of a made-up guest, one each period, with a look at
// the kernel each time. Its vCPUs are idle: halted, a tickless nap of four seconds
// between two wake-ups, in which the heartbeat runs.
type guest struct {
	t      int64
	period int64
	n      int // observations made
	o      Observation
	queues []RunQueue
	kernel Kernel
	still  []bool              // by vCPU: it does not wake from its nap
	doubts func(vcpu int) bool // the detector's: whether a halted vCPU is sampled
}

const ms = int64(time.Millisecond)

func newGuest(vcpus int) *guest {
	g := &guest{period: 100 * ms, t: 1000 * ms, queues: make([]RunQueue, vcpus), still: make([]bool, vcpus)}
	g.o.VCPUs = make([]VCPU, vcpus)
	g.kernel = Kernel{Panicking: -1, Threads: 60, Forks: 1000, Walked: 60, LargestComm: "kworker", LargestCount: 12,
		Memory: Memory{TotalPages: 40_000, FreePages: 20_000, Scanned: 10, Stolen: 10}}
	for i := range g.o.VCPUs {
		g.o.VCPUs[i] = VCPU{Online: true, Blocked: true, CPUTimeNS: 5e9}
		g.queues[i] = RunQueue{Switches: 1000, Interrupts: 5000}
	}
	return g
}

const nap = 40 // observations

// next makes the next observation of the idle guest; the caller then turns it into
// what it wants to be.
func (g *guest) next() *Observation {
	g.n++
	g.t += g.period
	g.o.TimeNS = g.t
	g.o.Domain = Domain{}
	g.kernel.Waiting, g.kernel.WaitingTotal = nil, 0
	g.kernel.Unreadable = nil
	g.kernel.Walked = int(g.kernel.Threads)
	g.o.Kernel = &g.kernel
	for i := range g.o.VCPUs {
		v, q := &g.o.VCPUs[i], &g.queues[i]
		if v.Running { // it goes to sleep now
			q.TimerNS = g.guestNS() + int64((nap+1-g.n%nap)%nap)*g.period
		}
		*v = VCPU{Online: true, Blocked: true, CPUTimeNS: v.CPUTimeNS, Signals: v.Signals, Queue: q}
		q.Running, q.PID, q.Comm, q.NeedResched = 0, 0, "swapper", false
		if g.n%nap == 1 && !g.still[i] {
			g.wake(i)
		}
	}
	return &g.o
}

// wake lets a vCPU handle its timer and run something for a moment.
func (g *guest) wake(i int) {
	v, q := &g.o.VCPUs[i], &g.queues[i]
	v.CPUTimeNS += uint64(ms)
	v.Signals += 2
	q.Switches += 2
	q.Interrupts += 3
	q.ClockNS = uint64(g.t)
	q.TimerNS = g.guestNS() + nap*g.period
	g.kernel.MonotonicNS = g.guestNS() - 2*ms
}

// guestNS is the guest's clock: it booted a while after dom0.
func (g *guest) guestNS() int64 { return g.t - 700*ms }

// run lets a vCPU run for the whole period in the kernel, without a sign of life but
// the tick's.
func (g *guest) run(i int, symbol string, interruptsOn bool) *VCPU {
	v, q := &g.o.VCPUs[i], &g.queues[i]
	v.Blocked, v.Running, v.Sampled, v.Symbol, v.InterruptsOn = false, true, true, symbol, interruptsOn
	v.RIP, v.Offset = 0xffffffff81000000, 0x20
	v.CPUTimeNS += uint64(g.period)
	q.PID, q.Comm, q.Running = 77, "victim", 1
	if interruptsOn {
		q.Interrupts += 25
		q.ClockNS = uint64(g.t)
		q.TimerNS = g.guestNS() + 4*ms
		g.kernel.MonotonicNS = g.guestNS() - 4*ms
	}
	return v
}

// compute lets a vCPU run in user mode without a switch.
func (g *guest) compute(i int) *VCPU {
	v := g.run(i, "", true)
	v.UserMode, v.RIP = true, 0x401000
	return v
}

// scene is a test of the detector as a whole.
type scene struct {
	name  string
	vcpus int
	// each turns the idle observation number i, counted from 0, into what it is to be.
	each     func(g *guest, i int)
	n        int // observations; 0 for 100
	class    Class
	scope    Scope
	at       [2]int // number of the observation with the verdict, from and to
	evidence string
	set      func(*Thresholds)
}

func (sc scene) run(t *testing.T) {
	t.Helper()
	th := DefaultThresholds()
	if sc.set != nil {
		sc.set(&th)
	}
	g, d := newGuest(max(sc.vcpus, 1)), NewDetector(th)
	g.doubts = d.Doubts
	n := sc.n
	if n == 0 {
		n = 100
	}
	for i := range n {
		o := g.next()
		sc.each(g, i)
		v, ok := d.Observe(o)
		if !ok {
			continue
		}
		if o.Domain.Paused {
			t.Fatalf("%s: verdict of a paused guest: %+v", sc.name, v)
		}
		if v.Class != sc.class || i < sc.at[0] || i > sc.at[1] {
			t.Fatalf("%s: %s at observation %d, want %q at %d to %d; evidence:\n%s", sc.name, v.Class, i, sc.class, sc.at[0], sc.at[1], strings.Join(v.Evidence, "\n"))
		}
		if v.Scope != sc.scope {
			t.Errorf("%s: scope %s, want %s", sc.name, v.Scope, sc.scope)
		}
		if all := strings.Join(v.Evidence, "\n"); !strings.Contains(all, sc.evidence) || all == "" {
			t.Errorf("%s: evidence lacks %q:\n%s", sc.name, sc.evidence, all)
		}
		if v.TimeNS != o.TimeNS {
			t.Errorf("%s: verdict of %d at %d", sc.name, v.TimeNS, o.TimeNS)
		}
		return
	}
	if sc.class != "" {
		t.Fatalf("%s: no verdict in %d observations, want %s; undecided:\n%s", sc.name, n, sc.class, strings.Join(d.Undecided(), "\n"))
	}
}

func runScenes(t *testing.T, scenes []scene) {
	t.Helper()
	for _, sc := range scenes {
		sc.run(t)
	}
}

// seldom has the kernel looked at in every fifth observation only.
func seldom(scenes []scene) []scene {
	var all []scene
	for _, sc := range scenes {
		each := sc.each
		sc.name += ", seldom looked at"
		sc.each = func(g *guest, i int) {
			if each(g, i); i%5 != 0 {
				g.o.Kernel = nil
			}
		}
		all = append(all, sc)
	}
	return all
}

// after leaves the guest idle for the first 50 observations.
func after(each func(g *guest, i int)) func(g *guest, i int) {
	return func(g *guest, i int) {
		if i >= 50 {
			each(g, i)
		}
	}
}

const (
	rcuTick = "rcu_sched_clock_irq"
	hour    = 36000 // observations
)

// TestControls: nothing that is healthy gives a verdict.
func TestControls(t *testing.T) {
	entry := []string{"entry_SYSCALL_64", "syscall_return_via_sysret", "entry_SYSCALL_64_after_hwframe", "do_syscall_64"}
	scenes := []scene{
		{name: "idle for an hour", each: func(*guest, int) {}, n: hour},
		{name: "two idle", vcpus: 2, each: func(*guest, int) {}, n: 3000},
		{name: "idle without timers for ten minutes", each: func(g *guest, i int) { g.queues[0].TimerNS = []int64{0, math.MaxInt64}[i/3000] }, n: 6000},
		{name: "idle, nothing readable", each: func(g *guest, i int) { g.o.Kernel = nil; g.o.VCPUs[0].Queue = nil }, n: 6000},
		{name: "idle by polling", each: func(g *guest, i int) {
			g.run(0, "poll_idle", true).Queue = nil
		}, n: 3000},
		{name: "idle by polling with interrupts off at each sample, nothing counted", each: func(g *guest, i int) {
			g.run(0, "default_idle", false).Queue = nil
		}, n: 3000},
		{name: "computes without a switch", each: func(g *guest, i int) { g.compute(0) }, n: 3000},
		{name: "computes while others wait", each: func(g *guest, i int) { g.compute(0).Queue.Running = 3 }, n: 300},
		{name: "system calls all the time, alone", each: func(g *guest, i int) { g.run(0, "copy_page_to_iter", true) }, n: 3000},
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
		{name: "system calls and somebody waits now and then", each: func(g *guest, i int) { g.run(0, "vfs_read", true).Queue.NeedResched = i%10 != 0 }, n: 3000},
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
		{name: "unplugged", vcpus: 2, each: after(func(g *guest, i int) { g.o.VCPUs[1].Online, g.o.VCPUs[1].Blocked = false, false }), n: 600},
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
			g.wait(Waiting{PID: 300, Comm: "dd", Switches: uint64(i / 20), Stack: []string{"io_schedule", "folio_wait_bit_common"}})
		}, n: 3000},
		{name: "a queue of slow I/O: each waits ten seconds, one ends each second", each: func(g *guest, i int) {
			for j := range 10 {
				g.wait(Waiting{PID: int32(300 + j), Comm: "dd", Switches: uint64(i+10*j) / 100, Stack: []string{"io_schedule"}})
			}
		}, n: 3000},
		{name: "a named lock handed on", each: func(g *guest, i int) {
			for j := range 10 {
				g.wait(Waiting{PID: int32(300 + j), Comm: "ip", Switches: uint64(i+10*j) / 100, Stack: []string{"__mutex_lock"}, Lock: "rtnl_mutex"})
			}
		}, n: 3000},
		{name: "a lock of the file behind a slow disk", each: func(g *guest, i int) {
			g.wait(Waiting{PID: 300, Comm: "dd", Switches: uint64(i / 20), Stack: []string{"io_schedule_timeout", "balance_dirty_pages"}})
			g.wait(Waiting{PID: 301, Comm: "dd", Switches: uint64(i / 100), Stack: []string{"rwsem_down_write_slowpath"}, Owner: "dd (300)"})
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

// TestSeldomLooks: a look each half second is enough to find what only a look
// shows within four seconds, a panic within one.
func TestSeldomLooks(t *testing.T) {
	runScenes(t, seldom([]scene{
		{name: "panic", each: after(func(g *guest, i int) { g.kernel.Panicking = 0 }), class: ClassPanic, scope: Full, at: [2]int{50, 55}},
		{name: "blocked", each: after(func(g *guest, i int) { g.wait(Waiting{PID: 300, Lock: "rtnl_mutex"}) }), class: ClassBlocked, scope: Partial, at: [2]int{75, 85}},
		{name: "io", each: after(func(g *guest, i int) { g.wait(Waiting{PID: 300, IOWait: true}) }), class: ClassIO, scope: Partial, at: [2]int{75, 85}},
		{name: "bomb", each: after(func(g *guest, i int) { g.bomb(20*(i-49), 20) }), class: ClassForkstorm, scope: Full, at: [2]int{60, 75}},
		{name: "bomb at a limit", each: after(func(g *guest, i int) { g.bomb(min(300, 60*(i-49)), 30) }), class: ClassForkstorm, scope: Full, at: [2]int{65, 80}},
		{name: "thrash", each: after(func(g *guest, i int) { g.thrash() }), class: ClassThrash, scope: Full, at: [2]int{70, 80}},
		{name: "halted past its timer", each: func(g *guest, i int) { g.still[0] = i >= 50 }, class: ClassStopped, scope: Full, at: [2]int{87, 97}},
	}))
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (g *guest) wait(w Waiting) {
	g.kernel.Waiting = append(g.kernel.Waiting, w)
	g.kernel.WaitingTotal++
}

func (g *guest) thrash() {
	m := &g.kernel.Memory
	m.FreePages = 800
	m.Scanned += 900
	m.Stolen += 200
	m.Refaults += 150
	m.Stalls += 5
	m.MajorFault += 90
}
