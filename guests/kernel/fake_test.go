package kernel

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

const (
	fakeRelease = "6.99.7-fake-amd64"
	fakeBanner  = "Linux version " + fakeRelease + " (hangbench@test) (gcc 14) #1 SMP"
	fakeBase    = 0xffffffff81000000
)

// kallsymsLayout is one form of the tables in kernels.
type kallsymsLayout struct {
	name     string
	after    bool // addresses behind the token index, as since 6.4
	seqs     bool
	encoding string // percpu, relative, place, absolute
	align    int    // of every table
}

var kallsymsLayouts = []kallsymsLayout{
	{"5.10", false, false, "percpu", 8},
	{"6.2", false, true, "percpu", 8},
	{"6.4", true, true, "percpu", 8},
	{"6.15", true, true, "relative", 8},
	{"place relative", true, true, "place", 8},
	{"7.3", true, true, "place", 4},
	{"old, not relative", false, false, "absolute", 8},
	{"6.4, not relative", true, true, "absolute", 8},
	{"uniprocessor", false, true, "relative", 8},
}

func (l kallsymsLayout) zeroBasedPerCPU() bool { return l.encoding == "percpu" }

// fakeSymbols makes a sorted symbol list. Like real ones, it has per-CPU variables,
// aliases, names used twice and a very long name.
func fakeSymbols(l kallsymsLayout) []Symbol {
	perCPU := uint64(0)
	if !l.zeroBasedPerCPU() {
		perCPU = fakeBase + 0x800000
	}
	syms := []Symbol{
		{Name: "__per_cpu_start", Addr: perCPU, Type: 'A'},
		{Name: "runqueues", Addr: perCPU + 0x1980, Type: 'A'},
		{Name: "__per_cpu_end", Addr: perCPU + 0x3000, Type: 'A'},
		{Name: "_text", Addr: fakeBase, Type: 'T'},
		{Name: "_stext", Addr: fakeBase, Type: 'T'},
		{Name: "static_twice", Addr: fakeBase + 0x14, Type: 't'},
		{Name: "static_twice", Addr: fakeBase + 0x900008, Type: 'd'},
		{Name: "long_" + strings.Repeat("Xy", 120), Addr: fakeBase + 0x18, Type: 'T'},
		{Name: "_end", Addr: fakeBase + 0xa00000, Type: 'B'},
	}
	for i := range 1500 {
		syms = append(syms, Symbol{Name: fmt.Sprintf("__x64_sys_%d.lock", i), Addr: fakeBase + 0x100 + 16*uint64(i),
			Type: 'T'})
	}
	slices.SortStableFunc(syms, func(a, b Symbol) int { return cmp.Compare(a.Addr, b.Addr) })
	return syms
}

// fakeKallsyms returns the tables for address at.
func fakeKallsyms(l kallsymsLayout, syms []Symbol, at uint64) []byte {
	words := map[byte]string{200: "__x64_sys_", 201: ".lock", 202: "static_", 203: "Xy"}
	var table []byte
	var index []byte
	token := func(i int) string {
		if w, ok := words[byte(i)]; ok {
			return w
		}
		if i > ' ' && i < 0x7f {
			return string(rune(i))
		}
		return fmt.Sprintf("?%02x", i)
	}
	for i := range tokens {
		index = binary.LittleEndian.AppendUint16(index, uint16(len(table)))
		table = append(append(table, token(i)...), 0)
	}
	compress := strings.NewReplacer("__x64_sys_", "\xc8", ".lock", "\xc9", "static_", "\xca")

	var names, markers, seqs []byte
	for i, s := range syms {
		if i%256 == 0 {
			markers = binary.LittleEndian.AppendUint32(markers, uint32(len(names)))
		}
		code := string(s.Type) + compress.Replace(s.Name)
		if len(code) < 128 {
			names = append(names, byte(len(code)))
		} else {
			names = append(names, byte(len(code)&0x7f|0x80), byte(len(code)>>7))
		}
		names = append(names, code...)
		seqs = append(seqs, 0, byte(i>>8), byte(i))
	}

	var out []byte
	put := func(b []byte) { out = append(append(out, b...), make([]byte, alignUp(len(b), l.align)-len(b))...) }
	putAddrs := func() {
		var b []byte
		for _, s := range syms {
			switch l.encoding {
			case "percpu":
				off := int32(s.Addr)
				if s.Addr >= fakeBase {
					off = int32(-1 - int64(s.Addr-fakeBase))
				}
				b = binary.LittleEndian.AppendUint32(b, uint32(off))
			case "relative":
				b = binary.LittleEndian.AppendUint32(b, uint32(s.Addr-fakeBase))
			case "place":
				b = binary.LittleEndian.AppendUint32(b, uint32(s.Addr-at-uint64(len(out)+len(b))))
			case "absolute":
				b = binary.LittleEndian.AppendUint64(b, s.Addr)
			}
		}
		put(b)
		if l.encoding == "percpu" || l.encoding == "relative" {
			put(binary.LittleEndian.AppendUint64(nil, fakeBase))
		}
	}
	if !l.after {
		putAddrs()
	}
	put(binary.LittleEndian.AppendUint32(nil, uint32(len(syms))))
	put(names)
	put(markers)
	if l.seqs && !l.after {
		put(seqs)
	}
	put(table)
	put(index)
	if l.after {
		putAddrs()
		if l.seqs {
			put(seqs)
		}
	}
	return out
}

