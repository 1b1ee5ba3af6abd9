package inject

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"hangbench/guests/beat"
)

func TestHoldRWLock(t *testing.T) {
	t.Parallel()
	g := newFake()
	g.set("tasklist_lock", []byte{0, 2}) // a reader inside: its bits must survive
	g.busy = 3
	in, err := HoldRWLock("tasklist_lock")(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	if got := g.get("tasklist_lock", 8); !bytes.Equal(got, []byte{0xff, 2, 0, 0, 0, 0, 0, 0}) {
		t.Errorf("after the injection: word %x", got)
	}
	if err := in.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := g.get("tasklist_lock", 8); !bytes.Equal(got, []byte{0, 2, 0, 0, 0, 0, 0, 0}) {
		t.Errorf("after removal: word %x", got)
	}
	g.check(t)
}

// TestFails: whatever goes wrong, the guest is as it was and runs.
func TestFails(t *testing.T) {
	t.Parallel()
	faults := map[string]Fault{
		"rwlock":     HoldRWLock("tasklist_lock"),
		"runqueue":   HoldRunQueue(1),
		"mutex":      HoldMutex("rtnl_mutex", beat.Pass),
		"loop":       LoopIn("kernel_wait4", AllVCPUs),
		"interrupts": LoseInterrupts("kernel_wait4"),
		"timer":      LoseTimer("set_next_event"),
		"storm":      StormTimer("set_next_event"),
		"oops":       OopsIn("kernel_wait4", false),
		"panic loop": PanicLoop("kernel_wait4", "notify"),
		"reboot":     PanicReboot("kernel_wait4", "notify"),
		"unlock":     ForgetUnlock(super),
		"rwsem":      HoldRWSem("rtnl_mutex", beat.Pass),
		"semaphore":  HoldSemaphore("kthreadd_task", beat.Again),
		"sequence":   HoldSequence("tasklist_lock"),
		"per CPU":    HoldPerCPU("runqueues", 1),
		"skip":       Skip("kernel_wait4", 0),
		"delay":      Delay("kernel_wait4", time.Second, Sleep),
	}
	troubles := map[string]func(*fakeGuest){
		"no symbols":           func(g *fakeGuest) { g.noSymbols = true },
		"nothing mapped":       func(g *fakeGuest) { g.unmapped = true },
		"writes that are lost": func(g *fakeGuest) { g.stuck = true },
		"cannot go on":         func(g *fakeGuest) { g.noGo = true },
		"cannot be stopped":    func(g *fakeGuest) { g.noStop = true },
	}
	for fault, inject := range faults {
		for trouble, make := range troubles {
			g := newFake()
			make(g)
			before := bytes.Clone(g.mem)
			if in, err := inject(t.Context(), g); err == nil {
				t.Errorf("%s, %s: reported as in place: %s", fault, trouble, in.What)
			}
			if !bytes.Equal(g.mem, before) {
				t.Errorf("%s, %s: the guest's memory is not as it was", fault, trouble)
			}
			g.check(t)
		}
	}
	g := newFake()
	g.busy = 1 << 30
	if _, err := HoldRWLock("tasklist_lock")(t.Context(), g); !errors.Is(err, ErrBusy) {
		t.Errorf("lock never free: %v", err)
	}
	g.check(t)
}
