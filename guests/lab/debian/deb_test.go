package debian

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// member is one member of a test archive.
type member struct {
	name string
	data []byte
}

// makeAr writes an ar archive.
func makeAr(members ...member) []byte {
	var b bytes.Buffer
	b.WriteString(arMagic)
	for _, m := range members {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, 0, 0, 0, "100644", len(m.data))
		b.Write(m.data)
		if len(m.data)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

// file is one entry of a test package.
type file struct {
	name string
	mode int64
	data string
	link string
	typ  byte
}

func makeTar(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), Linkname: f.link, Typeflag: f.typ}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func compress(t testing.TB, ext string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch ext {
	case "":
		return data
	case ".gz":
		w = gzip.NewWriter(&b)
	case ".xz":
		w, err = xz.NewWriter(&b)
	case ".zst":
		w, err = zstd.NewWriter(&b)
	}
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

// makeDeb makes a package file.
func makeDeb(t testing.TB, ext string, files ...file) []byte {
	t.Helper()
	return makeAr(
		member{"debian-binary", []byte("2.0\n")},
		member{"control.tar.gz", compress(t, ".gz", makeTar(t, file{name: "./control", mode: 0o644, data: "Package: x\n"}))},
		member{"data.tar" + ext, compress(t, ext, makeTar(t, files...))},
	)
}

func TestDebData(t *testing.T) {
	t.Parallel()
	for _, ext := range []string{"", ".gz", ".xz", ".zst"} {
		deb := makeDeb(t, ext, file{name: "./usr/", mode: 0o755, typ: tar.TypeDir},
			file{name: "./usr/x", mode: 0o644, data: "hello"})
		tr, err := debData(bytes.NewReader(deb))
		if err != nil {
			t.Fatalf("%q: %v", ext, err)
		}
		var names []string
		for {
			h, err := tr.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%q: %v", ext, err)
			}
			data, err := io.ReadAll(tr)
			if err != nil {
				t.Fatalf("%q: %v", ext, err)
			}
			names = append(names, h.Name+"="+string(data))
		}
		if got := strings.Join(names, " "); got != "./usr/= ./usr/x=hello" {
			t.Errorf("%q: entries %s", ext, got)
		}
	}
}

func TestDebDataRefuses(t *testing.T) {
	t.Parallel()
	good := makeDeb(t, "")
	for _, c := range []struct {
		what string
		deb  []byte
		want string
	}{
		{"empty", nil, "unexpected EOF"},
		{"no ar archive", []byte("PK\x03\x04 zip, not ar"), "not an ar archive"},
		{"another first member", makeAr(member{"hello", []byte("2.0\n")}), "not a Debian package"},
		{"another format", makeAr(member{"debian-binary", []byte("3.0\n")}), "not a Debian package"},
		{"no data", makeAr(member{"debian-binary", []byte("2.0\n")}), "no data.tar"},
		{"lzma", makeAr(member{"debian-binary", []byte("2.0\n")}, member{"data.tar.lzma", []byte("x")}), "not supported"},
		{"cut short", good[:100], "unexpected EOF"},
		{"bad header", []byte(arMagic + strings.Repeat("x", 60)), "no end mark"},
		{"negative size", []byte(arMagic + fmt.Sprintf("%-16s%-12d%-6d%-6d%-8s%-10d`\n", "debian-binary", 0, 0, 0, "0", -4)),
			"has the size"},
		{"bad xz", makeAr(member{"debian-binary", []byte("2.0\n")}, member{"data.tar.xz", []byte("not xz at all")}),
			"open data.tar.xz"},
	} {
		if _, err := debData(bytes.NewReader(c.deb)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.what, err, c.want)
		}
	}
}

