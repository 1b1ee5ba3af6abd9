package image

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Libraries says where shared libraries are found.
type Libraries struct {
	// Prefix is the root below which programs' interpreters are looked up.
	Prefix string
	// Dirs are folders below Prefix, searched in order. Debian's are
	// "usr/lib/x86_64-linux-gnu" and, for Xen's own, the ones below
	// "usr/lib/xen-4.20/lib".
	Dirs []string
	// Extra is a folder of the host that is searched after them; empty for none.
	Extra string
}

// libDir is where Tree puts libraries: the first folder of Debian's loader.
const libDir = "lib/x86_64-linux-gnu"

// loader is the C library's dynamic loader as a library's name.
const loader = "ld-linux-x86-64.so.2"

// Library is a shared library that something needs.
type Library struct {
	// Name is the name it is asked for by, for example "libc.so.6".
	Name string
	// Path is the host's file.
	Path string
}

// Closure walks the NEEDED entries of the ELF file path, and of all that it
// finds, and returns the libraries sorted by name and the program interpreter
// ("" for a library or a static program). RPATH and RUNPATH are not looked at:
// libs alone says where to search.
func (libs Libraries) Closure(path string) (needed []Library, interp string, err error) {
	interp, roots, err := dynamic(path)
	if err != nil {
		return nil, "", err
	}
	found := make(map[string]string)
	if err := libs.walk(path, roots, found); err != nil {
		return nil, "", err
	}
	for name, file := range found {
		needed = append(needed, Library{Name: name, Path: file})
	}
	slices.SortFunc(needed, func(a, b Library) int { return strings.Compare(a.Name, b.Name) })
	return needed, interp, nil
}

func (libs Libraries) walk(needer string, names []string, found map[string]string) error {
	for _, name := range names {
		if _, ok := found[name]; ok {
			continue
		}
		file, err := libs.find(name)
		if err != nil {
			return fmt.Errorf("%s needs %s: %w", needer, name, err)
		}
		found[name] = file
		_, next, err := dynamic(file)
		if err != nil {
			return err
		}
		if err := libs.walk(file, next, found); err != nil {
			return err
		}
	}
	return nil
}

// find returns the file of the library name.
func (libs Libraries) find(name string) (string, error) {
	if name != path.Base(name) {
		return "", errors.New("not the name of a library")
	}
	var files []string
	for _, d := range libs.Dirs {
		files = append(files, filepath.Join(libs.Prefix, d, name))
	}
	if libs.Extra != "" {
		files = append(files, filepath.Join(libs.Extra, name))
	}
	for _, file := range files {
		if _, err := os.Stat(file); err == nil {
			return file, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("it is in none of %s below %s", strings.Join(libs.Dirs, ", "), libs.Prefix)
}

// dynamic returns the interpreter and the NEEDED entries of an ELF file.
func dynamic(file string) (interp string, needed []string, err error) {
	f, err := elf.Open(file)
	if err != nil {
		return "", nil, fmt.Errorf("read ELF file %s: %w", file, err)
	}
	defer f.Close()
	if f.Class != elf.ELFCLASS64 || f.Machine != elf.EM_X86_64 {
		return "", nil, fmt.Errorf("read ELF file %s: made for %v, not for x86-64", file, f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		if p.Filesz > 4096 {
			return "", nil, fmt.Errorf("read ELF file %s: its interpreter's name has %d bytes", file, p.Filesz)
		}
		b, err := io.ReadAll(p.Open())
		if err != nil {
			return "", nil, fmt.Errorf("read ELF file %s: %w", file, err)
		}
		interp = strings.TrimRight(string(b), "\x00")
	}
	needed, err = f.ImportedLibraries()
	if err != nil {
		return "", nil, fmt.Errorf("read ELF file %s: %w", file, err)
	}
	return interp, needed, nil
}

// Soname returns the name by which a shared library is loaded.
func Soname(file string) (string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return "", fmt.Errorf("read ELF file %s: %w", file, err)
	}
	defer f.Close()
	names, err := f.DynString(elf.DT_SONAME)
	if err != nil || len(names) != 1 {
		return "", fmt.Errorf("read ELF file %s: it has no name to be loaded by", file)
	}
	return names[0], nil
}

// Program adds the ELF program of the host's file path under name (mode 0755),
// its interpreter at the place it asks for, and every shared library it needs
// under /lib/x86_64-linux-gnu. What is in the tree already is not added twice.
func (t *Tree) Program(name, path string, libs Libraries) error {
	needed, interp, err := libs.Closure(path)
	if err != nil {
		return fmt.Errorf("add %s to the image: %w", name, err)
	}
	if interp != "" && !t.has(interp) {
		if err := t.FileFrom(interp, 0o755, filepath.Join(libs.Prefix, interp)); err != nil {
			return err
		}
	}
	if err := t.libraries(needed); err != nil {
		return err
	}
	return t.FileFrom(name, 0o755, path)
}

// Library adds a shared library that no program names as NEEDED but that is
// opened at run time, and what it needs in turn. libgcc_s.so.1 is one: the C
// library opens it for pthread_cancel.
func (t *Tree) Library(name string, libs Libraries) error {
	file, err := libs.find(name)
	if err != nil {
		return fmt.Errorf("add library %s to the image: %w", name, err)
	}
	needed, _, err := libs.Closure(file)
	if err != nil {
		return fmt.Errorf("add library %s to the image: %w", name, err)
	}
	return t.libraries(append(needed, Library{Name: name, Path: file}))
}

// libraries adds the libraries that are not there yet.
func (t *Tree) libraries(list []Library) error {
	for _, l := range list {
		// Programs bring the loader along at the path of their interpreter, and
		// it is not loaded a second time as the library it also is.
		if l.Name == loader {
			continue
		}
		name := libDir + "/" + l.Name
		if t.has(name) {
			continue
		}
		if err := t.FileFrom(name, 0o644, l.Path); err != nil {
			return err
		}
	}
	return nil
}
