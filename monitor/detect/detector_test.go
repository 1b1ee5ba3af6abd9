package detect

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// event is what a detector reported on an observation: a verdict or a recovery.
type event struct {
	at    int // number of the observation
	class Class
	scope Scope
	over  bool // a recovery
}

// events gives n observations of a made-up guest to a detector.
func events(t *testing.T, vcpus, n int, each func(g *guest, i int)) []event {
	t.Helper()
	g, d := newGuest(vcpus), NewDetector(DefaultThresholds())
	var all []event
	for i := range n {
		o := g.next()
		each(g, i)
		v, hung := d.Observe(o)
		if hung {
			all = append(all, event{i, v.Class, v.Scope, false})
		}
		if now := d.hang; hung && (now.Class != v.Class || now.TimeNS != v.TimeNS) {
			t.Fatalf("the hang %+v is not the verdict %+v", now, v)
		}
		if r, over := d.Recovered(); over {
			if d.hang.Class != "" || hung || r.TimeNS != o.TimeNS || r.CalmNS > r.TimeNS || r.HungNS >= r.CalmNS {
				t.Fatalf("recovery %+v at %d, hang %+v", r, o.TimeNS, d.hang)
			}
			all = append(all, event{i, r.Class, "", true})
		}
	}
	return all
}

