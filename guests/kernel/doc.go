// Package kernel reads the addresses of symbols and the offsets of structures from a
// Linux kernel image. It needs no program in the guest and no debug package.
//
// It takes x86-64 kernels of distributions, from 5.10 on. It unpacks a bzImage
// ([ExtractELF]), reads symbols from the tables that the kernel prints in
// /proc/kallsyms ([Symbols]), and structures from its BTF section ([Types]). [Open]
// does all of it:
//
//	k, err := kernel.Open("boot/vmlinuz")
//	schedule, ok := k.Symbols.Lookup("__schedule")
//	comm, err := k.Types.Field("task_struct", "comm")
//
// [ReadMemory] does the same for a kernel that runs in a guest, of which no file is at
// hand: a kernel keeps its symbols and its BTF in memory.
//
// The emulated host is slow, so two things are prepared outside of it. [Compact] makes
// its kernels smaller. The monitor, which runs inside, gets a [Profile]: the symbols,
// and only the fields that it needs, in a file that is checked and used in place. A
// Profile has the same methods as a Kernel:
//
//	p, err := k.Profile([]string{"task_struct.comm", "rq.cfs.nr_running", "task_struct.__state?"})
//	_, err = p.WriteTo(file)
//
// All input may be hostile: a damaged image gives an error, and never a panic or an
// endless loop.
package kernel
