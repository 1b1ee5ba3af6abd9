//go:build libvmi && cgo

package libvmi

// #include "shim.h"
import "C"

//export hbvmiGoEvent
func hbvmiGoEvent(h C.uintptr_t, ev *C.hbvmi_event, reply *C.hbvmi_reply) {
	r := dispatch(handle(h), func(e *Event) {
		*e = Event{
			Kind: Kind(ev._type), VCPU: int(ev.vcpu), View: View(ev.view),
			GFN: uint64(ev.gfn), Offset: uint64(ev.offset),
			GLA: uint64(ev.gla), GLAValid: ev.gla_valid != 0, InPageWalk: ev.gptw != 0,
			Access: Trap(ev.access), Reg: Reg(ev.reg), Value: uint64(ev.value), Previous: uint64(ev.previous),
			InsnLen: uint32(ev.insn_len),
			RIP:     uint64(ev.rip), RSP: uint64(ev.rsp), RFLAGS: uint64(ev.rflags), CR3: uint64(ev.cr3),
		}
	})
	reply.flags = C.uint32_t(r.flags())
	reply.view, reply.next_view = C.uint16_t(r.View), C.uint16_t(r.NextView)
	if r.Reinject {
		reply.reinject = 1
	}
}

//export hbvmiGoCleared
func hbvmiGoCleared(h C.uintptr_t, ok C.int) { cleared(handle(h), ok != 0) }
