package beat

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Workload is work that PID 1 does for as long as dom0 wants it. A new one needs
// an entry in guests/init, and may be named here or where it is used.
type Workload struct {
	// Name identifies the workload on the page: 1 to 8 bytes of ASCII.
	Name string
	// Naps is set if each vCPU is idle between two units of the work. The tick of
	// such a vCPU stops, which changes when Linux's watchdogs fire.
	Naps bool
	// Last is set if only the last vCPU works. Otherwise every vCPU does.
	Last bool
	// Unit says what one unit of the work is.
	Unit string
}

// The workloads of the scenarios.
var (
	Idle     = Workload{"idle", true, false, "no work: only the heartbeat"}
	Busy     = Workload{"busy", false, false, "a hash, and one byte through a pipe and back"}
	Mutex    = Workload{"mutex", true, false, "take and release rtnl_mutex, once a period"}
	Files    = Workload{"files", true, true, "take file_systems_lock for reading, once a period"}
	Forks    = Workload{"forks", false, false, "fork a process that ends at once, and wait for it"}
	Syscalls = Workload{"syscalls", false, false, "1000 system calls that do next to nothing"}
	Memory   = Workload{"memory", false, false, "allocate memory, write to it and free it"}
	Disk     = Workload{"disk", false, false, "read and write one block of the guest's disk, uncached"}
	Pages    = Workload{"pages", false, false, "write to 16 MiB of memory, with swap on the guest's disk"}
	Uneven   = Workload{"uneven", false, true, "the unit of busy"}
	Sleeper  = Workload{"sleeper", true, false, "sleep for a period, in a task that can be stopped"}
	Devices  = Workload{"devices", true, false, "open and close a device, under cdev_lock, once a period"}
	Crossed  = Workload{"crossed", true, false, "take cdev_lock, or sb_lock, in turn; odd vCPUs in the other order"}
	Kernel   = Workload{"kernel", false, true, "one system call that computes for about a minute"}
)

// Workloads that suites may use for the faults that they declare.
var (
	Opens   = Workload{"opens", true, false, "open and close a file, once a period"}
	Inodes  = Workload{"inodes", true, false, "make and remove an inode, under inode_hash_lock, once a period"}
	Mounts  = Workload{"mounts", true, false, "make a mount namespace, under namespace_sem, once a period"}
	RCUSync = Workload{"rcu-sync", true, false, "wait for a grace period of RCU, once a period"}
	Scarce  = Workload{"scarce", false, true, "start a process that uses up memory until the kernel kills it for that"}
	Vfork   = Workload{"vfork", true, false, "wait, as vfork does, for a child that lives for 50 ms"}
	Writes  = Workload{"writes", true, false, "write to a file on the guest's disk, through the page cache, once a period"}
	FUSE    = Workload{"fuse", true, false, "stat a file whose server is a program (FUSE), once a period"}
)

// Workloads returns all workloads.
func Workloads() []Workload {
	all := []Workload{Idle, Busy, Mutex, Files, Forks, Syscalls, Memory, Disk, Pages, Uneven, Sleeper, Devices, Crossed,
		Kernel, Opens, Inodes, Mounts, RCUSync, Scarce}
	return append(append(all, likeHangs()...), Vfork, Writes, FUSE)
}

// FindWorkload returns the workload of a name. It returns false if there is none.
func FindWorkload(name string) (Workload, bool) {
	if strings.Contains(name, and) {
		return several(strings.Split(name, and))
	}
	for _, w := range Workloads() {
		if w.Name == name {
			return w, true
		}
	}
	return Workload{}, false
}

// String returns the name.
func (w Workload) String() string { return w.Name }

// Works reports whether the workload counts units of work.
func (w Workload) Works() bool { return w != Idle }

// Request is something that dom0 asks PID 1 to do once: its name, 1 to 8 bytes of
// ASCII. A new one needs an entry in guests/init.
type Request string

// The requests of scenarios and of the harness.
const (
	Pass     Request = "pass"     // take and release rtnl_mutex once, on every vCPU
	Again    Request = "again"    // start the workload's processes once more, beside those that run
	Bomb     Request = "bomb"     // start a fork bomb with a limit on the number of its processes
	Limited  Request = "limited"  // start a fork bomb in a control group that permits few processes
	Thrash   Request = "thrash"   // start a process that locks memory until that of others no longer fits
	Realtime Request = "realtime" // start a real-time task on every vCPU that leaves no time to others
	Kill     Request = "kill"     // kill what Bomb, Limited, Thrash and Realtime started
	Stop     Request = "stop"     // stop the workload's processes (SIGSTOP)
	Continue Request = "continue" // continue them (SIGCONT)
	Freeze   Request = "freeze"   // put them into a control group that is frozen
	Thaw     Request = "thaw"     // thaw that control group
	Offline  Request = "offline"  // take the last vCPU offline
	Online   Request = "online"   // bring it online

	LongChildren   Request = "longkids" // have the children of vfork live until ShortChildren
	ShortChildren  Request = "endkids"  // end that
	FreezeDisk     Request = "fsfreeze" // freeze the file system on the disk
	ThawDisk       Request = "fsthaw"   // thaw it
	StopServer     Request = "stopserv" // stop the server of the workload fuse (SIGSTOP)
	ContinueServer Request = "contserv" // continue it (SIGCONT)

	Later    Request = "later"    // set the wall clock forward by an hour
	Earlier  Request = "earlier"  // set it back by an hour
	Measure  Request = "measure"  // do the work of Order once, and deliver a Sample
	Canaries Request = "canaries" // start a process for each Canary
	Probe    Request = "probe"    // tell which processes have ended; that PID 1 answers tells that it lives

	Watchdogs      Request = "watchdog" // log how the kernel's watchdogs are armed
	QuickWatchdogs Request = "watchmin" // the same, with the smallest thresholds
	XenWatchdog    Request = "watchxen" // the same as Watchdogs, and arm Xen's domain watchdog again and again
)

// pack returns a name as one word of the page. It panics if the name does not fit:
// names are constants of the program.
func pack(name string) uint64 {
	var b [8]byte
	if name == "" || len(name) > len(b) {
		panic(fmt.Sprintf("beat: the name %q does not have 1 to %d bytes", name, len(b)))
	}
	copy(b[:], name)
	return binary.LittleEndian.Uint64(b[:])
}

// unpack returns the name in a word of the page. In dom0 it is the guest's: any
// bytes.
func unpack(word uint64) string {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], word)
	n := len(b)
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return string(b[:n])
}

// Canary is a process that does a small thing again and again, from the request Canaries
// on. It counts a unit when the thing is over, whether the kernel did it or returned an
// error. One that stops counting hangs.
type Canary int

// The canaries. Between two units each sleeps for half a Period.
const (
	Sleeps  Canary = iota // sleep, and nothing else
	Opener                // open and close a file
	Forker                // fork a process that ends at once, and wait for it
	Faulter               // map a page, write to it and unmap it
	canaries
)

// AllCanaries returns every canary.
func AllCanaries() []Canary {
	var all []Canary
	for c := range canaries {
		all = append(all, c)
	}
	return all
}

// String returns the canary's name.
func (c Canary) String() string { return [...]string{"sleep", "open", "fork", "page"}[c] }
