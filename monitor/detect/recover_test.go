package detect

import (
	"strings"
	"testing"
)

// event is what a detector said of an observation.
type event struct {
	at    int
	class Class
	scope Scope
	over  bool
}

func events(vcpus, n int, each func(g *guest, i int)) []event {
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
			panic("hang does not agree with the verdict")
		}
		if r, over := d.Recovered(); over {
			if d.hang.Class != "" || hung || r.TimeNS != o.TimeNS || r.CalmNS > r.TimeNS || r.HungNS >= r.CalmNS {
				panic("a recovery that does not fit")
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
		want  []event // at is the latest; at most five observations earlier
	}{
		{"spin, twice", 1, func(g *guest, i int) {
			if i >= 50 && i < 100 || i >= 150 && i < 200 {
				g.run(0, slow, true)
			}
		}, []event{{56, ClassSpin, Full, false}, {111, ClassSpin, "", true}, {156, ClassSpin, Full, false}, {211, ClassSpin, "", true}}},
		{"a pause is no recovery", 1, func(g *guest, i int) {
			g.still[0] = i >= 50
			if i >= 50 {
				g.run(0, slow, true)
			}
			g.o.Domain.Paused = i >= 100 && i < 150
		}, []event{{56, ClassSpin, Full, false}}},
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
		}, []event{{56, ClassSpin, Full, false}, {161, ClassSpin, "", true}}},
		{"spreads to the other vCPU", 2, func(g *guest, i int) {
			if i >= 50 {
				g.run(0, slow, true)
			}
			if i >= 80 {
				g.run(1, slow, true)
			}
		}, []event{{56, ClassSpin, Partial, false}, {86, ClassSpin, Full, false}}},
		{"blocked, then panic", 1, func(g *guest, i int) {
			if i >= 50 {
				g.wait(Waiting{PID: 300, Lock: "rtnl_mutex"})
			}
			if i >= 100 {
				g.kernel.Panicking = 0
			}
		}, []event{{76, ClassBlocked, Partial, false}, {101, ClassPanic, Full, false}}},
		{"a spin that leaves tasks blocked is told of once, and the blocked ones after it", 1, func(g *guest, i int) {
			if i >= 50 && i < 100 {
				g.run(0, slow, true)
			}
			if i >= 50 && i < 150 {
				g.wait(Waiting{PID: 300, Lock: "rtnl_mutex"})
			}
		}, []event{{56, ClassSpin, Full, false}, {111, ClassSpin, "", true}, {112, ClassBlocked, Partial, false}, {161, ClassBlocked, "", true}}},
		{"tasks, looked at once a second", 1, func(g *guest, i int) {
			if i >= 50 && i < 100 {
				g.wait(Waiting{PID: 300, Lock: "rtnl_mutex"})
			}
			if i%10 != 0 {
				g.o.Kernel = nil
			}
		}, []event{{80, ClassBlocked, Partial, false}, {111, ClassBlocked, "", true}}},
		{"halted, woken", 1, func(g *guest, i int) { g.still[0] = i >= 50 && i < 150 },
			[]event{{91, ClassStopped, Full, false}, {172, ClassStopped, "", true}}},
		{"memory thrashes no more", 1, func(g *guest, i int) {
			if i >= 50 && i < 150 {
				g.thrash()
			}
		}, []event{{71, ClassThrash, Full, false}, {171, ClassThrash, "", true}}},
		{"a bomb is killed", 1, func(g *guest, i int) {
			if i >= 50 && i < 150 {
				g.bomb(20*(i-49), 20)
			} else {
				g.kernel.Threads, g.kernel.LargestCount = 60, 12
			}
		}, []event{{66, ClassForkstorm, Full, false}, {161, ClassForkstorm, "", true}}},
	} {
		got := events(tc.vcpus, 300, tc.each)
		ok := len(got) == len(tc.want)
		for i := 0; ok && i < len(got); i++ {
			w := tc.want[i]
			ok = got[i].class == w.class && got[i].scope == w.scope && got[i].over == w.over && got[i].at <= w.at && got[i].at >= w.at-5
		}
		if !ok {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

// TestSeverity: of two hangs found by one observation the worse is told.
func TestSeverity(t *testing.T) {
	got := events(1, 100, func(g *guest, i int) {
		if i >= 50 {
			g.wait(Waiting{PID: 300, IOWait: true})
		}
		if i >= 70 {
			g.run(0, slow, true)
		}
		if i == 74 {
			g.kernel.Panicking = 0
		}
	})
	if len(got) == 0 || got[0].class != ClassPanic {
		t.Errorf("%v, want a panic first", got)
	}
}

// TestUnreadable: what could not be read is said, and not said otherwise.
func TestUnreadable(t *testing.T) {
	g, d := newGuest(2), NewDetector(DefaultThresholds())
	for range 5 {
		o := g.next()
		o.VCPUs[1].Queue, o.Kernel = nil, nil
		d.Observe(o)
	}
	notes := strings.Join(d.Undecided(), "\n")
	if !strings.Contains(notes, "unreadable: run queue of vCPU 1") || strings.Contains(notes, "queue of vCPU 0") || !strings.Contains(notes, "unreadable: the kernel as a whole") {
		t.Errorf("notes:\n%s", notes)
	}
	o := g.next()
	g.kernel.Unreadable = []string{"memory: vmstat is not mapped"}
	d.Observe(o)
	notes = strings.Join(d.Undecided(), "\n")
	if strings.Contains(notes, "queue") || strings.Contains(notes, "as a whole") || !strings.Contains(notes, "unreadable: memory: vmstat is not mapped") {
		t.Errorf("notes:\n%s", notes)
	}
	o = g.next()
	o.Domain.Paused = true
	d.Observe(o)
	if notes := d.Undecided(); len(notes) == 0 || notes[0] != "nothing was judged: the guest was paused" {
		t.Errorf("notes %q", notes)
	}
}

// TestNotes: short of its threshold every rule says what it has seen.
func TestNotes(t *testing.T) {
	for want, each := range map[string]func(g *guest, i int){
		"vCPU 0: in " + slow + " at 3 of 3 samples":                            func(g *guest, i int) { g.run(0, slow, true) },
		"hard: vCPU 0: interrupts off at 3 samples":                            func(g *guest, i int) { g.run(0, "delay_tsc", false) },
		"soft: vCPU 0: in the kernel without a task switch at 12 samples":      func(g *guest, i int) { g.run(0, "loop", true).Queue.NeedResched = true },
		"stopped: vCPU 0: halted with work at 3 samples":                       func(g *guest, i int) { g.stay(0); g.queues[0].Running = 1 },
		"stopped: vCPU 0: runnable, not run, at 12 samples":                    func(g *guest, i int) { g.stay(0); g.o.VCPUs[0].Blocked = false },
		"stopped: vCPU 0: halted past its timer at 2 samples":                  func(g *guest, i int) { g.still[0] = true },
		"forkstorm: 180 threads, grown by 120":                                 func(g *guest, i int) { g.bomb(10*(i-49), 10) },
		"thrash: at 12 of 12 samples; 2400 pages reclaimed, 1800 needed again": func(g *guest, i int) { g.thrash() },
		"blocked, io: 1 threads wait; longest: thread dd (3) has not run for":  func(g *guest, i int) { g.wait(Waiting{PID: 3, Comm: "dd", IOWait: true}) },
	} {
		g, d := newGuest(1), NewDetector(DefaultThresholds())
		n := 53
		switch {
		case strings.Contains(want, "12 ") || strings.Contains(want, "120"):
			n = 62
		case strings.Contains(want, "timer"):
			n = 84
		}
		for i := range n {
			o := g.next()
			if i >= 50 {
				each(g, i)
			}
			if v, hung := d.Observe(o); hung {
				t.Fatalf("%s: %+v", want, v)
			}
		}
		if notes := strings.Join(d.Undecided(), "\n"); !strings.Contains(notes, want) {
			t.Errorf("%q is not among the notes:\n%s", want, notes)
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
