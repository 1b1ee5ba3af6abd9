package kernel

import (
	"bytes"
	"strings"
	"testing"
)

func FuzzExtractELF(f *testing.F) {
	b := packedKernel(f)
	for format, p := range payloads(f, b) {
		f.Add(fakeBzImage(p, len(b), format != "gzip"))
	}
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if out, err := ExtractELF(b); err == nil && !isELF(out) {
			t.Error("result is no ELF file")
		}
	})
}

func FuzzCompact(f *testing.F) {
	image, _ := fakeKernel(f, kallsymsLayouts[0])
	f.Add(image[:70<<10])
	small, err := Compact(image)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(small)
	f.Add(fakeELF(f, nil, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		img, err := parseImage(b)
		if err != nil {
			return
		}
		for _, p := range img.file.Progs {
			if p.Memsz > 1<<20 {
				return // the check would have to make that much memory
			}
		}
		checkCompact(t, b)
	})
}

// FuzzRead covers kallsyms, banner and BTF in one image.
func FuzzRead(f *testing.F) {
	for _, l := range kallsymsLayouts {
		image, _ := fakeKernel(f, l)
		small, err := Compact(image)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(small)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := readKallsyms(b); err == nil {
			useSymbols(t, s)
		}
		k, err := Read(b)
		if err != nil {
			return
		}
		// Whether these succeed depends on the input; they must come back.
		_, _ = k.Types.Field("task_struct", "lock.pending")
		_, _ = k.Types.SizeOf("task_struct")
		_, _ = k.Types.EnumValue("FAKE_RUN")
	})
}

// FuzzReadMemory: a running kernel's image may be cut anywhere and hold anything. Symbols
// and slide agree with each other, and what is found is the same wherever the pieces end.
func FuzzReadMemory(f *testing.F) {
	for _, l := range kallsymsLayouts {
		image, _ := fakeKernel(f, l)
		img, err := parseImage(image)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(img.segs[0].data, uint64(fakeBase), uint(0))
		f.Add(img.segs[0].data, uint64(fakeBase+0x4a00000), uint(0x1000))
	}
	f.Fuzz(func(t *testing.T, b []byte, addr uint64, cut uint) {
		n := min(int(cut%(1<<24)), len(b))
		k, slide, err := ReadMemory([]Segment{{addr, b[:n]}, {addr + uint64(n), b[n:]}})
		if k == nil {
			if err == nil || slide != 0 {
				t.Fatalf("no kernel, slide %#x and no error", slide)
			}
			return
		}
		useSymbols(t, k.Symbols)
		if text, ok := k.Symbols.Lookup("_text"); slide != 0 && (!ok || text.Addr != linkedText) {
			t.Fatalf("moved by %#x, and _text is linked at %#x, %v", slide, text.Addr, ok)
		}
		if k.Types == nil {
			t.Fatal("no types")
		}
		_, _ = k.Types.Field("task_struct", "lock.pending")
		_, _ = k.Types.EnumValue("FAKE_RUN")
	})
}

// useSymbols calls everything a table has.
func useSymbols(t *testing.T, s *Symbols) {
	t.Helper()
	var last uint64
	for _, sym := range all(s) {
		if sym.Addr < last || sym.Addr+sym.Size < sym.Addr {
			t.Fatalf("symbol %+v after address %#x", sym, last)
		}
		last = sym.Addr
		if found, offset, ok := s.Find(sym.Addr); ok && (found.Addr != sym.Addr || offset != 0) {
			t.Fatalf("Find(%#x) = %+v+%d", sym.Addr, found, offset)
		}
	}
	for _, name := range []string{"_text", "static_twice"} {
		list := named(s, name)
		sym, ok := s.Lookup(name)
		if ok != (len(list) > 0) || ok && sym != list[0] {
			t.Fatalf("Lookup(%q) = %+v, %v, and the table has %+v", name, sym, ok, list)
		}
	}
}

// FuzzTypes: the numbers of a field agree with each other, a profile has the same field,
// and a result with an error is zero.
func FuzzTypes(f *testing.F) {
	f.Add(fakeTypes(f), "task_struct", "locks[3].pending")
	f.Add(fakeTypes(f), "task_struct", "flag_b")
	f.Add(fakeTypes(f), "task_struct", "tail[536870912]")
	f.Add(fakeTypes(f), "fakelock_t", "FAKE_RUN")
	f.Add(fakeTypes(f), "clash", "same")
	f.Fuzz(func(t *testing.T, b []byte, structName, path string) {
		types, err := parseTypes(b)
		if err != nil {
			return
		}
		field, ferr := types.Field(structName, path)
		size, serr := types.SizeOf(structName)
		value, verr := types.EnumValue(path)
		switch {
		case ferr != nil && field != Field{}, serr != nil && size != 0, verr != nil && value != 0:
			t.Fatalf("results with errors: %+v, %v; %d, %v; %d, %v", field, ferr, size, serr, value, verr)
		case field.BitSize == 0 && field.BitOffset != 0, field.BitOffset > 7:
			t.Fatalf("%s.%s begins inside a byte: %+v", structName, path, field)
		case field.BitSize != 0 && field.Size != (field.BitOffset+field.BitSize+7)/8:
			t.Fatalf("%s.%s needs another number of bytes: %+v", structName, path, field)
		}
		if strings.ContainsAny(structName, ".?") || strings.HasSuffix(path, "?") || strings.HasPrefix(structName, "enum ") {
			return // not a name as in C
		}
		k := &Kernel{Types: types, Symbols: new(symbolList).table()}
		p, err := k.Profile([]string{structName + "." + path + "?"})
		if err != nil {
			if ferr == nil {
				t.Fatalf("%s.%s is found, and not for a profile: %v", structName, path, err)
			}
			return
		}
		if got, err := p.Field(structName, path); got != field || (err == nil) != (ferr == nil) {
			t.Fatalf("%s.%s is %+v, %v in a profile and %+v, %v in the types", structName, path, got, err, field, ferr)
		}
	})
}

func FuzzReadProfile(f *testing.F) {
	good, _, _, _ := fakeProfile(f)
	f.Add(good)
	f.Add(good[:profileHeader])
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := ReadProfile(b); err == nil && len(b) < profileHeader {
			t.Error("accepted less than a header")
		}
		if len(b) < profileHeader {
			return
		}
		// The checksum keeps accidents out; look behind it, too.
		p, err := ReadProfile(seal(bytes.Clone(b)))
		if err != nil {
			return
		}
		useSymbols(t, p.Symbols)
		_, _ = p.Field("task_struct", "comm")
		if _, err := p.WriteTo(&bytes.Buffer{}); err != nil {
			t.Error(err)
		}
	})
}
