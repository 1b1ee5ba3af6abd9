package image

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
)

// pattern returns n bytes with a long period.
func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	x := uint32(seed) + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// testDisc makes the files of a disc. The boot file's length is no multiple of four; the
// kernel's is a multiple of a sector.
func testDisc(t testing.TB) (*Disc, map[string][]byte) {
	t.Helper()
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	xen := pattern(5000, 1)
	if _, err := w.Write(xen); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	// A compressed initrd must stay compressed.
	content := map[string][]byte{
		"isolinux.bin": pattern(4099, 2), "ldlinux.c32": pattern(3000, 3), "libcom32.c32": pattern(2048, 4),
		"mboot.c32": pattern(1, 5),
		"xen":       xen, "vmlinux": append([]byte("\x7fELF"), pattern(4*sector-4, 6)...), "initrd": gz.Bytes(),
	}
	dir := writeFiles(t, map[string][]byte{
		isolinuxDir + "/isolinux.bin": content["isolinux.bin"], modulesDir + "/ldlinux.c32": content["ldlinux.c32"],
		modulesDir + "/libcom32.c32": content["libcom32.c32"], modulesDir + "/mboot.c32": content["mboot.c32"],
		"xen.gz": gz.Bytes(), "vmlinux": content["vmlinux"], "initrd": content["initrd"],
	})
	content["isolinux.cfg"] = []byte("DEFAULT lab\nPROMPT 0\nTIMEOUT 1\nLABEL lab\n  KERNEL mboot.c32\n  APPEND xen " +
		"console=com1 altp2m=1 --- vmlinux console=hvc0 --- initrd\n")
	return &Disc{
		Prefix: dir, Xen: filepath.Join(dir, "xen.gz"), XenArgs: "console=com1  altp2m=1 ",
		Kernel:     filepath.Join(dir, "vmlinux"),
		KernelArgs: "console=hvc0", Initrd: filepath.Join(dir, "initrd"),
	}, content
}

