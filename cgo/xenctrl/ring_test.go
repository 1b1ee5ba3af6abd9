package xenctrl

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"hangbench/cgo/xenctrl/internal/vmevent"
)

// fakePage is one aligned page of Go memory.
func fakePage() []byte {
	words := make([]uint64, PageSize/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), PageSize)
}

func newPair(t testing.TB, start uint32) (*ring, *vmevent.Front) {
	t.Helper()
	page := fakePage()
	r, err := newRing(page, 3)
	if err != nil {
		t.Fatal(err)
	}
	f := &vmevent.Front{Page: page, ReqProd: start, RspCons: start}
	for _, off := range []int{vmevent.ReqProd, vmevent.RspProd} {
		r.counter(off).Store(start)
	}
	r.reqCons, r.rspProd, r.pub = start, start, start
	return r, f
}

func TestNewRingResetsCounters(t *testing.T) {
	page := fakePage()
	for i := range page {
		page[i] = 0xff
	}
	if _, err := newRing(page, 0); err != nil {
		t.Fatal(err)
	}
	for off, want := range map[int]uint32{vmevent.ReqProd: 0, vmevent.RspProd: 0, vmevent.ReqEvent: 1,
		vmevent.RspEvent: 1} {
		if got := uint32(le64(page[off:])); got != want {
			t.Errorf("counter at %d is %d, want %d", off, got, want)
		}
	}
	for _, bad := range [][]byte{nil, page[:64], page[1:]} {
		if _, err := newRing(bad, 0); err == nil {
			t.Errorf("a page of %d bytes was taken", len(bad))
		}
	}
}

// TestRingWrap passes events through the ring in batches of every size, across
// the wrap of the slots and of the 32-bit counters.
func TestRingWrap(t *testing.T) {
	for batch := 1; batch <= vmevent.RingSize; batch++ {
		r, f := newPair(t, math.MaxUint32-11)
		sent, answered := uint64(0), uint64(0)
		for range 10 {
			for range batch {
				if !f.Put(vmevent.Event{Reason: uint32(ReasonMemAccess), VCPU: uint32(sent % 4),
					U: [4]uint64{sent, sent & 0xfff, ^sent, 4}}) {
					t.Fatal("ring is full too early")
				}
				sent++
			}
			if got := r.pending(); got != uint32(batch) {
				t.Fatalf("%d pending, want %d", got, batch)
			}
			var ev Event
			for r.next(&ev) {
				want := answered
				if ev.GFN != want || ev.GLA != ^want || ev.Access != TouchedX || ev.VCPU != int(want%4) {
					t.Fatalf("event %d came as %+v", want, ev)
				}
				rsp := ev.Response()
				rsp.Flags |= FlagEmulate
				if err := r.respond(&rsp); err != nil {
					t.Fatal(err)
				}
				answered++
			}
			if r.err != nil {
				t.Fatal(r.err)
			}
			var raw vmevent.Event
			if f.Get(&raw) {
				t.Fatal("a response was seen before publish")
			}
			if !r.publish() || r.publish() {
				t.Fatal("publish must report new responses once")
			}
			if r.consumed() {
				t.Fatal("consumed before Xen looked")
			}
			for i := range batch {
				if !f.Get(&raw) {
					t.Fatalf("response %d of %d is missing", i, batch)
				}
				want := answered - uint64(batch) + uint64(i)
				if raw.U[0] != want || raw.Flags != uint32(FlagEmulate) || raw.Version != 7 || raw.Reason != 1 ||
					raw.VCPU != uint32(want%4) {
					t.Fatalf("response %d came as %+v", want, raw)
				}
			}
			if !r.consumed() {
				t.Fatal("not consumed after Xen looked")
			}
		}
		st := r.stats
		wantFull := uint64(0)
		if batch == vmevent.RingSize {
			wantFull = 10 * vmevent.RingSize // at each event taken: responses are published after the batch
		}
		if st.Requests != sent || st.Responses != sent || st.Batches != 10 || st.MaxDepth != int32(batch) ||
			st.Full != wantFull {
			t.Errorf("batch %d: stats %+v after %d events, want %d looks at a full ring", batch, st, sent, wantFull)
		}
	}
}

