package hypervisor

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxImage bounds an image in bytes, compressed and uncompressed. Debian's builds have 1
// and 2.6 MB, a debug build with UBSAN a few times that.
const maxImage = 64 << 20

// Interface is the pair of versions that Xen and its tools must share. Xen's release
// process increases one at the first change of the interface after a release.
type Interface struct {
	Domctl uint32 // XEN_DOMCTL_INTERFACE_VERSION
	Sysctl uint32 // XEN_SYSCTL_INTERFACE_VERSION
}

func (i Interface) String() string {
	return fmt.Sprintf("domctl %#x and sysctl %#x", i.Domctl, i.Sysctl)
}

// Image is what a boot image says of its Xen.
type Image struct {
	Major, Minor int
	Extra        string // what follows them in the version, such as ".4" or "-unstable"
	Interface    Interface
}

// Version is the version as Xen prints it, such as 4.20.4.
func (i *Image) Version() string { return fmt.Sprintf("%d.%d%s", i.Major, i.Minor, i.Extra) }

// ReadFile reads a file that may be a boot image, for Read. It refuses folders, devices and
// pipes, and files that are larger than any image.
func ReadFile(path string) ([]byte, error) {
	switch st, err := os.Stat(path); {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, errors.New("it is no regular file")
	case st.Size() > maxImage:
		return nil, fmt.Errorf("it has %d bytes, and xen.gz and xen have %d at most", st.Size(), maxImage)
	}
	return os.ReadFile(path)
}

// Read reads a boot image, compressed with gzip or not. The error says what the bytes are
// instead, or what of the image is damaged or was not found.
func Read(b []byte) (*Image, error) {
	b, err := decompress(b)
	if err != nil {
		return nil, err
	}
	m, err := load(b)
	if err != nil {
		return nil, err
	}
	f, err := m.functions("xen_major_version", "xen_minor_version", "xen_extra_version", "do_domctl", "do_sysctl")
	if err != nil {
		return nil, err
	}
	var img Image
	if img.Major, err = f.number("xen_major_version"); err != nil {
		return nil, err
	}
	if img.Minor, err = f.number("xen_minor_version"); err != nil {
		return nil, err
	}
	if img.Extra, err = f.text("xen_extra_version"); err != nil {
		return nil, err
	}
	if img.Interface.Domctl, err = f.compared("do_domctl"); err != nil {
		return nil, err
	}
	if img.Interface.Sysctl, err = f.compared("do_sysctl"); err != nil {
		return nil, err
	}
	return &img, nil
}

// decompress returns the ELF file of an image.
func decompress(b []byte) ([]byte, error) {
	if !bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		return b, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("it is damaged or cut off: decompress it: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(z, maxImage+1))
	if err != nil {
		return nil, fmt.Errorf("it is damaged or cut off: decompress it: %w", err)
	}
	if len(out) > maxImage {
		return nil, fmt.Errorf("it has more than %d bytes when it is decompressed", maxImage)
	}
	return out, nil
}

// memory is the segments of an image, at addresses from XEN_VIRT_START.
type memory []segment

// segment is the part of a segment that is in the file.
type segment struct {
	addr uint64
	data []byte
}

// load finds the segments of a boot image.
func load(b []byte) (memory, error) {
	switch {
	case bytes.HasPrefix(b, []byte("MZ")):
		return nil, errors.New("it is an EFI program or a Linux kernel: give xen.gz, because the lab boots with BIOS")
	case !bytes.HasPrefix(b, []byte(elf.ELFMAG)):
		return nil, errors.New("it is no image of Xen: give xen.gz, or xen beside it")
	}
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("it is damaged or cut off: read its ELF header: %w", err)
	}
	if f.Machine != elf.EM_386 {
		return nil, fmt.Errorf("it is an ELF file of %v for %v, as xen-syms is: give xen.gz, or xen beside it", f.Class,
			f.Machine)
	}
	var m memory
	total := uint64(0)
	for i, p := range f.Progs {
		if p.Type != elf.PT_LOAD {
			continue
		}
		if p.Off > uint64(len(b)) || p.Filesz > uint64(len(b))-p.Off {
			return nil, fmt.Errorf("it is cut off: its program header %d reaches beyond the end", i)
		}
		// The work stays linear in the size of the file.
		if total += p.Filesz; total > uint64(len(b)) {
			return nil, errors.New("it is damaged: its program headers overlap")
		}
		m = append(m, segment{p.Vaddr, b[p.Off : p.Off+p.Filesz]})
	}
	if len(m) == 0 {
		return nil, errors.New("it has nothing to load: give xen.gz, or xen beside it")
	}
	return m, nil
}

// at returns what a segment has from addr on, at most n bytes.
func (m memory) at(addr uint64, n int) []byte {
	for _, s := range m {
		if addr >= s.addr && addr-s.addr < uint64(len(s.data)) {
			b := s.data[addr-s.addr:]
			return b[:min(n, len(b))]
		}
	}
	return nil
}
