package xenctrl

import (
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// fakePage is one aligned page of Go memory.
func fakePage() []byte {
	words := make([]uint64, PageSize/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), PageSize)
}

// frontRing is Xen's end of a vm_event ring (xen/common/vm_event.c).
type frontRing struct {
	page             []byte
	reqProd, rspCons uint32
}

func (f *frontRing) counter(off int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&f.page[off]))
}

func (f *frontRing) slot(i uint32) *rawEvent {
	return (*rawEvent)(unsafe.Pointer(&f.page[64+400*(i%8)]))
}

func (f *frontRing) free() uint32 { return 8 - (f.reqProd - f.rspCons) }

func (f *frontRing) put(raw rawEvent) bool {
	if f.free() == 0 {
		return false
	}
	raw.version = 7
	*f.slot(f.reqProd) = raw
	f.reqProd++
	f.counter(0).Store(f.reqProd)
	return true
}

func (f *frontRing) get(raw *rawEvent) bool {
	if f.counter(8).Load() == f.rspCons {
		return false
	}
	*raw = *f.slot(f.rspCons)
	f.rspCons++
	f.counter(12).Store(f.rspCons + 1)
	return true
}

// fakeVCPU is what a response acts on.
type fakeVCPU struct {
	pauseCount int // vm_event_pause_count
	step, fast bool
	view       uint16
	answers    int // responses that named it, whether it waited or not
}

// fakeXen is one domain with id 1 as Xen keeps it, as far as monitors go.
type fakeXen struct {
	hypervisor // what is not overridden panics
	vcpus      []fakeVCPU
	paused     int
	pausedMax  int
	ring       *frontRing
	altp2m     bool
	restricted map[uint64]bool
	memory     map[uint64][]byte // frames that can be mapped
	added      map[uint64]bool
	cr3        bool // reported
	listener   bool
	busy       int // times monitorDisable answers EBUSY
	stuck      bool
	stepEvents bool
	log        []string
}

func errno(op string, e syscall.Errno) error {
	err := newError(op, e)
	err.Domain = 1
	return err
}

func (x *fakeXen) domain(DomID) (DomainInfo, error) {
	return DomainInfo{ID: 1, MaxVCPU: len(x.vcpus) - 1, VCPUs: len(x.vcpus), Paused: x.paused > 0}, nil
}

func (x *fakeXen) pause(DomID) error {
	x.paused++
	x.pausedMax = max(x.pausedMax, x.paused)
	return nil
}

func (x *fakeXen) unpause(DomID) error {
	if x.paused == 0 {
		return errno("xc_domain_unpause", syscall.EINVAL)
	}
	x.paused--
	return nil
}

func (x *fakeXen) monitorEnable(DomID) ([]byte, uint32, error) {
	if x.ring != nil {
		return nil, 0, errno("xc_monitor_enable", syscall.EBUSY)
	}
	page := fakePage()
	for i := range page {
		page[i] = 0xa5 // what was in the page before
	}
	x.ring = &frontRing{page: page}
	x.log = append(x.log, "enable")
	return page, 7, nil
}

func (x *fakeXen) monitorDisable(DomID) error {
	if x.ring == nil {
		return errno("xc_monitor_disable", syscall.EINVAL)
	}
	if x.busy > 0 {
		x.busy--
		return errno("xc_monitor_disable", syscall.EBUSY)
	}
	x.ring, x.cr3, x.stepEvents = nil, false, false
	x.log = append(x.log, "disable")
	return nil
}

func (x *fakeXen) unmap([]byte) error { return nil }

func (x *fakeXen) mapForeign(_ DomID, _ Prot, gfns []uint64, errs []int32) ([]byte, error) {
	page := x.memory[gfns[0]]
	if page == nil {
		errs[0] = int32(syscall.EINVAL)
		page = fakePage()
	}
	x.log = append(x.log, "map")
	return page, nil
}

func (x *fakeXen) depopulate(_ DomID, gfn uint64) error {
	if !x.added[gfn] {
		return errno("xc_domain_decrease_reservation_exact", syscall.EBUSY)
	}
	delete(x.added, gfn)
	return nil
}

func (x *fakeXen) access(_ DomID, gfn uint64) (Access, error) {
	switch {
	case x.ring == nil:
		return 0, errno("xc_get_mem_access", syscall.ENODEV)
	case gfn >= 1<<20:
		return 0, errno("xc_get_mem_access", syscall.ESRCH)
	case x.restricted[gfn]:
		return AccessRW, nil
	}
	return AccessRWX, nil
}

