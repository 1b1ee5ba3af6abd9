package linux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"hangbench/monitor"
	"hangbench/monitor/detect"
	"hangbench/monitor/driver"
	"hangbench/results/printable"
)

var _ interface {
	monitor.Kernel
	monitor.Symbols
} = (*Kernel)(nil)

const slid = 0x1a600000

func TestOpen(t *testing.T) {
	for _, slide := range []uint64{0, 2 << 20, slid} {
		g := newFakeGuest(slide)
		k := mustOpen(t, g)
		if k.Slide() != slide {
			t.Errorf("slide %#x, want %#x", k.Slide(), slide)
		}
		if k.space.root != phys(fakeSymbols["init_top_pgt"]) {
			t.Errorf("root %#x is not the kernel's own", k.space.root)
		}
		if va, err := k.Symbol("nr_threads"); err != nil || va != fakeSymbols["nr_threads"]+slide {
			t.Errorf("nr_threads at %#x, %v", va, err)
		}
		if gpa, err := k.Translate(fakeSymbols["nr_threads"] + slide); err != nil || gpa != phys(fakeSymbols["nr_threads"]) {
			t.Errorf("nr_threads at guest-physical %#x, %v", gpa, err)
		}
		for _, name := range []string{"runqueues", "no_such"} {
			if va, err := k.Symbol(name); err == nil {
				t.Errorf("%s is at %#x", name, va)
			}
		}
		if name, off, ok := k.Function(text + 0x4008 + slide); name != "__mutex_lock" || off != 8 || !ok {
			t.Errorf("Function: %s+%d, %v", name, off, ok)
		}
		if name, ok := k.Data(fakeSymbols["big_lock"] + slide); name != "big_lock" || !ok {
			t.Errorf("Data: %s, %v", name, ok)
		}
		if _, _, ok := k.Function(0x401000); ok {
			t.Error("a user address is in a kernel function")
		}
		if _, ok := k.Data(slide + 0x1000); ok {
			t.Error("a user address is a kernel variable")
		}
		if gfn, off, err := k.CounterPlace(1); err != nil || gfn<<12|off != phys(percpu(1)+0x1010) {
			t.Errorf("counter of CPU 1 in frame %#x at %#x, %v", gfn, off, err)
		}
		if _, _, err := k.CounterPlace(2); err == nil {
			t.Error("CPU 2 has a counter")
		}
	}
}

func TestIsolated(t *testing.T) {
	g := newFakeGuest(slid)
	k := mustOpen(t, g)
	for _, want := range []bool{false, true} {
		if on, err := k.Isolated(); err != nil || on != want {
			t.Errorf("isolated: %v, %v, want %v", on, err, want)
		}
		g.u32(fakeSymbols["boot_cpu_data"]+0x20+28, 1<<11)
	}
	if _, err := mustOpen(t, g, "boot_cpu_data").Isolated(); err == nil {
		t.Error("isolation is known without boot_cpu_data")
	}
}

func TestOpenWitnesses(t *testing.T) {
	idt := uint64(0x27000 + 16*pageFault)
	for _, tt := range []struct {
		name    string
		change  func(g *fakeGuest, r *driver.Registers)
		without string
		fails   string // part of the error, empty for none
	}{
		{"no LSTAR", func(g *fakeGuest, r *driver.Registers) { r.LSTAR = 0 }, "", ""},
		{"no interrupt table", func(g *fakeGuest, r *driver.Registers) { r.IDTBase = 0 }, "", ""},
		{"neither", func(g *fakeGuest, r *driver.Registers) { r.IDTBase, r.LSTAR = 0, 0 }, "", "no witness"},
		{"they disagree", func(g *fakeGuest, r *driver.Registers) { r.LSTAR += 2 << 20 }, "", "disagree"},
		{"not aligned", func(g *fakeGuest, r *driver.Registers) { r.LSTAR += 0x1000; r.IDTBase = 0 }, "", "no distance"},
		{"too far", func(g *fakeGuest, r *driver.Registers) { r.LSTAR -= 1 << 30; r.IDTBase = 0 }, "", "no distance"},
		{"both lie", func(g *fakeGuest, r *driver.Registers) { r.LSTAR += 2 << 20; r.IDTBase = 0 }, "", "do not fit"},
		{"no gate", func(g *fakeGuest, r *driver.Registers) { g.write(idt+5, []byte{0}); r.LSTAR = 0 }, "", "is no gate"},
		{"another kernel", func(g *fakeGuest, r *driver.Registers) {
			g.write(phys(fakeSymbols["linux_banner"]+14), []byte{'7'})
		}, "", "do not fit"},
		{"no page tables", func(g *fakeGuest, r *driver.Registers) { r.CR3 = 0 }, "", "no page tables yet"},
		{"garbage as root", func(g *fakeGuest, r *driver.Registers) { r.CR3 = stackPhys }, "", "not mapped"},
		{"root outside memory", func(g *fakeGuest, r *driver.Registers) { r.CR3 = 1 << 45 }, "", "cannot be mapped"},
		{"kernel root garbled", func(g *fakeGuest, r *driver.Registers) {
			g.entry(phys(fakeSymbols["init_top_pgt"])+8*511, 0)
		}, "", ""},
		{"no banner symbol", func(g *fakeGuest, r *driver.Registers) {}, "linux_banner", "linux_banner"},
		{"no run queues", func(g *fakeGuest, r *driver.Registers) {}, "runqueues", "runqueues"},
		{"no field", func(g *fakeGuest, r *driver.Registers) {}, "task_struct.pid", "task_struct.pid"},
		{"run queue in user space", func(g *fakeGuest, r *driver.Registers) {
			g.u64(fakeSymbols["__per_cpu_offset"], 0x1000)
		}, "", "run queue of CPU 0"},
	} {
		g := newFakeGuest(slid)
		r := g.registers(false)
		tt.change(g, &r)
		k, err := Open(g, fakeLayout{[]string{tt.without}, fakeBanner}, r)
		switch {
		case tt.fails == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.fails == "" && k.Slide() != slid:
			t.Errorf("%s: slide %#x", tt.name, k.Slide())
		case tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)):
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.fails)
		}
	}
	g := newFakeGuest(0)
	if _, err := Open(g, fakeLayout{nil, fakeBanner}); err == nil {
		t.Error("opened without a vCPU")
	}
	// One vCPU that knows nothing yet does not hide the other.
	if _, err := Open(g, fakeLayout{nil, fakeBanner}, driver.Registers{}, g.registers(true)); err != nil {
		t.Error(err)
	}
}

