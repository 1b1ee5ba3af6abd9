package detect

import (
	"fmt"
	"testing"
)

func TestTasks(t *testing.T) {
	stuck := func(w Waiting) func(g *guest, i int) {
		return after(func(g *guest, i int) { g.wait(w) })
	}
	mutex := Waiting{PID: 300, Comm: "ip", Switches: 7, Stack: []string{"__mutex_lock.constprop.0", "rtnl_newlink"}, Lock: "rtnl_mutex", Owner: "kworker/0:1 (17)"}
	disk := Waiting{PID: 400, Comm: "dd", Switches: 9, Stack: []string{"io_schedule", "folio_wait_bit_common"}, IOWait: true}
	// A thread that does direct I/O and whose wait is cut in pieces of half a second.
	woken := func(change func(g *guest, w *Waiting, i int)) func(g *guest, i int) {
		return after(func(g *guest, i int) {
			w := Waiting{PID: 402, Comm: "mkfs", Switches: uint64(i / 5), Stack: []string{"io_schedule_timeout", "submit_bio_wait", "__blkdev_direct_IO_simple"}, IOWait: true}
			g.kernel.IOSectors = 4096
			if change != nil {
				change(g, &w, i)
			}
			g.wait(w)
		})
	}
	runScenes(t, []scene{
		{name: "mutex", each: stuck(mutex), want: want(75, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 1")},
		{name: "its owner is runnable", each: stuck(Waiting{PID: 300, Comm: "ip", Lock: "rtnl_mutex", Owner: "make (17)", OwnerRunnable: true}), n: 300},
		{name: "its owner is runnable now and then", each: after(func(g *guest, i int) {
			w := mutex
			w.OwnerRunnable = i%20 == 0
			g.wait(w)
		}), want: want(75, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 1")},
		{name: "lock known, stack not", each: stuck(Waiting{PID: 300, Comm: "ip", Lock: "rtnl_mutex"}), want: want(75, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 2500 ms: in uninterruptible sleep, waits for lock rtnl_mutex",
			"threads in uninterruptible sleep: 1")},
		{name: "no name, quiet disk", each: stuck(Waiting{PID: 300, Comm: "ip", Stack: []string{"schedule_preempt_disabled", "rwsem_down_read_slowpath"}}), want: want(75, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 2500 ms: in uninterruptible sleep in rwsem_down_read_slowpath",
			"threads in uninterruptible sleep: 1")},
		{name: "disk", each: stuck(disk), want: want(75, ClassIO, Partial, nil,
			"thread dd (400) has not run for 2500 ms: in uninterruptible sleep in io_schedule",
			"threads in uninterruptible sleep: 1")},
		{name: "disk by its flag alone", each: stuck(Waiting{PID: 300, Comm: "dd", IOWait: true}), want: want(75, ClassIO, Partial, nil,
			"thread dd (300) has not run for 2500 ms: in uninterruptible sleep in in_iowait",
			"threads in uninterruptible sleep: 1")},
		{name: "a lock behind the disk", each: after(func(g *guest, i int) {
			g.wait(mutex)
			if i >= 60 {
				g.wait(disk)
			}
		}), want: want(85, ClassIO, Partial, nil,
			"thread dd (400) has not run for 2500 ms: in uninterruptible sleep in io_schedule",
			"behind it: thread ip (300) has not run for 3500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, waits for lock rtnl_mutex held by kworker/0:1 (17)",
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
			"thread dd (400) has not run for 30000 ms: in uninterruptible sleep in io_schedule; judged by its length alone",
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
		{name: "woken to look whether its I/O is over", each: woken(nil), want: want(75, ClassIO, Partial, nil,
			"thread mkfs (402) has done nothing for 2500 ms but check 5 times whether its I/O is over: in uninterruptible sleep in io_schedule_timeout",
			"threads in uninterruptible sleep: 1")},
		{name: "the same, and something is read every two seconds", each: woken(func(g *guest, w *Waiting, i int) { g.kernel.IOSectors += uint64(i/20) * 8 }), n: 500},
		{name: "flushes one after the other", each: woken(func(g *guest, w *Waiting, i int) {
			w.Stack = []string{"io_schedule_timeout", "submit_bio_wait", "blkdev_issue_flush", "blkdev_fsync"}
		}), n: 500},
		{name: "waits where nothing wakes it", each: woken(func(g *guest, w *Waiting, i int) { w.Stack = []string{"io_schedule", "folio_wait_bit_common"} }), n: 500},
		{name: "wakes too often", each: woken(func(g *guest, w *Waiting, i int) { w.Switches *= 2 }), n: 500},
		{name: "the count of I/O is not readable", each: woken(func(g *guest, w *Waiting, i int) { g.kernel.IOSectors = 0 }), n: 500},
		{name: "msleep: only late", each: stuck(Waiting{PID: 300, Comm: "driver", Stack: []string{"msleep", "broken_probe"}}), n: 500,
			want: want(350, ClassBlocked, Partial, nil,
				"thread driver (300) has not run for 30000 ms: in uninterruptible sleep in msleep; judged by its length alone",
				"threads in uninterruptible sleep: 1")},
		{name: "looks once a second", each: func(g *guest, i int) {
			if i >= 50 {
				g.wait(mutex)
			}
			if i%10 != 0 {
				g.o.Kernel = nil
			}
		}, want: want(80, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 3000 ms: in uninterruptible sleep in __mutex_lock.constprop.0, waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 1")},
		{name: "looks that leave it out now and then", each: after(func(g *guest, i int) {
			if i%3 != 0 {
				g.wait(mutex)
			}
			g.kernel.WaitingTotal = 90
		}), want: want(76, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 2600 ms: in uninterruptible sleep in __mutex_lock.constprop.0, waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 90")},
		{name: "unreadable now and then", each: after(func(g *guest, i int) {
			if g.wait(mutex); i%3 == 0 {
				g.kernel.Waiting, g.kernel.WaitingTotal, g.kernel.Walked = nil, 0, 0
				g.kernel.Unreadable = []string{"init_task: page not present"}
			} else {
				g.kernel.Walked = 60
			}
		}), want: want(76, ClassBlocked, Partial, nil,
			"thread ip (300) has not run for 2600 ms: in uninterruptible sleep in __mutex_lock.constprop.0, waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 1")},
		{name: "a hundred at once", each: after(func(g *guest, i int) {
			for j := range 100 {
				w := mutex
				w.PID += int32((i + j) % 100)
				g.wait(w)
			}
		}), want: want(75, ClassBlocked, Partial, nil,
			"thread ip (375) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"thread ip (376) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"thread ip (377) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"thread ip (378) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"thread ip (379) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"thread ip (380) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"thread ip (381) has not run for 2500 ms: in uninterruptible sleep in __mutex_lock.constprop.0, waits for lock rtnl_mutex held by kworker/0:1 (17)",
			"threads in uninterruptible sleep: 100")},
	})
	for _, tc := range []struct {
		w      Waiting
		kind   Class
		benign bool
	}{
		{Waiting{Stack: []string{"bit_wait_io", "out_of_line_wait_on_bit_lock"}}, ClassIO, false},
		{Waiting{Stack: []string{"rwsem_down_write_slowpath", "submit_bio_wait"}}, ClassBlocked, false},
		{Waiting{Stack: []string{"percpu_rwsem_wait.part.0"}}, ClassBlocked, false},
		{Waiting{Stack: []string{"__down_common"}}, ClassBlocked, false},
		{Waiting{Stack: []string{"msleep"}}, "", false},
		{Waiting{}, "", false},
		{Waiting{Stack: []string{"kthread"}}, "", true},
		{Waiting{Stack: []string{"kthread", "msleep"}}, "", false},
		{Waiting{Stack: []string{"wait_for_vfork_done"}, IOWait: true}, "", true},
	} {
		if kind, _, benign := reasonOf(&tc.w); kind != tc.kind || benign != tc.benign {
			t.Errorf("%+v: %q, benign %v, want %q, %v", tc.w, kind, benign, tc.kind, tc.benign)
		}
	}
	for owner, want := range map[string]int32{"kworker/0:1 (17)": 17, "a (b) (3)": 3, "(999999999)": 999999999, "": -1, "x ()": -1, "x (1": -1, "x (1a)": -1, "x (9999999999)": -1, "x (-1)": -1} {
		if pid, ok := ownerPID(owner); ok != (want >= 0) || ok && pid != want {
			t.Errorf("owner %q: %d, %v, want %d", owner, pid, ok, want)
		}
	}
}

func (g *guest) wait(w Waiting) {
	g.kernel.Waiting = append(g.kernel.Waiting, w)
	g.kernel.WaitingTotal++
}
