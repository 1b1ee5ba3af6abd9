package lab

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hangbench/cgo/require"
	"hangbench/guests/lab/debian"
	"hangbench/guests/lab/hypervisor"
)

// TestToolsFor: an image runs with the tools of a release that has the same interface.
func TestToolsFor(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		minor          int
		domctl, sysctl uint32
		tools, says    string
	}{
		{17, 0x15, 0x15, "4.17", ""},
		{19, 0x17, 0x15, "4.20", ""},
		{20, 0x17, 0x15, "4.20", ""},
		{21, 0x17, 0x16, "", "it is Xen 4.21.2 with domctl 0x17 and sysctl 0x16, and the lab has no tools for it (4.20 has " +
			"domctl 0x17 and sysctl 0x15, 4.17 has domctl 0x15 and sysctl 0x15): give its tools too, as packages, with " +
			"--xen-debs"},
		{20, 0x18, 0x15, "", "it is Xen 4.20.2"},
	} {
		p, err := toolsFor(&hypervisor.Image{Major: 4, Minor: tt.minor, Extra: ".2",
			Interface: hypervisor.Interface{Domctl: tt.domctl, Sysctl: tt.sysctl}})
		if string(p.Xen) != tt.tools || (err == nil) != (tt.says == "") ||
			err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("4.%d: %s, %v", tt.minor, p.Xen, err)
		}
	}
}

// TestOpenXenFile: the images of Debian have the interfaces of the table of platforms.
func TestOpenXenFile(t *testing.T) {
	t.Parallel()
	tried := 0
	for _, kernel := range require.KernelImages(t) {
		cache, _, _ := strings.Cut(kernel, "/prefix-")
		for _, p := range debian.Platforms() {
			images, err := filepath.Glob(filepath.Join(cache, "prefix-*", p.Xen.Image()))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range images {
				tried++
				g, err := OpenXenFile(path)
				if err != nil || g.ID.Tools != string(p.Xen) || !strings.HasPrefix(g.ID.Version, g.ID.Tools+".") {
					t.Fatalf("%s: %+v, %v", path, g, err)
				}
				o := &Options{GivenXen: g}
				if is, err := o.platform(); is != p || err != nil {
					t.Errorf("%s: platform %+v, %v", path, is, err)
				}
				dir := t.TempDir()
				copied, err := g.image("/nosuch", dir)
				if err != nil || filepath.Dir(copied) != dir {
					t.Fatalf("%s: copied to %s, %v", path, copied, err)
				}
				is, ierr := os.ReadFile(copied)
				was, werr := os.ReadFile(path)
				if !bytes.Equal(is, was) || ierr != nil || werr != nil {
					t.Errorf("%s: the copy differs (%v, %v)", path, ierr, werr)
				}
			}
		}
	}
	if tried == 0 {
		require.Missing(t, require.Kernels, "no image of Xen beside the kernels")
	}
}

// TestXenFileErrors: another file, and one that has changed since it was read, are the
// user's mistakes.
func TestXenFileErrors(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "xen")
	if err := os.WriteFile(path, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	mistake := (*GivenXenError)(nil)
	_, err := OpenXenFile(path)
	if want := "Xen file:" + path + ": it is no image of Xen"; !errors.As(err, &mistake) ||
		!strings.HasPrefix(err.Error(), want) {
		t.Errorf("another file: %v", err)
	}
	dir := t.TempDir()
	_, err = (&GivenXen{ID: XenID{Form: XenFile, SHA256: "0"}, path: path}).image("", dir)
	if !errors.As(err, &mistake) || !strings.Contains(err.Error(), "has changed") {
		t.Errorf("a file that has changed: %v", err)
	}
	if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
		t.Errorf("it was copied: %v, %v", left, err)
	}
}

// TestGivenXenVersion: two Xens of one version are told apart, and from Debian's.
func TestGivenXenVersion(t *testing.T) {
	t.Parallel()
	m := testManifest()
	m.GivenXen = &XenID{Form: XenFile, SHA256: "0123456789abcdef", Version: "4.20.5-pre"}
	if got := m.XenVersion(); got != "4.20.5-pre (file:0123456789ab)" {
		t.Errorf("an image: %s", got)
	}
	m.GivenXen = nil
	if got := m.XenVersion(); got != "4.20.4" {
		t.Errorf("Debian's: %s", got)
	}
}

// nameOnly writes a package that has nothing but its name.
func nameOnly(t *testing.T, path, name, version, arch string) {
	t.Helper()
	text := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: %s\n", name, version, arch)
	var control bytes.Buffer
	w := tar.NewWriter(&control)
	err := w.WriteHeader(&tar.Header{Name: "./control", Mode: 0o644, Size: int64(len(text))})
	_, werr := w.Write([]byte(text))
	if err := errors.Join(err, werr, w.Close()); err != nil {
		t.Fatal(err)
	}
	writeArchive(t, path, "control.tar", control.String())
}

