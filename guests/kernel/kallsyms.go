package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The image's own symbol tables, as scripts/kallsyms.c of the kernel writes
// them into .rodata:
//
//	until 6.3:  offsets, relative_base, num_syms, names, markers, [seqs,] token_table, token_index
//	since 6.4:  num_syms, names, markers, token_table, token_index, offsets, [relative_base,] seqs
//
// Each starts at a multiple of 8 or, in the newest kernels, which have no
// relative_base, of 4. A name is its length, in one byte or (since 6.1) two bytes of
// ULEB128, and that many codes. Each code stands for a string of token_table;
// token_index has the string's start. The first letter is the symbol's type. markers
// holds the position of every 256th name. Nothing points to these tables in an image
// without symbols, but they can be checked against each other: token_index must match
// token_table, markers must match names, and addresses must ascend.

const (
	tokens         = 256
	tokenIndexSize = 2 * tokens
	maxToken       = 512      // longest token, KSYM_NAME_LEN
	maxName        = 512      // with the type letter; KSYM_NAME_LEN counts a NUL instead
	maxNames       = 64 << 20 // of all names together, in bytes; kernels of distributions have 2 to 6 MB
	namesPerMarker = 256

	// minSymbols is so large that there are several markers to check.
	minSymbols = 4 * namesPerMarker
)

// kernelMap is the address at which x86-64 maps the kernel's image: the top 2 GiB.
const kernelMap = 0xffffffff80000000

// errNoKallsyms reports an image without tables.
var errNoKallsyms = errors.New("no kallsyms tables in the image; the kernel needs CONFIG_KALLSYMS=y, " +
	"or its layout is not known")

// kallsyms decodes the symbol tables that a kernel has of itself. It needs neither
// section nor symbol headers, so it also works on the result of [Compact].
func (img *image) kallsyms() (*Symbols, error) {
	err := errNoKallsyms
	for _, seg := range img.segs {
		if seg.addr%8 != 0 {
			continue
		}
		// In the kernels of Debian the search reads a tenth of the segment. In a hostile one
		// every position could look like the beginning of a table.
		scan := &kallsymsScan{data: seg.data, addr: seg.addr, budget: 4 * len(seg.data)}
		for pos := 0; pos+tokenIndexSize <= len(seg.data) && scan.budget > 0; pos += 4 {
			if !scan.tokensAt(pos) {
				continue
			}
			if !scan.findNames() {
				continue
			}
			// These are the tables, so an error from here on is the result.
			s, decodeErr := scan.decode()
			if decodeErr == nil {
				return s, nil
			}
			err = decodeErr
		}
	}
	return nil, err
}

// kallsymsScan searches one segment for the tables. All positions are offsets in
// data.
type kallsymsScan struct {
	data   []byte
	addr   uint64 // of data[0]
	budget int    // number of bytes that the search may still read

	token             [tokens][]byte
	tokenTable        int
	tokenIndex        int
	numSyms, nameData int
	count             int
	align             int // of the tables
}

func alignUp(n, to int) int { return (n + to - 1) &^ (to - 1) }

func (k *kallsymsScan) u16(pos int) int { return int(binary.LittleEndian.Uint16(k.data[pos:])) }
func (k *kallsymsScan) u32(pos int) uint32 {
	return binary.LittleEndian.Uint32(k.data[pos:])
}

// tokensAt reports whether token_index can be at pos, with a token_table before it.
func (k *kallsymsScan) tokensAt(pos int) bool {
	for i, last := 0, -1; i < tokens; i++ {
		v := k.u16(pos + 2*i)
		if v <= last || v > last+maxToken || i == 0 && v != 0 {
			return false
		}
		last = v
	}
	lastToken := k.u16(pos + tokenIndexSize - 2)
	for table := alignUp(pos-lastToken-maxToken, 4); table+lastToken < pos; table += 4 {
		if table >= 0 && k.tokenTableAt(table, pos) {
			k.tokenTable, k.tokenIndex = table, pos
			return true
		}
	}
	return false
}

// tokenTableAt reports whether every token ends at the start of the next one, and
// only padding follows the last.
func (k *kallsymsScan) tokenTableAt(table, index int) bool {
	for i := range tokens {
		start, end := table+k.u16(index+2*i), index
		if i+1 < tokens {
			end = table + k.u16(index+2*i+2)
		}
		n := 0
		for start+n < end && k.data[start+n] > ' ' && k.data[start+n] < 0x7f {
			n++
		}
		k.budget -= n + 1
		k.token[i] = k.data[start : start+n]
		if i+1 < tokens {
			if n != end-start-1 || k.data[start+n] != 0 {
				return false
			}
			continue
		}
		if end-start-n < 1 || end-start-n > 8 {
			return false
		}
		for _, pad := range k.data[start+n : end] {
			if pad != 0 {
				return false
			}
		}
	}
	return true
}

// findNames searches backwards from the token table for num_syms, which is directly
// before the names.
func (k *kallsymsScan) findNames() bool {
	for pos := k.tokenTable - 16; pos >= 0 && k.budget > 0; pos -= 4 {
		k.budget--
		if n := k.u32(pos); n < minSymbols || n > maxSymbols || int(n) > (k.tokenTable-pos)/2 {
			continue
		}
		count, names := int(k.u32(pos)), pos+4
		if k.data[names] == 0 {
			// No name has length 0, so this is padding.
			if pos%8 != 0 || k.u32(names) != 0 {
				continue
			}
			k.align, names = 8, pos+8
		} else {
			// Almost any name looks like a count and a name. But the markers end at the start
			// of the token table, and the first marker is 0.
			k.align = 4
			if first := k.tokenTable - 4*markersFor(count); first < names || k.u32(first) != 0 {
				continue
			}
		}
		if k.namesAt(names, count) {
			k.numSyms, k.nameData, k.count = pos, names, count
			return true
		}
	}
	return false
}

