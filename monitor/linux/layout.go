package linux

import (
	"errors"
	"fmt"
	"slices"
)

// Layout is what a Kernel needs to know of a kernel to read it: the addresses of its
// symbols and the places of its structures' fields. guests/kernel makes one from the
// kernel's own image.
type Layout interface {
	// Banner returns the kernel's linux_banner.
	Banner() string
	// Lookup returns the address at which a symbol was linked; of a per-CPU variable,
	// the address to which a CPU's offset is added.
	Lookup(name string) (addr uint64, perCPU, ok bool)
	// Function returns the function that holds a linked address.
	Function(addr uint64) (name string, offset uint64, ok bool)
	// Data returns the variable that holds a linked address. It knows no per-CPU
	// variables.
	Data(addr uint64) (name string, offset uint64, ok bool)
	// Field returns the place of a field in a structure.
	Field(typ, path string) (Field, bool)
	// SizeOf returns the size of a type in bytes.
	SizeOf(typ string) (uint32, bool)
	// Constant returns the value of a constant of an enumeration.
	Constant(name string) (int64, bool)
}

// Field is the place of a structure's field.
type Field struct {
	Offset, Size uint32 // bytes
	// BitSize is the width of a bit field in bits, 0 for any other field. The bit field
	// begins at bit BitOffset (0 to 7) of the Size bytes at Offset.
	BitOffset, BitSize uint32
}

// Enumerations of the kernel's counters, and the variables that hold the counters: one for
// each CPU, or one for the guest.
const (
	events, eventCounts = "vm_event_item.", "vm_event_states"
	nodes, nodeCounts   = "node_stat_item.", "vm_node_stat"
)

// vmEvents are the constants whose counters are summed for a field of detect.Memory, or
// for detect.Kernel.IOSectors, each with its enumeration. Each kernel has some of each
// list. In Linux 7 the pages that were scanned and reclaimed moved from one enumeration to
// another.
var vmEvents = struct{ scanned, stolen, major, stalls, oom, io, refaults []string }{
	scanned: either("PGSCAN_KSWAPD", "PGSCAN_DIRECT", "PGSCAN_KHUGEPAGED", "PGSCAN_PROACTIVE"),
	stolen:  either("PGSTEAL_KSWAPD", "PGSTEAL_DIRECT", "PGSTEAL_KHUGEPAGED", "PGSTEAL_PROACTIVE"),
	major:   each(events, []string{"PGMAJFAULT"}),
	stalls: each(events, []string{"ALLOCSTALL_DMA", "ALLOCSTALL_DMA32", "ALLOCSTALL_NORMAL", "ALLOCSTALL_MOVABLE",
		"ALLOCSTALL_DEVICE"}),
	oom: each(events, []string{"OOM_KILL"}),
	io:  each(events, []string{"PGPGIN", "PGPGOUT"}),
	// Before Linux 5.9 there was one for both.
	refaults: each(nodes, []string{"WORKINGSET_REFAULT_ANON", "WORKINGSET_REFAULT_FILE", "WORKINGSET_REFAULT"}),
}

// either returns constants that are in one enumeration or the other.
func either(names ...string) []string { return append(each(events, names), each(nodes, names)...) }

// freePages is the constant of the counter of free pages.
const freePages = "zone_stat_item.NR_FREE_PAGES"

// interrupts are the fields of irq_cpustat_t whose sum is
// detect.RunQueue.Interrupts: counters of vectors that a CPU takes only with
// interrupts on (arch/x86/include/asm/hardirq.h). Three counters are left out:
// __nmi_count, because it counts non-maskable interrupts; apic_perf_irqs, because
// performance counters interrupt as such; and icr_read_retry_count, because it counts
// no interrupts. Some interrupts count twice: by vector and by purpose. The kernel's
// configuration decides which of the fields exist.
var interrupts = []string{
	"apic_timer_irqs", "irq_spurious_count",
	"kvm_posted_intr_ipis", "kvm_posted_intr_wakeup_ipis", "kvm_posted_intr_nested_ipis",
	"x86_platform_ipis", "apic_irq_work_irqs", "irq_resched_count", "irq_call_count", "irq_tlb_count", "irq_thermal_count",
	"irq_threshold_count", "irq_deferred_error_count", "irq_hv_callback_count", "irq_hv_reenlightenment_count",
	"hyperv_stimer0_count", "posted_msi_notification_count",
}

