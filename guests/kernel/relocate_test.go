package kernel

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// movable makes an ELF kernel of three segments: text with a note, data, and per-CPU
// variables at virtual address 0. It has one position of each kind: a 64-bit one, a
// 32-bit one, and an inverse one among the per-CPU variables.
func movable(t testing.TB, noteKind uint32) (image, relocs []byte) {
	t.Helper()
	le := binary.LittleEndian
	const base = kernelMap + 0x1000000
	text, data, percpu := make([]byte, 0x100), make([]byte, 0x100), make([]byte, 0x100)
	le.PutUint64(data[0x10:], base+0x40)
	le.PutUint32(text[0x20:], 0x1000030)
	le.PutUint32(percpu[0x30:], 0x2000)
	note := text[0x80:]
	le.PutUint32(note[0:], 4)
	le.PutUint32(note[4:], 8)
	le.PutUint32(note[8:], noteKind)
	copy(note[12:], "Xen\x00")
	le.PutUint64(note[16:], 0x1000040)

	const headers = 64 + 4*56
	progs := []elf.Prog64{
		{Type: uint32(elf.PT_LOAD), Off: headers, Vaddr: base, Paddr: 0x1000000, Filesz: 0x100, Memsz: 0x100},
		{Type: uint32(elf.PT_LOAD), Off: headers + 0x100, Vaddr: base + 0x200000, Paddr: 0x1200000, Filesz: 0x100,
			Memsz: 0x100},
		{Type: uint32(elf.PT_LOAD), Off: headers + 0x200, Vaddr: 0, Paddr: 0x1400000, Filesz: 0x100, Memsz: 0x8000},
		{Type: uint32(elf.PT_NOTE), Off: headers + 0x80, Vaddr: base + 0x80, Paddr: 0x1000080, Filesz: 24, Memsz: 24},
	}
	h := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Entry: 0x1000000, Phoff: 64,
		Ehsize: 64, Phentsize: 56, Phnum: uint16(len(progs))}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	var b bytes.Buffer
	if err := errors.Join(binary.Write(&b, le, &h), binary.Write(&b, le, progs)); err != nil {
		t.Fatal(err)
	}
	image = append(append(append(b.Bytes(), text...), data...), percpu...)
	for _, place := range []uint32{0, 0x81200010, 0, 0x81400030, 0, 0x81000020} {
		relocs = le.AppendUint32(relocs, place)
	}
	return image, relocs
}

func TestRelocate(t *testing.T) {
	t.Parallel()
	image, table := movable(t, notePhys32Entry)
	got, err := TrailingRelocations(append(bytes.Clone(image), table...))
	if err != nil || !bytes.Equal(got, table) {
		t.Fatalf("trailing relocations %x, %v, want %x", got, err, table)
	}
	r, err := ReadRelocations(table)
	if err != nil || len(r.add64) != 4 || len(r.sub32) != 4 || len(r.add32) != 4 {
		t.Fatalf("relocations %+v, %v, want one of each kind", r, err)
	}
	const slide = 0x4a00000
	before := bytes.Clone(image)
	moved, err := Relocate(image, r, slide)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(image, before) {
		t.Error("the image itself was changed")
	}
	f, err := elf.NewFile(bytes.NewReader(moved))
	if err != nil {
		t.Fatal(err)
	}
	if f.Entry != 0x1000000+slide {
		t.Errorf("entry %#x", f.Entry)
	}
	for i, want := range []struct{ vaddr, paddr uint64 }{
		{kernelMap + 0x1000000 + slide, 0x1000000 + slide}, {kernelMap + 0x1200000 + slide, 0x1200000 + slide},
		{0, 0x1400000 + slide}, {kernelMap + 0x1000080 + slide, 0x1000080 + slide},
	} {
		if p := f.Progs[i]; p.Vaddr != want.vaddr || p.Paddr != want.paddr {
			t.Errorf("segment %d at %#x, physical %#x, want %#x, %#x", i, p.Vaddr, p.Paddr, want.vaddr, want.paddr)
		}
	}
	le := binary.LittleEndian
	const headers = 64 + 4*56
	text, data, percpu := moved[headers:], moved[headers+0x100:], moved[headers+0x200:]
	if v := le.Uint64(data[0x10:]); v != kernelMap+0x1000040+slide {
		t.Errorf("64-bit place holds %#x", v)
	}
	if v := le.Uint32(text[0x20:]); v != 0x1000030+slide {
		t.Errorf("32-bit place holds %#x", v)
	}
	if v := int32(le.Uint32(percpu[0x30:])); v != 0x2000-slide {
		t.Errorf("inverse place holds %#x", v)
	}
	if v := le.Uint64(text[0x80+16:]); v != 0x1000040+slide {
		t.Errorf("PVH entry %#x", v)
	}
	if end, err := PhysicalEnd(moved); err != nil || end != 0x1408000+slide {
		t.Errorf("physical end %#x, %v", end, err)
	}
}

