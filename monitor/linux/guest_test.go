package linux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"hangbench/monitor/driver"
)

// The layout of the synthetic guest. Addresses of symbols are as linked.
const (
	text        = 0xffffffff81000000
	textPhys    = 16 << 20
	direct      = 0xffff888000000000 // all memory, from physical address 0 on
	idtArea     = 0xfffffe0000000000
	fakeRAM     = 64 << 20
	processRoot = 0x10000 // and its half for user space one page above
	percpuPhys  = 32 << 20
	percpuSize  = 0x10000
	taskPhys    = 40 << 20
	taskSize    = 0x2000
	signalPhys  = 44 << 20
	stackPhys   = 48 << 20
	fakeBanner  = "Linux version 6.12.1-test (hangbench@test) #1 SMP"
)

var fakeSymbols = map[string]uint64{
	"_stext":              text,
	"_etext":              text + 0x100000,
	"entry_SYSCALL_64":    text + 0x1000,
	"asm_exc_page_fault":  text + 0x2000,
	"linux_banner":        text + 0x200000,
	"init_top_pgt":        text + 0x201000,
	"__per_cpu_offset":    text + 0x202000,
	"init_task":           text + 0x203000,
	"nr_threads":          text + 0x205000,
	"total_forks":         text + 0x205008,
	"panic_cpu":           text + 0x205010,
	"system_state":        text + 0x205018,
	"tk_core":             text + 0x206000,
	"_totalram_pages":     text + 0x207000,
	"vm_zone_stat":        text + 0x207100,
	"vm_node_stat":        text + 0x207200,
	"big_lock":            text + 0x208000,
	"boot_cpu_data":       text + 0x209000,
	"page_offset_base":    text + 0x209800,
	"max_pfn":             text + 0x209808,
	"rcu_state":           text + 0x20a000,
	"jiffies":             text + 0x20a800,
	"super_blocks":        text + 0x20b000,
	"blockdev_superblock": text + 0x20b100,
	"fuse_dev_operations": text + 0x20b200,
	"runqueues":           0x1000,
	"hrtimer_bases":       0x1800,
	"pcpu_hot":            0x1900,
	"irq_stat":            0x1a00,
	"kstat":               0x1b00,
	"vm_event_states":     0x2000,
}

// fakeFunctions are 0x1000 long each.
var fakeFunctions = map[uint64]string{
	text + 0x1000: "entry_SYSCALL_64",
	text + 0x3000: "__schedule",
	text + 0x4000: "__mutex_lock",
	text + 0x5000: "do_work",
	text + 0x6000: "kthread",
	text + 0x7000: "rwsem_down_write_slowpath",
	text + 0x9000: "__wait_rcu_gp",
	text + 0xa000: "percpu_rwsem_wait",
	text + 0xb000: "submit_bio_wait",
	text + 0xc000: "request_wait_answer",
	text + 0xd000: "do_freezer_trap",
}

