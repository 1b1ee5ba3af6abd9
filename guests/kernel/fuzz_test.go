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
		if s, err := ReadKallsyms(b); err == nil {
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

// useSymbols calls everything a table has.
func useSymbols(t *testing.T, s *Symbols) {
	t.Helper()
	var last uint64
	for sym := range s.All() {
		if sym.Addr < last || sym.End() < sym.Addr {
			t.Fatalf("symbol %+v after address %#x", sym, last)
		}
		last = sym.Addr
		if found, offset, ok := s.Find(sym.Addr); ok && (found.Addr != sym.Addr || offset != 0) {
			t.Fatalf("Find(%#x) = %+v+%d", sym.Addr, found, offset)
		}
	}
	s.Lookup("_text")
	s.LookupAll("static_twice")
}

func FuzzTypes(f *testing.F) {
	f.Add(fakeTypes(f), "task_struct", "locks[3].pending")
	f.Add(fakeTypes(f), "clash", "same")
	f.Fuzz(func(t *testing.T, b []byte, structName, path string) {
		types, err := parseTypes(b)
		if err != nil {
			return
		}
		_, _ = types.Field(structName, path)
		_, _ = types.SizeOf(structName)
		_, _ = types.EnumValue(path)
	})
}

func FuzzParseKallsyms(f *testing.F) {
	f.Add("ffffffff81000000 T _text\nffffffff81000010 t a\t[mod]\n0000000000000000 A __per_cpu_start\n")
	f.Add("0 T a\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := ParseKallsyms(strings.NewReader(text)); err == nil {
			useSymbols(t, s)
			for sym := range s.All() {
				if got, ok := s.Lookup(sym.Name); !ok || got.Addr > sym.Addr {
					t.Fatalf("Lookup(%q) = %+v, %v", sym.Name, got, ok)
				}
			}
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
