package xenctrl

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"unsafe"

	"hangbench/cgo/xenctrl/internal/vmevent"
)

func le64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// RingStats counts since a monitor was enabled.
type RingStats struct {
	Requests  uint64 // events taken
	Responses uint64 // responses given
	Batches   uint64 // times responses were published, each with one notification
	Waits     uint64 // calls of Wait that slept
	Full      uint64 // times that an event was taken from a ring without a free slot: vCPUs may have waited for one
	MaxDepth  int32  // largest number of requests without a published response
}

// ring is the monitor's end of a vm_event ring. It consumes requests and produces
// responses in the same slots. Xen has the other end. The counters on the page are
// atomic: their loads acquire and their stores release, which orders them with the
// plain copies of slots. The protocol requires barriers there.
type ring struct {
	page    []byte
	reqCons uint32        // next request to take
	rspProd uint32        // next response to produce
	pub     uint32        // responses before this one are published
	raw     vmevent.Event // private copy of a request: the page may change during the decoding
	maxVCPU int
	err     error
	stats   RingStats
}

// newRing takes the page of a ring whose other end is at zero. It resets the shared
// counters, so the other end must produce nothing before it returns.
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

// pending returns the number of requests to be taken.
func (r *ring) pending() uint32 {
	return r.counter(vmevent.ReqProd).Load() - r.reqCons
}

// next takes one request. It returns false if there is none or if the ring is corrupt.
// err is set in the second case.
func (r *ring) next(ev *Event) bool {
	if r.err != nil {
		return false
	}
	prod := r.counter(vmevent.ReqProd).Load()
	if prod == r.reqCons {
		return false
	}
	// The slots in use as Xen counts: responses that are not published free none. The
	// number is negative after answers to all vCPUs (Monitor.Disable).
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
		r.err = fmt.Errorf("event ring: interface version %d, this program has %d: use a build for this Xen: %w",
			r.raw.Version, vmevent.Version, ErrUnsupported)
		return false
	case r.raw.Reason >= NumReasons:
		r.err = fmt.Errorf("event ring: event of the unknown reason %d: %w", r.raw.Reason, ErrCorrupt)
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

// respond queues one response. Xen does not see it before publish.
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

// push queues a response, with a request or without one (see recover.go).
func (r *ring) push(rsp *Response) {
	rsp.encode(vmevent.Slot(r.page, r.rspProd))
	r.rspProd++
	r.stats.Responses++
}

// publish shows Xen the queued responses and reports whether there were any. If so Xen
// must be notified: it reads the ring only then.
func (r *ring) publish() bool {
	if r.pub == r.rspProd {
		return false
	}
	// Xen notifies for every request, whatever req_event is. The protocol wants it set.
	r.counter(vmevent.ReqEvent).Store(r.reqCons + 1)
	r.counter(vmevent.RspProd).Store(r.rspProd)
	r.pub = r.rspProd
	r.stats.Batches++
	return true
}

// consumed reports whether Xen has taken every published response. Xen stores its
// position plus one in rsp_event (vm_event_get_response).
func (r *ring) consumed() bool {
	return r.counter(vmevent.RspEvent).Load() == r.pub+1
}
