//go:build xen && cgo

package xenctrl

// #include "shim.h"
import "C"

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"syscall"
	"unsafe"

	"hangbench/cgo/xenctrl/internal/vmevent"
)

// xenChannel is an event channel of libxenevtchn.
type xenChannel struct {
	waiter
	c *C.hb_chan
	d DomID
}

func (x *xenHandle) OpenChannel(d DomID, port uint32, page []byte) (EventChannel, error) {
	var c *C.hb_chan
	r := C.hb_chan_open(&c, C.uint32_t(d), C.uint32_t(port), unsafe.Pointer(&page[0]))
	if err := on("xenevtchn_bind_interdomain", d, r); err != nil {
		return nil, err
	}
	fd := int(C.hb_chan_fd(c))
	if err := syscall.SetNonblock(fd, true); err != nil {
		C.hb_chan_close(c)
		return nil, fmt.Errorf("open the event channel of domain %d: %w", d, err)
	}
	ch := &xenChannel{c: c, d: d}
	ch.waiter = waiter{domain: d, napper: napper{fd: fd}, notify: ch.turn,
		reqProd: (*atomic.Uint32)(unsafe.Pointer(&page[vmevent.ReqProd]))}
	binary.NativeEndian.PutUint32(ch.port[:], uint32(C.hb_chan_port(c)))
	return ch, nil
}

// result turns a negative errno into an *Error.
func (c *xenChannel) result(rc C.int) error {
	if rc >= 0 {
		return nil
	}
	e := newError("xenevtchn_notify", syscall.Errno(-rc))
	e.Domain = int(c.d)
	return e
}

func (c *xenChannel) turn(reqCons uint32, yield bool) (turn, error) {
	rc := C.hb_chan_turn(c.c, C.uint32_t(reqCons), C.bool(yield))
	return turn(rc), c.result(rc)
}

func (c *xenChannel) Notify() error { return c.result(C.hb_chan_notify(c.c)) }

func (c *xenChannel) Close() error {
	C.hb_chan_close(c.c)
	c.c = nil
	return nil
}