func TestDisc(t *testing.T) {
	t.Parallel()
	d, content := testDisc(t)
	path := filepath.Join(t.TempDir(), "lab.iso")
	if err := d.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	// Read back with the library.
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fsys, err := iso9660.Read(file.New(f, true), int64(len(raw)), 0, sector)
	if err != nil {
		t.Fatal(err)
	}
	if l := strings.Trim(fsys.Label(), " \x00"); l != volumeName {
		t.Errorf("volume %q", l)
	}
	entries, err := fsys.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(content) {
		t.Errorf("the disc has %d files, want %d", len(entries), len(content))
	}
	img, err := readISO(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	where := make(map[string]isoFile)
	for _, f := range img.files {
		where[f.name] = f
	}
	for name, want := range content {
		lf, err := fsys.OpenFile(strings.ToUpper(name), os.O_RDONLY)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := io.ReadAll(lf)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name == bootFile {
			want = bytes.Clone(want)
			copy(want[tableStart:tableEnd], got[tableStart:tableEnd])
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs: %d bytes, want %d", name, len(got), len(want))
		}
	}

	// Follow the path of the BIOS, with El Torito's offsets: boot record, catalog, boot
	// file, boot information table.
	le := binary.LittleEndian
	record := raw[17*sector:]
	if record[0] != 0 || string(record[1:6]) != "CD001" ||
		!strings.HasPrefix(string(record[7:]), "EL TORITO SPECIFICATION") {
		t.Fatalf("boot record %q", record[:40])
	}
	catalog := raw[le.Uint32(record[0x47:])*sector:]
	if catalog[0] != 1 || catalog[1] != 0 || catalog[0x20] != 0x88 || catalog[0x21] != 0 ||
		le.Uint16(catalog[0x26:]) != 4 {
		t.Errorf("catalog % x", catalog[:64])
	}
	at := le.Uint32(catalog[0x28:])
	boot := raw[at*sector:][:len(content[bootFile])]
	if int64(at)*sector != where["ISOLINUX.BIN"].offset {
		t.Errorf("the catalog names sector %d, the boot file is at byte %d", at, where["ISOLINUX.BIN"].offset)
	}
	var sum uint32
	padded := append(bytes.Clone(content[bootFile]), 0, 0, 0)
	for i := 64; i+4 <= len(padded); i += 4 {
		sum += le.Uint32(padded[i:])
	}
	for i, want := range []uint32{16, at, uint32(len(boot)), sum} {
		if got := le.Uint32(boot[8+4*i:]); got != want {
			t.Errorf("word %d of the boot information table is %#x, want %#x", i, got, want)
		}
	}
}

// TestGuestDisc: a guest's disc has the boot loader, a kernel that the boot loader can load,
// and no hypervisor.
func TestGuestDisc(t *testing.T) {
	t.Parallel()
	lab, content := testDisc(t)
	vmlinuz := filepath.Join(lab.Prefix, "vmlinuz")
	kernel := pattern(3*sector+7, 9)
	copy(kernel[0x202:], "HdrS")
	if err := os.WriteFile(vmlinuz, kernel, 0o600); err != nil {
		t.Fatal(err)
	}
	good := GuestDisc{Prefix: lab.Prefix, Kernel: vmlinuz, KernelArgs: "console=hvc0  quiet", Initrd: lab.Initrd}
	path := filepath.Join(t.TempDir(), "disc.iso")
	if err := good.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]fileHash{}
	for name, data := range map[string][]byte{
		"ISOLINUX.BIN": content["isolinux.bin"], "LDLINUX.C32": content["ldlinux.c32"], "VMLINUZ": kernel,
		"INITRD": content["initrd"],
		"ISOLINUX.CFG": []byte("DEFAULT lab\nPROMPT 0\nTIMEOUT 1\nLABEL lab\n  KERNEL vmlinuz\n" +
			"  APPEND initrd=initrd console=hvc0 quiet\n"),
	} {
		if want[name], err = hashAt(bytes.NewReader(data), 0, int64(len(data)), name == "ISOLINUX.BIN"); err != nil {
			t.Fatal(err)
		}
	}
	if err := verifyISO(bytes.NewReader(raw), want); err != nil {
		t.Error(err)
	}
	for what, c := range map[string]struct {
		change func(*GuestDisc)
		want   string
	}{
		"line break": {func(d *GuestDisc) { d.KernelArgs = "a\nDEFAULT x" }, "line break"},
		"long":       {func(d *GuestDisc) { d.KernelArgs = strings.Repeat("x ", 1100) }, "2047"},
		"vmlinux":    {func(d *GuestDisc) { d.Kernel = lab.Kernel }, "give vmlinuz"},
		"short kernel": {func(d *GuestDisc) { d.Kernel = filepath.Join(lab.Prefix, modulesDir, "mboot.c32") },
			"give vmlinuz"},
		"no kernel": {func(d *GuestDisc) { d.Kernel = "/no/such/kernel" }, "/no/such/kernel"},
	} {
		d := good
		c.change(&d)
		dir := t.TempDir()
		if err := d.WriteFile(filepath.Join(dir, "disc.iso")); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", what, err, c.want)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("%s: left behind %v, %v", what, left, err)
		}
	}
}

