package xentest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"hangbench/cgo/xenctrl"
	"hangbench/cgo/xenctrl/internal/vmevent"
)

// GuestConfig describes a [Guest].
type GuestConfig struct {
	Name     string // written to xenstore; empty: no name
	VCPUs    int    // 0 means 1
	Pages    int    // frames 0 to Pages-1 have memory; 0 means 1024
	PV       bool   // a guest without an EPT
	NoAltp2m bool   // the guest was created without altp2m="external"
}

// Guest is a domain. Its methods may be called from any goroutine.
type Guest struct {
	h        *Host
	id       xenctrl.DomID
	hvm      bool
	altp2mOK bool

	p2m      map[uint64]uint64 // guest frames to machine frames
	original map[uint64]bool   // frames that it was created with
	maxPages uint64
	access   map[uint64]xenctrl.Access // host view; rwx is not in the map
	required bool                      // a violation without a monitor crashes it
	altp2m   bool
	views    map[xenctrl.View]*view

	paused   int
	dying    bool
	shutdown bool
	reason   xenctrl.ShutdownReason

	ring     *vmevent.Front
	ringMFN  uint64
	sources  map[xenctrl.EventSource]bool
	ctrlRegs map[xenctrl.CtrlReg]ctrlReg
	wake     chan struct{} // something happened that a monitor may wait for

	vcpus []*VCPU
}

type ctrlReg struct {
	sync, onChange bool
	ignore         uint64
}

// view is one altp2m view.
type view struct {
	def    xenctrl.Access
	access map[uint64]xenctrl.Access // of the frames it holds
	remap  map[uint64]uint64         // guest frame to the guest frame it shows
}

// maxViews is MAX_ALTP2M, view 0 included.
const maxViews = 10

// NewGuest creates a domain and starts it. Its vCPUs have no programs: they are
// halted.
func (h *Host) NewGuest(c GuestConfig) *Guest {
	defer h.lock()()
	if c.VCPUs == 0 {
		c.VCPUs = 1
	}
	if c.Pages == 0 {
		c.Pages = 1024
	}
	g := &Guest{h: h, id: h.nextID, hvm: !c.PV, altp2mOK: !c.PV && !c.NoAltp2m,
		p2m: map[uint64]uint64{}, original: map[uint64]bool{},
		maxPages: uint64(c.Pages), access: map[uint64]xenctrl.Access{}, views: map[xenctrl.View]*view{},
		sources: map[xenctrl.EventSource]bool{}, ctrlRegs: map[xenctrl.CtrlReg]ctrlReg{}, wake: make(chan struct{}, 1)}
	h.nextID++
	for gfn := range uint64(c.Pages) {
		g.add(gfn)
	}
	for i := range c.VCPUs {
		g.vcpus = append(g.vcpus, &VCPU{g: g, id: i, online: true, blocked: true, pcpu: i % h.pcpus})
	}
	h.guests[g.id] = g
	if c.Name != "" {
		h.store.write(xenctrl.DomainPath(g.id)+"/name", c.Name)
	}
	return g
}

// add gives the guest a frame that it was created with.
func (g *Guest) add(gfn uint64) []byte {
	mfn, ok := g.h.mem.take()
	if !ok {
		panic("xentest: the host's memory is used up")
	}
	g.p2m[gfn], g.original[gfn] = mfn, true
	return g.h.mem.frame(mfn)
}

// ID returns the guest's number.
func (g *Guest) ID() xenctrl.DomID { return g.id }

// VCPU returns a vCPU.
func (g *Guest) VCPU(i int) *VCPU { return g.vcpus[i] }

// Page returns the memory of a frame itself, or nil if the guest has none there.
// It is valid until the frame is removed.
func (g *Guest) Page(gfn uint64) []byte {
	defer g.h.lock()()
	mfn, ok := g.p2m[gfn]
	if !ok {
		return nil
	}
	return g.h.mem.frame(mfn)
}

// AddPage gives the guest memory at a frame that has none, for instance a
// special page just below 4 GiB, and returns it.
func (g *Guest) AddPage(gfn uint64) []byte {
	defer g.h.lock()()
	if mfn, ok := g.p2m[gfn]; ok {
		return g.h.mem.frame(mfn)
	}
	g.maxPages = max(g.maxPages, uint64(len(g.p2m)+1))
	return g.add(gfn)
}

