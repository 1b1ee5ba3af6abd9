package kernel

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// readKallsyms decodes the symbol tables in an uncompressed ELF image.
func readKallsyms(elf []byte) (*Symbols, error) {
	img, err := parseImage(elf)
	if err != nil {
		return nil, err
	}
	return img.kallsyms()
}

// symbolsOf makes a table of lines "address type name", as in /proc/kallsyms.
func symbolsOf(t testing.TB, text string) *Symbols {
	t.Helper()
	var list symbolList
	for line := range strings.Lines(strings.TrimSpace(text)) {
		var addr uint64
		var kind, name string
		if _, err := fmt.Sscanf(line, "%x %s %s", &addr, &kind, &name); err != nil || len(kind) != 1 {
			t.Fatalf("line %q: %v", line, err)
		}
		list.add(addr, kind[0], []byte(name))
	}
	return list.table()
}

// all returns every symbol in the order of addresses.
func all(s *Symbols) []Symbol {
	var list []Symbol
	for i := range s.Len() {
		list = append(list, s.At(i))
	}
	return list
}

// named returns every symbol with the name in the order of addresses.
func named(s *Symbols, name string) []Symbol {
	var list []Symbol
	for i := s.firstNamed(name); i < s.Len() && s.name(s.named(i)) == name; i++ {
		list = append(list, s.At(s.named(i)))
	}
	return list
}

// checkSymbols compares a table with a sorted list that has no sizes.
func checkSymbols(t *testing.T, got *Symbols, want []Symbol) {
	t.Helper()
	if got.Len() != len(want) {
		t.Fatalf("%d symbols, want %d", got.Len(), len(want))
	}
	for i, s := range all(got) {
		if w := want[i]; s.Name != w.Name || s.Addr != w.Addr || s.Type != w.Type {
			t.Fatalf("symbol %d is %s %c at %#x, want %s %c at %#x", i, s.Name, s.Type, s.Addr, w.Name, w.Type, w.Addr)
		}
	}
	// The order of names holds each symbol once: equal names are in the order of addresses.
	// So a search finds every symbol. Some are looked for.
	for i := 1; i < got.Len(); i++ {
		was, is := got.named(i-1), got.named(i)
		if c := strings.Compare(got.name(was), got.name(is)); c > 0 || c == 0 && was >= is {
			t.Fatalf("in the order of names, symbol %d, %s, follows symbol %d, %s", is, got.name(is), was, got.name(was))
		}
	}
	for i := 0; i < len(want); i += max(1, len(want)/4000) {
		w := want[i]
		if !slices.ContainsFunc(named(got, w.Name), func(s Symbol) bool {
			return s.Addr == w.Addr && s.Type == w.Type && s.Name == w.Name
		}) {
			t.Fatalf("%s at %#x is not found by name", w.Name, w.Addr)
		}
	}
}

func TestReadKallsyms(t *testing.T) {
	t.Parallel()
	for _, l := range kallsymsLayouts {
		t.Run(l.name, func(t *testing.T) {
			image, want := fakeKernel(t, l)
			s, err := readKallsyms(image)
			if err != nil {
				t.Fatal(err)
			}
			checkSymbols(t, s, want)
			if rq, ok := s.Lookup("runqueues"); !ok || !rq.PerCPU {
				t.Errorf("runqueues: %+v, %v, want a per-CPU variable", rq, ok)
			}
			if text, ok := s.Lookup("_text"); !ok || text.PerCPU || !text.Text {
				t.Errorf("_text: %+v, %v, want code", text, ok)
			}
		})
	}
}

