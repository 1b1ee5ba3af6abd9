package detect

import "testing"

// reclaims lets allocations reclaim in vain: at fifty rounds a second, in a quarter of a
// vCPU's time.
func (g *guest) reclaims() {
	m := &g.kernel.Memory
	m.FreePages = 300
	m.Scanned += 40
	m.Stalls += 5
	g.o.VCPUs[0].CPUTimeNS += uint64(g.period) / 4
	g.wait(Waiting{PID: 55, Comm: "hog", Switches: uint64(g.n),
		Stack: []string{"schedule_timeout", "__alloc_pages_slowpath.constprop.0", "__alloc_pages_noprof"}})
}

func TestReclaim(t *testing.T) {
	t.Parallel()
	each := func(change func(g *guest, m, was *Memory, i int)) func(g *guest, i int) {
		return after(func(g *guest, i int) {
			was := g.kernel.Memory
			if g.reclaims(); change != nil {
				change(g, &g.kernel.Memory, &was, i)
			}
		})
	}
	const free = "free: 300 of 40000 pages"
	slept := "threads slept in an allocation at 41 of 41 inspections, the last one hog (55) in " +
		"__alloc_pages_slowpath.constprop.0"
	runScenes(t, []scene{
		{name: "nothing is got", each: each(nil), want: want(90, ClassThrash, Full, nil,
			"memory is used up for 4000 ms: allocations had to reclaim 205 times and got 0 pages, "+
				"nobody was killed for want of memory", free, slept)},
		{name: "hardly anything is got", each: each(func(g *guest, m, was *Memory, i int) { m.Stolen += 4 }),
			want: want(90, ClassThrash, Full, nil, "memory is used up for 4000 ms: allocations had to reclaim 205 times and "+
				"got 164 pages, nobody was killed for want of memory", free, slept)},
		{name: "a page for each is got", n: 300, each: each(func(g *guest, m, was *Memory, i int) { m.Stolen += 5 })},
		{name: "nothing is seen of the threads", each: each(func(g *guest, m, was *Memory, i int) {
			g.kernel.Waiting, g.kernel.WaitingTotal = nil, 0
		}), want: want(90, ClassThrash, Full, nil, "memory is used up for 4000 ms: allocations had to reclaim 205 times and "+
			"got 0 pages, nobody was killed for want of memory", free)},
		{name: "somebody is killed every 3.9 s", n: 300, each: each(func(g *guest, m, was *Memory, i int) {
			if i%39 == 0 {
				m.OOMKills++
			}
		})},
		{name: "memory is free every 3.9 s", n: 300, each: each(func(g *guest, m, was *Memory, i int) {
			if i%39 == 0 {
				m.FreePages = 4000
			}
		})},
		{name: "few rounds", n: 300,
			each: each(func(g *guest, m, was *Memory, i int) { m.Stalls = was.Stalls + uint64(i%2) })},
		{name: "just as many rounds as count",
			each: each(func(g *guest, m, was *Memory, i int) { m.Stalls = was.Stalls + 1 }),
			want: want(90, ClassThrash, Full, nil, "memory is used up for 4000 ms: allocations had to reclaim 41 times and "+
				"got 0 pages, nobody was killed for want of memory", free, slept)},
		{name: "no round at one of four inspections", each: each(func(g *guest, m, was *Memory, i int) {
			if i%4 == 3 {
				m.Stalls = was.Stalls
			}
		}), want: want(92, ClassThrash, Full, nil, "memory is used up for 4000 ms: allocations had to reclaim 155 times and "+
			"got 0 pages, nobody was killed for want of memory", free, slept)},
		{name: "the guest gets 2% of a CPU", n: 250, each: each(func(g *guest, m, was *Memory, i int) {
			g.o.VCPUs[0].CPUTimeNS -= uint64(23 * ms)
		})},
		{name: "counters that go back", n: 300, each: each(func(g *guest, m, was *Memory, i int) {
			if i%30 == 0 {
				m.Scanned = 0
			}
		})},
		{name: "inspected twice a second", each: func(g *guest, i int) {
			if i >= 50 {
				g.reclaims()
			}
			if i%5 != 0 {
				g.o.Kernel = nil
			}
		}, want: want(90, ClassThrash, Full, nil, "memory is used up for 4000 ms: allocations had to reclaim 205 times and "+
			"got 0 pages, nobody was killed for want of memory", free,
			"threads slept in an allocation at 9 of 9 inspections, the last one hog (55) in "+
				"__alloc_pages_slowpath.constprop.0")},
	})
	got := events(t, 1, 200, func(g *guest, i int) {
		if i >= 50 && i < 120 {
			g.reclaims()
		}
	})
	if want := []event{{90, ClassThrash, Full, false}, {139, ClassThrash, "", true}}; len(got) != 2 || got[0] != want[0] ||
		got[1] != want[1] {
		t.Errorf("%v, want %v", got, want)
	}
}
