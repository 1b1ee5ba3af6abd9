package kernel

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// slideUnit divides every slide: CONFIG_PHYSICAL_ALIGN, at least 2 MiB on x86-64.
	slideUnit = 2 << 20
	// maxSlide is the size of the kernel's part of the address space:
	// KERNEL_IMAGE_SIZE, 1 GiB.
	maxSlide = 1 << 30
)

// Relocations are the positions in an uncompressed kernel that contain an address. The
// kernel's own boot loader needs them to move the kernel (KASLR). They are behind the
// ELF file in the payload of a vmlinuz: three lists of addresses, 4 bytes each,
// sign-extended, with a zero before every list:
//
//	64-bit positions, to which the slide is added
//	32-bit positions, from which it is subtracted; no such list since Linux 6.15
//	32-bit positions, to which it is added
//
// (arch/x86/tools/relocs.c writes and arch/x86/boot/compressed/misc.c reads them.)
type Relocations struct {
	add64, sub32, add32 []byte
}

// ErrNoRelocations reports that a kernel cannot be moved: it has no relocations, or
// they were cut off.
var ErrNoRelocations = errors.New("no relocations behind the kernel's ELF file")

// TrailingRelocations returns the bytes behind the ELF file in the result of
// [ExtractELF], for ReadRelocations. They share memory with it.
func TrailingRelocations(extracted []byte) ([]byte, error) {
	end, err := elfEnd(extracted)
	if err != nil {
		return nil, err
	}
	table := extracted[end:]
	if len(table) < 12 {
		return nil, ErrNoRelocations
	}
	if _, err := ReadRelocations(table); err != nil {
		return nil, err
	}
	return table, nil
}

// elfEnd returns the length of the ELF file: the end of its last section, segment or
// table of headers.
func elfEnd(b []byte) (uint64, error) {
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return 0, fmt.Errorf("parse kernel ELF: %w", err)
	}
	var h elf.Header64
	if err := binary.Read(bytes.NewReader(b), binary.LittleEndian, &h); err != nil {
		return 0, fmt.Errorf("parse kernel ELF: %w", err)
	}
	end := h.Phoff + uint64(h.Phentsize)*uint64(h.Phnum)
	end = max(end, h.Shoff+uint64(h.Shentsize)*uint64(h.Shnum))
	for _, p := range f.Progs {
		end = max(end, p.Off+p.Filesz)
	}
	for _, s := range f.Sections {
		if s.Type != elf.SHT_NOBITS && s.Type != elf.SHT_NULL {
			end = max(end, s.Offset+s.FileSize)
		}
	}
	if end > uint64(len(b)) {
		return 0, errors.New("parse kernel ELF: it ends behind the end of the file; it is cut off")
	}
	return end, nil
}

// ReadRelocations reads a table. The Relocations share memory with it.
func ReadRelocations(table []byte) (Relocations, error) {
	rest := table
	var lists [][]byte
	for len(rest) >= 4 {
		// A list begins behind a zero.
		start := len(rest)
		for start >= 4 && binary.LittleEndian.Uint32(rest[start-4:]) != 0 {
			start -= 4
		}
		if start < 4 {
			break // padding before the first zero, or the end of an ELF file
		}
		lists = append(lists, rest[start:])
		rest = rest[:start-4]
		if len(lists) == 3 {
			break
		}
	}
	switch len(lists) {
	case 2:
		return Relocations{add32: lists[0], add64: lists[1]}, nil
	case 3:
		return Relocations{add32: lists[0], sub32: lists[1], add64: lists[2]}, nil
	}
	return Relocations{}, fmt.Errorf("%w: %d lists, want 2 or 3", ErrNoRelocations, len(lists))
}

