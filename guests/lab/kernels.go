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
	"strings"

	"hangbench/guests/kernel"
	"hangbench/guests/lab/debian"
	"hangbench/guests/lab/place"
)

// guestKernel is a kernel that guests may run. To add one, add an entry to guestKernels.
type guestKernel struct {
	// Name is the flavour, cloud or generic, and the first two numbers of the version.
	Name string
	// Release has the package Package, which needs the kernel's own. Both are empty if the
	// lab's own packages have the kernel.
	Release debian.Release
	Package string
	// Ordinary: every lab has the kernel, unless it was made for another one. The others
	// are fetched when the first guest needs them.
	Ordinary bool
}

// guestKernels returns all kernels. The first is the default.
func guestKernels() []guestKernel {
	const cloud = "linux-image-cloud-amd64"
	return []guestKernel{
		{Name: "cloud-6.12", Ordinary: true},
		{Name: "cloud-6.1", Release: debian.Bookworm, Package: cloud, Ordinary: true},
		{Name: "cloud-7.3", Release: debian.TrixieBackports, Package: cloud},
		// Debian 11 gets no more updates, and its mirrors have lost some packages without content.
		{Name: "cloud-5.10", Release: debian.Bullseye, Package: "linux-image-5.10.0-46-cloud-amd64"},
		{Name: "generic-6.12"}, // dom0 runs it too
	}
}

// GuestKernels returns the names of the kernels that guests may run. The first is the
// default.
func GuestKernels() []string {
	var names []string
	for _, k := range guestKernels() {
		names = append(names, k.Name)
	}
	return names
}

// VariantKernel returns the Variant.Kernel of guests that run the named kernel: the
// name, and "" for a kernel that the ordinary lab has.
func VariantKernel(name string) string {
	for _, k := range guestKernels() {
		if k.Name == name && k.Ordinary {
			return ""
		}
	}
	return name
}

// kernels returns the guest kernels of the lab. A kernel in one of the files is not among
// them.
func (v Variant) kernels(files map[string]string) ([]guestKernel, error) {
	all := guestKernels()
	if files[v.Kernel] != "" {
		return nil, nil
	}
	if v.Kernel == "" {
		return slices.DeleteFunc(all, func(k guestKernel) bool { return !k.Ordinary }), nil
	}
	i := slices.IndexFunc(all, func(k guestKernel) bool { return k.Name == v.Kernel })
	if i < 0 {
		return nil, fmt.Errorf("there is no guest kernel %q; there are %s", v.Kernel, strings.Join(GuestKernels(), ", "))
	}
	return all[i : i+1], nil
}

// dom0Kernel is the name of dom0's kernel among those of a kernelSet.
const dom0Kernel = "dom0"

// kernelSet is the kernels of a lab. extractAll puts the files of each into the folder
// Dir/NAME: place.Kernel and, for guest kernels, place.Profile and place.Relocs.
type kernelSet struct {
	Dir     string
	dom0    string            // release of dom0's kernel
	guests  map[string]string // name → release, of guest kernels
	sources map[string]string // name → compressed image
	modules map[string]string // release → folder of its modules
	// load maps the release of a kernel that a user brings to the modules that guests load.
	// Guests with other kernels load guestModules.
	load map[string][]string
}

// kernelRelease matches the release of a kernel of Debian. It captures the first two
// numbers of the version, and "cloud-" for a cloud kernel.
var kernelRelease = regexp.MustCompile(`^(\d+\.\d+)\.\S*?-(cloud-)?amd64$`)

// findKernels finds dom0's kernel in the prefix own, and the named guest kernels in that
// prefix and others. They will be extracted into dir.
//
// The image is boot/vmlinuz-RELEASE, or usr/lib/modules/RELEASE/vmlinuz in the packages
// of Linux 7.
func findKernels(dir string, names []string, own string, others ...string) (*kernelSet, error) {
	set := &kernelSet{
		Dir: dir, guests: map[string]string{}, sources: map[string]string{}, modules: map[string]string{},
	}
	var found []string
	for _, prefix := range append([]string{own}, others...) {
		images := map[string]string{} // by release
		boot, err := filepath.Glob(filepath.Join(prefix, "boot", "vmlinuz-*"))
		if err != nil {
			return nil, fmt.Errorf("look for kernels: %w", err)
		}
		for _, f := range boot {
			images[strings.TrimPrefix(filepath.Base(f), "vmlinuz-")] = f
		}
		lib, err := filepath.Glob(filepath.Join(prefix, "usr/lib/modules", "*", "vmlinuz"))
		if err != nil {
			return nil, fmt.Errorf("look for kernels: %w", err)
		}
		for _, f := range lib {
			images[filepath.Base(filepath.Dir(f))] = f
		}
		for _, release := range slices.Sorted(maps.Keys(images)) {
			m := kernelRelease.FindStringSubmatch(release)
			if m == nil {
				continue
			}
			name := "generic-" + m[1]
			if m[2] != "" {
				name = "cloud-" + m[1]
			}
			found = append(found, name)
			add := func(name string) {
				set.sources[name] = images[release]
				set.modules[release] = filepath.Join(prefix, "usr/lib/modules", release)
			}
			if prefix == own && m[2] == "" {
				set.dom0 = release
				add(dom0Kernel)
			}
			if slices.Contains(names, name) {
				set.guests[name] = release
				add(name)
			}
		}
	}
	if set.dom0 == "" {
		return nil, fmt.Errorf("the lab's packages have no kernel for dom0; they have %s", list(found))
	}
	for _, name := range names {
		if set.guests[name] == "" {
			return nil, fmt.Errorf("the packages of the mirror have no guest kernel %s any more; they have %s", name,
				list(found))
		}
	}
	return set, nil
}

// list joins names for a sentence.
func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
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
	// A vmlinux has none, and can only be booted where it was linked.
	if err != nil && !errors.Is(err, kernel.ErrNoRelocations) {
		return err
	}
	return os.WriteFile(filepath.Join(dir, place.Relocs), relocs, 0o644)
}
