package debian

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// smallPrefix unpacks a package with one entry of each kind.
func smallPrefix(t *testing.T) (debs string, lock *Lock, prefix string) {
	t.Helper()
	debs, lock = debSet(t, makeDeb(t, ".gz",
		file{name: "./usr/bin/tool", mode: 0o755, data: "program"},
		file{name: "./usr/lib/lib.so.1", mode: 0o644, data: "library"},
		file{name: "./usr/lib/lib.so", link: "lib.so.1", typ: tar.TypeSymlink},
		file{name: "./usr/share/a \"b\"\n☃", mode: 0o644, data: "odd"},
		file{name: "./usr/empty/", mode: 0o755, typ: tar.TypeDir},
	))
	prefix = filepath.Join(t.TempDir(), "prefix")
	if err := Unpack(t.Context(), lock, debs, prefix, nil, nil); err != nil {
		t.Fatal(err)
	}
	return debs, lock, prefix
}

// TestCheckPrefix: every kind of damage is named, and the next Unpack mends it.
func TestCheckPrefix(t *testing.T) {
	t.Parallel()
	debs, lock, prefix := smallPrefix(t)
	in := func(name string) string { return filepath.Join(prefix, name) }
	write := func(name, text string) func() error {
		return func() error { return os.WriteFile(in(name), []byte(text), 0o644) }
	}
	relink := func(target string) func() error {
		return func() error {
			return errors.Join(os.Remove(in("usr/lib/lib.so")), os.Symlink(target, in("usr/lib/lib.so")))
		}
	}
	for _, tc := range []struct {
		name   string
		damage func() error
		want   string
	}{
		{"file missing", func() error { return os.Remove(in("usr/bin/tool")) }, "usr/bin/tool"},
		{"byte changed", write("usr/bin/tool", "prograM"), "usr/bin/tool is file 111 7"},
		{"cut short", write("usr/lib/lib.so.1", "lib"), "usr/lib/lib.so.1 is file 0 3"},
		{"emptied", write("usr/lib/lib.so.1", ""), "usr/lib/lib.so.1 is file 0 0"},
		{"mode", func() error { return os.Chmod(in("usr/bin/tool"), 0o644) }, "usr/bin/tool is file 0 7"},
		{"other target", relink("/etc/passwd"), `usr/lib/lib.so is link "/etc/passwd"`},
		{"link of the merged folders", func() error { return os.Remove(in("lib")) }, "lib"},
		{"folder", func() error { return os.Remove(in("usr/empty")) }, "usr/empty"},
		{"file for a folder", func() error {
			return errors.Join(os.Remove(in("usr/empty")), os.WriteFile(in("usr/empty"), nil, 0o644))
		}, "usr/empty is file"},
		{"odd name", func() error { return os.Remove(in("usr/share/a \"b\"\n☃")) }, "usr/share"},
		{"no list", func() error { return os.Remove(in(inventoryName)) }, inventoryName},
		{"list changed", write(inventoryName, "\"usr/bin/tool\" dir\nend 00000000\n"), "list of its files is damaged"},
		{"list empty", write(inventoryName, ""), "list of its files is damaged"},
	} {
		if err := tc.damage(); err != nil {
			t.Fatal(err)
		}
		err := CheckPrefix(t.Context(), prefix)
		if damaged := (*DamageError)(nil); !errors.As(err, &damaged) || damaged.Prefix != prefix ||
			!strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
		var log bytes.Buffer
		if err := Unpack(t.Context(), lock, debs, prefix, nil, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(log.String(), "level=WARN") {
			t.Errorf("%s: mended without a word: %s", tc.name, log.String())
		}
		if err := CheckPrefix(t.Context(), prefix); err != nil {
			t.Errorf("%s: after it was mended: %v", tc.name, err)
		}
	}
	if err := CheckPrefix(t.Context(), t.TempDir()); err == nil {
		t.Error("an empty folder is a whole prefix")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	damaged := (*DamageError)(nil)
	if err := CheckPrefix(ended, prefix); !errors.Is(err, context.Canceled) || errors.As(err, &damaged) {
		t.Errorf("interrupted: %v", err)
	}
}

// FuzzInventory: what is accepted reads back as the same entries, and has no path that
// leads out of the prefix.
func FuzzInventory(f *testing.F) {
	whole := func(lines string) []byte {
		return fmt.Appendf([]byte(lines), "end %08x\n", crc32.Checksum([]byte(lines), castagnoli))
	}
	f.Add(whole("\"usr\" dir\n\"usr/x y\" file 111 7 01234567\n\"lib\" link \"usr/lib\"\n"))
	f.Add(whole("\"../x\" dir\n"))
	f.Add(whole("usr dir\n"))
	f.Add(whole(""))
	f.Add([]byte("end 00000000"))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := parseInventory(data)
		if err != nil {
			all, err = parseInventory(whole(string(data))) // with a sum that is right
			if err != nil {
				return
			}
		}
		var b strings.Builder
		for _, e := range all {
			if !filepath.IsLocal(e.path) {
				t.Fatalf("%q leads out of the prefix", e.path)
			}
			fmt.Fprintln(&b, e)
		}
		again, err := parseInventory(whole(b.String()))
		if err != nil || len(again) != len(all) {
			t.Fatalf("%q reads back as %q, %v", all, again, err)
		}
		for i := range all {
			if again[i] != all[i] {
				t.Fatalf("%q reads back as %q", all[i], again[i])
			}
		}
	})
}
