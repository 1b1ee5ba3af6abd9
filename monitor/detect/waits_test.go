package detect

import (
	"slices"
	"strings"
	"testing"
)

// TestWaits: what a thread waits for besides locks, and what shows that it goes on.
func TestWaits(t *testing.T) {
	t.Parallel()
	stat := Waiting{PID: 500, Comm: "stat", Killable: true, Stack: []string{"request_wait_answer", "fuse_simple_request"},
		Owner: "sshfs (311)", OwnerState: OwnerStopped}
	vfork := Waiting{PID: 501, Comm: "make", Killable: true, Stack: []string{"__wait_for_common", "kernel_clone"}}
	sync := Waiting{PID: 502, Comm: "umount",
		Stack: []string{"__wait_for_common", "__wait_rcu_gp", "synchronize_rcu_normal", "percpu_down_write"}}
	write := Waiting{PID: 503, Comm: "cp", Stack: []string{"percpu_rwsem_wait", "__percpu_down_read", "vfs_write"},
		Frozen: "ext4 on xvda"}
	behind := Waiting{PID: 504, Comm: "ls", Stack: []string{"rwsem_down_read_slowpath"}, Owner: "cp (503)"}
	of := Waiting{PID: 505, Comm: "dd", IOWait: true, Disk: "xvda",
		Stack: []string{"__wait_for_common", "submit_bio_wait"}}
	stuck := func(all ...Waiting) func(g *guest, i int) {
		return after(func(g *guest, i int) {
			for _, w := range all {
				g.wait(w)
			}
		})
	}
	// Grace periods begin and end until the thread waits; then RCU's thread is in a state.
	grace := func(change func(k *Grace, i int)) func(g *guest, i int) {
		return func(g *guest, i int) {
			g.kernel.Grace = nil
			if i < 50 && i%10 != 0 {
				return
			}
			k := Grace{Seq: uint64(4 * min(i, 50)), Expedited: 4, AgeNS: 7e9, Thread: "rcu_sched (15)", ThreadState: OwnerSleeps,
				ThreadSwitches: 90, Asked: true}
			w := sync
			if w.Switches = uint64(i); i >= 50 {
				w.Switches = 50
				change(&k, i)
			}
			g.kernel.Grace = &k
			g.wait(w)
		}
	}
	// A thread reads from a disk, one request after the other, the next done at once. From
	// observation 50 on done says how many of its requests are over.
	disk := func(w Waiting, done func(i int) (requests int)) func(g *guest, i int) {
		return func(g *guest, i int) {
			n := i
			if i >= 50 {
				n = 50 + done(i-50)
			}
			w.Switches = uint64(n)
			g.wait(w)
			g.kernel.Disks = []Disk{{"xvda", 1000 + uint64(n)}, {"xvdb", 7}}
		}
	}
	anonymous := of
	anonymous.Disk = ""
	const stalled = "thread dd (505) has not run for 5000 ms: in uninterruptible sleep in submit_bio_wait"
	runScenes(t, []scene{
		{name: "a stopped server", each: stuck(stat), n: 300, want: want(150, ClassBlocked, Partial, nil,
			"thread stat (500) has not run for 10000 ms: in uninterruptible sleep in request_wait_answer, waits for the "+
				"answer of sshfs (311), which is stopped (state T)",
			"threads in uninterruptible sleep: 1")},
		{name: "a server that sleeps", n: 500, each: stuck(func() Waiting {
			w := stat
			w.OwnerState, w.OwnerIn = OwnerSleeps, "do_poll"
			return w
		}()), want: want(350, ClassBlocked, Partial, nil,
			"thread stat (500) has not run for 30000 ms: in uninterruptible sleep in request_wait_answer, waits for the "+
				"answer of sshfs (311), which sleeps in do_poll",
			"threads in uninterruptible sleep: 1")},
		{name: "a server that nobody knows", n: 500, each: stuck(func() Waiting {
			w := stat
			w.Owner, w.OwnerState = "", ""
			return w
		}()), want: want(350, ClassBlocked, Partial, nil,
			"thread stat (500) has not run for 30000 ms: in uninterruptible sleep in request_wait_answer, waits for a "+
				"server that does not answer",
			"threads in uninterruptible sleep: 1")},
		{name: "a page of a file of a stopped server", n: 300, each: stuck(func() Waiting {
			w := stat
			w.IOWait, w.Stack = true, []string{"folio_wait_bit_common", "filemap_read", "fuse_file_read_iter"}
			return w
		}()), want: want(150, ClassBlocked, Partial, nil,
			"thread stat (500) has not run for 10000 ms: in uninterruptible sleep in fuse_file_read_iter, waits for the "+
				"answer of sshfs (311), which is stopped (state T)",
			"threads in uninterruptible sleep: 1")},
		{name: "a server that is stopped for eight seconds at a time", n: 3000, each: after(func(g *guest, i int) {
			w := stat
			if w.Switches = uint64(i / 90); i%90 >= 80 {
				w.OwnerState = OwnerRuns
			}
			g.wait(w)
		})},
		{name: "a server that answers others", n: 600, each: after(func(g *guest, i int) {
			w, other := stat, stat
			w.OwnerState, other.OwnerState = OwnerSleeps, OwnerSleeps
			other.PID, other.Switches = 600, uint64(i/50)
			g.wait(w)
			g.wait(other)
		})},
		{name: "another server answers", n: 300, each: after(func(g *guest, i int) {
			other := stat
			other.PID, other.Switches, other.Owner = 600, uint64(i/20), "mergerfs (9)"
			g.wait(stat)
			g.wait(other)
		}), want: want(150, ClassBlocked, Partial, nil,
			"thread stat (500) has not run for 10000 ms: in uninterruptible sleep in request_wait_answer, waits for the "+
				"answer of sshfs (311), which is stopped (state T)",
			"threads in uninterruptible sleep: 2")},
		{name: "a lock whose owner waits for a server", n: 200, each: stuck(stat, func() Waiting {
			w := behind
			w.Owner = "stat (500)"
			return w
		}()), want: want(150, ClassBlocked, Partial, nil,
			"thread stat (500) has not run for 10000 ms: in uninterruptible sleep in request_wait_answer, waits for the "+
				"answer of sshfs (311), which is stopped (state T)",
			"threads in uninterruptible sleep: 2")},

		{name: "vfork's parent", each: stuck(vfork), n: 3000},
		{name: "killable, and waits for I/O while other waits end", n: 1000, each: after(func(g *guest, i int) {
			w := Waiting{PID: 400, Comm: "dd", Killable: true, Stack: []string{"io_schedule"}}
			g.wait(w)
			w.PID, w.Switches = 401, uint64(i)
			g.wait(w)
		})},
		{name: "killable, and a lock that nobody gets", each: stuck(Waiting{PID: 300, Comm: "ps", Killable: true,
			Stack: []string{"down_read_killable"}, Lock: "rw_semaphore at 0x1", Owner: "java (30)", OwnerState: OwnerSleeps,
			OwnerIn: "do_nanosleep"}), want: want(75, ClassBlocked, Partial, nil,
			"thread ps (300) has not run for 2500 ms: in uninterruptible sleep in down_read_killable, waits for lock "+
				"rw_semaphore at 0x1 held by java (30), which sleeps in do_nanosleep",
			"threads in uninterruptible sleep: 1")},
		{name: "frozen with the guest", n: 1000, each: stuck(Waiting{PID: 300, Comm: "sh",
			Stack: []string{"__refrigerator", "get_signal"}})},

		{name: "nobody wakes RCU's thread", each: grace(func(*Grace, int) {}), want: want(75, ClassBlocked, Partial, nil,
			"thread umount (502) has not run for 2500 ms: in uninterruptible sleep in __wait_rcu_gp, waits for a grace "+
				"period of RCU",
			"RCU: no grace period has begun or ended for 2500 ms, the last one began 7000 ms ago, the next one is asked for, "+
				"its thread rcu_sched (15) sleeps and has not run for 2500 ms",
			"threads in uninterruptible sleep: 1")},
		{name: "RCU's thread is woken and nothing comes of it", n: 300, each: grace(func(k *Grace, i int) {
			k.Seq, k.ThreadSwitches = 201, uint64(i)
		}), want: want(150, ClassBlocked, Partial, nil,
			"thread umount (502) has not run for 10000 ms: in uninterruptible sleep in __wait_rcu_gp, waits for a grace "+
				"period of RCU",
			"RCU: no grace period has begun or ended for 10000 ms, the one under way began 7000 ms ago, the next one is "+
				"asked for, its thread rcu_sched (15) sleeps and has not run for 0 ms",
			"threads in uninterruptible sleep: 1")},
		{name: "a grace period that is under way and ends after nine seconds", n: 2000, each: func(g *guest, i int) {
			w := sync
			w.Switches = uint64(i / 90)
			g.wait(w)
			g.kernel.Grace = &Grace{Seq: uint64(4*(i/90) + 1), Thread: "rcu_sched (15)", ThreadState: OwnerSleeps,
				ThreadSwitches: uint64(i)}
		}},
		{name: "RCU's thread waits for a CPU", n: 290, each: grace(func(k *Grace, _ int) { k.ThreadState = OwnerRuns })},
		{name: "RCU is not readable", n: 300, each: stuck(sync), want: want(150, ClassBlocked, Partial, nil,
			"thread umount (502) has not run for 10000 ms: in uninterruptible sleep in __wait_rcu_gp, waits for a grace "+
				"period of RCU",
			"threads in uninterruptible sleep: 1")},
		{name: "a grace period of tasks", n: 250, each: stuck(Waiting{PID: 300, Comm: "bpftool",
			Stack: []string{"__wait_rcu_gp", "synchronize_rcu_tasks_generic"}})},

		{name: "a frozen file system", each: stuck(write, behind), n: 900},
		{name: "a file system that nobody thaws", each: stuck(write), n: 1300, want: want(1250, ClassBlocked, Partial, nil,
			"thread cp (503) has not run for 120000 ms: in uninterruptible sleep in percpu_rwsem_wait, waits for the file "+
				"system ext4 on xvda, which is frozen",
			"threads in uninterruptible sleep: 1")},
		{name: "the same lock of a file system that is not frozen", each: stuck(func() Waiting {
			w := write
			w.Frozen = ""
			return w
		}()), want: want(75, ClassBlocked, Partial, nil,
			"thread cp (503) has not run for 2500 ms: in uninterruptible sleep in percpu_rwsem_wait",
			"threads in uninterruptible sleep: 1")},

		{name: "a disk that takes four seconds for each request",
			each: disk(of, func(i int) int { return i / 40 }), n: 3000},
		{name: "the same, and a lock without a name behind it", n: 3000, each: func(g *guest, i int) {
			disk(of, func(i int) int { return i / 40 })(g, i)
			g.wait(Waiting{PID: 301, Comm: "mv", Switches: uint64(i / 120), Stack: []string{"rwsem_down_write_slowpath"}})
		}},
		{name: "a disk that was fast and is stuck", each: disk(of, func(int) int { return 0 }), n: 200,
			want: want(100, ClassIO, Partial, nil, stalled+", waits for disk xvda",
				"disk xvda has completed nothing for 5000 ms, and 1050 requests since boot",
				"threads in uninterruptible sleep: 1")},
		{name: "some disk, and all are stuck", each: disk(anonymous, func(int) int { return 0 }), n: 200,
			want: want(100, ClassIO, Partial, nil, stalled,
				"disk xvda has completed nothing for 5000 ms, and 1050 requests since boot",
				"disk xvdb has completed nothing for 9900 ms, and 7 requests since boot",
				"threads in uninterruptible sleep: 1")},
		{name: "six seconds for each request until 250, then stuck", n: 600, set: func(t *Thresholds) { t.IO = 4e9 },
			each: disk(of, func(i int) int { return min(i/60, 4) }), want: want(410, ClassIO, Partial, nil,
				"thread dd (505) has not run for 12000 ms: in uninterruptible sleep in submit_bio_wait, waits for disk xvda",
				"disk xvda has completed nothing for 12000 ms, and 1054 requests since boot",
				"threads in uninterruptible sleep: 1")},
		{name: "the thread waits, and its disk completes others' requests: only late", n: 500,
			each: after(func(g *guest, i int) {
				g.wait(of)
				g.kernel.Disks = []Disk{{"xvda", uint64(1000 + i/40)}}
			}), want: want(350, ClassIO, Partial, nil,
				"thread dd (505) has not run for 30000 ms: in uninterruptible sleep in submit_bio_wait, waits for disk xvda; "+
					"judged by its length alone",
				"disk xvda has completed nothing for 3000 ms, and 1008 requests since boot",
				"threads in uninterruptible sleep: 1")},
		{name: "statistics are off, and other waits end", n: 300, each: after(func(g *guest, i int) {
			w := of
			w.PID, w.Switches = 600, uint64(i/20)
			g.wait(of)
			g.wait(w)
			g.kernel.Disks = []Disk{{"xvda", 1000}}
		})},
		{name: "another disk has been idle for long before it completes something", n: 700, each: func(g *guest, i int) {
			disk(of, func(i int) int { return min(i, 400) })(g, i)
			if i >= 350 {
				g.kernel.Disks[1].Completed = 8
			}
		}, want: want(500, ClassIO, Partial, nil, stalled+", waits for disk xvda",
			"disk xvda has completed nothing for 5000 ms, and 1450 requests since boot",
			"threads in uninterruptible sleep: 1")},
	})
}

