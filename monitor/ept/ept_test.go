package ept

import "testing"

func TestAdd(t *testing.T) {
	const trap, other = 0x1008, 0x2000
	for _, tc := range []struct {
		name  string
		views bool
		v     Violation
		want  Counts
	}{
		{"fetch from the trapped page", false, Violation{trap<<12 | 0x1e0, 0x77, fetch | mayRead | mayWrite, typeRAM}, Counts{Trapped: 1}},
		{"the same in a view", true, Violation{trap << 12, 0x77, fetch | mayRead | mayWrite, typeRAM}, Counts{Trapped: 1}},
		{"first touch in a view", true, Violation{other << 12, 0x77, read, typeRAM}, Counts{Lazy: 1}},
		{"first touch of the trapped page in a view", true, Violation{trap << 12, 0x77, fetch, typeRAM}, Counts{Lazy: 1}},
		{"no entry and no views", false, Violation{other << 12, 0x77, read, typeRAM}, Counts{Residual: 1}},
		{"emulated device", true, Violation{0xfee00000, noFrame, read, typeMMIO}, Counts{MMIO: 1}},
		{"nothing there", false, Violation{0xf0000000, noFrame, write, typeInvalid}, Counts{MMIO: 1}},
		{"fetch from a large page", false, Violation{other << 12, 0x77, fetch | mayRead | mayWrite, typeRAM}, Counts{Superpage: 1}},
		{"write to a read-only page", false, Violation{other << 12, 0x77, write | mayRead, typeRAM}, Counts{Residual: 1}},
	} {
		c := Classifier{Trapped: func(gfn uint64) bool { return gfn == trap }, Views: tc.views}
		c.Add(tc.v)
		if c.Counts != tc.want || c.Counts.Total() != 1 {
			t.Errorf("%s: %+v, want %+v", tc.name, c.Counts, tc.want)
		}
	}
}

// FuzzAdd: every violation is counted once, whatever the record holds.
func FuzzAdd(f *testing.F) {
	f.Add(uint64(0), uint64(0), uint32(0), uint32(0), true)
	f.Fuzz(func(t *testing.T, gpa, mfn uint64, q, typ uint32, views bool) {
		c := Classifier{Trapped: func(gfn uint64) bool { return gfn%2 == 0 }, Views: views}
		for range 3 {
			c.Add(Violation{gpa, mfn, q, typ})
		}
		if c.Counts.Total() != 3 {
			t.Errorf("3 violations counted as %+v", c.Counts)
		}
	})
}
