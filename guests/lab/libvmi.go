package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"hangbench/guests/image"
	"hangbench/guests/lab/debian"
)

// LibVMI is a LibVMI that is installed on this machine. Debian has no package of
// it, so the lab takes this one, with the libraries it needs that the lab's own
// packages do not have.
type LibVMI struct {
	Version string
	include string // folder of libvmi/libvmi.h
	library string // libvmi.so
}

// ErrNoLibVMI says that there is none.
var ErrNoLibVMI = errors.New("pkg-config finds no libvmi: Debian has no package of it; build LibVMI 0.14 or newer with its Xen driver, against the headers of Xen " + string(debian.Xen) + ", install it, and name the folder of its libvmi.pc in PKG_CONFIG_PATH")

// FindLibVMI asks pkg-config.
func FindLibVMI(ctx context.Context) (*LibVMI, error) {
	ask := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "pkg-config", append(args, "libvmi")...).Output()
		var exit *exec.ExitError
		switch {
		case errors.Is(err, exec.ErrNotFound):
			return "", fmt.Errorf("look for LibVMI: there is no pkg-config, which finds it: %w", err)
		case errors.As(err, &exit):
			return "", ErrNoLibVMI
		case err != nil:
			return "", fmt.Errorf("look for LibVMI: %w", err)
		}
		return strings.TrimSpace(string(out)), nil
	}
	v := &LibVMI{}
	var libdir string
	for _, x := range []struct {
		into *string
		arg  string
	}{{&v.Version, "--modversion"}, {&v.include, "--variable=includedir"}, {&libdir, "--variable=libdir"}} {
		var err error
		if *x.into, err = ask(x.arg); err != nil {
			return nil, err
		}
	}
	v.library = filepath.Join(libdir, "libvmi.so")
	for _, f := range []string{v.library, filepath.Join(v.include, "libvmi", "libvmi.h")} {
		if _, err := os.Stat(f); err != nil {
			return nil, fmt.Errorf("pkg-config finds LibVMI %s, of which a file is missing: %w", v.Version, err)
		}
	}
	return v, nil
}

// Library is the path of libvmi.so.
func (v *LibVMI) Library() string { return v.library }

// hostDirs are where this machine's libraries are.
var hostDirs = []string{"usr/local/lib", "usr/local/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64", "usr/lib64"}

// staged is a folder with what a compiler needs of LibVMI, and nothing else of
// this machine's: include/libvmi, and the libraries, by the names by which they
// are linked and by which they are loaded.
type staged struct {
	dir string
	sum string // hash of all libraries
}

// stage makes it. Libraries that the prefix has are left to it.
func (v *LibVMI) stage(dir, prefix string) (*staged, error) {
	if err := os.MkdirAll(filepath.Join(dir, "include"), 0o755); err != nil {
		return nil, err
	}
	if err := os.Symlink(filepath.Join(v.include, "libvmi"), filepath.Join(dir, "include", "libvmi")); err != nil {
		return nil, err
	}
	here := strings.TrimPrefix(filepath.Dir(v.library), "/")
	libs := image.Libraries{Prefix: "/", Dirs: append([]string{here}, hostDirs...)}
	needed, _, err := libs.Closure(v.library)
	if err != nil {
		return nil, fmt.Errorf("find the libraries of LibVMI: %w", err)
	}
	soname, err := image.Soname(v.library)
	if err != nil {
		return nil, err
	}
	needed = append(needed, image.Library{Name: soname, Path: v.library})
	h := sha256.New()
	for _, l := range needed {
		file := filepath.Join(prefix, "usr/lib/x86_64-linux-gnu", l.Name)
		switch _, err := os.Stat(file); {
		case errors.Is(err, fs.ErrNotExist):
			file = l.Path
			sum, err := hashFile(file)
			if err != nil {
				return nil, err
			}
			fmt.Fprintln(h, l.Name, sum)
			if err := os.Symlink(file, filepath.Join(dir, l.Name)); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, err
		}
		// libglib-2.0.so.0 is linked as libglib-2.0.so, which the packages have for
		// the C library alone.
		base, _, versioned := strings.Cut(l.Name, ".so.")
		if _, err := os.Stat(filepath.Join(prefix, "usr/lib/x86_64-linux-gnu", base+".so")); versioned && errors.Is(err, fs.ErrNotExist) {
			if err := os.Symlink(file, filepath.Join(dir, base+".so")); err != nil {
				return nil, err
			}
		}
	}
	return &staged{dir, hex.EncodeToString(h.Sum(nil)[:8])}, nil
}

// env has the go command find it. What the libraries of this machine need of
// others is found when the program is loaded.
func (s *staged) env() []string {
	return []string{"CGO_CFLAGS=-O2 -I" + filepath.Join(s.dir, "include"), "CGO_LDFLAGS=-L" + s.dir + " -Wl,--allow-shlib-undefined"}
}
