package detect

import (
	"testing"
)

func TestThrash(t *testing.T) {
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
			"memory thrashed at 21 of 21 samples within 2000 ms: 4200 pages reclaimed, 3150 needed again",
			"allocations that had to reclaim: 105, faults that had to read: 1890, killed for want of memory: 0",
			"free: 800 of 40000 pages")},
		{name: "one look of five without", each: after(func(g *guest, i int) {
			if i%5 != 4 {
				g.thrash()
			}
		}), want: want(70, ClassThrash, Full, nil,
			"memory thrashed at 17 of 21 samples within 2000 ms: 3400 pages reclaimed, 2550 needed again",
			"allocations that had to reclaim: 85, faults that had to read: 1530, killed for want of memory: 0",
			"free: 800 of 40000 pages")},
		{name: "stalls alone", each: thrash(func(m, was *Memory) { m.MajorFault = was.MajorFault }), want: want(70, ClassThrash, Full, nil,
			"memory thrashed at 21 of 21 samples within 2000 ms: 4200 pages reclaimed, 3150 needed again",
			"allocations that had to reclaim: 105, faults that had to read: 0, killed for want of memory: 0",
			"free: 800 of 40000 pages")},
		{name: "nobody waits", each: thrash(func(m, was *Memory) { m.MajorFault, m.Stalls = was.MajorFault, was.Stalls }), n: 300},
		{name: "half of it less one page", each: thrash(func(m, was *Memory) { m.Refaults = was.Refaults + 99 }), n: 300},
		{name: "half of it", each: thrash(func(m, was *Memory) { m.Refaults = was.Refaults + 100 }), want: want(70, ClassThrash, Full, nil,
			"memory thrashed at 21 of 21 samples within 2000 ms: 4200 pages reclaimed, 2100 needed again",
			"allocations that had to reclaim: 105, faults that had to read: 1890, killed for want of memory: 0",
			"free: 800 of 40000 pages")},
		{name: "few pages", each: thrash(func(m, was *Memory) { m.Refaults, m.Stolen = was.Refaults+19, was.Stolen+20 }), n: 300},
		{name: "free memory", each: thrash(func(m, was *Memory) { m.FreePages = 4000 }), n: 300},
		{name: "just low", each: thrash(func(m, was *Memory) { m.FreePages = 3999 }), want: want(70, ClassThrash, Full, nil,
			"memory thrashed at 21 of 21 samples within 2000 ms: 4200 pages reclaimed, 3150 needed again",
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
