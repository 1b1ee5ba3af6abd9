package inject

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"hangbench/guests/beat"
)

// TestSkip: the function returns the value at once. When the fault is removed, a task
// that was interrupted in the code finds the rest of it until it has left.
func TestSkip(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		old   []byte
		leave byte // distance of the jump while tasks leave
	}{
		"branch tracking": {[]byte{0xf3, 0x0f, 0x1e, 0xfa, 0x55}, 2},
		"sealed":          {[]byte{0x66, 0x0f, 0x1f, 0x00, 0x55}, 2},
		"tracing":         {[]byte{0x0f, 0x1f, 0x44, 0x00, 0x00}, 3},
		"old tracing":     {[]byte{0x66, 0x66, 0x66, 0x66, 0x90}, 3},
		"a call":          {[]byte{0xe8, 1, 2, 3, 4}, 3},
		"short":           {[]byte{0x0f, 0x1f, 0x40, 0x00, 0x55}, 2},
	} {
		g := newFake()
		g.set("kernel_wait4", tc.old)
		in, err := Skip("kernel_wait4", -5)(t.Context(), g)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := append([]byte{0x6a, 0xfb, 0x58, 0xc3}, tc.old[4])
		if got := g.get("kernel_wait4", 5); !bytes.Equal(got, want) {
			t.Errorf("%s: the function begins with %x, want %x", name, got, want)
		}
		var leaving []byte
		g.onSleep = func() { leaving = bytes.Clone(g.get("kernel_wait4", 5)) }
		before := g.now
		if err := in.Remove(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if want := []byte{0xeb, tc.leave, 0x58, 0xc3, tc.old[4]}; !bytes.Equal(leaving, want) {
			t.Errorf("%s: tasks leave by %x, want %x", name, leaving, want)
		}
		if got := g.get("kernel_wait4", 5); !bytes.Equal(got, tc.old) || time.Duration(g.now-before) < settled {
			t.Errorf("%s: after removal it begins with %x, want %x; waited %v", name, got, tc.old,
				time.Duration(g.now-before))
		}
		g.check(t)
	}
	g := newFake()
	g.set("kernel_wait4", []byte{0x55, 0x53, 0x48, 0x89, 0xfb})
	if _, err := Skip("kernel_wait4", 0)(t.Context(), g); err == nil || !strings.Contains(err.Error(), "55534889fb") {
		t.Errorf("a function was patched whose first instruction is too short: %v", err)
	}
	g.check(t)
}

// TestHoldRWSem: count and owner are written together, only while the semaphore is free,
// and the flags of waiters survive the removal.
func TestHoldRWSem(t *testing.T) {
	t.Parallel()
	const at = 0x1100 // of rtnl_mutex, taken for a semaphore here
	g := newFake()
	g.offsets = map[string]uint64{"rw_semaphore.count": 8, "rw_semaphore.owner": 24}
	copy(g.mem[at+8:], words(0x100)) // a reader is in it
	copy(g.mem[at+24:], words(kthreadd|1))
	sleeps := 0
	g.onSleep = func() {
		if sleeps++; sleeps == 3 {
			copy(g.mem[at+8:], words(0))
		}
	}
	before := bytes.Clone(g.mem)
	in, err := HoldRWSem("rtnl_mutex", beat.Pass)(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Clone(before)
	copy(want[at+8:], words(1))
	copy(want[at+24:], words(kthreadd))
	if !bytes.Equal(g.mem, want) || sleeps != 3 {
		t.Errorf("count %x, owner %x after %d looks, or something else was written", g.mem[at+8:at+16],
			g.mem[at+24:at+32], sleeps)
	}
	copy(g.mem[at+8:], words(1|2|4)) // somebody waits, and is to be next
	if err := in.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := g.mem[at+8 : at+32]; !bytes.Equal(got, words(2|4, 0, 0)) ||
		!slices.Equal(g.asked, []beat.Request{beat.Pass}) {
		t.Errorf("after removal %x, requests %v; want the flags only, and somebody to pass", got, g.asked)
	}
	g.check(t)

	for _, field := range []string{"rw_semaphore.count", "rw_semaphore.owner"} {
		g = newFake()
		g.without = []string{field}
		if _, err := HoldRWSem("rtnl_mutex", beat.Pass)(t.Context(), g); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("a kernel without %s: %v", field, err)
		}
	}
}

// delayed returns a fake guest in which kernel_wait4 can be delayed.
func delayed(place []byte) *fakeGuest {
	g := newFake()
	g.set("kernel_wait4", append([]byte{0xf3, 0x0f, 0x1e, 0xfa}, place...))
	g.set("tsc_khz", []byte{0x10, 0x27, 0, 0}) // 10 MHz
	return g
}