func (x *fakeXen) monitorWriteCtrlReg(_ DomID, r CtrlReg, on, sync bool, _ uint64, _ bool) error {
	switch {
	case x.ring == nil:
		return errno("xc_monitor_write_ctrlreg", syscall.ENODEV)
	case x.cr3 == on:
		return errno("xc_monitor_write_ctrlreg", syscall.EEXIST)
	case on && x.paused == 0:
		panic("CR3 is reported to a ring that nobody reads")
	}
	x.cr3 = on
	return nil
}

func (x *fakeXen) monitorSwitch(_ DomID, s monitorSwitch, on, _ bool) error {
	if s == switchSingleStep {
		x.stepEvents = on
	}
	return nil
}

// monitorResume is vm_event_resume.
func (x *fakeXen) monitorResume(DomID) error {
	if x.stuck {
		return nil
	}
	var raw rawEvent
	for x.ring.get(&raw) {
		if raw.version != 7 || int(raw.vcpu) >= len(x.vcpus) {
			continue
		}
		v := &x.vcpus[raw.vcpu]
		v.answers++
		if v.pauseCount == 0 {
			continue
		}
		flags := Flags(raw.flags)
		if flags&FlagToggleSingleStep != 0 {
			v.step = !v.step
		} else if flags&FlagFastSingleStep != 0 {
			v.step, v.fast = true, true
		}
		if flags&FlagAlternateP2M != 0 && x.altp2m {
			v.view = raw.altp2m
		}
		if flags&FlagVCPUPaused != 0 {
			v.pauseCount--
			x.log = append(x.log, "answered")
		}
	}
	return nil
}

// event is monitor_traps with sync set.
func (x *fakeXen) event(vcpu int, raw rawEvent) bool {
	raw.vcpu = uint32(vcpu)
	raw.flags |= uint32(FlagVCPUPaused)
	if !x.ring.put(raw) {
		return false
	}
	x.vcpus[vcpu].pauseCount++
	return true
}

func (x *fakeXen) singleStep(_ DomID, vcpu int, on bool) error {
	if vcpu >= len(x.vcpus) {
		return errno("xc_domain_debug_control", syscall.EINVAL)
	}
	x.vcpus[vcpu].step, x.vcpus[vcpu].fast = on, false
	x.log = append(x.log, "step off")
	return nil
}

func (x *fakeXen) altp2mState(DomID) (bool, error) { return x.altp2m, nil }

func (x *fakeXen) setAltp2mState(_ DomID, on bool) error {
	x.altp2m = on
	for i := range x.vcpus {
		x.vcpus[i].view = 0
	}
	return nil
}

func (x *fakeXen) switchView(_ DomID, v View) error {
	for i := range x.vcpus {
		x.vcpus[i].view = uint16(v)
	}
	x.log = append(x.log, "view")
	return nil
}

func (x *fakeXen) accessRequired(_ DomID, on bool) error {
	x.listener = on
	return nil
}

func (x *fakeXen) setAccess(_ DomID, gfn uint64, _ uint32, a Access) error {
	if x.ring == nil {
		return errno("xc_set_mem_access", syscall.ENODEV)
	}
	if gfn >= 1<<20 {
		return errno("xc_set_mem_access", syscall.EINVAL)
	}
	x.restricted[gfn] = a != AccessRWX
	return nil
}

func (x *fakeXen) openChannel(DomID, uint32, []byte) (channel, error) { return &fakeChannel{x: x}, nil }

type fakeChannel struct {
	x        *fakeXen
	notified int
	waits    []uint32
	closed   bool
	wake     Wake
}

func (c *fakeChannel) wait(reqCons uint32, notify bool, timeout time.Duration) (Wake, bool, error) {
	if notify {
		if err := c.notify(); err != nil {
			return 0, false, err
		}
	}
	c.waits = append(c.waits, reqCons)
	if c.x.stepEvents {
		for i := range c.x.vcpus {
			if v := &c.x.vcpus[i]; v.step && v.pauseCount == 0 {
				c.x.event(i, rawEvent{reason: uint32(ReasonSingleStep)})
			}
		}
	}
	if c.x.ring.reqProd != reqCons {
		return WakeEvents, false, nil
	}
	return c.wake, timeout != 0, nil
}

func (c *fakeChannel) notify() error {
	c.notified++
	return c.x.monitorResume(1)
}

func (c *fakeChannel) interrupt() error {
	c.wake |= WakeInterrupt
	return nil
}

func (c *fakeChannel) close() error {
	c.closed = true
	return nil
}
