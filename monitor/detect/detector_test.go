package detect

import (
	"math"
	"slices"
	"strconv"
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
	since := int64(0) // time of the first verdict after the last recovery
	for i := range n {
		o := g.next()
		each(g, i)
		v, hung := d.Observe(o)
		if hung {
			all = append(all, event{i, v.Class, v.Scope, false})
			if since == 0 {
				since = v.TimeNS
			}
		}
		if now := d.hang; hung && (now.Class != v.Class || now.TimeNS != v.TimeNS) {
			t.Fatalf("the hang %+v is not the verdict %+v", now, v)
		}
		if r, over := d.Recovered(); over {
			if d.hang.Class != "" || hung || r.TimeNS != o.TimeNS || r.HungNS != since || since >= r.CalmNS ||
				r.TimeNS-r.CalmNS < 1000*ms {
				t.Fatalf("recovery %+v at %d, hang %+v", r, o.TimeNS, d.hang)
			}
			all = append(all, event{i, r.Class, "", true})
			since = 0
		}
	}
	return all
}

// TestRecovered: each hang gives one verdict and one recovery, in turn.
func TestRecovered(t *testing.T) {
	t.Parallel()
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
		}, []event{{54, ClassSpin, Full, false}, {110, ClassSpin, "", true}, {154, ClassSpin, Full, false},
			{210, ClassSpin, "", true}}},
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
			if i >= 50 && i < 150 {
				g.run(0, slow, true)
			}
			if i >= 80 && i < 150 {
				g.run(1, slow, true)
			}
		}, []event{{54, ClassSpin, Partial, false}, {85, ClassSpin, Full, false}, {160, ClassSpin, "", true}}},
		{"a gap shows no recovery from a panic", 1, func(g *guest, i int) {
			if g.kernel.Panicking = -1; i >= 50 && i < 60 {
				g.kernel.Panicking = 0
			}
			if i == 60 {
				g.skip(10_000)
			}
		}, []event{{50, ClassPanic, Full, false}, {71, ClassPanic, "", true}}},
		{"spin on one vCPU ends, and both stop: the stop is reported after the recovery", 2, func(g *guest, i int) {
			if i >= 50 && i < 60 {
				g.run(0, slow, true)
			}
			if i >= 60 {
				g.stay(0)
				g.stay(1)
				g.queues[0].Running, g.queues[1].Running = 1, 1
			}
		}, []event{{54, ClassSpin, Partial, false}, {70, ClassSpin, "", true}, {71, ClassStopped, Full, false}}},
		{"observed every 600 ms: three observations without a sign", 1, func(g *guest, i int) {
			if g.period = 600 * ms; i >= 50 && i < 100 {
				g.run(0, slow, true)
			}
		}, []event{{52, ClassSpin, Full, false}, {102, ClassSpin, "", true}}},
		{"observed every 900 ms: three observations without a sign", 1, func(g *guest, i int) {
			if g.period = 900 * ms; i >= 50 && i < 100 {
				g.run(0, slow, true)
			}
		}, []event{{52, ClassSpin, Full, false}, {102, ClassSpin, "", true}}},
		{"observed every 1.1 s: three observations without a sign", 1, func(g *guest, i int) {
			if g.period = 1100 * ms; i >= 50 && i < 100 {
				g.run(0, slow, true)
			}
		}, []event{{52, ClassSpin, Full, false}, {102, ClassSpin, "", true}}},
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
		}, []event{{54, ClassSpin, Full, false}, {110, ClassSpin, "", true}, {111, ClassBlocked, Partial, false},
			{160, ClassBlocked, "", true}}},
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
	t.Parallel()
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
		{name: "never gets through",
			each: starts(func(int) string { return PhaseBooting }), n: 700, want: want(605, ClassHard, Full, []int{0},
				"vCPU 0: no task switch for 500 ms while it ran 500 ms in the kernel, interrupts off at all "+
					"of 5 samples",
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
		{name: "it cannot be read how far it is",
			each: starts(func(int) string { return "" }), want: want(5, ClassHard, Full, []int{0},
				"vCPU 0: no task switch for 500 ms while it ran 500 ms in the kernel, interrupts off at all "+
					"of 5 samples",
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
		{name: "its phase cannot be read after the first sample", each: starts(func(i int) string {
			if i == 0 {
				return PhaseBooting
			}
			return ""
		}), n: 600},
		{name: "ran, then says that it boots, then hangs", each: func(g *guest, i int) {
			g.kernel.Phase = PhaseBooting
			if i == 0 {
				g.kernel.Phase = PhaseRunning
			}
			if i >= 50 {
				g.run(0, "delay_tsc", false)
			}
		}, want: want(54, ClassHard, Full, []int{0},
			"vCPU 0: no task switch for 500 ms while it ran 500 ms in the kernel, interrupts off at all of 5 samples",
			"vCPU 0: seen in delay_tsc",
			"vCPU 0: not one interrupt handled since (5006 since boot)",
			"vCPU 0: runs victim (77), 1 runnable, asked to schedule: false")},
		{name: "panics", each: func(g *guest, i int) {
			starts(func(int) string { return PhaseBooting })(g, i)
			if g.o.Kernel != nil && i >= 20 {
				g.kernel.Panicking = 0
			}
		}, want: want(20, ClassPanic, Full, nil,
			"CPU 0 of the guest has entered panic (panic_cpu)")},
		{name: "boot_ms",
			each: starts(func(int) string { return PhaseBooting }), set: func(t *Thresholds) { t.Boot = 2 * time.Second },
			want: want(24, ClassHard, Full, []int{0},
				"vCPU 0: no task switch for 500 ms while it ran 500 ms in the kernel, interrupts off at all "+
					"of 5 samples",
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

// TestLevels: what a rule makes of each observation, from no sign to a hang.
func TestLevels(t *testing.T) {
	t.Parallel()
	stop := func(g *guest, vcpu int) { // halted with work
		g.stay(vcpu)
		g.queues[vcpu].Running = 1
	}
	clockless := func(each func(g *guest, i int)) func(g *guest, i int) {
		return func(g *guest, i int) {
			g.kernel.MonotonicNS = 0
			each(g, i)
		}
	}
	hot := func(pattern string) func(g *guest, i int) { // thrashes where the pattern says h
		return after(func(g *guest, i int) {
			if pattern[i-50] == 'h' {
				g.thrash()
			}
		})
	}
	for _, tc := range []struct {
		name  string
		class Class
		vcpus int
		from  int
		each  func(g *guest, i int)
		want  string
	}{
		{"panic, the kernel is never sampled", ClassPanic, 1, 0, func(g *guest, i int) { g.o.Kernel = nil }, "bbbb"},
		{"panic", ClassPanic, 1, 48, after(func(g *guest, i int) { g.kernel.Panicking = 0 }), "cchh"},
		{"spin", ClassSpin, 2, 49, after(func(g *guest, i int) { g.run(1, slow, true) }), "cwwwwhh"},
		{"spin, at one sample of three", ClassSpin, 1, 49,
			after(func(g *guest, i int) { g.run(0, []string{"f", slow, "f"}[i%3], true) }), "cccwwcwwcw"},
		{"hard", ClassHard, 2, 49, after(func(g *guest, i int) { g.run(1, "f", false) }), "ccwwwhh"},
		{"hard, the first of two", ClassHard, 2, 49, after(func(g *guest, i int) { g.run(0, "f", false) }), "ccwwwhh"},
		{"soft", ClassSoft, 2, 49,
			after(func(g *guest, i int) { g.run(1, "f", true).Queue.Running = 2 }), "cccccwwwwwwwwwwwwwwwhh"},
		{"stopped, halted with work", ClassStopped, 1, 49, after(func(g *guest, i int) { stop(g, 0) }), "ccwwwwwwhh"},
		{"stopped, past its timer", ClassStopped, 1, 80, func(g *guest, i int) { g.still[0] = i >= 50 }, "cccwwwwwwhh"},
		{"stopped, runnable", ClassStopped, 1, 49,
			after(func(g *guest, i int) { g.stay(0); g.o.VCPUs[0].Blocked = false }), "ccccww"},
		{"stopped, the guest's clock is unknown", ClassStopped, 1, 1, clockless(func(*guest, int) {}), "bbbb"},
		{"stopped, the same without a timer", ClassStopped, 1, 1, clockless(func(g *guest, i int) { g.stay(0) }), "cccc"},
		{"stopped, the same, not halted", ClassStopped, 1, 1, clockless(func(g *guest, i int) { g.compute(0) }), "cccc"},
		{"stopped, the same, no queue", ClassStopped, 1, 1,
			clockless(func(g *guest, i int) { g.o.VCPUs[0].Queue = nil }), "cccc"},
		{"stopped, one unknown, the other stops", ClassStopped, 2, 49,
			clockless(after(func(g *guest, i int) { stop(g, 1) })), "bbwwwwwwhh"},
		{"stopped, one stops, the other unknown", ClassStopped, 2, 49,
			clockless(after(func(g *guest, i int) { stop(g, 0) })), "bbwwwwwwhh"},
		{"stopped, one hangs, the other begins to", ClassStopped, 2, 56, after(func(g *guest, i int) {
			if stop(g, 0); i >= 56 {
				stop(g, 1)
			}
		}), "whhh"},
		{"stopped, polls for a lock", ClassStopped, 1, 49, after(func(g *guest, i int) {
			stop(g, 0)
			v := &g.o.VCPUs[0]
			v.Sampled, v.Symbol, v.Callers = true, "xen_hypercall_hvm", []string{"xen_qlock_wait"}
		}), "ccwwwwwwwwww"},
		{"forkstorm", ClassForkstorm, 1, 0, func(g *guest, i int) { g.bomb(10*i, 0) }, "bbcccccccccwwwwwhhhhh"},
		{"forkstorm, no vCPU is online", ClassForkstorm, 1, 49, after(func(g *guest, i int) {
			g.bomb(0, 0)
			g.kernel.LargestCount, g.o.VCPUs[0].Online = 200, false
		}), "cccc"},
		{"forkstorm, a large group", ClassForkstorm, 1, 49, after(func(g *guest, i int) {
			g.bomb(0, 0)
			g.kernel.LargestCount, g.queues[0].Running = 200, 20
		}), "cwww"},
		{"forkstorm, a group just not large", ClassForkstorm, 1, 49, after(func(g *guest, i int) {
			g.bomb(0, 0)
			g.kernel.LargestCount, g.queues[0].Running = 199, 20
		}), "cccc"},
		{"thrash, from the start", ClassThrash, 1, 0, func(g *guest, i int) { g.thrash() }, "bbwwwwwwwwwwwwwwwwwwwwh"},
		{"thrash, one sample of three", ClassThrash, 1, 50, hot("hnnhnnh"), "wwcwwcw"},
		{"thrash, three samples of five", ClassThrash, 1, 50, hot("hnhhnn"), "wwwwwc"},
		{"thrash, three of four from the 24th sample on", ClassThrash, 1, 50,
			hot("hhhnhhhnhhhnhhhnhhhnnhhhnh"), "wwwwwwwwwwwwwwwwwwwwwwwhhh"},
		{"thrash, a long one ends after a second", ClassThrash, 1, 50,
			hot("hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhnnnnnnnnnnn"),
			"wwwwwwwwwwwwwwwwwwwwhhhhhhhhhhhhhhhhhhhhhhhhhhhhhcc"},
		{"thrash, all memory is free", ClassThrash, 1, 0,
			func(g *guest, i int) { g.kernel.Memory.FreePages = 40_000 }, "bbc"},
		{"thrash, more than all memory is free", ClassThrash, 1, 0,
			func(g *guest, i int) { g.kernel.Memory.FreePages = 40_001 }, "bbb"},
		{"thrash, the largest memory", ClassThrash, 1, 0,
			func(g *guest, i int) { g.kernel.Memory.TotalPages = mostPages }, "bbc"},
		{"thrash, too large a memory", ClassThrash, 1, 0,
			func(g *guest, i int) { g.kernel.Memory.TotalPages = mostPages + 1 }, "bbb"},
		{"io, from the start", ClassIO, 1, 0, func(g *guest, i int) { g.wait(Waiting{PID: 3, IOWait: true}) }, "bbccccccwww"},
		{"io, a lock", ClassIO, 1, 50, after(func(g *guest, i int) { g.wait(Waiting{PID: 3, Lock: "a"}) }), "cccccccwww"},
		{"io, neither", ClassIO, 1, 50, after(func(g *guest, i int) { g.wait(Waiting{PID: 3}) }), "cccccccccc"},
		{"io, every 125 ms", ClassIO, 1, 50, func(g *guest, i int) {
			if g.period = 125 * ms; i >= 50 {
				g.wait(Waiting{PID: 3, IOWait: true})
			}
		}, "cccccww"},
		{"io, vfork", ClassIO, 1, 50, after(func(g *guest, i int) {
			g.wait(Waiting{PID: 3, IOWait: true, Stack: []string{"wait_for_vfork_done"}})
		}), "cccccccccc"},
	} {
		if got := levels(tc.class, tc.vcpus, tc.from, len(tc.want), tc.each); got != tc.want {
			t.Errorf("%s:\n%s, want\n%s", tc.name, got, tc.want)
		}
	}
}

// TestGap: which times between observations are too long.
func TestGap(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		times string // between observations, in ms; a star marks a gap
	}{
		{"100 1000 1000 1000"},
		{"100 1001*"},
		{"250 1001*"},
		{"300 1001 1200 1200 1250"},
		{"300 1200 1201 1300"},
		{"300 1201* 1201"},
		{"100 5000* 5000* 1100 1100"},
		{"5000 5000 20000 27500 37813*"},
		{"100 50 50 50 50 50 50 50 50 50 50 50 50 50 50 50 50 50 1001*"},
	} {
		d := NewDetector(DefaultThresholds())
		var got []string
		for _, s := range strings.Fields(tc.times) {
			n, err := strconv.Atoi(strings.TrimSuffix(s, "*"))
			if err != nil {
				t.Fatal(err)
			}
			s = strconv.Itoa(n)
			if d.gap(int64(n) * ms) {
				s += "*"
			}
			got = append(got, s)
		}
		if got := strings.Join(got, " "); got != tc.times {
			t.Errorf("%s, want %s", got, tc.times)
		}
	}
}

// TestSameTime: an observation that is not later than the last is ignored.
func TestSameTime(t *testing.T) {
	t.Parallel()
	g, d := newGuest(1), NewDetector(DefaultThresholds())
	for i := range 60 {
		o := g.next()
		if i >= 50 {
			g.run(0, slow, true)
		}
		v, hung := d.Observe(o)
		if hung != (i == 54) || hung && !strings.Contains(v.Evidence[1], "at 5 of 5 samples") {
			t.Errorf("observation %d: %+v", i, v)
		}
		before := d.Undecided()
		for _, back := range []int64{0, 1, 1000 * ms} {
			again := *o
			again.TimeNS -= back
			if v, hung := d.Observe(&again); hung {
				t.Errorf("observation %d again: %+v", i, v)
			}
		}
		if after := d.Undecided(); !slices.Equal(after, before) {
			t.Errorf("observation %d: %q, want %q", i, after, before)
		}
	}
}

// TestDoubts: which halted vCPUs should be sampled.
func TestDoubts(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(g *guest, v *VCPU, q *RunQueue)
		want   bool
	}{
		{"idle", func(g *guest, v *VCPU, q *RunQueue) {}, false},
		{"past its timer", func(g *guest, v *VCPU, q *RunQueue) { q.TimerNS = g.guestNS() - 5000*ms }, true},
		// The detector knows the guest's clock to 102 ms: a sample and what it lags behind.
		{"as late as the clock is uncertain", func(g *guest, v *VCPU, q *RunQueue) {
			q.TimerNS = g.guestNS() - 102*ms
		}, false},
		{"later by 1 ns", func(g *guest, v *VCPU, q *RunQueue) { q.TimerNS = g.guestNS() - 102*ms - 1 }, true},
		{"with work", func(g *guest, v *VCPU, q *RunQueue) { q.Running = 1 }, true},
		{"in a task", func(g *guest, v *VCPU, q *RunQueue) { q.PID = 77 }, true},
		{"without a timer", func(g *guest, v *VCPU, q *RunQueue) { q.TimerNS = 0 }, true},
		{"without a timer, the largest time", func(g *guest, v *VCPU, q *RunQueue) { q.TimerNS = math.MaxInt64 }, true},
		{"without a timer, not halted", func(g *guest, v *VCPU, q *RunQueue) { q.TimerNS, v.Blocked = 0, false }, false},
		{"without a timer, offline", func(g *guest, v *VCPU, q *RunQueue) { q.TimerNS, v.Online = 0, false }, false},
		{"with work, offline",
			func(g *guest, v *VCPU, q *RunQueue) { q.Running, v.Online, v.Blocked = 1, false, false }, true},
		{"with work, but it switches",
			func(g *guest, v *VCPU, q *RunQueue) { q.Running, q.Switches = 1, q.Switches+1 }, false},
		{"with work, no queue", func(g *guest, v *VCPU, q *RunQueue) { q.Running, v.Queue = 1, nil }, false},
	} {
		g, d := newGuest(2), NewDetector(DefaultThresholds())
		if d.Doubts(0) {
			t.Errorf("%s: before the first observation", tc.name)
		}
		for range 60 {
			d.Observe(g.next())
		}
		o := g.next()
		tc.change(g, &o.VCPUs[1], &g.queues[1])
		d.Observe(o)
		if got := d.Doubts(1); got != tc.want || d.Doubts(0) || d.Doubts(2) {
			t.Errorf("%s: %v, want %v; the others %v, %v", tc.name, got, tc.want, d.Doubts(0), d.Doubts(2))
		}
	}
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
		{name: "not sampled",
			n: 53, each: func(g *guest, i int) { g.run(0, slow, true).Sampled = false }, want: []string{
				"vCPU 0: in the last sampling period its registers were not read",
			}},
		{name: "did not run",
			n: 53, each: func(g *guest, i int) { g.run(0, slow, true).CPUTimeNS = 5e9 }, want: []string{
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
		{name: "interrupts off at one sample",
			n: 51, each: func(g *guest, i int) { g.run(0, "delay_tsc", false) }, want: []string{
				"vCPU 0: in the last sampling period it was in delay_tsc",
			}},
		{name: "no switch, interrupts on at all samples but one", n: 56, each: func(g *guest, i int) {
			g.run(0, "loop", i != 53).CPUTimeNS -= uint64(40 * ms)
			if g.queues[0].NeedResched = true; i == 54 {
				g.o.VCPUs[0].Queue = nil
			}
		}, want: []string{
			"vCPU 0: in the last sampling period it was in loop",
			"soft: vCPU 0: in the kernel without a task switch at 6 samples, for 360 ms of running, " +
				"interrupts on at 5, a task waited at 5",
		}},
		{name: "no switch, at four samples", n: 54, each: func(g *guest, i int) {
			g.run(0, "loop", true).Queue.NeedResched = true
		}, want: []string{
			"vCPU 0: in the last sampling period it was in loop",
		}},
		{name: "no switch, at five samples", n: 55, each: func(g *guest, i int) {
			g.run(0, "loop", true).Queue.NeedResched = true
		}, want: []string{
			"vCPU 0: in the last sampling period it was in loop",
			"soft: vCPU 0: in the kernel without a task switch at 5 samples, for 500 ms of running, " +
				"interrupts on at 5, a task waited at 5",
		}},
		{name: "halted past its timer", n: 83, each: func(g *guest, i int) { g.still[0] = true }, want: []string{
			"vCPU 0: in the last sampling period it was halted",
			"stopped: vCPU 0: halted past its timer at 1 samples",
		}},
		{name: "halted with work at one sample",
			n: 51, each: func(g *guest, i int) { g.stay(0); g.queues[0].Running = 1 }, want: []string{
				"vCPU 0: in the last sampling period it was halted",
			}},
		{name: "halted with work",
			n: 53, each: func(g *guest, i int) { g.stay(0); g.queues[0].Running = 1 }, want: []string{
				"vCPU 0: in the last sampling period it was halted",
				"stopped: vCPU 0: halted with work at 3 samples",
			}},
		{name: "runnable, not run, at three samples",
			n: 53, each: func(g *guest, i int) { g.stay(0); g.o.VCPUs[0].Blocked = false }, want: []string{
				"vCPU 0: in the last sampling period its registers were not read",
			}},
		{name: "runnable, not run",
			n: 54, each: func(g *guest, i int) { g.stay(0); g.o.VCPUs[0].Blocked = false }, want: []string{
				"vCPU 0: in the last sampling period its registers were not read",
				"stopped: vCPU 0: runnable, not run, at 4 samples",
			}},
		{name: "threads grow, to half of the threshold",
			n: 60, each: func(g *guest, i int) { g.bomb(10*(i-49), 11); g.queues[0].Running-- }, want: []string{
				"vCPU 0: in the last sampling period it switched tasks 5 times",
				"forkstorm: 160 threads, grown by 100 within 1000 ms; 100 named \"bomb\"; 99 runnable",
			}},
		{name: "threads grow, to less than half",
			n: 59, each: func(g *guest, i int) { g.bomb(10*(i-49), 11) }, want: []string{
				"vCPU 0: in the last sampling period it switched tasks 5 times",
			}},
		{name: "memory thrashes", n: 55, each: func(g *guest, i int) {
			if i != 53 {
				g.thrash()
			}
		}, want: []string{
			"vCPU 0: in the last sampling period it was halted",
			"thrash: at 4 of 5 inspections; 800 pages reclaimed, 600 needed again, 20 stalls, 360 major faults",
		}},
		{name: "threads wait", n: 55, each: func(g *guest, i int) {
			g.wait(Waiting{PID: 1, Comm: "late", Switches: uint64(i), Stack: []string{"msleep"}})
			g.wait(Waiting{PID: 2, Comm: "make", Stack: []string{"wait_for_vfork_done"}})
			if i >= 52 {
				g.wait(Waiting{PID: 3, Comm: "dd", IOWait: true})
			}
			g.wait(Waiting{PID: 4, Comm: "ip", Stack: []string{"__mutex_lock"}, Lock: "rtnl_mutex", Owner: "dd (3)"})
			g.wait(Waiting{PID: 5, Comm: "as old", Lock: "rtnl_mutex"})
		}, want: []string{
			"vCPU 0: in the last sampling period it was halted",
			"blocked, io: 5 threads wait; longest: thread ip (4) has not run for 400 ms: in uninterruptible " +
				"sleep in __mutex_lock, waits for lock rtnl_mutex held by dd (3)",
		}},
		{name: "run queues unreadable, the other vCPU offline", vcpus: 3, n: 53, each: func(g *guest, i int) {
			g.o.VCPUs[0].Queue, g.o.VCPUs[2].Queue = nil, nil
			g.o.VCPUs[1].Queue, g.o.VCPUs[1].Online = nil, false
		}, want: []string{
			"vCPU 0: in the last sampling period it was halted",
			"vCPU 2: in the last sampling period it was halted",
			"unreadable: run queue of vCPU 0: hard to find soft, stopped, starvation, forkstorm",
			"unreadable: run queue of vCPU 2: hard to find soft, stopped, starvation, forkstorm",
		}},
		{name: "the kernel is not sampled after a pause", n: 54, each: func(g *guest, i int) {
			g.o.Kernel, g.o.Domain.Paused = nil, i < 52
		}, want: []string{
			"vCPU 0: in the last sampling period it was halted",
			"unreadable: the kernel as a whole: cannot find starvation, forkstorm, thrash, io, blocked",
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
		{name: "nine things are unreadable",
			n: 53, each: func(g *guest, i int) { g.kernel.Unreadable = strings.Split("abcdefghi", "") }, want: []string{
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
		if fresh := NewDetector(DefaultThresholds()).Undecided(); len(fresh) > 0 {
			t.Errorf("before the first observation: %q", fresh)
		}
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
		"queues": func(g *guest, i int) {
			g.hog(i%2, 9)
			for j := range MaxRunnable {
				g.queue(Runnable{PID: int32(i%3 + j), Switches: uint64(i / 20), Comm: "make", CPU: j % 2,
					Schedule: Schedule{PolicyNormal, 120}})
			}
		},
	} {
		g, d := newGuest(2), NewDetector(DefaultThresholds())
		g.kernel.Waiting = make([]Waiting, 0, 64)
		buffer, queue := g.kernel.Waiting, make([]Runnable, 0, 64)
		i := 0
		one := func() {
			o := g.next()
			g.kernel.Waiting, g.kernel.Runnable = buffer, queue
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
