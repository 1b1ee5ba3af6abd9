package hypervisor

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hangbench/cgo/require"
)

const base = 0x200000 // address of the segment in Xen's images

// asm decodes code in hexadecimal digits.
func asm(text string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// code is the beginnings of the functions of a Xen 4.20.4, as Debian's compiler makes them.
// xen_extra_version is at 0x40, and its text at 0x180.
func code() map[string][]byte {
	return map[string][]byte{
		"xen_major_version": asm("b8 04000000 c3"),
		"xen_minor_version": asm("f30f1efa b8 14000000 c3"),
		"xen_extra_version": asm("488d05 39010000 c3"),
		"do_domctl":         asm("55 4889e5 4154 488d642450 4c8d642450 85c0 0f8500000000 837c245417 0f8540090000"),
		"do_sysctl":         asm("4157 488d8424c0000000 4885e4 83bc24c400000015 0f850d100000"),
	}
}

// fakeImage makes an image with these functions and a table of 600 symbols.
func fakeImage(functions map[string][]byte) []byte {
	data := make([]byte, 0x200)
	addrs := map[string]int{}
	for i, name := range []string{
		"xen_major_version", "xen_extra_version", "xen_minor_version", "do_domctl", "do_sysctl",
	} {
		addrs[name] = 0x40 * i
		copy(data[0x40*i:], functions[name])
	}
	copy(data[0x180:], ".4\x00")
	for len(data) < 0x1000 {
		data = append(data, 0x90)
	}
	names := slices.SortedFunc(maps.Keys(addrs), func(a, b string) int { return addrs[a] - addrs[b] })
	for i := len(names); i < 600; i++ {
		names = append(names, fmt.Sprintf("symbol_%d", i))
	}
	le := binary.LittleEndian
	for i, name := range names {
		at, ok := addrs[name]
		if !ok {
			at = 0x200 + i
		}
		data = le.AppendUint32(data, uint32(base+at))
	}
	data = le.AppendUint32(data, uint32(len(names)))
	start := len(data)
	var markers []int
	for i, name := range names {
		if i%namesPerMarker == 0 {
			markers = append(markers, len(data)-start)
		}
		data = append(append(data, byte(1+len(name)), 'T'), name...)
	}
	for len(data)%4 != 0 {
		data = append(data, 0)
	}
	for _, m := range markers {
		data = le.AppendUint32(data, uint32(m))
	}
	var index []byte
	start = len(data)
	for i := range tokens {
		index = le.AppendUint16(index, uint16(len(data)-start))
		token := fmt.Sprintf("~%d", i)
		if i > ' ' && i < 0x7f {
			token = string(rune(i))
		}
		data = append(append(data, token...), 0)
	}
	for len(data)%4 != 0 {
		data = append(data, 0)
	}
	data = append(data, index...)
	var b bytes.Buffer
	b.WriteString("\x7fELF\x01\x01\x01" + strings.Repeat("\x00", 9))
	for _, v := range []any{
		uint16(2), uint16(3), uint32(1), uint32(base), uint32(52), uint32(0), uint32(0), uint16(52), uint16(32), uint16(1),
		uint16(40), uint16(0), uint16(0),
		uint32(1), uint32(84), uint32(base), uint32(base), uint32(len(data)), uint32(len(data)), uint32(7), uint32(4),
	} {
		if err := binary.Write(&b, le, v); err != nil {
			panic(err)
		}
	}
	b.Write(data)
	return b.Bytes()
}

func packed(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	z.Close()
	return out.Bytes()
}

func TestRead(t *testing.T) {
	t.Parallel()
	change := func(name, text string) []byte {
		c := code()
		c[name] = asm(text)
		return fakeImage(c)
	}
	whole := fakeImage(code())
	overlap := slices.Insert(slices.Clone(whole), 84, whole[52:84]...) // the program header twice
	overlap[44] = 2
	wide := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 57)...)
	wide[16], wide[18], wide[20], wide[52] = 2, 62, 1, 64
	for _, tt := range []struct {
		name  string
		image []byte
		want  string // version and interface, or a part of the error
	}{
		{"whole", whole, "4.20.4 domctl 0x17 and sysctl 0x15"},
		{"packed", packed(whole), "4.20.4 domctl 0x17 and sysctl 0x15"},
		{"a frame pointer", change("xen_major_version", "554889e5 b8 05000000"), "5.20.4 domctl 0x17 and sysctl 0x15"},
		{"in another register", change("do_domctl", "488d7df0 837df418 7405"), "4.20.4 domctl 0x18 and sysctl 0x15"},
		{"32 bits", change("do_domctl", "488d7df0 817df4 18010000 7405"), "4.20.4 domctl 0x118 and sysctl 0x15"},
		{"the command is compared first", change("do_domctl", "4c8d642450 837c245057 7410 837c245418 7510"),
			"4.20.4 domctl 0x18 and sysctl 0x15"},
		{"by the register that points to it", change("do_domctl", "488d442450 83780418 7405"),
			"4.20.4 domctl 0x18 and sysctl 0x15"},
		{"by one of the new registers", change("do_domctl", "4c8d642450 83780417 7405 41837c240418 7405"),
			"4.20.4 domctl 0x18 and sysctl 0x15"},
		{"at the top of the stack", change("do_domctl", "4889e7 837c240418 7405"), "4.20.4 domctl 0x18 and sysctl 0x15"},
		{"loaded first", change("do_domctl", "488d7c2428 8b54242c 8b442428 83f85a 0f84c7170000 83fa18 0f853a170000"),
			"4.20.4 domctl 0x18 and sysctl 0x15"},
		{"loaded to one of the new registers", change("do_domctl", "488d7c2428 448b54242c 4183fa18 7510"),
			"4.20.4 domctl 0x18 and sysctl 0x15"},
		{"another word loaded", change("do_domctl", "488d7c2428 8b54242c 8b542430 83fa17 7510 837c242c18 7510"),
			"4.20.4 domctl 0x18 and sysctl 0x15"},
		{"a variable first", change("do_domctl", "488d45fc 833d1775100005 488d7c2428 837c242c18 7510"),
			"4.20.4 domctl 0x18 and sysctl 0x15"},
		{"a domain first", change("do_domctl", "4c8d642450 817c2454f47f0000 7510 837c2454ff 7510 837c245418 7510"),
			"4.20.4 domctl 0x18 and sysctl 0x15"},
		{"no jump", change("do_domctl", "4c8d642450 837c245411 90 837c245418 7510"), "4.20.4 domctl 0x18 and sysctl 0x15"},
		{"a subtraction first", change("do_domctl", "4c8d642450 836c245411 7505 837c245418 7510"),
			"4.20.4 domctl 0x18 and sysctl 0x15"},
		{"no comparison that is known", change("do_domctl", "837c247417 7510"),
			"not known: its function do_domctl compares the version"},
		{"another begin", change("xen_minor_version", "31c0 c3"), "its function xen_minor_version begins with 31 c0 c3"},
		{"no version", change("xen_major_version", "b8 ffffffff c3"), "xen_major_version returns"},
		{"no text", change("xen_extra_version", "488d05 00000070 c3"), "returns no text"},
		{"binary text", change("xen_extra_version", "488d05 00000000 c30100"), "which is no version"},
		{"empty", nil, "it is no image of Xen"},
		{"EFI", []byte("MZ"), "the lab boots with BIOS"},
		{"short ELF", []byte("\x7fELF"), "it is damaged or cut off"},
		{"xen-syms", wide, "an ELF file of ELFCLASS64 for EM_X86_64, as xen-syms is"},
		{"nothing in it", slices.Concat(whole[:44], []byte{0}, whole[45:]), "it has nothing to load"},
		{"segments that overlap", overlap, "its program headers overlap"},
		{"cut off", whole[:len(whole)-1], "it is cut off"},
		{"cut off when packed", packed(whole)[:200], "decompress it: unexpected EOF"},
		{"no symbols", bytes.ReplaceAll(whole, []byte("~255"), []byte("\x01255")), "it has no table of symbols"},
		{"another program", bytes.ReplaceAll(whole, []byte("do_domctl"), []byte("do_domctk")), "no function do_domctl"},
		{"too large", packed(make([]byte, maxImage+1)), "when it is decompressed"},
	} {
		got, err := Read(tt.image)
		is := fmt.Sprint(err)
		if err == nil {
			is = got.Version() + " " + got.Interface.String()
		}
		if err == nil && is != tt.want || !strings.Contains(is, tt.want) {
			t.Errorf("%s: %s, want %s", tt.name, is, tt.want)
		}
	}
}

