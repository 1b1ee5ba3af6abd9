package beat

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"
)

const (
	// Size is the size of the page in bytes.
	Size = 4096
	// MaxCPUs is the number of vCPUs the page has room for.
	MaxCPUs = 32
	// Period is how long the guest's beaters sleep between two beats. A beat
	// costs some six task switches and eight system calls, and a monitor that
	// single-steps makes each of them dear: a faster heart would make the guest
	// look ill for being listened to.
	Period = 200 * time.Millisecond
	// Node is the xenstore node, relative to the domain's home, that holds the
	// announcement.
	Node = "data/hangbench"
)

const (
	offMagic    = 0
	offWanted   = 8
	offActive   = 16
	offAsked    = 24
	offAnswered = 32
	offWork     = 40 // of Measure: what and how long
	offSeconds  = 48
	offCPU      = 64 // one 64-byte line a vCPU, so that beaters never share a line
	strideCPU   = 64
	offSample   = offCPU + MaxCPUs*strideCPU // of Measure: what came of it
)

// magic is "hbbeat" and the layout's version.
var magic = binary.LittleEndian.Uint64([]byte{'h', 'b', 'b', 'e', 'a', 't', 0, 3})

// Workload is what PID 1 is asked to run, for as long as it is wanted. A unit
// of work is what the comment says is done over and over.
type Workload uint64

const (
	Idle     Workload = iota // nothing but the heartbeat
	Busy                     // on every vCPU: a hash and a round trip through a pipe
	Mutex                    // on every vCPU: rtnl_mutex taken and left, once a Period
	Files                    // on the last vCPU only: file_systems_lock taken for reading, once a Period
	Forks                    // on every vCPU: a process forked, waited for and forgotten
	Syscalls                 // on every vCPU: a thousand system calls that do next to nothing
	Memory                   // on every vCPU: memory allocated, touched and given back
	Disk                     // on every vCPU: blocks read from and written to the guest's disk, past the page cache
	Pages                    // on every vCPU: a few megabytes of memory gone round, with swap on the guest's disk
	Uneven                   // on the last vCPU only: the work of Busy
	Sleeper                  // on every vCPU: a nap of a Period, by a task that can be stopped
	Devices                  // on every vCPU: a character device opened and closed, under cdev_lock, once a Period
	Crossed                  // on every vCPU: at one instant cdev_lock taken and left, at the next sb_lock, on odd vCPUs the other way round
	Kernel                   // on the last vCPU only: one read of random bytes in the kernel that takes a minute
	workloads
)

var workloadNames = [workloads]string{"idle", "busy", "mutex", "files", "forks", "syscalls", "memory", "disk", "pages", "uneven", "sleeper", "devices", "crossed", "kernel"}

// String names the workload, as scenarios do.
func (w Workload) String() string {
	if w < workloads {
		return workloadNames[w]
	}
	return fmt.Sprintf("workload %d", uint64(w))
}

// ParseWorkload is the inverse of String.
func ParseWorkload(name string) (Workload, error) {
	for w, n := range workloadNames {
		if n == name {
			return Workload(w), nil
		}
	}
	return 0, fmt.Errorf("there is no workload %q", name)
}

// Works reports whether the workload counts work.
func (w Workload) Works() bool { return w != Idle }

// Naps reports whether every vCPU is idle between one bit of it and the next.
func (w Workload) Naps() bool {
	switch w {
	case Idle, Mutex, Files, Sleeper, Devices, Crossed:
		return true
	}
	return false
}

// Errand is something PID 1 is asked to do once.
type Errand uint64