// TestFrozenNote: a guest with a frozen file system is not called hung, and the notes say
// why.
func TestFrozenNote(t *testing.T) {
	t.Parallel()
	g, d := newGuest(1), NewDetector(DefaultThresholds())
	for range 90 {
		o := g.next()
		g.wait(Waiting{PID: 503, Comm: "cp", Stack: []string{"percpu_rwsem_wait"}, Frozen: "ext4 on xvda"})
		if v, hung := d.Observe(o); hung {
			t.Fatalf("%+v", v)
		}
	}
	want := "blocked: the file system ext4 on xvda is frozen; thread cp (503) has waited for it for 8800 ms"
	if notes := d.Undecided(); !slices.Contains(notes, want) {
		t.Errorf("%s\nlack %s", strings.Join(notes, "\n"), want)
	}
}

// TestOwnersInACircle: threads that wait for each other are found, and following them ends.
func TestOwnersInACircle(t *testing.T) {
	t.Parallel()
	lock := func(pid int32, name, owner string) Waiting {
		return Waiting{PID: pid, Comm: name, Lock: "lock_" + name, Owner: owner}
	}
	runScenes(t, []scene{{name: "a circle", each: after(func(g *guest, i int) {
		g.wait(lock(300, "a", "b (301)"))
		g.wait(lock(301, "b", "a (300)"))
	}), want: want(75, ClassBlocked, Partial, nil,
		"thread a (300) has not run for 2500 ms: in uninterruptible sleep, waits for lock lock_a held by b (301)",
		"thread b (301) has not run for 2500 ms: in uninterruptible sleep, waits for lock lock_b held by a (300)",
		"threads in uninterruptible sleep: 2")}})
}
