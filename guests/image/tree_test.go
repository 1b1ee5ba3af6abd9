package image

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/u-root/u-root/pkg/cpio"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// listing returns the content of an archive, one line for each entry.
func listing(t *testing.T, archive []byte) string {
	t.Helper()
	var b strings.Builder
	records, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(archive)))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		var data []byte
		if r.ReaderAt != nil {
			if data, err = io.ReadAll(io.NewSectionReader(r.ReaderAt, 0, int64(r.FileSize))); err != nil {
				t.Fatal(err)
			}
		}
		if len(data) > 40 {
			data = fmt.Appendf(nil, "(%d bytes)", len(data))
		}
		fmt.Fprintf(&b, "%d %06o uid=%d gid=%d nlink=%d mtime=%d dev=%d,%d %s %q\n", r.Ino, r.Mode, r.UID, r.GID, r.NLink,
			r.MTime, r.Rmajor, r.Rminor, r.Name, data)
	}
	return b.String()
}

// golden compares got with the file testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (rewrite with -update); got\n%s", path, got)
	}
}

func cpioBytes(t *testing.T, tree *Tree) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := tree.WriteCPIO(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWriteCPIO(t *testing.T) {
	t.Parallel()
	host := filepath.Join(t.TempDir(), "host")
	if err := os.WriteFile(host, []byte("from the host"), 0o600); err != nil {
		t.Fatal(err)
	}
	steps := []func(*Tree) error{
		func(t *Tree) error { return t.Dir("/dev", 0o755) },
		func(t *Tree) error { return t.Dir("tmp", 0o777|fs.ModeSticky) },
		func(t *Tree) error { return t.CharDevice("dev/console", 0o600, 5, 1) },
		func(t *Tree) error { return t.File("init", 0o755, []byte("#!/bin/sh\n")) },
		func(t *Tree) error { return t.File("/etc/xen/xl.conf", 0o644, nil) },
		func(t *Tree) error { return t.File("etc/xen-empty", 0o644, []byte{}) },
		func(t *Tree) error { return t.Symlink("bin/sh", "busybox") },
		func(t *Tree) error { return t.FileFrom("bin/host", 0o755|fs.ModeSetuid, host) },
		func(t *Tree) error { return t.Dir("bin", 0o755) },
	}
	var forward, backward Tree
	for i := range steps {
		if err := steps[i](&forward); err != nil {
			t.Fatal(err)
		}
		if err := steps[len(steps)-1-i](&backward); err != nil {
			t.Fatal(err)
		}
	}
	a, b := cpioBytes(t, &forward), cpioBytes(t, &backward)
	if !bytes.Equal(a, b) {
		t.Error("the order of additions changes the archive")
	}
	if !bytes.Equal(a, cpioBytes(t, &forward)) {
		t.Error("a second archive of one tree differs")
	}
	golden(t, "tree.golden", listing(t, a))

	path := filepath.Join(t.TempDir(), "initrd")
	if err := forward.WriteCPIOFile(path); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, a) {
		t.Errorf("the file differs from the stream (%v)", err)
	}
}

func TestTreeRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what string
		add  func(*Tree) error
		want string
	}{
		{"twice", func(t *Tree) error { return t.File("init", 0o755, nil) }, "exists already"},
		{"below a file", func(t *Tree) error { return t.File("init/x", 0o755, nil) }, "not a folder"},
		{"file over folder", func(t *Tree) error { return t.File("etc", 0o755, nil) }, "exists already"},
		{"other permissions", func(t *Tree) error { return t.Dir("etc", 0o700) }, "exists already"},
		{"root", func(t *Tree) error { return t.Dir("/", 0o755) }, "not a name"},
		{"dots", func(t *Tree) error { return t.File("../..", 0o755, nil) }, "not a name"},
		{"end mark", func(t *Tree) error { return t.File("TRAILER!!!", 0o755, nil) }, "not a name"},
		{"zero byte", func(t *Tree) error { return t.File("a\x00b", 0o755, nil) }, "not a name"},
		{"empty link", func(t *Tree) error { return t.Symlink("l", "") }, "target"},
		{"missing file", func(t *Tree) error { return t.FileFrom("f", 0o755, "/no/such/file") }, "/no/such/file"},
		{"folder as file", func(t *Tree) error { return t.FileFrom("f", 0o755, os.TempDir()) }, "not a regular file"},
	} {
		var tree Tree
		if err := tree.File("init", 0o755, nil); err != nil {
			t.Fatal(err)
		}
		if err := tree.File("etc/x", 0o644, nil); err != nil {
			t.Fatal(err)
		}
		if err := c.add(&tree); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.what, err, c.want)
		}
	}
}

// TestWriteZstd: the compressed archive has the same content, and the same bytes each time.
func TestWriteZstd(t *testing.T) {
	t.Parallel()
	var tree Tree
	if err := errors.Join(tree.File("init", 0o755, bytes.Repeat([]byte("work "), 1<<16)),
		tree.Dir("tmp", 0o755)); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var files [2][]byte
	for i := range files {
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := tree.WriteZstdFile(path); err != nil {
			t.Fatal(err)
		}
		var err error
		if files[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	z, err := zstd.NewReader(bytes.NewReader(files[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	plain, err := io.ReadAll(z)
	if err != nil || !bytes.Equal(plain, cpioBytes(t, &tree)) {
		t.Errorf("%d bytes do not unpack to the archive (%v)", len(files[0]), err)
	}
	if !bytes.Equal(files[0], files[1]) || len(files[0]) > len(plain)/10 {
		t.Errorf("%d bytes, then %d, of %d", len(files[0]), len(files[1]), len(plain))
	}
}
