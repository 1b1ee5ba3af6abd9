package linux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"hangbench/monitor/detect"
	"hangbench/monitor/driver"
)

// Kernel is the kernel of a running guest. It implements monitor.Kernel and
// monitor.Symbols. One goroutine may call RunQueue, Inspect, Callers and
// CounterPlace; any number may call the other methods.
type Kernel struct {
	mem         Memory
	layout      Layout
	space       *Space // the kernel's own page tables
	slide       uint64
	off         offsets
	needResched uint32 // mask in thread_info.flags
	unjudged    []detect.Unjudged

	cpus           []cpu
	textLo, textHi uint64 // _stext and _etext, slid
	reader
	taskList
	counterSymbols

	graceAt   graceFields
	frozenAt  frozenFields
	disksAt   diskFields
	serversAt serverFields
	seen      seen
}

// seen holds what is read once an inspection, and only if a thread waits for it.
type seen struct {
	systems     []system // that are frozen
	systemsRead bool
	disks       []detect.Disk
	devices     []device
	disksRead   bool
	servers     []server
	serversRead bool
}

// forget empties it for the next inspection.
func (s *seen) forget() {
	*s = seen{systems: s.systems[:0], disks: s.disks[:0], devices: s.devices[:0], servers: s.servers[:0]}
}

// cpu holds the addresses of a CPU's own variables, 0 for those that the kernel does
// not have.
type cpu struct {
	rq, preempt, timers, irqs, events uint64
	offset                            uint64 // from the place of a per-CPU variable to the CPU's own
	numbered                          uint64 // kstat.irqs_sum

	// The name of the task that ran last: its bytes in memory, and as a printable string.
	comm [16]byte
	name string

	// What RunQueue read last, and the task switches at the last inspection.
	runnable               uint32
	schedule               detect.Schedule
	switches, switchesThen uint64
}

// kernelHalf is the first address of the kernel's half of the address space,
// with five levels of page tables too.
const kernelHalf = 0xff00000000000000

const (
	// alignment is the least alignment of a slide: KASLR moves the kernel by multiples
	// of CONFIG_PHYSICAL_ALIGN, which is at least 2 MiB on x86-64.
	alignment = 2 << 20
	// maxSlide bounds the slide in bytes: KERNEL_IMAGE_SIZE in
	// arch/x86/include/asm/page_64_types.h.
	maxSlide = 1 << 30
	// maxCPUs bounds the number of CPUs.
	maxCPUs = 512
)

// ErrBooting says that the guest's kernel was found and cannot be read yet: its CPUs
// have no areas of their own, or do not schedule.
var ErrBooting = errors.New("the kernel is in its early boot and cannot be read yet")

// Open finds the kernel in the guest's memory. regs are the registers of the vCPUs,
// in the order of their numbers; those of one vCPU suffice. Open does not need the
// kernel's command line.
//
// The slide of KASLR is the distance between the entry of system calls (LSTAR) and
// its linked address. The interrupt table, which the kernel maps for user space too,
// gives the slide a second time: if both are known they must agree. The slide counts
// only if linux_banner is then where it must be.
//
// With page-table isolation the CR3 of a vCPU in user space is a root without the
// kernel. The root with the kernel is one page below. Through it Open finds the
// kernel's own root, which stays when the process ends.
//
// The error is ErrBooting if the kernel is not ready yet. Other errors say that no
// vCPU leads to the kernel, that the symbols belong to another kernel, or that the
// layout lacks something.
func Open(mem Memory, layout Layout, regs ...driver.Registers) (*Kernel, error) {
	k, err := open(mem, layout, regs...)
	if err == nil {
		k.unjudged = Unjudged(layout)
	}
	return k, err
}

// open is Open without what cannot be judged.
func open(mem Memory, layout Layout, regs ...driver.Registers) (*Kernel, error) {
	if len(regs) == 0 || len(regs) > maxCPUs {
		return nil, fmt.Errorf("open the guest's kernel: registers of %d vCPUs, want 1 to %d", len(regs), maxCPUs)
	}
	k := &Kernel{mem: mem, layout: layout}
	var errs []error
	for i := range regs {
		err := k.find(&regs[i])
		if err == nil {
			errs = nil
			break
		}
		errs = append(errs, fmt.Errorf("vCPU %d: %w", i, err))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("find the guest's kernel: %w", err)
	}
	if k.earlyBoot() {
		return nil, ErrBooting
	}
	if err := k.lookUpFields(); err != nil {
		return nil, err
	}
	return k, k.prepare(len(regs))
}

