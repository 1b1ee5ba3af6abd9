package toolchain

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hangbench/cgo/require"
	"hangbench/guests/lab/debian"
)

// labPrefix returns an unpacked prefix for tests that need a real one.
func labPrefix(t *testing.T) string {
	t.Helper()
	p := os.Getenv("HANGBENCH_PREFIX")
	if p == "" {
		require.Missing(t, require.Prefix, "HANGBENCH_PREFIX does not name an unpacked package prefix: the real compiler "+
			"is not tried")
	}
	return p
}

// fakePrefix makes the files that CC needs.
func fakePrefix(t *testing.T, p debian.Platform) string {
	t.Helper()
	prefix := filepath.Join(t.TempDir(), "prefix")
	files := []string{loader, p.CompilerDriver()}
	for _, h := range helpers(p) {
		files = append(files, h.program)
	}
	for _, f := range files {
		path := filepath.Join(prefix, f)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		// This program prints its arguments in place of the loader.
		if err := os.WriteFile(path, []byte("#!/bin/sh\nprintf '%s\\n' \"LIBRARY_PATH=$LIBRARY_PATH\" \"$@\"\n"),
			0o755); err != nil {
			t.Fatal(err)
		}
	}
	return prefix
}

func TestCCScripts(t *testing.T) {
	for _, p := range debian.Platforms() {
		t.Run(string(p.Release), func(t *testing.T) { testCCScripts(t, p) })
	}
}

func testCCScripts(t *testing.T, p debian.Platform) {
	prefix := fakePrefix(t, p)
	dir := filepath.Join(t.TempDir(), "cc")
	cc, err := CC(p, prefix, dir)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(cc, "-c", "a b.c", "$HOME")
	cmd.Env = []string{"LIBRARY_PATH=/host"}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"LIBRARY_PATH=",
		"--library-path", filepath.Join(prefix, libs), filepath.Join(prefix, p.CompilerDriver()),
		"-B" + filepath.Join(dir, "tools") + "/", "--sysroot=" + prefix, "-ffile-prefix-map=" + prefix + "=/lab",
		"-c", "a b.c", "$HOME",
	}
	if got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"); !slices.Equal(got, want) {
		t.Errorf("the compiler script ran\n%q\nwant\n%q", got, want)
	}
	for _, h := range helpers(p) {
		out, err := exec.Command(filepath.Join(dir, "tools", h.name), "x y").Output()
		if err != nil {
			t.Fatal(err)
		}
		if want := "--library-path\n" + filepath.Join(prefix, libs) + "\n" + filepath.Join(prefix, h.program) +
			"\nx y\n"; !strings.HasSuffix(string(out), want) {
			t.Errorf("%s ran %q, want ...%q", h.name, out, want)
		}
	}

	before, err := os.Stat(cc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CC(p, prefix, dir); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(cc)
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, after) {
		t.Error("a second call replaced a script that was right")
	}
}

func TestCCRefuses(t *testing.T) {
	prefix := fakePrefix(t, debian.Lab())
	if _, err := CC(debian.Lab(), prefix, filepath.Join(t.TempDir(), "a b")); err == nil ||
		!strings.Contains(err.Error(), "blank") {
		t.Errorf("a folder with a blank gives %v", err)
	}
	if err := os.Remove(filepath.Join(prefix, debian.Lab().GCCDir, "cc1")); err != nil {
		t.Fatal(err)
	}
	if _, err := CC(debian.Lab(), prefix, t.TempDir()); err == nil || !strings.Contains(err.Error(), "cc1") ||
		!strings.Contains(err.Error(), debian.Lab().Compiler()) {
		t.Errorf("a prefix without cc1 gives %v", err)
	}
}

const cLibrary = `
#include <xenctrl.h>
#include <stdio.h>
const char *where(void) { return __FILE__; }
int ring(xc_interface *x) { fprintf(stderr, "%s\n", where()); return x == 0 ? -1 : xc_interface_close(x); }
`

