package kernel

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hangbench/cgo/require"
)

// TestRealKernels compares the results with other parts of the same image, which the
// code under test does not read.
func TestRealKernels(t *testing.T) {
	if raced {
		t.Skip("make test reads the kernels without the race detector: they are large, and it has nothing to see there")
	}
	t.Parallel()
	for _, path := range require.KernelImages(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			k, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: %d symbols", k.Banner, k.Symbols.Len())
			t.Run("symbols", func(t *testing.T) { testRealSymbols(t, k) })
			t.Run("ksymtab", func(t *testing.T) { testKsymtab(t, k) })
			t.Run("data", func(t *testing.T) { testInitialData(t, k) })
			t.Run("types", func(t *testing.T) { testRealTypes(t, k) })
			t.Run("compact", func(t *testing.T) {
				small := checkCompact(t, k.ELF)
				testXenNotes(t, k, small)
				t.Logf("%d bytes of %d are left", len(small), len(k.ELF))
				k2, err := Read(small)
				if err != nil {
					t.Fatal(err)
				}
				checkSymbols(t, k2.Symbols, all(k.Symbols))
				testInitialData(t, k2)
				if !bytes.Equal(rawTypes(t, k2), rawTypes(t, k)) {
					t.Error("the compact image has other types")
				}
			})
			t.Run("profile", func(t *testing.T) { testRealProfile(t, k) })
		})
	}
}

func testRealSymbols(t *testing.T, k *Kernel) {
	// The smallest kernels of distributions, those for clouds, have 80,000 to 90,000 symbols.
	if n := k.Symbols.Len(); n < 80000 {
		t.Errorf("only %d symbols", n)
	}
	last := Symbol{}
	for _, s := range all(k.Symbols) {
		if s.Addr < last.Addr || s.Size > 0 && s.Addr+s.Size < s.Addr {
			t.Fatalf("%+v follows %+v", s, last)
		}
		last = s
	}
	for _, tt := range []struct {
		name         string
		text, perCPU bool
	}{
		{"_text", true, false},
		{"__schedule", true, false},
		{"queued_read_lock_slowpath", true, false},
		{"native_queued_spin_lock_slowpath", true, false},
		{"tasklist_lock", false, false},
		{"jiffies_64", false, false},
		{"__per_cpu_offset", false, false},
		{"runqueues", false, true},
	} {
		s, ok := k.Symbols.Lookup(tt.name)
		if !ok || s.Text != tt.text || s.PerCPU != tt.perCPU || s.Size == 0 {
			t.Errorf("%s: %+v, %v", tt.name, s, ok)
			continue
		}
		found, offset, ok := k.Symbols.Find(s.Addr + s.Size - 1)
		if ok == tt.perCPU || ok && (found.Addr != s.Addr || offset != s.Size-1) {
			t.Errorf("the last byte of %s is found in %s+%d, %v", tt.name, found.Name, offset, ok)
		}
	}
}

// section returns a section of the original image, or nothing without one. Read does
// not use sections.
func section(t *testing.T, k *Kernel, name string) (data []byte, addr uint64) {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(k.ELF))
	if err != nil {
		t.Fatal(err)
	}
	s := f.Section(name)
	if s == nil {
		return nil, 0
	}
	if data, err = s.Data(); err != nil {
		t.Fatal(err)
	}
	return data, s.Addr
}

// testKsymtab compares symbols with the table of exported symbols, an array of struct
// kernel_symbol: three 32-bit distances, each from its own position, to the value, the
// name and the namespace.
func testKsymtab(t *testing.T, k *Kernel) {
	img, err := parseImage(k.ELF)
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, name := range []string{"__ksymtab", "__ksymtab_gpl"} { // newer kernels have only the first
		data, addr := section(t, k, name)
		for i := 0; i+12 <= len(data); i += 12 {
			distance := func(at int) uint64 {
				return addr + uint64(at) + uint64(int64(int32(binary.LittleEndian.Uint32(data[at:]))))
			}
			value, nameAt := distance(i), distance(i+4)
			var text []byte
			for _, seg := range img.segs {
				if nameAt >= seg.addr && nameAt-seg.addr < uint64(len(seg.data)) {
					text, _, _ = bytes.Cut(seg.data[nameAt-seg.addr:], []byte{0})
				}
			}
			// The distance to a per-CPU variable has more than 32 bits; the lower ones agree.
			if !slices.ContainsFunc(named(k.Symbols, string(text)), func(s Symbol) bool {
				return s.Addr == value || s.PerCPU && uint32(s.Addr) == uint32(value)
			}) {
				t.Errorf("%s is exported at %#x, the symbol table has %+v", text, value, named(k.Symbols, string(text)))
			}
			checked++
		}
	}
	if checked < 5000 {
		t.Errorf("only %d exported symbols", checked)
	}
	t.Logf("%d exported symbols agree", checked)
}