const (
	Pass     Errand = iota + 1 // take and leave rtnl_mutex once, on every vCPU
	Bomb                       // start a fork bomb, bounded by a limit on the number of its processes
	Thrash                     // start a process that locks memory until that of others no longer fits
	Kill                       // kill what Bomb and Thrash started
	Stop                       // stop the workload's processes (SIGSTOP)
	Continue                   // let them go on (SIGCONT)
	Later                      // set the wall clock an hour forward
	Earlier                    // and back
	Limited                    // start a fork bomb in a control group that may have few processes

	Watchdogs      // log how the kernel's watchdogs are armed
	QuickWatchdogs // the same, with their smallest thresholds
	XenWatchdog    // the same as Watchdogs, and pat Xen's domain watchdog from now on

	Measure // do the work that was ordered, once, and tell how much came of it
)

// Page is a view of the shared page. All access is atomic: the two sides run
// at the same time.
type Page struct{ b []byte }

// New returns a view of b, which must be Size bytes long and 8-byte aligned.
func New(b []byte) (*Page, error) {
	if len(b) != Size {
		return nil, fmt.Errorf("heartbeat page is %d bytes long, not %d", len(b), Size)
	}
	if uintptr(unsafe.Pointer(&b[0]))%8 != 0 {
		return nil, fmt.Errorf("heartbeat page is not aligned to 8 bytes")
	}
	return &Page{b}, nil
}

func (p *Page) word(off int) *uint64 { return (*uint64)(unsafe.Pointer(&p.b[off])) }

// Init marks the page as ours. The guest calls it once, before it announces.
func (p *Page) Init() { atomic.StoreUint64(p.word(offMagic), magic) }

// Valid reports whether the page carries the mark.
func (p *Page) Valid() bool { return atomic.LoadUint64(p.word(offMagic)) == magic }

// Want asks the guest for a workload.
func (p *Page) Want(w Workload) { atomic.StoreUint64(p.word(offWanted), uint64(w)) }

// Wanted is what the guest has been asked for.
func (p *Page) Wanted() Workload { return Workload(atomic.LoadUint64(p.word(offWanted))) }

// SetActive tells dom0 which workload runs now.
func (p *Page) SetActive(w Workload) { atomic.StoreUint64(p.word(offActive), uint64(w)) }

// Active is the workload that runs now.
func (p *Page) Active() Workload { return Workload(atomic.LoadUint64(p.word(offActive))) }

// The words of errands hold the errand in the lowest byte and a number above it
// that tells one asking from the next.
const errandBits = 8

// Ask asks PID 1 for an errand and returns a token for Answered.
func (p *Page) Ask(e Errand) (token uint64) {
	last := atomic.LoadUint64(p.word(offAsked))
	token = (last>>errandBits+1)<<errandBits | uint64(e)
	atomic.StoreUint64(p.word(offAsked), token)
	return token
}

// Answered reports whether PID 1 has taken up the errand.
func (p *Page) Answered(token uint64) bool { return atomic.LoadUint64(p.word(offAnswered)) == token }

// Asked returns the errand that dom0 asks for, if it is not answered yet.
func (p *Page) Asked() (e Errand, token uint64, ok bool) {
	token = atomic.LoadUint64(p.word(offAsked))
	return Errand(token & (1<<errandBits - 1)), token, token != atomic.LoadUint64(p.word(offAnswered))
}

// Answer says that the errand is taken up.
func (p *Page) Answer(token uint64) { atomic.StoreUint64(p.word(offAnswered), token) }

// Order is what Measure is to do.
type Order struct {
	Work    uint64 // a stress.Workload
	Seconds uint64 // for how long
}

// Order says what the next Measure is about.
func (p *Page) Order(o Order) {
	atomic.StoreUint64(p.word(offWork), o.Work)
	atomic.StoreUint64(p.word(offSeconds), o.Seconds)
}

// Ordered is what Order said.
func (p *Page) Ordered() Order {
	return Order{Work: atomic.LoadUint64(p.word(offWork)), Seconds: atomic.LoadUint64(p.word(offSeconds))}
}

