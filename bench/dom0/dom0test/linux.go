package dom0test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"slices"
	"strings"

	"hangbench/bench/dom0"
	"hangbench/cgo/xenctrl"
	"hangbench/cgo/xenctrl/xentest"
)

// The kernel that fake guests run.
const (
	Release = "6.12.1-fake"
	Banner  = "Linux version " + Release + " (fake@fake) #1 SMP"
)

// Places of the kernel, in 4 MiB of guest memory. Virtual addresses are those that
// the kernel was linked at; it is not moved.
const (
	text     = 0xffffffff81000000 // code, 1 MiB, then data, 1 MiB
	textPhys = 2 << 20
	direct   = 0xffff888000000000 // all memory, from physical address 0 on
	ram      = 4 << 20
	idtArea  = 0xfffffe0000000000

	percpuPhys = 0x40000 // of CPU 0; the areas are percpuSize apart
	percpuSize = 0x4000
	taskPhys   = 0x80000 // of process 1
	signalPhys = 0x90000
	stackPhys  = 0xa0000

	beatGFN = 0x30

	processRoot = 0x10000 // page tables of a process
	kernelRoot  = 0x101000 + textPhys

	// Of a run queue: its count of switches, the clock, and the count at boot.
	switchesOff   = 0x10
	clockOff      = 0x20
	firstSwitches = 1000
)

// symbols are the kernel's symbols with their nm(1) types. Functions lie below
// _etext; names below text are per-CPU variables.
var symbols = []struct {
	name string
	addr uint64
	kind byte
}{
	{"_text", text, 'T'}, {"_stext", text, 'T'}, {"startup", text, 'T'},
	{"entry_SYSCALL_64", text + 0x1000, 'T'}, {"asm_exc_page_fault", text + 0x2000, 'T'}, {"asm_end", text + 0x3000, 'T'},
	{dom0.SwitchFunction, text + 0x8000, 'T'}, {"__switch_to_end", text + 0x8040, 'T'},
	{"_etext", text + 0x80000, 'T'}, {"linux_banner", text + 0x100000, 'D'}, {"init_top_pgt", text + 0x101000, 'D'},
	{"__per_cpu_offset", text + 0x102000, 'D'}, {"init_task", text + 0x103000, 'D'}, {"nr_threads", text + 0x105000, 'B'},
	{"total_forks", text + 0x105008, 'B'}, {"panic_cpu", text + 0x105010, 'D'}, {"system_state", text + 0x105018, 'D'},
	{"tk_core", text + 0x106000, 'D'}, {"_totalram_pages", text + 0x107000, 'B'}, {"vm_zone_stat", text + 0x107100, 'B'},
	{"vm_node_stat", text + 0x107200, 'B'}, {"page_offset_base", text + 0x109800, 'D'}, {"max_pfn", text + 0x109808, 'B'},
	{"boot_cpu_data", text + 0x10a000, 'D'}, {"_end", text + 0x1ff000, 'B'},
	{"__per_cpu_start", 0, 'A'}, {"runqueues", 0x1000, 'A'}, {"pcpu_hot", 0x1900, 'A'}, {"__per_cpu_end", 0x3000, 'A'},
}

// symbol returns a symbol's address as linked.
func symbol(name string) uint64 {
	for _, s := range symbols {
		if s.name == name {
			return s.addr
		}
	}
	panic("dom0test: no symbol " + name)
}

// field is a field as a profile file has it (kernel.Field).
type field struct{ Offset, Size uint32 }

