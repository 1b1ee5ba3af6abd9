package inject

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"
)

// count returns the low byte of the preempt count of a fake vCPU.
func (g *fakeGuest) count(vcpu int, of uint64) byte {
	return g.mem[perCPUBase+uint64(vcpu)*perCPUStep+of]
}

// TestLoopPreemptible: where the scheduler would take a task out of the loop, the
// preemption of each vCPU is off from the moment that it is in the loop, and on again
// when the fault is removed.
func TestLoopPreemptible(t *testing.T) {
	t.Parallel()
	loop := symbols["kernel_wait4"]
	for _, tt := range []struct {
		name    string
		without []string // of the fake kernel
		mode    byte
		share   Share
		want    [2]byte // added to the counts
		of      uint64  // where the counts are
	}{
		{"lazy", []string{"pcpu_hot.preempt_count"}, 3, AllVCPUs, [2]byte{1, 1}, symbols["__preempt_count"]},
		{"full, 6.2 to 6.14", nil, 2, AllVCPUs, [2]byte{1, 1}, symbols["pcpu_hot"]},
		{"one vCPU", nil, 3, OneVCPU, [2]byte{0, 1}, symbols["pcpu_hot"]},
		{"voluntary", nil, 1, AllVCPUs, [2]byte{}, symbols["pcpu_hot"]},
		{"no choice", []string{"preempt_dynamic_mode"}, 0, AllVCPUs, [2]byte{}, symbols["pcpu_hot"]},
	} {
		g := newFake()
		g.without, g.stay = tt.without, true
		g.set("preempt_dynamic_mode", []byte{tt.mode})
		was := bytes.Clone(g.mem)
		sleeps := 0
		g.onSleep = func() { // they come one after the other
			if sleeps++; sleeps == 3 {
				g.rip[1] = loop
			} else if sleeps == 5 && tt.share == AllVCPUs {
				g.rip[0] = loop
			}
		}
		in, err := LoopIn("kernel_wait4", tt.share)(t.Context(), g)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if in.Asked != (tt.want != [2]byte{}) {
			t.Errorf("%s: in place when a vCPU came is %v", tt.name, in.Asked)
		}
		if got := [2]byte{g.count(0, tt.of), g.count(1, tt.of)}; got != tt.want {
			t.Errorf("%s: the counts grew by %v, want %v", tt.name, got, tt.want)
		}
		if err := in.Remove(t.Context()); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if !bytes.Equal(g.mem, was) {
			t.Errorf("%s: the guest is not as it was", tt.name)
		}
		g.check(t)
	}
}

// TestLoopPreemptibleFails: a vCPU that does not come, and an interrupt meanwhile, leave
// the guest as it was, with the preemption on of those that came.
func TestLoopPreemptibleFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(g *fakeGuest, cancel func())
		want   error
	}{
		"nobody comes": {func(g *fakeGuest, _ func()) {}, ErrBusy},
		"one comes":    {func(g *fakeGuest, _ func()) { g.rip[1] = symbols["kernel_wait4"] }, ErrBusy},
		"interrupted": {func(g *fakeGuest, cancel func()) {
			g.rip[1] = symbols["kernel_wait4"]
			g.onSleep = cancel
		}, context.Canceled},
	} {
		g := newFake()
		g.set("preempt_dynamic_mode", []byte{3})
		g.stay = true
		was := bytes.Clone(g.mem)
		ctx, cancel := context.WithCancel(t.Context())
		tt.change(g, cancel)
		if _, err := LoopIn("kernel_wait4", AllVCPUs)(ctx, g); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if tt.want == ErrBusy && time.Duration(g.now) < forgetTime {
			t.Errorf("%s: gave up after %v", name, time.Duration(g.now))
		}
		if !bytes.Equal(g.mem, was) {
			t.Errorf("%s: the guest is not as it was", name)
		}
		g.check(t)
		cancel()
	}
}

// TestPreemptible: a kernel without a choice says by a function whether it preempts.
func TestPreemptible(t *testing.T) {
	t.Parallel()
	g := newFake()
	g.without = []string{"preempt_dynamic_mode"}
	if on, err := preemptible(g); on || err != nil {
		t.Errorf("a kernel without preempt_schedule: %v, %v", on, err)
	}
	g.set("preempt_dynamic_mode", []byte{0xff, 0xff, 0xff, 0xff}) // not chosen yet
	g.without = nil
	if on, err := preemptible(g); on || err != nil {
		t.Errorf("a kernel that has not chosen: %v, %v", on, err)
	}
	g.unmapped = true
	if _, err := preemptible(g); err == nil {
		t.Error("a variable that is not mapped was read")
	}
}