var fakeFields = map[string]Field{
	"task_struct.thread_info.flags":       {Offset: 0, Size: 8},
	"task_struct.__state":                 {Offset: 24, Size: 4},
	"task_struct.stack":                   {Offset: 32, Size: 8},
	"task_struct.in_iowait":               {Offset: 40, Size: 1, BitOffset: 3, BitSize: 1},
	"task_struct.on_rq":                   {Offset: 0x44, Size: 4},
	"task_struct.on_cpu":                  {Offset: 0x48, Size: 4},
	"task_struct.prio":                    {Offset: 0x4c, Size: 4},
	"task_struct.policy":                  {Offset: 0x50, Size: 4},
	"task_struct.thread_info.cpu":         {Offset: 0x54, Size: 4},
	"task_struct.se.cfs_rq":               {Offset: 0x58, Size: 8},
	"task_struct.cpu":                     {Offset: 0x60, Size: 4},
	"task_struct.tasks":                   {Offset: 0x100, Size: 16},
	"task_struct.pid":                     {Offset: 0x120, Size: 4},
	"task_struct.signal":                  {Offset: 0x128, Size: 8},
	"task_struct.thread_node":             {Offset: 0x130, Size: 16},
	"task_struct.comm":                    {Offset: 0x150, Size: 16},
	"task_struct.nvcsw":                   {Offset: 0x160, Size: 8},
	"task_struct.nivcsw":                  {Offset: 0x168, Size: 8},
	"task_struct.thread.sp":               {Offset: 0x1000, Size: 8},
	"signal_struct.thread_head":           {Offset: 16, Size: 16},
	"rq.nr_switches":                      {Offset: 0x10, Size: 8},
	"rq.nr_running":                       {Offset: 4, Size: 4},
	"rq.nr_uninterruptible":               {Offset: 0x2c, Size: 4},
	"rq.clock":                            {Offset: 0x20, Size: 8},
	"rq.curr":                             {Offset: 0x18, Size: 8},
	"rq.stop":                             {Offset: 0x30, Size: 8},
	"cfs_rq.throttle_count":               {Offset: 0x1c, Size: 4},
	"kernel_stat.irqs_sum":                {Offset: 0x10, Size: 8},
	"pcpu_hot.preempt_count":              {Offset: 8, Size: 4},
	"hrtimer_cpu_base.expires_next":       {Offset: 0x28, Size: 8},
	"hrtimer_cpu_base.hres_active":        {Offset: 0x10, Size: 1, BitOffset: 2, BitSize: 1},
	"irq_cpustat_t.apic_timer_irqs":       {Offset: 8, Size: 4},
	"irq_cpustat_t.irq_call_count":        {Offset: 0x30, Size: 4},
	"irq_cpustat_t.irq_hv_callback_count": {Offset: 0x44, Size: 4},
	"mutex.owner":                         {Offset: 0, Size: 8},
	"mutex.wait_list":                     {Offset: 16, Size: 16},
	"mutex_waiter.list":                   {Offset: 0, Size: 16},
	"mutex_waiter.task":                   {Offset: 16, Size: 8},
	"rw_semaphore.owner":                  {Offset: 8, Size: 8},
	"rw_semaphore.wait_list":              {Offset: 24, Size: 16},
	"rwsem_waiter.list":                   {Offset: 0, Size: 16},
	"rwsem_waiter.task":                   {Offset: 16, Size: 8},
	"timekeeper.tkr_mono.base":            {Offset: 0x18, Size: 8},
	"timekeeper.tkr_mono.xtime_nsec":      {Offset: 0x20, Size: 8},
	"timekeeper.tkr_mono.shift":           {Offset: 0x28, Size: 4},
	"cpuinfo_x86.x86_capability":          {Offset: 0x20, Size: 96},
	"seqcount_raw_spinlock_t":             {Size: 4},
	"timekeeper.ntp_tick":                 {Offset: 0x30, Size: 8},
	"rcu_state.gp_seq":                    {Offset: 0x10, Size: 8},
	"rcu_state.gp_flags":                  {Offset: 0x18, Size: 2},
	"rcu_state.gp_kthread":                {Offset: 0x20, Size: 8},
	"rcu_state.expedited_sequence":        {Offset: 0x28, Size: 8},
	"rcu_state.gp_start":                  {Offset: 0x30, Size: 8},
	"super_block.s_list":                  {Offset: 0, Size: 16},
	"super_block.s_type":                  {Offset: 0x18, Size: 8},
	"super_block.s_id":                    {Offset: 0x20, Size: 32},
	"super_block.s_writers.frozen":        {Offset: 0x40, Size: 2},
	"super_block.s_writers.rw_sem":        {Offset: 0x48, Size: 0x60},
	"super_block.s_inodes":                {Offset: 0xb0, Size: 16},
	"file_system_type.name":               {Offset: 0, Size: 8},
	"wait_queue_entry.private":            {Offset: 8, Size: 8},
	"wait_queue_entry.entry":              {Offset: 24, Size: 16},
	"bdev_inode":                          {Size: 0x200},
	"bdev_inode.bdev":                     {Offset: 0, Size: 0x100},
	"bdev_inode.vfs_inode":                {Offset: 0x100, Size: 0x100},
	"inode.i_sb_list":                     {Offset: 0x40, Size: 16},
	"block_device.bd_disk":                {Offset: 0x10, Size: 8},
	"block_device.bd_stats":               {Offset: 0x18, Size: 8},
	"gendisk.disk_name":                   {Offset: 0xc, Size: 32},
	"gendisk.part0":                       {Offset: 0x40, Size: 8},
	"hd_struct.dkstats":                   {Offset: 0x28, Size: 8},
	"disk_stats.ios":                      {Offset: 0x40, Size: 32},
	"task_struct.files":                   {Offset: 0x170, Size: 8},
	"files_struct.fdt":                    {Offset: 0x20, Size: 8},
	"fdtable.fd":                          {Offset: 8, Size: 8},
	"fdtable.max_fds":                     {Offset: 0, Size: 4},
	"file.f_op":                           {Offset: 0x10, Size: 8},
	"file.private_data":                   {Offset: 0x20, Size: 8},
	"fuse_conn":                           {Size: 0x100},
	"fuse_dev.fc":                         {Offset: 8, Size: 8},
	"fuse_dev.chan":                       {Offset: 0x10, Size: 8},
	"fuse_chan.conn":                      {Offset: 0x18, Size: 8},
}

