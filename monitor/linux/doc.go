// Package linux reads the kernel of a Linux guest from outside: where KASLR put
// it, its run queues, its threads and what they wait for, its counters of memory.
//
// It needs two things of the caller: physical memory (Memory, which a driver
// provides) and a Layout, which says where symbols were linked and how structures
// lie; bench/dom0 makes one of guests/kernel's profile. Open finds the kernel from
// the registers of the vCPUs and proves that it is the one of the Layout. The
// Kernel it returns implements monitor.Kernel and monitor.Symbols.
//
// The guest runs while it is read, and everything read is guest memory and may be
// garbage. So every pointer is checked before it is followed, every list has an
// end (a count, a loop that is noticed, and a limit of time for the walk of the
// task list), and what could not be read is told, not left out in silence. Reading
// a run queue allocates nothing.
//
// # KASLR and guests of type PVH
//
// Linux' boot loader of its own, the decompressor in a vmlinuz, chooses where the
// kernel runs. A PVH guest never runs it: Xen's toolstack unpacks a vmlinuz itself
// (tools/libs/guest/xg_dom_bzimageloader.c) and the guest starts at the PVH entry
// of the ELF file. Nor are the kernel's memory regions (page_offset_base and
// others) randomised then, for the flag that asks for it is set by the
// decompressor too. To watch kernels as users run them, which in HVM guests are
// moved, bench/dom0 moves the ELF file of such a guest itself (kernel.Relocate).
package linux
