package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// running returns the constants of a fake kernel that runs, moved by slide: the addresses
// in them are moved too, as KASLR does.
func running(t testing.TB, l kallsymsLayout, slide uint64) []Segment {
	t.Helper()
	image, _ := fakeKernel(t, l)
	img, err := parseImage(image)
	if err != nil {
		t.Fatal(err)
	}
	data := img.segs[0].data
	for pos := 0; pos+8 <= len(data); pos += 4 {
		// The only 64-bit addresses are relative_base and the table of whole ones. Distances
		// from a position move with it.
		v := binary.LittleEndian.Uint64(data[pos:])
		if pos%8 == 0 && v >= fakeBase && v < fakeBase+0x1000000 && l.encoding != "place" {
			binary.LittleEndian.PutUint64(data[pos:], v+slide)
		}
	}
	return []Segment{{fakeBase + slide, data}}
}

// TestReadMemory: a kernel that runs has the symbols and types of its file, in every
// layout of its tables, moved or not.
func TestReadMemory(t *testing.T) {
	t.Parallel()
	for _, l := range kallsymsLayouts {
		for _, slide := range []uint64{0, 0x4a00000} {
			t.Run(fmt.Sprintf("%s, %#x", l.name, slide), func(t *testing.T) {
				t.Parallel()
				k, got, err := ReadMemory(running(t, l, slide))
				if err != nil {
					t.Fatal(err)
				}
				if got != slide || k.Release != fakeRelease || k.Banner != fakeBanner || k.ELF != nil {
					t.Errorf("slide %#x, want %#x; %q, %q", got, slide, k.Release, k.Banner)
				}
				image, _ := fakeKernel(t, l)
				want, err := Read(image)
				if err != nil {
					t.Fatal(err)
				}
				checkSymbols(t, k.Symbols, all(want.Symbols))
				if f, err := k.Types.Field("task_struct", "lock.pending"); err != nil || f.Offset != 5 {
					t.Errorf("task_struct.lock.pending is %+v, %v", f, err)
				}
			})
		}
	}
}

// TestReadMemoryLinkedElsewhere: the symbols of a kernel that is not linked where most are
// keep the addresses that they have in memory.
func TestReadMemoryLinkedElsewhere(t *testing.T) {
	t.Parallel()
	const odd = 0x100000 // no distance that KASLR moves a kernel
	k, slide, err := ReadMemory(running(t, kallsymsLayouts[0], odd))
	if err != nil || slide != 0 {
		t.Fatalf("slide %#x, %v", slide, err)
	}
	if s, ok := k.Symbols.Lookup("_text"); !ok || s.Addr != fakeBase+odd {
		t.Errorf("_text is %+v, %v", s, ok)
	}
}

// TestMoveDown: the ranges of the linker move with the symbols, addresses of per-CPU
// variables stay, and a slide that would take a symbol out of the kernel's mapping is none.
func TestMoveDown(t *testing.T) {
	t.Parallel()
	list := &symbolList{}
	for _, s := range []Symbol{{Name: "runqueues", Addr: 0x1980, Type: 'A'}, {Name: "low", Addr: kernelMap + 0x300000},
		{Name: "_text", Addr: fakeBase}, {Name: "_stext", Addr: fakeBase}, {Name: "code", Addr: fakeBase + 0x10, Type: 'D'},
		{Name: "_etext", Addr: fakeBase + 0x1000}, {Name: "_end", Addr: fakeBase + 0x2000}} {
		list.add(s.Addr, s.Type, []byte(s.Name))
	}
	s := list.table()
	for _, by := range []uint64{0x400000, 0x200000} {
		moved := by <= 0x300000
		if s.moveDown(by) != moved {
			t.Errorf("moved down by %#x: %v", by, !moved)
		}
		if !moved {
			by = 0
		}
		for name, want := range map[string]uint64{"runqueues": 0x1980, "low": kernelMap + 0x300000 - by,
			"code": fakeBase + 0x10 - by} {
			sym, ok := s.Lookup(name)
			if !ok || sym.Addr != want || sym.Text != (name == "code") {
				t.Errorf("moved down by %#x: %+v, %v, want %#x", by, sym, ok, want)
			}
		}
	}
}

// TestManyNames: a table whose names take too much memory is refused.
func TestManyNames(t *testing.T) {
	t.Parallel()
	l := kallsymsLayouts[3]
	name := strings.Repeat("__x64_sys_", 50) // a token of ten bytes
	syms := make([]Symbol, maxNames/len(name)+1)
	for i := range syms {
		syms[i] = Symbol{Name: name, Addr: fakeBase + uint64(i), Type: 'T'}
	}
	data := append([]byte(fakeBanner+"\n\x00"), make([]byte, 8-(len(fakeBanner)+2)%8)...)
	data = append(data, fakeKallsyms(l, syms, fakeBase+uint64(len(data)))...)
	if _, _, err := ReadMemory([]Segment{{fakeBase, data}}); err == nil || !strings.Contains(err.Error(), "the names of") {
		t.Errorf("names of more than %d bytes: %.200v", maxNames, err)
	}
}

// TestReadMemoryLacks: what a kernel lacks is said, and how it would have it.
func TestReadMemoryLacks(t *testing.T) {
	t.Parallel()
	segs := running(t, kallsymsLayouts[3], 0)
	if _, _, err := ReadMemory(nil); err == nil || !strings.Contains(err.Error(), "no Linux banner") {
		t.Errorf("no memory: %v", err)
	}
	tables := strings.Index(string(segs[0].Data), "\xc8") // the first name with a token
	cut := []Segment{{segs[0].Addr, segs[0].Data[:tables]}}
	if _, _, err := ReadMemory(cut); !errors.Is(err, errNoKallsyms) {
		t.Errorf("no symbols: %v", err)
	}
	k, _, err := ReadMemory(segs)
	if err != nil {
		t.Fatal(err)
	}
	start, _ := k.Symbols.Lookup("__start_BTF")
	at := start.Addr - segs[0].Addr + 16
	halves := []Segment{{segs[0].Addr, segs[0].Data[:at]}, {segs[0].Addr + at, segs[0].Data[at:]}}
	if _, _, err := ReadMemory(halves); err == nil || !strings.Contains(err.Error(), "BTF, from 0x") {
		t.Errorf("BTF in two pieces: %v", err)
	}
}

// TestTypesBounds: types that are made to take long are refused.
func TestTypesBounds(t *testing.T) {
	t.Parallel()
	u32 := &btf.Int{Name: "unsigned int", Size: 4}
	// Each anonymous structure has the next one twice: 2^31 members to visit.
	inner := &btf.Struct{Size: 4, Members: []btf.Member{{Name: "x", Type: u32}}}
	for range maxDepth - 1 {
		inner = &btf.Struct{Size: 4, Members: []btf.Member{{Type: inner}, {Type: inner}}}
	}
	all := []btf.Type{&btf.Struct{Name: "deep", Size: 4, Members: []btf.Member{{Type: inner}}}}
	for i := range maxSame + 1 {
		all = append(all, &btf.Struct{Name: "same", Size: uint32(4 + i), Members: []btf.Member{{Name: "x", Type: u32}}})
	}
	b, err := btf.NewBuilder(all, nil)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := b.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	types, err := parseTypes(blob)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"deep": "more than 65536 members", "same": "more than the limit of 64"} {
		if f, err := types.Field(name, "absent"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s.absent is %+v, %v, want %q", name, f, err, want)
		}
	}
	if _, err := parseTypes(make([]byte, maxBTF+1)); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("too much BTF: %v", err)
	}
}
