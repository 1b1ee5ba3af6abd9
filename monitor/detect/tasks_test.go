package detect

import (
	"fmt"
	"testing"
	"time"
)

func TestTasks(t *testing.T) {
	t.Parallel()
	stuck := func(w Waiting) func(g *guest, i int) {
		return after(func(g *guest, i int) { g.wait(w) })
	}
	mutex := Waiting{PID: 300, Comm: "ip", Switches: 7, Stack: []string{"__mutex_lock.constprop.0", "rtnl_newlink"},
		Lock: "rtnl_mutex", Owner: "kworker/0:1 (17)"}
	disk := Waiting{PID: 400, Comm: "dd", Switches: 9,
		Stack: []string{"io_schedule", "folio_wait_bit_common"}, IOWait: true}
	nameless := Waiting{PID: 301, Comm: "mv", Stack: []string{"rwsem_down_read_slowpath"}}
	even := func(t *Thresholds) { t.IO, t.Blocked = 2600*time.Millisecond, 2600*time.Millisecond }
	// A thread that does direct I/O and whose wait is cut in pieces of half a second.
	woken := func(change func(g *guest, w *Waiting, i int)) func(g *guest, i int) {
		return after(func(g *guest, i int) {
			w := Waiting{PID: 402, Comm: "mkfs", Switches: uint64(i / 5),
				Stack: []string{"io_schedule_timeout", "submit_bio_wait", "__blkdev_direct_IO_simple"}, IOWait: true}
			g.kernel.IOSectors = 4096
			if change != nil {
				change(g, &w, i)
			}
			g.wait(w)
		})
	}
	early := func(w Waiting) func(g *guest, i int) {
		return func(g *guest, i int) {
			if i == 0 {
				g.skip(-1_000_000)
			} else if i >= 50 {
				g.wait(w)
			}
		}
	}
	runScenes(t, []scene{
		{name: "mutex", each: stuck(mutex), want: want(75, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 1")},
		{name: "its owner is runnable",
			each: stuck(Waiting{PID: 300, Comm: "ip", Lock: "rtnl_mutex", Owner: "make (17)", OwnerRunnable: true}), n: 300},
		{name: "its owner is runnable now and then", each: after(func(g *guest, i int) {
			w := mutex
			w.OwnerRunnable = i%20 == 0
			g.wait(w)
		}), want: want(75, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 1")},
		{name: "lock known, stack not",
			each: stuck(Waiting{PID: 300, Comm: "ip", Lock: "rtnl_mutex"}), want: want(75, ClassBlocked, Partial, nil,
				"thread ip (300) has not run for 2500 ms: in uninterruptible sleep, waits for lock rtnl_mutex",
				"threads in uninterruptible sleep: 1")},
		{name: "no name, quiet disk",
			each: stuck(Waiting{PID: 300, Comm: "ip", Stack: []string{"schedule_preempt_disabled", "rwsem_down_read_slowpath"}}),
			want: want(75, ClassBlocked, Partial, nil,
				"thread ip (300) has not run for 2500 ms: in uninterruptible sleep in rwsem_down_read_slowpath",
				"threads in uninterruptible sleep: 1")},
		{name: "disk", each: stuck(disk), want: want(75, ClassIO, Partial, nil,
			"thread dd (400) has not run for 2500 ms: in uninterruptible sleep in io_schedule",
			"threads in uninterruptible sleep: 1")},
		{name: "disk by its flag alone",
			each: stuck(Waiting{PID: 300, Comm: "dd", IOWait: true}), want: want(75, ClassIO, Partial, nil,
				"thread dd (300) has not run for 2500 ms: in uninterruptible sleep in in_iowait",
				"threads in uninterruptible sleep: 1")},
		{name: "a lock behind the disk", each: after(func(g *guest, i int) {
			g.wait(mutex)
			if i >= 60 {
				g.wait(disk)
			}
		}), want: want(85, ClassIO, Partial, nil,
			"thread dd (400) has not run for 2500 ms: in uninterruptible sleep in io_schedule",
			"behind it: thread ip (300) has not run for 3500 ms: in uninterruptible sleep in "+
				"__mutex_lock.constprop.0, waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 2")},
		{name: "moves every 2.4 s", each: after(func(g *guest, i int) {
			w := mutex
			w.Switches = uint64(i / 24)
			g.wait(w)
		}), n: 1000},
		{name: "another thread of that number", each: after(func(g *guest, i int) {
			w := mutex
			w.Comm = fmt.Sprint("ip", i/24)
			g.wait(w)
		}), n: 1000},
		{name: "the disk goes on for others: only late", each: after(func(g *guest, i int) {
			g.wait(disk)
			g.wait(Waiting{PID: 401, Comm: "cp", Switches: uint64(i), Stack: []string{"io_schedule"}})
		}), n: 500, want: want(350, ClassIO, Partial, nil,
			"thread dd (400) has not run for 30000 ms: in uninterruptible sleep in io_schedule; judged by "+
				"its length alone",
			"threads in uninterruptible sleep: 2")},
		{name: "the same, and memory is never readable", each: after(func(g *guest, i int) {
			g.wait(disk)
			if i%2 == 0 {
				g.wait(Waiting{PID: 401, Comm: "cp", Switches: 5, Stack: []string{"io_schedule"}})
			}
			g.kernel.Unreadable = []string{"counters of OOM kills: absent"}
		}), n: 300},
		{name: "walks that end early prove no end of a wait", each: after(func(g *guest, i int) {
			g.wait(disk)
			if i%2 == 0 {
				g.wait(Waiting{PID: 401, Comm: "cp", Switches: 5, Stack: []string{"io_schedule"}})
			} else {
				g.kernel.Walked = 20
			}
		}), want: want(75, ClassIO, Partial, nil,
			"thread dd (400) has not run for 2500 ms: in uninterruptible sleep in io_schedule",
			"threads in uninterruptible sleep: 1")},
		{name: "woken to check whether its I/O is over", each: woken(nil), want: want(75, ClassIO, Partial, nil,
			"thread mkfs (402) has done nothing for 2500 ms but check 5 times whether its I/O is over: in "+
				"uninterruptible sleep in io_schedule_timeout",
			"threads in uninterruptible sleep: 1")},
		{name: "the same, and something is read every two seconds",
			each: woken(func(g *guest, w *Waiting, i int) { g.kernel.IOSectors += uint64(i/20) * 8 }), n: 500},
		{name: "flushes one after the other", each: woken(func(g *guest, w *Waiting, i int) {
			w.Stack = []string{"io_schedule_timeout", "submit_bio_wait", "blkdev_issue_flush", "blkdev_fsync"}
		}), n: 500},
		{name: "waits where nothing wakes it",
			each: woken(func(g *guest, w *Waiting, i int) {
				w.Stack = []string{"io_schedule", "folio_wait_bit_common"}
			}), n: 500},
		{name: "wakes too often", each: woken(func(g *guest, w *Waiting, i int) { w.Switches *= 2 }), n: 500},
		{name: "the count of I/O is not readable",
			each: woken(func(g *guest, w *Waiting, i int) { g.kernel.IOSectors = 0 }), n: 500},
		{name: "msleep: only late",
			each: stuck(Waiting{PID: 300, Comm: "driver", Stack: []string{"msleep", "broken_probe"}}), n: 500,
			want: want(350, ClassBlocked, Partial, nil,
				"thread driver (300) has not run for 30000 ms: in uninterruptible sleep in msleep; judged by "+
					"its length alone",
				"threads in uninterruptible sleep: 1")},
		{name: "looks once a second", each: func(g *guest, i int) {
			if i >= 50 {
				g.wait(mutex)
			}
			if i%10 != 0 {
				g.o.Kernel = nil
			}
		}, want: want(80, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 3000 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 1")},
		{name: "looks that leave it out now and then", each: after(func(g *guest, i int) {
			if i%3 != 0 {
				g.wait(mutex)
			}
			g.kernel.WaitingTotal = 90
		}), want: want(76, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 2600 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 90")},
		{name: "unreadable now and then", each: after(func(g *guest, i int) {
			if g.wait(mutex); i%3 == 0 {
				g.kernel.Waiting, g.kernel.WaitingTotal, g.kernel.Walked = nil, 0, 0
				g.kernel.Unreadable = []string{"init_task: page not present"}
			} else {
				g.kernel.Walked = 60
			}
		}), want: want(76, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 2600 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 1")},
		{name: "the walk of the task list met nobody", each: after(func(g *guest, i int) {
			g.wait(mutex)
			g.kernel.Walked = 0
		}), want: want(75, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 1")},
		{name: "its stack is known only at the third sample, then never again", each: after(func(g *guest, i int) {
			w := mutex
			if w.Lock, w.Owner = "", ""; i != 52 {
				w.Stack = nil
			}
			g.wait(w)
		}), want: want(75, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0",
			"threads in uninterruptible sleep: 1")},
		{name: "lock and owner are known only at the third sample", each: after(func(g *guest, i int) {
			w := mutex
			if i != 52 {
				w.Lock, w.Owner = "", ""
			}
			g.wait(w)
		}), want: want(75, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 1")},
		{name: "a lock without a name, and I/O that began 500 ms ago", each: after(func(g *guest, i int) {
			if g.wait(nameless); i >= 70 {
				g.wait(disk)
			}
		}), want: want(95, ClassIO, Partial, nil,
			"thread dd (400) has not run for 2500 ms: in uninterruptible sleep in io_schedule",
			"behind it: thread mv (301) has not run for 4500 ms: in uninterruptible sleep in rwsem_down_read_slowpath",
			"threads in uninterruptible sleep: 2")},
		{name: "a lock without a name, and I/O that ended 1.4 s ago", each: after(func(g *guest, i int) {
			if g.wait(nameless); i == 60 {
				g.wait(disk)
			}
		}), want: want(86, ClassBlocked, Partial, nil,
			"thread mv (301) has not run for 3600 ms: in uninterruptible sleep in rwsem_down_read_slowpath",
			"threads in uninterruptible sleep: 1")},
		{name: "a lock with a name, and I/O that ended just now", each: after(func(g *guest, i int) {
			if g.wait(mutex); i%2 == 0 {
				g.wait(disk)
			}
		}), want: want(75, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 1")},
		{name: "waits for a lock below I/O, and runs", n: 500, each: woken(func(g *guest, w *Waiting, i int) {
			w.Stack = []string{"__mutex_lock", "submit_bio_wait"}
		})},
		{name: "waits where nothing wakes it, then where it is woken", each: woken(func(g *guest, w *Waiting, i int) {
			if i == 50 {
				w.Stack = []string{"folio_wait_bit_common"}
			}
		}), want: want(80, ClassIO, Partial, nil,
			"thread mkfs (402) has done nothing for 2500 ms but check 5 times whether its I/O is over: in "+
				"uninterruptible sleep in io_schedule_timeout",
			"threads in uninterruptible sleep: 1")},
		{name: "woken, and then elsewhere", n: 500, each: woken(func(g *guest, w *Waiting, i int) {
			if i%10 == 5 {
				w.Stack = []string{"folio_wait_bit_common"}
			}
		})},
		{name: "woken while no sample shows it", n: 500, each: after(func(g *guest, i int) {
			g.kernel.IOSectors = 4096
			if i%5 != 4 {
				g.wait(Waiting{PID: 402, Comm: "mkfs", Switches: uint64(i / 5), Stack: []string{"submit_bio_wait"}})
			}
			g.kernel.WaitingTotal = 90
		})},
		{name: "sampled twice a second, woken three times in between", each: woken(func(g *guest, w *Waiting, i int) {
			if w.Switches = uint64(i / 5 * 3); i%5 != 0 {
				g.o.Kernel = nil
			}
		}), want: want(75, ClassIO, Partial, nil,
			"thread mkfs (402) has done nothing for 2500 ms but check 15 times whether its I/O is over: in "+
				"uninterruptible sleep in io_schedule_timeout",
			"threads in uninterruptible sleep: 1")},
		{name: "sampled twice a second, woken four times in between",
			n: 500, each: woken(func(g *guest, w *Waiting, i int) {
				if w.Switches = uint64(i / 5 * 4); i%5 != 0 {
					g.o.Kernel = nil
				}
			})},
		{name: "others get another lock", each: after(func(g *guest, i int) {
			g.wait(mutex)
			g.wait(Waiting{PID: 301, Comm: "ip", Switches: uint64(i), Lock: "other_lock"})
		}), want: want(75, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 2")},
		{name: "others get the lock until 60", each: after(func(g *guest, i int) {
			g.wait(mutex)
			g.wait(Waiting{PID: 301, Comm: "if", Switches: uint64(min(i, 60)), Lock: "rtnl_mutex"})
		}), want: want(85, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 3500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"thread if (301) has not run for 2500 ms: in uninterruptible sleep, waits for lock rtnl_mutex",
			"threads in uninterruptible sleep: 2")},
		{name: "not shown in eight incomplete samples", each: after(func(g *guest, i int) {
			if i < 60 || i >= 68 {
				g.wait(mutex)
			}
			g.kernel.WaitingTotal = 90
		}), want: want(75, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 90")},
		{name: "not shown in nine incomplete samples", each: after(func(g *guest, i int) {
			if i < 60 || i >= 69 {
				g.wait(mutex)
			}
			g.kernel.WaitingTotal = 90
		}), want: want(94, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 90")},
		{name: "not shown in every other of the incomplete samples", each: after(func(g *guest, i int) {
			if i%2 == 0 {
				g.wait(mutex)
			}
			g.kernel.WaitingTotal = 90
		}), want: want(76, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 2600 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 90")},
		{name: "I/O that is half of its threshold old explains the lock", set: even, each: after(func(g *guest, i int) {
			if g.wait(mutex); i >= 63 {
				g.wait(disk)
			}
		}), want: want(89, ClassIO, Partial, nil,
			"thread dd (400) has not run for 2600 ms: in uninterruptible sleep in io_schedule",
			"behind it: thread ip (300) has not run for 3900 ms: in uninterruptible sleep in "+
				"__mutex_lock.constprop.0, waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 2")},
		{name: "I/O that is younger does not", set: even, each: after(func(g *guest, i int) {
			if g.wait(mutex); i >= 64 {
				g.wait(disk)
			}
		}), want: want(76, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 2600 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 2")},
		{name: "old I/O explains the lock for five seconds only", n: 120, each: after(func(g *guest, i int) {
			g.wait(mutex)
			g.wait(disk)
			g.wait(Waiting{PID: 401, Comm: "cp", Switches: uint64(i), Stack: []string{"io_schedule"}})
		}), want: want(100, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 5000 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 3")},
		{name: "I/O for others ends until 60", each: after(func(g *guest, i int) {
			g.wait(disk)
			g.wait(Waiting{PID: 401, Comm: "cp", Switches: uint64(min(i, 60)), Stack: []string{"io_schedule"}})
		}), want: want(85, ClassIO, Partial, nil,
			"thread dd (400) has not run for 3500 ms: in uninterruptible sleep in io_schedule",
			"thread cp (401) has not run for 2500 ms: in uninterruptible sleep in io_schedule",
			"threads in uninterruptible sleep: 2")},
		{name: "its owner waits for I/O, which goes on for others: only late",
			n: 500, each: after(func(g *guest, i int) {
				w := mutex
				w.Owner = "dd (400)"
				g.wait(w)
				g.wait(disk)
				g.wait(Waiting{PID: 401, Comm: "cp", Switches: uint64(i), Stack: []string{"io_schedule"}})
			}), want: want(350, ClassIO, Partial, nil,
				"thread dd (400) has not run for 30000 ms: in uninterruptible sleep in io_schedule; judged by "+
					"its length alone",
				"behind it: thread ip (300) has not run for 30000 ms: in uninterruptible sleep in "+
					"__mutex_lock.constprop.0, waits for lock rtnl_mutex held by dd (400); judged by its length alone",
				"threads in uninterruptible sleep: 3")},
		{name: "its owner waits for a lock", each: after(func(g *guest, i int) {
			g.wait(mutex)
			g.wait(Waiting{PID: 17, Comm: "kworker/0:1", Lock: "other_lock", Owner: "gone (99)"})
		}), want: want(75, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"thread kworker/0:1 (17) has not run for 2500 ms: in uninterruptible sleep, waits for lock "+
				"other_lock held by gone (99)",
			"threads in uninterruptible sleep: 2")},
		{name: "sampled every 2.6 s: three samples", n: 150, each: after(func(g *guest, i int) {
			if g.wait(mutex); i%26 != 0 {
				g.o.Kernel = nil
			}
		}), want: want(104, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 5200 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 1")},
		{name: "eight at once", each: after(func(g *guest, i int) {
			for j := range 8 {
				g.wait(Waiting{PID: int32(300 + j), Comm: "ip", Lock: "a"})
			}
		}), want: want(75, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 2500 ms: in uninterruptible sleep, waits for lock a",
			"thread ip (301) has not run for 2500 ms: in uninterruptible sleep, waits for lock a",
			"thread ip (302) has not run for 2500 ms: in uninterruptible sleep, waits for lock a",
			"thread ip (303) has not run for 2500 ms: in uninterruptible sleep, waits for lock a",
			"thread ip (304) has not run for 2500 ms: in uninterruptible sleep, waits for lock a",
			"thread ip (305) has not run for 2500 ms: in uninterruptible sleep, waits for lock a",
			"thread ip (306) has not run for 2500 ms: in uninterruptible sleep, waits for lock a",
			"thread ip (307) has not run for 2500 ms: in uninterruptible sleep, waits for lock a",
			"threads in uninterruptible sleep: 8")},
		{name: "nine at once", each: after(func(g *guest, i int) {
			for j := range 9 {
				g.wait(Waiting{PID: int32(300 + j), Comm: "ip", Lock: "a"})
			}
		}), want: want(75, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 2500 ms: in uninterruptible sleep, waits for lock a",
			"thread ip (301) has not run for 2500 ms: in uninterruptible sleep, waits for lock a",
			"thread ip (302) has not run for 2500 ms: in uninterruptible sleep, waits for lock a",
			"thread ip (303) has not run for 2500 ms: in uninterruptible sleep, waits for lock a",
			"thread ip (304) has not run for 2500 ms: in uninterruptible sleep, waits for lock a",
			"thread ip (305) has not run for 2500 ms: in uninterruptible sleep, waits for lock a",
			"thread ip (306) has not run for 2500 ms: in uninterruptible sleep, waits for lock a",
			"thread ip (307) has not run for 2500 ms: in uninterruptible sleep, waits for lock a",
			"and 1 more",
			"threads in uninterruptible sleep: 9")},
		{name: "a lock that is old enough stands behind the disk", set: even, each: after(func(g *guest, i int) {
			if g.wait(disk); i >= 63 {
				g.wait(mutex)
			}
		}), want: want(76, ClassIO, Partial, nil,
			"thread dd (400) has not run for 2600 ms: in uninterruptible sleep in io_schedule",
			"behind it: thread ip (300) has not run for 1300 ms: in uninterruptible sleep in "+
				"__mutex_lock.constprop.0, waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 2")},
		{name: "a lock that is younger does not", set: even, each: after(func(g *guest, i int) {
			if g.wait(disk); i >= 64 {
				g.wait(mutex)
			}
		}), want: want(76, ClassIO, Partial, nil,
			"thread dd (400) has not run for 2600 ms: in uninterruptible sleep in io_schedule",
			"threads in uninterruptible sleep: 2")},
		{name: "a lock and the disk, both old",
			set: func(t *Thresholds) { t.Waiting = 3 * time.Second }, each: after(func(g *guest, i int) {
				g.wait(mutex)
				g.wait(Waiting{PID: 1, Comm: "x", Stack: []string{"msleep"}})
				g.wait(disk)
				g.wait(Waiting{PID: 401, Comm: "cp", Switches: uint64(i), Stack: []string{"io_schedule"}})
			}), want: want(80, ClassIO, Partial, nil,
				"thread dd (400) has not run for 3000 ms: in uninterruptible sleep in io_schedule; judged by its "+
					"length alone",
				"behind it: thread ip (300) has not run for 3000 ms: in uninterruptible sleep in "+
					"__mutex_lock.constprop.0, waits for lock rtnl_mutex held by kworker/0:1 (17); judged by its "+
					"length alone",
				"threads in uninterruptible sleep: 4")},
		{name: "the disk and a lock, both old", set: func(t *Thresholds) { t.Waiting = 3 * time.Second },
			each: after(func(g *guest, i int) {
				g.wait(disk)
				g.wait(mutex)
				g.wait(Waiting{PID: 401, Comm: "cp", Switches: uint64(i), Stack: []string{"io_schedule"}})
			}), want: want(80, ClassIO, Partial, nil,
				"thread dd (400) has not run for 3000 ms: in uninterruptible sleep in io_schedule; judged by "+
					"its length alone",
				"behind it: thread ip (300) has not run for 3000 ms: in uninterruptible sleep in "+
					"__mutex_lock.constprop.0, waits for lock rtnl_mutex held by kworker/0:1 (17); judged by its "+
					"length alone",
				"threads in uninterruptible sleep: 3")},
		{name: "mutex, on a clock that begins below 0", each: early(mutex), want: want(75, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 1")},
		{name: "no name, on a clock that begins below 0",
			each: early(nameless), want: want(75, ClassBlocked, Partial, nil,
				"thread mv (301) has not run for 2500 ms: in uninterruptible sleep in rwsem_down_read_slowpath",
				"threads in uninterruptible sleep: 1")},
		{name: "disk, on a clock that begins below 0", each: early(disk), want: want(75, ClassIO, Partial, nil,
			"thread dd (400) has not run for 2500 ms: in uninterruptible sleep in io_schedule",
			"threads in uninterruptible sleep: 1")},
		{name: "a hundred at once", each: after(func(g *guest, i int) {
			for j := range 100 {
				w := mutex
				w.PID += int32((i + j) % 100)
				g.wait(w)
			}
		}), want: want(75, ClassBlocked, Partial, nil,
			"thread ip (375) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"thread ip (376) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"thread ip (377) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"thread ip (378) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"thread ip (379) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"thread ip (380) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"thread ip (381) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, "+
				"waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 100")},
	})
	for _, tc := range []struct {
		w        Waiting
		kind     Class
		function string
		benign   bool
	}{
		{Waiting{Stack: []string{"bit_wait_io", "out_of_line_wait_on_bit_lock"}}, ClassIO, "bit_wait_io", false},
		{Waiting{Stack: []string{"rwsem_down_write_slowpath", "submit_bio_wait"}}, ClassBlocked,
			"rwsem_down_write_slowpath", false},
		{Waiting{Stack: []string{"percpu_rwsem_wait.part.0"}}, ClassBlocked, "percpu_rwsem_wait.part.0", false},
		{Waiting{Stack: []string{"__down_common"}}, ClassBlocked, "__down_common", false},
		{Waiting{Stack: []string{"msleep"}}, "", "msleep", false},
		{Waiting{}, "", "", false},
		{Waiting{Stack: []string{"kthread"}}, "", "kthread", true},
		{Waiting{Stack: []string{"kthread", "msleep"}}, "", "kthread", false},
		{Waiting{Stack: []string{"wait_for_vfork_done"}, IOWait: true}, "", "wait_for_vfork_done", true},
		{Waiting{Stack: []string{"io_schedule"}, Lock: "a"}, ClassBlocked, "", false},
		{Waiting{IOWait: true, Lock: "a"}, ClassBlocked, "", false},
		{Waiting{Stack: []string{"f"}, IOWait: true}, ClassIO, "in_iowait", false},
		{Waiting{Stack: []string{"kthread", "ret_from_fork_asm"}}, "", "kthread", true},
	} {
		if kind, function, benign := reasonOf(&tc.w); kind != tc.kind || function != tc.function || benign != tc.benign {
			t.Errorf("%+v: %q, %q, benign %v, want %q, %q, %v", tc.w, kind, function, benign, tc.kind, tc.function, tc.benign)
		}
	}
	for owner, want := range map[string]int32{
		"kworker/0:1 (17)": 17, "a (b) (3)": 3, "(999999999)": 999999999, "": -1, "x ()": -1, "x (1": -1,
		"x (1a)": -1, "x (9999999999)": -1, "x (-1)": -1, "x (10)": 10, "x (12": -1, "17)": -1, "x (0)": 0,
		"x (1:)": -1, "x (1/)": -1,
	} {
		if pid, ok := ownerPID(owner); ok != (want >= 0) || ok && pid != want {
			t.Errorf("owner %q: %d, %v, want %d", owner, pid, ok, want)
		}
	}
}

func (g *guest) wait(w Waiting) {
	g.kernel.Waiting = append(g.kernel.Waiting, w)
	g.kernel.WaitingTotal++
}

// TestComplete: which inspections show every waiting thread.
func TestComplete(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		k      Kernel
		listed int
		want   bool
	}{
		{"all", Kernel{Threads: 80, Walked: 80}, 0, true},
		{"all that wait", Kernel{Threads: 80, Walked: 80, WaitingTotal: 3}, 3, true},
		{"one is not listed", Kernel{Threads: 80, Walked: 80, WaitingTotal: 4}, 3, false},
		{"as many as can be listed", Kernel{Threads: 80, Walked: 80}, MaxWaiting, true},
		{"more than can be listed", Kernel{Threads: 80, Walked: 80}, MaxWaiting + 1, false},
		{"some have gone", Kernel{Threads: 80, Walked: 94}, 0, true},
		{"too many have gone", Kernel{Threads: 80, Walked: 95}, 0, false},
		{"some have come", Kernel{Threads: 80, Walked: 66}, 0, true},
		{"too many have come", Kernel{Threads: 80, Walked: 65}, 0, false},
		{"something else is unreadable", Kernel{Threads: 80, Walked: 80, Unreadable: []string{"x"}}, 0, true},
		{"the number is unknown", Kernel{Walked: 80}, 0, true},
		{"the number is unreadable", Kernel{Walked: 80, Unreadable: []string{"x"}}, 0, false},
	} {
		tc.k.Waiting = make([]Waiting, tc.listed)
		if got := complete(&tc.k); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}
