package stress

import (
	"fmt"
	"strconv"
)

// Set is the name of the set of programs that a guest needs for these workloads.
const Set = "stress-ng"

// Programs and folders of the guest. The paths are below the root.
const (
	Program = "usr/bin/stress-ng"
	MakeFS  = "usr/sbin/mke2fs"
	Scratch = "tmp" // a folder in memory
	DiskDir = "mnt" // a folder on the guest's disk, for workloads that need it
)

// Most is the longest time in seconds for which a workload can run.
const Most = 600

// Workload is one kind of work.
type Workload uint64

const (
	None    Workload = iota // no work: not a workload
	Null                    // a process that only sleeps: shows the cost of measuring itself
	CPU                     // computation in userland
	Switch                  // a process wakes another through a pipe, and sleeps
	Fork                    // processes that are forked and end
	Syscall                 // a system call that does next to nothing
	Fault                   // pages written for the first time
	Disk                    // blocks written to a file on the guest's disk, without the page cache
	workloads
)

// kind describes a workload.
type kind struct {
	name     string
	stressor string // of stress-ng; empty for work of PID 1 itself
	args     []string
	op       string // one operation, in words
}

// kinds returns the descriptions in the order of the constants.
func kinds() []kind {
	return []kind{
		{},
		{"null", "", nil, "nap of 10 ms"},
		{"cpu", "cpu", []string{"--cpu-method", "crc16"}, "round of CRC-16 sums"},
		{"switch", "switch", []string{"--switch-method", "pipe"}, "byte through a pipe"},
		{"fork", "fork", []string{"--fork-max", "1"}, "fork and wait"},
		{"syscall", "null", []string{"--null-write"}, "write to /dev/null"},
		{"fault", "fault", nil, "page fault"},
		{"disk", "hdd", []string{"--hdd-opts", "direct,wr-seq", "--hdd-bytes", "1M", "--hdd-write-size", "4K"},
			"4 KiB write to a file"},
	}
}

// Known reports whether w is one of the workloads, and not None.
func (w Workload) Known() bool { return w > None && w < workloads }

// String returns the workload's name.
func (w Workload) String() string {
	if w.Known() {
		return kinds()[w].name
	}
	return fmt.Sprintf("workload %d", uint64(w))
}

// Op describes one operation of the workload.
func (w Workload) Op() string {
	if w.Known() {
		return kinds()[w].op
	}
	return ""
}

// Stressor returns stress-ng's name of the workload. It is empty for a workload that
// stress-ng does not do.
func (w Workload) Stressor() string {
	if w.Known() {
		return kinds()[w].stressor
	}
	return ""
}

// Args returns the arguments of stress-ng for the work, on a number of vCPUs and for a
// number of seconds. stress-ng writes its results to the file out. Its random numbers
// are the same in each run.
func (w Workload) Args(cpus, seconds int, out string) []string {
	if w.Stressor() == "" {
		return nil
	}
	dir := "/" + Scratch
	if w == Disk {
		dir = "/" + DiskDir
	}
	k := kinds()[w]
	args := append([]string{"--" + k.stressor, strconv.Itoa(cpus)}, k.args...)
	return append(args, "--timeout", fmt.Sprintf("%ds", seconds), "--no-rand-seed", "--temp-path", dir,
		"--quiet", "--metrics", "--yaml", out)
}