var fakeConstants = map[string]int64{
	"zone_stat_item.NR_FREE_PAGES":           0,
	"vm_event_item.PGSCAN_KSWAPD":            1,
	"vm_event_item.PGSCAN_DIRECT":            2,
	"vm_event_item.PGSTEAL_KSWAPD":           3,
	"vm_event_item.PGMAJFAULT":               4,
	"vm_event_item.ALLOCSTALL_NORMAL":        5,
	"vm_event_item.OOM_KILL":                 6,
	"vm_event_item.PGPGIN":                   7,
	"vm_event_item.PGPGOUT":                  8,
	"SYSTEM_SCHEDULING":                      1,
	"SYSTEM_RUNNING":                         3,
	"node_stat_item.WORKINGSET_REFAULT_ANON": 1,
	"node_stat_item.WORKINGSET_REFAULT_FILE": 2,
}

// fakeLayout is a Layout in which some names may be missing.
type fakeLayout struct {
	without []string
	banner  string
}

func (l fakeLayout) has(name string) bool { return !slices.Contains(l.without, name) }

func (l fakeLayout) Banner() string { return l.banner }

func (l fakeLayout) Lookup(name string) (uint64, bool, bool) {
	a, ok := fakeSymbols[name]
	return a, a < 1<<20, ok && l.has(name)
}

func (l fakeLayout) Function(addr uint64) (string, uint64, bool) {
	name, ok := fakeFunctions[addr&^0xfff]
	return name, addr & 0xfff, ok
}

// Data: variables are 0x100 bytes long.
func (l fakeLayout) Data(addr uint64) (string, uint64, bool) {
	for name, a := range fakeSymbols {
		if a >= text+0x200000 && addr-a < 0x100 && (a == addr || a > fakeSymbols["vm_node_stat"]) {
			return name, addr - a, true
		}
	}
	return "", 0, false
}

func (l fakeLayout) Field(typ, path string) (Field, bool) {
	f, ok := fakeFields[typ+"."+path]
	return f, ok && l.has(typ+"."+path)
}

func (l fakeLayout) SizeOf(typ string) (uint32, bool) {
	f, ok := fakeFields[typ]
	return f.Size, ok && l.has(typ)
}

