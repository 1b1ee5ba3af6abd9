package image

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// maxModuleBytes bounds the size of a decompressed module. The largest module of
// Debian's kernels has 10 MB.
const maxModuleBytes = 256 << 20

// Modules are the loadable modules of one kernel.
type Modules struct {
	dir     string
	files   map[string]string // normal name → path
	builtin map[string]bool
}

// OpenModules finds the modules below dir, the kernel's folder in usr/lib/modules:
// files named *.ko, *.ko.xz, *.ko.zst or *.ko.gz, in any subfolder. The file modules.builtin, if it
// exists, lists the modules that are part of the kernel itself.
func OpenModules(dir string) (*Modules, error) {
	m := &Modules{dir: dir, files: make(map[string]string), builtin: make(map[string]bool)}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name, ok := moduleName(d.Name()); ok && !d.IsDir() {
			m.files[name] = path
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for kernel modules: %w", err)
	}
	list, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for kernel modules: %w", err)
	}
	for line := range strings.Lines(string(list)) {
		if name, ok := moduleName(filepath.Base(strings.TrimSpace(line))); ok {
			m.builtin[name] = true
		}
	}
	if len(m.files) == 0 {
		return nil, fmt.Errorf("look for kernel modules: %w below %s", ErrNoModules, dir)
	}
	return m, nil
}

// ErrNoModules reports that there is no module in a folder.
var ErrNoModules = errors.New("none is")

// Dir returns the folder of the modules.
func (m *Modules) Dir() string { return m.dir }

// moduleName returns the normal name of the module in a file. ok is false for a file
// that is no module.
func moduleName(file string) (normal string, ok bool) {
	if ext := filepath.Ext(file); ext != ".ko" && moduleFormats[ext] != nil {
		file = strings.TrimSuffix(file, ext)
	}
	name, ok := strings.CutSuffix(file, ".ko")
	return normalName(name), ok
}

// normalName returns a module's name with underscores in place of dashes. The kernel
// does not distinguish the two.
func normalName(name string) string { return strings.ReplaceAll(name, "-", "_") }

// Module is one module, decompressed.
type Module struct {
	// Name is the module's name, with underscores.
	Name string
	// Data is the module's ELF file, for init_module(2).
	Data []byte
}

// InOrder returns the named modules and all their dependencies, in an order in which
// they can be loaded. It leaves out modules that are built into the kernel. It reads
// the dependencies from the modules: modules.dep is made at installation, and no
// package has it.
func (m *Modules) InOrder(names ...string) ([]Module, error) {
	var (
		order []Module
		state = make(map[string]int) // 1: being visited, 2: done
		visit func(name, by string) error
	)
	visit = func(name, by string) error {
		name = normalName(name)
		switch {
		case m.builtin[name] || state[name] == 2:
			return nil
		case state[name] == 1:
			return fmt.Errorf("kernel module %s depends on itself", name)
		}
		state[name] = 1
		file, ok := m.files[name]
		if !ok {
			return fmt.Errorf("kernel module %s, %s, is not below %s", name, by, m.dir)
		}
		data, err := readModule(file)
		if err != nil {
			return err
		}
		deps, err := moduleDepends(data)
		if err != nil {
			return fmt.Errorf("read kernel module %s: %w", file, err)
		}
		for _, d := range deps {
			if err := visit(d, "needed by "+name); err != nil {
				return err
			}
		}
		state[name] = 2
		order = append(order, Module{Name: name, Data: data})
		return nil
	}
	for _, n := range names {
		if err := visit(n, "asked for"); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// moduleFormats are the formats of compressed modules, by the end of the file's name.
var moduleFormats = map[string]func(io.Reader) (io.Reader, error){
	".xz": func(r io.Reader) (io.Reader, error) { return xz.NewReader(r) },
	".gz": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
	".zst": func(r io.Reader) (io.Reader, error) {
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxModuleBytes))
	},
}

// readModule returns the content of a module's file, decompressed.
func readModule(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read kernel module: %w", err)
	}
	open := moduleFormats[filepath.Ext(file)]
	if open == nil {
		return data, nil
	}
	z, err := open(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("decompress kernel module %s: %w", file, err)
	}
	data, err = io.ReadAll(io.LimitReader(z, maxModuleBytes+1))
	if err != nil {
		return nil, fmt.Errorf("decompress kernel module %s: %w", file, err)
	}
	if len(data) > maxModuleBytes {
		return nil, fmt.Errorf("decompress kernel module %s: it has more than %d MiB", file, maxModuleBytes>>20)
	}
	return data, nil
}

// moduleDepends returns the names of the modules on which a module depends.
func moduleDepends(module []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, err
	}
	sec := f.Section(".modinfo")
	if sec == nil {
		return nil, errors.New("it has no .modinfo section")
	}
	info, err := sec.Data()
	if err != nil {
		return nil, err
	}
	return modinfoDepends(info), nil
}

// modinfoDepends returns the dependencies in the section .modinfo. The section has
// strings of the form key=value, each with a zero byte at its end; one is
// "depends=a,b,c" (include/linux/module.h, scripts/mod/modpost.c).
func modinfoDepends(info []byte) []string {
	var deps []string
	for field := range bytes.SplitSeq(info, []byte{0}) {
		list, ok := bytes.CutPrefix(field, []byte("depends="))
		if !ok {
			continue
		}
		for name := range strings.SplitSeq(string(list), ",") {
			if name != "" {
				deps = append(deps, name)
			}
		}
	}
	return deps
}