// TestOpenXenDebs: a folder has the packages of one build of Xen.
func TestOpenXenDebs(t *testing.T) {
	t.Parallel()
	type pkg struct{ file, name, version, arch string }
	whole := []pkg{
		{"h.deb", "xen-hypervisor-4.21-amd64", "4.21.1-1", "amd64"}, {"u.deb", "xen-utils-4.21", "4.21.1-1", "amd64"},
		{"d.deb", "libxen-dev", "4.21.1-1", "amd64"}, {"c.deb", "xen-utils-common", "4.21.1-1", "all"},
		{"l.deb", "libfoo1", "3", "amd64"}, // what else they need
	}
	for _, tt := range []struct {
		name   string
		change func([]pkg) []pkg
		says   string
	}{
		{"whole", func(p []pkg) []pkg { return p }, ""},
		{"other files", func(p []pkg) []pkg { return append(p, pkg{"x.buildinfo", "none", "1", "all"}) }, ""},
		{"nothing", func([]pkg) []pkg { return nil }, "it has no package xen-hypervisor-RELEASE-amd64"},
		{"no tools", func(p []pkg) []pkg { p[1].name = "utils"; return p }, "it has no package xen-utils-4.21: build all"},
		{"no headers", func(p []pkg) []pkg { p[2].name = "dev"; return p }, "it has no package libxen-dev"},
		{"two releases", func(p []pkg) []pkg { return append(p, pkg{"o.deb", "xen-hypervisor-4.20-amd64", "4.20", "amd64"}) },
			"it has the hypervisors of Xen 4.20 and 4.21: leave one"},
		{"two builds", func(p []pkg) []pkg { p[1].version = "4.21.1-2"; return p },
			"its package xen-utils-4.21 has the version 4.21.1-2, and xen-hypervisor-4.21-amd64 has 4.21.1-1"},
		{"one twice", func(p []pkg) []pkg { return append(p, pkg{"v.deb", "xen-utils-4.21", "4.21.1-1", "amd64"}) },
			"u.deb and v.deb are both the package xen-utils-4.21"},
		{"for another machine", func(p []pkg) []pkg { p[0].arch = "arm64"; return p }, "h.deb is for arm64"},
	} {
		dir := t.TempDir()
		for _, p := range tt.change(append([]pkg(nil), whole...)) {
			nameOnly(t, filepath.Join(dir, p.file), p.name, p.version, p.arch)
		}
		g, err := OpenXenDebs(dir)
		if tt.says != "" {
			mistake := (*GivenXenError)(nil)
			if !errors.As(err, &mistake) || !strings.Contains(err.Error(), "Xen debs:"+dir+": ") ||
				!strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		p, err := (&Options{GivenXen: g}).platform()
		if err != nil || p.Xen != "4.21" || p.GCC != debian.Lab().GCC || g.ID.Version != "4.21.1-1" || len(g.packages) != 5 {
			t.Errorf("%s: %+v on %+v, %v", tt.name, g, p, err)
		}
		if got, err := g.image("/prefix", dir); got != "/prefix/boot/xen-4.21-amd64.gz" || err != nil {
			t.Errorf("%s: image %s, %v", tt.name, got, err)
		}
	}
}

// TestMergeDebs: a user's packages take the place of Debian's, and nothing of another
// release of Xen stays.
func TestMergeDebs(t *testing.T) {
	t.Parallel()
	g := &GivenXen{base: debian.Lab(), packages: []debian.Package{
		{Name: "xen-hypervisor-4.21-amd64", Version: "4.21", File: "/given/h.deb"},
		{Name: "libxenstore4", Version: "4.21", File: "/given/s.deb"},
	}}
	base := &debian.Lock{Packages: []debian.Package{
		{Name: "gcc-14", File: "gcc.deb"}, {Name: "libxenmisc4.20", File: "m.deb"}, {Name: "libxencall1", File: "c.deb"},
		{Name: "libxenstore4", Version: "4.20", File: "s.deb"}, {Name: "xen-hypervisor-4.20-amd64", File: "h.deb"},
		{Name: "xen-utils-4.20", File: "u.deb"},
	}}
	var got []string
	for _, p := range g.merge(base, "/debs").Packages {
		got = append(got, p.Name+" "+p.File)
	}
	const want = "gcc-14 /debs/gcc.deb, libxencall1 /debs/c.deb, libxenstore4 /given/s.deb, " +
		"xen-hypervisor-4.21-amd64 /given/h.deb"
	if strings.Join(got, ", ") != want {
		t.Errorf("%s\nwant %s", strings.Join(got, ", "), want)
	}
	if base.Packages[0].File != "gcc.deb" || len(g.packages) != 2 {
		t.Error("the packages of the caller were changed")
	}
}