func markersFor(count int) int { return (count + namesPerMarker - 1) / namesPerMarker }

// namesAt reports whether n names begin at start, at the positions that the markers
// behind them give.
func (k *kallsymsScan) namesAt(start, n int) bool {
	marks := make([]uint32, 0, markersFor(n))
	pos := start
	for i := range n {
		if i%namesPerMarker == 0 {
			marks = append(marks, uint32(pos-start))
		}
		codes, next := k.nameAt(pos)
		if len(codes) == 0 {
			k.budget -= pos - start
			return false
		}
		pos = next
	}
	k.budget -= pos - start
	markers := alignUp(pos, k.align)
	if markers+4*len(marks) > k.tokenTable {
		return false
	}
	for i, m := range marks {
		if k.u32(markers+4*i) != m {
			return false
		}
	}
	return true
}

// nameAt returns the codes of the name at pos and the position of the next name. It
// returns no codes if the name does not end before the token table.
func (k *kallsymsScan) nameAt(pos int) (codes []byte, next int) {
	if pos+2 > k.tokenTable {
		return nil, pos
	}
	n := int(k.data[pos])
	pos++
	if n >= 0x80 {
		n = n&0x7f | int(k.data[pos])<<7
		pos++
	}
	if n > k.tokenTable-pos {
		return nil, pos
	}
	return k.data[pos : pos+n], pos + n
}

// decode joins names and addresses.
func (k *kallsymsScan) decode() (*Symbols, error) {
	addrs := k.addresses()
	if addrs == nil {
		return nil, fmt.Errorf("%d names at address %#x, but no table of as many ascending addresses beside them; "+
			"the layout is not known", k.count, k.addr+uint64(k.nameData))
	}
	list := &symbolList{entries: make([]symbolEntry, 0, k.count)}
	var name []byte
	pos := k.nameData
	for _, addr := range addrs {
		var codes []byte
		codes, pos = k.nameAt(pos)
		name = name[:0]
		for _, c := range codes {
			name = append(name, k.token[c]...)
			if len(name) > maxName {
				return nil, fmt.Errorf("symbol at %#x has a name of more than %d bytes", addr, maxName)
			}
		}
		if len(name) < 2 {
			return nil, fmt.Errorf("symbol at %#x has no name", addr)
		}
		if list.add(addr, name[0], name[1:]); len(list.names) > maxNames {
			return nil, fmt.Errorf("the names of its %d symbols have more than %d bytes", k.count, maxNames)
		}
	}
	return list.table(), nil
}

// addresses finds and decodes the table of addresses. It returns nil if no table
// ascends and ends inside the kernel's mapping.
func (k *kallsymsScan) addresses() []uint64 {
	after := alignUp(k.tokenIndex+tokenIndexSize, k.align)
	offsets := alignUp(4*k.count, 8)
	for _, try := range []struct {
		at, size int                               // of the table and one entry
		base     int                               // of relative_base
		decode   func(pos int, base uint64) uint64 // one entry
	}{
		// CONFIG_KALLSYMS_ABSOLUTE_PERCPU (x86-64 until 6.14): addresses of per-CPU symbols
		// unchanged, others counted down from -1.
		{k.numSyms - 8 - offsets, 4, k.numSyms - 8, k.absolutePerCPU},
		{after, 4, after + offsets, k.absolutePerCPU},
		// Offsets from relative_base only.
		{k.numSyms - 8 - offsets, 4, k.numSyms - 8, k.relative},
		{after, 4, after + offsets, k.relative},
		// Offsets from the entry itself, in the newest kernels: no relative_base.
		{after, 4, 0, k.placeRelative},
		// Whole addresses (without CONFIG_KALLSYMS_BASE_RELATIVE).
		{k.numSyms - 8*k.count, 8, 0, k.absolute},
		{after, 8, 0, k.absolute},
	} {
		end := try.at + try.size*k.count
		if try.at < 0 || end > len(k.data) || try.base < 0 || try.base+8 > len(k.data) {
			continue
		}
		base := binary.LittleEndian.Uint64(k.data[try.base:])
		addrs := make([]uint64, 0, k.count)
		last := uint64(0)
		for pos := try.at; pos < end; pos += try.size {
			a := try.decode(pos, base)
			if a < last {
				break
			}
			last = a
			addrs = append(addrs, a)
		}
		if len(addrs) == k.count && last >= kernelMap {
			return addrs
		}
	}
	return nil
}

func (k *kallsymsScan) absolutePerCPU(pos int, base uint64) uint64 {
	if off := int32(k.u32(pos)); off < 0 {
		return base - 1 - uint64(int64(off))
	}
	return uint64(k.u32(pos))
}

func (k *kallsymsScan) relative(pos int, base uint64) uint64 { return base + uint64(k.u32(pos)) }

func (k *kallsymsScan) placeRelative(pos int, _ uint64) uint64 {
	return k.addr + uint64(pos) + uint64(int64(int32(k.u32(pos))))
}

func (k *kallsymsScan) absolute(pos int, _ uint64) uint64 {
	return binary.LittleEndian.Uint64(k.data[pos:])
}