var fields = map[string]field{
	"task_struct.thread_info.flags": {0, 8}, "task_struct.__state": {24, 4}, "task_struct.stack": {32, 8},
	"task_struct.tasks": {0x100, 16}, "task_struct.pid": {0x120, 4}, "task_struct.signal": {0x128, 8},
	"task_struct.thread_node": {0x130, 16}, "task_struct.comm": {0x150, 16}, "task_struct.nvcsw": {0x160, 8},
	"task_struct.nivcsw": {0x168, 8}, "task_struct.thread.sp": {0x170, 8}, "signal_struct.thread_head": {16, 16},
	"rq.nr_switches": {switchesOff, 8}, "rq.nr_running": {4, 4}, "rq.clock": {clockOff, 8}, "rq.curr": {0x18, 8},
	"pcpu_hot.preempt_count": {8, 4}, "cpuinfo_x86.x86_capability": {0x20, 96},
	"timekeeper.tkr_mono.base": {0x18, 8}, "timekeeper.tkr_mono.xtime_nsec": {0x20, 8},
	"timekeeper.tkr_mono.shift": {0x28, 4},
	"seqcount_raw_spinlock_t":   {0, 4},
}

var constants = map[string]int64{"zone_stat_item.NR_FREE_PAGES": 0, "SYSTEM_SCHEDULING": 1, "SYSTEM_RUNNING": 3}

