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

// LibVMI is the LibVMI of this machine. Debian has no package of it, so the lab gets
// this one, with those of its libraries that the lab's packages do not have.
type LibVMI struct {
	Version string
	include string // folder of libvmi/libvmi.h
	library string // libvmi.so
}

// ErrNoLibVMI reports that this machine has no LibVMI.
var ErrNoLibVMI = errors.New("pkg-config finds no libvmi: Debian has no package of it; build LibVMI 0.14 or newer " +
	"with its Xen driver, against the headers of Xen " + string(debian.Lab().Xen) + ", install it, and name the " +
	"folder of its libvmi.pc in PKG_CONFIG_PATH")

// FindLibVMI finds this machine's LibVMI with pkg-config. The error is ErrNoLibVMI if
// there is none.
func FindLibVMI(ctx context.Context) (*LibVMI, error) {
	ask := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "pkg-config", append(args, "libvmi")...).Output()
		var exit *exec.ExitError
		switch {
		case errors.Is(err, exec.ErrNotFound):
			return "", fmt.Errorf("look for LibVMI: there is no pkg-config, which is needed to find it: %w", err)
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
			return nil, fmt.Errorf("pkg-config finds LibVMI %s, but one of its files is missing: %w", v.Version, err)
		}
	}
	return v, nil
}

// Library returns the path of libvmi.so.
func (v *LibVMI) Library() string { return v.library }

// hostDirs returns the folders of this machine's libraries, below the root.
func hostDirs() []string {
	return []string{
		"usr/local/lib", "usr/local/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64",
		"usr/lib64",
	}
}

// staged is a folder with the files of LibVMI that a compiler needs, and no other
// file of this machine: include/libvmi, and links to the libraries, under the names
// for the linker and the names for the loader.
type staged struct {
	dir string
	sum string // hash of all libraries
}

// stage makes the folder dir. It leaves out libraries that the prefix has.
func (v *LibVMI) stage(dir, prefix string) (*staged, error) {
	if err := os.MkdirAll(filepath.Join(dir, "include"), 0o755); err != nil {
		return nil, err
	}
	if err := os.Symlink(filepath.Join(v.include, "libvmi"), filepath.Join(dir, "include", "libvmi")); err != nil {
		return nil, err
	}
	here := strings.TrimPrefix(filepath.Dir(v.library), "/")
	libs := image.Libraries{Prefix: "/", Dirs: append([]string{here}, hostDirs()...)}
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
		// The linker looks for libglib-2.0.so.0 under the name libglib-2.0.so. Of the
		// prefix's libraries, only the C library has such a name.
		base, _, versioned := strings.Cut(l.Name, ".so.")
		_, err = os.Stat(filepath.Join(prefix, "usr/lib/x86_64-linux-gnu", base+".so"))
		if versioned && errors.Is(err, fs.ErrNotExist) {
			if err := os.Symlink(file, filepath.Join(dir, base+".so")); err != nil {
				return nil, err
			}
		}
	}
	return &staged{dir, hex.EncodeToString(h.Sum(nil)[:8])}, nil
}

// env returns the variables with which the go command finds LibVMI. The linker does not
// resolve the symbols that this machine's libraries need of others: the loader does.
func (s *staged) env() []string {
	return []string{
		"CGO_CFLAGS=-O2 -I" + filepath.Join(s.dir, "include"),
		"CGO_LDFLAGS=-L" + s.dir + " -Wl,--allow-shlib-undefined",
	}
}
