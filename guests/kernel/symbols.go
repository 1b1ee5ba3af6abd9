package kernel

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sort"
	"strings"
)

// maxSymbols bounds a symbol table. Distribution kernels have 100,000 to
// 250,000 symbols, with modules perhaps twice that.
const maxSymbols = 4 << 20

// zeroBasedPerCPU is the end of the per-CPU symbols in a kernel without a symbol for
// it. They are then offsets from 0, and the static per-CPU area has much less than
// 1 MiB.
const zeroBasedPerCPU = 1 << 20

// A Symbol is a name in the kernel's symbol table.
type Symbol struct {
	Name string
	// Addr is the virtual address. For a per-CPU variable it is the linker's: the copy
	// of CPU n is at Addr + __per_cpu_offset[n]. Before Linux 6.15 such addresses
	// start at 0.
	Addr uint64
	// Size is the distance in bytes to the next symbol with another address, with
	// padding. It is 0 if there is no next symbol.
	Size uint64
	// Type is the letter of nm(1) and /proc/kallsyms. Use it for display only.
	Type byte
	// PerCPU is set for a per-CPU variable.
	PerCPU bool
	// Text is set for code. It depends on the linker's limits of code, if the table
	// has them: in newer kernels, much of the data has the letter T (tasklist_lock in
	// 6.18).
	Text bool
}

// Symbols is a symbol table in the order of addresses. It is immutable: any number of
// goroutines may use it.
//
// Its tables have the form of a profile file, so that reading a profile allocates
// nothing for each symbol.
type Symbols struct {
	addrs  []byte // 64 bits each, ascending
	ends   []byte // 32 bits each: end of the symbol's name in names, and start of the next
	byName []byte // 32 bits each: indices in the order of (name, index)
	types  []byte // one letter each
	names  string

	// The linker's ranges. text is empty if the table lacks its limits.
	perCPU, text, initText, image span
}

// span is a range of addresses, without its end.
type span struct{ start, end uint64 }

func (r span) has(addr uint64) bool { return addr >= r.start && addr < r.end }

// Len returns the number of symbols.
func (s *Symbols) Len() int { return len(s.types) }

func (s *Symbols) addr(i int) uint64 { return binary.LittleEndian.Uint64(s.addrs[8*i:]) }

func (s *Symbols) name(i int) string {
	start := uint32(0)
	if i > 0 {
		start = binary.LittleEndian.Uint32(s.ends[4*i-4:])
	}
	return s.names[start:binary.LittleEndian.Uint32(s.ends[4*i:])]
}

// named returns the index of the i-th symbol in the order of names.
func (s *Symbols) named(i int) int { return int(binary.LittleEndian.Uint32(s.byName[4*i:])) }

// At returns the i-th symbol in the order of addresses, 0 <= i < Len(). Symbols at the
// same address have the kernel's order: the name that the kernel prints is first.
func (s *Symbols) At(i int) Symbol {
	addr := s.addr(i)
	sym := Symbol{
		Name: s.name(i), Addr: addr, Type: s.types[i],
		PerCPU: s.perCPU.has(addr), Text: s.text.has(addr) || s.initText.has(addr),
	}
	if s.text == (span{}) || !s.image.has(addr) {
		// Modules, for example, have only the letter.
		sym.Text = strings.IndexByte("tTwW", sym.Type) >= 0
	}
	// A binary search: a table may have any number of equal addresses.
	next := i + 1 + sort.Search(s.Len()-i-1, func(k int) bool { return s.addr(i+1+k) > addr })
	// The last zero-based symbol does not extend to the kernel's half of the address
	// space.
	if next < s.Len() && !(int64(addr) >= 0 && int64(s.addr(next)) < 0) {
		sym.Size = s.addr(next) - addr
	}
	return sym
}

// Lookup returns the symbol with the given name. If several static symbols have it, it
// returns the one with the lowest address.
func (s *Symbols) Lookup(name string) (Symbol, bool) {
	i := s.firstNamed(name)
	if i == s.Len() || s.name(s.named(i)) != name {
		return Symbol{}, false
	}
	return s.At(s.named(i)), true
}