// RemovePage takes memory from the guest, as a balloon does. Mappings of it keep
// the old memory.
func (g *Guest) RemovePage(gfn uint64) {
	defer g.h.lock()()
	g.remove(gfn)
	delete(g.original, gfn)
}

// remove does not give the frame to anybody else: it may still be mapped.
func (g *Guest) remove(gfn uint64) {
	delete(g.p2m, gfn)
	delete(g.access, gfn)
	for _, v := range g.views {
		delete(v.access, gfn)
	}
}

// Write copies b to a guest-physical address. It panics where the guest has no
// memory.
func (g *Guest) Write(gpa uint64, b []byte) {
	for len(b) > 0 {
		n := copy(g.Page(gpa / pageSize)[gpa%pageSize:], b)
		gpa, b = gpa+uint64(n), b[n:]
	}
}

// Shutdown ends the guest for a reason, as the guest itself can.
func (g *Guest) Shutdown(r xenctrl.ShutdownReason) {
	defer g.h.lock()()
	g.shutdown, g.reason = true, r
	g.poke()
}

// Destroy destroys the domain, as xl destroy does. While its memory is mapped it
// stays and is dying. Its nodes in xenstore are removed.
func (g *Guest) Destroy() {
	defer g.h.lock()()
	g.dying, g.ring = true, nil
	g.h.store.remove(xenctrl.DomainPath(g.id))
	g.h.bury(g)
	g.poke()
}

// bury removes a domain that is dying and not mapped.
func (h *Host) bury(g *Guest) {
	for _, m := range h.maps {
		if m.guest == g {
			return
		}
	}
	if g.dying {
		delete(h.guests, g.id)
	}
}

// Run has every vCPU execute up to n instructions, in turns of one.
func (g *Guest) Run(n int) {
	defer g.h.lock()()
	g.turn(n)
}

func (g *Guest) turn(n int) {
	for range n {
		progress := false
		for _, v := range g.vcpus {
			if v.execute() {
				progress = true
			}
		}
		if !progress {
			return
		}
	}
}

// Start has the guest execute by itself, turns of n instructions a millisecond
// apart, until stop is called.
func (g *Guest) Start(n int) (stop func()) {
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-end:
				return
			case <-time.After(time.Millisecond):
				g.Run(n)
			}
		}
	}()
	return func() { close(end); <-done }
}

// RingPage returns the page of the event ring, or nil if no monitor is enabled.
// Tests write garbage to it.
func (g *Guest) RingPage() []byte {
	defer g.h.lock()()
	if g.ring == nil {
		return nil
	}
	return g.ring.Page
}

// poke wakes a monitor that waits.
func (g *Guest) poke() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// Paused returns how many pauses are on the guest.
func (g *Guest) Paused() int {
	defer g.h.lock()()
	return g.paused
}

// SetMaxPages sets the limit of the guest's memory, as xl mem-max does.
func (g *Guest) SetMaxPages(n uint64) {
	defer g.h.lock()()
	g.maxPages = n
}

// Clean returns an error that lists everything that a monitor has left in the guest, or
// nil. It does not check the contents of the memory.
func (g *Guest) Clean() error {
	defer g.h.lock()()
	var left []string
	add := func(bad bool, format string, args ...any) {
		if bad {
			left = append(left, fmt.Sprintf(format, args...))
		}
	}
	add(g.paused > 0, "%d pauses", g.paused)
	add(g.ring != nil, "the event ring")
	for s := range sourceOps {
		add(g.sources[xenctrl.EventSource(s)], "events of %s", sourceOps[s])
	}
	add(len(g.ctrlRegs) > 0, "events of control registers %v", slices.Sorted(maps.Keys(g.ctrlRegs)))
	add(len(g.access) > 0, "restricted frames %#x", slices.Sorted(maps.Keys(g.access)))
	add(g.altp2m, "altp2m with %d views", len(g.views))
	for _, v := range g.vcpus {
		add(v.pauses > 0, "vCPU %d waiting for %d answers", v.id, v.pauses)
		add(v.queued != nil, "vCPU %d waiting for a slot of the ring", v.id)
		add(v.stepping || v.fast, "vCPU %d single-stepping", v.id)
		add(v.view != 0, "vCPU %d in view %d", v.id, v.view)
	}
	for _, gfn := range slices.Sorted(maps.Keys(g.p2m)) {
		add(!g.original[gfn], "frame %#x", gfn)
	}
	if left == nil {
		return nil
	}
	return errors.New("left behind: " + strings.Join(left, ", "))
}
