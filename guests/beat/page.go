package beat

import (
	"encoding/binary"
	"errors"
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
	// MaxCPUs is the largest number of vCPUs that the page can serve.
	MaxCPUs = 32
	// Period is the time between two heartbeats of a vCPU. A beat costs about six
	// task switches and eight system calls, and a monitor that single-steps makes
	// each of them expensive. A shorter period would disturb the guest.
	Period = 200 * time.Millisecond
	// Node is the xenstore node of the announcement, relative to the domain's home.
	Node = "data/hangbench"
)

// Offsets of the page's fields in bytes.
const (
	offMagic    = 0
	offWanted   = 8                          // name of the workload that dom0 wants
	offActive   = 16                         // name of the workload that runs
	offAsked    = 24                         // token of the last request
	offAnswered = 32                         // token of the last request that PID 1 has started
	offRequests = 40                         // two words: names of requests with an even and with an odd token
	offCPU      = 64                         // counters of vCPU 0
	strideCPU   = 64                         // one cache line a vCPU: beaters never share one
	offSample   = offCPU + MaxCPUs*strideCPU // five words: Sample, and the token of its request
	offWork     = offSample + 40             // Order.Work
	offSeconds  = offSample + 48             // Order.Seconds
	// offComplaint has MostComplaint bytes of text, at the end of the page, offCommand
	// MostCommand bytes before it.
	offComplaint = Size - MostComplaint
	offCommand   = offComplaint - MostCommand
	offCanary    = offSample + 64 // a word for each of AllCanaries, at most eight
	offGone      = offCanary + 64 // three words: Gone
	// Names of the second and further parts of the workload that is wanted, and that runs.
	offWantedMore = offCommand - 8*(MaxWorks-1)
	offActiveMore = offWantedMore - 8*(MaxWorks-1)
)

// magic is "hbbeat" and the version of the layout.
var magic = binary.LittleEndian.Uint64([]byte{'h', 'b', 'b', 'e', 'a', 't', 0, 8})

// Page is a view of the shared page. All accesses are atomic: guest and dom0 run
// at the same time.
type Page struct {
	b    []byte
	work int // the number of the work that Work counts for, among those that run
}

// New returns a view of b, which must be Size bytes long and aligned to 8 bytes.
func New(b []byte) (*Page, error) {
	if len(b) != Size {
		return nil, fmt.Errorf("heartbeat page is %d bytes long, not %d", len(b), Size)
	}
	if uintptr(unsafe.Pointer(&b[0]))%8 != 0 {
		return nil, fmt.Errorf("heartbeat page is not aligned to 8 bytes")
	}
	return &Page{b: b}, nil
}

// Base returns the address of the page's first byte.
func (p *Page) Base() *byte { return &p.b[0] }

func (p *Page) word(off int) *uint64 { return (*uint64)(unsafe.Pointer(&p.b[off])) }

// Init marks the page as valid, with Idle as the workload. The guest calls it once,
// before the announcement.
func (p *Page) Init() {
	atomic.StoreUint64(p.word(offWanted), pack(Idle.Name))
	atomic.StoreUint64(p.word(offActive), pack(Idle.Name))
	atomic.StoreUint64(p.word(offMagic), magic)
}

// Valid reports whether the page carries the mark that Init sets.
func (p *Page) Valid() bool { return atomic.LoadUint64(p.word(offMagic)) == magic }

// Want asks the guest for a workload. It panics if the name of one of its parts has no 1 to
// 8 bytes, or if there are more than MaxWorks.
func (p *Page) Want(w Workload) { p.setNames(offWanted, offWantedMore, w.Name) }

// Wanted returns the name of the workload that dom0 wants.
func (p *Page) Wanted() string { return p.names(offWanted, offWantedMore) }

// SetActive tells dom0 the name of the workload that runs now.
func (p *Page) SetActive(name string) { p.setNames(offActive, offActiveMore, name) }

// Active returns the name of the workload that runs now, according to the guest.
func (p *Page) Active() string { return p.names(offActive, offActiveMore) }

// Runs reports whether the workload runs now, according to the guest.
func (p *Page) Runs(w Workload) bool { return p.Active() == w.Name }

// Ask sends a request to PID 1 and returns a token for Answered. A request that
// PID 1 has not started yet is replaced. It panics if the name has no 1 to 8 bytes.
func (p *Page) Ask(r Request) (token uint64) {
	token = atomic.LoadUint64(p.word(offAsked)) + 1
	// The name before the token, and not where the name of the last request is: PID 1
	// may be reading that one.
	atomic.StoreUint64(p.request(token), pack(string(r)))
	atomic.StoreUint64(p.word(offAsked), token)
	return token
}

// request returns the word with the name of the request with that token.
func (p *Page) request(token uint64) *uint64 { return p.word(offRequests + 8*int(token%2)) }

// Answered reports whether PID 1 has started the request with that token.
func (p *Page) Answered(token uint64) bool { return atomic.LoadUint64(p.word(offAnswered)) == token }

// Asked returns the request that PID 1 has not started yet, if there is one.
func (p *Page) Asked() (r Request, token uint64, ok bool) {
	token = atomic.LoadUint64(p.word(offAsked))
	r = Request(unpack(atomic.LoadUint64(p.request(token))))
	return r, token, token != atomic.LoadUint64(p.word(offAnswered))
}

