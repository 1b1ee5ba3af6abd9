package linux

import (
	"encoding/binary"
	"reflect"
	"slices"
	"strings"
	"testing"

	"hangbench/monitor/detect"
)

// recorder is a layout that remembers the names that it was asked for.
type recorder struct {
	Layout
	asked map[string]bool
}

func (r recorder) Lookup(name string) (uint64, bool, bool) {
	r.asked[symbolName+name] = true
	return r.Layout.Lookup(name)
}

func (r recorder) Field(typ, path string) (Field, bool) {
	r.asked[typ+"."+path] = true
	return r.Layout.Field(typ, path)
}

func (r recorder) SizeOf(typ string) (uint32, bool) {
	r.asked[typ] = true
	return r.Layout.SizeOf(typ)
}

func (r recorder) Constant(name string) (int64, bool) {
	r.asked[enumName+name] = true
	return r.Layout.Constant(name)
}

// needed returns every name of the table.
func needed() map[string]bool {
	all := map[string]bool{}
	for _, n := range Needs() {
		for _, name := range slices.Concat(append(n.Ways, n.More)...) {
			all[name] = true
		}
	}
	return all
}

// TestNeedsAreWhatIsRead: a Kernel asks a layout for no name that the table lacks, so the
// table cannot say less than the code does. Of the names of the table it asks for each,
// on one kernel or another.
func TestNeedsAreWhatIsRead(t *testing.T) {
	t.Parallel()
	asked := map[string]bool{}
	newer, older := newGuest(nil), newFakeGuest(slid)
	for _, l := range []recorder{
		{newLayout{fakeLayout{nil, newBanner}}, asked},
		// What older kernels call otherwise.
		{fakeLayout{[]string{"init_top_pgt", "swapper_pg_dir", "task_struct.__state", "pcpu_hot.preempt_count",
			"_totalram_pages", "asm_exc_page_fault", "task_struct.thread_info.cpu"}, fakeBanner}, asked},
		{fakeLayout{[]string{"asm_exc_page_fault", "asm_page_fault"}, fakeBanner}, asked},
	} {
		g := older
		if l.Banner() == newBanner {
			g = newer
		}
		// Open itself asks for all names of the table, which would hide one that nobody reads.
		k, err := open(g, l, g.registers(true), g.registers(false))
		if err != nil {
			t.Fatal(err)
		}
		var out detect.Kernel
		k.Inspect(&out)
		var q detect.RunQueue
		k.RunQueue(0, &q)
		if _, err := k.Isolated(); err != nil {
			t.Error(err)
		}
	}
	table := needed()
	for name := range asked {
		if !table[name] {
			t.Errorf("the kernel is asked for %q, which is not in the table of needs", name)
		}
	}
	for name := range table {
		if !asked[name] {
			t.Errorf("%q is in the table of needs, and nobody asks for it", name)
		}
	}
}

// TestFields: what kernels have in one way only, and must have, is not optional.
func TestFields(t *testing.T) {
	t.Parallel()
	fields := Fields()
	for _, want := range []string{"task_struct.pid", "rq.nr_switches", "task_struct.state?", "mutex.first_waiter?",
		"mutex.wait_list?", "enum IRQ_COUNT_APIC_TIMER?", "seqcount_raw_spinlock_t?"} {
		if !slices.Contains(fields, want) {
			t.Errorf("the fields lack %s", want)
		}
	}
	seen := map[string]bool{}
	for _, f := range fields {
		if name := strings.TrimSuffix(f, "?"); seen[name] || strings.HasPrefix(f, symbolName) {
			t.Errorf("%s is there twice, or a symbol", f)
		} else {
			seen[name] = true
		}
	}
}