// firstNamed returns the position in byName of the first symbol with the name, or of
// the next name.
func (s *Symbols) firstNamed(name string) int {
	return sort.Search(s.Len(), func(i int) bool { return s.name(s.named(i)) >= name })
}

// Find returns the symbol that contains an address, and the address's distance in bytes
// from its start. It is exact for code. Of several symbols at one address it returns
// the one that the kernel prints. It does not find per-CPU variables: their addresses
// are not addresses of memory.
func (s *Symbols) Find(addr uint64) (sym Symbol, offset uint64, ok bool) {
	above := sort.Search(s.Len(), func(i int) bool { return s.addr(i) > addr })
	if above == 0 {
		return Symbol{}, 0, false
	}
	start := s.addr(above - 1)
	sym = s.At(sort.Search(above, func(i int) bool { return s.addr(i) >= start }))
	if offset = addr - start; sym.PerCPU || offset > 0 && offset >= sym.Size {
		return Symbol{}, 0, false
	}
	return sym, offset, true
}

// moveDown subtracts a slide of KASLR from the addresses in the kernel's mapping. If
// that would take one out of the mapping it changes nothing and returns false.
func (s *Symbols) moveDown(by uint64) bool {
	first := sort.Search(s.Len(), func(i int) bool { return s.addr(i) >= kernelMap })
	if first < s.Len() && s.addr(first)-kernelMap < by {
		return false
	}
	for i := first; i < s.Len(); i++ {
		binary.LittleEndian.PutUint64(s.addrs[8*i:], s.addr(i)-by)
	}
	s.finish()
	return true
}

// finish computes the fields that are not stored.
func (s *Symbols) finish() *Symbols {
	between := func(start, end string, otherwise span) span {
		from, ok := s.Lookup(start)
		to, ok2 := s.Lookup(end)
		if !ok || !ok2 || from.Addr >= to.Addr {
			return otherwise
		}
		return span{from.Addr, to.Addr}
	}
	s.perCPU = between("__per_cpu_start", "__per_cpu_end", span{0, zeroBasedPerCPU})
	s.image = between("_text", "_end", span{})
	s.initText = between("_sinittext", "_einittext", span{})
	s.text = between("_stext", "_etext", span{})
	return s
}

// symbolList is a list of symbols in any order.
type symbolList struct {
	entries []symbolEntry
	names   []byte
}

type symbolEntry struct {
	addr       uint64
	start, end uint32 // of the name in names
	kind       byte
}

func (l *symbolList) add(addr uint64, kind byte, name []byte) {
	start := uint32(len(l.names))
	l.names = append(l.names, name...)
	l.entries = append(l.entries, symbolEntry{addr, start, uint32(len(l.names)), kind})
}

// table returns the sorted table. Symbols at the same address keep their order.
func (l *symbolList) table() *Symbols {
	slices.SortStableFunc(l.entries, func(a, b symbolEntry) int { return cmp.Compare(a.addr, b.addr) })
	n := len(l.entries)
	s := &Symbols{
		addrs: make([]byte, 0, 8*n), ends: make([]byte, 0, 4*n),
		byName: make([]byte, 0, 4*n), types: make([]byte, 0, n),
	}
	names := make([]byte, 0, len(l.names))
	for _, e := range l.entries {
		names = append(names, l.names[e.start:e.end]...)
		s.addrs = binary.LittleEndian.AppendUint64(s.addrs, e.addr)
		s.ends = binary.LittleEndian.AppendUint32(s.ends, uint32(len(names)))
		s.types = append(s.types, e.kind)
	}
	s.names = string(names)
	order := make([]uint32, n)
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(a, b uint32) int {
		return cmp.Or(cmp.Compare(s.name(int(a)), s.name(int(b))), cmp.Compare(a, b))
	})
	for _, i := range order {
		s.byName = binary.LittleEndian.AppendUint32(s.byName, i)
	}
	return s.finish()
}
