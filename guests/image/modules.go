package image

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ulikunitz/xz"
)

// maxModuleBytes bounds what a compressed module may unpack to. The largest of
// Debian's kernels has 10 MB.
const maxModuleBytes = 256 << 20

// Modules are the loadable modules of one kernel.
type Modules struct {
	dir     string
	files   map[string]string // by normal name
	builtin map[string]bool
}

// OpenModules looks for the modules below dir, the kernel's folder in
// usr/lib/modules: files named *.ko or *.ko.xz, in any subfolder. The list
// modules.builtin, when there, tells what is part of the kernel itself.
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
		return nil, fmt.Errorf("look for kernel modules: none is below %s", dir)
	}
	return m, nil
}

// moduleName turns a file name into a module's name.
func moduleName(file string) (string, bool) {
	name, ok := strings.CutSuffix(strings.TrimSuffix(file, ".xz"), ".ko")
	return normalName(name), ok
}

// normalName is the name the kernel knows a module by: dash and underscore
// are the same.
func normalName(name string) string { return strings.ReplaceAll(name, "-", "_") }

// Module is one module, decompressed.
type Module struct {
	// Name is the kernel's name, with underscores.
	Name string
	// Data is the ELF object for init_module(2).
	Data []byte
}

// InOrder returns the named modules and all they depend on, in an order in
// which they can be loaded. What is built into the kernel is left out. The
// dependencies are read from the modules themselves, because modules.dep is
// not in a package but made at installation.
func (m *Modules) InOrder(names ...string) ([]Module, error) {
	var (
		order []Module
		state = make(map[string]int) // 1 being visited, 2 done
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

// readModule returns a module's file, decompressed.
func readModule(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read kernel module: %w", err)
	}
	if !strings.HasSuffix(file, ".xz") {
		return data, nil
	}
	z, err := xz.NewReader(bytes.NewReader(data))
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

// moduleDepends returns the names in a module's own list of dependencies.
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

// modinfoDepends reads the section .modinfo: strings of the form key=value,
// each ended by a zero byte, among them one "depends=a,b,c"
// (include/linux/module.h, scripts/mod/modpost.c).
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

// Modules adds the named modules and what they depend on, decompressed, as
// dir/NAME.ko, and returns the files' paths in the tree in loading order.
func (t *Tree) Modules(dir string, m *Modules, names ...string) ([]string, error) {
	mods, err := m.InOrder(names...)
	if err != nil {
		return nil, fmt.Errorf("add kernel modules to the image: %w", err)
	}
	var paths []string
	for _, mod := range mods {
		path := "/" + strings.Trim(dir, "/") + "/" + mod.Name + ".ko"
		if !t.has(path) {
			if err := t.File(path, 0o644, mod.Data); err != nil {
				return nil, err
			}
		}
		paths = append(paths, path)
	}
	return paths, nil
}
