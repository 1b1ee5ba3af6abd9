package linux

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"hangbench/monitor/driver"
)

const testWritable, testNoExecute = 1 << 1, 1 << 63

// imageTables maps an image at kernelVA: 2 MiB of code, 2 MiB of constants in pages of
// 4 KiB of which the third is data and the fifth is not there, and 2 MiB of data.
func imageTables() fakeMemory {
	m := fakeMemory{}
	const pml4, pdpt, pd, pt = 0x2000, 0x4000, 0x5000, 0x6000
	m.put(pml4+8*511, pdpt|present|testWritable)
	m.put(pdpt+8*510, pd|present|testWritable)
	m.put(pd+8*8, 1<<24|present|pageSize)
	m.put(pd+8*9, pt|present|testWritable)
	m.put(pd+8*10, 3<<24|present|pageSize|testWritable|testNoExecute)
	for i := range uint64(6) {
		e := 2<<24 + i<<12 | present | testNoExecute
		switch i {
		case 2:
			e |= testWritable
		case 4:
			e = 0
		}
		m.put(pt+8*i, e)
		m.put(2<<24+i<<12, i)
	}
	for gpa := uint64(1 << 24); gpa < 1<<24+1<<21; gpa += 0x1000 {
		m.put(gpa, 0)
		m.put(gpa+2<<24, 0)
	}
	return m
}

// entered are registers of a vCPU that enters the kernel at kernelVA.
func entered(cr3 uint64) driver.Registers { return driver.Registers{CR3: cr3, LSTAR: kernelVA + 0x80} }

// TestImage: the constants of an image are read from where the page tables have them. A
// page of data, a page that is not mapped and one that cannot be read end a segment.
func TestImage(t *testing.T) {
	t.Parallel()
	const constants = kernelVA + 2<<20
	m := imageTables()
	for name, cr3 := range map[string]uint64{"kernel": 0x2000, "user space, isolated": 0x3000} {
		img, err := FindImage(t.Context(), m, driver.Registers{}, entered(cr3))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		segs, err := img.Read(t.Context(), false)
		if err != nil || len(segs) != 3 {
			t.Fatalf("%s: %d segments, %v", name, len(segs), err)
		}
		for i, want := range []struct{ page, pages uint64 }{{0, 2}, {3, 1}, {5, 1}} {
			s := segs[i]
			if s.Addr != constants+want.page<<12 || uint64(len(s.Data)) != want.pages<<12 {
				t.Errorf("%s: segment %d has %#x bytes at %#x", name, i, len(s.Data), s.Addr)
			}
			for j := range want.pages {
				if got := binary.LittleEndian.Uint64(s.Data[j<<12:]); got != want.page+j {
					t.Errorf("%s: page %d of segment %d is that of page %d", name, j, i, got)
				}
			}
		}
		all, err := img.Read(t.Context(), true)
		if err != nil || len(all) != 3 || len(all[0].Data) != 2<<20+4<<12 || len(all[1].Data) != 0x1000 ||
			len(all[2].Data) != 2<<20 {
			t.Errorf("%s: all: %d segments, %v", name, len(all), err)
		}
	}
	delete(m, (2<<24+1<<12)>>12)
	img, err := FindImage(t.Context(), m, entered(0x2000))
	if err != nil {
		t.Fatal(err)
	}
	if segs, err := img.Read(t.Context(), false); err != nil || len(segs) != 3 || len(segs[0].Data) != 0x1000 {
		t.Errorf("a page that cannot be read: %d segments, %v", len(segs), err)
	}
	delete(m, 6) // the table of constants
	if img, err = FindImage(t.Context(), m, entered(0x2000)); err != nil || len(img.pages) != 2 {
		t.Errorf("a table that cannot be read: %+v, %v", img, err)
	}
}

