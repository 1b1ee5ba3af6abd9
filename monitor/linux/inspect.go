package linux

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"hangbench/monitor/detect"
)

// maxUnreadable bounds detect.Kernel.Unreadable.
const maxUnreadable = 16

// sums is the number of sums of counters: see vmEvents.
const sums = 7

// counterSymbols are the addresses of the variables that Inspect reads, slid; 0 for
// those that this kernel does not have.
type counterSymbols struct {
	initTask, threads, forks, panicCPU, timekeeping uint64
	state                                           uint64 // system_state
	runningState                                    uint32 // its value from the first process on
	totalRAM, zones, nodes                          uint64
	eventSums                                       [sums][]uint64 // offsets in vm_event_states
	eventSpan                                       span           // covers all of them
	nodeSums                                        [sums][]uint64 // offsets in vm_node_stat
	free                                            place          // in vm_zone_stat
}

// findSymbols fills k.counterSymbols.
func (k *Kernel) findSymbols() {
	at := func(names ...string) uint64 {
		for _, name := range names {
			if va, err := k.Symbol(name); err == nil {
				return va
			}
		}
		return 0
	}
	// An array of the kernel's counters has some hundred, which fit in maxSpan.
	counters := func(names []string) (offs []uint64) {
		for _, name := range names {
			if v, ok := k.layout.Constant(name); ok && v >= 0 && v < maxSpan/8 {
				offs = append(offs, 8*uint64(v))
			}
		}
		return offs
	}
	k.counterSymbols = counterSymbols{
		initTask: at("init_task"), threads: at("nr_threads"), forks: at("total_forks"), panicCPU: at("panic_cpu"),
		timekeeping: at("timekeeper_data", "tk_core"), totalRAM: at("_totalram_pages", "totalram_pages"),
		zones: at("vm_zone_stat"), nodes: at(nodeCounts),
	}
	if v, ok := k.layout.Constant("SYSTEM_RUNNING"); ok && v > 0 && v < 100 {
		k.state, k.runningState = at("system_state"), uint32(v)
	}
	of := [sums][]string{vmEvents.scanned, vmEvents.stolen, vmEvents.major, vmEvents.stalls, vmEvents.oom, vmEvents.io,
		vmEvents.refaults}
	for i, names := range of {
		node := func(name string) bool { return strings.HasPrefix(name, nodes) }
		k.nodeSums[i] = counters(slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !node(n) }))
		k.eventSums[i] = counters(slices.DeleteFunc(slices.Clone(names), node))
		for _, off := range k.eventSums[i] {
			if k.eventSpan.len == 0 {
				k.eventSpan = span{off, 8}
			}
			k.eventSpan = cover(k.eventSpan.off, k.eventSpan.len, off, 8)
		}
	}
	if c := counters([]string{freePages}); len(c) == 1 {
		k.free = place{c[0], true}
	}
}

// Inspect fills out anew with the kernel's clock, its counters and its threads. It
// names in Unreadable what it could not read, and in Unjudged what cannot be judged
// because this kernel has not what it takes. Its work is bounded: it reads at most
// maxThreads tasks, the stacks of detect.MaxWaiting of them, and of maxQueued whether they
// wait for a CPU. It finds no thread that waits for a CPU unless RunQueue has been called
// for every CPU since the last inspection, as monitor.Session does.
func (k *Kernel) Inspect(out *detect.Kernel) {
	*out = detect.Kernel{Panicking: -1, Waiting: out.Waiting[:0], Runnable: out.Runnable[:0],
		Unreadable: out.Unreadable[:0], Unjudged: k.unjudged}
	k.reader.forget()
	k.seen.forget()
	unreadable := func(what string, err error) {
		if len(out.Unreadable) < maxUnreadable {
			out.Unreadable = append(out.Unreadable, fmt.Sprintf("%s: %v", what, err))
		}
	}
	number := func(symbol string, va uint64) uint64 {
		if va == 0 {
			unreadable(symbol, errAbsent)
			return 0
		}
		v, err := k.u64(va)
		if err != nil {
			unreadable(symbol, err)
			return 0
		}
		return v
	}
	// nr_threads is an int in the kernel; the upper half belongs to another variable.
	out.Threads = number("nr_threads", k.threads) & math.MaxUint32
	out.Forks = number("total_forks", k.forks)
	if k.panicCPU == 0 {
		unreadable("panic_cpu", errAbsent)
	} else if v, err := k.u32(k.panicCPU); err != nil {
		unreadable("panic_cpu", err)
	} else if int32(v) >= 0 {
		out.Panicking = int(v)
	}
	if k.state == 0 {
		unreadable("system_state", errAbsent)
	} else if v, err := k.u32(k.state); err != nil {
		unreadable("system_state", err)
	} else if out.Phase = detect.PhaseRunning; v < k.runningState {
		out.Phase = detect.PhaseBooting
	}
	k.readClock(out, unreadable)
	k.readMemory(out, number, unreadable)
	k.readThreads(out, unreadable)
	k.readGrace(out, unreadable)
	if len(k.seen.disks) > 0 {
		out.Disks = k.seen.disks
	}
}

