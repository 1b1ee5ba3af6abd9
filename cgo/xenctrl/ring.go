package xenctrl

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"unsafe"

	"hangbench/cgo/xenctrl/internal/vmevent"
)

func le64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// RingStats counts what passed through a monitor's ring since it was enabled.
type RingStats struct {
	Requests  uint64 // events taken
	Responses uint64 // responses given
	Batches   uint64 // times responses were published, each with one notification
	Waits     uint64 // calls of Wait that slept
	Full      uint64 // looks at the ring that found no free slot: vCPUs may have waited for one
	MaxDepth  int32  // most requests at one time without a published response
}

// ring is the monitor's end of a vm_event ring: it consumes requests and
// produces responses in the slots the requests came in. Xen is the other end.
// The counters on the page are accessed atomically; loads of them acquire and
// stores release (Go's atomics are sequentially consistent), which orders them
// with the plain copies of slots, as the protocol's barriers ask for.
type ring struct {
	page    []byte
	reqCons uint32 // next request to take
	rspProd uint32 // next response to give; published is what Xen was told
	pub     uint32
	raw     vmevent.Event // private copy of the request being decoded: the page may change under the reader
	maxVCPU int
	err     error
	stats   RingStats
}

// newRing takes the page of a ring whose other end stands at zero. It resets
// the shared counters, so nothing may be produced before it returns.
func newRing(page []byte, maxVCPU int) (*ring, error) {
	if len(page) != PageSize || uintptr(unsafe.Pointer(&page[0]))%8 != 0 {
		return nil, fmt.Errorf("event ring page of %d bytes: it must be one aligned page of %d bytes", len(page), PageSize)
	}
	r := &ring{page: page, maxVCPU: maxVCPU}
	r.counter(vmevent.ReqProd).Store(0)
	r.counter(vmevent.RspProd).Store(0)
	r.counter(vmevent.ReqEvent).Store(1)
	r.counter(vmevent.RspEvent).Store(1)
	return r, nil
}

func (r *ring) counter(off int) *atomic.Uint32 { return vmevent.Counter(r.page, off) }

// pending returns how many requests wait to be taken.
func (r *ring) pending() uint32 {
	return r.counter(vmevent.ReqProd).Load() - r.reqCons
}

// next takes one request. It returns false when there is none or when the ring
// is corrupt, which err then tells.
func (r *ring) next(ev *Event) bool {
	if r.err != nil {
		return false
	}
	prod := r.counter(vmevent.ReqProd).Load()
	if prod == r.reqCons {
		return false
	}
	// What is in use in Xen's eyes: responses queued here free no slot yet.
	// Negative after answers to all vCPUs (Monitor.Disable).
	depth := int32(prod - r.pub)
	if prod-r.reqCons > vmevent.RingSize || depth > vmevent.RingSize {
		r.err = fmt.Errorf("event ring: %d new requests, %d without a response, in %d slots: %w",
			prod-r.reqCons, depth, vmevent.RingSize, ErrCorrupt)
		return false
	}
	if depth > r.stats.MaxDepth {
		r.stats.MaxDepth = depth
	}
	if depth == vmevent.RingSize {
		r.stats.Full++
	}
	r.raw = *vmevent.Slot(r.page, r.reqCons)
	switch {
	case r.raw.Version != vmevent.Version:
		r.err = fmt.Errorf("event ring: interface version %d, this program knows %d: use a build for this Xen: %w",
			r.raw.Version, vmevent.Version, ErrUnsupported)
		return false
	case r.raw.Reason >= NumReasons:
		r.err = fmt.Errorf("event ring: event of unknown reason %d: %w", r.raw.Reason, ErrCorrupt)
		return false
	case int64(r.raw.VCPU) > int64(r.maxVCPU):
		r.err = fmt.Errorf("event ring: event of vCPU %d, the domain's last is %d: %w", r.raw.VCPU, r.maxVCPU, ErrCorrupt)
		return false
	}
	r.reqCons++
	r.stats.Requests++
	decode(&r.raw, ev)
	return true
}

// respond queues one response. It is not seen by Xen before publish.
func (r *ring) respond(rsp *Response) error {
	if err := rsp.check(); err != nil {
		return err
	}
	if r.rspProd == r.reqCons {
		return fmt.Errorf("response for vCPU %d without a request", rsp.VCPU)
	}
	r.push(rsp)
	return nil
}

// push queues a response that need not have a request (see recover.go).
func (r *ring) push(rsp *Response) {
	rsp.encode(vmevent.Slot(r.page, r.rspProd))
	r.rspProd++
	r.stats.Responses++
}

// publish shows Xen the responses queued so far and reports whether there were
// any, in which case Xen must be notified: it looks at the ring only then.
func (r *ring) publish() bool {
	if r.pub == r.rspProd {
		return false
	}
	// Xen notifies for every request whatever req_event says; it is kept as
	// the protocol has it.
	r.counter(vmevent.ReqEvent).Store(r.reqCons + 1)
	r.counter(vmevent.RspProd).Store(r.rspProd)
	r.pub = r.rspProd
	r.stats.Batches++
	return true
}

// consumed reports whether Xen has taken every published response: it stores
// its position plus one in rsp_event (vm_event_get_response).
func (r *ring) consumed() bool {
	return r.counter(vmevent.RspEvent).Load() == r.pub+1
}