// testXenNotes compares symbols with the entry points in the notes for Xen, read from
// the compact image.
func testXenNotes(t *testing.T, k *Kernel, small []byte) {
	_, notes, _, _ := memory(t, small)
	found := 0
	for _, b := range notes {
		for len(b) >= 12 {
			le := binary.LittleEndian
			nameSize, size, kind := int(le.Uint32(b)), int(le.Uint32(b[4:])), le.Uint32(b[8:])
			nameEnd := 12 + (nameSize+3)&^3
			next := nameEnd + (size+3)&^3
			if next > len(b) {
				t.Fatalf("note of %d bytes in %d", next, len(b))
			}
			value := uint64(0)
			if size == 8 {
				value = le.Uint64(b[nameEnd:])
			}
			// XEN_ELFNOTE_ENTRY and XEN_ELFNOTE_PHYS32_ENTRY of Xen's public elfnote.h
			symbol := map[uint32]string{1: "startup_xen", 18: "pvh_start_xen"}[kind]
			if string(b[12:12+nameSize]) == "Xen\x00" && symbol != "" {
				if kind == 18 {
					value += kernelMap
				}
				if s, ok := k.Symbols.Lookup(symbol); !ok || s.Addr != value {
					t.Errorf("%s: %+v, %v; the note has %#x", symbol, s, ok, value)
				}
				found++
			}
			b = b[next:]
		}
	}
	if found == 0 {
		t.Error("no Xen entry point in the notes")
	}
	t.Logf("%d entry points agree", found)
}

// testInitialData reads variables whose initial contents are known. They are right only
// if symbol and offset are.
func testInitialData(t *testing.T, k *Kernel) {
	img, err := parseImage(k.ELF)
	if err != nil {
		t.Fatal(err)
	}
	read := func(symbol, structName, path string) (addr uint64, b []byte) {
		s, ok := k.Symbols.Lookup(symbol)
		f, err := k.Types.Field(structName, path)
		if !ok || err != nil {
			t.Fatalf("%s: %v; %s.%s: %v", symbol, ok, structName, path, err)
		}
		addr = s.Addr + uint64(f.Offset)
		b, ok = img.between(addr, addr+uint64(f.Size))
		if !ok {
			t.Fatalf("%s.%s at %#x is not in the image", symbol, path, addr)
		}
		return addr, b
	}
	if _, b := read("init_task", "task_struct", "comm"); !bytes.HasPrefix(b, []byte("swapper\x00")) {
		t.Errorf("init_task.comm is %q", b)
	}
	if _, b := read("init_uts_ns", "uts_namespace", "name.release"); !bytes.HasPrefix(b, []byte(k.Release+"\x00")) {
		t.Errorf("init_uts_ns.name.release is %q, want %q", b, k.Release)
	}
	// The image has an early banner too, which lacks the build's number.
	_, version := read("init_uts_ns", "uts_namespace", "name.version")
	if version, _, _ = bytes.Cut(version, []byte{0}); len(version) == 0 ||
		!strings.HasSuffix(k.Banner, " "+string(version)) {
		t.Errorf("banner %q does not end in init_uts_ns.name.version, %q", k.Banner, version)
	}
	for _, path := range []string{"tasks.next", "tasks.prev", "children.next", "pending.list.next"} {
		list, _, _ := strings.Cut(path, ".next")
		list, _, _ = strings.Cut(list, ".prev")
		head, _ := read("init_task", "task_struct", list)
		if _, b := read("init_task", "task_struct", path); binary.LittleEndian.Uint64(b) != head {
			t.Errorf("init_task.%s is %x, want the list itself at %#x", path, b, head)
		}
	}
	for _, tt := range []struct{ symbol, structName, path, target string }{
		{"init_task", "task_struct", "active_mm", "init_mm"},
		{"init_task", "task_struct", "signal", "init_signals"},
		{"init_mm", "mm_struct", "pgd", "init_top_pgt"},
	} {
		want, ok := k.Symbols.Lookup(tt.target)
		if !ok {
			t.Errorf("no symbol %s", tt.target)
		}
		if _, b := read(tt.symbol, tt.structName, tt.path); binary.LittleEndian.Uint64(b) != want.Addr {
			t.Errorf("%s.%s is %x, want %s at %#x", tt.symbol, tt.path, b, tt.target, want.Addr)
		}
	}
}

