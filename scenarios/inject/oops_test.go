package inject

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"hangbench/guests/beat"
)

// TestOopsIn: the function is undefined until the kernel has counted an oops, at which it
// does not panic. Then function and switch are as they were.
func TestOopsIn(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} {
		g := newFake()
		g.set("panic_on_oops", []byte{1, 0, 0, 0})
		before := bytes.Clone(g.mem)
		slept := 0
		g.onSleep = func() {
			if slept++; slept < 3 {
				return
			}
			if code := g.get("kernel_wait4", 2); !bytes.Equal(code, undefined) || g.get("panic_on_oops", 1)[0] != 0 {
				t.Errorf("at the oops the function is %x, panic_on_oops %d", code, g.get("panic_on_oops", 1)[0])
			}
			g.set("die_counter", []byte{1, 0, 0, 0})
		}
		in, err := OopsIn("kernel_wait4", restart)(t.Context(), g)
		if err != nil {
			t.Fatal(err)
		}
		binary.LittleEndian.PutUint32(before[symbols["die_counter"]-base:], 1)
		if !bytes.Equal(g.mem, before) || slept != 3 || !in.Asked || in.Outside {
			t.Errorf("after %d looks the guest's memory is not as it was, but for the count; %+v", slept, in)
		}
		if err := in.Remove(t.Context()); err != nil {
			t.Error(err)
		}
		var want []beat.Request
		if restart {
			want = []beat.Request{beat.Again}
		}
		if !slices.Equal(g.asked, want) {
			t.Errorf("restart %v: asked for %v", restart, g.asked)
		}
		g.check(t)
	}

	// Nobody calls the function.
	g := newFake()
	before := bytes.Clone(g.mem)
	if _, err := OopsIn("kernel_wait4", true)(t.Context(), g); !errors.Is(err, ErrBusy) || len(g.asked) > 0 {
		t.Errorf("nobody called the function: %v, asked for %v", err, g.asked)
	}
	if !bytes.Equal(g.mem, before) {
		t.Error("the guest's memory is not as it was")
	}
	g.check(t)
}
