package linux

import (
	"encoding/binary"
	"fmt"
)

// reader reads kernel memory without allocating, and remembers translations by
// large pages: Linux maps all memory so, and never elsewhere later. They are
// dropped with every Look all the same, as vmalloc has large pages too.
type reader struct {
	space   *Space
	scratch [8]byte
	buf     [16]byte
	irqs    [maxIRQs]byte
	large   [256]largePage

	names map[string]string // task names met, so that they are made once
}

type largePage struct {
	tag uint64 // va without the bits in the page, with bit 0 set; 0 is empty
	gpa uint64
}

// largeBits is the size in which large pages are remembered: 2 MiB.
const largeBits = 21

func (r *reader) forget() { clear(r.large[:]) }

func (r *reader) translate(va uint64) (uint64, error) {
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
	for len(b) > 0 {
		gpa, err := r.translate(va)
		if err != nil {
			return err
		}
		n := min(len(b), int(0x1000-va&0xfff))
		if err := r.space.mem.ReadPhysical(gpa, b[:n]); err != nil {
			return fmt.Errorf("read guest memory at %#x: %w", va, err)
		}
		b, va = b[n:], va+uint64(n)
	}
	return nil
}

func (r *reader) u64(va uint64) (uint64, error) {
	err := r.read(va, r.buf[:8])
	return binary.LittleEndian.Uint64(r.buf[:8]), err
}

func (r *reader) u32(va uint64) (uint32, error) {
	err := r.read(va, r.buf[:4])
	return binary.LittleEndian.Uint32(r.buf[:4]), err
}

// maxNames bounds the task names that are kept.
const maxNames = 4096

// comm reads a task's name: TASK_COMM_LEN is 16 and the last byte 0.
func (r *reader) comm(va uint64) (string, error) {
	b := r.buf[:16]
	if err := r.read(va, b); err != nil {
		return "", err
	}
	return r.name(b), nil
}

// name is the string in b up to its first 0, made once for each name.
func (r *reader) name(b []byte) string {
	for i, c := range b {
		if c == 0 {
			b = b[:i]
			break
		}
	}
	if s, ok := r.names[string(b)]; ok {
		return s
	}
	if len(r.names) >= maxNames {
		clear(r.names)
	}
	s := string(b)
	r.names[s] = s
	return s
}
