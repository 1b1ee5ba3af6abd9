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

// ManifestFile is the name of a lab's manifest.
const ManifestFile = "lab.json"

// schema changes whenever the image is laid out in another way, so that labs in
// the cache are made anew.
const schema = 3

// Manifest is everything that goes into a lab. Its hash names the lab.
type Manifest struct {
	Schema   int              `json:"schema"`
	Packages []debian.Package `json:"packages"` // name, version and hash of each
	Kernels  []debian.Package `json:"kernels"`  // of another release, for a guest kernel only
	// GuestPackages are those of the programs that guests may have.
	GuestPackages []debian.Package `json:"guest_packages,omitempty"`
	// Programs are the hashes (SHA-256) of what was built from this project's source.
	Programs map[string]string `json:"programs"`
	Go       string            `json:"go"` // version of the toolchain that built them
	XenArgs  string            `json:"xen_args"`
	Dom0Args string            `json:"dom0_args"`
	Machine  bochs.Machine     `json:"machine"`
	Guests   map[string]string `json:"guests"` // guest kernel's name and release
	Dom0     string            `json:"dom0"`   // release of dom0's kernel
	// LibVMI is the version of this machine's LibVMI, with a hash of its libraries;
	// empty without.
	LibVMI string `json:"libvmi,omitempty"`
}

// Key is the lab's name: a hash of the manifest.
func (m *Manifest) Key() string {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings and numbers only
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// Version returns the version of a package, or "".
func (m *Manifest) Version(name string) string {
	for _, p := range slices.Concat(m.Packages, m.GuestPackages) {
		if p.Name == name {
			return p.Version
		}
	}
	return ""
}

// XenVersion returns the version of the lab's Xen: that of Debian's package.
func (m *Manifest) XenVersion() string { return m.Version(debian.Xen.Hypervisor()) }

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

// writeFile writes a file that appears in one step.
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