// Sample is what came of a Measure. Nothing of it is checked: it is the guest's.
type Sample struct {
	Failed  bool   // the guest's console says why
	Ops     uint64 // operations done
	NS      uint64 // time they took, by the guest's monotonic clock
	Version uint64 // of the program: a stress.Version; 0 if it was PID 1's own
}

// Deliver publishes what came of the Measure with that token.
func (p *Page) Deliver(token uint64, s Sample) {
	failed := uint64(0)
	if s.Failed {
		failed = 1
	}
	for i, v := range []uint64{failed, s.Ops, s.NS, s.Version, token} { // the token last: all is there when it is
		atomic.StoreUint64(p.word(offSample+8*i), v)
	}
}

// Delivered returns what came of the Measure with that token, if anything has yet.
func (p *Page) Delivered(token uint64) (s Sample, ok bool) {
	word := func(i int) uint64 { return atomic.LoadUint64(p.word(offSample + 8*i)) }
	if word(4) != token {
		return s, false
	}
	return Sample{Failed: word(0) != 0, Ops: word(1), NS: word(2), Version: word(3)}, true
}

// Beat counts one heartbeat of a vCPU.
func (p *Page) Beat(cpu int) { atomic.AddUint64(p.word(offCPU+cpu*strideCPU), 1) }

// Work counts one unit of work done by a vCPU.
func (p *Page) Work(cpu int) { atomic.AddUint64(p.word(offCPU+cpu*strideCPU+8), 1) }

// Count is what one vCPU has done so far.
type Count struct{ Beats, Work uint64 }

// Count returns the counters of a vCPU in [0, MaxCPUs).
func (p *Page) Count(cpu int) Count {
	return Count{
		Beats: atomic.LoadUint64(p.word(offCPU + cpu*strideCPU)),
		Work:  atomic.LoadUint64(p.word(offCPU + cpu*strideCPU + 8)),
	}
}

// Total adds up the counters of the first n vCPUs.
func (p *Page) Total(n int) Count {
	var t Count
	for cpu := range min(n, MaxCPUs) {
		c := p.Count(cpu)
		t.Beats += c.Beats
		t.Work += c.Work
	}
	return t
}

// Announcement is what the guest publishes in xenstore once it is ready.
type Announcement struct {
	GFN     uint64 // guest frame number of the page
	CPUs    int    // vCPUs that beat
	Release string // uname -r
}

// String renders the announcement as it stands in xenstore.
func (a Announcement) String() string {
	return fmt.Sprintf("v1 gfn=%#x cpus=%d release=%s", a.GFN, a.CPUs, a.Release)
}

// ParseAnnouncement reads what String wrote. The text comes from the guest.
func ParseAnnouncement(s string) (Announcement, error) {
	var a Announcement
	fields := strings.Fields(s)
	if len(s) > 512 || len(fields) != 4 || fields[0] != "v1" {
		return a, fmt.Errorf("guest announcement %.80q is not of the form \"v1 gfn= cpus= release=\"", s)
	}
	for _, f := range fields[1:] {
		key, val, _ := strings.Cut(f, "=")
		var err error
		switch key {
		case "gfn":
			a.GFN, err = strconv.ParseUint(val, 0, 40)
		case "cpus":
			a.CPUs, err = strconv.Atoi(val)
			if err == nil && (a.CPUs < 1 || a.CPUs > MaxCPUs) {
				err = fmt.Errorf("want 1 to %d", MaxCPUs)
			}
		case "release":
			a.Release = val
		default:
			err = fmt.Errorf("unknown key")
		}
		if err != nil {
			return Announcement{}, fmt.Errorf("guest announcement %.80q: %s: %w", s, key, err)
		}
	}
	if a.GFN == 0 || a.CPUs == 0 || a.Release == "" {
		return Announcement{}, fmt.Errorf("guest announcement %.80q lacks gfn, cpus or release", s)
	}
	return a, nil
}

// Base is the address of the page's first byte.
func (p *Page) Base() *byte { return &p.b[0] }
