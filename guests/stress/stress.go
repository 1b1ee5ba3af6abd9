package stress

import (
	"fmt"
	"strconv"
)

// Set is the name of the set of programs that a guest must have to do all this.
const Set = "stress-ng"

// Where a guest has its programs, and places to work in. Names are below the
// root.
const (
	Program = "usr/bin/stress-ng"
	MakeFS  = "usr/sbin/mke2fs"
	Scratch = "tmp" // in memory
	DiskDir = "mnt" // on the guest's disk, for workloads that need it
)

// Most is the longest that a workload may be asked to run, in seconds.
const Most = 600

// Workload is one kind of work.
type Workload uint64

const (
	None    Workload = iota // no work: not a workload
	Null                    // a process that only sleeps: whatever it seems to cost is the measuring's own
	CPU                     // computing in userland
	Switch                  // one process waking another through a pipe, and going to sleep
	Fork                    // processes that are made and end
	Syscall                 // a system call that does next to nothing
	Fault                   // pages touched for the first time
	Disk                    // blocks written to a file on the guest's disk, past the page cache
	workloads
)

// kind is what there is to know of a workload.
type kind struct {
	name     string
	stressor string // of stress-ng; empty for PID 1's own
	args     []string
	op       string // what an operation is
}

// kinds follow the order of the constants.
func kinds() []kind {
	return []kind{
		{},
		{"null", "", nil, "nap of 10 ms"},
		{"cpu", "cpu", []string{"--cpu-method", "crc16"}, "round of CRC-16 sums"},
		{"switch", "switch", []string{"--switch-method", "pipe"}, "byte through a pipe"},
		{"fork", "fork", []string{"--fork-max", "1"}, "fork and wait"},
		{"syscall", "null", []string{"--null-write"}, "write to /dev/null"},
		{"fault", "fault", nil, "page fault"},
		{"disk", "hdd", []string{"--hdd-opts", "direct,wr-seq", "--hdd-bytes", "1M", "--hdd-write-size", "4K"}, "4 KiB write to a file"},
	}
}

// All returns every workload, in the order in which tables list them.
func All() []Workload {
	var all []Workload
	for w := Null; w < workloads; w++ {
		all = append(all, w)
	}
	return all
}

// Known reports whether there is such a workload.
func (w Workload) Known() bool { return w > None && w < workloads }

// String names the workload.
func (w Workload) String() string {
	if w.Known() {
		return kinds()[w].name
	}
	return fmt.Sprintf("workload %d", uint64(w))
}

// Op says what one operation of the workload is.
func (w Workload) Op() string {
	if w.Known() {
		return kinds()[w].op
	}
	return ""
}

// Stressor is what stress-ng calls it; empty for a workload that is not its.
func (w Workload) Stressor() string {
	if w.Known() {
		return kinds()[w].stressor
	}
	return ""
}

// Args is the command line with which stress-ng does the work on so many vCPUs
// for so many seconds and writes what it has done to the file out. Its random
// numbers are always the same.
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
	return append(args, "--timeout", fmt.Sprintf("%ds", seconds), "--no-rand-seed", "--temp-path", dir, "--quiet", "--metrics", "--yaml", out)
}