// TestUnjudged: a class whose rule would have to judge on less is not judged, and the
// reason names what the kernel lacks.
func TestUnjudged(t *testing.T) {
	t.Parallel()
	if got := Unjudged(fakeLayout{nil, fakeBanner}); len(got) != 0 {
		t.Errorf("a kernel that has everything: %+v", got)
	}
	for _, tt := range []struct {
		without []string
		classes []detect.Class
		why     string
	}{
		{[]string{"mutex.wait_list"}, []detect.Class{detect.ClassBlocked},
			"the mutex that a thread waits for: the kernel has no mutex.wait_list and no mutex.first_waiter and no " +
				"task_struct.blocker"},
		{[]string{"hrtimer_cpu_base.hres_active"}, []detect.Class{detect.ClassStopped},
			"a CPU's next timer: the kernel has no hrtimer_cpu_base.hres_active"},
		{[]string{"tk_core"}, []detect.Class{detect.ClassStopped}, "symbol timekeeper_data and no symbol tk_core"},
		{[]string{"task_struct.__state"}, []detect.Class{detect.ClassBlocked, detect.ClassIO, detect.ClassStarvation},
			"task_struct.__state"},
		{[]string{"task_struct.on_cpu"}, []detect.Class{detect.ClassStarvation},
			"the threads that wait for a CPU: the kernel has no task_struct.on_cpu"},
		{[]string{"task_struct.thread_info.cpu"}, nil, ""}, // the other way
		{[]string{"rq.stop", "cfs_rq.throttle_count", "kstat"}, nil, ""},
		{[]string{"total_forks"}, []detect.Class{detect.ClassForkstorm}, "total_forks"},
		{[]string{"vm_zone_stat"}, []detect.Class{detect.ClassThrash}, "vm_zone_stat"},
		{[]string{"irq_stat"}, nil, ""}, // the rule has another way, which it says
	} {
		got := Unjudged(fakeLayout{tt.without, fakeBanner})
		var classes []detect.Class
		for _, u := range got {
			classes = append(classes, u.Class)
			if !strings.Contains(u.Why, tt.why) {
				t.Errorf("without %s: %s", tt.without, u.Why)
			}
		}
		if !slices.Equal(classes, tt.classes) {
			t.Errorf("without %s: %v cannot be judged, want %v", tt.without, classes, tt.classes)
		}
		var k detect.Kernel
		mustOpen(t, newFakeGuest(slid), tt.without...).Inspect(&k)
		if !reflect.DeepEqual(k.Unjudged, got) {
			t.Errorf("without %s: the inspection says %+v, want %+v", tt.without, k.Unjudged, got)
		}
	}
}

// newLayout is the layout of a kernel of Linux 7: locks know their first waiter, a thread
// may know its lock, interrupts are counted in an array, and other places moved.
type newLayout struct{ fakeLayout }

// newFields are the fields of Linux 7 that differ, and those that are gone, with size 0.
var newFields = map[string]Field{
	"mutex.wait_list": {}, "rw_semaphore.wait_list": {}, "irq_cpustat_t.apic_timer_irqs": {},
	"irq_cpustat_t.irq_call_count": {}, "irq_cpustat_t.irq_hv_callback_count": {}, "pcpu_hot.preempt_count": {},
	"seqcount_raw_spinlock_t":      {},
	"mutex.first_waiter":           {Offset: 16, Size: 8},
	"rw_semaphore.first_waiter":    {Offset: 24, Size: 8},
	"semaphore.first_waiter":       {Offset: 8, Size: 8},
	"semaphore.last_holder":        {Offset: 16, Size: 8},
	"semaphore_waiter.list":        {Offset: 0, Size: 16},
	"semaphore_waiter.task":        {Offset: 16, Size: 8},
	"task_struct.blocker":          {Offset: 0x178, Size: 8},
	"irq_cpustat_t.counts":         {Offset: 4, Size: 96},
	"hrtimer_cpu_base.hres_active": {Offset: 0x10, Size: 1},
	"tk_data.timekeeper":           {Offset: 8, Size: 320},
}

func (l newLayout) Lookup(name string) (uint64, bool, bool) {
	switch name {
	case "pcpu_hot", "tk_core":
		return 0, false, false
	case "timekeeper_data":
		return fakeSymbols["tk_core"], false, l.has(name)
	case "__preempt_count":
		return linkedPerCPU + fakeSymbols["pcpu_hot"] + 8, true, l.has(name)
	}
	addr, perCPU, ok := l.fakeLayout.Lookup(name)
	if perCPU {
		addr += linkedPerCPU
	}
	return addr, perCPU, ok
}

