package linux

import (
	"reflect"
	"testing"

	"hangbench/monitor/detect"
)

// normal is how the threads of the synthetic guest are scheduled.
var normal = detect.Schedule{Policy: detect.PolicyNormal, Priority: 120}

// enqueue has a thread wait for a CPU.
func (g *fakeGuest) enqueue(i, cpu int) {
	g.u32(g.put(i, "__state"), taskRunning)
	g.u32(g.put(i, "on_rq"), onQueue)
	g.u32(g.put(i, "thread_info.cpu"), uint32(cpu))
	g.u64(g.put(i, "se.cfs_rq"), direct+0x7000)
}

// inspect reads the run queues and inspects the kernel, as a session does.
func inspect(k *Kernel) (out detect.Kernel) {
	var q detect.RunQueue
	k.RunQueue(0, &q)
	k.RunQueue(1, &q)
	k.Inspect(&out)
	return out
}

// TestRunnable: threads that wait for a CPU are listed, and no others.
func TestRunnable(t *testing.T) {
	t.Parallel()
	work := detect.Runnable{PID: 5, Comm: "work", Switches: 42, CPU: 1, Schedule: normal}
	for _, tt := range []struct {
		name    string
		change  func(g *fakeGuest)
		without string
		want    []detect.Runnable
	}{
		{"nobody waits", func(g *fakeGuest) { g.u32(g.put(5, "on_rq"), 0) }, "", nil},
		{"one waits", func(*fakeGuest) {}, "", []detect.Runnable{work}},
		{"it runs", func(g *fakeGuest) { g.u32(g.put(5, "on_cpu"), 1) }, "", nil},
		{"it moves to another queue", func(g *fakeGuest) { g.u32(g.put(5, "on_rq"), 2) }, "", nil},
		{"it sleeps, and its place in the queue is not given up yet",
			func(g *fakeGuest) { g.u32(g.put(5, "__state"), 1) }, "", nil},
		{"its group is throttled", func(g *fakeGuest) { g.u32(direct+0x7000+0x1c, 1) }, "", nil},
		{"its group cannot be read", func(g *fakeGuest) { g.u64(g.put(5, "se.cfs_rq"), 0x1000) }, "", nil},
		{"no groups of this kind", func(g *fakeGuest) { g.u64(g.put(5, "se.cfs_rq"), 0x1000) }, "task_struct.se.cfs_rq",
			[]detect.Runnable{work}},
		{"groups without a limit", func(g *fakeGuest) { g.u64(g.put(5, "se.cfs_rq"), 0x1000) }, "cfs_rq.throttle_count",
			[]detect.Runnable{work}},
		{"a deadline", func(g *fakeGuest) { g.u32(g.put(5, "policy"), 6) }, "", nil},
		{"real time", func(g *fakeGuest) { g.u32(g.put(5, "policy"), 2); g.u32(g.put(5, "prio"), 49) }, "",
			[]detect.Runnable{{PID: 5, Comm: "work", Switches: 42, CPU: 1,
				Schedule: detect.Schedule{Policy: detect.PolicyRR, Priority: 49}}}},
		{"a policy that nobody knows", func(g *fakeGuest) { g.u32(g.put(5, "policy"), 4) }, "",
			[]detect.Runnable{{PID: 5, Comm: "work", Switches: 42, CPU: 1}}},
		{"a priority that cannot be", func(g *fakeGuest) { g.u32(g.put(5, "prio"), 1<<31) }, "",
			[]detect.Runnable{{PID: 5, Comm: "work", Switches: 42, CPU: 1}}},
		{"a CPU that is not there", func(g *fakeGuest) { g.u32(g.put(5, "thread_info.cpu"), 2) }, "", nil},
		{"an older kernel", func(g *fakeGuest) { g.u32(g.put(5, "cpu"), 1) }, "task_struct.thread_info.cpu",
			[]detect.Runnable{work}},
		{"the kernel does not say who is on a CPU", func(*fakeGuest) {}, "task_struct.on_cpu", nil},
		{"nor how threads are scheduled", func(*fakeGuest) {}, "task_struct.policy", nil},
	} {
		g := newFakeGuest(slid)
		g.enqueue(5, 1)
		tt.change(g)
		out := inspect(mustOpen(t, g, tt.without))
		total := len(tt.want)
		if tt.name == "a CPU that is not there" {
			total = 1
		}
		if len(out.Runnable)+len(tt.want) > 0 && !reflect.DeepEqual(out.Runnable, tt.want) || out.RunnableTotal != total {
			t.Errorf("%s: %+v of %d, want %+v of %d", tt.name, out.Runnable, out.RunnableTotal, tt.want, total)
		}
	}
}