// fakeTypes returns a small BTF with all kinds of fields that lookups support.
func fakeTypes(t testing.TB) []byte {
	t.Helper()
	u32 := &btf.Int{Name: "unsigned int", Size: 4}
	u64 := &btf.Int{Name: "unsigned long", Size: 8}
	char := &btf.Int{Name: "char", Size: 1, Encoding: btf.Signed}
	spinlock := &btf.Struct{Name: "fakelock", Size: 4, Members: []btf.Member{
		{Type: &btf.Union{Size: 4, Members: []btf.Member{
			{Name: "val", Type: u32},
			{Type: &btf.Struct{Size: 2, Members: []btf.Member{
				{Name: "locked", Type: char},
				{Name: "pending", Type: char, Offset: 8},
			}}},
		}}},
	}}
	task := &btf.Struct{Name: "task_struct", Size: 96, Members: []btf.Member{
		{Name: "__state", Type: &btf.Volatile{Type: u32}},
		{Name: "lock", Type: &btf.Typedef{Name: "fakelock_t", Type: spinlock}, Offset: 32},
		{Name: "next", Type: &btf.Pointer{Target: u64}, Offset: 64},
		{Name: "comm", Type: &btf.Array{Index: u32, Type: char, Nelems: 16}, Offset: 128},
		{Name: "flag_a", Type: u32, Offset: 256, BitfieldSize: 3},
		{Name: "flag_b", Type: u32, Offset: 259, BitfieldSize: 7},
		{Name: "locks", Type: &btf.Array{Index: u32, Type: spinlock, Nelems: 4}, Offset: 288},
		{Name: "tail", Type: &btf.Array{Index: u32, Type: u64, Nelems: 0}, Offset: 768},
	}}
	state := &btf.Enum{Name: "fake_state", Size: 4, Signed: true, Values: []btf.EnumValue{
		{Name: "FAKE_BAD", Value: 0xffffffffffffffff}, {Name: "FAKE_RUN", Value: 7},
	}}
	clash1 := &btf.Struct{Name: "clash", Size: 8, Members: []btf.Member{{Name: "same", Type: u32},
		{Name: "moved", Type: u32, Offset: 32}}}
	clash2 := &btf.Struct{Name: "clash", Size: 16, Members: []btf.Member{{Name: "same", Type: u32},
		{Name: "moved", Type: u32, Offset: 64}, {Name: "only", Type: u64, Offset: 64}}}
	enum2 := &btf.Enum{Size: 4, Values: []btf.EnumValue{{Name: "FAKE_CLASH", Value: 1}}}
	enum3 := &btf.Enum{Size: 4, Values: []btf.EnumValue{{Name: "FAKE_CLASH", Value: 2}}}
	enum4 := &btf.Enum{Name: "one", Size: 4, Values: []btf.EnumValue{{Name: "FAKE_MOVED", Value: 4}}}
	enum5 := &btf.Enum{Name: "two", Size: 4, Values: []btf.EnumValue{{Name: "FAKE_MOVED", Value: 5}}}
	b, err := btf.NewBuilder([]btf.Type{task, &btf.Typedef{Name: "fakelock_t", Type: spinlock}, state, clash1, clash2,
		enum2, enum3, enum4, enum5}, nil)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := b.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

// fakeNote returns a PT_NOTE for Xen. Its last byte is zero, like that of Linux's.
func fakeNote() []byte {
	b := binary.LittleEndian.AppendUint32(nil, 4)
	b = binary.LittleEndian.AppendUint32(b, 8)
	b = binary.LittleEndian.AppendUint32(b, 18) // XEN_ELFNOTE_PHYS32_ENTRY
	b = append(b, "Xen\x00"...)
	return binary.LittleEndian.AppendUint64(b, 0x1000b20)
}

// fakeKernel returns an ELF image with everything that Read needs. Only symbols point
// to the BTF.
func fakeKernel(t testing.TB, l kallsymsLayout) ([]byte, []Symbol) {
	t.Helper()
	syms := fakeSymbols(l)
	data := bytes.Repeat([]byte{0xe8, 0x10, 0x20, 0, 0, 0x90, 0x90, 0x90}, 64) // calls, which the x86 filter of xz changes
	early := strings.Replace(fakeBanner, "#1", "#", 1)                         // newer kernels have one of these as well
	data = append(data, "Linux version %s\x00"+early+"\n\x00"...)
	banner := len(data)
	data = append(data, fakeBanner+"\n\x00"...)
	note := len(data)
	data = append(data, fakeNote()...)
	data = append(data, make([]byte, alignUp(len(data), 8)-len(data))...)
	start := len(data)
	data = append(data, fakeTypes(t)...)
	stop := len(data)
	data = append(data, make([]byte, alignUp(len(data), 8)-len(data))...)
	syms = append(syms,
		Symbol{Name: "linux_banner", Addr: fakeBase + uint64(banner), Type: 'R'},
		Symbol{Name: "__start_BTF", Addr: fakeBase + uint64(start), Type: 'R'},
		Symbol{Name: "__stop_BTF", Addr: fakeBase + uint64(stop), Type: 'R'})
	slices.SortStableFunc(syms, func(a, b Symbol) int { return cmp.Compare(a.Addr, b.Addr) })
	data = append(data, make([]byte, l.align%8)...) // with the layout's alignment, and no larger one
	data = append(data, fakeKallsyms(l, syms, fakeBase+uint64(len(data)))...)
	data = append(data, make([]byte, 5000)...)
	perCPU := append(bytes.Repeat([]byte{7}, 100), make([]byte, 100)...)

	return fakeELF(t, []elf.Prog64{
		{Type: uint32(elf.PT_LOAD), Flags: 5, Vaddr: fakeBase, Paddr: 0x1000000, Memsz: uint64(len(data)), Align: 2 << 20},
		{Type: uint32(elf.PT_LOAD), Flags: 6, Vaddr: 0, Paddr: 0x3000000, Memsz: 0x3000, Align: 2 << 20},
		{Type: uint32(elf.PT_LOAD), Flags: 6, Vaddr: fakeBase + 0x900000, Paddr: 0x1900000, Memsz: 0x1000, Align: 2 << 20},
		{Type: uint32(elf.PT_NOTE), Vaddr: fakeBase + uint64(note), Paddr: 0x1000000 + uint64(note), Off: uint64(note),
			Filesz: uint64(len(fakeNote())), Memsz: uint64(len(fakeNote())), Align: 4},
	}, [][]byte{data, perCPU, nil, nil}), syms
}

// fakeELF makes an ELF file with segments at multiples of 64 KiB, like a linker with
// p_align. A program header without data points into the first segment, at Off.
func fakeELF(t testing.TB, progs []elf.Prog64, data [][]byte) []byte {
	t.Helper()
	h := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Entry: 0x1000043, Phoff: 64,
		Ehsize: 64, Phentsize: 56, Phnum: uint16(len(progs))}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	var body []byte
	const page = 64 << 10
	for i := range progs {
		if data[i] == nil && progs[i].Type == uint32(elf.PT_NOTE) {
			progs[i].Off += page
			continue
		}
		progs[i].Off = page + uint64(len(body))
		progs[i].Filesz = uint64(len(data[i]))
		body = append(body, data[i]...)
		body = append(body, make([]byte, (page-len(body)%page)%page)...)
	}
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, h); err != nil {
		t.Fatal(err)
	}
	if err := binary.Write(&b, binary.LittleEndian, progs); err != nil {
		t.Fatal(err)
	}
	b.Write(make([]byte, page-b.Len()))
	b.Write(body)
	return b.Bytes()
}

// fakeBzImage returns a bzImage with the payload. The size is appended for formats
// that do not contain it.
func fakeBzImage(payload []byte, size int, appendSize bool) []byte {
	const sects = 3
	b := make([]byte, (sects+1)*512)
	payload = slices.Clone(payload)
	if appendSize {
		payload = binary.LittleEndian.AppendUint32(payload, uint32(size))
	}
	b[bootSetupSects] = sects
	copy(b[bootMagic:], "HdrS")
	binary.LittleEndian.PutUint16(b[bootVersion:], 0x20f)
	binary.LittleEndian.PutUint32(b[bootPayloadOffset:], 0x2c)
	binary.LittleEndian.PutUint32(b[bootPayloadLength:], uint32(len(payload)))
	b = append(b, make([]byte, 0x2c)...)
	return append(append(b, payload...), make([]byte, 77)...)
}
