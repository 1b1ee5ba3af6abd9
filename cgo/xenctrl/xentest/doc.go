// Package xentest is a Xen in memory, for tests of programs that use package xenctrl. It
// needs no Xen and no C compiler.
//
// A [Host] has physical CPUs, machine memory, a xenstore, trace buffers and guests.
// [Host.Xen] and [Host.Store] return handles like those of xenctrl.Open and
// xenctrl.OpenStore. They behave like Xen 4.20, or another release if [Config] names it:
// they have its error numbers, counted pauses, the event ring, altp2m views that are filled
// page by page, and the state that a dead monitor leaves behind.
//
// A [Guest] has memory and vCPUs. Each vCPU has a program of [Instruction] values. An
// instruction is subject to the permissions of its page and of the memory that it reads
// or writes, and to an INT3 that a monitor has written over it. The guest executes in
// [Guest.Run], after [Guest.Start], and whenever a monitor waits for events. The mappings
// of a handle and the guest share memory: each sees the writes of the other at once.
//
// [Guest.Clean] lists everything that a monitor has left in a guest. [Host.Fail] makes a
// library function fail. [Host.Calls] returns the calls so far. To replace a single
// method, embed [Host.Hypervisor] in a struct and give that to xenctrl.New.
//
// The package needs Linux (memfd_create).
//
// # Limits
//
// Instructions do not use page tables: each has a virtual and a physical address. A test
// of a program that reads a guest's kernel writes page tables into the memory itself.
// Xen's emulator knows only the instructions of the package. Each instruction takes one
// microsecond of CPU time; the guest has no other clock.
package xentest
