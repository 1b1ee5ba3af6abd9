package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"hangbench/guests/lab/bochs"
	"hangbench/guests/lab/debian"
)

// ManifestFile is the file name of a lab's manifest.
const ManifestFile = "lab.json"

// schema is the version of the image's layout and of lab.json. Increase it with
// each change of this package, guests/image or guests/kernel that changes the
// image, so that labs in a cache are made again.
const schema = 4

// Manifest records the inputs of a lab.
type Manifest struct {
	Schema   int              `json:"schema"`
	Packages []debian.Package `json:"packages"`
	// Kernels are the packages of guest kernels that are not among Packages.
	Kernels []debian.Package `json:"kernels"`
	// KernelFiles maps the name of a guest kernel that a user brings to the SHA-256 of its
	// file and its modules.
	KernelFiles map[string]string `json:"kernel_files,omitempty"`
	// Xen is the release of Xen if the lab has not the ordinary one's packages, and
	// XenPackages are the packages of Xen, its tools and the compiler. Packages has another
	// Xen then, which does not run.
	Xen         string           `json:"xen,omitempty"`
	XenPackages []debian.Package `json:"xen_packages,omitempty"`
	// GivenXen is the Xen that the user brought. XenPackages has its packages. If it is a boot
	// image, that of the packages does not run.
	GivenXen *XenID `json:"given_xen,omitempty"`
	// GuestPackages are the packages of the programs that guests may have.
	GuestPackages []debian.Package `json:"guest_packages,omitempty"`
	// HVMPackages are the packages of QEMU and the BIOS of guests of type HVM. A lab without
	// has guests of type PVH.
	HVMPackages []debian.Package `json:"hvm_packages,omitempty"`
	// Programs maps each program built from this project's source to its SHA-256.
	Programs map[string]string `json:"programs"`
	Go       string            `json:"go"`      // version of the toolchain that built them
	Modules  []string          `json:"modules"` // kernel modules of dom0 and of guests
	// ProfileFields is a hash of the structure fields in guest kernels' profiles.
	ProfileFields string            `json:"profile_fields"`
	XenArgs       string            `json:"xen_args"`
	Dom0Args      string            `json:"dom0_args"`
	Machine       bochs.Machine     `json:"machine"`
	Guests        map[string]string `json:"guests"` // name of a guest kernel → its release
	Dom0          string            `json:"dom0"`   // release of dom0's kernel
	// LibVMI is the version of this machine's LibVMI, with a hash of its libraries.
	// It is empty without LibVMI.
	LibVMI string `json:"libvmi,omitempty"`
}

// Key returns the lab's name: a hash, in 16 hexadecimal digits, of what the image
// is made from, and of the machine and the emulator that run it. A package counts
// by its name, version and SHA-256 alone, not by the place it was fetched from.
// The Go version counts through the hashes of the programs alone.
func (m *Manifest) Key() string {
	in := *m
	in.Go = ""
	in.Packages, in.Kernels, in.GuestPackages = identities(m.Packages), identities(m.Kernels), identities(m.GuestPackages)
	in.XenPackages, in.HVMPackages = identities(m.XenPackages), identities(m.HVMPackages)
	b, err := json.Marshal(in)
	if err != nil {
		panic(err) // strings and numbers only
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// identities returns the packages without the facts that do not change their
// content.
func identities(packages []debian.Package) []debian.Package {
	var ids []debian.Package
	for _, p := range packages {
		ids = append(ids, debian.Package{Name: p.Name, Version: p.Version, Arch: p.Arch, SHA256: p.SHA256})
	}
	return ids
}

// Version returns the version of a package of the lab or of its guests, or "" if
// there is no such package.
func (m *Manifest) Version(name string) string {
	for _, p := range slices.Concat(m.Packages, m.GuestPackages, m.XenPackages, m.HVMPackages) {
		if p.Name == name {
			return p.Version
		}
	}
	return ""
}

// PackageBytes returns the bytes of the lab's packages by their SHA-256.
func (m *Manifest) PackageBytes() map[string]int64 {
	all := map[string]int64{}
	for _, p := range slices.Concat(m.Packages, m.Kernels, m.GuestPackages, m.XenPackages, m.HVMPackages) {
		all[p.SHA256] = p.SizeBytes
	}
	return all
}

// XenVersion returns the version of the lab's Xen: that of Debian's package, or that of the
// user's (XenID.String).
func (m *Manifest) XenVersion() string {
	if m.GivenXen != nil {
		return m.GivenXen.String()
	}
	release := debian.Lab().Xen
	if m.Xen != "" {
		release = debian.XenRelease(m.Xen)
	}
	return m.Version(release.Hypervisor())
}

// hashStrings returns the SHA-256, in hexadecimal, of a list of strings.
func hashStrings(list []string) string {
	h := sha256.New()
	for _, s := range list {
		fmt.Fprintf(h, "%q\n", s)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// hashFile returns the SHA-256 of a file in hexadecimal.
func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("hash %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// writeFile writes a file under a temporary name and renames it, so that readers
// never see half of it.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