// rawTypes returns the BTF of an image.
func rawTypes(t *testing.T, k *Kernel) []byte {
	t.Helper()
	img, err := parseImage(k.ELF)
	if err != nil {
		t.Fatal(err)
	}
	start, ok := k.Symbols.Lookup("__start_BTF")
	stop, ok2 := k.Symbols.Lookup("__stop_BTF")
	b, ok3 := img.between(start.Addr, stop.Addr)
	if !ok || !ok2 || !ok3 || len(b) == 0 {
		t.Fatalf("%s: no BTF in the image", k.Release)
	}
	return b
}

// testRealTypes reads constants and a size that are known. It is not for a compact image
// too: the types of that are the same, and to index their constants takes long.
func testRealTypes(t *testing.T, k *Kernel) {
	if v, err := k.Types.EnumValue("PIDTYPE_TGID"); err != nil || v != 1 {
		t.Errorf("PIDTYPE_TGID = %d, %v; want 1", v, err)
	}
	if _, err := k.Types.EnumValue("NR_FREE_PAGES"); err != nil {
		t.Error(err)
	}
	if n, err := k.Types.SizeOf("pid_t"); err != nil || n != 4 {
		t.Errorf("size of pid_t = %d, %v; want 4", n, err)
	}
}

func testRealProfile(t *testing.T, k *Kernel) {
	p, err := k.Profile([]string{
		"task_struct.comm", "task_struct.pid", "task_struct.tasks", "task_struct.__state?", "task_struct.state?",
		"task_struct",
		"rq.curr", "rq.nr_switches", "rq.cfs.nr_running?", "rq.cfs.nr_queued?", "rq.clock", "qspinlock.locked",
		"enum NR_FREE_PAGES",
	})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := p.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", b.Len())
	p2, err := ReadProfile(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	checkSymbols(t, p2.Symbols, all(k.Symbols))
	for _, path := range []string{"comm", "pid", "tasks"} {
		want, err := k.Types.Field("task_struct", path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p2.Field("task_struct", path); err != nil || got != want {
			t.Errorf("task_struct.%s: %+v, %v; want %+v", path, got, err, want)
		}
	}
}

// benchmarkKernel returns a distribution's kernel, or the fake one. The benchmark reports
// the number of its symbols.
func benchmarkKernel(b *testing.B) *Kernel {
	b.Helper()
	if paths := require.FindKernels(); len(paths) > 0 {
		k, err := Open(paths[0])
		if err != nil {
			b.Fatal(err)
		}
		return k
	}
	image, _ := fakeKernel(b, kallsymsLayouts[2])
	k, err := Read(image)
	if err != nil {
		b.Fatal(err)
	}
	return k
}

func BenchmarkReadKallsyms(b *testing.B) {
	k := benchmarkKernel(b)
	for b.Loop() {
		if _, err := readKallsyms(k.ELF); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(k.Symbols.Len()), "symbols")
}

func BenchmarkReadProfile(b *testing.B) {
	k := benchmarkKernel(b)
	p, err := k.Profile([]string{"task_struct.comm", "task_struct"})
	if err != nil {
		b.Fatal(err)
	}
	var file bytes.Buffer
	if _, err := p.WriteTo(&file); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(file.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ReadProfile(file.Bytes()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(k.Symbols.Len()), "symbols")
}

func BenchmarkFind(b *testing.B) {
	k := benchmarkKernel(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i += 7919 {
		s := k.Symbols.At(i % k.Symbols.Len())
		if _, _, ok := k.Symbols.Find(s.Addr); ok == s.PerCPU {
			b.Fatalf("%+v: found %v", s, ok)
		}
	}
}