func TestNeedResched(t *testing.T) {
	for banner, want := range map[string]uint32{"Linux version 6.12.118+deb13-cloud-amd64 (": 8,
		"Linux version 5.10.0-1 (": 8, "Linux version 6.13.1 (": 8 | 16, "Linux version 6.17.9 (": 8 | 16,
		"Linux version 6.18.0-rc1 (": 16 | 32, "Linux version 6.18-rc1 (": 16 | 32, "Linux version 7.0.0 (": 16 | 32,
		"": 8, "Linux version x.y z": 8} {
		if got := needResched(banner); got != want {
			t.Errorf("%q: mask %#x, want %#x", banner, got, want)
		}
	}
}

func TestRunQueue(t *testing.T) {
	g := newFakeGuest(slid)
	k := mustOpen(t, g)
	rq, hot := percpu(1)+fakeSymbols["runqueues"], percpu(1)+fakeSymbols["pcpu_hot"]+8
	timer := percpu(1) + fakeSymbols["hrtimer_bases"] + 0x28
	want := detect.RunQueue{Switches: 1001, Running: 1, ClockNS: 7e9, Comm: "swapper/0", Preempt: 1, TimerNS: 8e9,
		Interrupts: 935, Schedule: normal}
	check := func(what string) {
		t.Helper()
		q := detect.RunQueue{Comm: "left over", NeedResched: true, TimerNS: 1, Interrupts: 1}
		if !k.RunQueue(1, &q) || q != want {
			t.Errorf("%s: %+v, want %+v", what, q, want)
		}
	}
	check("idle")
	g.u64(rq+0x18, g.taskAt(4))
	g.u64(rq+0x10, 1005)
	g.u32(rq+4, 3)
	g.u64(timer, math.MaxInt64)
	want = detect.RunQueue{Switches: 1005, Running: 3, ClockNS: 7e9, PID: 4, Comm: "holder", Preempt: 1, Interrupts: 935,
		Schedule: normal}
	check("busy, no timer")
	g.u64(g.put(4, "thread_info.flags"), 1<<3)
	want.NeedResched = true
	check("asked by another CPU")
	g.u64(g.put(4, "thread_info.flags"), 1<<4)
	g.u32(hot, 2)
	want.Preempt = 2
	check("asked by its own")
	g.u32(hot, 2|preemptResched)
	want.NeedResched = false
	check("another flag")
	g.u32(percpu(1)+fakeSymbols["irq_stat"]+0x44, math.MaxUint32)
	want.Interrupts = math.MaxUint32 + 735
	check("many interrupts")
	g.u64(timer, 9e9)
	want.TimerNS = 9e9
	check("a timer")
	g.u32(timer-0x28+0x10, ^uint32(1<<2))
	want.TimerNS = 0
	check("a timer without high resolution")

	for name, change := range map[string]func(g *fakeGuest){
		"curr is 0":          func(g *fakeGuest) { g.u64(rq+0x18, 0) },
		"curr in user space": func(g *fakeGuest) { g.u64(rq+0x18, 0x7fff00001000) },
		"curr not mapped":    func(g *fakeGuest) { g.u64(rq+0x18, direct+1<<38) },
		"impossible PID":     func(g *fakeGuest) { g.u32(g.put(0, "pid"), 1<<31) },
		"impossible length":  func(g *fakeGuest) { g.u32(rq+4, 1<<31) },
		"page gone":          func(g *fakeGuest) { g.gone[phys(rq)>>12] = true },
	} {
		g := newFakeGuest(slid)
		k := mustOpen(t, g)
		change(g)
		var q detect.RunQueue
		if k.RunQueue(1, &q) {
			t.Errorf("%s: %+v", name, q)
		}
	}
	for _, cpu := range []int{-1, 2, math.MaxInt} {
		if k.RunQueue(cpu, &want) {
			t.Errorf("CPU %d has a run queue", cpu)
		}
	}
	// A kernel of another age lacks some of it, which is no error.
	g.u32(timer-0x28+0x10, 1<<2)
	k = mustOpen(t, g, "hrtimer_bases", "pcpu_hot", "pcpu_hot.preempt_count", "task_struct.thread_info.flags", "irq_stat",
		"kstat", "task_struct.prio")
	if q := (detect.RunQueue{}); !k.RunQueue(1, &q) ||
		q.TimerNS != 0 || q.Preempt != 0 || q.NeedResched || q.Interrupts != 0 || q.Schedule != (detect.Schedule{}) {
		t.Errorf("without optional fields: %+v", q)
	}
	k = mustOpen(t, g, "hrtimer_cpu_base.hres_active", "irq_cpustat_t.apic_timer_irqs")
	if q := (detect.RunQueue{}); !k.RunQueue(1, &q) || q.TimerNS != 0 || q.Interrupts != math.MaxUint32+705 {
		t.Errorf("without high resolution and one of the counters: %+v", q)
	}
}