// TestRecovered: each hang gives one verdict and one recovery, in turn.
func TestRecovered(t *testing.T) {
	for _, tc := range []struct {
		name  string
		vcpus int
		each  func(g *guest, i int)
		want  []event
	}{
		{"spin, twice", 1, func(g *guest, i int) {
			if i >= 50 && i < 100 || i >= 150 && i < 200 {
				g.run(0, slow, true)
			}
		}, []event{{54, ClassSpin, Full, false}, {110, ClassSpin, "", true}, {154, ClassSpin, Full, false}, {210, ClassSpin, "", true}}},
		{"a pause is no recovery", 1, func(g *guest, i int) {
			g.still[0] = i >= 50
			if i >= 50 {
				g.run(0, slow, true)
			}
			g.o.Domain.Paused = i >= 100 && i < 150
		}, []event{{54, ClassSpin, Full, false}}},
		{"nor is a gap", 1, func(g *guest, i int) {
			g.still[0] = i >= 50
			if i >= 50 {
				g.run(0, slow, true)
			}
			if i%50 == 0 {
				g.t += 10_000 * ms
			}
		}, []event{{56, ClassSpin, Full, false}}},
		{"half a second without it is no recovery", 1, func(g *guest, i int) {
			if i >= 50 && i < 150 && i%20 < 15 {
				g.run(0, slow, true)
			}
		}, []event{{54, ClassSpin, Full, false}, {160, ClassSpin, "", true}}},
		{"spreads to the other vCPU", 2, func(g *guest, i int) {
			if i >= 50 {
				g.run(0, slow, true)
			}
			if i >= 80 {
				g.run(1, slow, true)
			}
		}, []event{{54, ClassSpin, Partial, false}, {85, ClassSpin, Full, false}}},
		{"blocked, then panic", 1, func(g *guest, i int) {
			if i >= 50 {
				g.wait(Waiting{PID: 300, Lock: "rtnl_mutex"})
			}
			if i >= 100 {
				g.kernel.Panicking = 0
			}
		}, []event{{75, ClassBlocked, Partial, false}, {100, ClassPanic, Full, false}}},
		{"a spin that leaves tasks blocked is reported once, and the blocked tasks after it", 1, func(g *guest, i int) {
			if i >= 50 && i < 100 {
				g.run(0, slow, true)
			}
			if i >= 50 && i < 150 {
				g.wait(Waiting{PID: 300, Lock: "rtnl_mutex"})
			}
		}, []event{{54, ClassSpin, Full, false}, {110, ClassSpin, "", true}, {111, ClassBlocked, Partial, false}, {160, ClassBlocked, "", true}}},
		{"tasks, sampled once a second", 1, func(g *guest, i int) {
			if i >= 50 && i < 100 {
				g.wait(Waiting{PID: 300, Lock: "rtnl_mutex"})
			}
			if i%10 != 0 {
				g.o.Kernel = nil
			}
		}, []event{{80, ClassBlocked, Partial, false}, {110, ClassBlocked, "", true}}},
		{"halted, woken", 1, func(g *guest, i int) { g.still[0] = i >= 50 && i < 150 },
			[]event{{89, ClassStopped, Full, false}, {170, ClassStopped, "", true}}},
		{"memory thrashes no more", 1, func(g *guest, i int) {
			if i >= 50 && i < 150 {
				g.thrash()
			}
		}, []event{{70, ClassThrash, Full, false}, {169, ClassThrash, "", true}}},
		{"a bomb is killed", 1, func(g *guest, i int) {
			if i >= 50 && i < 150 {
				g.bomb(20*(i-49), 20)
			} else {
				g.kernel.Threads, g.kernel.LargestCount = 60, 12
			}
		}, []event{{64, ClassForkstorm, Full, false}, {160, ClassForkstorm, "", true}}},
	} {
		if got := events(t, tc.vcpus, 300, tc.each); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

// TestSeverity: of two hangs found by one observation the more severe is reported.
func TestSeverity(t *testing.T) {
	t.Parallel()
	got := events(t, 1, 100, func(g *guest, i int) {
		if i >= 50 {
			g.wait(Waiting{PID: 300, IOWait: true}) // io at 75
		}
		if i >= 71 {
			g.run(0, slow, true) // spin at 75
		}
		if i >= 90 {
			g.kernel.Panicking = 0
		}
	})
	if want := []event{{75, ClassSpin, Full, false}, {90, ClassPanic, Full, false}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
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
		{name: "never gets through", each: starts(func(int) string { return PhaseBooting }), n: 700, want: want(605, ClassHard, Full, []int{0},
			"vCPU 0: no task switch for 500 ms while it ran 500 ms in the kernel, interrupts off at all of 5 samples",
			"vCPU 0: seen in delay_tsc",
			"vCPU 0: not one interrupt handled since (5048 since boot)",
			"vCPU 0: runs victim (77), 1 runnable, asked to schedule: false")},
		{name: "gets through and hangs", each: starts(func(i int) string {
			if i < 50 {
				return PhaseBooting
			}
			return PhaseRunning
		}), want: want(54, ClassHard, Full, []int{0},
			"vCPU 0: no task switch for 500 ms while it ran 500 ms in the kernel, interrupts off at all of 5 samples",
			"vCPU 0: seen in delay_tsc",
			"vCPU 0: not one interrupt handled since (5006 since boot)",
			"vCPU 0: runs victim (77), 1 runnable, asked to schedule: false")},
		{name: "it cannot be read how far it is", each: starts(func(int) string { return "" }), want: want(5, ClassHard, Full, []int{0},
			"vCPU 0: no task switch for 500 ms while it ran 500 ms in the kernel, interrupts off at all of 5 samples",
			"vCPU 0: seen in delay_tsc",
			"vCPU 0: not one interrupt handled since (5003 since boot)",
			"vCPU 0: runs victim (77), 1 runnable, asked to schedule: false")},
		{name: "says that it boots again", each: starts(func(i int) string {
			if i == 0 {
				return PhaseRunning
			}
			return PhaseBooting
		}), want: want(5, ClassHard, Full, []int{0},
			"vCPU 0: no task switch for 500 ms while it ran 500 ms in the kernel, interrupts off at all of 5 samples",
			"vCPU 0: seen in delay_tsc",
			"vCPU 0: not one interrupt handled since (5003 since boot)",
			"vCPU 0: runs victim (77), 1 runnable, asked to schedule: false")},
		{name: "panics", each: func(g *guest, i int) {
			starts(func(int) string { return PhaseBooting })(g, i)
			if g.o.Kernel != nil && i >= 20 {
				g.kernel.Panicking = 0
			}
		}, want: want(20, ClassPanic, Full, nil,
			"CPU 0 of the guest has entered panic (panic_cpu)")},
		{name: "boot_ms", each: starts(func(int) string { return PhaseBooting }), set: func(t *Thresholds) { t.Boot = 2 * time.Second },
			want: want(24, ClassHard, Full, []int{0},
				"vCPU 0: no task switch for 500 ms while it ran 500 ms in the kernel, interrupts off at all of 5 samples",
				"vCPU 0: seen in delay_tsc",
				"vCPU 0: not one interrupt handled since (5003 since boot)",
				"vCPU 0: runs victim (77), 1 runnable, asked to schedule: false")},
	})
}

// undecided gives n observations to a detector and returns what it says of them.
// The guest is idle for the first 50.
func undecided(t *testing.T, vcpus, n int, each func(g *guest, i int)) []string {
	t.Helper()
	g, d := newGuest(vcpus), NewDetector(DefaultThresholds())
	for i := range n {
		o := g.next()
		if i >= 50 {
			each(g, i)
		}
		if v, hung := d.Observe(o); hung {
			t.Fatalf("observation %d: %+v", i, v)
		}
	}
	return d.Undecided()
}

// TestUndecided: short of its threshold every rule reports what it has seen.
func TestUndecided(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		vcpus int
		n     int
		each  func(g *guest, i int)
		want  []string
	}{
		{name: "first observation", n: 1, want: []string{
			"nothing was judged: it was the first observation",
		}},
		{name: "paused", n: 53, each: func(g *guest, i int) { g.o.Domain.Paused = true }, want: []string{
			"nothing was judged: the guest was paused",
		}},
		{name: "shut down", n: 53, each: func(g *guest, i int) { g.o.Domain.Shutdown = "suspend" }, want: []string{
			"nothing was judged: the guest has shut down",
		}},
		{name: "boots", n: 53, each: func(g *guest, i int) { g.kernel.Phase = PhaseBooting }, want: []string{
			"nothing was judged: the guest boots",
		}},
		{name: "gap", n: 51, each: func(g *guest, i int) { g.skip(2000) }, want: []string{
			"nothing was judged: there was a gap in the observations",
		}},
		{name: "lock, an interrupt at one sample, 60% of the time", n: 53, each: func(g *guest, i int) {
			if g.run(0, slow, i != 51).CPUTimeNS -= uint64(40 * ms); i == 52 {
				g.o.VCPUs[0].Symbol = rcuTick
			}
		}, want: []string{
			"vCPU 0: in queued_read_lock_slowpath at 2 of 3 samples, for 300 ms, of which it ran 180 ms",
		}},
		{name: "halted", n: 53, each: func(g *guest, i int) {}, want: []string{
			"vCPU 0: in the last sampling period it was halted",
		}},
		{name: "switches", n: 53, each: func(g *guest, i int) { g.run(0, slow, true).Signals += 7 }, want: []string{
			"vCPU 0: in the last sampling period it switched tasks 7 times",
		}},
		{name: "outside the kernel", n: 53, each: func(g *guest, i int) { g.compute(0) }, want: []string{
			"vCPU 0: in the last sampling period it ran outside the kernel",
		}},
		{name: "in a module", n: 52, each: func(g *guest, i int) { g.run(0, "", true).RIP = 1 << 63 }, want: []string{
			"vCPU 0: in the last sampling period it ran outside the kernel",
		}},
		{name: "not sampled", n: 53, each: func(g *guest, i int) { g.run(0, slow, true).Sampled = false }, want: []string{
			"vCPU 0: in the last sampling period its registers were not read",
		}},
		{name: "did not run", n: 53, each: func(g *guest, i int) { g.run(0, slow, true).CPUTimeNS = 5e9 }, want: []string{
			"vCPU 0: in the last sampling period it did not run",
		}},
		{name: "in the kernel", n: 53, each: func(g *guest, i int) { g.run(0, "vfs_read", true) }, want: []string{
			"vCPU 0: in the last sampling period it was in vfs_read",
		}},
		{name: "interrupts off, one of two vCPUs", vcpus: 2, n: 52, each: func(g *guest, i int) {
			g.run(1, []string{"delay_tsc", "udelay"}[i%2], false).CPUTimeNS -= uint64(40 * ms)
		}, want: []string{
			"vCPU 0: in the last sampling period it was halted",
			"vCPU 1: in the last sampling period it was in udelay",
			"hard: vCPU 1: interrupts off at 2 samples, for 120 ms of running, in delay_tsc, udelay",
		}},
		{name: "interrupts off at one sample", n: 51, each: func(g *guest, i int) { g.run(0, "delay_tsc", false) }, want: []string{
			"vCPU 0: in the last sampling period it was in delay_tsc",
		}},
		{name: "no switch, interrupts on at all samples but one", n: 56, each: func(g *guest, i int) {
			g.run(0, "loop", i != 53).CPUTimeNS -= uint64(40 * ms)
			if g.queues[0].NeedResched = true; i == 54 {
				g.o.VCPUs[0].Queue = nil
			}
		}, want: []string{
			"vCPU 0: in the last sampling period it was in loop",
			"soft: vCPU 0: in the kernel without a task switch at 6 samples, for 360 ms of running, interrupts on at 5, a task waited at 5",
		}},
		{name: "no switch, at four samples", n: 54, each: func(g *guest, i int) {
			g.run(0, "loop", true).Queue.NeedResched = true
		}, want: []string{
			"vCPU 0: in the last sampling period it was in loop",
		}},
		{name: "halted past its timer", n: 83, each: func(g *guest, i int) { g.still[0] = true }, want: []string{
			"vCPU 0: in the last sampling period it was halted",
			"stopped: vCPU 0: halted past its timer at 1 samples",
		}},
		{name: "halted with work at one sample", n: 51, each: func(g *guest, i int) { g.stay(0); g.queues[0].Running = 1 }, want: []string{
			"vCPU 0: in the last sampling period it was halted",
		}},
		{name: "halted with work", n: 53, each: func(g *guest, i int) { g.stay(0); g.queues[0].Running = 1 }, want: []string{
			"vCPU 0: in the last sampling period it was halted",
			"stopped: vCPU 0: halted with work at 3 samples",
		}},
		{name: "runnable, not run, at three samples", n: 53, each: func(g *guest, i int) { g.stay(0); g.o.VCPUs[0].Blocked = false }, want: []string{
			"vCPU 0: in the last sampling period its registers were not read",
		}},
		{name: "runnable, not run", n: 54, each: func(g *guest, i int) { g.stay(0); g.o.VCPUs[0].Blocked = false }, want: []string{
			"vCPU 0: in the last sampling period its registers were not read",
			"stopped: vCPU 0: runnable, not run, at 4 samples",
		}},
		{name: "threads grow, to half of the threshold", n: 60, each: func(g *guest, i int) { g.bomb(10*(i-49), 11); g.queues[0].Running-- }, want: []string{
			"vCPU 0: in the last sampling period it switched tasks 5 times",
			"forkstorm: 160 threads, grown by 100 within 1000 ms; 100 named \"bomb\"; 99 runnable",
		}},
		{name: "threads grow, to less than half", n: 59, each: func(g *guest, i int) { g.bomb(10*(i-49), 11) }, want: []string{
			"vCPU 0: in the last sampling period it switched tasks 5 times",
		}},
		{name: "memory thrashes", n: 55, each: func(g *guest, i int) {
			if i != 53 {
				g.thrash()
			}
		}, want: []string{
			"vCPU 0: in the last sampling period it was halted",
			"thrash: at 4 of 5 samples; 800 pages reclaimed, 600 needed again, 20 stalls, 360 major faults",
		}},
		{name: "threads wait", n: 55, each: func(g *guest, i int) {
			g.wait(Waiting{PID: 1, Comm: "late", Switches: uint64(i), Stack: []string{"msleep"}})
			g.wait(Waiting{PID: 2, Comm: "make", Stack: []string{"wait_for_vfork_done"}})
			if i >= 52 {
				g.wait(Waiting{PID: 3, Comm: "dd", IOWait: true})
			}
			g.wait(Waiting{PID: 4, Comm: "ip", Stack: []string{"__mutex_lock"}, Lock: "rtnl_mutex", Owner: "dd (3)"})
		}, want: []string{
			"vCPU 0: in the last sampling period it was halted",
			"blocked, io: 4 threads wait; longest: thread ip (4) has not run for 400 ms: in uninterruptible sleep in __mutex_lock, waits for lock rtnl_mutex held by dd (3)",
		}},
		{name: "run queues unreadable, the other vCPU offline", vcpus: 3, n: 53, each: func(g *guest, i int) {
			g.o.VCPUs[0].Queue, g.o.VCPUs[2].Queue = nil, nil
			g.o.VCPUs[1].Queue, g.o.VCPUs[1].Online = nil, false
		}, want: []string{
			"vCPU 0: in the last sampling period it was halted",
			"vCPU 2: in the last sampling period it was halted",
			"unreadable: run queue of vCPU 0: hard to find soft, stopped, forkstorm",
			"unreadable: run queue of vCPU 2: hard to find soft, stopped, forkstorm",
		}},
		{name: "the kernel is not sampled after a pause", n: 54, each: func(g *guest, i int) {
			g.o.Kernel, g.o.Domain.Paused = nil, i < 52
		}, want: []string{
			"vCPU 0: in the last sampling period it was halted",
			"unreadable: the kernel as a whole: cannot find forkstorm, thrash, io, blocked",
		}},
		{name: "nine things are unreadable, then two", n: 53, each: func(g *guest, i int) {
			if g.kernel.Unreadable = strings.Split("abcdefghi", ""); i == 52 {
				g.kernel.Unreadable = []string{"memory: vmstat is not mapped", "init_task"}
			}
		}, want: []string{
			"vCPU 0: in the last sampling period it was halted",
			"unreadable: memory: vmstat is not mapped",
			"unreadable: init_task",
		}},
		{name: "nine things are unreadable", n: 53, each: func(g *guest, i int) { g.kernel.Unreadable = strings.Split("abcdefghi", "") }, want: []string{
			"vCPU 0: in the last sampling period it was halted",
			"unreadable: a",
			"unreadable: b",
			"unreadable: c",
			"unreadable: d",
			"unreadable: e",
			"unreadable: f",
			"unreadable: g",
			"unreadable: h",
		}},
	} {
		if got := undecided(t, max(tc.vcpus, 1), tc.n, tc.each); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

// TestAllocs: observing costs no allocation, whatever there is to see, until there
// is a verdict.
func TestAllocs(t *testing.T) {
	// The stacks are of the caller's memory and not counted.
	mutex, disk := []string{"__mutex_lock"}, []string{"io_schedule", "folio_wait_bit_common"}
	for name, each := range map[string]func(g *guest, i int){
		"idle":    func(*guest, int) {},
		"compute": func(g *guest, i int) { g.compute(i % 2) },
		"kernel":  func(g *guest, i int) { g.run(0, "vfs_read", true); g.run(1, "vfs_write", i%2 == 0) },
		"locks":   func(g *guest, i int) { g.run(i%2, slow, true) },
		"waits": func(g *guest, i int) {
			for j := range 16 {
				g.wait(Waiting{PID: int32(j), Switches: uint64(i / 10), Comm: "dd", Stack: disk})
				g.wait(Waiting{PID: int32(100 + i%30 + j), Comm: "ip", Stack: mutex, Lock: "rtnl_mutex", Owner: "dd (3)"})
			}
		},
		"unreadable": func(g *guest, i int) {
			g.o.VCPUs[0].Queue = nil
			g.kernel.Unreadable = mutex
		},
		"paused": func(g *guest, i int) { g.o.Domain.Paused = i%3 == 0 },
		"memory": func(g *guest, i int) {
			if i%3 == 0 {
				g.thrash()
			}
		},
		"threads": func(g *guest, i int) { g.bomb(i%150, 10) },
	} {
		g, d := newGuest(2), NewDetector(DefaultThresholds())
		g.kernel.Waiting = make([]Waiting, 0, 64)
		room := g.kernel.Waiting
		i := 0
		one := func() {
			o := g.next()
			g.kernel.Waiting = room
			each(g, i)
			i++
			if v, hung := d.Observe(o); hung {
				t.Fatalf("%s: %+v", name, v)
			}
		}
		for range 100 {
			one()
		}
		if n := testing.AllocsPerRun(500, one); n != 0 {
			t.Errorf("%s: %v allocations an observation", name, n)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	g, d := newGuest(2), NewDetector(DefaultThresholds())
	b.ReportAllocs()
	for b.Loop() {
		d.Observe(g.next())
	}
}