func (l fakeLayout) Constant(name string) (int64, bool) {
	v, ok := fakeConstants[name]
	return v, ok && l.has(name)
}

// fakeGuest is a guest of two CPUs with a handful of threads. Its memory is
// frames by number; others below fakeRAM read as zero.
type fakeGuest struct {
	frames map[uint64][]byte
	gone   map[uint64]bool // frames that cannot be read
	reads  int
	slide  uint64
	tasks  int
}

var errGone = errors.New("frame cannot be mapped")

func (g *fakeGuest) ReadPhysical(gpa uint64, b []byte) error {
	g.reads++
	for len(b) > 0 {
		if gpa >= fakeRAM || g.gone[gpa>>12] {
			return errGone
		}
		n := min(len(b), int(0x1000-gpa&0xfff))
		if f, ok := g.frames[gpa>>12]; ok {
			copy(b[:n], f[gpa&0xfff:])
		} else {
			clear(b[:n])
		}
		b, gpa = b[n:], gpa+uint64(n)
	}
	return nil
}

func (g *fakeGuest) write(gpa uint64, b []byte) {
	for i, c := range b {
		at := gpa + uint64(i)
		f, ok := g.frames[at>>12]
		if !ok {
			f = make([]byte, 0x1000)
			g.frames[at>>12] = f
		}
		f[at&0xfff] = c
	}
}

// phys is the physical address of a symbol as linked, or of a direct-map address.
func phys(va uint64) uint64 {
	if va >= text {
		return va - text + textPhys
	}
	return va - direct
}

func (g *fakeGuest) u64(va, v uint64) { g.write(phys(va), binary.LittleEndian.AppendUint64(nil, v)) }
func (g *fakeGuest) u32(va uint64, v uint32) {
	g.write(phys(va), binary.LittleEndian.AppendUint32(nil, v))
}
func (g *fakeGuest) entry(gpa, v uint64) { g.write(gpa, binary.LittleEndian.AppendUint64(nil, v)) }

func percpu(cpu int) uint64 { return direct + percpuPhys + uint64(cpu)*percpuSize }

// taskAt returns the address of thread i; 0 is init_task.
func (g *fakeGuest) taskAt(i int) uint64 {
	if i == 0 {
		return fakeSymbols["init_task"] + g.slide
	}
	return direct + taskPhys + uint64(i)*taskSize
}

// put returns the address, as linked, of a task's field.
func (g *fakeGuest) put(i int, field string) uint64 {
	a := g.taskAt(i)
	if i == 0 {
		a -= g.slide
	}
	return a + uint64(fakeFields["task_struct."+field].Offset)
}

func (g *fakeGuest) stackAt(i int) uint64 { return direct + stackPhys + uint64(i)*stackSize }