func TestReadKallsymsErrors(t *testing.T) {
	t.Parallel()
	l := kallsymsLayouts[2]
	image, _ := fakeKernel(t, l)
	syms := fakeSymbols(l)
	tables := fakeKallsyms(l, syms, 0)
	at := bytes.Index(image, tables[:64]) // num_syms and the first names are the same whatever follows
	if at < 0 {
		at = bytes.Index(image, []byte("A__per_cpu_start")) - 9
	}
	edit := func(f func(b []byte)) []byte {
		b := bytes.Clone(image)
		f(b)
		return b
	}
	for _, tt := range []struct {
		name  string
		image []byte
		want  string
	}{
		{"no ELF", []byte("text"), "parse kernel ELF"},
		{"no tables", edit(func(b []byte) { clear(b[at:]) }), "CONFIG_KALLSYMS"},
		{"wrong count", edit(func(b []byte) { b[at]++ }), "CONFIG_KALLSYMS"},
		{"damaged name length", edit(func(b []byte) { b[at+8]++ }), "CONFIG_KALLSYMS"},
		{"damaged token table", edit(func(b []byte) { b[bytes.Index(b, []byte("__x64_sys_\x00"))+10] = 'x' }),
			"CONFIG_KALLSYMS"},
		{"addresses cut off", edit(func(b []byte) {
			i := bytes.Index(b, []byte("?ff\x00")) // the last token; the index follows it
			clear(b[alignUp(i+4, 8)+tokenIndexSize+200:])
		}), "ascending addresses"},
	} {
		if _, err := readKallsyms(tt.image); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
}

func TestSymbols(t *testing.T) {
	t.Parallel()
	s := symbolsOf(t, `
0000000000000000 A __per_cpu_start
0000000000001980 A runqueues
0000000000003000 A __per_cpu_end
ffffffff81000000 T _text
ffffffff81000000 T _stext
ffffffff81000010 t helper
ffffffff81000040 W weak
ffffffff81000080 t helper
ffffffff81000100 T _etext
ffffffff82000000 D lock
ffffffff82000020 T called_code
ffffffff82000040 B _end
ffffffffc0000000 t module_code
ffffffffc0000020 d module_data
`)
	for _, tt := range []struct {
		addr   uint64
		name   string
		offset uint64
	}{
		{0, "", 0},
		{0x1980, "", 0},
		{0x3001, "", 0},
		{0xffffffff80ffffff, "", 0},
		{0xffffffff81000000, "_text", 0},
		{0xffffffff8100000f, "_text", 15},
		{0xffffffff81000010, "helper", 0},
		{0xffffffff8100003f, "helper", 0x2f},
		{0xffffffff81000041, "weak", 1},
		{0xffffffff82000040, "_end", 0},
		{0xffffffffc0000020, "module_data", 0},
		{0xffffffffc0000021, "", 0},
		{0xffffffffffffffff, "", 0},
	} {
		sym, offset, ok := s.Find(tt.addr)
		if ok != (tt.name != "") || sym.Name != tt.name || offset != tt.offset {
			t.Errorf("Find(%#x) = %s+%d, %v; want %s+%d", tt.addr, sym.Name, offset, ok, tt.name, tt.offset)
		}
	}
	if h, ok := s.Lookup("helper"); !ok || h.Addr != 0xffffffff81000010 {
		t.Errorf("Lookup(helper) = %+v, %v, want the lower one", h, ok)
	}
	for _, tt := range []struct {
		name      string
		end, size uint64
		text, cpu bool
	}{
		{"_text", 0xffffffff81000010, 16, true, false},
		{"_stext", 0xffffffff81000010, 16, true, false},
		{"helper", 0xffffffff81000040, 48, true, false},
		{"weak", 0xffffffff81000080, 64, true, false},
		{"lock", 0xffffffff82000020, 32, false, false},
		{"called_code", 0xffffffff82000040, 32, false, false},
		{"module_code", 0xffffffffc0000020, 32, true, false},
		{"module_data", 0xffffffffc0000020, 0, false, false},
		{"runqueues", 0x3000, 0x1680, false, true},
		{"__per_cpu_end", 0x3000, 0, false, false},
	} {
		sym, ok := s.Lookup(tt.name)
		if !ok || sym.Addr+sym.Size != tt.end || sym.Size != tt.size || sym.Text != tt.text || sym.PerCPU != tt.cpu {
			t.Errorf("Lookup(%s) = %+v, %v; want %+v", tt.name, sym, ok, tt)
		}
	}
	for _, name := range []string{"", "_", "zzz", "helpe", "helper1"} {
		if sym, ok := s.Lookup(name); ok {
			t.Errorf("Lookup(%q) = %+v, want none", name, sym)
		}
	}
	if s.Len() != 14 {
		t.Errorf("%d symbols, want 14", s.Len())
	}
}