// Answer tells dom0 that PID 1 starts the request.
func (p *Page) Answer(token uint64) { atomic.StoreUint64(p.word(offAnswered), token) }

// Order is the work that a Measure request does.
type Order struct {
	Work    uint64 // a stress.Workload
	Seconds uint64 // length of the work
}

// Order sets the work of the next Measure request.
func (p *Page) Order(o Order) {
	atomic.StoreUint64(p.word(offWork), o.Work)
	atomic.StoreUint64(p.word(offSeconds), o.Seconds)
}

// Ordered returns what Order has set.
func (p *Page) Ordered() Order {
	return Order{Work: atomic.LoadUint64(p.word(offWork)), Seconds: atomic.LoadUint64(p.word(offSeconds))}
}

// Sample is the result of a Measure request. It is the guest's: no value of it has
// been checked.
type Sample struct {
	Failed  bool   // the guest's console has the reason
	Ops     uint64 // operations done
	NS      uint64 // their time in ns, by the guest's monotonic clock
	Version uint64 // of the program: a stress.Version; 0 for work of PID 1 itself
}

// Deliver publishes the result of the Measure request with that token.
func (p *Page) Deliver(token uint64, s Sample) {
	failed := uint64(0)
	if s.Failed {
		failed = 1
	}
	// The token is last: dom0 that sees it finds the rest.
	for i, v := range []uint64{failed, s.Ops, s.NS, s.Version, token} {
		atomic.StoreUint64(p.word(offSample+8*i), v)
	}
}

// Delivered returns the result of the Measure request with that token. ok is false
// as long as there is none.
func (p *Page) Delivered(token uint64) (s Sample, ok bool) {
	word := func(i int) uint64 { return atomic.LoadUint64(p.word(offSample + 8*i)) }
	if word(4) != token {
		return s, false
	}
	return Sample{Failed: word(0) != 0, Ops: word(1), NS: word(2), Version: word(3)}, true
}

// Beat counts one heartbeat of a vCPU in [0, MaxCPUs).
func (p *Page) Beat(cpu int) { atomic.AddUint64(p.word(offCPU+cpu*strideCPU), 1) }

// Work counts one unit of work done by a vCPU in [0, MaxCPUs).
func (p *Page) Work(cpu int) { atomic.AddUint64(p.WorkCounter(cpu), 1) }

// WorkCounter returns the counter of work of a vCPU in [0, MaxCPUs), for a process that can
// call no function of this package. It must be counted up atomically.
func (p *Page) WorkCounter(cpu int) *uint64 { return p.unit(cpu, p.work) }

// unit returns the counter of the n-th part of the workload on a vCPU.
func (p *Page) unit(cpu, n int) *uint64 { return p.word(offCPU + cpu*strideCPU + 8 + 8*n) }

// Sing counts one unit that a canary has done.
func (p *Page) Sing(c Canary) { atomic.AddUint64(p.canary(c), 1) }

// Sung is how many units a canary has done.
func (p *Page) Sung(c Canary) uint64 { return atomic.LoadUint64(p.canary(c)) }

// Gone are the processes that PID 1 has found ended, a bit each: of the heartbeat and of
// the work of a vCPU by its number, and of a Canary. An ended process counts no more, and
// does not hang.
type Gone struct{ Beats, Works, Canaries uint64 }

// SetGone tells dom0 which processes have ended.
func (p *Page) SetGone(g Gone) {
	for i, v := range []uint64{g.Beats, g.Works, g.Canaries} {
		atomic.StoreUint64(p.word(offGone+8*i), v)
	}
}

// Gone returns which processes have ended, by what PID 1 knew when it answered last.
func (p *Page) Gone() Gone {
	word := func(i int) uint64 { return atomic.LoadUint64(p.word(offGone + 8*i)) }
	return Gone{Beats: word(0), Works: word(1), Canaries: word(2)}
}

func (p *Page) canary(c Canary) *uint64 { return p.word(offCanary + 8*int(c)) }

// Count is the number of heartbeats and of units of work so far.
type Count struct{ Beats, Work uint64 }

// Count returns the counters of a vCPU in [0, MaxCPUs).
func (p *Page) Count(cpu int) Count {
	c := Count{Beats: atomic.LoadUint64(p.word(offCPU + cpu*strideCPU))}
	for n := range MaxWorks {
		c.Work += atomic.LoadUint64(p.unit(cpu, n))
	}
	return c
}

// Total returns the sums of the counters of the first n vCPUs.
func (p *Page) Total(n int) Count {
	var t Count
	for cpu := range min(n, MaxCPUs) {
		c := p.Count(cpu)
		t.Beats += c.Beats
		t.Work += c.Work
	}
	return t
}

// Announcement is the text that the guest publishes in xenstore when it is ready.
type Announcement struct {
	GFN     uint64 // guest frame number of the page
	CPUs    int    // number of vCPUs with a heartbeat
	Release string // uname -r
}

// String returns the announcement in the form that it has in xenstore.
func (a Announcement) String() string {
	return fmt.Sprintf("v1 gfn=%#x cpus=%d release=%s", a.GFN, a.CPUs, a.Release)
}

// ParseAnnouncement parses the form that String returns. The text comes from the
// guest: ParseAnnouncement refuses any other form, and values out of range.
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
			if strings.ContainsFunc(val, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
				err = errors.New("want ASCII letters, digits and signs")
			}
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