// Relocate returns a copy of a kernel, moved up by slide bytes in its virtual and its
// physical address space, as if it had been linked there. The slide is a multiple of
// 2 MiB below 1 GiB.
//
// KASLR does the same, but moves the two address spaces by different distances. The
// page tables with which a PVH guest starts need one distance.
//
// A hypervisor that starts a kernel at its PVH entry skips the kernel's loader, and
// with it KASLR. Relocate takes its place. It also changes the notes with the address
// of the entry.
func Relocate(kernelELF []byte, r Relocations, slide uint64) ([]byte, error) {
	fail := func(err error) ([]byte, error) { return nil, fmt.Errorf("relocate kernel by %#x: %w", slide, err) }
	if slide%slideUnit != 0 || slide >= maxSlide {
		return fail(fmt.Errorf("a slide is a multiple of %#x below %#x", slideUnit, maxSlide))
	}
	out := bytes.Clone(kernelELF)
	img, err := parseImage(out)
	if err != nil {
		return fail(err)
	}
	// By physical address: the segment of per-CPU variables has the virtual address 0,
	// and the table has its positions as if it were not so.
	physical := func(at, n uint64) []byte {
		for _, p := range img.file.Progs {
			if p.Type == elf.PT_LOAD && at >= p.Paddr && at-p.Paddr < p.Filesz && n <= p.Filesz-(at-p.Paddr) {
				return out[p.Off+at-p.Paddr:][:n]
			}
		}
		return nil
	}
	le := binary.LittleEndian
	for _, list := range []struct {
		places []byte
		size   uint64
		by     uint64
	}{{r.add64, 8, slide}, {r.sub32, 4, -slide}, {r.add32, 4, slide}} {
		for p := list.places; len(p) >= 4; p = p[4:] {
			at := uint64(int64(int32(le.Uint32(p))))
			b := physical(at-kernelMap, list.size)
			if b == nil {
				return fail(fmt.Errorf("position %#x is not in the image: the relocations are another kernel's", at))
			}
			if list.size == 8 {
				le.PutUint64(b, le.Uint64(b)+list.by)
			} else {
				le.PutUint32(b, le.Uint32(b)+uint32(list.by))
			}
		}
	}
	phoff := le.Uint64(out[32:]) // e_phoff, which the parser has checked
	entries := 0
	for i, p := range img.file.Progs {
		if p.Type == elf.PT_NOTE {
			n, err := moveNotes(out[p.Off:p.Off+p.Filesz], slide)
			if err != nil {
				return fail(err)
			}
			entries += n
		}
		if p.Type == elf.PT_LOAD || p.Type == elf.PT_NOTE {
			head := out[phoff+56*uint64(i):]
			if p.Vaddr >= kernelMap { // not per-CPU variables at 0
				le.PutUint64(head[16:], p.Vaddr+slide)
			}
			le.PutUint64(head[24:], p.Paddr+slide)
		}
	}
	if entries == 0 {
		return fail(errors.New("it has no note with a PVH entry"))
	}
	le.PutUint64(out[24:], img.file.Entry+slide)
	return out, nil
}

// Types of Xen's notes whose value is an address in the kernel
// (xen/include/public/elfnote.h). The last is the physical address of the PVH entry.
const (
	noteEntry         = 1
	noteHypercallPage = 2
	notePhys32Entry   = 18
)

// moveNotes moves the addresses in Xen's notes, and returns the number of PVH entries.
// The kernel's relocations do not include these addresses.
func moveNotes(b []byte, slide uint64) (entries int, err error) {
	le := binary.LittleEndian
	for len(b) >= 12 {
		name, desc, kind := uint64(le.Uint32(b)), uint64(le.Uint32(b[4:])), le.Uint32(b[8:])
		descAt := 12 + (name+3)&^3
		end := descAt + (desc+3)&^3
		if end > uint64(len(b)) {
			return entries, errors.New("its notes are damaged")
		}
		address := kind == noteEntry || kind == noteHypercallPage || kind == notePhys32Entry
		if string(b[12:12+name]) == "Xen\x00" && address {
			switch desc {
			case 8:
				le.PutUint64(b[descAt:], le.Uint64(b[descAt:])+slide)
			case 4:
				le.PutUint32(b[descAt:], le.Uint32(b[descAt:])+uint32(slide))
			default:
				return entries, fmt.Errorf("one of Xen's notes has an address of %d bytes", desc)
			}
			if kind == notePhys32Entry {
				entries++
			}
		}
		b = b[end:]
	}
	return entries, nil
}

// PhysicalEnd returns the first guest-physical address behind the loaded kernel.
func PhysicalEnd(kernelELF []byte) (uint64, error) {
	img, err := parseImage(kernelELF)
	if err != nil {
		return 0, err
	}
	var end uint64
	for _, p := range img.file.Progs {
		if p.Type == elf.PT_LOAD {
			end = max(end, p.Paddr+p.Memsz)
		}
	}
	return end, nil
}
