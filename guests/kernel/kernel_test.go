package kernel

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	t.Parallel()
	for _, l := range kallsymsLayouts {
		image, syms := fakeKernel(t, l)
		small, err := Compact(image)
		if err != nil {
			t.Fatal(err)
		}
		for name, b := range map[string][]byte{
			"ELF": image, "compact": small, "bzImage": fakeBzImage(zstdPayload(t, image), len(image), true),
		} {
			path := filepath.Join(t.TempDir(), "vmlinuz")
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			k, err := Open(path)
			if err != nil {
				t.Errorf("%s, %s: %v", l.name, name, err)
				continue
			}
			if k.Release != fakeRelease || k.Banner != fakeBanner {
				t.Errorf("%s, %s: release %q, banner %q", l.name, name, k.Release, k.Banner)
			}
			checkSymbols(t, k.Symbols, syms)
			if f, err := k.Types.Field("task_struct", "comm"); err != nil || f.Offset != 16 {
				t.Errorf("%s, %s: task_struct.comm: %+v, %v", l.name, name, f, err)
			}
			if !isELF(k.ELF) {
				t.Errorf("%s, %s: no ELF image is kept", l.name, name)
			}
		}
	}
}

func TestReadErrors(t *testing.T) {
	t.Parallel()
	image, _ := fakeKernel(t, kallsymsLayouts[2])
	without := func(s string) []byte {
		return bytes.ReplaceAll(image, []byte(s), bytes.Repeat([]byte{1}, len(s)))
	}
	for _, tt := range []struct {
		name  string
		image []byte
		want  string
	}{
		{"text", []byte("text"), "neither an ELF file nor"},
		{"no banner", without("Linux version 6"), "no Linux banner"},
		{"no kallsyms", without("\x10A__per_cpu_start"), "read kallsyms of Linux " + fakeRelease},
		{"no BTF", without("R__start_BTF"), "CONFIG_DEBUG_INFO_BTF"},
		{"damaged BTF", without("\x9f\xeb\x01\x00"), "parse BTF"},
	} {
		k, err := Read(tt.image)
		if k != nil && !errors.Is(err, ErrNoBTF) {
			t.Errorf("%s: a kernel came with %v", tt.name, err)
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
	// Without types the rest is known.
	k, err := Read(without("R__start_BTF"))
	if !errors.Is(err, ErrNoBTF) || k == nil || k.Release != fakeRelease || k.Symbols.Len() == 0 {
		t.Errorf("no BTF: %+v, %v", k, err)
	} else if _, err := k.Profile([]string{"task_struct.comm?", "task_struct?", "enum NR_FREE_PAGES?"}); err != nil {
		t.Errorf("no BTF: %v", err)
	} else if _, err := k.Profile([]string{"task_struct.comm", "enum NR_FREE_PAGES"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("no BTF: %v, want %v", err, ErrNotFound)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "nosuch")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

// TestNoBTFFile: the image without types that tests of other packages read is what this
// package makes.
func TestNoBTFFile(t *testing.T) {
	t.Parallel()
	image, _ := fakeKernel(t, kallsymsLayouts[2])
	image = bytes.ReplaceAll(image, []byte("R__start_BTF"), []byte("R__other_BTF"))
	file := filepath.Join("testdata", "no-btf.gz")
	if *update {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		w.Write(image)
		w.Close()
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(z)
	if err != nil || !bytes.Equal(got, image) {
		t.Errorf("%s differs from the image that is made (%v): run with -update", file, err)
	}
}
