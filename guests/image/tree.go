package image

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/u-root/u-root/pkg/cpio"
)

// Tree is the content of a file system. Names are paths below its root, with or
// without a leading slash. Adding an entry adds the folders above it (mode 0755).
// Everything belongs to root. The zero Tree is empty and ready to use.
type Tree struct {
	entries map[string]entry
}

// entry is a cpio record without the fields that WriteCPIO adds. The content of a file
// is data or, if from is not empty, that of the host's file from.
type entry struct {
	mode         uint64
	data         []byte
	from         string
	major, minor uint64
}

// Dir adds a folder. It may exist already with equal permissions.
func (t *Tree) Dir(name string, perm fs.FileMode) error {
	return t.add(name, entry{mode: cpio.S_IFDIR | unixPerm(perm)})
}

// File adds a regular file with the given content.
func (t *Tree) File(name string, perm fs.FileMode, data []byte) error {
	return t.add(name, entry{mode: cpio.S_IFREG | unixPerm(perm), data: data})
}

// FileFrom adds a regular file. Its content is read from the host's file path when the
// tree is written.
func (t *Tree) FileFrom(name string, perm fs.FileMode, path string) error {
	fi, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("add %s to the image: %w", name, err)
	}
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("add %s to the image: %s is not a regular file", name, path)
	}
	return t.add(name, entry{mode: cpio.S_IFREG | unixPerm(perm), from: path})
}

// Symlink adds a symbolic link to target, which need not exist.
func (t *Tree) Symlink(name, target string) error {
	if target == "" {
		return fmt.Errorf("add %s to the image: a link needs a target", name)
	}
	return t.add(name, entry{mode: cpio.S_IFLNK | 0o777, data: []byte(target)})
}

// CharDevice adds a character device, for example 5, 1 for /dev/console.
func (t *Tree) CharDevice(name string, perm fs.FileMode, major, minor uint32) error {
	return t.add(name, entry{mode: cpio.S_IFCHR | unixPerm(perm), major: uint64(major), minor: uint64(minor)})
}

// unixPerm returns the twelve permission bits of Unix.
func unixPerm(m fs.FileMode) uint64 {
	p := uint64(m.Perm())
	if m&fs.ModeSetuid != 0 {
		p |= cpio.S_ISUID
	}
	if m&fs.ModeSetgid != 0 {
		p |= cpio.S_ISGID
	}
	if m&fs.ModeSticky != 0 {
		p |= cpio.S_ISVTX
	}
	return p
}

func (t *Tree) add(name string, e entry) error {
	clean := strings.TrimPrefix(path.Clean("/"+name), "/")
	if clean == "" || clean == cpio.Trailer || strings.ContainsRune(name, 0) {
		return fmt.Errorf("add %q to the image: not a name for a file", name)
	}
	if t.entries == nil {
		t.entries = make(map[string]entry)
	}
	for dir := path.Dir(clean); dir != "."; dir = path.Dir(dir) {
		if d, ok := t.entries[dir]; !ok {
			t.entries[dir] = entry{mode: cpio.S_IFDIR | 0o755}
		} else if d.mode&cpio.S_IFMT != cpio.S_IFDIR {
			return fmt.Errorf("add %s to the image: %s exists already and is not a folder", clean, dir)
		}
	}
	if old, ok := t.entries[clean]; ok {
		if old.mode == e.mode && e.mode&cpio.S_IFMT == cpio.S_IFDIR {
			return nil
		}
		return fmt.Errorf("add %s to the image: it exists already", clean)
	}
	t.entries[clean] = e
	return nil
}

// has reports whether the tree has an entry of that name.
func (t *Tree) has(name string) bool {
	_, ok := t.entries[strings.TrimPrefix(path.Clean("/"+name), "/")]
	return ok
}

// WriteCPIO writes the tree as a cpio archive in the "newc" format, which Linux takes
// as initial RAM file system
// (Documentation/driver-api/early-userspace/buffer-format.rst). Entries are sorted by
// name, so that a folder comes before its content, and numbered in that order.
func (t *Tree) WriteCPIO(w io.Writer) error {
	bw := bufio.NewWriterSize(w, 1<<18)
	rw := cpio.Newc.Writer(bw)
	for i, name := range slices.Sorted(maps.Keys(t.entries)) {
		if err := t.entries[name].write(rw, name, uint64(i+1)); err != nil {
			return fmt.Errorf("write %s to the image: %w", name, err)
		}
	}
	if err := cpio.WriteTrailer(rw); err != nil {
		return fmt.Errorf("write the image: %w", err)
	}
	if err := bw.Flush(); err != nil {
		return fmt.Errorf("write the image: %w", err)
	}
	return nil
}

func (e entry) write(w cpio.RecordWriter, name string, ino uint64) error {
	rec := cpio.Record{Info: cpio.Info{
		Name: name, Ino: ino, Mode: e.mode, NLink: 1, MTime: uint64(Time.Unix()),
		Rmajor: e.major, Rminor: e.minor,
	}}
	switch {
	case e.from != "":
		f, err := os.Open(e.from)
		if err != nil {
			return err
		}
		defer f.Close()
		fi, err := f.Stat()
		if err != nil {
			return err
		}
		rec.ReaderAt, rec.FileSize = noClose{f}, uint64(fi.Size())
	case len(e.data) > 0:
		rec.ReaderAt, rec.FileSize = bytes.NewReader(e.data), uint64(len(e.data))
	}
	// The size has eight hexadecimal digits in the header.
	if rec.FileSize > 1<<32-1 {
		return errors.New("a file of 4 GiB or more does not fit in a cpio archive")
	}
	return w.WriteRecord(rec)
}

// noClose hides the Close method that the record writer would call.
type noClose struct{ io.ReaderAt }

// WriteCPIOFile writes the archive to the file path. Readers never see half of it.
func (t *Tree) WriteCPIOFile(path string) error {
	return replaceFile(path, func(f *os.File) error { return t.WriteCPIO(f) })
}

// WriteZstdFile writes the archive like WriteCPIOFile, compressed with zstd.
func (t *Tree) WriteZstdFile(path string) error {
	return replaceFile(path, func(f *os.File) error {
		// With one goroutine, equal archives give equal bytes.
		z, err := zstd.NewWriter(f, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return err
		}
		return errors.Join(t.WriteCPIO(z), z.Close())
	})
}

// replaceFile has write fill a temporary file beside path and renames it to path, so
// that readers never see half of it.
func replaceFile(path string, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	defer os.Remove(f.Name())
	if err := write(f); err != nil {
		f.Close()
		return err
	}
	if err := errors.Join(f.Chmod(0o644), f.Close()); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	return nil
}
