package inject

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"
)

// TestClock: an injector that waits does so on its target's clock, not on this
// machine's: in the lab the two have nothing to do with each other.
func TestClock(t *testing.T) {
	t.Parallel()
	g := newFake()
	g.busy = 1 << 30
	if _, err := HoldRWLock("tasklist_lock")(t.Context(), g); !errors.Is(err, ErrBusy) {
		t.Errorf("lock that is never free: %v", err)
	}
	if want := tries * int64(tryPause); g.now != want {
		t.Errorf("waited %d ns on the guest's clock, want %d", g.now, want)
	}
	g.check(t)

	g = newFake()
	g.calls("ustat", 4)
	was := bytes.Clone(g.mem)
	if _, err := ForgetUnlock(super)(t.Context(), g); !errors.Is(err, ErrBusy) {
		t.Errorf("lock that nobody takes: %v", err)
	}
	if g.now <= int64(forgetTime) || g.now > int64(forgetTime+2*tryPause) {
		t.Errorf("waited %v on the guest's clock, want %v", time.Duration(g.now), forgetTime)
	}
	if !bytes.Equal(g.mem, was) {
		t.Error("the calls were not put back")
	}
	g.check(t)
}

// TestInterrupted: an injector stops waiting when its context ends, and the guest is
// then as it was.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault Fault
		set   func(*fakeGuest)
	}{
		"lock held":  {HoldRWLock("tasklist_lock"), func(g *fakeGuest) { g.set("tasklist_lock", []byte{writeLocked}) }},
		"queue held": {HoldRunQueue(0), func(g *fakeGuest) { g.mem[perCPUBase+0x100+rqLock] = spinLocked }},
		"code occupied": {LoopIn("kernel_wait4", AllVCPUs), func(g *fakeGuest) {
			g.stay, g.rip[0] = true, symbols["kernel_wait4"]+1
		}},
		"interrupts": {LoseInterrupts("kernel_wait4"), func(g *fakeGuest) {
			g.stay, g.rip[0] = true,
				symbols["kernel_wait4"]+1
		}},
		"lock not held": {ForgetUnlock(super), func(g *fakeGuest) { g.calls("ustat", 4) }},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		g := newFake()
		tc.set(g)
		was := bytes.Clone(g.mem)
		sleeps := 0
		g.onSleep = func() {
			if sleeps++; sleeps == 3 {
				cancel()
			}
		}
		if _, err := tc.fault(ctx, g); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v, want %v", name, err, context.Canceled)
		}
		if sleeps != 3 || !bytes.Equal(g.mem, was) {
			t.Errorf("%s: %d waits, the guest as it was: %v", name, sleeps, bytes.Equal(g.mem, was))
		}
		g.check(t)
		cancel()
	}
}

// TestPanicFails: a fault of two parts leaves nothing behind if the second one fails.
func TestPanicFails(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]Fault{
		"crash":  CrashIn("kernel_wait4"),
		"loop":   PanicLoop("kernel_wait4", "notify"),
		"reboot": PanicReboot("kernel_wait4", "notify"),
	} {
		g := newFake()
		g.set("notify", traced)
		g.set("kernel_wait4", []byte{0x55, 0x48, 0x89, 0xe5}) // begins with no known instruction
		g.set("panic_on_oops", []byte{7})
		g.set("panic_timeout", []byte{5})
		was := bytes.Clone(g.mem)
		if _, err := fault(t.Context(), g); err == nil {
			t.Errorf("%s: a function that begins with push was patched", name)
		}
		if !bytes.Equal(g.mem, was) {
			t.Errorf("%s: the guest is not as it was", name)
		}
		g.check(t)
	}
}
