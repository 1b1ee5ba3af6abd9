package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"hangbench/guests/lab/debian"
	"hangbench/guests/lab/hypervisor"
)

// The two forms of a Xen that a user brings: a boot image, and a folder of packages.
const (
	XenFile = "file"
	XenDebs = "debs"
)

// XenFilePrefix stands before the path of a boot image where a release of Xen could be
// named.
const XenFilePrefix = XenFile + ":"

// XenID says in the manifest of a lab which Xen the user brought.
type XenID struct {
	Form string `json:"form"` // XenFile or XenDebs
	// SHA256 is the hash of the boot image, or of the names, versions and hashes of the
	// packages.
	SHA256 string `json:"sha256"`
	// Version is what the boot image calls itself, or the version of the hypervisor's
	// package.
	Version string `json:"version"`
	// Tools is the release of Xen whose tools run in dom0.
	Tools string `json:"tools"`
}

// String returns the version and, since two builds may have the same one, the form and the
// beginning of the hash.
func (x *XenID) String() string {
	return fmt.Sprintf("%s (%s:%s)", x.Version, x.Form, x.SHA256[:min(12, len(x.SHA256))])
}

// GivenXen is a Xen that a user brings in place of Debian's.
type GivenXen struct {
	ID XenID

	path     string          // of the boot image or of the folder
	platform debian.Platform // with the release of Xen whose tools run
	// packages are those of the folder. File is the path. A boot image has none.
	packages []debian.Package
	base     debian.Platform // that of the packages that the folder does not have
}

// GivenXenError is a mistake in a Xen that the user brings, or something that it lacks.
type GivenXenError struct {
	What string // the form and the path
	Err  error
}

func (e *GivenXenError) Error() string { return fmt.Sprintf("Xen %s: %v", e.What, e.Err) }

// Unwrap returns the mistake.
func (e *GivenXenError) Unwrap() error { return e.Err }

func (g *GivenXen) fail(err error) error { return &GivenXenError{g.ID.Form + ":" + g.path, err} }

// OpenXenFile reads a boot image, xen.gz or xen. It runs with the tools of a release that
// has the same interface, which is known without running it. The error is a
// *GivenXenError.
func OpenXenFile(path string) (*GivenXen, error) {
	g := &GivenXen{ID: XenID{Form: XenFile}, path: path}
	b, err := hypervisor.ReadFile(path)
	if err != nil {
		return nil, g.fail(err)
	}
	img, err := hypervisor.Read(b)
	if errors.Is(err, hypervisor.ErrUnknownCode) {
		err = fmt.Errorf("%w: %s", err, giveTools)
	}
	if err != nil {
		return nil, g.fail(err)
	}
	if g.platform, err = toolsFor(img); err != nil {
		return nil, g.fail(err)
	}
	g.ID.SHA256, g.ID.Version, g.ID.Tools = hashBytes(b), img.Version(), string(g.platform.Xen)
	return g, nil
}

// giveTools is the remedy for an image whose tools the lab does not have.
const giveTools = "give its tools too, as packages, with --xen-debs"

// toolsFor returns the platform whose tools have the interface of an image.
func toolsFor(img *hypervisor.Image) (debian.Platform, error) {
	all := debian.Platforms()
	same := func(p debian.Platform) bool { return p.Interface == img.Interface }
	if i := slices.IndexFunc(all, same); i >= 0 {
		return all[i], nil
	}
	var have []string
	for _, p := range all {
		have = append(have, fmt.Sprintf("%s has %v", p.Xen, p.Interface))
	}
	return debian.Platform{}, fmt.Errorf("it is Xen %s with %v, and the lab has no tools for it (%s): %s",
		img.Version(), img.Interface, strings.Join(have, ", "), giveTools)
}

