package lab

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hangbench/cgo/require"
)

// writePackage writes a Debian package with these files, of which it holds the names.
func writePackage(t *testing.T, path string, files ...string) {
	t.Helper()
	var data bytes.Buffer
	z := gzip.NewWriter(&data)
	w := tar.NewWriter(z)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: "./" + f, Mode: 0o644, Size: int64(len(f))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	writeArchive(t, path, "data.tar.gz", data.String())
}

// writeArchive writes a package with one of its two archives.
func writeArchive(t *testing.T, path, archive, data string) {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	for _, m := range []struct{ name, data string }{{"debian-binary", "2.0\n"}, {archive, data}} {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8o%-10d`\n%s", m.name, 0, 0, 0, 0o100644, len(m.data), m.data)
		if b.Len()%2 == 1 {
			b.WriteByte('\n')
		}
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestUnpackKernel: a package's image is found where Debian and others put it, and
// nothing else is unpacked but modules that guests load.
func TestUnpackKernel(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		files []string
		image string
		says  string
	}{
		{"boot", []string{"boot/vmlinuz-1.2-x", "boot/config-1.2-x", "usr/share/doc/x"}, "boot/vmlinuz-1.2-x", ""},
		{"Linux 7", []string{"usr/lib/modules/7.3.4-x/vmlinuz"}, "usr/lib/modules/7.3.4-x/vmlinuz", ""},
		{"before the merge", []string{"lib/modules/5.10-x/kernel/drivers/block/xen-blkfront.ko",
			"lib/modules/5.10-x/kernel/drivers/gpu/big.ko", "boot/vmlinuz-5.10-x"}, "boot/vmlinuz-5.10-x", ""},
		{"uncompressed", []string{"boot/vmlinux-6.1-y"}, "boot/vmlinux-6.1-y", ""},
		{"none", []string{"usr/share/doc/linux-image-7.3.4/copyright"}, "", "linux-binary-VERSION"},
		{"two", []string{"boot/vmlinuz-1", "boot/vmlinuz-2"}, "", "vmlinuz-1 and vmlinuz-2"},
		{"outside", []string{"../../boot/vmlinuz-1"}, "", "leads out of the prefix"},
	} {
		deb, dir := filepath.Join(t.TempDir(), "k.deb"), t.TempDir()
		writePackage(t, deb, tt.files...)
		if pkg, err := IsPackage(deb); !pkg || err != nil {
			t.Errorf("%s: is a package: %v, %v", tt.name, pkg, err)
		}
		got, err := UnpackKernel(t.Context(), deb, dir)
		if tt.says != "" {
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: %s, %v; want %q", tt.name, got, err, tt.says)
			}
			continue
		}
		if want := filepath.Join(dir, tt.image); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", tt.name, got, err, want)
		}
		if b, err := os.ReadFile(got); err != nil || string(b) != tt.image {
			t.Errorf("%s: %q, %v", tt.name, b, err)
		}
		for _, f := range tt.files {
			at := f
			if strings.HasPrefix(f, "lib/") {
				at = "usr/" + f
			}
			_, err := os.Stat(filepath.Join(dir, at))
			want := f == tt.image || strings.Contains(f, "block/")
			if (err == nil) != want {
				t.Errorf("%s: %s: %v", tt.name, at, err)
			}
		}
	}
	if _, err := IsPackage(filepath.Join(t.TempDir(), "nosuch")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("!<a"), 0o644); err != nil {
		t.Fatal(err)
	}
	if pkg, err := IsPackage(short); pkg || err != nil {
		t.Errorf("a short file: %v, %v", pkg, err)
	}
}

// TestAddFile brings real kernels as a user would: with their modules, and without.
func TestAddFile(t *testing.T) {
	t.Parallel()
	tried := 0
	for _, path := range require.KernelImages(t) {
		prefix, release, ok := strings.Cut(path, "/boot/vmlinuz-")
		if !ok || !strings.Contains(release, "cloud") {
			continue
		}
		tried++
		modules := filepath.Join(prefix, "usr/lib/modules")
		o := &Options{Log: slog.New(slog.DiscardHandler)}
		add := func(spec string) (*kernelSet, string, error) {
			set := &kernelSet{guests: map[string]string{}, sources: map[string]string{}, modules: map[string]string{}}
			sum, err := o.addFile(t.Context(), set, "file-x", spec, filepath.Join(t.TempDir(), "given"))
			return set, sum, err
		}
		set, sum, err := add(path + "," + modules) // a folder of several kernels' modules
		if err != nil {
			t.Fatal(err)
		}
		if set.guests["file-x"] != release || set.sources["file-x"] != path ||
			set.modules[release] != filepath.Join(modules, release) ||
			!slices.Equal(set.load[release], guestModules()) {
			t.Errorf("%s: %+v", release, set)
		}
		if file, err := hashFile(path); err != nil || len(sum) != 64 || sum == file {
			t.Errorf("%s: the hash %s does not say which modules are loaded", release, sum)
		}
		var mistake *KernelFileError
		_, _, err = add(path)
		if !errors.As(err, &mistake) || !strings.Contains(err.Error(), "its module xen-blkfront is needed beside") {
			t.Errorf("%s without modules: %v", release, err)
		}
		break // one is as good as the other
	}
	if tried == 0 {
		t.Error("none of the kernels is a cloud kernel with modules")
	}
}
