package detect

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// queue has a thread wait for a CPU.
func (g *guest) queue(r Runnable) {
	g.kernel.Runnable = append(g.kernel.Runnable, r)
	g.kernel.RunnableTotal = len(g.kernel.Runnable)
}

// hog lets a vCPU run a real-time thread in user mode, without a switch.
func (g *guest) hog(i int, runnable uint32) *RunQueue {
	g.compute(i)
	g.still[i] = true // it has no nap to wake from
	q := &g.queues[i]
	q.Comm, q.PID, q.Running = "hog", 77, runnable
	q.Schedule = Schedule{PolicyFIFO, 49}
	return q
}

func TestStarvation(t *testing.T) {
	t.Parallel()
	fair := Schedule{PolicyNormal, 120}
	beat := Runnable{PID: 31, Comm: "beat", Switches: 7, Schedule: fair}
	const beats = "vCPU 0: thread beat (31), SCHED_NORMAL, nice 0, is runnable and has not run for "
	const ran = "3000 ms, of which the vCPU ran 3000 ms"
	beatOf := func(pid int) string { return strings.Replace(beats, "31", strconv.Itoa(pid), 1) + ran }
	// each has a hog run on vCPU 0 from observation 50 on.
	each := func(change func(g *guest, q *RunQueue, w *Runnable, i int)) func(g *guest, i int) {
		return after(func(g *guest, i int) {
			w := beat
			q := g.hog(0, 2)
			if change != nil {
				change(g, q, &w, i)
			}
			g.queue(w)
		})
	}
	turns := func(g *guest, q *RunQueue) { // two hogs take turns
		q.Switches++
	}
	runScenes(t, []scene{
		{name: "a real-time thread on the only vCPU", each: each(nil), want: want(80, ClassStarvation, Full, []int{0},
			"vCPU 0: runs hog (77), SCHED_FIFO, real-time priority 50, which has precedence, at 31 of 31 inspections; "+
				"no task switch since",
			beats+ran,
			"threads that wait for a CPU: 1")},
		{name: "on one of two", vcpus: 2, each: each(nil), want: want(80, ClassStarvation, Partial, []int{0},
			"vCPU 0: runs hog (77), SCHED_FIFO, real-time priority 50, which has precedence, at 31 of 31 inspections; "+
				"no task switch since",
			beats+ran,
			"threads that wait for a CPU: 1")},
		{name: "on both", vcpus: 2, each: after(func(g *guest, i int) {
			g.hog(0, 2)
			g.hog(1, 2).Schedule = Schedule{PolicyDeadline, -1}
			g.queue(beat)
			g.queue(Runnable{PID: 32, Comm: "audio", Switches: 9, CPU: 1, Schedule: Schedule{PolicyRR, 89}})
		}), want: want(80, ClassStarvation, Full, []int{0, 1},
			"vCPU 0: runs hog (77), SCHED_FIFO, real-time priority 50, which has precedence, at 31 of 31 inspections; "+
				"no task switch since",
			beats+ran,
			"vCPU 1: runs hog (77), SCHED_DEADLINE, which has precedence, at 31 of 31 inspections; no task switch since",
			"vCPU 1: thread audio (32), SCHED_RR, real-time priority 10, is runnable and has not run for 3000 ms, "+
				"of which the vCPU ran 3000 ms",
			"threads that wait for a CPU: 2")},
		{name: "of equal priority, and never gives way", each: each(func(g *guest, q *RunQueue, w *Runnable, i int) {
			w.Schedule = Schedule{PolicyRR, 49}
		}), want: want(80, ClassStarvation, Full, []int{0},
			"vCPU 0: runs hog (77), SCHED_FIFO, real-time priority 50, which has precedence, at 31 of 31 inspections; "+
				"no task switch since",
			"vCPU 0: thread beat (31), SCHED_RR, real-time priority 50, is runnable and has not run for 3000 ms, "+
				"of which the vCPU ran 3000 ms",
			"threads that wait for a CPU: 1")},
		{name: "of equal priority, in turns of 100 ms or more", n: 150,
			each: each(func(g *guest, q *RunQueue, w *Runnable, i int) {
				q.Schedule = Schedule{PolicyRR, 49}
				w.Schedule = q.Schedule
			})},
		{name: "the one that waits has precedence", n: 150, each: each(func(g *guest, q *RunQueue, w *Runnable, i int) {
			w.Schedule = Schedule{PolicyFIFO, 0}
		})},
		{name: "the thread of the CPU that goes before all", n: 150,
			each: each(func(g *guest, q *RunQueue, w *Runnable, i int) { q.Schedule = Schedule{PolicyStop, 0} })},
		{name: "two real-time threads take turns, few wait", each: each(func(g *guest, q *RunQueue, w *Runnable, i int) {
			turns(g, q)
		}), want: want(80, ClassStarvation, Full, []int{0},
			"vCPU 0: runs hog (77), SCHED_FIFO, real-time priority 50, which has precedence, at 31 of 31 inspections",
			beats+ran,
			"threads that wait for a CPU: 1")},
		{name: "many wait for the 5% that are left to them",
			each: each(func(g *guest, q *RunQueue, w *Runnable, i int) {
				turns(g, q)
				q.Running = 20
			}), want: want(90, ClassStarvation, Full, []int{0},
				"vCPU 0: runs hog (77), SCHED_FIFO, real-time priority 50, which has precedence, at 41 of 41 inspections",
				beats+"4000 ms, of which the vCPU ran 4000 ms",
				"threads that wait for a CPU: 1")},
		{name: "it runs for a moment every 2.9 s of running", n: 600,
			each: each(func(g *guest, q *RunQueue, w *Runnable, i int) { w.Switches += uint64(i / 29) })},
		{name: "the vCPU gets 2% of a CPU", n: 1000, each: each(func(g *guest, q *RunQueue, w *Runnable, i int) {
			g.o.VCPUs[0].CPUTimeNS -= uint64(98 * ms)
		})},
		{name: "the vCPU gets half of a CPU", n: 150, each: each(func(g *guest, q *RunQueue, w *Runnable, i int) {
			g.o.VCPUs[0].CPUTimeNS -= uint64(50 * ms)
		}), want: want(110, ClassStarvation, Full, []int{0},
			"vCPU 0: runs hog (77), SCHED_FIFO, real-time priority 50, which has precedence, at 61 of 61 inspections; "+
				"no task switch since",
			beats+"6000 ms, of which the vCPU ran 3000 ms",
			"threads that wait for a CPU: 1")},
		{name: "moved from queue to queue, it waits on", vcpus: 2, each: after(func(g *guest, i int) {
			w := beat
			w.CPU = i % 2
			g.hog(0, 2)
			g.hog(1, 2)
			g.queue(w)
		}), want: want(80, ClassStarvation, Partial, []int{0},
			"vCPU 0: runs hog (77), SCHED_FIFO, real-time priority 50, which has precedence, at 31 of 31 inspections; "+
				"no task switch since",
			beats+ran,
			"threads that wait for a CPU: 1")},
		{name: "another thread of the same number", n: 600, each: each(func(g *guest, q *RunQueue, w *Runnable, i int) {
			w.Comm = string(rune('a' + i/25%2))
		})},
		{name: "it is the one that runs", n: 600, each: each(func(g *guest, q *RunQueue, w *Runnable, i int) {
			if q.Schedule = fair; i%20 == 0 {
				q.PID = 31
			}
		})},
		{name: "precedence at two of three inspections", n: 150, each: each(func(g *guest, q *RunQueue, w *Runnable, i int) {
			if i%3 == 0 {
				q.Schedule = fair
			}
		})},
		{name: "precedence at three of four", each: each(func(g *guest, q *RunQueue, w *Runnable, i int) {
			if i%4 == 1 {
				q.Schedule = fair
			}
		}), want: want(80, ClassStarvation, Full, []int{0},
			"vCPU 0: runs hog (77), SCHED_FIFO, real-time priority 50, which has precedence, at 24 of 31 inspections; "+
				"no task switch since",
			beats+ran,
			"threads that wait for a CPU: 1")},
		{name: "an equal that never gives way", n: 250, each: each(func(g *guest, q *RunQueue, w *Runnable, i int) {
			q.Schedule = fair
		}), want: want(200, ClassStarvation, Full, []int{0},
			"vCPU 0: runs hog (77), SCHED_NORMAL, nice 0; no task switch since",
			beats+"15000 ms, of which the vCPU ran 15000 ms; judged by its length alone",
			"threads that wait for a CPU: 1")},
		{name: "equals take turns, and it is never picked", n: 250,
			each: each(func(g *guest, q *RunQueue, w *Runnable, i int) {
				turns(g, q)
				q.Schedule = fair
				w.Policy = PolicyExt
			}), want: want(200, ClassStarvation, Full, []int{0},
				"vCPU 0: runs hog (77), SCHED_NORMAL, nice 0",
				"vCPU 0: thread beat (31), SCHED_EXT, nice 0, is runnable and has not run for 15000 ms, of which the vCPU "+
					"ran 15000 ms; judged by its length alone",
				"threads that wait for a CPU: 1")},
		{name: "of two thousand equals each waits for its turn", n: 230,
			each: each(func(g *guest, q *RunQueue, w *Runnable, i int) {
				turns(g, q)
				q.Schedule, q.Running = fair, 2000
			})},
		{name: "it is nice", n: 400, each: each(func(g *guest, q *RunQueue, w *Runnable, i int) {
			q.Schedule = fair
			w.Priority = 121
		})},
		{name: "it wants what others leave", n: 400, each: each(func(g *guest, q *RunQueue, w *Runnable, i int) {
			q.Schedule = fair
			w.Policy = PolicyIdle
		})},
		{name: "nobody knows how it is scheduled", n: 400, each: each(func(g *guest, q *RunQueue, w *Runnable, i int) {
			w.Schedule = Schedule{}
		})},
		{name: "nobody knows what runs", n: 150, each: each(func(g *guest, q *RunQueue, w *Runnable, i int) {
			q.Schedule = Schedule{}
		})},
		{name: "the queue cannot be read", n: 150, each: each(func(g *guest, q *RunQueue, w *Runnable, i int) {
			g.o.VCPUs[0].Queue = nil
		})},
		{name: "on a vCPU that is not there", n: 150, each: each(func(g *guest, q *RunQueue, w *Runnable, i int) {
			w.CPU = []int{-1, 1}[i%2]
		})},
		{name: "more than the evidence shows", each: after(func(g *guest, i int) {
			g.hog(0, 11)
			for j := range int32(10) {
				g.queue(Runnable{PID: 31 + j, Comm: "beat", Schedule: fair})
			}
			g.kernel.RunnableTotal = 40
		}), want: want(80, ClassStarvation, Full, []int{0},
			"vCPU 0: runs hog (77), SCHED_FIFO, real-time priority 50, which has precedence, at 31 of 31 inspections; "+
				"no task switch since",
			beats+ran,
			beatOf(32),
			beatOf(33),
			beatOf(34),
			beatOf(35),
			beatOf(36),
			beatOf(37),
			beatOf(38),
			"and 2 more",
			"threads that wait for a CPU: 40")},
		{name: "inspected twice a second", each: func(g *guest, i int) {
			if i >= 50 {
				g.hog(0, 2)
				g.queue(beat)
			}
			if i%5 != 0 {
				g.o.Kernel = nil
			}
		}, want: want(80, ClassStarvation, Full, []int{0},
			"vCPU 0: runs hog (77), SCHED_FIFO, real-time priority 50, which has precedence, at 7 of 7 inspections; "+
				"no task switch since",
			beats+ran,
			"threads that wait for a CPU: 1")},
		{name: "it may take longer", each: each(nil), set: func(t *Thresholds) { t.Starvation = 4 * time.Second },
			want: want(90, ClassStarvation, Full, []int{0},
				"vCPU 0: runs hog (77), SCHED_FIFO, real-time priority 50, which has precedence, at 41 of 41 inspections; "+
					"no task switch since",
				beats+"4000 ms, of which the vCPU ran 4000 ms",
				"threads that wait for a CPU: 1")},
	})
	for _, tt := range []struct {
		s    Schedule
		want string
	}{
		{Schedule{}, "policy unknown"},
		{Schedule{PolicyFIFO, 0}, "SCHED_FIFO, real-time priority 99"},
		{Schedule{PolicyNormal, 100}, "SCHED_NORMAL, nice -20"},
		{Schedule{PolicyIdle, 139}, "SCHED_IDLE, nice 19"},
		{Schedule{PolicyStop, 0}, "stop"},
		{Schedule{PolicyDeadline, -1}, "SCHED_DEADLINE"},
	} {
		if got := tt.s.text(); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.s, got, tt.want)
		}
	}
}