// earlyBoot reports whether the kernel is known not to schedule yet (system_state
// in init/main.c). The areas of its CPUs are moved before that.
func (k *Kernel) earlyBoot() bool {
	from, ok := k.layout.Constant("SYSTEM_SCHEDULING")
	va, err := k.Symbol("system_state")
	if !ok || err != nil {
		return false
	}
	var b [4]byte
	if err := k.space.Read(va, b[:]); err != nil {
		return false
	}
	return int64(binary.LittleEndian.Uint32(b[:])) < from
}

// find finds the slide and the page tables from the registers of one vCPU.
func (k *Kernel) find(r *driver.Registers) error {
	if r.CR3&addrMask == 0 {
		return errNoTables
	}
	banner, _, ok := k.layout.Lookup("linux_banner")
	if !ok {
		return errors.New("the symbols have no linux_banner")
	}
	var errs []error
	for _, root := range roots(r) {
		s := NewSpace(k.mem, root, la57(r))
		slide, err := k.findSlide(s, r)
		if err == nil {
			err = CheckBanner(s, banner+slide, k.layout.Banner())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("page tables at %#x: %w", root&addrMask, err))
			continue
		}
		k.space, k.slide = s, slide
		// The kernel's own root is better, if there is one: that of a process ends with it.
		for _, name := range ownRoots {
			addr, _, ok := k.layout.Lookup(name)
			if !ok {
				continue
			}
			gpa, err := s.Translate(addr + slide)
			if err != nil || gpa&0xfff != 0 {
				continue
			}
			if own := NewSpace(k.mem, gpa, la57(r)); CheckBanner(own, banner+slide, k.layout.Banner()) == nil {
				k.space = own
				break
			}
		}
		return nil
	}
	return errors.Join(errs...)
}

// errNoTables says that a vCPU cannot lead to the kernel yet.
var errNoTables = errors.New("it has no page tables yet")

// la57 reports whether the vCPU's page tables have five levels: CR4 bit 12.
func la57(r *driver.Registers) bool { return r.CR4&(1<<12) != 0 }

// roots returns what the root of the kernel's page tables can be, by a vCPU's CR3. With
// page-table isolation it is one page below that of user space.
func roots(r *driver.Registers) []uint64 {
	all := []uint64{r.CR3 &^ 0x1000}
	if r.CR3&0x1000 != 0 {
		all = append(all, r.CR3) // without isolation any frame may be a root
	}
	return all
}

// pageFault is the vector of the page fault in the interrupt table.
const pageFault = 14

// findSlide returns the slide by LSTAR and the interrupt table.
func (k *Kernel) findSlide(s *Space, r *driver.Registers) (uint64, error) {
	var errs []error
	check := func(witness string, va uint64, names ...string) (uint64, bool) {
		for _, name := range names {
			addr, _, ok := k.layout.Lookup(name)
			if !ok {
				continue
			}
			slide := va - addr
			if slide%alignment == 0 && slide < maxSlide {
				return slide, true
			}
			errs = append(errs, fmt.Errorf("%s is %#x, %#x from %s: no distance that KASLR moves a kernel",
				witness, va, slide, name))
			return 0, false
		}
		errs = append(errs, fmt.Errorf("the symbols have none of %s, which tell what to make of the %s",
			strings.Join(names, ", "), witness))
		return 0, false
	}
	var slide uint64
	found := false
	if r.LSTAR >= kernelHalf {
		slide, found = check("entry of system calls", r.LSTAR, systemCallEntries...)
	}
	if va, err := gate(s, r.IDTBase, pageFault); err != nil {
		errs = append(errs, err)
	} else if second, ok := check("page fault's handler", va, pageFaultEntries...); ok {
		if found && second != slide {
			return 0, fmt.Errorf("entry of system calls and page fault's handler disagree: "+
				"the kernel was moved by %#x or by %#x", slide, second)
		}
		slide, found = second, true
	}
	if !found {
		return 0, errors.Join(append(errs, errors.New("no witness of where the kernel is"))...)
	}
	return slide, nil
}