// TestFindImageRefuses: vCPUs that lead to no kernel are named, each with the reason.
func TestFindImageRefuses(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]driver.Registers{
		"no page tables":              {LSTAR: kernelVA},
		"no handler of page faults":   {CR3: 0x2000},
		"where no image of Linux":     {CR3: 0x2000, LSTAR: kernelHalf + 0x1000},
		"not mapped":                  {CR3: 0x2000, LSTAR: kernelVA + 64<<20},
		"walk the guest's page table": {CR3: 0x9000, LSTAR: kernelVA},
	} {
		if _, err := FindImage(t.Context(), imageTables(), r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	m := imageTables()
	m.put(0x4000+8*510, present|pageSize)
	if _, err := FindImage(t.Context(), m, entered(0x2000)); err == nil || !strings.Contains(err.Error(), "1 GiB") {
		t.Errorf("a page of 1 GiB: %v", err)
	}
	if _, err := FindImage(t.Context(), imageTables()); err == nil {
		t.Error("an image without a vCPU")
	}
}

// interrupting is guest memory that calls a function with each read.
type interrupting struct {
	Memory
	read func()
}

func (m interrupting) ReadPhysical(gpa uint64, b []byte) error {
	m.read()
	return m.Memory.ReadPhysical(gpa, b)
}

// TestImageInterrupted: once the context has ended the guest's memory is not read.
func TestImageInterrupted(t *testing.T) {
	t.Parallel()
	noKernel := slices.Repeat([]driver.Registers{entered(0x9000)}, 300)
	for _, last := range []int{3, 100} { // while it searches, and while it reads the image
		ctx, cancel := context.WithCancel(t.Context())
		reads := 0
		m := interrupting{imageTables(), func() {
			if reads++; reads == last {
				cancel()
			}
		}}
		regs := []driver.Registers{entered(0x2000)}
		if last == 3 {
			regs = append(noKernel, regs...)
		}
		img, err := FindImage(ctx, m, regs...)
		if err == nil {
			_, err = img.Read(ctx, true)
		}
		if !errors.Is(err, context.Canceled) || reads > last+2 {
			t.Errorf("interrupted by read %d: %d reads, %v", last, reads, err)
		}
	}
}

// everywhere is guest memory whose every page is the same.
type everywhere []byte

func (m everywhere) ReadPhysical(gpa uint64, b []byte) error {
	for i := range b {
		b[i] = m[(gpa+uint64(i))%uint64(len(m))]
	}
	return nil
}

// TestImageTooLarge: an image that is mapped over the whole of its part of the address
// space is refused before it is read.
func TestImageTooLarge(t *testing.T) {
	t.Parallel()
	page := everywhere(bytes.Repeat([]byte{present, 0, 0, 0, 0, 0, 0, testNoExecute >> 56}, 512))
	img, err := FindImage(t.Context(), page, entered(0x2000))
	if err != nil || len(img.pages) != 512*512 {
		t.Fatalf("%d pages, %v", len(img.pages), err)
	}
	for _, all := range []bool{false, true} {
		const want = "1024 MiB, more than the limit of 128"
		if _, err := img.Read(t.Context(), all); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v", err)
		}
	}
}

// hostile is guest memory that repeats some bytes, and of which every seventh page
// cannot be read once it has been read twice.
type hostile struct {
	everywhere
	reads int
}

func (m *hostile) ReadPhysical(gpa uint64, b []byte) error {
	if m.reads++; gpa>>12%7 == 6 && m.reads > 2 {
		return errors.New("this frame is gone")
	}
	return m.everywhere.ReadPhysical(gpa, b)
}

// FuzzImage: whatever is in page tables, the work is bounded, and segments lie in the
// image's part of the address space, one behind the other.
func FuzzImage(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0x80}, uint64(0x2000), uint64(0), uint64(kernelVA), uint64(0))
	f.Add([]byte{0x81, 0, 0, 0, 0, 0, 0, 0, 1, 0x20, 0, 0, 0, 0, 0, 0x80}, uint64(0x1000), uint64(1<<12), uint64(0),
		uint64(kernelHalf))
	f.Add(bytes.Repeat([]byte{1, 0x30, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 481), uint64(0x1000), uint64(0),
		uint64(kernelVA), uint64(0))
	f.Fuzz(func(t *testing.T, b []byte, cr3, cr4, lstar, idt uint64) {
		if len(b) == 0 {
			return
		}
		m := &hostile{everywhere: b}
		r := driver.Registers{CR3: cr3, CR4: cr4, LSTAR: lstar, IDTBase: idt}
		img, err := FindImage(t.Context(), m, r)
		if m.reads > 600 {
			t.Fatalf("%d reads to find the image", m.reads)
		}
		if err != nil {
			return
		}
		if len(img.pages) > 1<<12 {
			img.pages = img.pages[:1<<12] // the rest costs time only
		}
		for _, all := range []bool{false, true} {
			segs, err := img.Read(t.Context(), all)
			if err != nil {
				continue
			}
			last := uint64(kernelMap)
			for _, s := range segs {
				end := s.Addr + uint64(len(s.Data))
				if s.Addr < last || len(s.Data) == 0 || end > kernelMap+maxSlide {
					t.Fatalf("%d bytes at %#x follow %#x", len(s.Data), s.Addr, last)
				}
				last = end
			}
		}
	})
}
