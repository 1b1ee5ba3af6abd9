package detect

import (
	"testing"
)

func TestThrash(t *testing.T) {
	t.Parallel()
	thrash := func(change func(m, was *Memory)) func(g *guest, i int) {
		return after(func(g *guest, i int) {
			was := g.kernel.Memory
			if g.thrash(); change != nil {
				change(&g.kernel.Memory, &was)
			}
		})
	}
	runScenes(t, []scene{
		{name: "thrash", each: thrash(nil), want: want(70, ClassThrash, Full, nil,
			"memory thrashed at 21 of 21 inspections within 2000 ms: 4200 pages reclaimed, 3150 needed again",
			"allocations that had to reclaim: 105, faults that had to read: 1890, killed for want of memory: 0",
			"free: 800 of 40000 pages")},
		{name: "killed for want of memory",
			each: thrash(func(m, was *Memory) { m.OOMKills++ }), want: want(70, ClassThrash, Full, nil,
				"memory thrashed at 21 of 21 inspections within 2000 ms: 4200 pages reclaimed, 3150 needed again",
				"allocations that had to reclaim: 105, faults that had to read: 1890, killed for want of memory: 21",
				"free: 800 of 40000 pages")},
		{name: "just as many refaults as count",
			each: thrash(func(m, was *Memory) { m.Refaults, m.Stolen = was.Refaults+20, was.Stolen+20 }),
			want: want(70, ClassThrash, Full, nil,
				"memory thrashed at 21 of 21 inspections within 2000 ms: 420 pages reclaimed, 420 needed again",
				"allocations that had to reclaim: 105, faults that had to read: 1890, killed for want of memory: 0",
				"free: 800 of 40000 pages")},
		{name: "just as many stalls as count",
			each: thrash(func(m, was *Memory) { m.Stalls, m.MajorFault = was.Stalls+1, was.MajorFault+4 }),
			want: want(70, ClassThrash, Full, nil,
				"memory thrashed at 21 of 21 inspections within 2000 ms: 4200 pages reclaimed, 3150 needed again",
				"allocations that had to reclaim: 21, faults that had to read: 84, killed for want of memory: 0",
				"free: 800 of 40000 pages")},
		{name: "just as many major faults as count",
			each: thrash(func(m, was *Memory) { m.Stalls, m.MajorFault = was.Stalls, was.MajorFault+5 }),
			want: want(70, ClassThrash, Full, nil,
				"memory thrashed at 21 of 21 inspections within 2000 ms: 4200 pages reclaimed, 3150 needed again",
				"allocations that had to reclaim: 0, faults that had to read: 105, killed for want of memory: 0",
				"free: 800 of 40000 pages")},
		{name: "too few major faults",
			n: 300, each: thrash(func(m, was *Memory) { m.Stalls, m.MajorFault = was.Stalls, was.MajorFault+4 })},
		{name: "nothing is reclaimed", n: 300, each: thrash(func(m, was *Memory) { m.Stolen = was.Stolen })},
		{name: "counters that are large", each: func(g *guest, i int) {
			if i == 0 {
				g.kernel.Memory = Memory{TotalPages: 40_000, Scanned: 1 << 42, Stolen: 1 << 42, Refaults: 1 << 42,
					MajorFault: 1 << 42,
					Stalls:     1 << 42, OOMKills: 1 << 42}
			}
			if i >= 50 {
				g.thrash()
			}
		}, want: want(70, ClassThrash, Full, nil,
			"memory thrashed at 21 of 21 inspections within 2000 ms: 4200 pages reclaimed, 3150 needed again",
			"allocations that had to reclaim: 105, faults that had to read: 1890, killed for want of memory: 0",
			"free: 800 of 40000 pages")},
		{name: "garbage at the sample of the verdict", each: thrash(func(m, was *Memory) {
			switch *was = *m; {
			case m.Stolen == 10+200*21:
				m.TotalPages = 1 << 41
			case m.Stolen == 10+200*22:
				m.TotalPages, m.FreePages = 40_000, 40_001
			case m.Stolen == 10+200*23:
				m.TotalPages, m.FreePages = 0, 0
			default:
				m.TotalPages = 40_000
			}
		}), want: want(73, ClassThrash, Full, nil,
			"memory thrashed at 21 of 21 inspections within 2300 ms: 4800 pages reclaimed, 3600 needed again",
			"allocations that had to reclaim: 120, faults that had to read: 2160, killed for want of memory: 0",
			"free: 800 of 40000 pages")},
		{name: "sampled once a second", each: after(func(g *guest, i int) {
			if g.thrash(); i%10 != 0 {
				g.o.Kernel = nil
			}
		}), want: want(70, ClassThrash, Full, nil,
			"memory thrashed at 3 of 3 inspections within 2000 ms: 4200 pages reclaimed, 3150 needed again",
			"allocations that had to reclaim: 105, faults that had to read: 1890, killed for want of memory: 0",
			"free: 800 of 40000 pages")},
		{name: "sampled every 2.1 s", n: 150, each: after(func(g *guest, i int) {
			if g.thrash(); i%21 != 0 {
				g.o.Kernel = nil
			}
		}), want: want(105, ClassThrash, Full, nil,
			"memory thrashed at 3 of 3 inspections within 4200 ms: 11200 pages reclaimed, 8400 needed again",
			"allocations that had to reclaim: 280, faults that had to read: 5040, killed for want of memory: 0",
			"free: 800 of 40000 pages")},
		{name: "one sample of five without", each: after(func(g *guest, i int) {
			if i%5 != 4 {
				g.thrash()
			}
		}), want: want(70, ClassThrash, Full, nil,
			"memory thrashed at 17 of 21 inspections within 2000 ms: 3400 pages reclaimed, 2550 needed again",
			"allocations that had to reclaim: 85, faults that had to read: 1530, killed for want of memory: 0",
			"free: 800 of 40000 pages")},
		{name: "stalls alone",
			each: thrash(func(m, was *Memory) { m.MajorFault = was.MajorFault }), want: want(70, ClassThrash, Full, nil,
				"memory thrashed at 21 of 21 inspections within 2000 ms: 4200 pages reclaimed, 3150 needed again",
				"allocations that had to reclaim: 105, faults that had to read: 0, killed for want of memory: 0",
				"free: 800 of 40000 pages")},
		{name: "nobody waits",
			each: thrash(func(m, was *Memory) { m.MajorFault, m.Stalls = was.MajorFault, was.Stalls }), n: 300},
		{name: "half of it less one page",
			each: thrash(func(m, was *Memory) { m.Refaults = was.Refaults + 99 }), n: 300},
		{name: "half of it",
			each: thrash(func(m, was *Memory) { m.Refaults = was.Refaults + 100 }), want: want(70, ClassThrash, Full, nil,
				"memory thrashed at 21 of 21 inspections within 2000 ms: 4200 pages reclaimed, 2100 needed again",
				"allocations that had to reclaim: 105, faults that had to read: 1890, killed for want of memory: 0",
				"free: 800 of 40000 pages")},
		{name: "few pages",
			each: thrash(func(m, was *Memory) { m.Refaults, m.Stolen = was.Refaults+19, was.Stolen+20 }), n: 300},
		{name: "free memory", each: thrash(func(m, was *Memory) { m.FreePages = 4000 }), n: 300},
		{name: "just low",
			each: thrash(func(m, was *Memory) { m.FreePages = 3999 }), want: want(70, ClassThrash, Full, nil,
				"memory thrashed at 21 of 21 inspections within 2000 ms: 4200 pages reclaimed, 3150 needed again",
				"allocations that had to reclaim: 105, faults that had to read: 1890, killed for want of memory: 0",
				"free: 3999 of 40000 pages")},
		{name: "counters that go back", each: after(func(g *guest, i int) {
			if g.thrash(); i%8 == 0 {
				g.kernel.Memory.Refaults = 0
			}
		}), n: 300},
		{name: "unreadable", each: after(func(g *guest, i int) { g.kernel.Memory = Memory{} }), n: 300},
	})
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

// TestSince: the events between two inspections.
func TestSince(t *testing.T) {
	t.Parallel()
	was := Memory{Scanned: 10, Stolen: 20, Refaults: 30, MajorFault: 40, Stalls: 50, OOMKills: 60}
	now := Memory{Scanned: 11, Stolen: 22, Refaults: 33, MajorFault: 44, Stalls: 55, OOMKills: 66}
	want := Memory{Scanned: 1, Stolen: 2, Refaults: 3, MajorFault: 4, Stalls: 5, OOMKills: 6}
	if d, ok := since(now, was); !ok || d != want {
		t.Errorf("%+v, %v", d, ok)
	}
	for _, change := range []func(m *Memory, by uint64){
		func(m *Memory, by uint64) { m.Scanned += by }, func(m *Memory, by uint64) { m.Stolen += by },
		func(m *Memory, by uint64) { m.Refaults += by }, func(m *Memory, by uint64) { m.MajorFault += by },
		func(m *Memory, by uint64) { m.Stalls += by }, func(m *Memory, by uint64) { m.OOMKills += by },
	} {
		for by, want := range map[uint64]bool{0: true, mostEvents: true, mostEvents + 1: false, ^uint64(0): false} {
			now := was
			change(&now, by)
			if d, ok := since(now, was); ok != want || !ok && d != (Memory{}) {
				t.Errorf("%+v after %+v: %+v, %v", now, was, d, ok)
			}
		}
	}
}