// TestReadReal reads the images of Debian that labs have left in the cache.
func TestReadReal(t *testing.T) {
	t.Parallel()
	known := map[string]Interface{"4.17": {Domctl: 0x15, Sysctl: 0x15}, "4.20": {Domctl: 0x17, Sysctl: 0x15}}
	tried := map[string]bool{}
	for _, kernel := range require.KernelImages(t) {
		cache, _, _ := strings.Cut(kernel, "/prefix-")
		images, err := filepath.Glob(filepath.Join(cache, "prefix-*", "boot", "xen-*-amd64.gz"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range images {
			release := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "xen-"), "-amd64.gz")
			if tried[path] {
				continue
			}
			tried[path] = true
			b, err := ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			img, err := Read(b)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			want, ok := known[release]
			if !strings.HasPrefix(img.Version(), release+".") || ok && img.Interface != want {
				t.Errorf("%s: %+v, want %v", path, img, want)
			}
		}
	}
	if len(tried) == 0 {
		require.Missing(t, require.Kernels, "no image of Xen beside the kernels")
	}
}

func TestReadFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := ReadFile(dir); err == nil || !strings.Contains(err.Error(), "it is no regular file") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := ReadFile(filepath.Join(dir, "nosuch")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadFile(path); string(b) != "text" || err != nil {
		t.Errorf("a file: %q, %v", b, err)
	}
	if err := os.Truncate(path, maxImage+1); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(path); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a large file: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(fakeImage(code()))
	f.Add(packed(fakeImage(code())))
	f.Fuzz(func(t *testing.T, b []byte) {
		img, err := Read(b)
		if err == nil && (img.Interface.Domctl == 0 || img.Interface.Sysctl == 0 || strings.ContainsAny(img.Extra, " \n")) {
			t.Errorf("%+v", img)
		}
	})
}
