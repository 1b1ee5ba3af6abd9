package linux

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"hangbench/monitor/driver"
)

// kernelMap is the address from which on Linux maps its image, in a part of the address
// space that is maxSlide bytes long (Documentation/arch/x86/x86_64/mm.rst). Modules lie
// above that part; those of a kernel without CONFIG_RANDOMIZE_BASE lie in its upper half.
const kernelMap = 0xffffffff80000000

// maxImage bounds the bytes of an image that are read. Images of distributions have 25 to
// 80 MB, of which 10 to 25 MB are constants.
const maxImage = 128 << 20

// A Segment is a piece of a kernel's image in guest memory.
type Segment struct {
	Addr uint64 // virtual address, a multiple of 4096
	Data []byte
}

// An Image says where the image of a guest's kernel lies in its memory.
type Image struct {
	mem   Memory
	pages []imagePage // by ascending address
}

// imagePage is a page of an image, of 4 KiB or 2 MiB.
type imagePage struct {
	va, gpa, size uint64
	constant      bool // neither writable nor executable
}

// FindImage finds the image of the guest's kernel without knowing that kernel. regs are
// the registers of the vCPUs; those of one suffice. The entry of system calls (LSTAR) or
// the interrupt table tells that there is a kernel. Its page tables, of which FindImage
// reads at most 516, tell which pages it has.
//
// The error says that no vCPU leads to a kernel, or is that of ctx if it ended first.
func FindImage(ctx context.Context, mem Memory, regs ...driver.Registers) (*Image, error) {
	var errs []error
	for i := range regs {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("find the image of the guest's kernel: %w", err)
		}
		r := &regs[i]
		if r.CR3&addrMask == 0 {
			errs = append(errs, fmt.Errorf("vCPU %d: %w", i, errNoTables))
			continue
		}
		for _, root := range roots(r) {
			img := &Image{mem: mem}
			err := img.find(NewSpace(mem, root, la57(r)), r)
			if err == nil {
				return img, nil
			}
			errs = append(errs, fmt.Errorf("vCPU %d, page tables at %#x: %w", i, root&addrMask, err))
		}
	}
	return nil, fmt.Errorf("find the image of the guest's kernel: %w", errors.Join(errs...))
}

// find finds the pages of the image, if the kernel's entry is one of them.
func (img *Image) find(s *Space, r *driver.Registers) error {
	entry := r.LSTAR
	if entry < kernelHalf {
		var err error
		if entry, err = gate(s, r.IDTBase, pageFault); err != nil {
			return fmt.Errorf("no entry of system calls is set, and no handler of page faults: %w", err)
		}
	}
	if entry-kernelMap >= maxSlide {
		return fmt.Errorf("the kernel is entered at %#x, where no image of Linux lies", entry)
	}
	if _, err := s.Translate(entry); err != nil {
		return fmt.Errorf("the kernel's entry: %w", err)
	}
	var entries [8]byte
	table := s.root
	for level := s.levels; level > 2; level-- {
		at := table + 8*(kernelMap>>(12+9*(level-1))&511)
		if err := s.mem.ReadPhysical(at, entries[:]); err != nil {
			return fmt.Errorf("walk the guest's page tables, level %d: %w", level, err)
		}
		e := binary.LittleEndian.Uint64(entries[:])
		if level == 3 && e&pageSize != 0 {
			return errors.New("the image is one page of 1 GiB, which Linux never uses for it")
		}
		table = e & addrMask
	}
	// A table that cannot be read maps nothing that can be: the guest has given it back.
	img.addTable(table, kernelMap, 2<<20)
	return nil
}

// addTable adds the pages that a table maps from va on. size is that of the memory that
// one of its entries maps.
func (img *Image) addTable(table, va, size uint64) {
	const writable, noExecute = 1 << 1, 1 << 63 // set by Linux in the last level only
	var b [0x1000]byte
	if img.mem.ReadPhysical(table, b[:]) != nil {
		return
	}
	for i := range uint64(len(b) / 8) {
		e, at := binary.LittleEndian.Uint64(b[8*i:]), va+i*size
		switch {
		case e&present == 0:
		case size > 0x1000 && e&pageSize == 0:
			img.addTable(e&addrMask, at, 0x1000)
		default:
			img.pages = append(img.pages, imagePage{at, e & addrMask &^ (size - 1), size,
				e&writable == 0 && e&noExecute != 0})
		}
	}
}

// Read reads the image's constants: the pages that are neither writable nor executable,
// where a kernel that has booted has its strings and tables. With all it reads every
// page. Pages that cannot be read are left out; of those that follow each other a segment
// is made. The error says that the pages have more than 128 MiB, or is that of ctx if it
// ended first. The segments are copies: nothing of the guest stays mapped for them.
func (img *Image) Read(ctx context.Context, all bool) ([]Segment, error) {
	var size uint64
	for _, p := range img.pages {
		if all || p.constant {
			size += p.size
		}
	}
	if size > maxImage {
		return nil, fmt.Errorf("read the image of the guest's kernel: it has %d MiB, more than the limit of %d",
			size>>20, maxImage>>20)
	}
	var segs []Segment
	rest := make([]byte, size)
	for _, p := range img.pages {
		if !all && !p.constant {
			continue
		}
		for off := uint64(0); off < p.size; off += 0x1000 {
			if err := ctx.Err(); err != nil {
				return nil, fmt.Errorf("read the image of the guest's kernel: %w", err)
			}
			if img.mem.ReadPhysical(p.gpa+off, rest[:0x1000]) != nil {
				continue
			}
			if n := len(segs); n > 0 && segs[n-1].Addr+uint64(len(segs[n-1].Data)) == p.va+off {
				last := &segs[n-1]
				last.Data = last.Data[:len(last.Data)+0x1000] // rest lies behind it
			} else {
				segs = append(segs, Segment{p.va + off, rest[:0x1000]})
			}
			rest = rest[0x1000:]
		}
	}
	return segs, nil
}