func newFakeGuest(slide uint64) *fakeGuest {
	g := &fakeGuest{frames: map[uint64][]byte{}, gone: map[uint64]bool{}, slide: slide}
	g.write(phys(fakeSymbols["system_state"]), []byte{3, 0, 0, 0})
	// Page tables: the kernel's image in 2 MiB pages, all memory likewise, and the
	// interrupt table, which user space's half has too.
	const pdpt, pd, directPDPT, directPD = 0x20000, 0x21000, 0x22000, 0x23000
	const idtPDPT, idtPD, idtPT, idt = 0x24000, 0x25000, 0x26000, 0x27000
	top := phys(fakeSymbols["init_top_pgt"])
	for _, root := range []uint64{top, processRoot} {
		g.entry(root+8*511, pdpt|present)
		g.entry(root+8*(direct>>39&511), directPDPT|present)
		g.entry(root+8*(idtArea>>39&511), idtPDPT|present)
	}
	g.entry(processRoot+0x1000+8*(idtArea>>39&511), idtPDPT|present)
	g.entry(pdpt+8*510, pd|present)
	for i := range uint64(4) {
		at := text + slide + i<<21
		g.entry(pd+8*(at>>21&511), textPhys+i<<21|present|pageSize)
	}
	g.entry(directPDPT, directPD|present)
	for i := range uint64(fakeRAM >> 21) {
		g.entry(directPD+8*i, i<<21|present|pageSize)
	}
	g.entry(idtPDPT, idtPD|present)
	g.entry(idtPD, idtPT|present)
	g.entry(idtPT, idt|present)
	handler := fakeSymbols["asm_exc_page_fault"] + slide
	gate := binary.LittleEndian.AppendUint16(nil, uint16(handler))
	gate = append(gate, 0x10, 0, 0, 0x8e)
	gate = binary.LittleEndian.AppendUint16(gate, uint16(handler>>16))
	gate = binary.LittleEndian.AppendUint32(gate, uint32(handler>>32))
	g.write(idt+16*pageFault, gate)

	g.write(phys(fakeSymbols["linux_banner"]), []byte(fakeBanner+"\n"))
	for cpu := range 2 {
		g.u64(fakeSymbols["__per_cpu_offset"]+8*uint64(cpu), percpu(cpu))
		rq := percpu(cpu) + fakeSymbols["runqueues"]
		g.u64(rq+0x10, 1000+uint64(cpu))
		g.u32(rq+4, 1)
		g.u64(rq+0x20, 7e9)
		g.u64(rq+0x18, g.taskAt(0))
		g.u32(percpu(cpu)+fakeSymbols["pcpu_hot"]+8, 1|preemptResched)
		g.u64(percpu(cpu)+fakeSymbols["hrtimer_bases"]+0x28, 8e9)
		g.u32(percpu(cpu)+fakeSymbols["hrtimer_bases"]+0x10, 1<<2)
		// Those that do not count stand between the others.
		for off, n := range map[uint64]uint32{4: 1 << 20, 8: 30, 0x10: 1 << 20, 0x30: 5, 0x34: 1 << 20, 0x44: 200} {
			g.u32(percpu(cpu)+fakeSymbols["irq_stat"]+off, n)
		}
		g.u64(percpu(cpu)+fakeSymbols["kstat"]+0x10, 700)
		for i := range uint64(9) {
			g.u64(percpu(cpu)+fakeSymbols["vm_event_states"]+8*i, 10*i)
		}
	}
	// Calls in front of what will be return addresses: E8 to __schedule, and FF D0.
	for _, f := range []uint64{0x3000, 0x4000, 0x5000, 0x7000, 0x9000, 0xa000, 0xb000, 0xc000, 0xd000} {
		rel := int32(0x3000 - int64(f) - 0x105)
		g.write(phys(text+f+0x100), append([]byte{0xe8}, binary.LittleEndian.AppendUint32(nil, uint32(rel))...))
	}
	g.write(phys(text+0x6000+0x103), []byte{0xff, 0xd0})

	g.u64(fakeSymbols["page_offset_base"], direct)
	g.u64(fakeSymbols["max_pfn"], fakeRAM>>12)
	g.u32(fakeSymbols["panic_cpu"], ^uint32(0))
	g.u64(fakeSymbols["total_forks"], 77)
	g.u64(fakeSymbols["_totalram_pages"], 16384)
	g.u64(fakeSymbols["vm_zone_stat"], 9000)
	g.u64(fakeSymbols["vm_node_stat"]+8, 3)
	g.u64(fakeSymbols["vm_node_stat"]+16, 4)
	keeper := fakeSymbols["tk_core"] + 8
	g.u32(fakeSymbols["tk_core"], 2)
	g.u64(keeper+0x18, 6e9)
	g.u64(keeper+0x20, 5<<8)
	g.u32(keeper+0x28, 8)

	// Processes 1 to 4 with one thread each, and a process of the threads 5 to 7.
	names := []string{"swapper/0", "init", "kthreadd", "waiter", "holder", "work", "work", "work"}
	g.tasks = len(names) - 1
	for i, comm := range names {
		b := make([]byte, 16)
		copy(b, comm)
		g.write(phys(g.put(i, "comm")), b)
		g.u32(g.put(i, "pid"), uint32(i))
		g.u64(g.put(i, "signal"), direct+signalPhys+uint64(min(i, 5))*0x100)
		g.u64(g.put(i, "stack"), g.stackAt(i))
		g.u64(g.put(i, "thread.sp"), g.stackAt(i)+stackSize-0x200)
		g.u64(g.put(i, "nvcsw"), 40)
		g.u64(g.put(i, "nivcsw"), 2)
		g.u32(g.put(i, "prio"), 120)
	}
	g.chain(0, 1, 2, 3, 4, 5)
	for i := 1; i < 5; i++ {
		g.threads(i)
	}
	g.threads(5, 6, 7)
	g.u32(fakeSymbols["nr_threads"], uint32(g.tasks))
	g.waits(3, 4)
	return g
}

