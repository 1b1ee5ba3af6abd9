package inject

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// calls writes code of a function that calls unlock at these places, and another
// function at one.
func (g *fakeGuest) calls(function string, at ...uint64) {
	write := func(at uint64, to string) {
		va := symbols[function] + at
		call := binary.LittleEndian.AppendUint32([]byte{callNear}, uint32(symbols[to]-va-callBytes))
		copy(g.mem[va-base:], call)
	}
	for _, a := range at {
		write(a, "unlock")
	}
	write(0x38, "notify")
}

var cdev, super = Release{"cdev_lock", "open", "unlock"}, Release{"sb_lock", "ustat", "unlock"}

// TestForgetUnlock: the guest takes both locks while their release is not called,
// and the calls come back before the injector does.
func TestForgetUnlock(t *testing.T) {
	t.Parallel()
	g := newFake()
	g.calls("open", 0x10, 0x20)
	g.calls("ustat", 0x4)
	was := bytes.Clone(g.mem[0x2000:0x4000])
	skipped := func(function string, at uint64) bool {
		from := symbols[function] + at - base
		return bytes.Equal(g.mem[from:from+callBytes], skipCall)
	}
	reads, early := 0, 0
	g.onRead = func(gpa uint64) {
		if gpa != symbols["cdev_lock"]-base {
			return
		}
		reads++
		if !skipped("open", 0x10) || !skipped("open", 0x20) || !skipped("ustat", 4) {
			return
		}
		switch {
		case reads == 3:
			g.set("cdev_lock", []byte{1}) // the guest comes by ...
		case reads == 5:
			g.set("cdev_lock", []byte{0}) // ... and somebody who leaves it as usual
			early = reads
		case reads == 7:
			g.set("cdev_lock", []byte{1})
			g.set("sb_lock", []byte{1})
		}
	}
	in, err := ForgetUnlock(cdev, super)(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	if !in.Asked {
		t.Error("the fault counts from before the guest came by")
	}
	if reads < 7+heldLooks-1 || early == 0 {
		t.Errorf("taken for held after %d looks", reads)
	}
	if !bytes.Equal(g.mem[0x2000:0x4000], was) {
		t.Error("the code is not what it was")
	}
	g.onRead = nil
	g.set("cdev_lock", []byte{1, 1}) // a waiter
	if err := in.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a, b := g.get("cdev_lock", 2), g.get("sb_lock", 2); !bytes.Equal(a, []byte{0, 1}) || b[0] != 0 {
		t.Errorf("after removal the locks are %x and %x", a, b)
	}
	g.check(t)
}

// TestForgetUnlockFails: the code is what it was, and no lock is held.
func TestForgetUnlockFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		set  func(*fakeGuest)
		want string
	}{
		"nobody calls":   {func(g *fakeGuest) { g.calls("ustat") }, "calls unlock 0 times"},
		"across pages":   {func(g *fakeGuest) { g.calls("open", 5); g.calls("ustat", 4) }, "lies across pages"},
		"many calls":     {func(g *fakeGuest) { g.calls("ustat", 0, 5, 10, 15, 20, 25, 30, 35, 40) }, "calls unlock 9 times"},
		"no such symbol": {func(g *fakeGuest) { g.noSymbols = true }, "no symbol"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newFake()
			tc.set(g)
			was := bytes.Clone(g.mem)
			releases := []Release{super}
			if name == "across pages" {
				releases = []Release{cdev}
			}
			if _, err := ForgetUnlock(releases...)(t.Context(), g); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if !bytes.Equal(g.mem, was) {
				t.Error("something was written")
			}
			g.check(t)
		})
	}
}
