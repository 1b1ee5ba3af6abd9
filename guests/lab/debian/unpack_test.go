package debian

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// debSet writes package files to a folder and returns it with their lock.
func debSet(t *testing.T, debs ...[]byte) (string, *Lock) {
	t.Helper()
	dir := t.TempDir()
	lock := &Lock{Schema: lockSchema}
	for i, d := range debs {
		name := string(rune('a' + i))
		p := Package{Name: name, Version: "1", Arch: "amd64", File: name + "_1_amd64.deb", SHA256: strings.Repeat("0", 64),
			SizeBytes: int64(len(d))}
		if err := os.WriteFile(filepath.Join(dir, p.File), d, 0o644); err != nil {
			t.Fatal(err)
		}
		lock.Packages = append(lock.Packages, p)
	}
	return dir, lock
}

func TestUnpack(t *testing.T) {
	t.Parallel()
	dir, lock := debSet(t,
		makeDeb(t, ".xz",
			file{name: "./", mode: 0o755, typ: tar.TypeDir},
			file{name: "./bin", link: "usr/bin", typ: tar.TypeSymlink},
			file{name: "./bin/old", mode: 0o4755, data: "program"},
			file{name: "./usr/lib/x/lib.so.1", mode: 0o640, data: "library"},
			file{name: "./usr/lib/x/lib.so", link: "lib.so.1", typ: tar.TypeSymlink},
			file{name: "./usr/lib/x/abs.so", link: "/lib/x/lib.so.1", typ: tar.TypeSymlink},
			file{name: "./usr/lib/x/hard", link: "./usr/lib/x/lib.so.1", typ: tar.TypeLink},
			file{name: "./usr/share/doc/x/README", mode: 0o644, data: "text"},
			file{name: "./usr/share/doc/x/copyright", mode: 0o644, data: "rights"},
		),
		makeDeb(t, ".gz", file{name: "./etc/b.conf", mode: 0o644, data: "b"}),
	)
	prefix := filepath.Join(t.TempDir(), "cache", "prefix")
	// Folders that a killed run has left.
	if err := os.MkdirAll(prefix+".new/usr/half", 0o755); err != nil {
		t.Fatal(err)
	}
	filter := Filter{{"usr/share/doc/*/copyright", true}, {"usr/share/doc", false}}
	var log bytes.Buffer
	if err := Unpack(t.Context(), lock, dir, prefix, filter, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Fatal(err)
	}
	last := fmt.Sprintf("msg=\"unpack packages\" done_packages=2 total_packages=2 done_bytes=%d total_bytes=%d\n",
		lock.SizeBytes(), lock.SizeBytes())
	if !strings.HasSuffix(log.String(), last) || strings.Count(log.String(), "\n") != 2 {
		t.Errorf("the log is\n%s\nwant two lines, the last with %s", log.String(), last)
	}
	for name, want := range map[string]string{
		"usr/bin/old": "program", "bin/old": "program", "lib/x/lib.so": "library", "usr/lib/x/abs.so": "library",
		"usr/lib/x/hard": "library", "etc/b.conf": "b", "usr/share/doc/x/copyright": "rights",
	} {
		if got, err := os.ReadFile(filepath.Join(prefix, name)); err != nil || string(got) != want {
			t.Errorf("%s has %q, %v; want %q", name, got, err, want)
		}
	}
	for name, want := range map[string]fs.FileMode{"usr/bin/old": 0o755, "usr/lib/x/lib.so.1": 0o644} {
		if fi, err := os.Stat(filepath.Join(prefix, name)); err != nil || fi.Mode() != want {
			t.Errorf("%s has the mode %v, %v; want %v", name, fi.Mode(), err, want)
		}
	}
	for _, gone := range []string{"usr/share/doc/x/README", "usr/half"} {
		if _, err := os.Lstat(filepath.Join(prefix, gone)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there (%v)", gone, err)
		}
	}
	if target, err := os.Readlink(filepath.Join(prefix, "usr/lib/x/abs.so")); err != nil || target != "lib.so.1" {
		t.Errorf("the absolute link became %q, %v", target, err)
	}

	// The second call changes nothing, also without the package files.
	mark := filepath.Join(prefix, "mark")
	if err := os.WriteFile(mark, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Unpack(t.Context(), lock, t.TempDir(), prefix, filter, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Error("an equal prefix was made anew")
	}
	// With another filter, the prefix is made again.
	if err := Unpack(t.Context(), lock, dir, prefix, nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(mark); !errors.Is(err, fs.ErrNotExist) {
		t.Error("another filter left the old prefix in place")
	}
	if _, err := os.Stat(filepath.Join(prefix, "usr/share/doc/x/README")); err != nil {
		t.Errorf("without a filter: %v", err)
	}
}

func TestUnpackRefuses(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	for _, c := range []struct {
		what  string
		files []file
		want  string
	}{
		{"parent", []file{{name: "../evil", data: "x"}}, "leads out of the prefix"},
		{"parent inside", []file{{name: "./usr/../../evil", data: "x"}}, "leads out of the prefix"},
		{"link out", []file{{name: "./l", link: "../../etc", typ: tar.TypeSymlink}}, "leads out of the prefix"},
		{"hard link out", []file{{name: "./l", link: "../x", typ: tar.TypeLink}}, "leads out of the prefix"},
		{"device", []file{{name: "./dev/sda", typ: tar.TypeBlock}}, "not supported"},
		{"pipe", []file{{name: "./run/p", typ: tar.TypeFifo}}, "not supported"},
		{"file over folder", []file{{name: "./d/f", data: "x"}, {name: "./d", data: "x"}}, "entry"},
	} {
		dir, lock := debSet(t, makeDeb(t, "", c.files...))
		prefix := filepath.Join(outside, "prefix")
		err := Unpack(t.Context(), lock, dir, prefix, nil, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "a_1_amd64.deb") {
			t.Errorf("%s: error %v, want one with %q and the file's name", c.what, err, c.want)
		}
		for _, d := range []string{prefix, prefix + ".new", filepath.Join(outside, "evil")} {
			if _, err := os.Lstat(d); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %s is there (%v)", c.what, d, err)
			}
		}
	}
}

// Links that each stay inside the prefix, but lead out of it together, are not followed.
func TestUnpackFollowsNoLinkOut(t *testing.T) {
	t.Parallel()
	dir, lock := debSet(t, makeDeb(t, "",
		file{name: "./p/q", link: "..", typ: tar.TypeSymlink},
		file{name: "./r", link: "p/q/..", typ: tar.TypeSymlink},
		file{name: "./r/x", data: "x"},
	))
	prefix := filepath.Join(t.TempDir(), "prefix")
	if err := Unpack(t.Context(), lock, dir, prefix, nil, nil); err == nil || !strings.Contains(err.Error(), "./r/x") {
		t.Errorf("error %v, want one that names ./r/x", err)
	}
	if _, err := os.Lstat(filepath.Join(filepath.Dir(prefix), "x")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a file was written outside of the prefix")
	}
}

func TestUnpackCanceled(t *testing.T) {
	t.Parallel()
	dir, lock := debSet(t, makeDeb(t, "", file{name: "./x", data: "x"}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	prefix := filepath.Join(t.TempDir(), "prefix")
	if err := Unpack(ctx, lock, dir, prefix, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if _, err := os.Lstat(prefix); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a canceled call left a prefix")
	}
}

// endsAt is a context that has ended once it has been asked left times.
type endsAt struct {
	context.Context
	left int
}

func (e *endsAt) Err() error {
	if e.left--; e.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestUnpackCanceledInEntry: going past an entry that is not wanted ends with the context,
// however large the entry is.
func TestUnpackCanceledInEntry(t *testing.T) {
	t.Parallel()
	deb := filepath.Join(t.TempDir(), "large.deb")
	large := makeDeb(t, "", file{name: "./usr/share/doc/large", mode: 0o644, data: strings.Repeat("x", 4<<20)},
		file{name: "./etc/kept", mode: 0o644, data: "kept"})
	if err := os.WriteFile(deb, large, 0o644); err != nil {
		t.Fatal(err)
	}
	filter := Filter{{"usr/share/doc", false}}
	if err := UnpackFile(&endsAt{t.Context(), 8}, deb, t.TempDir(), filter); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := UnpackFile(&endsAt{t.Context(), 80}, deb, t.TempDir(), filter); err != nil {
		t.Errorf("%v", err)
	}
}

func TestUnpackMissingFile(t *testing.T) {
	t.Parallel()
	_, lock := debSet(t, makeDeb(t, ""))
	err := Unpack(t.Context(), lock, t.TempDir(), filepath.Join(t.TempDir(), "p"), nil, nil)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want not-exist", err)
	}
}

func TestFilterKeeps(t *testing.T) {
	t.Parallel()
	p := Lab()
	f := p.Filter()
	if err := f.valid(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"usr/bin/bochs-bin":                                            true,
		"usr/share/doc/bochs/copyright":                                true,
		"usr/share/doc/bochs/changelog.Debian.gz":                      false,
		"usr/share/doc":                                                false,
		"usr/share/docs":                                               true,
		"usr/lib/modules/6.1/modules.builtin":                          true,
		"usr/lib/modules/6.1/kernel/drivers/xen/xenfs/x.ko":            true,
		"usr/lib/modules/6.1/kernel/drivers/gpu/x.ko.xz":               false,
		"usr/lib/modules/6.1/kernel/fs/ext4/ext4.ko.xz":                true,
		"usr/lib/modules/6.1/kernel/fs/ext4x/ext4.ko.xz":               false,
		p.Xen.Image():                                                  true,
		strings.TrimSuffix(p.Xen.Image(), "gz") + "efi":                false,
		"usr/lib/x86_64-linux-gnu/bochs/plugins/libbx_sounddummy.so.0": true,
		"usr/lib/x86_64-linux-gnu/bochs/plugins/libbx_soundalsa.so":    false,
		"usr/libexec/gcc/x86_64-linux-gnu/14/cc1":                      true,
		"usr/libexec/gcc/x86_64-linux-gnu/14/lto1":                     false,
	} {
		if got := f.Keeps(name); got != want {
			t.Errorf("Keeps(%q) = %t", name, got)
		}
	}
	if err := (Filter{{"usr/[", true}}).valid(); err == nil {
		t.Error("a bad pattern is taken")
	}
}

func TestLinkTarget(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, target, want string }{
		{"usr/lib/a", "b", "b"},
		{"usr/lib/a", "../share/b", "../share/b"},
		{"usr/lib/a", "/usr/lib/b", "b"},
		{"usr/lib/x/a", "/lib/b", "../b"},
		{"etc/a", "/usr/share/b", "../usr/share/b"},
		{"usr/lib/a", "/", "../.."},
	} {
		if got, err := linkTarget(c.name, c.target); err != nil || got != c.want {
			t.Errorf("linkTarget(%q, %q) = %q, %v; want %q", c.name, c.target, got, err, c.want)
		}
	}
}