func TestRunQueueAllocates(t *testing.T) {
	k := mustOpen(t, newFakeGuest(slid))
	var q detect.RunQueue
	if n := testing.AllocsPerRun(100, func() { k.RunQueue(0, &q); k.RunQueue(1, &q) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestOpenEarlyBoot: a kernel in early boot is refused. A kernel without the variable
// that tells its phase is accepted.
func TestOpenEarlyBoot(t *testing.T) {
	g := newFakeGuest(slid)
	g.u32(fakeSymbols["system_state"], 0)
	if _, err := g.open(); !errors.Is(err, ErrBooting) {
		t.Errorf("got %v, want %v", err, ErrBooting)
	}
	for _, without := range []string{"system_state", "SYSTEM_SCHEDULING"} {
		if _, err := g.open(without); err != nil {
			t.Errorf("without %s: %v", without, err)
		}
	}
	g.u32(fakeSymbols["system_state"], 1)
	if _, err := g.open(); err != nil {
		t.Error(err)
	}
}

func TestInspect(t *testing.T) {
	g := newFakeGuest(slid)
	g.u32(g.put(6, "__state"), taskUninterruptible|taskNoLoad) // idle, not waiting
	g.write(phys(g.put(3, "in_iowait")), []byte{1 << 3})
	want := detect.Kernel{
		MonotonicNS: 6e9 + 5, Phase: detect.PhaseRunning, Panicking: -1, Threads: 7, Forks: 77,
		Walked: 7, LargestComm: "work", LargestCount: 3, WaitingTotal: 1,
		Waiting: []detect.Waiting{{PID: 3, Comm: "waiter", Switches: 42, IOWait: true,
			Stack: []string{"__mutex_lock", "do_work", "kthread"}, Lock: "big_lock", Owner: "holder (4)",
			OwnerState: detect.OwnerSleeps}},
		Memory: detect.Memory{TotalPages: 16384, FreePages: 9000, Scanned: 60, Stolen: 60, Refaults: 7, MajorFault: 80,
			Stalls: 100, OOMKills: 120}, IOSectors: 300,
	}
	k := mustOpen(t, g)
	got := detect.Kernel{Unreadable: []string{"left over"}, Panicking: 3}
	for range 2 { // the second inspection uses what the first one kept
		k.Inspect(&got)
		got.Unreadable = append([]string(nil), got.Unreadable...)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%+v\nwant %+v", got, want)
		}
	}
	g.u32(fakeSymbols["system_state"], 2)
	if k.Inspect(&got); got.Phase != detect.PhaseBooting {
		t.Errorf("phase %q of a kernel that frees its boot code", got.Phase)
	}
	g.u32(fakeSymbols["panic_cpu"], 1)
	if k.Inspect(&got); got.Panicking != 1 {
		t.Errorf("panicking %d, want 1", got.Panicking)
	}
}

func TestInspectOwner(t *testing.T) {
	lock := fakeSymbols["big_lock"]
	sp := func(g *fakeGuest) uint64 { return g.stackAt(3) + stackSize - 0x200 }
	for _, tt := range []struct {
		name        string
		change      func(g *fakeGuest)
		lock, owner string
	}{
		{"nobody", func(g *fakeGuest) { g.u64(lock, 1) }, "big_lock", ""},
		{"a task that is none", func(g *fakeGuest) { g.u64(lock, direct+0x5000) }, "big_lock",
			"no thread that exists (0xffff888000005000)"},
		{"queue torn, owner met", func(g *fakeGuest) { g.u64(sp(g)+8*8, 0) }, "big_lock", "holder (4)"},
		{"queue torn, owner not met", func(g *fakeGuest) { g.u64(sp(g)+8*8, 0); g.u64(lock, 0) }, "", ""},
		{"another waiter in front", func(g *fakeGuest) {
			other := g.stackAt(6) + stackSize - 0x100
			g.u64(sp(g)+8*8, other)
			g.u64(other, lock+g.slide+16)
		}, "big_lock", "holder (4)"},
		{"queue in a loop", func(g *fakeGuest) {
			other := g.stackAt(6) + stackSize - 0x100
			g.u64(sp(g)+8*8, other)
			g.u64(other, other)
			g.u64(lock, 0)
		}, "", ""},
		{"no waiter, no lock function", func(g *fakeGuest) {
			g.u64(sp(g)+8*8, 0)
			g.u64(sp(g)+6*8, 0)
		}, "", ""},
		{"lock in a variable", func(g *fakeGuest) {
			g.u64(sp(g)+5*8, lock+g.slide+0x40)
			g.u64(sp(g)+8*8, lock+g.slide+0x50)
			g.u64(lock+0x40, g.taskAt(4))
		}, "big_lock+0x40", "holder (4)"},
		{"lock without a name", func(g *fakeGuest) {
			g.u64(sp(g)+5*8, direct+0x6000)
			g.u64(sp(g)+8*8, direct+0x6000+16)
			g.u64(direct+0x6000, g.taskAt(4))
			g.u64(direct+0x6000+16, sp(g)+8*8)
		}, "mutex at 0xffff888000006000", "holder (4)"},
		{"semaphore of readers", func(g *fakeGuest) {
			g.u64(sp(g)+5*8, direct+0x6000)
			g.u64(sp(g)+6*8, text+0x7105+g.slide)
			g.u64(sp(g)+8*8, direct+0x6000+24)
			g.u64(direct+0x6000+8, g.taskAt(4)|1)
		}, "rw_semaphore at 0xffff888000006000", "holder (4), the last of its readers"},
	} {
		g := newFakeGuest(slid)
		tt.change(g)
		var k detect.Kernel
		mustOpen(t, g).Inspect(&k)
		if len(k.Waiting) != 1 || k.Waiting[0].Lock != tt.lock || k.Waiting[0].Owner != tt.owner {
			t.Errorf("%s: %+v, want lock %q, owner %q", tt.name, k.Waiting, tt.lock, tt.owner)
		}
	}
}

// TestInspectHostile: impossible data is reported as unreadable, the rest is read, and
// the work stays bounded.
func TestInspectHostile(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(g *fakeGuest)
		says   string
		walked int
	}{
		{"task list loops past its head", func(g *fakeGuest) { g.chain(1, 2) }, "does not come back", 2},
		{"a task points at itself", func(g *fakeGuest) { g.u64(g.put(2, "tasks"), g.taskAt(2)+0x100) },
			"does not come back", 2},
		{"threads loop", func(g *fakeGuest) { g.u64(g.put(7, "thread_node"), g.taskAt(6)+0x130) }, "does not come back", 7},
		{"next in user space", func(g *fakeGuest) { g.u64(g.put(2, "tasks"), 0x1000) }, "0x1000 stands where", 2},
		{"next not mapped", func(g *fakeGuest) { g.u64(g.put(2, "tasks"), direct+1<<38) }, "not mapped", 2},
		{"poisoned", func(g *fakeGuest) { g.u64(g.put(2, "tasks"), 0xdead000000000100) }, "stands where", 2},
		{"page of a task gone", func(g *fakeGuest) { g.gone[phys(g.taskAt(4))>>12] = true }, "cannot be mapped", 3},
		{"page of init_task gone", func(g *fakeGuest) { g.gone[phys(fakeSymbols["init_task"])>>12] = true },
			"cannot be mapped", 0},
		{"no signals", func(g *fakeGuest) { g.u64(g.put(5, "signal"), 0) }, "signals should be", 5},
		{"impossible PID", func(g *fakeGuest) { g.u32(g.put(6, "pid"), 1<<30) }, "PID", 5},
		{"huge count", func(g *fakeGuest) { g.u32(fakeSymbols["nr_threads"], 1<<31) }, "nr_threads says 2147483648", 7},
		{"clock garbled", func(g *fakeGuest) { g.u32(fakeSymbols["tk_core"]+8+0x28, 200) }, "clock", 7},
		{"clock being updated", func(g *fakeGuest) { g.u32(fakeSymbols["tk_core"], 3) }, "clock", 7},
		{"counters gone", func(g *fakeGuest) { g.gone[phys(percpu(1)+0x2000)>>12] = true }, "vm_event_states", 7},
		{"stack pointer elsewhere", func(g *fakeGuest) { g.u64(g.put(3, "thread.sp"), direct) }, "is not in its stack", 7},
		{"stack gone", func(g *fakeGuest) {
			for i := range uint64(4) {
				g.gone[phys(g.stackAt(3))>>12+i] = true
			}
		}, "read the stack", 7},
	} {
		g := newFakeGuest(slid)
		k := mustOpen(t, g)
		tt.change(g)
		g.reads = 0
		var got detect.Kernel
		k.Inspect(&got)
		if all := strings.Join(got.Unreadable, "\n"); !strings.Contains(all, tt.says) {
			t.Errorf("%s: unreadable %q, want %q", tt.name, got.Unreadable, tt.says)
		}
		if got.Walked != tt.walked {
			t.Errorf("%s: walked %d, want %d", tt.name, got.Walked, tt.walked)
		}
		if got.Forks != 77 {
			t.Errorf("%s: the rest is lost: %+v", tt.name, got)
		}
		if g.reads > 2000 {
			t.Errorf("%s: %d reads", tt.name, g.reads)
		}
	}
}

// TestInspectEndless: the walk of an endless task list ends at the bound.
func TestInspectEndless(t *testing.T) {
	g := newFakeGuest(0)
	k := mustOpen(t, g)
	endless := &endlessGuest{fakeGuest: g}
	k.reader.space = &Space{mem: endless, root: k.space.root, levels: 4}
	var got detect.Kernel
	k.Inspect(&got)
	if got.Walked > maxThreads || len(got.Waiting) > detect.MaxWaiting || endless.reads > 40*maxThreads {
		t.Errorf("%d threads, %d waiting, %d reads", got.Walked, len(got.Waiting), endless.reads)
	}
	if !strings.Contains(strings.Join(got.Unreadable, "\n"), "the task list") {
		t.Errorf("unreadable: %q", got.Unreadable)
	}
}

// TestInspectAgain: what an inspection keeps for the next one is dropped when it is no
// longer true.
func TestInspectAgain(t *testing.T) {
	g := newFakeGuest(slid)
	k := mustOpen(t, g)
	lock, sp := fakeSymbols["big_lock"], g.stackAt(3)+stackSize-0x200
	inspect := func() detect.Kernel {
		var out detect.Kernel
		k.Inspect(&out)
		return out
	}
	check := func(what string, want detect.Waiting) {
		t.Helper()
		if got := inspect(); len(got.Waiting) != 1 || !reflect.DeepEqual(got.Waiting[0], want) ||
			len(got.Unreadable) > 0 || got.Walked != 7 {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	want := detect.Waiting{PID: 3, Comm: "waiter", Switches: 42, Stack: []string{"__mutex_lock", "do_work", "kthread"},
		Lock: "big_lock", Owner: "holder (4)", OwnerState: detect.OwnerSleeps}
	check("first", want)
	reads := g.reads
	inspect()
	if first, second := reads, g.reads-reads; second >= first {
		t.Errorf("%d reads for the second inspection, %d up to the first", second, first)
	}
	g.u64(lock, g.taskAt(6)|1)
	want.Owner, want.OwnerRunnable, want.OwnerState = "work (6)", true, detect.OwnerRuns
	check("another owner", want)
	g.write(phys(g.put(6, "comm")), []byte("play\x00"))
	want.Owner = "play (6)"
	check("a new name", want)
	g.write(phys(g.put(6, "comm")), []byte("\x1b]0;x\a\nHANG\xff\x00"))
	g.write(phys(g.put(3, "comm")), []byte("\xe2\x80\xae\r\x00"))
	want.Owner, want.Comm = `\x1b]0;x\a\nHANG\xff (6)`, `\u202e\r`
	check("names that a terminal would act on", want)
	g.write(phys(g.put(3, "comm")), []byte("waiter\x00"))
	// It continues and waits for something else, at the same place.
	g.u64(sp+8*8, 0)
	g.u64(sp+6*8, text+0x7105+g.slide)
	g.u64(lock, 0)
	check("it has not run", detect.Waiting{PID: 3, Comm: "waiter", Switches: 42, Stack: want.Stack, Lock: "big_lock"})
	g.u64(g.put(3, "nvcsw"), 41)
	want = detect.Waiting{PID: 3, Comm: "waiter", Switches: 43,
		Stack: []string{"rwsem_down_write_slowpath", "do_work", "kthread"}}
	check("it has run", want)
	// The same structure is another thread's.
	g.u64(sp+6*8, text+0x4105+g.slide)
	g.u32(g.put(3, "pid"), 33)
	want.PID, want.Stack = 33, []string{"__mutex_lock", "do_work", "kthread"}
	check("another thread", want)
	// A lock without proof is searched again.
	g.u64(lock, g.taskAt(4))
	want.Lock, want.Owner, want.OwnerState = "big_lock", "holder (4)", detect.OwnerSleeps
	check("owner met", want)
	g.u64(lock, g.taskAt(4)|1)
	g.u64(sp+5*8, direct+0x6000)
	g.u64(direct+0x6000, g.taskAt(1))
	want.Lock, want.Owner, want.OwnerRunnable = "mutex at 0xffff888000006000", "init (1)", true
	want.OwnerState = detect.OwnerRuns
	check("another lock's owner met", want)
	// Threads that have ended are nobody.
	g.chain(0, 1, 2, 3, 5)
	g.u32(fakeSymbols["nr_threads"], 6)
	g.u64(direct+0x6000, g.taskAt(4))
	if got := inspect(); got.Walked != 6 || len(got.Waiting) != 1 || got.Waiting[0].Owner != "" {
		t.Errorf("the owner has ended: %+v", got)
	}
}

// TestInspectReuse: the task list is walked again when something says that it has
// changed, when nothing can tell, and after maxReuse inspections.
func TestInspectReuse(t *testing.T) {
	uninterruptible := func(g *fakeGuest, cpu int, n uint32) {
		g.u32(percpu(cpu)+fakeSymbols["runqueues"]+uint64(fakeFields["rq.nr_uninterruptible"].Offset), n)
	}
	for _, tt := range []struct {
		name    string
		change  func(g *fakeGuest)
		without string
		walks   bool
	}{
		{"nothing", func(g *fakeGuest) {}, "", false},
		{"asleep on one CPU, woken on the other",
			func(g *fakeGuest) { uninterruptible(g, 0, 1); uninterruptible(g, 1, math.MaxUint32) }, "", false},
		{"one in state D", func(g *fakeGuest) { uninterruptible(g, 1, 1) }, "", true},
		{"a fork", func(g *fakeGuest) { g.u64(fakeSymbols["total_forks"], 78) }, "", true},
		{"another number of threads", func(g *fakeGuest) { g.u32(fakeSymbols["nr_threads"], 8) }, "", true},
		{"counts gone", func(g *fakeGuest) { g.gone[phys(percpu(1)+fakeSymbols["runqueues"])>>12] = true }, "", true},
		{"forks gone", func(g *fakeGuest) { g.gone[phys(fakeSymbols["total_forks"])>>12] = true }, "", true},
		{"no such count", func(g *fakeGuest) {}, "rq.nr_uninterruptible", true},
	} {
		g := newFakeGuest(slid)
		g.u32(g.put(3, "__state"), taskRunning)
		k := mustOpen(t, g)
		if tt.without != "" {
			k = mustOpen(t, g, tt.without)
		}
		var first, second detect.Kernel
		k.Inspect(&first)
		tt.change(g)
		before := k.walks
		k.Inspect(&second)
		if walked := k.walks != before; walked != tt.walks {
			t.Errorf("%s: walked %v, want %v", tt.name, walked, tt.walks)
		}
		if !tt.walks && !reflect.DeepEqual(first, second) {
			t.Errorf("%s: %+v\nthen %+v", tt.name, first, second)
		}
		if second.Walked != 7 || second.LargestCount == 0 {
			t.Errorf("%s: %+v", tt.name, second)
		}
	}
	g := newFakeGuest(slid)
	k := mustOpen(t, g)
	var out detect.Kernel
	for i := range 3 {
		if k.Inspect(&out); k.walks != uint64(i+1) || len(out.Waiting) != 1 {
			t.Errorf("a thread waits, inspection %d: %d walks, %+v", i, k.walks, out)
		}
	}
	g.u32(g.put(3, "__state"), taskRunning)
	for range 3 * maxReuse {
		k.Inspect(&out)
	}
	if k.walks != 3+3 {
		t.Errorf("%d walks for %d inspections, want 3", k.walks-3, 3*maxReuse)
	}
	g.gone[phys(g.put(5, "pid"))>>12] = true
	for range 2 * maxReuse {
		k.Inspect(&out)
	}
	if len(out.Unreadable) == 0 || k.walks < 6+maxReuse {
		t.Errorf("a list that cannot be walked: %d walks in %d inspections, %v", k.walks-6, 2*maxReuse, out.Unreadable)
	}
}

// TestInspectForgets: the number of threads and names that are kept is bounded.
func TestInspectForgets(t *testing.T) {
	g := newFakeGuest(slid)
	k := mustOpen(t, g)
	var out detect.Kernel
	for i := range 2 * maxNames {
		g.write(phys(g.put(6, "comm")), fmt.Appendf(nil, "name%d\x00", i))
		k.Inspect(&out)
		if out.Walked != 7 || len(out.Waiting) != 1 || out.Waiting[0].Owner != "holder (4)" {
			t.Fatalf("inspection %d: %+v", i, out)
		}
		if len(k.groups) > maxNames+7 || len(k.names) != len(k.groups) || len(k.known) != len(k.tasks) {
			t.Fatalf("inspection %d: %d groups, %d names, %d threads", i, len(k.groups), len(k.names), len(k.tasks))
		}
	}
	g.u64(percpu(0)+fakeSymbols["runqueues"]+0x18, g.taskAt(6))
	for i := range 2 * maxNames {
		name := fmt.Sprintf("other%d\x1b", i)
		g.write(phys(g.put(6, "comm")), []byte(name+"\x00"))
		var q detect.RunQueue
		if !k.RunQueue(0, &q) || q.Comm != printable.Line(name) {
			t.Fatalf("run queue: %+v", q)
		}
	}
	if len(k.groups) > maxNames+7 {
		t.Errorf("%d names from run queues", len(k.groups))
	}
}

// TestDirectMap: the direct map is used only if the kernel's page tables agree. Without it
// Inspect reads the same.
func TestDirectMap(t *testing.T) {
	var want detect.Kernel
	g := newFakeGuest(slid)
	k := mustOpen(t, g)
	if k.direct != direct || k.directLen != fakeRAM {
		t.Errorf("%#x bytes from %#x on, want %#x from %#x on", k.directLen, k.direct, fakeRAM, uint64(direct))
	}
	k.Inspect(&want)
	for name, change := range map[string]func(g *fakeGuest){
		"moved":            func(g *fakeGuest) { g.u64(fakeSymbols["page_offset_base"], direct+1<<30) },
		"not aligned":      func(g *fakeGuest) { g.u64(fakeSymbols["page_offset_base"], direct+1<<21) },
		"in user space":    func(g *fakeGuest) { g.u64(fakeSymbols["page_offset_base"], 1<<40) },
		"no memory":        func(g *fakeGuest) { g.u64(fakeSymbols["max_pfn"], 0) },
		"too much memory":  func(g *fakeGuest) { g.u64(fakeSymbols["max_pfn"], math.MaxUint64) },
		"root outside":     func(g *fakeGuest) { g.u64(fakeSymbols["max_pfn"], 1) },
		"cannot be read":   func(g *fakeGuest) { g.gone[phys(fakeSymbols["page_offset_base"])>>12] = true },
		"no such variable": func(g *fakeGuest) {},
	} {
		g := newFakeGuest(slid)
		change(g)
		without := "boot_cpu_data"
		if name == "no such variable" {
			without = "max_pfn"
		}
		k, err := g.open(without)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if k.directLen != 0 {
			t.Errorf("%s: believed, %#x bytes from %#x on", name, k.directLen, k.direct)
		}
		var got detect.Kernel
		if k.Inspect(&got); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v\nwant %+v", name, got, want)
		}
	}
}

// endlessGuest has a list in its upper half that visits all of it: each 8 bytes read are
// the address 16 bytes further.
type endlessGuest struct{ *fakeGuest }

func (g *endlessGuest) ReadPhysical(gpa uint64, b []byte) error {
	if gpa < taskPhys || len(b) != 8 {
		return g.fakeGuest.ReadPhysical(gpa, b)
	}
	g.reads++
	binary.LittleEndian.PutUint64(b, direct+taskPhys+(gpa-taskPhys+16)%(24<<20))
	return nil
}

// TestInspectMissing: of a kernel that lacks something, the rest is read.
func TestInspectMissing(t *testing.T) {
	g := newFakeGuest(slid)
	for _, without := range []string{"nr_threads", "total_forks", "panic_cpu", "system_state", "SYSTEM_RUNNING",
		"tk_core", "_totalram_pages", "vm_zone_stat", "vm_node_stat", "vm_event_states",
		"init_task", "task_struct.__state", "zone_stat_item.NR_FREE_PAGES", "vm_event_item.OOM_KILL",
		"timekeeper.tkr_mono.base", "seqcount_raw_spinlock_t"} {
		k := mustOpen(t, g, without)
		var got detect.Kernel
		k.Inspect(&got)
		if len(got.Unreadable) == 0 {
			t.Errorf("without %s nothing is unreadable", without)
		}
		if without != "init_task" && got.Walked != 7 {
			t.Errorf("without %s: %+v", without, got)
		}
	}
	for _, without := range []string{"mutex_waiter.task", "mutex.owner", "task_struct.in_iowait",
		"rw_semaphore.wait_list"} {
		var got detect.Kernel
		mustOpen(t, g, without).Inspect(&got)
		if len(got.Unreadable) != 0 || len(got.Waiting) != 1 {
			t.Errorf("without %s: %+v", without, got)
		}
	}
}

func TestCallers(t *testing.T) {
	g := newFakeGuest(slid)
	k := mustOpen(t, g)
	sp := g.stackAt(3) + stackSize - 0x200
	want := []string{"first", "__mutex_lock", "do_work", "kthread"}
	for _, rsp := range []uint64{sp, sp + 5, sp + 6*8} { // an odd one is rounded up
		if got := k.Callers([]string{"first"}, rsp); !reflect.DeepEqual(got, want) {
			t.Errorf("Callers(%#x) = %q, want %q", rsp, got, want)
		}
	}
	for _, rsp := range []uint64{0, 0x7fffffffe000, direct + 1<<40, math.MaxUint64, math.MaxUint64 - 7, sp + 0x1f8} {
		if got := k.Callers(nil, rsp); got != nil {
			t.Errorf("Callers(%#x) = %q", rsp, got)
		}
	}
}

func TestAfterCall(t *testing.T) {
	g := newFakeGuest(0)
	k := mustOpen(t, g)
	const at = text + 0x8000
	for _, tt := range []struct {
		code string
		want bool
	}{
		{"\x90\x90\xe8\x00\x00\x00\x00", true},
		{"\x90\x90\xe8\x00\x00\x00\x70", false}, // leads nowhere
		{"\x90\x90\x90\x90\x90\xff\xd0", true},
		{"\x90\x90\x90\x90\x90\xff\xe0", false}, // jmp
		{"\x90\x90\x90\x90\xff\x50\x08", true},
		{"\x90\xff\x15\x00\x00\x00\x00", true},
		{"\x90\x90\x90\x90\xff\x14\xc3", true},
		{"\xff\x14\xc5\x00\x00\x00\x00", true},
		{"\x90\xff\x90\x00\x01\x00\x00", true},
		{"\x90\x90\x90\x90\x90\x90\x90", false},
	} {
		g.write(phys(at-7), []byte(tt.code))
		if got := k.afterCall(at); got != tt.want {
			t.Errorf("% x: %v", tt.code, got)
		}
	}
}

// badComm reports whether a name cannot come of 16 bytes, or is not a printable line.
func badComm(name string) bool {
	const escaped = len(`\xff`)
	return len(name) > 16*escaped || printable.Line(name) != name
}

// badSchedule reports whether no thread can be scheduled so.
func badSchedule(s detect.Schedule) bool {
	return s.Policy == "" && s.Priority != 0 || len(s.Policy) > 14 || s.Priority < -1 || s.Priority > 139
}

// newCrowdedGuest is a guest in which all that can be read is there.
func newCrowdedGuest() *fakeGuest {
	g := newBusyGuest(slid)
	for _, i := range []int{1, 5, 6, 7} {
		g.enqueue(i, i%2)
	}
	return g
}

// FuzzKernel damages the guest's memory, page tables included, at places that are
// read, and reads everything.
func FuzzKernel(f *testing.F) {
	for seed := range uint64(32) {
		f.Add(seed, uint16(1+seed*8), seed%4 == 0)
	}
	pristine := newCrowdedGuest()
	f.Fuzz(func(t *testing.T, seed uint64, changes uint16, early bool) {
		rng := rand.New(rand.NewPCG(seed, 1))
		g := newCrowdedGuest()
		var frames []uint64
		for fr := range pristine.frames {
			frames = append(frames, fr)
		}
		for i := 1; i < len(frames); i++ { // maps have no order; the seed must give one
			for j := i; j > 0 && frames[j] < frames[j-1]; j-- {
				frames[j], frames[j-1] = frames[j-1], frames[j]
			}
		}
		damage := func() {
			for range changes % 512 {
				frame := frames[rng.IntN(len(frames))]
				// Mostly where something stands.
				at := 8 * rng.IntN(512)
				for try := 0; try < 64 && binary.LittleEndian.Uint64(g.frames[frame][at:]) == 0; try++ {
					at = 8 * rng.IntN(512)
				}
				var v uint64
				switch rng.IntN(6) {
				case 0:
					v = rng.Uint64()
				case 1:
					v = direct + rng.Uint64N(fakeRAM)&^7
				case 2:
					v = g.taskAt(rng.IntN(8)) + uint64(8*rng.IntN(64))
				case 3:
					v = text + slid + rng.Uint64N(0x10000)
				case 4:
					v = binary.LittleEndian.Uint64(g.frames[frame][at:]) ^ 1<<rng.IntN(64)
				case 5:
					g.gone[frame] = true
				}
				binary.LittleEndian.PutUint64(g.frames[frame][at:], v)
			}
		}
		if early {
			damage()
		}
		k, err := g.open()
		if err != nil {
			return
		}
		damage()
		for range 2 {
			g.reads = 0
			var out detect.Kernel
			k.Inspect(&out)
			if out.Walked > maxThreads || len(out.Waiting) > detect.MaxWaiting ||
				len(out.Unreadable) > maxUnreadable || out.LargestCount > out.Walked || badComm(out.LargestComm) {
				t.Fatalf("out of bounds: %+v", out)
			}
			if len(out.Disks) > detect.MaxDisks || out.Grace != nil && out.Grace.AgeNS < 0 {
				t.Fatalf("out of bounds: %+v, %+v", out.Disks, out.Grace)
			}
			if limit := 64 * maxThreads; g.reads > limit {
				t.Fatalf("%d reads, more than %d", g.reads, limit)
			}
			if len(out.Runnable) > detect.MaxRunnable || out.RunnableTotal > maxQueued {
				t.Fatalf("out of bounds: %d of %d", len(out.Runnable), out.RunnableTotal)
			}
			for _, r := range out.Runnable {
				if badComm(r.Comm) || r.CPU < 0 || r.CPU > 1 || r.PID < 0 || r.PID > maxPID || badSchedule(r.Schedule) {
					t.Fatalf("out of bounds: %+v", r)
				}
			}
			for _, w := range out.Waiting {
				names := w.Frozen + w.Disk + w.Owner
				if len(w.Stack) > maxNamed || badComm(w.Comm) || printable.Line(names) != names {
					t.Fatalf("out of bounds: %+v", w)
				}
			}
			for cpu := range 2 {
				var q detect.RunQueue
				if k.RunQueue(cpu, &q) && (q.PID < 0 || q.PID > maxPID || badComm(q.Comm) || badSchedule(q.Schedule)) {
					t.Fatalf("out of bounds: %+v", q)
				}
				k.CounterPlace(cpu)
			}
			if n := len(k.Callers(nil, rng.Uint64()|kernelHalf)); n > maxNamed {
				t.Fatalf("%d callers", n)
			}
			k.Callers(nil, g.stackAt(rng.IntN(8))+uint64(rng.IntN(stackSize)))
			k.Isolated()
		}
	})
}

// flatGuest is a guest's memory in one slice, which is fast to read.
type flatGuest []byte

func (f flatGuest) ReadPhysical(gpa uint64, b []byte) error {
	if gpa > uint64(len(f)-len(b)) {
		return errGone
	}
	copy(b, f[gpa:])
	return nil
}

// newCrowd returns the kernel of a guest with that many processes of one thread.
func newCrowd(t interface {
	Helper()
	Fatal(...any)
}, threads int) *Kernel {
	t.Helper()
	g := newFakeGuest(slid)
	all := []int{0}
	for i := 1; i <= threads; i++ {
		all = append(all, i)
		g.write(phys(g.put(i, "comm")), append([]byte("thread/"), byte('a'+i%26), 0))
		g.u32(g.put(i, "pid"), uint32(i))
		g.u32(g.put(i, "__state"), 1)
		g.u64(g.put(i, "signal"), direct+signalPhys+uint64(i)*0x100)
		g.threads(i)
	}
	g.chain(all...)
	g.u32(fakeSymbols["nr_threads"], uint32(threads))
	flat := make(flatGuest, fakeRAM)
	for frame, b := range g.frames {
		copy(flat[frame<<12:], b)
	}
	k, err := Open(flat, fakeLayout{nil, fakeBanner}, g.registers(true), g.registers(false))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestInspectAllocates: an inspection that finds nothing new allocates nothing.
func TestInspectAllocates(t *testing.T) {
	k := newCrowd(t, 62)
	var out detect.Kernel
	k.Inspect(&out)
	if out.Walked != 62 || len(out.Unreadable) != 0 || out.WaitingTotal != 0 || out.LargestCount != 3 {
		t.Fatalf("%+v", out)
	}
	if n := testing.AllocsPerRun(20, func() { k.Inspect(&out) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRunQueue(b *testing.B) {
	k := newCrowd(b, 62)
	var q detect.RunQueue
	b.ReportAllocs()
	for b.Loop() {
		k.RunQueue(0, &q)
	}
}

func BenchmarkInspect(b *testing.B) {
	k := newCrowd(b, 62)
	var out detect.Kernel
	b.ReportAllocs()
	for b.Loop() {
		k.Inspect(&out)
	}
	b.ReportMetric(float64(out.Walked), "threads")
}
