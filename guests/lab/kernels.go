package lab

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"hangbench/guests/kernel"
	"hangbench/guests/lab/place"
)

// GuestKernels returns the names of a lab's guest kernels. The first is the
// default.
func GuestKernels() []string { return []string{"cloud-6.12", "cloud-6.1"} }

// dom0Kernel is the name of dom0's kernel among those of a kernelSet.
const dom0Kernel = "dom0"

// kernelSet is the kernels of some prefixes. extractAll puts the files of each
// into the folder Dir/NAME: place.Kernel and, for guest kernels, place.Profile and
// place.Relocs.
type kernelSet struct {
	Dir     string
	dom0    string            // release of dom0's kernel
	guests  map[string]string // name → release, of guest kernels
	sources map[string]string // name → compressed image
	modules map[string]string // release → folder of its modules
}

// vmlinuz matches the file names of kernels in a prefix. It captures the release,
// the first two numbers of the version, and "cloud-" for a guest kernel.
var vmlinuz = regexp.MustCompile(`^vmlinuz-((\d+\.\d+)\.\S*?-(cloud-)?amd64)$`)

// findKernels finds the kernels of the prefixes. They will be extracted into dir.
func findKernels(dir string, prefixes ...string) (*kernelSet, error) {
	set := &kernelSet{
		Dir: dir, guests: map[string]string{}, sources: map[string]string{}, modules: map[string]string{},
	}
	for _, prefix := range prefixes {
		boot, err := os.ReadDir(filepath.Join(prefix, "boot"))
		if err != nil {
			return nil, fmt.Errorf("look for kernels: %w", err)
		}
		for _, f := range boot {
			m := vmlinuz.FindStringSubmatch(f.Name())
			if m == nil {
				continue
			}
			name := dom0Kernel
			if m[3] != "" {
				name = "cloud-" + m[2]
				set.guests[name] = m[1]
			} else {
				set.dom0 = m[1]
			}
			set.sources[name] = filepath.Join(prefix, "boot", f.Name())
			set.modules[m[1]] = filepath.Join(prefix, "usr/lib/modules", m[1])
		}
	}
	if set.dom0 == "" || len(set.guests) == 0 {
		return nil, errors.New("the lab's packages hold no kernel for dom0 or none for guests")
	}
	return set, nil
}

// extractAll extracts all kernels of the set.
func (o *Options) extractAll(set *kernelSet) error {
	for _, name := range slices.Sorted(maps.Keys(set.sources)) {
		o.Log.Info("extract kernel " + name)
		file := set.sources[name]
		if err := o.extract(file, filepath.Join(set.Dir, name), name != dom0Kernel); err != nil {
			return fmt.Errorf("extract %s: %w", filepath.Base(file), err)
		}
	}
	return nil
}

// extract writes one kernel into dir: the kernel itself and, for a guest kernel,
// its profile and its relocations.
func (o *Options) extract(file, dir string, guest bool) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	elf, err := kernel.ExtractELF(b)
	if err != nil {
		return err
	}
	small, err := kernel.Compact(elf)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, place.Kernel), small, 0o644); err != nil {
		return err
	}
	if !guest {
		return nil
	}
	k, err := kernel.Read(elf)
	if err != nil {
		return err
	}
	p, err := k.Profile(o.Fields)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	if _, err := p.WriteTo(&buf); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, place.Profile), buf.Bytes(), 0o644); err != nil {
		return err
	}
	relocs, err := kernel.TrailingRelocations(elf)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, place.Relocs), relocs, 0o644)
}