func TestDiscSameBytes(t *testing.T) {
	t.Parallel()
	d, content := testDisc(t)
	dir := t.TempDir()
	var images [2][]byte
	for i := range images {
		path := filepath.Join(dir, "lab.iso")
		if err := d.WriteFile(path); err != nil {
			t.Fatal(err)
		}
		var err error
		if images[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
		// The second time, equal files have other time stamps.
		for name := range content {
			for _, p := range []string{filepath.Join(d.Prefix, name), filepath.Join(d.Prefix, isolinuxDir, name)} {
				if _, err := os.Stat(p); err == nil {
					if err := os.Chtimes(p, time.Time{}, time.Unix(1, 0)); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		// Dates in an image have seconds and hundredths.
		time.Sleep(20 * time.Millisecond)
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("equal inputs gave two images")
	}
	if year := []byte(time.Now().Format("20060102")); bytes.Contains(images[0][:23*sector], year) {
		t.Error("today's date is in the image")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("files left beside the image: %v, %v", left, err)
	}
}

func TestDiscRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what   string
		change func(*Disc)
		want   string
	}{
		{"line break", func(d *Disc) { d.XenArgs = "a\nDEFAULT x" }, "line break"},
		{"separator", func(d *Disc) { d.KernelArgs = "a ---" }, "---"},
		{"long", func(d *Disc) { d.KernelArgs = strings.Repeat("x ", 1100) }, "2047"},
		{"vmlinuz", func(d *Disc) { d.Kernel = d.Xen }, "uncompressed kernel"},
		{"no initrd", func(d *Disc) { d.Initrd = "/no/such/initrd" }, "/no/such/initrd"},
		{"no boot loader", func(d *Disc) { d.Prefix = d.Prefix + "/none" }, "isolinux.bin"},
	} {
		d, _ := testDisc(t)
		c.change(d)
		dir := t.TempDir()
		if err := d.WriteFile(filepath.Join(dir, "lab.iso")); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.what, err, c.want)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("%s: left behind %v, %v", c.what, left, err)
		}
	}
}

// TestVerifySees damages each part of an image that verifyISO checks.
func TestVerifySees(t *testing.T) {
	t.Parallel()
	d, content := testDisc(t)
	path := filepath.Join(t.TempDir(), "lab.iso")
	if err := d.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]fileHash)
	for name, data := range content {
		if want[strings.ToUpper(name)], err = hashAt(bytes.NewReader(data), 0, int64(len(data)),
			name == bootFile); err != nil {
			t.Fatal(err)
		}
	}
	if err := verifyISO(bytes.NewReader(raw), want); err != nil {
		t.Fatal(err)
	}
	img, err := readISO(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]int64{
		"descriptor mark": 16*sector + 1, "catalog key": img.catalog + 30, "catalog flag": img.catalog + 32,
		"catalog sector": img.catalog + 40,
		"platform":       img.catalog + 1,
	}
	for _, f := range img.files {
		places[f.name+" first byte"] = f.offset
		places[f.name+" last byte"] = f.offset + f.size - 1
		if f.name == "ISOLINUX.BIN" {
			for _, off := range []int64{8, 12, 16, 20} {
				places["boot table "+string(rune('0'+off/4))] = f.offset + off
			}
		}
	}
	for what, at := range places {
		bad := slices.Clone(raw)
		bad[at] ^= 0x41
		if err := verifyISO(bytes.NewReader(bad), want); err == nil {
			t.Errorf("a wrong byte in the %s is not seen", what)
		}
	}
	if err := verifyISO(bytes.NewReader(raw[:len(raw)/2]), want); err == nil {
		t.Error("half an image is taken")
	}
	delete(want, "XEN")
	if err := verifyISO(bytes.NewReader(raw), want); err == nil {
		t.Error("a file too many is not seen")
	}
}

func FuzzISO(f *testing.F) {
	d, _ := testDisc(f)
	path := filepath.Join(f.TempDir(), "lab.iso")
	if err := d.WriteFile(path); err != nil {
		f.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(raw[:20*sector])
	f.Fuzz(func(t *testing.T, data []byte) {
		img, err := readISO(bytes.NewReader(data))
		if err != nil {
			return
		}
		for _, at := range append(img.records, img.dates...) {
			if at < 0 || at >= int64(len(data)) {
				t.Fatalf("offset %d in an image of %d bytes", at, len(data))
			}
		}
	})
}

// TestDiscFull: a full disk is told as one.
func TestDiscFull(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	work := writeFiles(t, map[string][]byte{bootFile: pattern(4099, 2), "xen": pattern(5000, 1)})
	if err := writeISO(full, work); !errors.Is(err, syscall.ENOSPC) || strings.Count(err.Error(), "no space") != 1 {
		t.Error(err)
	}
}