func TestRingRefusesNonsense(t *testing.T) {
	for _, c := range []struct {
		name string
		put  func(*ring, *vmevent.Front)
		want string
		is   error
	}{
		{"too many requests", func(r *ring, f *vmevent.Front) { vmevent.Counter(f.Page, vmevent.ReqProd).Store(9) },
			"9 new requests", ErrCorrupt},
		{"counter went back", func(r *ring, f *vmevent.Front) {
			vmevent.Counter(f.Page,
				vmevent.ReqProd).Store(^uint32(0))
		}, "new requests", ErrCorrupt},
		{"overwritten", func(r *ring, f *vmevent.Front) {
			var ev Event
			for range 8 {
				f.Put(vmevent.Event{})
			}
			for r.next(&ev) {
			}
			vmevent.Counter(f.Page, vmevent.ReqProd).Store(9)
		}, "9 without a response", ErrCorrupt},
		{"version", func(r *ring, f *vmevent.Front) { f.Put(vmevent.Event{}); vmevent.Slot(f.Page, 0).Version = 8 },
			"version 8", ErrUnsupported},
		{"reason", func(r *ring, f *vmevent.Front) { f.Put(vmevent.Event{Reason: 17}) }, "reason 17", ErrCorrupt},
		{"vcpu", func(r *ring, f *vmevent.Front) { f.Put(vmevent.Event{VCPU: 4}) }, "vCPU 4", ErrCorrupt},
		{"vcpu sign", func(r *ring, f *vmevent.Front) { f.Put(vmevent.Event{VCPU: 1 << 31}) }, "vCPU 2147483648", ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, f := newPair(t, 0)
			c.put(r, f)
			var ev Event
			if r.next(&ev) {
				t.Fatalf("took %+v", ev)
			}
			if r.err == nil || !strings.Contains(r.err.Error(), c.want) || !errors.Is(r.err, c.is) {
				t.Fatalf("error %v, want one with %q", r.err, c.want)
			}
			if r.next(&ev) {
				t.Fatal("went on after the error")
			}
		})
	}
}