// TestDelay: the place of the tracer's call becomes a call of code that waits, and is put
// back.
func TestDelay(t *testing.T) {
	t.Parallel()
	site := symbols["kernel_wait4"] + 4
	for how, want := range map[Wait][]byte{
		Spin: append(append([]byte{0x51, 0x52, 0x50, 0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0x48, 0xb9},
			words(15_000_000)...), 0x48, 0x01, 0xc1, 0xf3, 0x90, 0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0,
			0x48, 0x39, 0xc8, 0x72, 0xf0, 0x58, 0x5a, 0x59, 0xc3),
		Sleep: {0x50, 0x51, 0x52, 0x56, 0x57, 0x41, 0x50, 0x41, 0x51, 0x41, 0x52, 0x41, 0x53, 0xbf, 0xdc, 0x05, 0, 0,
			// msleep lies 0x100 below the code; the call ends 23 bytes behind its beginning.
			0xe8, 0xe9, 0xfe, 0xff, 0xff,
			0x41, 0x5b, 0x41, 0x5a, 0x41, 0x59, 0x41, 0x58, 0x5f, 0x5e, 0x5a, 0x59, 0x58, 0xc3},
	} {
		place := traced
		if how == Sleep {
			place = oldTraced
		}
		g := delayed(place)
		before := bytes.Clone(g.mem)
		in, err := Delay("kernel_wait4", 1500*time.Millisecond, how)(t.Context(), g)
		if err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		if got := g.get("machine_kexec", len(want)); !bytes.Equal(got, want) {
			t.Errorf("%s: the code is %x, want %x", how, got, want)
		}
		if got, want := g.mem[site-base:site-base+5], call(site, symbols["machine_kexec"]); !bytes.Equal(got, want) {
			t.Errorf("%s: the place is %x, want %x", how, got, want)
		}
		if err := in.Remove(t.Context()); err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		if got := g.get("machine_kexec", len(want)); !bytes.Equal(got, want) {
			t.Errorf("%s: the code is %x while a task may wait in it", how, got)
		}
		clear(g.get("machine_kexec", len(want)))
		if !bytes.Equal(g.mem, before) {
			t.Errorf("%s: something else was written", how)
		}
		g.check(t)
	}
}

// TestDelayAcrossPages: the code is written in one page. A function that begins at the end
// of a page has it in the next, if there is enough of it.
func TestDelayAcrossPages(t *testing.T) {
	t.Parallel()
	g := delayed(traced)
	g.without = []string{"machine_kexec"}
	g.caves = map[string]uint64{"native_machine_crash_shutdown": base + 0x8ff0}
	if _, err := Delay("kernel_wait4", time.Second, Sleep)(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	if got := g.mem[0x9000:0x9003]; !bytes.Equal(got, []byte{0x50, 0x51, 0x52}) || g.mem[0x8ff0] != 0 {
		t.Errorf("the next page begins with %x, and the function with %x", got, g.mem[0x8ff0])
	}
	g.check(t)

	g = delayed(traced) // of 64 bytes, 32 lie in the next page
	g.without = []string{"machine_kexec"}
	g.caves = map[string]uint64{"native_machine_crash_shutdown": base + 0x8fe0}
	before := bytes.Clone(g.mem)
	if _, err := Delay("kernel_wait4", time.Second, Sleep)(t.Context(), g); err == nil ||
		!strings.Contains(err.Error(), "room for 37 bytes") || !bytes.Equal(g.mem, before) {
		t.Errorf("a function that is too small: %v", err)
	}
}

// TestDelayFails: the error says what the kernel lacks, and nothing is written.
func TestDelayFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		how  Wait
		set  func(*fakeGuest)
		want string
	}{
		"not traced": {Spin, func(g *fakeGuest) { g.set("kernel_wait4", []byte{0xf3, 0x0f, 0x1e, 0xfa, 0x55}) },
			"no place of the function tracer's call"},
		"clock not measured": {Spin, func(g *fakeGuest) { g.set("tsc_khz", make([]byte, 4)) }, "tsc_khz is 0"},
		"no clock":           {Spin, func(g *fakeGuest) { g.without = []string{"tsc_khz"} }, "no symbol tsc_khz"},
		"no sleep":           {Sleep, func(g *fakeGuest) { g.without = []string{"msleep"} }, "no symbol msleep"},
		"no cave":            {Sleep, func(g *fakeGuest) { g.without = caves }, "room for 37 bytes"},
		"another word":       {"nap", func(*fakeGuest) {}, `no way to wait called "nap"`},
		"writes lost":        {Spin, func(g *fakeGuest) { g.stuck = true }, "read"},
		"never free": {Spin, func(g *fakeGuest) { g.stay, g.rip[1] = true, symbols["kernel_wait4"]+5 },
			"never free"},
	} {
		g := delayed(traced)
		tc.set(g)
		before := bytes.Clone(g.mem)
		if _, err := Delay("kernel_wait4", time.Second, tc.how)(t.Context(), g); err == nil ||
			!strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
		if !bytes.Equal(g.mem, before) {
			t.Errorf("%s: the guest is not as it was", name)
		}
		g.check(t)
	}
}

// TestLoopYielding: a loop from which the scheduler may take tasks waits for nobody.
func TestLoopYielding(t *testing.T) {
	t.Parallel()
	g := newFake()
	g.set("preempt_dynamic_mode", []byte{3})
	before := bytes.Clone(g.mem)
	in, err := LoopIn("kernel_wait4", NoVCPU)(t.Context(), g)
	if err != nil || in.Asked || g.now != 0 {
		t.Fatalf("%+v after %d ns: %v", in, g.now, err)
	}
	if got := g.get("kernel_wait4", 2); !bytes.Equal(got, jumpToSelf) {
		t.Errorf("the function begins with %x", got)
	}
	if err := in.Remove(t.Context()); err != nil || !bytes.Equal(g.mem, before) {
		t.Errorf("the guest is not as it was: %v", err)
	}
	g.check(t)
}
