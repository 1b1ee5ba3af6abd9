package kernel

import (
	"bytes"
	"debug/elf"
	"io"
	"reflect"
	"testing"
)

// memory returns what a loader makes of a file: every PT_LOAD segment at full size, and
// the notes.
func memory(t testing.TB, b []byte) (loads [][]byte, notes [][]byte, headers []elf.ProgHeader, entry uint64) {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD && p.Type != elf.PT_NOTE {
			continue // not loaded, so not compared
		}
		data := make([]byte, max(p.Filesz, p.Memsz))
		if n, err := io.ReadFull(p.Open(), data[:p.Filesz]); err != nil {
			t.Fatalf("segment at %#x: %d of %d bytes, %v", p.Vaddr, n, p.Filesz, err)
		}
		h := p.ProgHeader
		h.Off, h.Filesz = 0, 0
		if p.Type == elf.PT_LOAD {
			loads = append(loads, data)
		} else {
			notes = append(notes, data[:p.Filesz])
		}
		headers = append(headers, h)
	}
	return loads, notes, headers, f.Entry
}

// checkCompact compares a compact kernel with the original and returns it.
func checkCompact(t testing.TB, original []byte) []byte {
	t.Helper()
	small, err := Compact(original)
	if err != nil {
		t.Fatal(err)
	}
	loads, notes, headers, entry := memory(t, original)
	loads2, notes2, headers2, entry2 := memory(t, small)
	if !reflect.DeepEqual(headers, headers2) {
		t.Errorf("program headers %+v, want %+v", headers2, headers)
	}
	if entry != entry2 {
		t.Errorf("entry %#x, want %#x", entry2, entry)
	}
	for i := range loads {
		if !bytes.Equal(loads[i], loads2[i]) {
			t.Errorf("segment %d differs in memory", i)
		}
	}
	if !reflect.DeepEqual(notes, notes2) {
		t.Error("notes differ")
	}
	f, err := elf.NewFile(bytes.NewReader(small))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Sections) != 0 {
		t.Errorf("%d section headers are left", len(f.Sections))
	}
	var end uint64
	for i, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Off%pageSize != p.Vaddr%pageSize {
			t.Errorf("segment %d at offset %#x is not congruent to address %#x", i, p.Off, p.Vaddr)
		}
		end = max(end, p.Off+p.Filesz)
	}
	if end != uint64(len(small)) {
		t.Errorf("file has %d bytes, its segments end at %d", len(small), end)
	}
	again, err := Compact(small)
	if err != nil || !bytes.Equal(again, small) {
		t.Errorf("compacting twice changes the file (%v)", err)
	}
	return small
}

func TestCompact(t *testing.T) {
	t.Parallel()
	image, _ := fakeKernel(t, kallsymsLayouts[0])
	small := checkCompact(t, append(bytes.Clone(image), "relocations"...))
	if len(small) >= len(image)/2 {
		t.Errorf("compact file has %d of %d bytes", len(small), len(image))
	}

	// One note ends at the end of its segment, with a zero. Another is outside of all
	// segments.
	note := fakeNote()
	data := append(bytes.Repeat([]byte{1}, 300), note...)
	checkCompact(t, fakeELF(t, []elf.Prog64{
		{Type: uint32(elf.PT_LOAD), Vaddr: fakeBase + 0x123, Paddr: 0x123, Memsz: 0x5000},
		{Type: uint32(elf.PT_NOTE), Vaddr: fakeBase + 0x123 + 300, Off: 300, Filesz: uint64(len(note)),
			Memsz: uint64(len(note))},
		{Type: uint32(elf.PT_GNU_STACK), Flags: 6},
		{Type: uint32(elf.PT_NOTE), Vaddr: fakeBase + 0x9000, Memsz: uint64(len(note))},
	}, [][]byte{data, nil, {}, note}))
}

func TestCompactErrors(t *testing.T) {
	t.Parallel()
	image, _ := fakeKernel(t, kallsymsLayouts[0])
	arm := bytes.Clone(image)
	arm[18] = byte(elf.EM_AARCH64)
	overlap, err := Compact(image)
	if err != nil {
		t.Fatal(err)
	}
	copy(overlap[64+56:], overlap[64:64+56]) // the first segment twice, and no padding that would make up for it
	tooBig := bytes.Clone(image)
	clear(tooBig[64+40 : 64+48]) // p_memsz
	for name, b := range map[string][]byte{
		"empty": nil, "cut off": image[:len(image)/4], "other machine": arm, "overlap": overlap,
		"larger than its memory": tooBig,
	} {
		if _, err := Compact(b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
