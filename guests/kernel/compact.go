package kernel

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
)

// pageSize is the unit in which loaders may map a segment.
const pageSize = 4096

// Compact returns a smaller kernel file, for a slow boot loader. The program headers
// keep their addresses, memory sizes, flags and alignments, so the loaded kernel is
// the same byte for byte. Section headers and padding are removed. Zeros at the end of
// a segment are removed too: the loader clears that memory (p_filesz < p_memsz). The
// result depends on the input alone, and Compact does not change it again.
//
// File offsets stay congruent to addresses modulo 4096, but not modulo p_align.
// Kernels ask for 2 MiB, which matters for the address in memory only (Xen uses it for
// that); in the file it would need the padding. A PT_NOTE stays inside its PT_LOAD,
// where Xen looks for it. Program headers of other types are removed.
func Compact(kernelELF []byte) ([]byte, error) {
	img, err := parseImage(kernelELF)
	if err != nil {
		return nil, fmt.Errorf("compact kernel: %w", err)
	}
	var progs []elf.Prog64
	var body [][]byte // bytes of progs[i]
	var within []int  // index of the PT_LOAD that holds the PT_NOTE progs[i], or -1
	for _, p := range img.file.Progs {
		if p.Type != elf.PT_LOAD && p.Type != elf.PT_NOTE {
			continue
		}
		progs = append(progs, elf.Prog64{
			Type: uint32(p.Type), Flags: uint32(p.Flags), Off: p.Off, Vaddr: p.Vaddr,
			Paddr: p.Paddr, Filesz: p.Filesz, Memsz: p.Memsz, Align: p.Align,
		})
		body = append(body, kernelELF[p.Off:p.Off+p.Filesz])
		within = append(within, -1)
	}
	for i := range progs {
		p := &progs[i]
		if p.Type == uint32(elf.PT_NOTE) {
			for j, q := range progs {
				if q.Type == uint32(elf.PT_LOAD) && p.Off >= q.Off && p.Off+p.Filesz <= q.Off+q.Filesz {
					within[i] = j
					break
				}
			}
			continue
		}
		body[i] = bytes.TrimRight(body[i], "\x00")
	}
	for i, j := range within {
		if j < 0 {
			continue
		}
		// Zeros at the end of the last note may be padding, but they are part of the note.
		if end := progs[i].Off + progs[i].Filesz - progs[j].Off; end > uint64(len(body[j])) {
			body[j] = kernelELF[progs[j].Off : progs[j].Off+end]
		}
	}

	const headerSize, progSize = 64, 56 // sizeof Elf64_Ehdr and Elf64_Phdr
	offset := uint64(headerSize + progSize*len(progs))
	placed := make([]uint64, len(progs))
	for i := range progs {
		if within[i] >= 0 {
			continue
		}
		offset += (progs[i].Vaddr - offset) % pageSize
		placed[i] = offset
		offset += uint64(len(body[i]))
	}
	for i, j := range within {
		if j >= 0 {
			placed[i] = placed[j] + progs[i].Off - progs[j].Off
		}
	}
	out := make([]byte, offset)
	for i := range progs {
		if within[i] < 0 {
			copy(out[placed[i]:], body[i])
			progs[i].Filesz = uint64(len(body[i]))
		}
		progs[i].Off = placed[i]
	}

	header := elf.Header64{
		Type: uint16(img.file.Type), Machine: uint16(img.file.Machine), Version: uint32(img.file.Version),
		Entry: img.file.Entry, Phoff: headerSize, Ehsize: headerSize, Phentsize: progSize, Phnum: uint16(len(progs)),
	}
	copy(header.Ident[:], kernelELF[:elf.EI_NIDENT])
	head := out[:0]
	if head, err = binary.Append(head, binary.LittleEndian, &header); err == nil {
		_, err = binary.Append(head, binary.LittleEndian, progs)
	}
	if err != nil {
		return nil, fmt.Errorf("compact kernel: write headers: %w", err)
	}
	return out, nil
}