// TestRunnableLongFirst: those that have not run since the last walk come first, and no
// more are listed than fit.
func TestRunnableLongFirst(t *testing.T) {
	t.Parallel()
	g := newFakeGuest(slid)
	for _, i := range []int{1, 5, 6, 7} {
		g.enqueue(i, 0)
	}
	g.u32(g.put(3, "__state"), taskRunning) // nobody is in state D
	k := mustOpen(t, g)
	pids := func() (all []int32) {
		out := inspect(k)
		for _, r := range out.Runnable {
			all = append(all, r.PID)
		}
		return all
	}
	if got := pids(); !reflect.DeepEqual(got, []int32{1, 5, 6, 7}) {
		t.Errorf("at first %v", got)
	}
	g.u64(g.put(1, "nvcsw"), 41)
	g.u64(g.put(6, "nivcsw"), 3)
	rq := percpu(0) + fakeSymbols["runqueues"]
	g.u32(rq+4, 5) // the queue has not switched, and is not empty: the list is walked
	if got := pids(); !reflect.DeepEqual(got, []int32{5, 7, 1, 6}) {
		t.Errorf("then %v", got)
	}
	g.u32(g.put(5, "pid"), 55) // another thread in the same place
	if got := pids(); !reflect.DeepEqual(got, []int32{1, 6, 7, 55}) {
		t.Errorf("then %v", got)
	}
	for _, i := range []int{1, 5, 6, 7} {
		g.u32(g.put(i, "on_cpu"), 1)
	}
	if got := pids(); got != nil {
		t.Errorf("all of them run, and %v wait", got)
	}
}

// TestRunnableMany: the threads that are read are bounded, and so are those that are
// listed.
func TestRunnableMany(t *testing.T) {
	t.Parallel()
	g := newFakeGuest(slid)
	k := mustOpen(t, g)
	k.walks = 1
	for i := range maxQueued + 10 {
		g.enqueue(5, 0)
		k.tasks = append(k.tasks[:0], task{addr: g.taskAt(5), pid: int32(i + 1)})
		k.addRunnable(0)
	}
	if k.tried != maxQueued || k.queued != maxQueued || len(k.arrived) != detect.MaxRunnable {
		t.Errorf("read %d, %d wait, %d kept", k.tried, k.queued, len(k.arrived))
	}
}

// TestCrowded: the task list is walked at once when a CPU with threads that wait runs a
// real-time thread or does not switch. Otherwise one walk serves several inspections.
func TestCrowded(t *testing.T) {
	t.Parallel()
	rq := percpu(1) + fakeSymbols["runqueues"]
	for _, tt := range []struct {
		name   string
		change func(g *fakeGuest, switches uint64)
		walks  uint64 // of four inspections
	}{
		{"nobody waits", func(g *fakeGuest, n uint64) {}, 1},
		{"threads take turns", func(g *fakeGuest, n uint64) { g.u32(rq+4, 3); g.u64(rq+0x10, 2000+n) }, 1},
		{"one does not give way", func(g *fakeGuest, n uint64) { g.u32(rq+4, 2) }, 4},
		{"a real-time thread runs", func(g *fakeGuest, n uint64) {
			g.u32(rq+4, 2)
			g.u64(rq+0x10, 2000+n)
			g.u32(g.put(0, "prio"), 98)
			g.u32(g.put(0, "policy"), 1)
		}, 4},
		{"a real-time thread runs alone", func(g *fakeGuest, n uint64) {
			g.u32(g.put(0, "prio"), 98)
			g.u32(g.put(0, "policy"), 1)
		}, 1},
	} {
		g := newFakeGuest(slid)
		g.u32(g.put(3, "__state"), taskRunning) // nobody is in state D
		k := mustOpen(t, g)
		for i := range uint64(4) {
			tt.change(g, i)
			inspect(k)
		}
		if k.walks != tt.walks {
			t.Errorf("%s: the list was walked %d times, want %d", tt.name, k.walks, tt.walks)
		}
	}
	// A thread that has waited from one walk to the next is looked for at once again.
	g := newFakeGuest(slid)
	g.u32(g.put(3, "__state"), taskRunning)
	g.enqueue(5, 1)
	k := mustOpen(t, g)
	for range 3 * maxReuse {
		inspect(k)
	}
	if want := uint64(1 + 2*maxReuse); k.walks != want {
		t.Errorf("with a thread that waits: %d walks, want %d", k.walks, want)
	}
}

// TestStopThread: the thread of a CPU that goes before all others is told from other
// real-time threads.
func TestStopThread(t *testing.T) {
	t.Parallel()
	g := newFakeGuest(slid)
	rq := percpu(1) + fakeSymbols["runqueues"]
	g.u64(rq+0x18, g.taskAt(4))
	g.u32(g.put(4, "prio"), 0)
	g.u32(g.put(4, "policy"), 1)
	for _, tt := range []struct {
		stop    uint64
		without string
		want    string
	}{
		{g.taskAt(4), "", detect.PolicyStop},
		{g.taskAt(5), "", detect.PolicyFIFO},
		{g.taskAt(4), "rq.stop", detect.PolicyFIFO},
	} {
		g.u64(rq+0x30, tt.stop)
		var q detect.RunQueue
		if !mustOpen(t, g, tt.without).RunQueue(1, &q) || q.Policy != tt.want || q.Priority != 0 {
			t.Errorf("%+v, want policy %s", q, tt.want)
		}
	}
}
