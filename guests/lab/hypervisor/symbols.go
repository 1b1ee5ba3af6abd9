package hypervisor

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Xen's table of its symbols, as xen/tools/symbols.c writes it:
//
//	offsets, count, names, markers, token_table, token_index
//
// offsets has an address for each symbol, counted from XEN_VIRT_START, in ascending order.
// A name is its length in one byte, and that many codes. Each code stands for a string of
// token_table, whose start is in token_index. The first letter is the symbol's type. The
// symbols that mark the end of a function (since 4.21) have names of no length. markers
// has the position of every 256th name. The numbers have 4 bytes, but 2 in token_index.
// Nothing points to the tables, but they can be checked against each other.
const (
	tokens         = 256
	tokenIndexSize = 2 * tokens
	maxToken       = 500 // KSYM_NAME_LEN
	namesPerMarker = 256

	// minSymbols is so large that there are several markers to check. A Xen has over 6000
	// symbols.
	minSymbols = 2 * namesPerMarker
	maxSymbols = 1 << 20
)

var errNoSymbols = errors.New("it has no table of symbols as Xen has it: it is no image of Xen, or damaged")

// functions finds functions by their names.
func (m memory) functions(names ...string) (*functions, error) {
	for _, s := range m {
		// In the images of Debian the search reads a fraction of the segment. In a hostile one
		// every position could look like the beginning of a table.
		t := &table{segment: s, budget: 8 * len(s.data)}
		for pos := 0; pos+tokenIndexSize <= len(s.data) && t.budget > 0; pos += 2 {
			if !t.tokensAt(pos) || !t.findNames() {
				continue
			}
			found := map[string]uint64{}
			t.each(func(name string, addr uint64) {
				for _, want := range names {
					if name == want {
						found[name] = addr
					}
				}
			})
			for _, name := range names {
				if _, ok := found[name]; !ok {
					return nil, fmt.Errorf("it has %d symbols and no function %s: it is no image of Xen", t.count, name)
				}
			}
			ends := map[string]uint64{}
			t.each(func(_ string, addr uint64) {
				for name, begin := range found {
					if end, ok := ends[name]; addr > begin && (!ok || addr < end) {
						ends[name] = addr
					}
				}
			})
			return &functions{m, found, ends}, nil
		}
	}
	return nil, errNoSymbols
}

// table is a search for the tables in one segment. Positions are offsets in data.
type table struct {
	segment
	budget int // number of bytes that the search may still read

	token      [tokens][]byte
	tokenTable int
	names      int // position of the first name
	count      int
}

func (t *table) u16(pos int) int { return int(binary.LittleEndian.Uint16(t.data[pos:])) }
func (t *table) u32(pos int) uint32 {
	return binary.LittleEndian.Uint32(t.data[pos:])
}

// tokensAt reports whether token_index can be at pos, with token_table before it.
func (t *table) tokensAt(pos int) bool {
	last := 0
	for i := range tokens {
		v := t.u16(pos + 2*i)
		if i == 0 && v != 0 || i > 0 && (v <= last || v > last+maxToken+1) {
			t.budget -= 2 * i
			return false
		}
		last = v
	}
	t.budget -= tokenIndexSize
	// The last token and at least one zero lie between the start of that token and pos.
	for start := pos - last - 2; start >= max(0, pos-last-maxToken-4) && t.budget > 0; start-- {
		if t.tokenTableAt(start, pos) {
			t.tokenTable = start
			return true
		}
	}
	return false
}

// tokenTableAt reports whether every token has letters and ends with a zero where the
// next one starts, and the last one at most 3 bytes before pos.
func (t *table) tokenTableAt(start, pos int) bool {
	for i := range tokens {
		at, end := start+t.u16(pos+2*i), pos
		if i+1 < tokens {
			end = start + t.u16(pos+2*i+2)
		}
		n := 0
		for at+n < end && t.data[at+n] > ' ' && t.data[at+n] < 0x7f {
			n++
		}
		t.budget -= n + 1
		t.token[i] = t.data[at : at+n]
		if i+1 < tokens {
			if n == 0 || end-at != n+1 || t.data[at+n] != 0 {
				return false
			}
			continue
		}
		if n == 0 || end-at < n+1 || end-at > n+4 {
			return false
		}
		for _, pad := range t.data[at+n : end] {
			if pad != 0 {
				return false
			}
		}
	}
	return true
}

// findNames searches backwards from token_table for the count, which is directly before
// the names.
func (t *table) findNames() bool {
	for pos := (t.tokenTable - 8) &^ 3; pos >= 0 && t.budget > 0; pos -= 4 {
		t.budget--
		n := t.u32(pos)
		if n < minSymbols || n > maxSymbols {
			continue
		}
		count := int(n)
		markers := t.tokenTable - 4*markersFor(count)
		if markers <= pos+4 || markers%4 != 0 || t.u32(markers) != 0 || pos < 4*count {
			continue
		}
		if t.namesAt(pos+4, count, markers) && t.ascends(pos-4*count, count) {
			t.names, t.count = pos+4, count
			return true
		}
	}
	return false
}

func markersFor(count int) int { return (count + namesPerMarker - 1) / namesPerMarker }

// namesAt reports whether count names begin at start, at the positions that the markers
// behind them give.
func (t *table) namesAt(start, count, markers int) bool {
	pos := start
	for i := range count {
		if i%namesPerMarker == 0 && int(t.u32(markers+4*(i/namesPerMarker))) != pos-start || pos >= markers {
			t.budget -= pos - start
			return false
		}
		pos += 1 + int(t.data[pos])
	}
	t.budget -= pos - start
	return pos <= markers && markers-pos < 4
}

// ascends reports whether the addresses at pos are in order.
func (t *table) ascends(pos, count int) bool {
	t.budget -= 4 * count
	last := uint32(0)
	for i := range count {
		v := t.u32(pos + 4*i)
		if v < last {
			return false
		}
		last = v
	}
	return true
}

// each calls f for each symbol, without its type. The end of a function has no name.
func (t *table) each(f func(name string, addr uint64)) {
	pos, offsets := t.names, t.names-4-4*t.count
	var name []byte
	for i := range t.count {
		n := int(t.data[pos])
		name = name[:0]
		for _, code := range t.data[pos+1 : pos+1+n] {
			name = append(name, t.token[code]...)
		}
		pos += 1 + n
		f(string(name[min(1, len(name)):]), uint64(t.u32(offsets+4*i)))
	}
}
