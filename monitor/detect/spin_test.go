package detect

import (
	"testing"
	"time"
)

// slow is the slow path of a lock.
const slow = "queued_read_lock_slowpath"

// TestSpin: the guest spins from observation 50 on. The observation before it is the
// last without a sign, so 500 ms are over with observation 54.
func TestSpin(t *testing.T) {
	t.Parallel()
	runScenes(t, []scene{
		{name: "one of two",
			vcpus: 2, each: after(func(g *guest, i int) { g.run(1, slow, true).Lock = "rdi = tasklist_lock" }),
			want: want(54, ClassSpin, Partial, []int{1},
				"vCPU 1: no task switch for 500 ms while it ran 100% of the time",
				"vCPU 1: RIP in queued_read_lock_slowpath+0x20..0x20 at 5 of 5 samples, interrupts on at 5 of these",
				"vCPU 1: rdi = tasklist_lock")},
		{name: "with the lock's holder in a loop of its own, interrupts off",
			vcpus: 2, each: after(func(g *guest, i int) {
				g.run(0, "holder", false)
				g.run(1, slow, true)
			}), want: want(54, ClassSpin, Full, []int{1},
				"vCPU 1: no task switch for 500 ms while it ran 100% of the time",
				"vCPU 1: RIP in queued_read_lock_slowpath+0x20..0x20 at 5 of 5 samples, interrupts on at 5 of these")},
		{name: "polls for a paravirtualised lock", each: after(func(g *guest, i int) {
			v := g.run(0, "xen_hypercall_hvm", false)
			v.Blocked, v.Running = true, false
			v.CPUTimeNS -= uint64(g.period)
			v.Callers = []string{"xen_poll_irq_timeout", "xen_qlock_wait"}
		}), want: want(54, ClassHard, Full, []int{0},
			"vCPU 0: no task switch for 500 ms while it ran 100% of the time",
			"vCPU 0: in a function that __pv_queued_spin_lock_slowpath calls at 5 of 5 samples, interrupts "+
				"on at 0 of these",
			"vCPU 0: polled for the lock in the hypervisor at 5 samples")},
		{name: "spins and polls in turn, as interrupts wake it", vcpus: 2, each: after(func(g *guest, i int) {
			switch v := g.run(0, pvSlowPath, true); i % 3 {
			case 0:
				v.Symbol, v.Callers = "xen_hypercall_intel", []string{"xen_poll_irq", "xen_qlock_wait", pvSlowPath}
			case 1:
				v.Symbol, v.Callers = "xen_qlock_wait", []string{pvSlowPath}
			}
		}), want: want(54, ClassSpin, Partial, []int{0},
			"vCPU 0: no task switch for 500 ms while it ran 100% of the time",
			"vCPU 0: RIP in __pv_queued_spin_lock_slowpath+0x20..0x20 or in a function that it calls at 5 of "+
				"5 samples, interrupts on at 5 of these")},
		{name: "one lock, interrupts off at one of its waiters", vcpus: 2, each: after(func(g *guest, i int) {
			g.run(0, slow, false).Lock = "rdi = tasklist_lock"
			g.run(1, slow, true).Lock = "rbx = tasklist_lock"
		}), want: want(54, ClassSpin, Full, []int{0, 1},
			"vCPU 0: no task switch for 500 ms while it ran 100% of the time",
			"vCPU 0: RIP in queued_read_lock_slowpath+0x20..0x20 at 5 of 5 samples, interrupts on at 0 of these",
			"vCPU 0: rdi = tasklist_lock",
			"vCPU 1: no task switch for 500 ms while it ran 100% of the time",
			"vCPU 1: RIP in queued_read_lock_slowpath+0x20..0x20 at 5 of 5 samples, interrupts on at 5 of these",
			"vCPU 1: rbx = tasklist_lock")},
		{name: "a lock waited for with interrupts off, and another one", vcpus: 2, each: after(func(g *guest, i int) {
			g.run(0, slow, true).Lock = "rdi = tasklist_lock"
			g.run(1, slow, false).Lock = "r13 = pidmap_lock"
		}), want: want(54, ClassHard, Full, []int{0, 1},
			"vCPU 0: no task switch for 500 ms while it ran 100% of the time",
			"vCPU 0: RIP in queued_read_lock_slowpath+0x20..0x20 at 5 of 5 samples, interrupts on at 5 of these",
			"vCPU 0: rdi = tasklist_lock",
			"vCPU 1: no task switch for 500 ms while it ran 100% of the time",
			"vCPU 1: RIP in queued_read_lock_slowpath+0x20..0x20 at 5 of 5 samples, interrupts on at 0 of these",
			"vCPU 1: r13 = pidmap_lock")},
		{name: "the same, without names: locks of two kinds", vcpus: 2, each: after(func(g *guest, i int) {
			g.run(0, slow, true)
			g.run(1, pvSlowPath, false)
		}), want: want(54, ClassHard, Full, []int{0, 1},
			"vCPU 0: no task switch for 500 ms while it ran 100% of the time",
			"vCPU 0: RIP in queued_read_lock_slowpath+0x20..0x20 at 5 of 5 samples, interrupts on at 5 of these",
			"vCPU 1: no task switch for 500 ms while it ran 100% of the time",
			"vCPU 1: RIP in __pv_queued_spin_lock_slowpath+0x20..0x20 at 5 of 5 samples, interrupts on at 0 of these")},
		{name: "the same, of one kind", vcpus: 2, each: after(func(g *guest, i int) {
			g.run(0, pvSlowPath, true)
			g.run(1, pvSlowPath, false)
		}), want: want(54, ClassSpin, Full, []int{0, 1},
			"vCPU 0: no task switch for 500 ms while it ran 100% of the time",
			"vCPU 0: RIP in __pv_queued_spin_lock_slowpath+0x20..0x20 at 5 of 5 samples, interrupts on at 5 of these",
			"vCPU 1: no task switch for 500 ms while it ran 100% of the time",
			"vCPU 1: RIP in __pv_queued_spin_lock_slowpath+0x20..0x20 at 5 of 5 samples, interrupts on at 0 of these")},
		{name: "a hypercall for another reason", each: after(func(g *guest, i int) {
			g.run(0, "xen_hypercall_hvm", true).Callers = []string{"a", "b", "c", "d", "xen_qlock_wait"}
		})},
		{name: "starts in an interrupt", each: after(func(g *guest, i int) {
			if g.run(0, slow, true); i%2 == 0 {
				g.o.VCPUs[0].Symbol = rcuTick
			}
		}), want: want(55, ClassSpin, Full, []int{0},
			"vCPU 0: no task switch for 500 ms while it ran 100% of the time",
			"vCPU 0: RIP in queued_read_lock_slowpath+0x20..0x20 at 3 of 5 samples, interrupts on at 3 of these")},
		{name: "threshold",
			each: after(func(g *guest, i int) { g.run(0, slow, true) }), set: func(t *Thresholds) { t.Spin = 2 * time.Second },
			want: want(69, ClassSpin, Full, []int{0},
				"vCPU 0: no task switch for 2000 ms while it ran 100% of the time",
				"vCPU 0: RIP in queued_read_lock_slowpath+0x20..0x20 at 20 of 20 samples, interrupts on at "+
					"20 of these")},
		{name: "a pause in between counts for nothing", each: after(func(g *guest, i int) {
			g.run(0, slow, true)
			g.o.Domain.Paused = i >= 53 && i < 57
		}), want: want(61, ClassSpin, Full, []int{0},
			"vCPU 0: no task switch for 500 ms while it ran 100% of the time",
			"vCPU 0: RIP in queued_read_lock_slowpath+0x20..0x20 at 5 of 5 samples, interrupts on at 5 of these")},
		{name: "interrupts off", each: after(func(g *guest, i int) {
			g.run(0, "native_queued_spin_lock_slowpath.part.0", false).Offset = uint64(0x40 - i)
		}), want: want(54, ClassHard, Full, []int{0},
			"vCPU 0: no task switch for 500 ms while it ran 100% of the time",
			"vCPU 0: RIP in native_queued_spin_lock_slowpath.part.0+0xa..0xe at 5 of 5 samples, interrupts "+
				"on at 0 of these")},
		{name: "contended for a moment, then on", each: after(func(g *guest, i int) {
			if i < 53 {
				g.run(0, slow, true)
			} else if g.run(0, "vfs_read", true); i == 53 {
				g.o.VCPUs[0].Signals++
			}
		})},
		{name: "contended for 400 ms, then a switch, again and again", n: 300, each: after(func(g *guest, i int) {
			if g.run(0, slow, true); i%5 == 0 {
				g.o.VCPUs[0].Signals++
			}
		})},
		{name: "runs a tenth of the time: 250 ms of spinning take 25 samples", each: after(func(g *guest, i int) {
			g.run(0, slow, true).CPUTimeNS -= uint64(90 * ms)
		}), want: want(74, ClassSpin, Full, []int{0},
			"vCPU 0: no task switch for 2500 ms while it ran 10% of the time",
			"vCPU 0: RIP in queued_read_lock_slowpath+0x20..0x20 at 25 of 25 samples, interrupts on at 25 of these")},
		{name: "runs half of the time", each: after(func(g *guest, i int) {
			g.run(0, slow, true).CPUTimeNS -= uint64(50 * ms)
		}), want: want(54, ClassSpin, Full, []int{0},
			"vCPU 0: no task switch for 500 ms while it ran 50% of the time",
			"vCPU 0: RIP in queued_read_lock_slowpath+0x20..0x20 at 5 of 5 samples, interrupts on at 5 of these")},
		{name: "does not run", each: after(func(g *guest, i int) {
			g.run(0, slow, true).CPUTimeNS -= uint64(g.period)
		})},
		{name: "every other sample in an interrupt", each: after(func(g *guest, i int) {
			if g.run(0, slow, true).Offset = uint64(i); i%2 == 1 {
				g.o.VCPUs[0].Symbol, g.o.VCPUs[0].InterruptsOn = rcuTick, false
			}
		}), want: want(54, ClassSpin, Full, []int{0},
			"vCPU 0: no task switch for 500 ms while it ran 100% of the time",
			"vCPU 0: RIP in queued_read_lock_slowpath+0x32..0x36 at 3 of 5 samples, interrupts on at 3 of these")},
		{name: "two of three samples in an interrupt", n: 300, each: after(func(g *guest, i int) {
			if g.run(0, slow, true); i%3 != 0 {
				g.o.VCPUs[0].Symbol = rcuTick
			}
		})},
		{name: "another lock each second or third time", n: 300, each: after(func(g *guest, i int) {
			if g.run(0, slow, true); i%3 == 0 {
				g.o.VCPUs[0].Symbol = "queued_write_lock_slowpath"
			}
		})},
		{name: "two samples that are far apart", set: func(t *Thresholds) { t.Spin = 100 * time.Millisecond },
			each: after(func(g *guest, i int) {
				if i == 50 {
					g.skip(300)
				}
				if i < 52 {
					g.run(0, slow, true).CPUTimeNS += uint64(300 * ms)
				}
			})},
		{name: "three samples that are far apart", set: func(t *Thresholds) { t.Spin = 100 * time.Millisecond },
			each: after(func(g *guest, i int) { g.run(0, slow, true) }), want: want(52, ClassSpin, Full, []int{0},
				"vCPU 0: no task switch for 300 ms while it ran 100% of the time",
				"vCPU 0: RIP in queued_read_lock_slowpath+0x20..0x20 at 3 of 3 samples, interrupts on at 3 of these")},
		{name: "polls with a switch at each sample", each: after(func(g *guest, i int) {
			v := g.run(0, "xen_hypercall_hvm", false)
			v.Blocked, v.Running = true, false
			v.CPUTimeNS -= uint64(g.period)
			v.Signals++
			v.Callers = []string{"xen_poll_irq_timeout", "xen_poll_irq", "xen_qlock_wait", pvSlowPath}
		})},
		{name: "polls, the slow path is the fourth caller", each: after(func(g *guest, i int) {
			v := g.run(0, "hypercall_page", false)
			v.Blocked, v.Running = true, false
			v.CPUTimeNS -= uint64(g.period)
			v.Callers = []string{"xen_poll_irq_timeout", "xen_poll_irq", "x", pvSlowPath}
		}), want: want(54, ClassHard, Full, []int{0},
			"vCPU 0: no task switch for 500 ms while it ran 100% of the time",
			"vCPU 0: in a function that __pv_queued_spin_lock_slowpath calls at 5 of 5 samples, interrupts "+
				"on at 0 of these",
			"vCPU 0: polled for the lock in the hypervisor at 5 samples")},
		{name: "goes offline", vcpus: 2, each: after(func(g *guest, i int) {
			if g.run(1, slow, true); i >= 53 {
				g.o.VCPUs[1].Online, g.o.VCPUs[1].Sampled, g.queues[1].Running, g.queues[1].PID = false, false, 0, 0
			}
		})},
		{name: "the only vCPU online", vcpus: 2, each: func(g *guest, i int) {
			g.o.VCPUs[1] = VCPU{Queue: &RunQueue{}}
			if i >= 50 {
				g.run(0, slow, true)
			}
		}, want: want(54, ClassSpin, Full, []int{0},
			"vCPU 0: no task switch for 500 ms while it ran 100% of the time",
			"vCPU 0: RIP in queued_read_lock_slowpath+0x20..0x20 at 5 of 5 samples, interrupts on at 5 of these")},
		{name: "switches that the mechanism missed",
			each: after(func(g *guest, i int) { g.run(0, slow, true).Queue.Switches++ })},
		{name: "the user part of it breaks the row", each: after(func(g *guest, i int) {
			if g.run(0, slow, true); i%4 == 0 {
				g.compute(0)
			}
		})},
	})
}

