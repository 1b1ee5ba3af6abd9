package kernel

// linkedText is the address at which kernels of distributions are linked: _text lies
// CONFIG_PHYSICAL_START, 16 MiB by default, above the start of the kernel's mapping
// (__START_KERNEL in arch/x86/include/asm/page_types.h).
const linkedText = kernelMap + 16<<20

// A Segment is a piece of the image of a kernel that runs.
type Segment struct {
	Addr uint64 // virtual address in the running kernel, a multiple of 4096
	Data []byte
}

// ReadMemory is [Read] for a kernel that runs. The segments are pieces of its image;
// those with its constants suffice, which hold banner, symbols and BTF. The Kernel keeps a
// reference to them, and has no ELF. See [Read] for ErrNoBTF.
//
// slide is how far KASLR has moved the kernel, in bytes. As with a file, the symbols have
// the addresses at which the kernel was linked. Kernels are taken to be linked at the
// default of CONFIG_PHYSICAL_START. For one that is linked elsewhere the slide counts
// from that default, or is 0 if it cannot; slide and symbols agree all the same.
func ReadMemory(segments []Segment) (k *Kernel, slide uint64, err error) {
	img := &image{}
	for _, s := range segments {
		img.segs = append(img.segs, segment{s.Addr, s.Data})
	}
	k, err = img.read()
	if k == nil {
		return nil, 0, err
	}
	if text, ok := k.Symbols.Lookup("_text"); ok {
		if by := text.Addr - linkedText; by%slideUnit == 0 && by < maxSlide && k.Symbols.moveDown(by) {
			slide = by
		}
	}
	return k, slide, err
}
