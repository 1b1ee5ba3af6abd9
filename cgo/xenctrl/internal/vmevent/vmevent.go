// Package vmevent is the layout of a vm_event ring: the page that Xen and a
// monitor share. It is vm_event_st and DEFINE_RING_TYPES of Xen's public headers
// vm_event.h and io/ring.h, interface version 7, on x86-64.
//
// Package xenctrl has the monitor's end of the ring. [Front] is Xen's end, for
// tests.
package vmevent

import (
	"sync/atomic"
	"unsafe"
)

// Version is VM_EVENT_INTERFACE_VERSION.
const Version = 7

// PageSize is the size of a ring in bytes.
const PageSize = 4096

// Offsets in the page.
const (
	ReqProd  = 0 // counters of 32 bits that run freely and wrap
	ReqEvent = 4
	RspProd  = 8
	RspEvent = 12
	Slots    = 64 // first slot
)

// RingSize is the number of slots of a one-page ring: as many as fit, rounded
// down to a power of two.
const RingSize = 8

// Event is a request or a response (vm_event_st). Go lays it out as C does. A
// test of package xenctrl compares every offset with the headers of the build.
type Event struct {
	Version, Flags, Reason, VCPU uint32
	Altp2m                       uint16
	_                            [3]uint16
	// U is the union of the reasons' structs: four words, as the largest
	// (mem_access and interrupt) has.
	U    [4]uint64
	Regs Regs
}

// Regs is vm_event_regs_x86.
type Regs struct {
	RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI uint64
	R8, R9, R10, R11, R12, R13, R14, R15   uint64
	RFLAGS, DR6, DR7, RIP                  uint64
	CR0, CR2, CR3, CR4                     uint64
	SysenterCS, SysenterESP, SysenterEIP   uint64
	EFER, STAR, LSTAR                      uint64
	GDTRBase, NPTBase, VMTracePos          uint64
	CSBase, SSBase, DSBase, ESBase         uint32
	FSBase, GSBase                         uint64
	CS, SS, DS, ES, FS, GS                 uint32 // limit in bits 0-19, attributes in bits 20-31
	ShadowGS                               uint64
	GDTRLimit                              uint16
	CSSel, SSSel, DSSel, ESSel, FSSel      uint16
	GSSel, _                               uint16
}

// Counter returns one of the ring's counters, by its offset. Loads acquire and
// stores release (Go's atomics are sequentially consistent).
func Counter(page []byte, off int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&page[off]))
}

// Slot returns the slot of request or response number i.
func Slot(page []byte, i uint32) *Event {
	return (*Event)(unsafe.Pointer(&page[Slots+uintptr(i%RingSize)*unsafe.Sizeof(Event{})]))
}

// Front is Xen's end of a ring (xen/common/vm_event.c): it produces requests
// and consumes responses. Page must be aligned to 8 bytes, and nobody but the
// Front and the monitor may write to it.
type Front struct {
	Page []byte
	// ReqProd counts the requests produced, RspCons the responses consumed.
	ReqProd, RspCons uint32
}

// Free returns the number of slots that hold neither a request nor a response.
func (f *Front) Free() uint32 { return RingSize - (f.ReqProd - f.RspCons) }

// Put produces a request and reports whether there was a free slot for it.
func (f *Front) Put(e Event) bool {
	if f.Free() == 0 {
		return false
	}
	e.Version = Version
	*Slot(f.Page, f.ReqProd) = e
	f.ReqProd++
	Counter(f.Page, ReqProd).Store(f.ReqProd)
	return true
}

// Get consumes a response and reports whether there was one.
func (f *Front) Get(e *Event) bool {
	if Counter(f.Page, RspProd).Load() == f.RspCons {
		return false
	}
	*e = *Slot(f.Page, f.RspCons)
	f.RspCons++
	Counter(f.Page, RspEvent).Store(f.RspCons + 1)
	return true
}