// layoutError is an error of the guest's data, not of reading it.
type layoutError string

func (e layoutError) Error() string { return string(e) }

const errAbsent = layoutError("this kernel has none, or its layout does not say where")

// readClock reads the guest's monotonic clock as of its last update. The kernel's
// sequence count is odd during an update.
func (k *Kernel) readClock(out *detect.Kernel, unreadable func(string, error)) {
	o := &k.off
	if k.timekeeping == 0 || !o.keeper.ok || !o.base.ok || !o.xtime.ok || !o.shift.ok {
		unreadable("the guest's clock", errAbsent)
		return
	}
	for range 4 {
		before, err := k.u32(k.timekeeping)
		var base, xtime uint64
		var shift, after uint32
		for _, r := range []struct {
			off place
			to  *uint64
		}{{o.base, &base}, {o.xtime, &xtime}} {
			if err == nil {
				*r.to, err = k.u64(k.timekeeping + o.keeper.off + r.off.off)
			}
		}
		if err == nil {
			shift, err = k.u32(k.timekeeping + o.keeper.off + o.shift.off)
		}
		if err == nil {
			after, err = k.u32(k.timekeeping)
		}
		if err != nil {
			unreadable("the guest's clock", err)
			return
		}
		if before == after && before&1 == 0 && shift < 64 && base <= math.MaxInt64/2 {
			out.MonotonicNS = int64(base + xtime>>shift&(math.MaxInt64/2))
			return
		}
	}
	unreadable("the guest's clock", layoutError("it is in the middle of an update, or garbage"))
}

// readMemory reads the counters of memory and of disk I/O.
func (k *Kernel) readMemory(out *detect.Kernel, number func(string, uint64) uint64, unreadable func(string, error)) {
	m := &out.Memory
	m.TotalPages = number("totalram_pages", k.totalRAM)
	if k.zones == 0 || !k.free.ok {
		unreadable("NR_FREE_PAGES", errAbsent)
	} else if v := int64(number("vm_zone_stat", k.zones+k.free.off)); v > 0 {
		// The sum may be below zero for a moment, while CPUs have not added their part.
		m.FreePages = uint64(v)
	}
	all := [sums]struct {
		to   *uint64
		what string
	}{
		{&m.Scanned, "scanned pages"}, {&m.Stolen, "reclaimed pages"}, {&m.MajorFault, "major faults"},
		{&m.Stalls, "stalled allocations"}, {&m.OOMKills, "OOM kills"}, {&out.IOSectors, "I/O"},
		{&m.Refaults, "refaults"},
	}
	for i, s := range all {
		if len(k.eventSums[i]) == 0 && (len(k.nodeSums[i]) == 0 || k.nodes == 0) {
			unreadable("counters of "+s.what, errAbsent)
		}
		for _, off := range k.nodeSums[i] {
			if k.nodes != 0 {
				// A sum may be below zero for a moment, while CPUs have not added their part.
				*s.to += uint64(max(0, int64(number(nodeCounts, k.nodes+off))))
			}
		}
	}
	for c := range k.cpus {
		at := k.cpus[c].events
		if at == 0 && c == 0 {
			unreadable(eventCounts, errAbsent)
		}
		if at == 0 || k.eventSpan.len == 0 {
			continue
		}
		b := k.span[:k.eventSpan.len]
		if err := k.read(at+k.eventSpan.off, b); err != nil {
			unreadable(eventCounts, err)
			continue
		}
		for i, s := range all {
			for _, off := range k.eventSums[i] {
				*s.to += binary.LittleEndian.Uint64(b[off-k.eventSpan.off:])
			}
		}
	}
}
