// Package xentest is a Xen in memory, for tests of programs that use package
// xenctrl. It needs no Xen and no C compiler.
//
// A [Host] has physical CPUs, machine memory, a xenstore, trace buffers and
// guests. [Host.Xen] and [Host.Store] return the handles that xenctrl.Open and
// xenctrl.OpenStore return on a real host. What they do follows Xen 4.20: the
// error numbers, the counts of pauses, the event ring, altp2m views that are
// filled page by page, and what a monitor leaves behind if it dies.
//
// A [Guest] has memory, vCPUs and, for each vCPU, a program of [Instruction]
// values. An instruction meets the permissions of the page it lies in, and of
// the memory it reads or writes. It meets the INT3 that a monitor has written over it.
// The guest executes in [Guest.Run], and whenever a monitor waits for events.
// Memory is shared with the mappings of the handle, as on Xen: what one side
// writes the other side sees at once.
//
// [Guest.Clean] tells what a monitor has left in a guest. [Host.Fail] has a
// library function fail. [Host.Calls] returns the calls so far.
//
// The package needs Linux (memfd_create).
//
// # What it leaves out
//
// There are no page tables: an instruction carries its virtual and its physical
// address. To read a guest's kernel through page tables, a test writes them into
// the memory. Nothing is emulated but the instructions above. Time does
// not pass in the guest: each instruction takes one microsecond of its CPU time.
package xentest