// TestLockWait: in which lock's slow path a vCPU was sampled.
func TestLockWait(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		v      VCPU
		symbol string
		polls  bool
	}{
		{"in it", VCPU{Sampled: true, Symbol: slow}, slow, false},
		{"in it, not sampled", VCPU{Symbol: slow}, "", false},
		{"in it, in user mode", VCPU{Sampled: true, Symbol: slow, UserMode: true}, "", false},
		{"below it", VCPU{Sampled: true, Symbol: "delay", Callers: []string{slow}}, "", false},
		{"halts in it", VCPU{Sampled: true, Symbol: "xen_qlock_wait", Blocked: true}, pvSlowPath, true},
		{"hypercall",
			VCPU{Sampled: true, Symbol: "xen_hypercall_hvm", Blocked: true, Callers: []string{"a", "b", "c", slow}}, slow, true},
		{"hypercall page",
			VCPU{Sampled: true, Symbol: "hypercall_page", Callers: []string{"xen_qlock_wait"}}, pvSlowPath, false},
		{"poll", VCPU{Sampled: true, Symbol: "xen_poll_irq_timeout", Callers: []string{slow}}, slow, false},
		{"hypercall, too deep",
			VCPU{Sampled: true, Symbol: "hypercall_page", Callers: []string{"a", "b", "c", "d", slow}}, "", false},
		{"hypercall of another kind",
			VCPU{Sampled: true, Symbol: "hypercall_page", Callers: []string{"a"}, Blocked: true}, "", false},
	} {
		if symbol, polls := lockWait(&tc.v); symbol != tc.symbol || polls != tc.polls {
			t.Errorf("%s: %q, %v, want %q, %v", tc.name, symbol, polls, tc.symbol, tc.polls)
		}
		if got := WaitsForLock(&tc.v); got != (tc.symbol != "") {
			t.Errorf("%s: waits for a lock: %v", tc.name, got)
		}
	}
}

// TestSameLock: locks are told apart by name, else by their slow path.
func TestSameLock(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b spinStreak
		want bool
	}{
		{spinStreak{symbol: "x", lock: "rdi = a"}, spinStreak{symbol: "y", lock: "rbx = a"}, true},
		{spinStreak{symbol: "x", lock: "rdi = a"}, spinStreak{symbol: "x", lock: "rdi = b"}, false},
		{spinStreak{symbol: "x", lock: "rdi = a"}, spinStreak{symbol: "x"}, true},
		{spinStreak{symbol: "x", lock: "rdi = a"}, spinStreak{symbol: "y"}, false},
		{spinStreak{symbol: "x"}, spinStreak{symbol: "x"}, true},
		{spinStreak{symbol: "x"}, spinStreak{symbol: "y"}, false},
	} {
		if got, turned := tc.a.sameLock(&tc.b), tc.b.sameLock(&tc.a); got != tc.want || turned != tc.want {
			t.Errorf("%+v and %+v: %v, %v", tc.a, tc.b, got, turned)
		}
	}
}