// linkedPerCPU is where per-CPU variables are linked since 6.15.
const linkedPerCPU = text + 0x2000000

func (l newLayout) Field(typ, path string) (Field, bool) {
	if f, ok := newFields[typ+"."+path]; ok {
		return f, f.Size > 0 && l.has(typ+"."+path)
	}
	return l.fakeLayout.Field(typ, path)
}

func (l newLayout) SizeOf(typ string) (uint32, bool) { return 0, false }

func (l newLayout) Constant(name string) (int64, bool) {
	if v, ok := map[string]int64{"IRQ_COUNT_NMI": 0, "IRQ_COUNT_APIC_TIMER": 1, "IRQ_COUNT_CALL_FUNCTION": 8,
		"IRQ_COUNT_HYPERVISOR_CALLBACK": 15, "IRQ_COUNT_THRESHOLD_APIC": 24,
		"node_stat_item.PGSCAN_KSWAPD": 5, "node_stat_item.PGSCAN_DIRECT": 6, "node_stat_item.PGSTEAL_KSWAPD": 7}[name]; ok {
		return v, l.has(name)
	}
	if strings.HasPrefix(name, "vm_event_item.PGS") {
		return 0, false
	}
	return l.fakeLayout.Constant(name)
}

const newBanner = "Linux version 7.3.4-test (hangbench@test) #1 SMP"

// newGuest is a guest of Linux 7. In it thread 3 waits for big_lock, which thread 4
// holds. change, unless it is nil, gets the address of the waiter's list element.
func newGuest(change func(g *fakeGuest, node uint64)) *fakeGuest {
	g := newFakeGuest(slid)
	g.write(phys(fakeSymbols["linux_banner"]), []byte(newBanner+"\n"))
	irqs := percpu(1) + fakeSymbols["irq_stat"]
	for i := range uint64(25) { // those of all other counters must not count
		g.u32(irqs+4*i, 1<<20)
	}
	for off, n := range map[uint64]uint32{4 + 4*1: 30, 4 + 4*8: 5, 4 + 4*15: 200} {
		g.u32(irqs+off, n)
	}
	for off, n := range map[uint64]uint64{8 * 5: 1000, 8 * 6: 2000, 8 * 7: 400} {
		g.u64(fakeSymbols["vm_node_stat"]+off, n)
	}
	// The lock knows its first waiter, and the waiter's list element is a ring of its own.
	node := g.stackAt(3) + stackSize - 0x200 + 8*8
	g.u64(node, node)
	g.u64(node+8, node)
	g.u64(fakeSymbols["big_lock"]+16, node)
	g.u64(fakeSymbols["big_lock"]+24, 0)
	for cpu := range 2 {
		g.u64(fakeSymbols["__per_cpu_offset"]+8*uint64(cpu), percpu(cpu)-linkedPerCPU-g.slide)
		g.u32(percpu(cpu)+fakeSymbols["hrtimer_bases"]+0x10, 1)
	}
	if change != nil {
		change(g, node)
	}
	return g
}

