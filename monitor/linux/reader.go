package linux

import (
	"encoding/binary"
	"fmt"

	"hangbench/results/printable"
)

// reader reads kernel memory without allocating. It translates addresses of the
// direct map by subtraction. Of other addresses it remembers translations by large
// pages. Inspect drops them each time, because vmalloc has large pages too.
type reader struct {
	space   *Space
	scratch [8]byte
	buf     [16]byte
	span    [maxSpan]byte // the piece of a structure that was read last
	large   [256]largePage
	// The direct map: directLen bytes from direct on show all physical memory from
	// address 0 on. directLen is 0 if the map was not found.
	direct, directLen uint64

	// Task names, each made a string once: groups has the strings, and names has their
	// indexes in groups, by the name in memory.
	names  map[string]int32
	groups []group
}

// group is the threads of one name.
type group struct {
	comm string // printable
	walk uint64 // number of the last walk that found one
	size int    // threads in that walk
}

type largePage struct {
	tag uint64 // the address of the page, with bit 0 set; 0 is empty
	gpa uint64
}

// largeBits is the number of address bits in a remembered page: 2 MiB.
const largeBits = 21

// forget drops the remembered translations.
func (r *reader) forget() { clear(r.large[:]) }

// translate returns the guest-physical address of va.
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

// read fills b from va. Pass a slice that is already on the heap: a stack buffer
// would escape and cost an allocation.
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

// maxNames bounds the task names that are kept from one inspection to the next.
const maxNames = 4096

// nameOf returns the name in b, up to its first 0, as a printable line: the guest chose
// it. Each name is made once.
func (r *reader) nameOf(b []byte) string {
	b = trim(b)
	if i, ok := r.names[string(b)]; ok {
		return r.groups[i].comm
	}
	if len(r.groups) >= maxNames {
		return printable.Line(string(b))
	}
	return r.groups[r.addGroup(b)].comm
}

// groupOf returns the index in groups of the name in b.
func (r *reader) groupOf(b []byte) int32 {
	b = trim(b)
	if i, ok := r.names[string(b)]; ok {
		return i
	}
	return r.addGroup(b)
}

// addGroup appends a group and returns its index.
func (r *reader) addGroup(b []byte) int32 {
	s, i := string(b), int32(len(r.groups))
	r.names[s] = i
	r.groups = append(r.groups, group{comm: printable.Line(s)})
	return i
}

// trim returns b up to its first 0.
func trim(b []byte) []byte {
	for i, c := range b {
		if c == 0 {
			return b[:i]
		}
	}
	return b
}
