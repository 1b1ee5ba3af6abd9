package beat

// Workloads of controls: each looks like a hang to somebody, and is none.
var (
	Clocks = Workload{"clocks", true, true, "set the wall clock an hour forward or back, or its pace 10% faster or as " +
		"before, once a period"}
	Queue    = Workload{"queue", false, false, "read one block of the disk, uncached, in one of 16 processes that do so"}
	Swapping = Workload{"swapping", true, false,
		"write to 8 pages of memory, a third of it swapped by a control group, and sleep"}
	Grouped = Workload{"grouped", false, false, "write to 64 pages of memory, a third of it swapped by a control group"}
	Printk  = Workload{"printk", false, false, "write 32 lines to the kernel's log, which goes to the console"}
	Polls   = Workload{"polls", false, false, "read a word of memory a million times, without a system call"}
	KPolls  = Workload{"kpolls", false, false, "an operation of io_uring, by a kernel thread that polls without a pause"}
	Build   = Workload{"build", false, false, "one of 4 programs at a time: hash a file, write the result, exit"}
	Exec    = Workload{"exec", false, false, "one run of a program of the guest, which a suite names, with exit status 0"}
	Futexes = Workload{"futexes", true, false, "take two locks of the userland (futexes), which two processes share"}
)

// likeHangs returns the workloads of controls.
func likeHangs() []Workload {
	return []Workload{Clocks, Queue, Swapping, Grouped, Printk, Polls, KPolls, Build, Exec, Futexes}
}

// Requests of controls and of the faults that suites declare.
const (
	Deadlock Request = "deadlock" // have the two processes of Futexes take their locks in opposite order
	Unlock   Request = "unlock"   // release these locks by force
	Hush     Request = "hush"     // for HushTime, let nothing in the guest run, not even the heartbeat
	Hoard    Request = "hoard"    // write files to memory until that of others no longer fits
)
