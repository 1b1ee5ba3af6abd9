package kernel

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
)

// image is a kernel with its segments in memory.
type image struct {
	file *elf.File // nil for one that runs
	segs []segment
}

// segment is the part of a PT_LOAD segment that is in the file, or a piece of a kernel
// that runs.
type segment struct {
	addr uint64
	data []byte
}

// parseImage checks that b is a loadable 64-bit x86 ELF file.
func parseImage(b []byte) (*image, error) {
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("parse kernel ELF: %w", err)
	}
	if f.Class != elf.ELFCLASS64 || f.Machine != elf.EM_X86_64 {
		return nil, fmt.Errorf("parse kernel ELF: %v %v is not a 64-bit x86 kernel", f.Class, f.Machine)
	}
	img := &image{file: f}
	total := make(map[elf.ProgType]uint64)
	for i, p := range f.Progs {
		if p.Type != elf.PT_LOAD && p.Type != elf.PT_NOTE {
			continue
		}
		if p.Off > uint64(len(b)) || p.Filesz > uint64(len(b))-p.Off {
			return nil, fmt.Errorf("parse kernel ELF: program header %d reaches beyond the end of the file; it is cut off", i)
		}
		// This check keeps the work linear in the size of the file, for any headers.
		if total[p.Type] += p.Filesz; total[p.Type] > uint64(len(b)) || p.Filesz > p.Memsz {
			return nil, fmt.Errorf("parse kernel ELF: program header %d overlaps another or is larger than its memory; "+
				"it is damaged", i)
		}
		if p.Type == elf.PT_LOAD {
			img.segs = append(img.segs, segment{p.Vaddr, b[p.Off : p.Off+p.Filesz]})
		}
	}
	if len(img.segs) == 0 {
		return nil, errors.New("parse kernel ELF: no PT_LOAD segment; an object file or module is no kernel")
	}
	return img, nil
}

// between returns the bytes from address lo up to hi if one segment has all of them.
func (img *image) between(lo, hi uint64) ([]byte, bool) {
	for _, s := range img.segs {
		if end := uint64(len(s.data)); lo >= s.addr && hi >= lo && lo-s.addr <= end && hi-s.addr <= end {
			return s.data[lo-s.addr : hi-s.addr], true
		}
	}
	return nil, false
}
