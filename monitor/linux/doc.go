// Package linux reads the kernel of a Linux guest from outside: where KASLR put
// it, its run queues, its threads and what they wait for, its counters of memory.
//
// The caller gives two things: physical memory (Memory, which a driver provides) and
// a Layout, which has the addresses of symbols and the places of fields; bench/dom0
// makes one from a profile of guests/kernel. Open finds the kernel from the registers
// of the vCPUs and proves that it is the kernel of the Layout. The Kernel that it
// returns implements monitor.Kernel and monitor.Symbols.
//
// If no kernel file is at hand, FindImage finds where the guest has the kernel's image, from
// which guests/kernel makes a profile too.
//
// The guest runs while it is read, and all of its memory may be garbage. So every
// pointer is checked before it is followed. Every list has a bound: a count, a check
// for loops, and a time limit for the walk of the task list. Inspect names what it
// could not read. Reading a run queue allocates nothing.
//
// # KASLR, and guests of types PVH and HVM
//
// The decompressor in a vmlinuz chooses where the kernel runs. A PVH guest never runs
// it: Xen's toolstack unpacks the vmlinuz itself
// (tools/libs/guest/xg_dom_bzimageloader.c), and the guest starts at the PVH entry of
// the ELF file. The kernel's memory regions (page_offset_base and others) are not
// randomised either, because the decompressor sets the flag for it. To watch moved
// kernels, bench/dom0 moves the ELF file of a PVH guest itself (kernel.Relocate).
//
// In an HVM guest a boot loader starts the vmlinuz, and the decompressor runs. It chooses
// the kernel's virtual and its physical address by themselves, and the kernel moves its
// memory regions.
package linux