// gate returns the handler of a vector (Intel SDM volume 3, 6.14.1).
func gate(s *Space, table uint64, vector uint64) (uint64, error) {
	if table < kernelHalf {
		return 0, fmt.Errorf("interrupt table at %#x is not the kernel's", table)
	}
	var b [16]byte
	if err := s.Read(table+16*vector, b[:]); err != nil {
		return 0, fmt.Errorf("read the interrupt table: %w", err)
	}
	le := binary.LittleEndian
	if kind := b[5] & 0x9f; kind != 0x8e && kind != 0x8f {
		return 0, fmt.Errorf("entry %d of the interrupt table is no gate", vector)
	}
	return uint64(le.Uint16(b[0:])) | uint64(le.Uint16(b[6:]))<<16 | uint64(le.Uint32(b[8:]))<<32, nil
}

// prepare finds the variables of the kernel and of its CPUs. They do not move later.
func (k *Kernel) prepare(cpus int) error {
	k.reader.space = k.space
	k.needResched = needResched(k.layout.Banner())
	k.textLo, _ = k.Symbol("_stext")
	k.textHi, _ = k.Symbol("_etext")
	k.known = make(map[uint64]int32)
	k.names = make(map[string]int32)
	k.findSymbols()
	k.findDirect()
	k.findGrace()
	k.findFrozen()
	k.findDisks()
	k.findServers()
	offsets, err := k.Symbol("__per_cpu_offset")
	if err != nil {
		return err
	}
	if _, _, ok := k.layout.Lookup("runqueues"); !ok {
		return errors.New("the kernel's symbols have no runqueues")
	}
	for i := range cpus {
		off, err := k.u64(offsets + 8*uint64(i))
		if err != nil {
			return fmt.Errorf("find the variables of CPU %d: %w", i, err)
		}
		at := func(name string, plus place) uint64 {
			addr, perCPU, ok := k.layout.Lookup(name)
			if !ok || !perCPU || !plus.ok {
				return 0
			}
			if addr = k.PerCPU(addr) + off + plus.off; addr < kernelHalf {
				return 0
			}
			return addr
		}
		c := cpu{
			offset: off, rq: at("runqueues", place{0, true}), timers: at("hrtimer_bases", place{0, k.off.timer.len > 0}),
			irqs: at("irq_stat", place{0, k.off.irqs.len > 0}), events: at("vm_event_states", place{0, true}),
			numbered: at("kstat", k.off.numbered),
		}
		if f, ok := k.layout.Field("pcpu_hot", "preempt_count"); ok { // 6.2 to 6.14
			c.preempt = at("pcpu_hot", place{uint64(f.Offset), true})
		} else {
			c.preempt = at("__preempt_count", place{0, true})
		}
		if c.rq == 0 {
			return fmt.Errorf("the run queue of CPU %d is not in the kernel: offset %#x", i, off)
		}
		k.cpus = append(k.cpus, c)
	}
	return nil
}

// maxDirect bounds the direct map: with four levels of page tables it has 64 TiB
// (Documentation/arch/x86/x86_64/mm.rst).
const maxDirect = 1 << 46

// findDirect finds the direct map of all memory. page_offset_base holds the virtual
// address of physical address 0 and does not change after boot; max_pfn is one more
// than the last frame. The map counts only if the kernel's page tables give the same
// place for their own root. Memory that is added to the guest later lies outside the
// map; its addresses are translated by the page tables, as all are without a map.
func (k *Kernel) findDirect() {
	read := func(name string) uint64 {
		va, err := k.Symbol(name)
		if err != nil {
			return 0
		}
		v, err := k.u64(va)
		if err != nil {
			return 0
		}
		return v
	}
	base, frames := read("page_offset_base"), read("max_pfn")
	// KASLR moves it by multiples of 1 GiB, which one entry of level 3 maps.
	if base < kernelHalf || base%(1<<30) != 0 || frames > maxDirect>>12 || k.space.root >= frames<<12 {
		return
	}
	if gpa, err := k.space.Translate(base + k.space.root); err == nil && gpa == k.space.root {
		k.direct, k.directLen = base, frames<<12
	}
}

