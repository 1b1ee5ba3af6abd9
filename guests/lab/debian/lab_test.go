package debian_test

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hangbench/cgo/require"
	"hangbench/guests/image"
	"hangbench/guests/lab/debian"
)

func TestSpecs(t *testing.T) {
	t.Parallel()
	type set struct {
		name     string
		wanted   []string
		excluded []debian.Exclusion
	}
	sets := []set{
		{"lab", debian.Lab().Wanted(), debian.Lab().Excluded()},
		{"kernel", []string{"linux-image-cloud-amd64"}, debian.KernelExcluded()},
		{"stress-ng", debian.StressWanted(), debian.StressExcluded()},
		{"HVM", debian.HVMWanted(), debian.HVMExcluded()},
	}
	for _, p := range debian.Platforms() {
		sets = append(sets, set{"Xen " + string(p.Xen), p.XenWanted(), p.Excluded()})
		if !slices.Contains(p.XenWanted(), p.Xen.Hypervisor()) || !slices.Contains(p.XenWanted(), p.Compiler()) {
			t.Errorf("Xen %s comes without hypervisor or compiler: %q", p.Xen, p.XenWanted())
		}
	}
	for _, set := range sets {
		seen := make(map[string]bool)
		for _, e := range set.excluded {
			if e.Why == "" || seen[e.Name] {
				t.Errorf("%s: exclusion %q has no reason or is there twice", set.name, e.Name)
			}
			if slices.Contains(set.wanted, e.Name) {
				t.Errorf("%s: %s is both wanted and excluded", set.name, e.Name)
			}
			seen[e.Name] = true
		}
		if len(set.wanted) == 0 {
			t.Errorf("%s: nothing is wanted", set.name)
		}
	}
}

// TestLabPrefixIsComplete: the prefix has all libraries of every ELF file in the folders
// from which the lab runs or loads something, without the packages and files that are
// left out.
func TestLabPrefixIsComplete(t *testing.T) {
	t.Parallel()
	prefix := os.Getenv("HANGBENCH_PREFIX")
	if prefix == "" {
		require.Missing(t, require.Prefix, "HANGBENCH_PREFIX does not name an unpacked package prefix: its completeness "+
			"is not checked")
	}
	libs := image.Libraries{Prefix: prefix, Dirs: debian.Lab().Xen.LibraryDirs()}
	n := 0
	for _, dir := range []string{
		"usr/bin", "usr/sbin", debian.Lab().Xen.Dir() + "/bin", "usr/lib/x86_64-linux-gnu/bochs/plugins",
		debian.Lab().GCCDir,
	} {
		err := filepath.WalkDir(filepath.Join(prefix, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || !isELF(t, path) {
				return err
			}
			n++
			if _, _, err := libs.Closure(path); err != nil {
				t.Error(err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	// The emulator has 50 plugins, Xen about 40 programs, binutils 20.
	if n < 100 {
		t.Errorf("only %d ELF files were found", n)
	}
	for _, want := range []string{
		"usr/bin/bochs-bin", "usr/share/bochs/BIOS-bochs-latest", "usr/share/bochs/VGABIOS-lgpl-latest",
		"usr/share/vgabios/vgabios.bin",
		"usr/lib/ISOLINUX/isolinux.bin", "usr/lib/syslinux/modules/bios/mboot.c32", debian.Lab().Xen.Image(),
		"usr/include/xenctrl.h", "usr/lib/x86_64-linux-gnu/libxenctrl.so", "usr/lib/x86_64-linux-gnu/libgcc_s.so.1",
		"lib64/ld-linux-x86-64.so.2",
	} {
		if fi, err := os.Stat(filepath.Join(prefix, want)); err != nil || fi.Size() == 0 {
			t.Errorf("%s is missing or empty (%v)", want, err)
		}
	}
	if kernels, err := filepath.Glob(filepath.Join(prefix, "boot/vmlinuz-*")); err != nil || len(kernels) != 2 ||
		!strings.Contains(strings.Join(kernels, " "), "cloud") {
		t.Errorf("kernels %q, %v", kernels, err)
	}
}

func isELF(t *testing.T, path string) bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var magic [4]byte
	if _, err := io.ReadFull(f, magic[:]); err != nil {
		return false
	}
	return bytes.Equal(magic[:], []byte("\x7fELF"))
}
