package linux

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Memory is the guest's physical memory.
type Memory interface {
	// ReadPhysical fills b from the guest-physical address gpa.
	ReadPhysical(gpa uint64, b []byte) error
}

// ErrNotMapped says that a virtual address has no page behind it.
var ErrNotMapped = errors.New("virtual address is not mapped in the guest")

// Space is a virtual address space of the guest: a root of four-level or
// five-level x86-64 page tables. Any number of goroutines may use it.
type Space struct {
	mem    Memory
	root   uint64
	levels int
}

// NewSpace returns the address space whose root is in CR3. la57 is CR4 bit 12: page
// tables have five levels.
func NewSpace(mem Memory, cr3 uint64, la57 bool) *Space {
	levels := 4
	if la57 {
		levels = 5
	}
	return &Space{mem: mem, root: cr3 & addrMask, levels: levels}
}

const (
	present  = 1 << 0
	pageSize = 1 << 7               // an entry of level 2 or 3 that maps a large page
	addrMask = (1<<52 - 1) &^ 0xfff // bits 12 to 51 (Intel SDM volume 3, 4.5)
)

// Translate returns the guest-physical address of va. It reads at most five entries,
// whatever the tables hold.
func (s *Space) Translate(va uint64) (uint64, error) {
	gpa, _, err := s.walk(va, new([8]byte))
	return gpa, err
}

// walk is Translate with the caller's scratch space. It also returns how many low
// bits of va are the offset in the page: 12, 21 or 30.
func (s *Space) walk(va uint64, scratch *[8]byte) (gpa uint64, bits int, err error) {
	table := s.root
	for level := s.levels; ; level-- {
		shift := 12 + 9*(level-1)
		if err := s.mem.ReadPhysical(table+8*(va>>shift&511), scratch[:]); err != nil {
			return 0, 0, fmt.Errorf("walk the guest's page tables for %#x, level %d: %w", va, level, err)
		}
		e := binary.LittleEndian.Uint64(scratch[:])
		if e&present == 0 {
			return 0, 0, fmt.Errorf("%#x, level %d: %w", va, level, ErrNotMapped)
		}
		if level == 1 || (level <= 3 && e&pageSize != 0) {
			offset := uint64(1)<<shift - 1
			return e&addrMask&^offset | va&offset, shift, nil
		}
		table = e & addrMask
	}
}

// Read fills b from the virtual address va, page by page.
func (s *Space) Read(va uint64, b []byte) error {
	for len(b) > 0 {
		gpa, err := s.Translate(va)
		if err != nil {
			return err
		}
		n := min(len(b), int(0x1000-va&0xfff))
		if err := s.mem.ReadPhysical(gpa, b[:n]); err != nil {
			return fmt.Errorf("read guest memory at %#x: %w", va, err)
		}
		b, va = b[n:], va+uint64(n)
	}
	return nil
}

// CheckBanner returns an error unless the symbols belong to the running kernel: the
// text at linux_banner in guest memory must be the banner of the kernel image.
func CheckBanner(s *Space, bannerVA uint64, want string) error {
	if len(want) < 16 || len(want) > 512 {
		return fmt.Errorf("kernel banner %.40q is not usable as proof", want)
	}
	got := make([]byte, len(want))
	if err := s.Read(bannerVA, got); err != nil {
		return fmt.Errorf("check that the symbols fit the guest's kernel: %w", err)
	}
	if !bytes.Equal(got, []byte(want)) {
		return fmt.Errorf("the symbols do not fit the guest's kernel: it has %.60q where %.60q should be", got, want)
	}
	return nil
}
