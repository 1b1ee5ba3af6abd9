package inject

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"hangbench/guests/beat"
)

// number returns the 32-bit number of a symbol.
func (g *fakeGuest) number(symbol string, at uint64) uint32 {
	return binary.LittleEndian.Uint32(g.mem[symbols[symbol]-base+at:])
}

// TestHoldSemaphore: all that is left is taken, once something is, and given back beside
// what others have given.
func TestHoldSemaphore(t *testing.T) {
	t.Parallel()
	g := newFake()
	g.offsets = map[string]uint64{"semaphore.count": 4}
	g.onSleep = func() { g.mem[symbols["sb_lock"]-base+4] = 3 }
	in, err := HoldSemaphore("sb_lock", beat.Again)(t.Context(), g)
	if err != nil || g.number("sb_lock", 4) != 0 || in.What != "3 of sb_lock taken by nobody" {
		t.Fatalf("%+v: %d left, %v", in, g.number("sb_lock", 4), err)
	}
	g.onSleep = nil
	g.mem[symbols["sb_lock"]-base+4] = 1
	if err := in.Remove(t.Context()); err != nil || g.number("sb_lock", 4) != 4 ||
		!slices.Equal(g.asked, []beat.Request{beat.Again}) {
		t.Errorf("after removal %d, requests %v: %v", g.number("sb_lock", 4), g.asked, err)
	}
	g.check(t)

	g = newFake() // nothing is ever left
	if _, err := HoldSemaphore("sb_lock", beat.Again)(t.Context(), g); !errors.Is(err, ErrBusy) ||
		!strings.HasPrefix(err.Error(), "hold sb_lock: ") {
		t.Errorf("a semaphore of which nothing is left: %v", err)
	}
	g.check(t)
}

// TestHoldSequence: the count becomes odd while no writer is at work, and even again
// while none is.
func TestHoldSequence(t *testing.T) {
	t.Parallel()
	g := newFake()
	g.set("sb_lock", []byte{5})
	g.onSleep = func() { g.set("sb_lock", []byte{6}) }
	in, err := HoldSequence("sb_lock")(t.Context(), g)
	if err != nil || g.number("sb_lock", 0) != 7 {
		t.Fatalf("the count is %d: %v", g.number("sb_lock", 0), err)
	}
	g.set("sb_lock", []byte{0xff, 0xff, 0, 0}) // writers have come by ...
	g.set("sb_lock", []byte{0x00, 0x00, 1, 0}) // ... and one is at work
	g.onSleep = func() { g.set("sb_lock", []byte{0xff, 0xff, 0xff, 0xff}) }
	if err := in.Remove(t.Context()); err != nil || g.number("sb_lock", 0) != 0 {
		t.Errorf("after removal the count is %d: %v", g.number("sb_lock", 0), err)
	}
	g.check(t)

	g = newFake() // a writer that never ends
	g.set("sb_lock", []byte{1})
	if _, err := HoldSequence("sb_lock")(t.Context(), g); !errors.Is(err, ErrBusy) || g.number("sb_lock", 0) != 1 {
		t.Errorf("while a writer is at work: %v", err)
	}
	g.check(t)
}

// TestHoldPerCPU: the lock of one vCPU's instance of a variable is held.
func TestHoldPerCPU(t *testing.T) {
	t.Parallel()
	g := newFake()
	before := bytes.Clone(g.mem)
	in, err := HoldPerCPU("__preempt_count", 1)(t.Context(), g)
	if err != nil || !strings.Contains(in.What, "__preempt_count of vCPU 1") {
		t.Fatalf("%+v: %v", in, err)
	}
	want := bytes.Clone(before)
	want[perCPUBase+perCPUStep+0x200] = spinLocked
	if !bytes.Equal(g.mem, want) {
		t.Error("another place was written")
	}
	if err := in.Remove(t.Context()); err != nil || !bytes.Equal(g.mem, before) {
		t.Errorf("the guest is not as it was: %v", err)
	}
	g.check(t)
}

// TestStormTimer: one instruction of the same length sets the first argument to 0.
func TestStormTimer(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ old, want []byte }{
		{append(bytes.Clone(endbr64), 0x55), []byte{0x48, 0x83, 0xe7, 0x00, 0x55}},
		{append(bytes.Clone(sealed), 0x55), []byte{0x48, 0x83, 0xe7, 0x00, 0x55}},
		{[]byte{0x0f, 0x1f, 0x40, 0xd6, 0x55}, []byte{0x48, 0x83, 0xe7, 0x00, 0x55}},
		{traced, []byte{0xbf, 0, 0, 0, 0}},
		{oldTraced, []byte{0xbf, 0, 0, 0, 0}},
	} {
		g := newFake()
		g.set("set_next_event", tc.old)
		in, err := StormTimer("set_next_event")(t.Context(), g)
		if got := g.get("set_next_event", 5); err != nil || !bytes.Equal(got, tc.want) {
			t.Fatalf("%x becomes %x, want %x: %v", tc.old, got, tc.want, err)
		}
		if err := in.Remove(t.Context()); err != nil || !bytes.Equal(g.get("set_next_event", 5), tc.old) {
			t.Errorf("after removal it begins with %x, want %x: %v", g.get("set_next_event", 5), tc.old, err)
		}
		g.check(t)
	}
}

// TestSkipCalls: every call of the callee is left out until the fault is removed, and
// other calls are made.
func TestSkipCalls(t *testing.T) {
	t.Parallel()
	g := newFake()
	g.calls("open", 0x10, 0x20)
	before := bytes.Clone(g.mem)
	in, err := SkipCalls("open", "unlock")(t.Context(), g)
	if err != nil || in.What != "open does not call unlock" {
		t.Fatalf("%+v: %v", in, err)
	}
	want := bytes.Clone(before)
	for _, at := range []uint64{0x10, 0x20} {
		copy(want[symbols["open"]-base+at:], skipCall)
	}
	if !bytes.Equal(g.mem, want) {
		t.Error("something else was written, or not all calls")
	}
	if err := in.Remove(t.Context()); err != nil || !bytes.Equal(g.mem, before) {
		t.Errorf("the guest is not as it was: %v", err)
	}
	g.check(t)

	// The second call cannot be left out: the first is put back.
	g.onRead = nil
	g.stay, g.rip[1] = true, symbols["open"]+0x22
	if _, err := SkipCalls("open", "unlock")(t.Context(), g); !errors.Is(err, ErrBusy) || !bytes.Equal(g.mem, before) {
		t.Errorf("a vCPU is in the second call: %v", err)
	}
	g.check(t)
}