// interruptCounts are the constants of irq_stat_counts that index irq_cpustat_t.counts,
// which has the place of most of interrupts since Linux 7. The same are left out. One
// that is new is too: IRQ_COUNT_PERF_GUEST_MEDIATED_PMI, an interrupt of performance
// counters; and those of machine checks and of errors of interrupt controllers.
var interruptCounts = []string{
	"IRQ_COUNT_APIC_TIMER", "IRQ_COUNT_SPURIOUS", "IRQ_COUNT_IRQ_WORK", "IRQ_COUNT_X86_PLATFORM_IPI",
	"IRQ_COUNT_RESCHEDULE", "IRQ_COUNT_CALL_FUNCTION", "IRQ_COUNT_TLB", "IRQ_COUNT_THERMAL_APIC",
	"IRQ_COUNT_THRESHOLD_APIC", "IRQ_COUNT_DEFERRED_ERROR", "IRQ_COUNT_HYPERVISOR_CALLBACK",
	"IRQ_COUNT_HYPERV_REENLIGHTENMENT", "IRQ_COUNT_HYPERV_STIMER0", "IRQ_COUNT_POSTED_INTR",
	"IRQ_COUNT_POSTED_INTR_NESTED", "IRQ_COUNT_POSTED_INTR_WAKEUP",
}

// Names of functions and variables that kernels of different ages have, the newest first.
var (
	systemCallEntries = []string{"entry_SYSCALL_64"}
	pageFaultEntries  = []string{"asm_exc_page_fault", "asm_page_fault", "page_fault"}
	ownRoots          = []string{"init_top_pgt", "swapper_pg_dir", "init_level4_pgt"}
)

// place is an offset that a kernel may lack: then ok is false.
type place struct {
	off uint64
	ok  bool
}

// offsets are the offsets of the fields in bytes, looked up once.
type offsets struct {
	// Pieces that are read at once.
	walk    span // of a task, by a walk: tasks, signal, node, pid and comm
	who     span // of a task, for a run queue: pid and comm
	counts  span // of a run queue: switches and running
	current span // of a run queue: clock and curr
	timer   span // of the timers: expires and highRes

	pid, comm, tasks, signal, node, stack, sp, nvcsw, nivcsw, head uint64
	switches, running, clock, curr                                 uint64

	state                      place
	ioWait                     place
	ioWaitBit                  byte // mask
	flags                      place
	expires, highRes           place
	highResBit                 byte     // mask
	numbered                   place    // of kernel_stat: the count of interrupts that have a number
	irqs                       span     // the interrupt counters
	irq                        []uint64 // their offsets, of 4 bytes each
	base, xtime, shift, keeper place
	uninterruptible            place
	blocker                    place // of a task: the lock that it waits for
	scheduling
	locks []lockKind
}

// variable returns the address of a variable in the running kernel, or 0 if the kernel
// has none.
func (k *Kernel) variable(name string) uint64 {
	va, err := k.Symbol(name)
	if err != nil {
		return 0
	}
	return va
}

// fieldOf returns the place of a field that the kernel may lack.
func (k *Kernel) fieldOf(typ, path string) place {
	f, ok := k.layout.Field(typ, path)
	return place{uint64(f.Offset), ok}
}

// lockKind is a kind of lock whose waiters sleep.
type lockKind struct {
	name string
	// In the lock: the head of the list of waiters, or, since Linux 7.1, the address of
	// the first of them; and the owner. The waiters of the latter form a ring without a
	// head.
	list, first, owner place
	waitList, waitTask uint64 // in the queue element on a waiter's stack
	queued             bool   // the waiters of such a lock can be found: list or first is there, and the two above
	readers            bool   // if bit 0 of owner is set, readers hold it and owner is the last of them
	last               bool   // owner is the thread that got the lock last, and may have released it
}

// maxIRQs bounds the size of irq_cpustat_t, which has some twenty counters.
const maxIRQs = 256

// span is a piece of a structure that is read at once.
type span struct{ off, len uint64 }

// cover returns the span that covers fields, given as offset and size in turn.
func cover(fields ...uint64) span {
	lo, hi := fields[0], fields[0]+fields[1]
	for i := 2; i < len(fields); i += 2 {
		lo, hi = min(lo, fields[i]), max(hi, fields[i]+fields[i+1])
	}
	return span{lo, hi - lo}
}

// maxSpan bounds, in bytes, the piece of a structure that is read at once. Most such
// pieces are shorter than 1 KiB.
const maxSpan = 4 << 10

var errLayout = errors.New("the kernel's layout has not all that is needed to read it")

