package linux

import (
	"encoding/binary"
	"fmt"
)

// reader reads kernel memory without allocating. Addresses of the direct map it
// translates by subtraction, and of the others it remembers translations by large
// pages. Those are dropped with every Look, as vmalloc has large pages too.
type reader struct {
	space   *Space
	scratch [8]byte
	buf     [16]byte
	span    [maxSpan]byte // what was read last of a structure
	large   [256]largePage
	// The direct map: directLen bytes from direct on are all physical memory, from
	// address 0 on; none if it could not be found.
	direct, directLen uint64

	// Task names met, so that they are made once: groups has the strings, and names
	// where in groups they are.
	names  map[string]int32
	groups []group
}

// group is the threads of one name.
type group struct {
	comm string
	look uint64 // the look that met it last
	size int    // then
}

type largePage struct {
	tag uint64 // va without the bits in the page, with bit 0 set; 0 is empty
	gpa uint64
}

// largeBits is the size in which large pages are remembered: 2 MiB.
const largeBits = 21

func (r *reader) forget() { clear(r.large[:]) }

func (r *reader) translate(va uint64) (uint64, error) {
	if off := va - r.direct; off < r.directLen {
		return off, nil
	}
	tag := va>>largeBits<<largeBits | 1
	e := &r.large[va>>largeBits%uint64(len(r.large))]
	if e.tag == tag {
		return e.gpa | va&(1<<largeBits-1), nil
	}
	gpa, bits, err := r.space.walk(va, &r.scratch)
	if err != nil {
		return 0, err
	}
	if bits >= largeBits {
		*e = largePage{tag, gpa >> largeBits << largeBits}
	}
	return gpa, nil
}

// read fills b, which must belong to the heap for not to be moved there.
func (r *reader) read(va uint64, b []byte) error {
	for {
		gpa, err := r.translate(va)
		if err != nil {
			return err
		}
		n := min(len(b), int(0x1000-va&0xfff))
		if err := r.space.mem.ReadPhysical(gpa, b[:n]); err != nil {
			return fmt.Errorf("read guest memory at %#x: %w", va, err)
		}
		if b, va = b[n:], va+uint64(n); len(b) == 0 {
			return nil
		}
	}
}

func (r *reader) u64(va uint64) (uint64, error) {
	err := r.read(va, r.buf[:8])
	return binary.LittleEndian.Uint64(r.buf[:8]), err
}

func (r *reader) u32(va uint64) (uint32, error) {
	err := r.read(va, r.buf[:4])
	return binary.LittleEndian.Uint32(r.buf[:4]), err
}

// maxNames bounds the task names that are kept from one look to the next.
const maxNames = 4096

// nameOf is the string in b up to its first 0, made once for each name.
func (r *reader) nameOf(b []byte) string {
	b = trim(b)
	if i, ok := r.names[string(b)]; ok {
		return r.groups[i].comm
	}
	if len(r.groups) >= maxNames {
		return string(b)
	}
	return r.groups[r.addGroup(b)].comm
}

// groupOf is the place in groups of the name in b.
func (r *reader) groupOf(b []byte) int32 {
	b = trim(b)
	if i, ok := r.names[string(b)]; ok {
		return i
	}
	return r.addGroup(b)
}

func (r *reader) addGroup(b []byte) int32 {
	s, i := string(b), int32(len(r.groups))
	r.names[s] = i
	r.groups = append(r.groups, group{comm: s})
	return i
}

func trim(b []byte) []byte {
	for i, c := range b {
		if c == 0 {
			return b[:i]
		}
	}
	return b
}