func FuzzAr(f *testing.F) {
	f.Add(makeAr(member{"debian-binary", []byte("2.0\n")}, member{"odd", []byte("abc")}, member{"last/", nil}))
	f.Add([]byte(arMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := newArReader(bytes.NewReader(data))
		if err != nil {
			return
		}
		for {
			_, size, err := a.next()
			if err != nil {
				return
			}
			got, err := io.ReadAll(a)
			if err == nil && int64(len(got)) != size {
				t.Fatalf("member of %d bytes gave %d", size, len(got))
			}
			if int64(len(got)) > size {
				t.Fatalf("member of %d bytes gave %d", size, len(got))
			}
			if err != nil {
				return
			}
		}
	})
}

func FuzzDeb(f *testing.F) {
	for _, ext := range []string{"", ".gz", ".xz"} {
		f.Add(makeDeb(f, ext, file{name: "./a", mode: 0o755, data: "x"}, file{name: "./b", link: "/a", typ: tar.TypeSymlink}))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tr, err := debData(bytes.NewReader(data))
		if err != nil {
			return
		}
		for range 100 {
			h, err := tr.Next()
			if err != nil {
				return
			}
			if name, err := inPrefix(h.Name); err == nil && (strings.HasPrefix(name, "/") || strings.HasPrefix(name, "../") ||
				name == "..") {
				t.Fatalf("entry %q became %q", h.Name, name)
			}
			if _, err := io.Copy(io.Discard, io.LimitReader(tr, 1<<20)); err != nil {
				return
			}
		}
	})
}

// controlDeb makes a package whose control.tar has the files.
func controlDeb(t testing.TB, ext string, files ...file) []byte {
	t.Helper()
	return makeAr(
		member{"debian-binary", []byte("2.0\n")},
		member{"control.tar" + ext, compress(t, ext, makeTar(t, files...))},
		member{"data.tar", makeTar(t)},
	)
}

func TestReadPackage(t *testing.T) {
	t.Parallel()
	control := func(text string) file { return file{name: "./control", mode: 0o644, data: text} }
	const whole = "Package: libxen-dev\nVersion: 1:4.21~rc1-0+x\nArchitecture: amd64\nDescription: x\n more\n"
	path := filepath.Join(t.TempDir(), "any name.deb")
	for _, ext := range []string{"", ".gz", ".xz", ".zst"} {
		deb := controlDeb(t, ext, file{name: "./md5sums", mode: 0o644, data: "no fields"}, control(whole))
		if err := os.WriteFile(path, deb, 0o600); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(deb)
		want := Package{Name: "libxen-dev", Version: "1:4.21~rc1-0+x", Arch: "amd64", File: path,
			SHA256: hex.EncodeToString(sum[:]), SizeBytes: int64(len(deb))}
		if got, err := ReadPackage(path); got != want || err != nil {
			t.Errorf("%q: %+v, %v", ext, got, err)
		}
	}
	for _, tt := range []struct {
		name string
		deb  []byte
		says string
	}{
		{"text", []byte("text of some length"), "not an ar archive"},
		{"no control.tar", makeAr(member{"debian-binary", []byte("2.0\n")}), "no control.tar"},
		{"no control", controlDeb(t, ".gz", file{name: "./md5sums", mode: 0o644}), "no file named control"},
		{"cut off", controlDeb(t, "", control(whole))[:300], "unexpected EOF"},
		{"no version", controlDeb(t, "", control("Package: x\nArchitecture: all\n")), `version ""`},
		{"a path as its name", controlDeb(t, "", control("Package: ../x\nVersion: 1\nArchitecture: all\n")), `name "../x"`},
		{"no fields", controlDeb(t, "", control("text\n")), "has no field name"},
	} {
		if err := os.WriteFile(path, tt.deb, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadPackage(path)
		if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
	}
	if _, err := ReadPackage(t.TempDir()); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a folder: %v", err)
	}
}

func FuzzReadControl(f *testing.F) {
	for _, ext := range []string{"", ".gz", ".zst"} {
		f.Add(controlDeb(f, ext, file{name: "control", data: "Package: a\nVersion: 1\nArchitecture: all\n"}))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var p Package
		if p.readControl(bytes.NewReader(data)) == nil && (p.Name == "" || strings.ContainsAny(p.Name+p.Version, "/ \n")) {
			t.Errorf("%+v", p)
		}
	})
}