func TestRespondChecks(t *testing.T) {
	r, f := newPair(t, 0)
	if err := r.respond(&Response{}); err == nil {
		t.Error("a response without a request was taken")
	}
	f.Put(vmevent.Event{})
	var ev Event
	r.next(&ev)
	for name, rsp := range map[string]Response{
		"fast step and toggle":  {Flags: FlagFastSingleStep | FlagToggleSingleStep},
		"fast step and emulate": {Flags: FlagFastSingleStep | FlagEmulate},
		"fast step and deny":    {Flags: FlagFastSingleStep | FlagDeny},
		"no registers":          {Flags: FlagSetRegisters},
		"registers and insn":    {Flags: FlagSetRegisters | FlagSetEmulInsn, Regs: new(Registers)},
		"request flag":          {Flags: FlagForeign},
		"vcpu":                  {VCPU: -1},
	} {
		if err := r.respond(&rsp); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if r.stats.Responses != 0 {
		t.Error("a refused response was queued")
	}
	if err := r.respond(&Response{}); err != nil {
		t.Errorf("plain response: %v", err)
	}
}

// numbered gives every byte of a raw event its own value, so that a swapped
// field shows.
func numbered() vmevent.Event {
	var raw vmevent.Event
	b := unsafe.Slice((*byte)(unsafe.Pointer(&raw)), unsafe.Sizeof(raw))
	for i := range b {
		b[i] = byte(i*7 + i/256 + 1)
	}
	raw.Version = 7
	return raw
}

func TestDecode(t *testing.T) {
	at := func(raw *vmevent.Event, off uintptr) uint64 {
		b := unsafe.Slice((*byte)(unsafe.Pointer(raw)), unsafe.Sizeof(*raw))
		return le64(append(append([]byte(nil), b[off:min(off+8, 400)]...), make([]byte, 8)...))
	}
	raw := numbered()
	// Offsets of the C header (TestLayout compares them with it).
	var ev Event
	ev.GFN, ev.MSR, ev.InsnLen = 1, 1, 1
	raw.Reason = uint32(ReasonMemAccess)
	decode(&raw, &ev)
	for name, c := range map[string][2]uint64{
		"flags":  {uint64(ev.Flags), at(&raw, 4) & math.MaxUint32},
		"vcpu":   {uint64(ev.VCPU), at(&raw, 12) & math.MaxUint32},
		"view":   {uint64(ev.View), at(&raw, 16) & 0xffff},
		"gfn":    {ev.GFN, at(&raw, 24)},
		"offset": {ev.Offset, at(&raw, 32) & 0xfff},
		"gla":    {ev.GLA, at(&raw, 40)},
		"access": {uint64(ev.Access), at(&raw, 48) & math.MaxUint32},
		"rax":    {ev.Regs.RAX, at(&raw, 56)}, "rcx": {ev.Regs.RCX, at(&raw, 64)},
		"rdx": {ev.Regs.RDX, at(&raw, 72)}, "rbx": {ev.Regs.RBX, at(&raw, 80)},
		"rsp": {ev.Regs.RSP, at(&raw, 88)}, "rbp": {ev.Regs.RBP, at(&raw, 96)},
		"rsi": {ev.Regs.RSI, at(&raw, 104)}, "rdi": {ev.Regs.RDI, at(&raw, 112)},
		"r8": {ev.Regs.R8, at(&raw, 120)}, "r15": {ev.Regs.R15, at(&raw, 176)},
		"rflags": {ev.Regs.RFLAGS, at(&raw, 184)}, "rip": {ev.Regs.RIP, at(&raw, 208)},
		"cr0": {ev.Regs.CR0, at(&raw, 216)}, "cr3": {ev.Regs.CR3, at(&raw, 232)},
		"gdt": {ev.Regs.GDTBase, at(&raw, 296)}, "fs": {ev.Regs.FSBase, at(&raw, 336)},
		"gs": {ev.Regs.GSBase, at(&raw, 344)}, "kernel gs": {ev.Regs.KernelGSBase, at(&raw, 376)},
		"cs sel": {uint64(ev.Regs.CSSel), at(&raw, 386) & 0xffff}, "gs sel": {uint64(ev.Regs.GSSel), at(&raw, 396) & 0xffff},
		"cs attr": {uint64(ev.Regs.CSAttr), at(&raw, 352) >> 20 & 0xfff}, "ss attr": {uint64(ev.Regs.SSAttr),
			at(&raw, 356) >> 20 & 0xfff},
		"no msr": {ev.MSR, 0}, "no insn": {uint64(ev.InsnLen), 0},
	} {
		if c[0] != c[1] {
			t.Errorf("%s is %#x, want %#x", name, c[0], c[1])
		}
	}

	raw.Reason = uint32(ReasonWriteCtrlReg)
	decode(&raw, &ev)
	if ev.GFN != 0 || uint64(ev.CtrlReg) != raw.U[0]&math.MaxUint32 || ev.NewValue != raw.U[1] || ev.OldValue != raw.U[2] {
		t.Errorf("write-ctrlreg: %+v", ev)
	}
	raw.Reason = uint32(ReasonSoftwareBreakpoint)
	raw.U[2] = 6<<32 | 1
	decode(&raw, &ev)
	if ev.GFN != raw.U[0] || ev.InsnLen != 1 || ev.TrapType != 6 || ev.NewValue != 0 {
		t.Errorf("breakpoint: %+v", ev)
	}
	raw.Reason = uint32(ReasonSingleStep)
	decode(&raw, &ev)
	if ev.GFN != raw.U[0] || ev.InsnLen != 0 {
		t.Errorf("single step: %+v", ev)
	}
}

func TestEncode(t *testing.T) {
	regs := Registers{RAX: 1, RCX: 2, RDX: 3, RBX: 4, RSP: 5, RBP: 6, RSI: 7, RDI: 8, R8: 9, R9: 10, R10: 11, R11: 12,
		R12: 13, R13: 14, R14: 15, R15: 16, RFLAGS: 17, RIP: 18, CR3: 99}
	for _, c := range []struct {
		name string
		rsp  Response
		want vmevent.Event
	}{
		{"plain", Response{VCPU: 2, Reason: ReasonSingleStep, Flags: FlagVCPUPaused},
			vmevent.Event{Version: 7, Flags: 1, Reason: 7, VCPU: 2}},
		{"emulate", Response{Reason: ReasonMemAccess, Flags: FlagVCPUPaused | FlagEmulate, GFN: 5, Access: TouchedX},
			vmevent.Event{Version: 7, Flags: 5, Reason: 1, U: [4]uint64{5, 0, 0, 4}}},
		{"altp2m step", Response{Reason: ReasonMemAccess, Flags: FlagVCPUPaused | FlagAlternateP2M | FlagToggleSingleStep,
			View: 0, GFN: 5},
			vmevent.Event{Version: 7, Flags: 1 | 1<<7 | 1<<4, Reason: 1, U: [4]uint64{5}}},
		{"altp2m fast step", Response{Reason: ReasonMemAccess,
			Flags: FlagVCPUPaused | FlagAlternateP2M | FlagFastSingleStep, View: 3, StepView: 1, GFN: 5, Access: 7},
			vmevent.Event{Version: 7, Flags: 1 | 1<<7 | 1<<11, Reason: 1, Altp2m: 3, U: [4]uint64{1}}},
		{"deny", Response{Reason: ReasonWriteCtrlReg, Flags: FlagVCPUPaused | FlagDeny, CtrlReg: CR3},
			vmevent.Event{Version: 7, Flags: 1 | 1<<6, Reason: 4, U: [4]uint64{1}}},
		{"registers", Response{Reason: ReasonSoftwareBreakpoint, Flags: FlagSetRegisters, Regs: &regs},
			vmevent.Event{Version: 7, Flags: 1 << 8, Reason: 6, Regs: vmevent.Regs{RAX: 1, RCX: 2, RDX: 3, RBX: 4, RSP: 5,
				RBP: 6, RSI: 7, RDI: 8, R8: 9, R9: 10, R10: 11, R11: 12, R12: 13, R13: 14, R14: 15, R15: 16, RFLAGS: 17, RIP: 18}}},
		{"insn", Response{Reason: ReasonSoftwareBreakpoint, Flags: FlagEmulate | FlagSetEmulInsn,
			Insn: [16]byte{0: 0x55, 15: 0x90}},
			vmevent.Event{Version: 7, Flags: 1<<2 | 1<<9, Reason: 6, Regs: vmevent.Regs{RAX: 0x55, RCX: 0x90 << 56}}},
	} {
		raw := numbered() // the request's bytes must not shine through
		c.rsp.encode(&raw)
		if !reflect.DeepEqual(raw, c.want) {
			t.Errorf("%s: %+v\nwant %+v", c.name, raw, c.want)
		}
	}
}

// TestRingConcurrent runs both ends at once; under -race it shows that the
// counters order the accesses to the slots.
func TestRingConcurrent(t *testing.T) {
	r, f := newPair(t, 0)
	const total = 20000
	fail := make(chan string, 1)
	go func() {
		defer close(fail)
		var raw vmevent.Event
		for sent, got := uint64(0), uint64(0); got < total; {
			if sent < total && f.Put(vmevent.Event{Reason: uint32(ReasonSingleStep), U: [4]uint64{sent},
				Regs: vmevent.Regs{RIP: sent}}) {
				sent++
			}
			for f.Get(&raw) {
				if raw.U[0] != got {
					fail <- "responses out of order"
					return
				}
				got++
			}
		}
	}()
	var ev Event
	for n := uint64(0); n < total; {
		for r.next(&ev) {
			if ev.GFN != n || ev.Regs.RIP != n {
				t.Fatalf("event %d came as gfn %d rip %d", n, ev.GFN, ev.Regs.RIP)
			}
			n++
			rsp := ev.Response()
			rsp.Reason = ReasonMemAccess // echoes GFN
			if err := r.respond(&rsp); err != nil {
				t.Fatal(err)
			}
		}
		if r.err != nil {
			t.Fatal(r.err)
		}
		r.publish()
	}
	if msg := <-fail; msg != "" {
		t.Fatal(msg)
	}
}

// ringXen is a guest of one vCPU whose events are answered at once. It neither
// sleeps nor allocates.
type ringXen struct {
	Hypervisor
	front vmevent.Front
}

func (x *ringXen) Domain(DomID) (DomainInfo, error) { return DomainInfo{ID: 1}, nil }
func (x *ringXen) Pause(DomID) error                { return nil }
func (x *ringXen) Unpause(DomID) error              { return nil }
func (x *ringXen) EnableMonitor(DomID) ([]byte, uint32, error) {
	x.front = vmevent.Front{Page: fakePage()}
	return x.front.Page, 7, nil
}
func (x *ringXen) OpenChannel(DomID, uint32, []byte) (EventChannel, error) { return x, nil }

func (x *ringXen) Wait(uint32, bool, time.Duration) (Wake, bool, error) {
	return WakeEvents, false, x.Notify()
}
func (x *ringXen) Notify() error {
	var e vmevent.Event
	for x.front.Get(&e) {
	}
	return nil
}
func (x *ringXen) Interrupt() error { return nil }
func (x *ringXen) Close() error     { return nil }

func (x *ringXen) MonitorToggle(DomID, EventSource, bool) error { return nil }

func ringMonitor(t testing.TB) (*ringXen, *Monitor) {
	t.Helper()
	x := &ringXen{}
	m, err := New(x).Domain(1).EnableMonitor()
	if err != nil {
		t.Fatal(err)
	}
	return x, m
}

func TestRingDoesNotAllocate(t *testing.T) {
	x, m := ringMonitor(t)
	if err := m.SingleStep(true); err != nil {
		t.Fatal(err)
	}
	var ev Event
	n := testing.AllocsPerRun(1000, func() {
		if !x.front.Put(vmevent.Event{Reason: uint32(ReasonMemAccess), U: [4]uint64{1, 2, 3, 4}}) {
			t.Fatal("the ring is full")
		}
		if _, err := m.Wait(-1); err != nil {
			t.Fatal(err)
		}
		for m.Next(&ev) {
			rsp := ev.Response()
			rsp.Flags |= FlagAlternateP2M | FlagFastSingleStep
			rsp.StepView = 1
			if err := m.Respond(&rsp); err != nil {
				t.Fatal(err)
			}
		}
	})
	if n != 0 {
		t.Errorf("%v allocations per event", n)
	}
	if st := m.Stats(); st.Requests != 1001 || st.Batches != 1000 { // AllocsPerRun warms up once
		t.Errorf("stats %+v", st)
	}
}

func BenchmarkRing(b *testing.B) {
	x, m := ringMonitor(b)
	var ev Event
	for b.Loop() {
		x.front.Put(vmevent.Event{Reason: uint32(ReasonMemAccess), U: [4]uint64{1, 2, 3, 4}})
		m.Wait(0)
		for m.Next(&ev) {
			rsp := ev.Response()
			m.Respond(&rsp)
		}
	}
}

func FuzzRing(f *testing.F) {
	raw := numbered()
	f.Add(uint32(1), uint32(0), unsafe.Slice((*byte)(unsafe.Pointer(&raw)), 400))
	f.Add(uint32(8), uint32(8), []byte{7, 0, 0, 0})
	f.Add(uint32(0xffffffff), uint32(3), []byte{})
	f.Fuzz(func(t *testing.T, prod, rspEvent uint32, slots []byte) {
		r, _ := newPair(t, 0)
		copy(r.page[vmevent.Slots:], slots)
		r.counter(vmevent.ReqProd).Store(prod)
		r.counter(vmevent.RspEvent).Store(rspEvent)
		var ev Event
		n := 0
		for r.next(&ev) {
			if n++; n > vmevent.RingSize {
				t.Fatal("more events than slots")
			}
			if ev.VCPU < 0 || ev.VCPU > 3 || ev.Reason >= NumReasons || ev.Offset >= PageSize {
				t.Fatalf("event out of range: %+v", ev)
			}
			rsp := ev.Response()
			if err := r.respond(&rsp); err != nil {
				t.Fatal(err)
			}
		}
		if r.err == nil && uint32(n) != prod {
			t.Fatalf("took %d of %d events without an error", n, prod)
		}
	})
}
