package detect

import (
	"testing"
)

func TestForkstorm(t *testing.T) {
	t.Parallel()
	runScenes(t, []scene{
		{name: "bomb",
			each: after(func(g *guest, i int) { g.bomb(20*(i-49), 20) }), want: want(64, ClassForkstorm, Full, nil,
				"the number of threads has grown by 300 to 360 within 1500 ms, by 300 forks, and still does",
				`300 of 360 threads are named "bomb"`,
				"runnable threads: 300 on 1 vCPUs")},
		{name: "bomb, explosive",
			each: after(func(g *guest, i int) { g.bomb(1<<min(i-49, 24), 20) }), want: want(64, ClassForkstorm, Full, nil,
				"the number of threads has grown by 32768 to 32828 within 1500 ms, by 300 forks, and still does",
				`32768 of 32828 threads are named "bomb"`,
				"runnable threads: 32768 on 1 vCPUs")},
		{name: "bomb, queues unreadable", each: after(func(g *guest, i int) {
			g.bomb(30*(i-49), 30)
			g.o.VCPUs[0].Queue = nil
		}), want: want(76, ClassForkstorm, Partial, nil,
			"the number of threads has grown by 810 to 870 within 2700 ms, by 810 forks, and still does",
			`810 of 870 threads are named "bomb"`)},
		{name: "one queue of two is long", vcpus: 2, each: after(func(g *guest, i int) {
			g.bomb(20*(i-49), 20)
			g.queues[0].Running, g.queues[1].Running = 0, uint32(20*(i-49))
		}), want: want(64, ClassForkstorm, Partial, nil,
			"the number of threads has grown by 300 to 360 within 1500 ms, by 300 forks, and still does",
			`300 of 360 threads are named "bomb"`,
			"runnable threads: 300 on 2 vCPUs")},
		{name: "at a limit within half a second, forks go on",
			each: after(func(g *guest, i int) { g.bomb(min(300, 60*(i-49)), 30) }),
			want: want(68, ClassForkstorm, Full, nil,
				"forks go on for 1500 ms, 1570 since boot",
				`300 of 360 threads are named "bomb"`,
				"runnable threads: 300 on 1 vCPUs")},
		{name: "at a limit, every fork fails",
			each: after(func(g *guest, i int) { g.bomb(min(300, 60*(i-49)), 0) }), n: 200,
			want: want(113, ClassForkstorm, Full, nil,
				"the number of threads has grown until 300 ms ago, and the run queues have been long for 6000 ms",
				`300 of 360 threads are named "bomb"`,
				"runnable threads: 300 on 1 vCPUs")},
		{name: "slow, but whoever comes is runnable",
			each: after(func(g *guest, i int) { g.bomb(4*(i-49), 4) }), want: want(74, ClassForkstorm, Full, nil,
				"the number of threads has grown by 100 to 160 within 2500 ms, by 100 forks, and still does",
				`100 of 160 threads are named "bomb"`,
				"runnable threads: 100 on 1 vCPUs")},
		{name: "slow, and one in eight sleeps", each: after(func(g *guest, i int) {
			g.bomb(min(199, 4*(i-49)), 4)
			g.queues[0].Running -= g.queues[0].Running / 8
		}), n: 600},
		{name: "below half the number", each: after(func(g *guest, i int) { g.bomb(min(99, 10*(i-49)), 30) }), n: 600},
		{name: "threshold",
			each: after(func(g *guest, i int) { g.bomb(min(99, 5*(i-49)), 30) }), n: 600,
			set: func(t *Thresholds) { t.ForkstormThreads = 100 },
			want: want(64, ClassForkstorm, Full, nil,
				"the number of threads has grown by 75 to 135 within 1500 ms, by 450 forks, and still does",
				`75 of 135 threads are named "bomb"`,
				"runnable threads: 75 on 1 vCPUs")},
		{name: "short queues", each: after(func(g *guest, i int) {
			g.bomb(min(700, 20*(i-49)), 20)
			g.queues[0].Running = 5
		}), n: 600},
		{name: "short queues, and the others wait for a lock", each: after(func(g *guest, i int) {
			g.bomb(20*(i-49), 20)
			g.queues[0].Running = 5
			g.waitMany(20*(i-49)-5, Waiting{Comm: "bomb", Stack: []string{"rwsem_down_write_slowpath", "down_write"}})
		}), want: want(64, ClassForkstorm, Full, nil,
			"the number of threads has grown by 300 to 360 within 1500 ms, by 300 forks, and still does",
			`300 of 360 threads are named "bomb"`,
			"runnable threads: 5 on 1 vCPUs; 295 wait for a sleeping lock")},
		{name: "short queues, and the others wait for the disk, for a while each", n: 600,
			each: after(func(g *guest, i int) {
				g.bomb(min(700, 20*(i-49)), 20)
				g.queues[0].Running = 5
				g.waitMany(20*(i-49)-5, Waiting{Comm: "bomb", IOWait: true, Switches: uint64(i),
					Stack: []string{"io_schedule", "folio_wait_bit"}})
			})},
		{name: "many threads from the start, long queues, no fork",
			each: func(g *guest, i int) { g.bomb(300, 0) }, n: 600},
		{name: "grows slowly: by 36 threads in the window, by 190 in all samples",
			n: 600, each: after(func(g *guest, i int) {
				if g.bomb(3*((i-45)/5), 0); i%5 != 0 {
					g.o.Kernel = nil
				}
			})},
		{name: "by 102 threads in the window, all runnable", n: 600, each: after(func(g *guest, i int) {
			if g.bomb(9*((i-45)/5), 7); i%5 != 0 {
				g.o.Kernel = nil
			}
		}), want: want(105, ClassForkstorm, Full, nil,
			"the number of threads has grown by 108 to 168 within 5600 ms, by 392 forks, and still does",
			`108 of 168 threads are named "bomb"`,
			"runnable threads: 108 on 1 vCPUs")},
		{name: "a burst: 300 threads at once, then one every 200 ms, for five seconds",
			n: 200, each: after(func(g *guest, i int) {
				if g.bomb(300+(i-49)/2, uint64(i%2)); i >= 105 {
					g.bomb(0, 0)
				}
			})},
		{name: "a burst after ten seconds: 300 threads at once, then one every 200 ms",
			n: 160, each: func(g *guest, i int) {
				if i >= 110 {
					g.bomb(300+(i-109)/2, uint64(i%2))
				}
			}},
		{name: "a storm: 300 threads at once, then 10 every 100 ms", each: after(func(g *guest, i int) {
			g.bomb(300+10*(i-50), 0)
		}), want: want(76, ClassForkstorm, Full, nil,
			"the number of threads has grown by 560 to 620 within 2700 ms, by 0 forks, and still does",
			`560 of 620 threads are named "bomb"`,
			"runnable threads: 560 on 1 vCPUs")},
		{name: "of many names, queues short, 800 threads", each: after(func(g *guest, i int) {
			g.bomb(53*(i-49)+5, 13)
			g.kernel.LargestCount, g.queues[0].Running = 3, 2
		}), want: want(64, ClassForkstorm, Partial, nil,
			"the number of threads has grown by 800 to 860 within 1500 ms, by 195 forks, and still does",
			`3 of 860 threads are named "bomb"`,
			"runnable threads: 2 on 1 vCPUs")},
		{name: "of many names, queues short, 799 threads", n: 200, each: after(func(g *guest, i int) {
			g.bomb(min(799, 53*(i-49)+4), 13)
			g.kernel.LargestCount, g.queues[0].Running = 3, 2
		})},
		{name: "half of the new threads have one name, queues long", each: after(func(g *guest, i int) {
			g.bomb(20*(i-49), 0)
			g.kernel.LargestCount = 10 * (i - 49)
		}), want: want(64, ClassForkstorm, Full, nil,
			"the number of threads has grown by 300 to 360 within 1500 ms, by 0 forks, and still does",
			`150 of 360 threads are named "bomb"`,
			"runnable threads: 300 on 1 vCPUs")},
		{name: "less than half of the new threads have one name", n: 200, each: after(func(g *guest, i int) {
			g.bomb(min(700, 20*(i-49)), 0)
			g.kernel.LargestCount = min(199, 10*(i-49)-1)
		})},
		{name: "queues just long", each: after(func(g *guest, i int) {
			g.bomb(20*(i-49), 0)
			g.queues[0].Running = 20
		}), want: want(64, ClassForkstorm, Full, nil,
			"the number of threads has grown by 300 to 360 within 1500 ms, by 0 forks, and still does",
			`300 of 360 threads are named "bomb"`,
			"runnable threads: 20 on 1 vCPUs")},
		{name: "queues just short", n: 200, each: after(func(g *guest, i int) {
			g.bomb(min(700, 20*(i-49)), 0)
			g.queues[0].Running = 19
		})},
		{name: "two vCPUs, queues just long", vcpus: 2, each: after(func(g *guest, i int) {
			g.bomb(20*(i-49), 0)
			g.queues[0].Running, g.queues[1].Running = 19, 21
		}), want: want(64, ClassForkstorm, Partial, nil,
			"the number of threads has grown by 300 to 360 within 1500 ms, by 0 forks, and still does",
			`300 of 360 threads are named "bomb"`,
			"runnable threads: 40 on 2 vCPUs")},
		{name: "two vCPUs, queues just short", vcpus: 2, n: 200, each: after(func(g *guest, i int) {
			g.bomb(min(700, 20*(i-49)), 0)
			g.queues[0].Running, g.queues[1].Running = 19, 20
		})},
		{name: "a storm after ten seconds", n: 130, each: func(g *guest, i int) {
			if i >= 100 {
				g.bomb(20*(i-99), 20)
			}
		}, want: want(114, ClassForkstorm, Full, nil,
			"the number of threads has grown by 300 to 360 within 1500 ms, by 300 forks, and still does",
			`300 of 360 threads are named "bomb"`,
			"runnable threads: 300 on 1 vCPUs")},
		{name: "most have ended, and it grows slowly", each: after(func(g *guest, i int) {
			if g.bomb(min(600, 120*(i-49)), 0); i >= 58 {
				g.bomb(300+i-58, 0)
			}
		})},
		{name: "slow, one in eight sleeps, up to the threshold", n: 110, each: after(func(g *guest, i int) {
			g.bomb(min(200, 4*(i-49)), 4)
			g.queues[0].Running -= g.queues[0].Running / 8
		}), want: want(99, ClassForkstorm, Full, nil,
			"the number of threads has grown by 200 to 260 within 5000 ms, by 200 forks, and still does",
			`200 of 260 threads are named "bomb"`,
			"runnable threads: 175 on 1 vCPUs")},
		{name: "a vCPU is offline", vcpus: 2, each: after(func(g *guest, i int) {
			g.bomb(20*(i-49), 0)
			g.o.VCPUs[1].Online, g.queues[0].Running, g.queues[1].Running = false, 20, 0
		}), want: want(64, ClassForkstorm, Full, nil,
			"the number of threads has grown by 300 to 360 within 1500 ms, by 0 forks, and still does",
			`300 of 360 threads are named "bomb"`,
			"runnable threads: 20 on 1 vCPUs")},
		{name: "at a limit, ten forks a second",
			each: func(g *guest, i int) { g.bomb(200, 1) }, want: want(17, ClassForkstorm, Full, nil,
				"forks go on for 1500 ms, 1018 since boot",
				`200 of 260 threads are named "bomb"`,
				"runnable threads: 200 on 1 vCPUs")},
		{name: "at a limit, nine forks a second",
			n: 600, each: func(g *guest, i int) { g.bomb(200, uint64(min(i%10, 1))) }},
		{name: "at a limit, nine forks a second, counted once a second", n: 600, each: func(g *guest, i int) {
			if g.bomb(200, uint64(min(i%10, 1))); i%10 != 5 {
				g.o.Kernel = nil
			}
		}},
		{name: "at a limit, no fork, observed every 50 ms", n: 600, each: func(g *guest, i int) {
			g.period = 50 * ms
			g.bomb(200, 0)
		}},
		{name: "at a limit, forks are counted once a second", each: func(g *guest, i int) {
			if g.bomb(250, 1); i%10 != 5 {
				g.o.Kernel = nil
			}
		}, want: want(45, ClassForkstorm, Full, nil,
			"forks go on for 3000 ms, 1046 since boot",
			`250 of 310 threads are named "bomb"`,
			"runnable threads: 250 on 1 vCPUs")},
		{name: "below the limit, ten forks a second", n: 600, each: func(g *guest, i int) { g.bomb(199, 1) }},
		{name: "grown a minute ago", n: 900, each: after(func(g *guest, i int) {
			if g.bomb(min(300, 60*(i-49)), 0); i < 650 {
				g.queues[0].Running = 2
			}
		})},
		{name: "grown less than a minute ago", n: 900, each: after(func(g *guest, i int) {
			if g.bomb(min(300, 60*(i-49)), 0); i < 649 {
				g.queues[0].Running = 2
			}
		}), want: want(709, ClassForkstorm, Full, nil,
			"the number of threads has grown until 59900 ms ago, and the run queues have been long for 6000 ms",
			`300 of 360 threads are named "bomb"`,
			"runnable threads: 300 on 1 vCPUs")},
		{name: "grown to the threshold, every fork fails", n: 200, each: after(func(g *guest, i int) {
			g.bomb(min(200, 60*(i-49)), 0)
		}), want: want(113, ClassForkstorm, Full, nil,
			"the number of threads has grown until 400 ms ago, and the run queues have been long for 6000 ms",
			`200 of 260 threads are named "bomb"`,
			"runnable threads: 200 on 1 vCPUs")},
		{name: "grown to the threshold less one, every fork fails", n: 300, each: after(func(g *guest, i int) {
			g.bomb(min(199, 60*(i-49)), 0)
			g.kernel.LargestCount += 10
		})},
		{name: "the number of threads cannot be read now and then", each: after(func(g *guest, i int) {
			if g.bomb(20*(i-49), 20); i%4 == 0 {
				g.kernel.Threads, g.kernel.Forks = 0, 0
			} else {
				g.kernel.Forks = uint64(1000 + 23*i)
			}
		}), want: want(65, ClassForkstorm, Full, nil,
			"the number of threads has grown by 320 to 380 within 1600 ms, by 1495 forks, and still does",
			`320 of 380 threads are named "bomb"`,
			"runnable threads: 320 on 1 vCPUs")},
		{name: "shrinks at last",
			n: 80, set: func(t *Thresholds) { t.ForkstormThreads = 400 }, each: after(func(g *guest, i int) {
				if g.bomb(30*(i-49), 0); i >= 62 {
					g.bomb(30*13-(i-62), 0)
				}
			})},
	})
}

// bomb sets the number of threads, all but 60 of one name, and all of those
// runnable.
func (g *guest) bomb(threads int, forks uint64) {
	g.kernel.Threads, g.kernel.Forks = uint64(60+threads), g.kernel.Forks+forks
	g.kernel.LargestComm, g.kernel.LargestCount = "bomb", threads
	for i := range g.queues {
		g.compute(i).Signals += 5
		g.queues[i].Switches += 5
		g.queues[i].Running = uint32(threads / len(g.queues))
	}
}

// waitMany shows n threads in uninterruptible sleep, all like w, as an inspection does: it
// lists no more than MaxWaiting.
func (g *guest) waitMany(n int, w Waiting) {
	g.kernel.Waiting = g.kernel.Waiting[:0]
	for i := range min(n, MaxWaiting) {
		w.PID = int32(1000 + i)
		g.kernel.Waiting = append(g.kernel.Waiting, w)
	}
	g.kernel.WaitingTotal = n
}