// chain links the task list.
func (g *fakeGuest) chain(tasks ...int) {
	off := uint64(fakeFields["task_struct.tasks"].Offset)
	for i, t := range tasks {
		g.u64(g.put(t, "tasks"), g.taskAt(tasks[(i+1)%len(tasks)])+off)
	}
}

// threads links the threads of the process whose leader comes first.
func (g *fakeGuest) threads(tasks ...int) {
	off := uint64(fakeFields["task_struct.thread_node"].Offset)
	head := direct + signalPhys + uint64(tasks[0])*0x100 + 16
	g.u64(head, g.taskAt(tasks[0])+off)
	prev := head
	for i, t := range tasks {
		next := head
		if i+1 < len(tasks) {
			next = g.taskAt(tasks[i+1]) + off
		}
		g.u64(g.put(t, "thread_node"), next)
		g.u64(g.put(t, "thread_node")+8, prev)
		prev = g.taskAt(t) + off
	}
}

// waits makes a thread wait for the mutex big_lock, which another one holds.
func (g *fakeGuest) waits(waiter, owner int) {
	lock := fakeSymbols["big_lock"]
	sp := g.stackAt(waiter) + stackSize - 0x200
	node := sp + 8*8
	g.u32(g.put(waiter, "__state"), taskUninterruptible)
	g.u32(g.put(owner, "__state"), taskUninterruptible|taskNoLoad)
	for i, v := range []uint64{0, 0, 0, text + 0x3105 + g.slide, text + 0x3108 + g.slide, // the second is behind no call
		lock + g.slide, text + 0x4105 + g.slide, 0,
		lock + g.slide + 16, lock + g.slide + 16, g.taskAt(waiter), 0, text + 0x5105 + g.slide, text + 0x6105 + g.slide} {
		g.u64(sp+8*uint64(i), v)
	}
	g.u64(lock, g.taskAt(owner)|1)
	g.u64(lock+16, node)
	g.u64(lock+24, node)
}

// registers returns the registers of a vCPU in the kernel, or in user space with
// page-table isolation.
func (g *fakeGuest) registers(user bool) driver.Registers {
	r := driver.Registers{CR3: processRoot | 0x801, LSTAR: fakeSymbols["entry_SYSCALL_64"] + g.slide, IDTBase: idtArea}
	if user {
		r.CR3 |= 0x1000
		r.UserMode = true
	}
	return r
}

func (g *fakeGuest) open(without ...string) (*Kernel, error) {
	return Open(g, fakeLayout{without, fakeBanner}, g.registers(true), g.registers(false))
}

func mustOpen(t interface {
	Helper()
	Fatal(...any)
}, g *fakeGuest, without ...string) *Kernel {
	t.Helper()
	k, err := g.open(without...)
	if err != nil {
		t.Fatal(fmt.Sprint("open the synthetic guest: ", err))
	}
	return k
}