// lookUpFields fills k.off from the layout.
func (k *Kernel) lookUpFields() error {
	var missing []error
	need := func(typ, path string) uint64 {
		f, ok := k.layout.Field(typ, path)
		if !ok {
			missing = append(missing, errors.New(typ+"."+path))
		}
		return uint64(f.Offset)
	}
	may := k.fieldOf
	o := &k.off
	*o = offsets{
		pid: need("task_struct", "pid"), comm: need("task_struct", "comm"), tasks: need("task_struct", "tasks"),
		signal: need("task_struct", "signal"), node: need("task_struct", "thread_node"),
		stack: need("task_struct", "stack"), sp: need("task_struct", "thread.sp"),
		nvcsw: need("task_struct", "nvcsw"), nivcsw: need("task_struct", "nivcsw"),
		head:     need("signal_struct", "thread_head"),
		switches: need("rq", "nr_switches"), running: need("rq", "nr_running"),
		clock: need("rq", "clock"), curr: need("rq", "curr"),
		state: may("task_struct", "__state"), flags: may("task_struct", "thread_info.flags"),
		expires: may("hrtimer_cpu_base", "expires_next"),
		base:    may("timekeeper", "tkr_mono.base"), xtime: may("timekeeper", "tkr_mono.xtime_nsec"),
		shift:  may("timekeeper", "tkr_mono.shift"),
		keeper: may("tk_data", "timekeeper"), uninterruptible: may("rq", "nr_uninterruptible"),
	}
	if !o.state.ok { // before 5.14
		o.state = may("task_struct", "state")
	}
	if !o.keeper.ok {
		// Before 6.13 tk_core was a structure without a name: a sequence count, then the
		// timekeeper, which is aligned to 8 bytes.
		if n, ok := k.layout.SizeOf("seqcount_raw_spinlock_t"); ok && n <= 256 {
			o.keeper = place{uint64(n+7) &^ 7, true}
		}
	}
	if f, ok := k.layout.Field("task_struct", "in_iowait"); ok && f.BitSize == 1 && f.BitOffset < 8 {
		o.ioWait, o.ioWaitBit = place{uint64(f.Offset), true}, 1<<f.BitOffset
	}
	o.blocker = may("task_struct", "blocker")
	o.numbered = may("kernel_stat", "irqs_sum")
	k.lookUpScheduling(may)
	for _, l := range []struct {
		typ, waiter, owner string
		readers, last      bool
	}{
		{"mutex", "mutex_waiter", "owner", false, false},
		{"rw_semaphore", "rwsem_waiter", "owner", true, false},
		{"semaphore", "semaphore_waiter", "last_holder", false, true},
	} {
		list, task := may(l.waiter, "list"), may(l.waiter, "task")
		lock := lockKind{
			name: l.typ, list: may(l.typ, "wait_list"), first: may(l.typ, "first_waiter"), owner: may(l.typ, l.owner),
			waitList: list.off, waitTask: task.off, readers: l.readers, last: l.last,
		}
		lock.queued = (lock.list.ok || lock.first.ok) && list.ok && task.ok && list.off < 256 && task.off < 256
		if lock.queued || o.blocker.ok {
			o.locks = append(o.locks, lock)
		}
	}
	if err := errors.Join(missing...); err != nil {
		return errors.Join(errLayout, err)
	}
	// The timer's time means something only if the mode is known.
	f, ok := k.layout.Field("hrtimer_cpu_base", "hres_active")
	bit := f.BitSize == 1 && f.BitOffset < 8
	flag := f.BitSize == 0 && f.Size == 1 // a bool, which it is since Linux 7
	if ok && o.expires.ok && (bit || flag) {
		o.highRes, o.highResBit = place{uint64(f.Offset), true}, 1<<f.BitOffset
	}
	for _, c := range interrupts {
		if f, ok := k.layout.Field("irq_cpustat_t", c); ok && f.Size == 4 && f.Offset < maxIRQs-4 {
			o.irq = append(o.irq, uint64(f.Offset))
		}
	}
	if f, ok := k.layout.Field("irq_cpustat_t", "counts"); ok && f.Offset < maxIRQs {
		for _, c := range interruptCounts {
			v, ok := k.layout.Constant(c)
			if ok && v >= 0 && v < int64(f.Size/4) && uint64(f.Offset)+4*uint64(v) < maxIRQs-4 {
				o.irq = append(o.irq, uint64(f.Offset)+4*uint64(v))
			}
		}
	}
	if len(o.irq) > 0 {
		first := slices.Min(o.irq)
		o.irqs = span{first, slices.Max(o.irq) + 4 - first}
	}
	o.walk = cover(o.tasks, 8, o.signal, 8, o.node, 16, o.pid, 4, o.comm, 16)
	o.who = cover(o.pid, 4, o.comm, 16)
	o.counts, o.current = cover(o.switches, 8, o.running, 4), cover(o.clock, 8, o.curr, 8)
	if o.highRes.ok {
		o.timer = cover(o.expires.off, 8, o.highRes.off, 1)
	}
	for _, s := range []span{o.walk, o.who, o.counts, o.current, o.timer} {
		if s.len > maxSpan {
			return fmt.Errorf("%w: fields of one structure lie %d bytes apart", errLayout, s.len)
		}
	}
	return nil
}