// OpenXenDebs reads a folder of packages that are built from Xen's source as Debian builds
// them: the hypervisor, its tools and libraries, and their headers. The error is a
// *GivenXenError.
func OpenXenDebs(dir string) (*GivenXen, error) {
	g := &GivenXen{ID: XenID{Form: XenDebs}, path: dir}
	if err := g.readPackages(); err != nil {
		return nil, g.fail(err)
	}
	release, err := g.release()
	if err != nil {
		return nil, g.fail(err)
	}
	// The rest comes from the Debian that has this release, or else from the lab's own.
	g.base = debian.Lab()
	for _, p := range debian.Platforms() {
		if p.Xen == release {
			g.base = p
		}
	}
	g.platform = g.base
	g.platform.Xen = release
	for _, name := range []string{release.Hypervisor(), release.Utils(), "libxen-dev"} {
		i := slices.IndexFunc(g.packages, func(p debian.Package) bool { return p.Name == name })
		switch {
		case i < 0:
			return nil, g.fail(fmt.Errorf("it has no package %s: build all packages of Xen, and put them into it", name))
		case g.ID.Version != "" && g.packages[i].Version != g.ID.Version:
			return nil, g.fail(fmt.Errorf("its package %s has the version %s, and %s has %s: take those of one build", name,
				g.packages[i].Version, release.Hypervisor(), g.ID.Version))
		}
		g.ID.Version = g.packages[i].Version
	}
	g.ID.SHA256, g.ID.Tools = (&debian.Lock{Packages: g.packages}).Digest(), string(release)
	return g, nil
}

// readPackages reads the packages of the folder, in the order of their names.
func (g *GivenXen) readPackages() error {
	dir, err := filepath.Abs(g.path)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	named := map[string]debian.Package{}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".deb" {
			continue
		}
		p, err := debian.ReadPackage(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		if other, twice := named[p.Name]; twice {
			return fmt.Errorf("%s and %s are both the package %s: remove one of them", filepath.Base(other.File), e.Name(),
				p.Name)
		}
		if p.Arch != "amd64" && p.Arch != "all" {
			return fmt.Errorf("%s is for %s, and the lab's machine is an amd64", e.Name(), p.Arch)
		}
		named[p.Name] = p
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		g.packages = append(g.packages, named[name])
	}
	return nil
}

// release returns the release of Xen that the hypervisor's package names.
func (g *GivenXen) release() (debian.XenRelease, error) {
	name := regexp.MustCompile(`^xen-hypervisor-([0-9]+\.[0-9]+)-amd64$`)
	var found []string
	for _, p := range g.packages {
		if m := name.FindStringSubmatch(p.Name); m != nil {
			found = append(found, m[1])
		}
	}
	switch len(found) {
	case 0:
		return "", errors.New("it has no package xen-hypervisor-RELEASE-amd64, as Debian names the hypervisor's")
	case 1:
		return debian.XenRelease(found[0]), nil
	}
	return "", fmt.Errorf("it has the hypervisors of Xen %s: leave one", strings.Join(found, " and "))
}

// merge returns the packages of a lab with the given ones. base are those of g.base in the
// folder debs. The given ones replace those of the same names. Those of base whose names
// have its release of Xen are left out: the given tools have others. File is an absolute
// path in all.
func (g *GivenXen) merge(base *debian.Lock, debs string) *debian.Lock {
	all := slices.Clone(g.packages)
	for _, p := range base.Packages {
		given := slices.ContainsFunc(g.packages, func(q debian.Package) bool { return q.Name == p.Name })
		if given || strings.Contains(p.Name, string(g.base.Xen)) {
			continue
		}
		p.File = filepath.Join(debs, p.File)
		all = append(all, p)
	}
	slices.SortFunc(all, func(p, q debian.Package) int { return strings.Compare(p.Name, q.Name) })
	return &debian.Lock{Packages: all}
}

// image returns the path of the boot image, which it copies into the folder dir if it is a
// file of the user's. prefix is that of Xen's packages. The file must be the one that was
// opened.
func (g *GivenXen) image(prefix, dir string) (string, error) {
	if g.ID.Form == XenDebs {
		return filepath.Join(prefix, g.platform.Xen.Image()), nil
	}
	b, err := hypervisor.ReadFile(g.path)
	if err == nil && hashBytes(b) != g.ID.SHA256 {
		err = errors.New("it has changed since the command began: run it again")
	}
	if err != nil {
		return "", g.fail(err)
	}
	path := filepath.Join(dir, "given-xen")
	return path, os.WriteFile(path, b, 0o600)
}

func hashBytes(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
