package lab

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hangbench/cgo/require"
)

func needPkgConfig(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("pkg-config"); err != nil {
		require.Missing(t, require.LibVMI, "pkg-config is not on this machine")
	}
}

// onlyIn restricts pkg-config to the folder dir.
func onlyIn(t *testing.T, dir string) {
	t.Setenv("PKG_CONFIG_PATH", "")
	t.Setenv("PKG_CONFIG_LIBDIR", dir)
}

func TestNoLibVMI(t *testing.T) {
	needPkgConfig(t)
	onlyIn(t, t.TempDir())
	if _, err := FindLibVMI(t.Context()); !errors.Is(err, ErrNoLibVMI) {
		t.Errorf("found one where there is none: %v", err)
	}
}

func TestLibVMIWithoutPkgConfig(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := FindLibVMI(t.Context()); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("without pkg-config: %v", err)
	}
}

// TestHalfLibVMI: an incomplete LibVMI is an error before anything is built.
func TestHalfLibVMI(t *testing.T) {
	needPkgConfig(t)
	dir := t.TempDir()
	onlyIn(t, dir)
	pc := "libdir=" + dir + "\nincludedir=" + dir + "\nName: LibVMI\nDescription: test\nVersion: 0.15.0\nLibs: -lvmi\n"
	if err := os.WriteFile(filepath.Join(dir, "libvmi.pc"), []byte(pc), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := FindLibVMI(t.Context()); err == nil || !strings.Contains(err.Error(), "libvmi.so") ||
		!strings.Contains(err.Error(), "0.15.0") {
		t.Errorf("without its library: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "libvmi.so"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := FindLibVMI(t.Context()); err == nil || !strings.Contains(err.Error(), "libvmi.h") {
		t.Errorf("without its headers: %v", err)
	}
}

// TestStageLibVMI: the folder has LibVMI and those of its libraries that the prefix lacks,
// under the names for the linker and the loader.
func TestStageLibVMI(t *testing.T) {
	t.Parallel()
	v, err := FindLibVMI(t.Context())
	if err != nil {
		require.Missing(t, require.LibVMI, "%v", err)
	}
	prefix, dir := t.TempDir(), filepath.Join(t.TempDir(), "stage")
	libs := filepath.Join(prefix, "usr/lib/x86_64-linux-gnu")
	if err := os.MkdirAll(libs, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"libc.so.6", "libc.so"} {
		if err := os.WriteFile(filepath.Join(libs, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, err := v.stage(dir, prefix)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"include/libvmi/libvmi.h", "libvmi.so", "libglib-2.0.so", "libglib-2.0.so.0"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("not staged: %v", err)
		}
	}
	for _, name := range []string{"libc.so.6", "libc.so"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is staged, though the prefix has it", name)
		}
	}
	if s.sum == "" {
		t.Error("the libraries have no hash")
	}
}