// newKernel opens a newGuest.
func newKernel(t *testing.T, change func(g *fakeGuest, node uint64), without ...string) *Kernel {
	t.Helper()
	g := newGuest(change)
	k, err := Open(g, newLayout{fakeLayout{without, newBanner}}, g.registers(true), g.registers(false))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestLinux7 reads what Linux 7 has elsewhere than 6.12.
func TestLinux7(t *testing.T) {
	t.Parallel()
	k := newKernel(t, nil)
	want := detect.RunQueue{Switches: 1001, Running: 1, ClockNS: 7e9, Comm: "swapper/0", Preempt: 1, TimerNS: 8e9,
		Interrupts: 935, Schedule: normal}
	var q detect.RunQueue
	if !k.RunQueue(1, &q) || q != want {
		t.Errorf("%+v, want %+v", q, want)
	}
	var out detect.Kernel
	k.Inspect(&out)
	if out.MonotonicNS != 6e9+5 || len(out.Unreadable) > 0 || len(out.Unjudged) > 0 {
		t.Errorf("clock %d, unreadable %q, unjudged %v", out.MonotonicNS, out.Unreadable, out.Unjudged)
	}
	if out.Memory.Scanned != 3000 || out.Memory.Stolen != 400 || out.Memory.Refaults != 7 {
		t.Errorf("%+v: the counters of the nodes hold 3000 pages scanned, 400 reclaimed and 7 needed again", out.Memory)
	}
	// Asked to schedule lazily, and by a tick.
	for bit, asked := range map[uint]bool{3: false, 4: true, 5: true, 6: false} {
		k := newKernel(t, func(g *fakeGuest, _ uint64) { g.u64(g.put(0, "thread_info.flags"), 1<<bit) })
		if q = (detect.RunQueue{}); !k.RunQueue(1, &q) || q.NeedResched != asked {
			t.Errorf("bit %d: asked to schedule is %v", bit, q.NeedResched)
		}
	}
}

func TestLinux7Locks(t *testing.T) {
	t.Parallel()
	lock := fakeSymbols["big_lock"]
	blocker := func(g *fakeGuest, v uint64) {
		b := binary.LittleEndian.AppendUint64(nil, v)
		g.write(phys(g.taskAt(3)+uint64(newFields["task_struct.blocker"].Offset)), b)
	}
	const noBlocker = "task_struct.blocker"
	for _, tt := range []struct {
		name        string
		without     string
		change      func(g *fakeGuest, node uint64)
		lock, owner string
	}{
		{"ring of one", noBlocker, nil, "big_lock", "holder (4)"},
		{"the kernel does not say", "", nil, "big_lock", "holder (4)"},
		{"the kernel says: mutex", "", func(g *fakeGuest, node uint64) {
			g.u64(lock+16, 0)
			blocker(g, lock+slid)
		}, "big_lock", "holder (4)"},
		{"semaphore", "", func(g *fakeGuest, node uint64) {
			g.u64(lock+16, g.taskAt(4))
			blocker(g, lock+slid|1)
		}, "big_lock", "holder (4), the last that got it"},
		{"reader", "", func(g *fakeGuest, node uint64) {
			g.u64(lock+8, g.taskAt(4))
			blocker(g, lock+slid|2)
		}, "big_lock", "holder (4)"},
		{"writer behind readers", "", func(g *fakeGuest, node uint64) {
			g.u64(lock+8, g.taskAt(4)|1)
			blocker(g, lock+slid|3)
		}, "big_lock", "holder (4), the last of its readers"},
		{"garbage", "", func(g *fakeGuest, node uint64) { blocker(g, 0x1234) }, "big_lock", "holder (4)"},
		{"a lock that is not there", "", func(g *fakeGuest, node uint64) { blocker(g, direct+1<<38) },
			"mutex at 0xffff88c000000000", ""},
		{"another waiter is the first", noBlocker, func(g *fakeGuest, node uint64) {
			other := g.stackAt(6) + stackSize - 0x100
			g.u64(node, other)
			g.u64(other, node)
			g.u64(lock+16, other)
		}, "big_lock", "holder (4)"},
		{"a lock with other waiters, whose owner was not met", noBlocker, func(g *fakeGuest, node uint64) {
			g.u64(lock+16, g.stackAt(6))
			g.u64(lock, 0)
		}, "", ""},
		{"ring without end", noBlocker, func(g *fakeGuest, node uint64) {
			other := g.stackAt(6) + stackSize - 0x100
			g.u64(node, other)
			g.u64(other, other)
			g.u64(lock+16, g.stackAt(6))
			g.u64(lock, 0)
		}, "", ""},
		{"ring torn", noBlocker, func(g *fakeGuest, node uint64) {
			g.u64(node, 8)
			g.u64(lock, 0)
		}, "", ""},
	} {
		k := newKernel(t, tt.change, tt.without)
		var out detect.Kernel
		k.Inspect(&out)
		if len(out.Waiting) != 1 || out.Waiting[0].Lock != tt.lock || out.Waiting[0].Owner != tt.owner {
			t.Errorf("%s: %+v, want lock %q held by %q", tt.name, out.Waiting, tt.lock, tt.owner)
		}
	}
}