// Profile returns the kernel's profile, as kernel.ReadProfile reads it.
func Profile() []byte {
	all := slices.Clone(symbols)
	slices.SortStableFunc(all, func(a, b struct {
		name string
		addr uint64
		kind byte
	}) int {
		switch {
		case a.addr < b.addr:
			return -1
		case a.addr > b.addr:
			return 1
		}
		return 0
	})
	byName := make([]int, len(all))
	for i := range byName {
		byName[i] = i
	}
	slices.SortStableFunc(byName, func(a, b int) int { return strings.Compare(all[a].name, all[b].name) })
	rest, err := json.Marshal(map[string]any{"release": Release, "banner": Banner, "fields": fields, "enums": constants})
	if err != nil {
		panic(err) // strings and numbers only
	}
	var addrs, ends, order, kinds, names []byte
	le := binary.LittleEndian
	for i, s := range all {
		names = append(names, s.name...)
		addrs = le.AppendUint64(addrs, s.addr)
		ends = le.AppendUint32(ends, uint32(len(names)))
		order = le.AppendUint32(order, uint32(byName[i]))
		kinds = append(kinds, s.kind)
	}
	b := make([]byte, 32)
	copy(b, "HBKPROF\n")
	le.PutUint32(b[8:], 1)
	le.PutUint32(b[16:], uint32(len(all)))
	le.PutUint32(b[20:], uint32(len(names)))
	le.PutUint32(b[24:], uint32(len(rest)))
	b = slices.Concat(b, addrs, ends, order, kinds, names, rest)
	le.PutUint32(b[12:], crc32.Checksum(b[16:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// linux is a guest's kernel in its memory.
type linux struct{ g *xentest.Guest }

// put writes little-endian numbers at a kernel address.
func (l linux) put(va uint64, size int, v uint64) {
	gpa := va - direct
	if va >= text {
		gpa = va - text + textPhys
	}
	l.g.Write(gpa, binary.LittleEndian.AppendUint64(nil, v)[:size])
}

// table writes an entry of a page table at a physical address.
func (l linux) table(gpa, v uint64) { l.g.Write(gpa, binary.LittleEndian.AppendUint64(nil, v)) }

func percpu(cpu int) uint64 { return direct + percpuPhys + uint64(cpu)*percpuSize }

// runqueue is the address of a CPU's run queue.
func runqueue(cpu int) uint64 { return percpu(cpu) + symbol("runqueues") }

// boot writes the kernel of so many CPUs.
func (l linux) boot(cpus int) {
	const present, large = 1, 1 << 7
	const pdpt, pd, directPDPT, directPD, idtPDPT, idtPD, idtPT, idt = 0x20000, 0x21000, 0x22000, 0x23000, 0x24000,
		0x25000, 0x26000, 0x27000
	for _, root := range []uint64{kernelRoot, processRoot} {
		l.table(root+8*511, pdpt|present)
		l.table(root+8*(direct>>39&511), directPDPT|present)
		l.table(root+8*(idtArea>>39&511), idtPDPT|present)
	}
	l.table(pdpt+8*510, pd|present)
	l.table(pd+8*(text>>21&511), textPhys|present|large)
	l.table(directPDPT, directPD|present)
	for i := range uint64(ram >> 21) {
		l.table(directPD+8*i, i<<21|present|large)
	}
	l.table(idtPDPT, idtPD|present)
	l.table(idtPD, idtPT|present)
	l.table(idtPT, idt|present)
	// The gate of the page fault (Intel SDM volume 3, 6.14.1).
	const pageFault = 14
	handler := symbol("asm_exc_page_fault")
	gate := binary.LittleEndian.AppendUint16(nil, uint16(handler))
	gate = append(gate, 0x10, 0, 0, 0x8e)
	gate = binary.LittleEndian.AppendUint16(gate, uint16(handler>>16))
	gate = binary.LittleEndian.AppendUint32(gate, uint32(handler>>32))
	l.g.Write(idt+16*pageFault, gate)

	l.g.Write(symbol("linux_banner")-text+textPhys, []byte(Banner+"\n"))
	l.put(symbol("system_state"), 4, 3)
	l.put(symbol("page_offset_base"), 8, direct)
	l.put(symbol("max_pfn"), 8, ram>>12)
	l.put(symbol("panic_cpu"), 4, 1<<32-1)
	l.put(symbol("total_forks"), 8, 77)
	l.put(symbol("_totalram_pages"), 8, ram>>12)
	l.put(symbol("vm_zone_stat"), 8, 500)
	keeper := symbol("tk_core") + 8
	l.put(symbol("tk_core"), 4, 2)
	l.put(keeper+0x18, 8, 6e9)
	l.put(keeper+0x28, 4, 8)
	// A trapped function begins with an instruction of one byte.
	l.g.Write(symbol(dom0.SwitchFunction)-text+textPhys, bytes.Repeat([]byte{0x90}, 0x40))
	for cpu := range cpus {
		l.put(symbol("__per_cpu_offset")+8*uint64(cpu), 8, percpu(cpu))
		rq := runqueue(cpu)
		l.put(rq+switchesOff, 8, firstSwitches)
		l.put(rq+4, 4, 1)
		l.put(rq+0x18, 8, task(0))
		l.put(rq+clockOff, 8, 7e9)
		l.put(percpu(cpu)+symbol("pcpu_hot")+8, 4, 1<<31)
	}
	l.tasks("swapper/0", "init", "kthreadd")
}

// task is the address of process i; 0 is init_task.
func task(i int) uint64 {
	if i == 0 {
		return symbol("init_task")
	}
	return direct + taskPhys + uint64(i)*0x400
}

// tasks writes the task list: processes of one thread each.
func (l linux) tasks(names ...string) {
	at := func(i int, name string) uint64 { return task(i) + uint64(fields["task_struct."+name].Offset) }
	for i, comm := range names {
		next := at((i+1)%len(names), "tasks")
		head := direct + signalPhys + uint64(i)*0x100
		l.put(at(i, "tasks"), 8, next)
		l.put(at(i, "pid"), 4, uint64(i))
		l.put(at(i, "signal"), 8, head)
		l.put(at(i, "stack"), 8, direct+stackPhys+uint64(i)<<14)
		l.put(at(i, "thread.sp"), 8, direct+stackPhys+uint64(i)<<14+0x3e00)
		l.put(at(i, "nvcsw"), 8, 40)
		l.put(head+16, 8, at(i, "thread_node"))
		l.put(at(i, "thread_node"), 8, head+16)
		l.put(at(i, "thread_node")+8, 8, head+16)
		for j, c := range []byte(comm) {
			l.put(at(i, "comm")+uint64(j), 1, uint64(c))
		}
	}
	l.put(symbol("nr_threads"), 4, uint64(len(names)-1))
}

// registers are those of a vCPU in the kernel.
func registers() xenctrl.Registers {
	return xenctrl.Registers{
		CR0: 0x80050033, CR3: kernelRoot, CR4: 0x20, EFER: 0xd01, RFLAGS: 0x202,
		LSTAR: symbol("entry_SYSCALL_64"), IDTBase: idtArea, RSP: direct + stackPhys + 0x3e00,
	}
}