// needResched returns the mask, in thread_info.flags, of the bits that ask a task to
// schedule. TIF_NEED_RESCHED is bit 3 (arch/x86/include/asm/thread_info.h), and bit 4
// since x86 uses the numbers of include/asm-generic/thread_info_tif.h (6.18).
// TIF_NEED_RESCHED_LAZY, the bit above it, exists since 6.13. It asks first: a tick that
// finds it set asks by TIF_NEED_RESCHED.
func needResched(banner string) uint32 {
	since := func(major, minor, a, b int) bool { return major > a || major == a && minor >= b }
	major, minor := version(banner)
	switch {
	case since(major, minor, 6, 18):
		return 1<<4 | 1<<5
	case since(major, minor, 6, 13):
		return 1<<3 | 1<<4
	}
	return 1 << 3
}

// version returns the first two numbers of the release in a banner, 0 for those that are
// not there.
func version(banner string) (major, minor int) {
	f := strings.Fields(banner)
	if len(f) < 3 {
		return 0, 0
	}
	first, rest, _ := strings.Cut(f[2], ".")
	if end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		rest = rest[:end]
	}
	a, err1 := strconv.Atoi(first)
	b, err2 := strconv.Atoi(rest)
	if err1 != nil || err2 != nil {
		return 0, 0
	}
	return a, b
}

// Slide returns how far KASLR moved the kernel, in bytes.
func (k *Kernel) Slide() uint64 { return k.slide }

// Symbol returns the virtual address of a symbol in the running kernel. It returns
// an error for a per-CPU variable, which has one for each CPU.
func (k *Kernel) Symbol(name string) (uint64, error) {
	addr, perCPU, ok := k.layout.Lookup(name)
	if !ok {
		return 0, fmt.Errorf("the kernel has no symbol %s", name)
	}
	if perCPU {
		return 0, fmt.Errorf("symbol %s is a variable of every CPU", name)
	}
	return addr + k.slide, nil
}

// PerCPU returns, for the linked address of a per-CPU variable, the address to which the
// offset of a CPU is added in the running kernel. Before 6.15 it is an offset itself,
// which KASLR does not change.
func (k *Kernel) PerCPU(linked uint64) uint64 {
	if linked < kernelHalf {
		return linked
	}
	return linked + k.slide
}

// Translate returns the guest-physical address of a kernel address.
func (k *Kernel) Translate(va uint64) (uint64, error) { return k.space.Translate(va) }

// Function returns the kernel function that holds addr, and addr's offset in it.
func (k *Kernel) Function(addr uint64) (name string, offset uint64, ok bool) {
	if addr < kernelHalf {
		return "", 0, false
	}
	return k.layout.Function(addr - k.slide)
}

// Data returns the name of the kernel variable that starts at addr.
func (k *Kernel) Data(addr uint64) (name string, ok bool) {
	if addr < kernelHalf {
		return "", false
	}
	name, off, ok := k.layout.Data(addr - k.slide)
	if !ok || off != 0 {
		return "", false
	}
	return name, true
}

// Isolated reports whether the kernel runs with page-table isolation:
// X86_FEATURE_PTI, bit 11 of word 7 in arch/x86/include/asm/cpufeatures.h.
func (k *Kernel) Isolated() (bool, error) {
	cpu, err := k.Symbol("boot_cpu_data")
	if err != nil {
		return false, err
	}
	f, ok := k.layout.Field("cpuinfo_x86", "x86_capability")
	if !ok || f.Size < 32 {
		return false, fmt.Errorf("%w: cpuinfo_x86.x86_capability", errLayout)
	}
	var b [4]byte
	if err := k.space.Read(cpu+uint64(f.Offset)+4*7, b[:]); err != nil {
		return false, fmt.Errorf("read the kernel's CPU features: %w", err)
	}
	return binary.LittleEndian.Uint32(b[:])&(1<<11) != 0, nil
}

// CounterPlace returns the guest frame, and the offset in it, of the count of
// task switches of a CPU (rq.nr_switches, 8 bytes).
func (k *Kernel) CounterPlace(cpu int) (gfn, offset uint64, err error) {
	if cpu < 0 || cpu >= len(k.cpus) {
		return 0, 0, fmt.Errorf("there is no CPU %d", cpu)
	}
	gpa, err := k.space.Translate(k.cpus[cpu].rq + k.off.switches)
	if err != nil {
		return 0, 0, fmt.Errorf("find the count of switches of CPU %d: %w", cpu, err)
	}
	return gpa >> 12, gpa & 0xfff, nil
}
