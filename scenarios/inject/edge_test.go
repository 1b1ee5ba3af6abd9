package inject

import (
	"bytes"
	"encoding/binary"
	"hangbench/guests/beat"
	"slices"
	"strings"
	"testing"
)

// TestOffsets: a lock is written where its fields are.
func TestOffsets(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault   Fault
		symbol  string
		at      uint64 // from the symbol
		value   []byte
		waiters []byte // that come while the fault is in place; nil: the same
		after   []byte
	}{
		"rwlock":   {HoldRWLock("tasklist_lock"), "tasklist_lock", 8 + 4, []byte{0xff}, nil, []byte{0}},
		"mutex":    {HoldMutex("rtnl_mutex", beat.Pass), "rtnl_mutex", 24, words(kthreadd), words(kthreadd | 1), words(1)},
		"spinlock": {HoldSpinLock("cdev_lock"), "cdev_lock", 4, []byte{1, 0, 0, 0}, nil, []byte{0, 0, 0, 0}},
	} {
		g := newFake()
		g.offsets = map[string]uint64{
			"rwlock_t.raw_lock": 8, "qrwlock.wlocked": 4, "mutex.owner": 24, "qspinlock.locked": 4,
		}
		before := bytes.Clone(g.mem)
		in, err := tc.fault(t.Context(), g)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		at := symbols[tc.symbol] - base + tc.at
		want := bytes.Clone(before)
		copy(want[at:], tc.value)
		if !bytes.Equal(g.mem, want) {
			t.Errorf("%s: %x at the field, or something else was written", name, g.mem[at:at+8])
		}
		copy(g.mem[at:], tc.waiters)
		if err := in.Remove(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		copy(want[at:], tc.after)
		if !bytes.Equal(g.mem, want) {
			t.Errorf("%s: %x after removal", name, g.mem[at:at+8])
		}
		g.check(t)
	}
}

// TestFarWaiter: the whole table of halted waiters is searched.
func TestFarWaiter(t *testing.T) {
	t.Parallel()
	const at, table, entry = perCPUBase + 0x100 + rqLock, 0x4000, 200
	g := newFake()
	in, err := HoldRunQueue(0)(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	g.mem[at] = spinSlow
	g.set("pv_lock_hash", words(base+table))
	copy(g.mem[table+entry*hashEntry:], words(base+at, 7))
	if err := in.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := g.mem[table+entry*hashEntry : table+(entry+1)*hashEntry]; !bytes.Equal(got, words(0, 7)) || g.mem[at] != 0 {
		t.Errorf("the entry is %x, the lock %d", got, g.mem[at])
	}
	g.check(t)
}

// TestOccupied: which places of a vCPU keep code from being replaced.
func TestOccupied(t *testing.T) {
	t.Parallel()
	// One behind the code does not.
	g := newFake()
	g.stay, g.rip[0] = true, symbols["kernel_wait4"]+2
	in, err := LoopIn("kernel_wait4", AllVCPUs)(t.Context(), g)
	if err != nil {
		t.Fatalf("a vCPU behind the code: %v", err)
	}
	// One at its first instruction does not.
	g.rip[1] = symbols["kernel_wait4"]
	if err := in.Remove(t.Context()); err != nil {
		t.Errorf("a vCPU at the loop: %v", err)
	}
	g.check(t)

	// One that loops with interrupts off does, wherever it is, and nothing is replaced
	// before they are on.
	for _, old := range [][]byte{endbr64, traced, oldTraced} {
		g = newFake()
		g.set("kernel_wait4", old)
		if in, err = MaskedLoopIn("kernel_wait4")(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		g.stay, g.masked = true, 9
		g.rip[0], g.rip[1] = symbols["kernel_wait4"], symbols["kernel_wait4"]
		if err := in.Remove(t.Context()); err != nil || g.masked != 0 {
			t.Errorf("%x: %v, interrupts were off at %d looks more", old, err, g.masked)
		}
		g.check(t)
	}
}

// TestPageEnd: the bytes of a function must lie in one page.
func TestPageEnd(t *testing.T) {
	t.Parallel()
	g := newFake()
	g.set("last", endbr64)
	g.set("beyond", endbr64)
	if _, err := LoopIn("last", AllVCPUs)(t.Context(), g); err != nil {
		t.Errorf("five bytes that end with the page: %v", err)
	}
	_, err := LoopIn("beyond", AllVCPUs)(t.Context(), g)
	if err == nil || !strings.Contains(err.Error(), "begins at the end of a page") {
		t.Errorf("five bytes that do not: %v", err)
	}
	g.check(t)
}

// TestCalls: every call in a function is found, up to its end and in each of its pages.
func TestCalls(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		function string
		at       []uint64
		want     string
	}{
		"the last bytes":          {"ustat", []uint64{0x3b}, ""},
		"ends with the page":      {"open", []uint64{3}, ""},
		"does not":                {"open", []uint64{4}, "lies across pages"},
		"in the second page":      {"open", []uint64{0x10, 0x20}, ""},
		"as many as are searched": {"ustat", []uint64{0, 5, 10, 15, 20, 25, 30, 35}, ""},
	} {
		g := newFake()
		g.calls(tc.function, tc.at...)
		if at := uint64(0x3b); slices.Contains(tc.at, at) { // where calls writes another call
			va := symbols[tc.function] + at
			call := binary.LittleEndian.AppendUint32([]byte{callNear}, uint32(symbols["unlock"]-va-callBytes))
			copy(g.mem[va-base-3:], append([]byte{0, 0, 0}, call...))
		}
		if tc.function == "open" {
			g.move(0x3000, 0xa000) // the second page is elsewhere
		}
		sites, err := callsOf(g, tc.function, "unlock")
		switch {
		case tc.want != "":
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: %v, want %q", name, err, tc.want)
			}
			continue
		case err != nil:
			t.Errorf("%s: %v", name, err)
			continue
		}
		var at []uint64
		for _, s := range sites {
			at = append(at, s.va-symbols[tc.function])
			if gpa, _ := g.Translate(s.va); s.gpa != gpa || g.mem[s.gpa] != callNear {
				t.Errorf("%s: call at %#x has the physical address %#x", name, s.va, s.gpa)
			}
		}
		if !slices.Equal(at, tc.at) {
			t.Errorf("%s: calls at %v, want %v", name, at, tc.at)
		}
	}
}
