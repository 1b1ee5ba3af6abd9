package image

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"hangbench/cgo/require"
	"hangbench/guests/lab/debian"
)

// makeELF makes a small x86-64 ELF file. It has an interpreter, a dynamic section with
// the needed libraries, and a .modinfo section, each if it is not empty.
func makeELF(t testing.TB, interp string, needed []string, modinfo string) []byte {
	t.Helper()
	type section struct {
		name string
		typ  elf.SectionType
		link uint32
		data []byte
	}
	sections := []section{{}}
	if len(needed) > 0 {
		strs := []byte{0}
		var dyn bytes.Buffer
		for _, n := range needed {
			for _, v := range []uint64{uint64(elf.DT_NEEDED), uint64(len(strs))} {
				dyn.Write(binary.LittleEndian.AppendUint64(nil, v))
			}
			strs = append(append(strs, n...), 0)
		}
		dyn.Write(make([]byte, 16)) // DT_NULL
		sections = append(sections, section{".dynstr", elf.SHT_STRTAB, 0, strs},
			section{".dynamic", elf.SHT_DYNAMIC, 1, dyn.Bytes()})
	}
	if modinfo != "" {
		sections = append(sections, section{".modinfo", elf.SHT_PROGBITS, 0, []byte(modinfo)})
	}
	names := []byte{0}
	var nameOff []uint32
	sections = append(sections, section{".shstrtab", elf.SHT_STRTAB, 0, nil})
	for _, s := range sections {
		nameOff = append(nameOff, uint32(len(names)))
		names = append(append(names, s.name...), 0)
	}
	nameOff[0] = 0
	sections[len(sections)-1].data = names

	const headerBytes, progBytes, sectionBytes = 64, 56, 64
	body := make([]byte, headerBytes+progBytes)
	interpAt := uint64(len(body))
	body = append(append(body, interp...), 0)
	var headers bytes.Buffer
	for i, s := range sections {
		h := elf.Section64{Name: nameOff[i], Type: uint32(s.typ), Link: s.link, Off: uint64(len(body)),
			Size: uint64(len(s.data)), Addralign: 1}
		if i == 0 {
			h = elf.Section64{}
		}
		body = append(body, s.data...)
		if err := binary.Write(&headers, binary.LittleEndian, h); err != nil {
			t.Fatal(err)
		}
	}
	h := elf.Header64{
		Type: uint16(elf.ET_DYN), Machine: uint16(elf.EM_X86_64), Version: 1, Shoff: uint64(len(body)), Ehsize: headerBytes,
		Phentsize: progBytes, Shentsize: sectionBytes, Shnum: uint16(len(sections)), Shstrndx: uint16(len(sections) - 1),
	}
	copy(h.Ident[:], []byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1})
	if interp != "" {
		h.Phoff, h.Phnum = headerBytes, 1
	}
	var out bytes.Buffer
	prog := elf.Prog64{Type: uint32(elf.PT_INTERP), Off: interpAt, Filesz: uint64(len(interp) + 1)}
	for _, v := range []any{h, prog} {
		if err := binary.Write(&out, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	copy(body, out.Bytes())
	return append(body, headers.Bytes()...)
}

// writeFiles writes files to a new folder and returns it.
func writeFiles(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const interpreter = "/lib64/ld-linux-x86-64.so.2"

func TestProgram(t *testing.T) {
	t.Parallel()
	prefix := writeFiles(t, map[string][]byte{
		"bin/a":                          makeELF(t, interpreter, []string{"liba.so.1", "libc.so.6"}, ""),
		"bin/b":                          makeELF(t, interpreter, []string{"libc.so.6"}, ""),
		"bin/static":                     makeELF(t, "", nil, ""),
		"lib64/ld-linux-x86-64.so.2":     makeELF(t, "", nil, ""),
		"lib/x86_64-linux-gnu/libc.so.6": makeELF(t, "", []string{"ld-linux-x86-64.so.2"}, ""),
		"xen/liba.so.1":                  makeELF(t, "", []string{"libb.so.2"}, ""),
		"lib/x86_64-linux-gnu/libb.so.2": makeELF(t, "", []string{"liba.so.1", "libc.so.6"}, ""), // a ring
		"xen/libc.so.6":                  []byte("never looked at: the first folder has it"),
		"lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": makeELF(t, "", nil, ""),
		"lib/x86_64-linux-gnu/libgcc_s.so.1":        makeELF(t, "", []string{"libc.so.6"}, ""),
	})
	libs := Libraries{Prefix: prefix, Dirs: []string{"lib/x86_64-linux-gnu", "xen"}}
	needed, interp, err := libs.Closure(filepath.Join(prefix, "bin/a"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Library{
		{"ld-linux-x86-64.so.2", filepath.Join(prefix, "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")},
		{"liba.so.1", filepath.Join(prefix, "xen/liba.so.1")},
		{"libb.so.2", filepath.Join(prefix, "lib/x86_64-linux-gnu/libb.so.2")},
		{"libc.so.6", filepath.Join(prefix, "lib/x86_64-linux-gnu/libc.so.6")},
	}
	if !reflect.DeepEqual(needed, want) || interp != interpreter {
		t.Errorf("closure %q, %q", needed, interp)
	}

	var tree Tree
	for _, p := range []string{"a", "b", "static"} {
		if err := tree.Program("/usr/bin/"+p, filepath.Join(prefix, "bin", p), libs); err != nil {
			t.Fatal(err)
		}
	}
	if err := tree.Library("libgcc_s.so.1", libs); err != nil {
		t.Fatal(err)
	}
	golden(t, "program.golden", listing(t, cpioBytes(t, &tree)))
}

func TestProgramRefuses(t *testing.T) {
	t.Parallel()
	big := makeELF(t, interpreter, nil, "")
	big[18] = byte(elf.EM_AARCH64)
	prefix := writeFiles(t, map[string][]byte{
		"lost":    makeELF(t, "", []string{"libnone.so.9"}, ""),
		"path":    makeELF(t, "", []string{"../libc.so.6"}, ""),
		"script":  []byte("#!/bin/sh\n"),
		"arm":     big,
		"lib/x":   nil,
		"nointer": makeELF(t, interpreter, nil, ""),
	})
	libs := Libraries{Prefix: prefix, Dirs: []string{"lib"}}
	for name, want := range map[string]string{
		"lost": "needs libnone.so.9", "path": "not the name of a library", "script": "script", "arm": "not for x86-64",
		"nointer": "ld-linux", "missing": "missing",
	} {
		var tree Tree
		if err := tree.Program("p", filepath.Join(prefix, name), libs); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", name, err, want)
		}
	}
	var tree Tree
	if err := tree.Library("libnone.so.9", libs); err == nil {
		t.Error("a missing library is added")
	}
}

func xzBytes(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := xz.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestModules(t *testing.T) {
	t.Parallel()
	ko := func(info string) []byte { return makeELF(t, "", nil, info) }
	privcmd := ko("license=GPL\x00depends=\x00name=xen_privcmd\x00")
	dir := writeFiles(t, map[string][]byte{
		"kernel/drivers/xen/xen-privcmd.ko.xz": xzBytes(t, privcmd),
		"kernel/drivers/xen/xenfs/xenfs.ko.xz": xzBytes(t, ko("depends=xen-privcmd\x00")),
		"kernel/fs/ext4/ext4.ko":               ko("alias=fs-ext4\x00depends=jbd2,mbcache,crc_t10dif\x00"),
		"kernel/fs/jbd2/jbd2.ko":               ko("depends=\x00"),
		"kernel/fs/mbcache.ko":                 ko("depends=jbd2\x00"),
		"kernel/ring/a.ko":                     ko("depends=b\x00"),
		"kernel/ring/b.ko":                     ko("depends=a\x00"),
		"kernel/needy.ko":                      ko("depends=nowhere\x00"),
		"kernel/bare.ko":                       ko(""),
		"kernel/text.ko":                       []byte("not ELF"),
		"kernel/damaged.ko.xz":                 []byte("not xz"),
		"modules.builtin":                      []byte("kernel/lib/crc-t10dif.ko\nkernel/x.ko\n"),
		"modules.order":                        []byte("kernel/lib/crc-t10dif.ko\n"),
	})
	m, err := OpenModules(dir)
	if err != nil {
		t.Fatal(err)
	}
	order, err := m.InOrder("xenfs", "ext4", "xen-privcmd")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, mod := range order {
		names = append(names, mod.Name)
	}
	if got := strings.Join(names, " "); got != "xen_privcmd xenfs jbd2 mbcache ext4" {
		t.Errorf("loading order %s", got)
	}
	if !bytes.Equal(order[0].Data, privcmd) {
		t.Error("the decompressed module differs")
	}
	for name, want := range map[string]string{
		"a": "depends on itself", "needy": "needed by needy", "nosuch": "asked for", "bare": "no .modinfo", "text": "text.ko",
		"damaged": "damaged.ko.xz",
	} {
		if _, err := m.InOrder(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", name, err, want)
		}
	}
	if _, err := OpenModules(t.TempDir()); err == nil {
		t.Error("a folder without modules is taken")
	}

}

// TestModuleFormats: distributions compress modules in different ways.
func TestModuleFormats(t *testing.T) {
	t.Parallel()
	ko := makeELF(t, "", nil, "depends=\x00")
	var gz, zst bytes.Buffer
	z := gzip.NewWriter(&gz)
	s, err := zstd.NewWriter(&zst)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{z, s} {
		if _, err := w.Write(ko); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	m, err := OpenModules(writeFiles(t, map[string][]byte{
		"plain.ko": ko, "as-xz.ko.xz": xzBytes(t, ko), "as-gz.ko.gz": gz.Bytes(), "as-zst.ko.zst": zst.Bytes(),
		"as-bz2.ko.bz2": ko, "text.gz": ko, "bad.ko.zst": []byte("not zstd"), "bad2.ko.gz": []byte("not gzip"),
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"plain", "as-xz", "as-gz", "as-zst"} {
		got, err := m.InOrder(name)
		if err != nil || len(got) != 1 || !bytes.Equal(got[0].Data, ko) {
			t.Errorf("%s: %d modules, %v", name, len(got), err)
		}
	}
	for name, want := range map[string]string{"as-bz2": "is not below", "text": "is not below", "bad": "bad.ko.zst",
		"bad2": "bad2.ko.gz"} {
		if _, err := m.InOrder(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

func FuzzModinfo(f *testing.F) {
	f.Add([]byte("license=GPL\x00depends=a,b\x00depends=\x00"))
	f.Add([]byte("depends=,,x"))
	f.Fuzz(func(t *testing.T, info []byte) {
		for _, d := range modinfoDepends(info) {
			if d == "" || strings.ContainsAny(d, ",\x00") || !bytes.Contains(info, []byte(d)) {
				t.Fatalf("dependency %q", d)
			}
		}
	})
}

func FuzzModule(f *testing.F) {
	f.Add(makeELF(f, "", nil, "depends=a\x00"))
	f.Add(makeELF(f, interpreter, []string{"libc.so.6"}, ""))
	f.Fuzz(func(t *testing.T, data []byte) {
		deps, err := moduleDepends(data)
		if err != nil && deps != nil {
			t.Fatal("dependencies with an error")
		}
	})
}

// TestRealPrefix takes the lab's programs and modules from a real prefix.
func TestRealPrefix(t *testing.T) {
	t.Parallel()
	prefix := os.Getenv("HANGBENCH_PREFIX")
	if prefix == "" {
		require.Missing(t, require.Prefix, "HANGBENCH_PREFIX does not name an unpacked package prefix: real programs and "+
			"modules are not tried")
	}
	libs := Libraries{Prefix: prefix, Dirs: debian.Lab().Xen.LibraryDirs()}
	var tree Tree
	for _, p := range []string{"xl", "xenstored", "xenconsoled", "xen-init-dom0", "xentrace", "xenctx"} {
		if err := tree.Program("bin/"+p, filepath.Join(prefix, debian.Lab().Xen.Dir(), "bin", p), libs); err != nil {
			t.Error(err)
		}
	}
	kernels, err := filepath.Glob(filepath.Join(prefix, "usr/lib/modules/*"))
	if err != nil || len(kernels) != 2 {
		t.Fatalf("kernels %q, %v", kernels, err)
	}
	for _, dir := range kernels {
		m, err := OpenModules(dir)
		if err != nil {
			t.Fatal(err)
		}
		modules, err := m.InOrder("xen-privcmd", "xenfs", "xen-evtchn", "xen-gntdev", "xen-gntalloc", "xen-blkback",
			"xen-blkfront", "ext4", "loop", "dm-delay")
		if err != nil || len(modules) < 5 {
			t.Errorf("%s: %d modules, %v", filepath.Base(dir), len(modules), err)
		}
	}
	if !tree.has("lib/x86_64-linux-gnu/libxenlight.so."+string(debian.Lab().Xen)) || !tree.has("lib64/"+loader) {
		t.Error("xl's library or the loader is missing")
	}
	if !bytes.Equal(cpioBytes(t, &tree), cpioBytes(t, &tree)) {
		t.Error("two archives of one tree differ")
	}
}
