package dom0

import (
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"

	"hangbench/guests/kernel"
	"hangbench/guests/lab/place"
	"hangbench/monitor/linux"
	"hangbench/scenarios/suites"
)

// LayoutOf returns a guest kernel's profile as a monitor reads it.
func LayoutOf(p *kernel.Profile) linux.Layout { return layout{p} }

// layout is a guest kernel's profile as a linux.Layout.
type layout struct{ p *kernel.Profile }

func (l layout) Banner() string { return l.p.Banner }

func (l layout) Lookup(name string) (addr uint64, perCPU, ok bool) {
	s, ok := l.p.Symbols.Lookup(name)
	return s.Addr, s.PerCPU, ok
}

func (l layout) Function(addr uint64) (string, uint64, bool) {
	s, off, ok := l.p.Symbols.Find(addr)
	if !ok || !s.Text {
		return "", 0, false
	}
	return s.Name, off, true
}

func (l layout) Data(addr uint64) (string, uint64, bool) {
	s, off, ok := l.p.Symbols.Find(addr)
	if !ok || s.Text || s.PerCPU {
		return "", 0, false
	}
	return s.Name, off, true
}

func (l layout) Field(typ, path string) (linux.Field, bool) {
	f, err := l.p.Field(typ, path)
	return linux.Field{Offset: f.Offset, Size: f.Size, BitOffset: f.BitOffset, BitSize: f.BitSize}, err == nil
}

func (l layout) SizeOf(typ string) (uint32, bool) {
	n, err := l.p.SizeOf(typ)
	return n, err == nil
}

func (l layout) Constant(name string) (int64, bool) {
	v, err := l.p.EnumValue(name)
	return v, err == nil
}

// moveKernel writes a copy of the kernel in dir that is moved by some slide, and
// returns its path. Xen starts a PVH guest's kernel at its PVH entry, whether the
// kernel is an ELF file or a vmlinuz. The kernel's own loader, which does KASLR, never
// runs, so this function moves the kernel.
//
// The slide depends on the guest's specification alone. A guest in a snapshot and one
// that is made anew are therefore the same.
func (h *Host) moveKernel(dir string, spec suites.Guest) (string, error) {
	image, err := os.ReadFile(filepath.Join(dir, place.Kernel))
	if err != nil {
		return "", err
	}
	table, err := os.ReadFile(filepath.Join(dir, place.Relocs))
	if err != nil {
		return "", err
	}
	relocs, err := kernel.ReadRelocations(table)
	if err != nil {
		return "", err
	}
	end, err := kernel.PhysicalEnd(image)
	if err != nil {
		return "", err
	}
	// A quarter of the memory stays free above the kernel, for initramfs and boot.
	const unit = 2 << 20
	top := min(uint64(spec.MemoryMiB)<<20/4*3, 1<<30)
	if top < end+unit {
		return "", fmt.Errorf("%d MiB are too few to move it, it ends at %#x: give the guest more memory",
			spec.MemoryMiB, end)
	}
	sum := fnv.New64a()
	fmt.Fprintf(sum, "%s %d %d", spec.Kernel, spec.VCPUs, spec.MemoryMiB)
	slide := unit * (1 + sum.Sum64()%((top-end)/unit))
	moved, err := kernel.Relocate(image, relocs, slide)
	if err != nil {
		return "", err
	}
	path := filepath.Join(h.Work, "moved-"+filepath.Base(dir))
	return path, os.WriteFile(path, moved, 0o600)
}
