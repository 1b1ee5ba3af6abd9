// Package kernel says where things are inside a Linux guest: the addresses of
// its symbols and the offsets of its structures, read from the kernel image
// alone. Nothing runs in the guest, and no debug package is needed.
//
// It takes x86-64 kernels as distributions ship them, from 5.10 on: a bzImage
// is unpacked ([ExtractELF]), symbols come from the tables the kernel itself
// prints in /proc/kallsyms ([ReadKallsyms]), structures from its BTF section
// ([Types]). [Open] does all of it:
//
//	k, err := kernel.Open("boot/vmlinuz")
//	schedule, ok := k.Symbols.Lookup("__schedule")
//	comm, err := k.Types.Field("task_struct", "comm")
//
// The emulated host is slow, so two things are prepared outside of it. The
// kernels it boots are shrunk by [Compact], and the monitor, which runs inside,
// gets a [Profile]: the symbols and just the fields it asked for, in a file
// that is checked and used in place. A Profile answers the same questions with
// the same methods as a Kernel, so callers see no difference:
//
//	p, err := k.Profile([]string{"task_struct.comm", "rq.cfs.nr_running", "task_struct.__state?"})
//	_, err = p.WriteTo(file)
//
// All input is taken as hostile: a damaged image gives an error, never a panic
// or an endless loop.
package kernel
