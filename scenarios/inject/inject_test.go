package inject

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"hangbench/guests/beat"
)

func TestHoldRunQueue(t *testing.T) {
	t.Parallel()
	const at = perCPUBase + perCPUStep + 0x100 + rqLock // of vCPU 1
	g := newFake()
	in, err := HoldRunQueue(1)(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	if got := binary.LittleEndian.Uint32(g.mem[at:]); got != 1 {
		t.Errorf("the lock word is %#x, want 1", got)
	}
	// Somebody waits, and spins.
	g.mem[at+1] = 1
	if err := in.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := binary.LittleEndian.Uint32(g.mem[at:]); got != 0x100 || len(g.nmis) != 0 {
		t.Errorf("after removal the lock word is %#x, NMIs %v; want the waiter's bit only, and none", got, g.nmis)
	}
	g.check(t)
}

// TestRemoveHalted: a paravirtual waiter that has halted is taken out of the
// table and woken.
func TestRemoveHalted(t *testing.T) {
	t.Parallel()
	const at, table = perCPUBase + 0x100 + rqLock, 0x4000
	g := newFake()
	in, err := HoldRunQueue(0)(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	g.mem[at] = 3
	g.set("pv_lock_hash", words(base+table))
	copy(g.mem[table:], words(0, 0, 1, 2, base+at, 4))
	if err := in.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if g.mem[at] != 0 || !slices.Equal(g.nmis, []int{0, 1}) {
		t.Errorf("after removal: lock %#x, NMIs to %v", g.mem[at], g.nmis)
	}
	if got, want := g.mem[table:table+48], words(0, 0, 1, 2, 0, 4); !bytes.Equal(got, want) {
		t.Errorf("the table is %x, want %x", got, want)
	}
	g.check(t)

	// A table without the waiter is not searched for ever, and the lock stays.
	g = newFake()
	if in, err = HoldRunQueue(0)(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	g.mem[at] = 3
	g.set("pv_lock_hash", words(base+table))
	if err := in.Remove(t.Context()); err == nil || g.mem[at] != 3 {
		t.Errorf("a waiter that cannot be found: %v, lock %#x", err, g.mem[at])
	}
	g.check(t)
}

// TestLockWithWaiters: a lock that is free and has somebody in line is about to
// be taken.
func TestLockWithWaiters(t *testing.T) {
	t.Parallel()
	g := newFake()
	g.mem[perCPUBase+0x100+rqLock+2] = 4
	if _, err := HoldRunQueue(0)(t.Context(), g); err == nil {
		t.Error("a lock with waiters was held")
	}
	g.check(t)
}

func TestHoldMutex(t *testing.T) {
	t.Parallel()
	g := newFake()
	in, err := HoldMutex("rtnl_mutex", beat.Pass)(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	if got := g.get("rtnl_mutex", 8); !bytes.Equal(got, words(kthreadd)) {
		t.Errorf("owner %x", got)
	}
	g.set("rtnl_mutex", words(kthreadd|1|2)) // somebody waits
	if err := in.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := g.get("rtnl_mutex", 8); !bytes.Equal(got, words(3)) || !slices.Equal(g.asked, []beat.Request{beat.Pass}) {
		t.Errorf("after removal: owner %x, requests %v; want the flags only, and somebody to pass", got, g.asked)
	}
	g.check(t)

	g = newFake()
	g.set("kthreadd_task", words(0))
	if _, err := HoldMutex("rtnl_mutex", beat.Pass)(t.Context(), g); err == nil {
		t.Error("a mutex is owned by nobody")
	}
}

func TestPatch(t *testing.T) {
	t.Parallel()
	g := newFake()
	was := bytes.Clone(g.get("kernel_wait4", 9))
	g.rip[1] = symbols["kernel_wait4"] + 1 // between the two bytes
	in, err := LoopIn("kernel_wait4", AllVCPUs)(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	if g.rip[1] == symbols["kernel_wait4"]+2 {
		t.Error("patched while a vCPU was between the bytes")
	}
	if got := g.get("kernel_wait4", 4); !bytes.Equal(got, []byte{0xeb, 0xfe, 0x1e, 0xfa}) {
		t.Errorf("the function begins with %x", got)
	}
	if err := in.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := g.get("kernel_wait4", 9); !bytes.Equal(got, was) {
		t.Errorf("after removal it begins with %x, want %x", got, was)
	}
	g.check(t)

	for _, odd := range [][]byte{{0x55, 0x48, 0x89, 0xe5}, {0xeb, 0xfe, 0x1e, 0xfa}} {
		g.set("kernel_wait4", odd)
		_, err := LoopIn("kernel_wait4", AllVCPUs)(t.Context(), g)
		if err == nil || !bytes.Equal(g.get("kernel_wait4", 4), odd) {
			t.Errorf("a function that begins with %x was patched: %v", odd, err)
		}
	}
}

// TestMaskedLoop: the old bytes come back when interrupts are on again.
func TestMaskedLoop(t *testing.T) {
	t.Parallel()
	g := newFake()
	was := bytes.Clone(g.get("kernel_wait4", 9))
	in, err := MaskedLoopIn("kernel_wait4")(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	if got := g.get("kernel_wait4", 4); !bytes.Equal(got, []byte{0xfa, 0xeb, 0xfd, 0xfa}) {
		t.Errorf("the function begins with %x", got)
	}
	g.stay, g.masked = true, 7
	g.rip[0], g.rip[1] = symbols["kernel_wait4"]+1, symbols["kernel_wait4"]
	if err := in.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := g.get("kernel_wait4", 9); !bytes.Equal(got, was) || g.masked != 0 {
		t.Errorf("after removal it begins with %x, want %x; interrupts were still off at %d looks", got, was, g.masked)
	}
	g.check(t)
	g.set("kernel_wait4", []byte{0x0f, 0x1f, 0x44, 0})
	if _, err := MaskedLoopIn("kernel_wait4")(t.Context(), g); err == nil {
		t.Error("a function was patched whose first instruction cannot be entered in the middle")
	}
}

func TestLoseTimer(t *testing.T) {
	t.Parallel()
	g := newFake()
	in, err := LoseTimer("set_next_event")(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	want := []byte{0x31, 0xc0, 0xc3, 0xfa}
	if got := g.get("set_next_event", 4); !bytes.Equal(got, want) {
		t.Errorf("the function begins with %x", got)
	}
	if err := in.Remove(t.Context()); err != nil || !bytes.Equal(g.get("set_next_event", 4), want) {
		t.Errorf("what has no way back is left alone: %v", err)
	}
	g.check(t)
}

func TestCrashIn(t *testing.T) {
	t.Parallel()
	g := newFake()
	in, err := CrashIn("kernel_wait4")(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	if code, flag := g.get("kernel_wait4", 2), g.get("panic_on_oops", 4); !bytes.Equal(code, []byte{0x0f, 0x0b}) ||
		flag[0] != 1 {
		t.Errorf("code %x, panic_on_oops %x", code, flag)
	}
	if err := in.Remove(t.Context()); err != nil {
		t.Errorf("what has no way back is left alone: %v", err)
	}
	g.check(t)
}

func TestAskedAndPaused(t *testing.T) {
	t.Parallel()
	g := newFake()
	in, err := Asked("bomb", beat.Bomb, beat.Kill)(t.Context(), g)
	if err != nil || !in.Asked || in.Outside {
		t.Fatalf("%+v, %v", in, err)
	}
	if err := in.Remove(t.Context()); err != nil || !slices.Equal(g.asked, []beat.Request{beat.Bomb, beat.Kill}) {
		t.Errorf("requests %v, %v", g.asked, err)
	}
	if in, err = StallDisk()(t.Context(), g); err != nil || !g.stalled || !in.Outside {
		t.Fatalf("stalled: %v, %v", g.stalled, err)
	}
	if err := in.Remove(t.Context()); err != nil || g.stalled {
		t.Errorf("removed, and stalled: %v, %v", g.stalled, err)
	}
	if in, err = Mishandled()(t.Context(), g); err != nil || !g.mishandled || !in.Outside {
		t.Fatalf("mishandled: %v, %v", g.mishandled, err)
	}
	if err := in.Remove(t.Context()); err != nil || g.mishandled {
		t.Errorf("mended, and still mishandled: %v, %v", g.mishandled, err)
	}
	g.unwatched = true
	if _, err = Mishandled()(t.Context(), g); err == nil {
		t.Error("a monitor that is not there is mishandled")
	}
	if in, err = Paused()(t.Context(), g); err != nil || g.paused != 1 {
		t.Fatalf("%d pauses, %v", g.paused, err)
	}
	if err := in.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.check(t)
}

// TestSpinLock: a plain spinlock is held and released as a run queue's is.
func TestSpinLock(t *testing.T) {
	t.Parallel()
	g := newFake()
	in, err := HoldSpinLock("cdev_lock")(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	if got := g.get("cdev_lock", 4); !bytes.Equal(got, []byte{1, 0, 0, 0}) {
		t.Errorf("the lock word is %x", got)
	}
	if err := in.Remove(t.Context()); err != nil || g.get("cdev_lock", 1)[0] != 0 {
		t.Errorf("removed: %v, lock word %x", err, g.get("cdev_lock", 4))
	}
	g.check(t)
}

// TestLoseInterrupts: interrupts are on, everywhere, before the old bytes return.
func TestLoseInterrupts(t *testing.T) {
	t.Parallel()
	for name, old := range map[string][]byte{
		"branch tracking": {0xf3, 0x0f, 0x1e, 0xfa, 0x55},
		"tracing":         {0x0f, 0x1f, 0x44, 0x00, 0x00},
		"tracing, 5.10":   {0x66, 0x66, 0x66, 0x66, 0x90},
		"sealed, 7.3":     {0x0f, 0x1f, 0x40, 0xd6, 0x0f},
	} {
		g := newFake()
		g.set("kernel_wait4", old)
		in, err := LoseInterrupts("kernel_wait4")(t.Context(), g)
		if err != nil {
			t.Fatal(err)
		}
		if got := g.get("kernel_wait4", 5); got[0] != 0xfa || bytes.Equal(got, old) {
			t.Errorf("%s: the function begins with %x", name, got)
		}
		g.masked = 9
		g.rip[1] = symbols["kernel_wait4"] + 1
		if err := in.Remove(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := g.get("kernel_wait4", 5); !bytes.Equal(got, old) || g.masked != 0 {
			t.Errorf("%s: after removal it begins with %x, and interrupts were off at %d looks", name, got, g.masked)
		}
		g.check(t)
	}
	g := newFake()
	g.set("kernel_wait4", []byte{0x55, 0x53, 0x48, 0x89, 0xfb})
	if _, err := LoseInterrupts("kernel_wait4")(t.Context(), g); err == nil {
		t.Error("a function was patched whose first instruction is too short")
	}
}

// TestMaskedLoopTraced: behind the first byte of some no-operations there is no
// instruction, so nobody may be there when they come back.
func TestMaskedLoopTraced(t *testing.T) {
	t.Parallel()
	for _, old := range [][]byte{{0x0f, 0x1f, 0x44, 0x00, 0x00}, {0x0f, 0x1f, 0x40, 0xd6, 0x0f}} {
		g := newFake()
		g.set("kernel_wait4", old)
		in, err := MaskedLoopIn("kernel_wait4")(t.Context(), g)
		if err != nil {
			t.Fatal(err)
		}
		at := symbols["kernel_wait4"]
		g.rip[0] = at + 1
		was := at
		g.onRead = func(uint64) { was = g.rip[0] }
		if err := in.Remove(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := g.get("kernel_wait4", 5); !bytes.Equal(got, old) || was < at+4 {
			t.Errorf("%x: after removal it begins with %x; a vCPU was at %#x", old, got, was)
		}
		g.check(t)
	}
}

func TestPanicLoop(t *testing.T) {
	t.Parallel()
	g := newFake()
	g.set("notify", []byte{0x0f, 0x1f, 0x44, 0x00, 0x00})
	in, err := PanicLoop("kernel_wait4", "notify")(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	if got := g.get("notify", 3); !bytes.Equal(got, []byte{0x31, 0xc0, 0xc3}) {
		t.Errorf("notify begins with %x", got)
	}
	if got := g.get("kernel_wait4", 2); !bytes.Equal(got, []byte{0x0f, 0x0b}) {
		t.Errorf("the function begins with %x", got)
	}
	if err := in.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	g.check(t)
}

func TestPanicReboot(t *testing.T) {
	t.Parallel()
	g := newFake()
	g.set("notify", []byte{0x0f, 0x1f, 0x44, 0x00, 0x00})
	if _, err := PanicReboot("kernel_wait4", "notify")(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	if got := g.get("panic_timeout", 5); !bytes.Equal(got, []byte{0xff, 0xff, 0xff, 0xff, 0}) {
		t.Errorf("panic_timeout and the byte behind it are %x", got)
	}
	if notify, code := g.get("notify", 3), g.get("kernel_wait4", 2); !bytes.Equal(notify, []byte{0x31, 0xc0, 0xc3}) ||
		!bytes.Equal(code, []byte{0x0f, 0x0b}) {
		t.Errorf("notify begins with %x, the function with %x", notify, code)
	}
	g.check(t)
	g.noSymbols = true
	if _, err := PanicReboot("kernel_wait4", "notify")(t.Context(), g); err == nil {
		t.Error("a kernel without the variable is told to boot again")
	}
}

func TestCapped(t *testing.T) {
	t.Parallel()
	g := newFake()
	in, err := Capped(5)(t.Context(), g)
	if err != nil || g.capped != 5 || in.Outside {
		t.Fatalf("limited to %d%%, %v", g.capped, err)
	}
	if err := in.Remove(t.Context()); err != nil || g.capped != 0 {
		t.Errorf("removed, and limited to %d%%: %v", g.capped, err)
	}
	g.unwatched = true
	if _, err := Capped(5)(t.Context(), g); err == nil {
		t.Error("a scheduler that knows no limit limits the guest")
	}
}

func TestSlowDisk(t *testing.T) {
	t.Parallel()
	g := newFake()
	in, err := SlowDisk(time.Second)(t.Context(), g)
	if err != nil || g.slower != time.Second {
		t.Fatalf("slower by %v, %v", g.slower, err)
	}
	if err := in.Remove(t.Context()); err != nil || g.slower != 0 {
		t.Errorf("removed, and slower by %v: %v", g.slower, err)
	}
}