func TestRelocateRefuses(t *testing.T) {
	t.Parallel()
	image, table := movable(t, notePhys32Entry)
	r, err := ReadRelocations(table)
	if err != nil {
		t.Fatal(err)
	}
	for slide, want := range map[uint64]string{0x1000: "multiple", 1 << 30: "below"} {
		if _, err := Relocate(image, r, slide); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("slide %#x: %v", slide, err)
		}
	}
	le := binary.LittleEndian
	for _, place := range []uint32{0x81000100, 0x810000fd, 0x90000000, 4, 0x812000f9} {
		other := bytes.Clone(table)
		le.PutUint32(other[4:], place)
		r, err := ReadRelocations(other)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Relocate(image, r, 2<<20); err == nil || !strings.Contains(err.Error(), "another kernel's") {
			t.Errorf("place %#x: %v", place, err)
		}
	}
	noEntry, _ := movable(t, 99)
	if _, err := Relocate(noEntry, r, 2<<20); err == nil || !strings.Contains(err.Error(), "PVH entry") {
		t.Errorf("without a PVH entry: %v", err)
	}
	if _, err := Relocate([]byte("no kernel"), r, 0); err == nil {
		t.Error("moved what is no kernel")
	}
	for _, bad := range [][]byte{nil, {1, 2, 3}, make([]byte, 3), []byte("\x01\x00\x00\x00\x02\x00\x00\x00")} {
		if _, err := ReadRelocations(bad); !errors.Is(err, ErrNoRelocations) {
			t.Errorf("% x: %v", bad, err)
		}
	}
	if _, err := TrailingRelocations(image); !errors.Is(err, ErrNoRelocations) {
		t.Errorf("nothing behind the ELF file: %v", err)
	}
	// Two lists, as since 6.15.
	if r, err := ReadRelocations(table[8:]); err != nil || len(r.sub32) != 0 || len(r.add64) != 4 || len(r.add32) != 4 {
		t.Errorf("two lists: %+v, %v", r, err)
	}
}

// FuzzRelocate: a moved kernel differs from the image in its headers, its notes and the
// positions of the table alone. A slide of 0 changes nothing.
func FuzzRelocate(f *testing.F) {
	image, table := movable(f, notePhys32Entry)
	f.Add(image, table, uint64(2<<20))
	f.Add(image, table[8:], uint64(1<<29))
	f.Add(image, []byte{0, 0, 0, 0, 0x10, 0, 0x20, 0x81, 0, 0, 0, 0}, uint64(0))
	f.Fuzz(func(t *testing.T, image, table []byte, slide uint64) {
		trailing, err := TrailingRelocations(append(bytes.Clone(image), table...))
		if err == nil && !bytes.HasSuffix(append(bytes.Clone(image), table...), trailing) {
			t.Fatal("the trailing relocations are not at the end")
		}
		r, err := ReadRelocations(table)
		if err != nil {
			return
		}
		slide = slide &^ (slideUnit - 1) % maxSlide
		before := bytes.Clone(image)
		moved, err := Relocate(image, r, slide)
		if !bytes.Equal(image, before) {
			t.Fatal("the image itself was changed")
		}
		if err != nil {
			return
		}
		if len(moved) != len(image) || slide == 0 && !bytes.Equal(moved, image) {
			t.Fatalf("%d bytes became %d with a slide of %#x", len(image), len(moved), slide)
		}
		may := permitted(t, image, r)
		for i := range moved {
			if moved[i] != image[i] && !may[i] {
				t.Fatalf("byte %d was changed", i)
			}
		}
	})
}

// permitted marks the bytes of an image that a move may change.
func permitted(t *testing.T, image []byte, r Relocations) []bool {
	t.Helper()
	img, err := parseImage(image)
	if err != nil {
		t.Fatal(err)
	}
	may := make([]bool, len(image))
	mark := func(at, n uint64) {
		for i := at; i < at+n && i < uint64(len(may)); i++ {
			may[i] = true
		}
	}
	mark(24, 8) // e_entry
	headers := binary.LittleEndian.Uint64(image[32:])
	for i, p := range img.file.Progs {
		mark(headers+56*uint64(i)+16, 16) // p_vaddr and p_paddr
		if p.Type == elf.PT_NOTE {
			mark(p.Off, p.Filesz)
		}
	}
	for _, list := range []struct {
		places []byte
		size   uint64
	}{{r.add64, 8}, {r.sub32, 4}, {r.add32, 4}} {
		for b := list.places; len(b) >= 4; b = b[4:] {
			at := uint64(int64(int32(binary.LittleEndian.Uint32(b)))) - kernelMap
			for _, p := range img.file.Progs {
				if p.Type == elf.PT_LOAD && at-p.Paddr < p.Filesz {
					mark(p.Off+at-p.Paddr, list.size)
				}
			}
		}
	}
	return may
}
