package linux

import (
	"encoding/binary"
	"errors"
	"testing"
)

// fakeMemory is physical memory of a test: 4 KiB frames by number.
type fakeMemory map[uint64][]byte

func (m fakeMemory) ReadPhysical(gpa uint64, b []byte) error {
	for len(b) > 0 {
		f, ok := m[gpa>>12]
		if !ok {
			return errors.New("no such frame")
		}
		n := copy(b, f[gpa&0xfff:])
		b, gpa = b[n:], gpa+uint64(n)
	}
	return nil
}

func (m fakeMemory) put(gpa, v uint64) {
	f, ok := m[gpa>>12]
	if !ok {
		f = make([]byte, 4096)
		m[gpa>>12] = f
	}
	binary.LittleEndian.PutUint64(f[gpa&0xfff:], v)
}

const kernelVA = 0xffffffff81000000

// kernelTables maps kernelVA with a 2 MiB page to 16 MiB, the page above with a
// 4 KiB page, and the 1 GiB page above that.
func kernelTables() fakeMemory {
	m := fakeMemory{}
	const pml4, pdpt, pd, pt = 0x1000, 0x2000, 0x3000, 0x4000
	m.put(pml4+8*511, pdpt|present)
	m.put(pdpt+8*510, pd|present)
	m.put(pdpt+8*511, 0x40000000|present|pageSize)
	m.put(pd+8*8, 1<<24|present|pageSize|1<<63)
	m.put(pd+8*9, pt|present)
	m.put(pt+8*1, 0x7000|present)
	m.put(pt+8*2, 0x5000) // not present
	copy(func() []byte { m.put(0x7000, 0); return m[7] }(), "Linux version 0.0.1 (test)")
	return m
}

func TestTranslate(t *testing.T) {
	s := NewSpace(kernelTables(), 0x1000|0x18, false) // PCD, PWT bits do not matter
	for va, want := range map[uint64]uint64{
		kernelVA:            1 << 24,
		kernelVA + 0x1fffff: 1<<24 + 0x1fffff,
		kernelVA + 0x201abc: 0x7abc,
		0xffffffffc0000123:  0x40000123,
		0xffffffffffffffff:  0x7fffffff,
	} {
		if got, err := s.Translate(va); err != nil || got != want {
			t.Errorf("Translate(%#x) = %#x, %v, want %#x", va, got, err, want)
		}
	}
	for _, va := range []uint64{0, kernelVA + 0x202000, kernelVA + 0x400000} {
		if got, err := s.Translate(va); !errors.Is(err, ErrNotMapped) {
			t.Errorf("Translate(%#x) = %#x, %v, want ErrNotMapped", va, got, err)
		}
	}
}

func TestTranslateFiveLevels(t *testing.T) {
	m := kernelTables()
	m.put(0x9000+8*511, 0x1000|present)
	if got, err := NewSpace(m, 0x9000, true).Translate(kernelVA); err != nil || got != 1<<24 {
		t.Errorf("Translate = %#x, %v", got, err)
	}
}

func TestCheckBanner(t *testing.T) {
	s := NewSpace(kernelTables(), 0x1000, false)
	if err := CheckBanner(s, kernelVA+0x201000, "Linux version 0.0.1 (test)"); err != nil {
		t.Error(err)
	}
	for name, f := range map[string]func() error{
		"another kernel": func() error { return CheckBanner(s, kernelVA+0x201000, "Linux version 0.0.2 (test)") },
		"not mapped":     func() error { return CheckBanner(s, kernelVA+0x202000, "Linux version 0.0.1 (test)") },
		"no banner":      func() error { return CheckBanner(s, kernelVA+0x201000, "") },
	} {
		if f() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// FuzzTranslate walks tables made of garbage, cycles included.
func FuzzTranslate(f *testing.F) {
	f.Add([]byte{1, 0x10, 0, 0, 0, 0, 0, 0}, uint64(kernelVA))
	f.Fuzz(func(t *testing.T, garbage []byte, va uint64) {
		m := fakeMemory{}
		for frame := range uint64(4) {
			page := make([]byte, 4096)
			for i := range page {
				if len(garbage) > 0 {
					page[i] = garbage[(i+int(frame))%len(garbage)]
				}
			}
			m[frame] = page
		}
		s := NewSpace(m, 0x1000, len(garbage)%2 == 0)
		gpa, err := s.Translate(va)
		if err == nil && gpa >= 1<<52 {
			t.Errorf("physical address %#x", gpa)
		}
		s.Read(va, make([]byte, 9000))
	})
}
