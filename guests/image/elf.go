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

// Libraries is a search path for shared libraries.
type Libraries struct {
	// Prefix is the root folder. The path of a program's interpreter is below it.
	Prefix string
	// Dirs are folders below Prefix, searched in order. Debian's libraries are in
	// "usr/lib/x86_64-linux-gnu"; for Xen's, see debian.XenRelease.LibraryDirs.
	Dirs []string
	// Extra is a folder of the host that is searched last, or empty.
	Extra string
}

// libDir is the folder of the libraries in a Tree: the first that Debian's loader
// searches.
const libDir = "lib/x86_64-linux-gnu"

// loader is the library name of the C library's dynamic loader.
const loader = "ld-linux-x86-64.so.2"

// Library is a shared library that a program or another library needs.
type Library struct {
	// Name is the name in the NEEDED entry, for example "libc.so.6".
	Name string
	// Path is the path of the library's file on the host.
	Path string
}

// Closure returns the libraries that the ELF file path needs, and those that they
// need, sorted by name, and the program's interpreter ("" for a library or a static
// program). It follows NEEDED entries and searches libs only: it ignores RPATH and
// RUNPATH.
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

// find returns the path of the library name.
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

// Soname returns the name under which a shared library is loaded.
func Soname(file string) (string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return "", fmt.Errorf("read ELF file %s: %w", file, err)
	}
	defer f.Close()
	names, err := f.DynString(elf.DT_SONAME)
	if err != nil || len(names) != 1 {
		return "", fmt.Errorf("read ELF file %s: it has no SONAME", file)
	}
	return names[0], nil
}

// Program adds the host's ELF program path under the given name (mode 0755), its
// interpreter under the path in the program, and every shared library that it needs
// under /lib/x86_64-linux-gnu. An interpreter or a library that the tree has already is
// not added again.
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

// Library adds a shared library that is opened at run time and is no program's NEEDED
// entry, and the libraries that it needs. One is libgcc_s.so.1: the C library opens it
// for pthread_cancel.
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

// libraries adds the libraries that the tree does not have yet.
func (t *Tree) libraries(list []Library) error {
	for _, l := range list {
		// The loader is a library too. The tree has it as the programs' interpreter, and
		// it is not loaded twice.
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