const goProgram = `package main

// #cgo LDFLAGS: -lxenctrl -lxenevtchn -lxenforeignmemory -lxenstore
// #include <stdlib.h>
// #include <xenctrl.h>
// #include <xenevtchn.h>
// #include <xenforeignmemory.h>
// #include <xenstore.h>
// static int all(void) {
//   xc_interface *x = xc_interface_open(0, 0, 0);
//   xenevtchn_handle *e = xenevtchn_open(0, 0);
//   xenforeignmemory_handle *f = xenforeignmemory_open(0, 0);
//   struct xs_handle *s = xs_open(0);
//   return (x != 0) | (e != 0) << 1 | (f != 0) << 2 | (s != 0) << 3;
// }
import "C"
import "fmt"

func main() { fmt.Println("opened", int(C.all())) }
`

// TestBuildsSameBytes builds a C library and a cgo program with libxenctrl twice, with
// prefix, scripts and sources in different folders, and runs the program.
func TestBuildsSameBytes(t *testing.T) {
	t.Parallel()
	real := labPrefix(t)
	if testing.Short() {
		t.Skip("compiles the Go runtime twice")
	}
	build := func() (lib, prog []byte, path, prefix string) {
		top := t.TempDir()
		// Another path of the same prefix.
		prefix = filepath.Join(top, "prefix")
		if err := os.Symlink(real, prefix); err != nil {
			t.Fatal(err)
		}
		cc, err := CC(debian.Lab(), prefix, filepath.Join(top, "cc"))
		if err != nil {
			t.Fatal(err)
		}
		src := filepath.Join(top, "src")
		if err := os.MkdirAll(src, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"lib.c": cLibrary, "main.go": goProgram,
			"go.mod": "module probe\n\ngo 1.26\n"} {
			if err := os.WriteFile(filepath.Join(src, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		run := func(name string, args ...string) {
			cmd := exec.Command(name, args...)
			cmd.Dir = src
			cmd.Env = append(os.Environ(), GoEnv(cc)...)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s %q: %v\n%s", name, args, err, out)
			}
		}
		run(cc, "-shared", "-fPIC", "-O2", "-g", "-ffile-prefix-map="+src+"=.", "-o", "lib.so", "lib.c", "-lxenctrl")
		run("go", append(append([]string{"build"}, GoFlags()...), "-o", "prog", ".")...)
		lib, err = os.ReadFile(filepath.Join(src, "lib.so"))
		if err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(src, "prog")
		if prog, err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
		return lib, prog, path, prefix
	}
	lib1, prog1, path, prefix := build()
	lib2, prog2, _, _ := build()
	if !bytes.Equal(lib1, lib2) {
		t.Error("the C library built in two places differs")
	}
	if !bytes.Equal(prog1, prog2) {
		t.Error("the cgo program built in two places differs")
	}
	if bytes.Contains(prog1, []byte(prefix)) || bytes.Contains(lib1, []byte(prefix)) {
		t.Errorf("the path %s is part of what was built", prefix)
	}

	f, err := elf.NewFile(bytes.NewReader(prog1))
	if err != nil {
		t.Fatal(err)
	}
	needed, err := f.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{debian.Lab().Xen.Libxenctrl(), "libxenevtchn.so.1", "libxenforeignmemory.so.1",
		"libxenstore.so.4", "libc.so.6"} {
		if !slices.Contains(needed, want) {
			t.Errorf("the program needs %q, without %s", needed, want)
		}
	}

	ld, libDir := Loader(prefix)
	out, err := exec.Command(ld, "--library-path", libDir, path).Output()
	if err != nil {
		t.Fatal(err)
	}
	// Without Xen nothing can be opened. On a Xen host something may be.
	if !strings.HasPrefix(string(out), "opened ") {
		t.Errorf("the program said %q", out)
	}
}
