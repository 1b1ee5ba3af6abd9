package image

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
)

// Disc is a boot disc: a hypervisor, and Linux as its first domain.
type Disc struct {
	// Prefix holds the boot loader, as the packages isolinux and
	// syslinux-common lay it out.
	Prefix string
	// Xen is the hypervisor's file, gzip-compressed or not; XenArgs its command
	// line.
	Xen     string
	XenArgs string
	// Kernel is dom0's kernel, an uncompressed ELF file; KernelArgs its command
	// line.
	Kernel     string
	KernelArgs string
	// Initrd is dom0's initial RAM file system.
	Initrd string
}

// Where Debian's packages isolinux and syslinux-common put the boot loader,
// and the limit of a command line in it (syslinux 6: MAX_CMDLINE_LEN 2048
// including the end mark).
const (
	isolinuxDir = "usr/lib/ISOLINUX"
	modulesDir  = "usr/lib/syslinux/modules/bios"
	maxCmdline  = 2047
)

// bootFile is the file that BIOS loads and bootCatalog the El Torito catalog's
// hidden name.
const (
	bootFile    = "isolinux.bin"
	bootCatalog = "boot.cat"
	volumeName  = "HANGBENCH"
)

// config returns isolinux.cfg: one label, booted at once and without a word.
// mboot.c32 loads what "---" separates, each with its command line.
func (d *Disc) config() ([]byte, error) {
	for _, a := range []string{d.XenArgs, d.KernelArgs} {
		if strings.ContainsAny(a, "\r\n\x00") || strings.Contains(" "+a+" ", " --- ") {
			return nil, fmt.Errorf("command line %q has a line break or a lone \"---\", which the boot loader cannot take", a)
		}
	}
	line := strings.Join(strings.Fields("xen "+d.XenArgs+" --- vmlinux "+d.KernelArgs+" --- initrd"), " ")
	if len(line) > maxCmdline {
		return nil, fmt.Errorf("the command lines have %d characters together, the boot loader takes %d", len(line), maxCmdline)
	}
	return fmt.Appendf(nil, "DEFAULT lab\nPROMPT 0\nTIMEOUT 1\nLABEL lab\n  KERNEL mboot.c32\n  APPEND %s\n", line), nil
}

// WriteFile writes the disc as an ISO 9660 image to path, which appears in one
// step, and reads it back. Equal files and command lines give equal bytes.
func (d *Disc) WriteFile(path string) error {
	cfg, err := d.config()
	if err != nil {
		return fmt.Errorf("make boot disc: %w", err)
	}
	// The library builds from a folder of files, which it deletes in the end.
	work, err := os.MkdirTemp(filepath.Dir(path), ".disc-*")
	if err != nil {
		return fmt.Errorf("make boot disc: %w", err)
	}
	defer os.RemoveAll(work)
	files := []struct{ name, from string }{
		{bootFile, filepath.Join(d.Prefix, isolinuxDir, "isolinux.bin")},
		{"ldlinux.c32", filepath.Join(d.Prefix, modulesDir, "ldlinux.c32")},
		{"libcom32.c32", filepath.Join(d.Prefix, modulesDir, "libcom32.c32")},
		{"mboot.c32", filepath.Join(d.Prefix, modulesDir, "mboot.c32")},
		{"xen", d.Xen},
		{"vmlinux", d.Kernel},
		{"initrd", d.Initrd},
	}
	if err := os.WriteFile(filepath.Join(work, "isolinux.cfg"), cfg, 0o644); err != nil {
		return fmt.Errorf("make boot disc: %w", err)
	}
	for _, f := range files {
		if err := stage(f.from, filepath.Join(work, f.name)); err != nil {
			return fmt.Errorf("make boot disc: %s: %w", f.name, err)
		}
	}
	if err := needELF(filepath.Join(work, "vmlinux")); err != nil {
		return fmt.Errorf("make boot disc: kernel %s: %w", d.Kernel, err)
	}
	want, err := listFolder(work)
	if err != nil {
		return fmt.Errorf("make boot disc: %w", err)
	}
	return replaceFile(path, func(f *os.File) error {
		if err := writeISO(f, work); err != nil {
			return fmt.Errorf("make boot disc %s: %w", path, err)
		}
		if err := verifyISO(f, want); err != nil {
			return fmt.Errorf("make boot disc %s: it does not read back: %w (is the file system full?)", path, err)
		}
		return nil
	})
}

// stage copies a file, the hypervisor decompressed: the boot loader would
// unpack it in the emulator, slowly. A compressed initrd stays as it is, for
// Linux unpacks it itself.
func stage(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	br := bufio.NewReaderSize(in, 1<<18)
	var r io.Reader = br
	magic, err := br.Peek(2)
	if len(magic) == 0 {
		return fmt.Errorf("%s is empty or cannot be read: %w", from, err)
	}
	if filepath.Base(to) == "xen" && string(magic) == "\x1f\x8b" {
		if r, err = gzip.NewReader(br); err != nil {
			return fmt.Errorf("decompress %s: %w", from, err)
		}
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, r); err != nil {
		out.Close()
		return fmt.Errorf("copy %s: %w", from, err)
	}
	return out.Close()
}

// needELF returns an error unless the file is an ELF file: the hypervisor does
// not load another kind as its first domain in the lab.
func needELF(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var magic [4]byte
	if _, err := io.ReadFull(f, magic[:]); err != nil {
		return err
	}
	if string(magic[:]) != "\x7fELF" {
		return errors.New("not an ELF file: give the uncompressed kernel, not vmlinuz")
	}
	return nil
}

// writeISO fills f with an image of the folder work's files.
func writeISO(f *os.File, work string) error {
	fsys, err := iso9660.Create(file.New(f, false), 0, 0, sector, work)
	if err != nil {
		return err
	}
	boot := &iso9660.ElToritoEntry{
		Platform:  iso9660.BIOS,
		Emulation: iso9660.NoEmulation,
		BootFile:  bootFile,
		// isolinux finds itself and its length through the table.
		BootTable: true,
	}
	boot.SetLoadSize(4) // 512-byte blocks; isolinux loads the rest itself
	err = fsys.Finalize(iso9660.FinalizeOptions{
		VolumeIdentifier: volumeName,
		ElTorito: &iso9660.ElTorito{
			BootCatalog:     bootCatalog,
			HideBootCatalog: true,
			Entries:         []*iso9660.ElToritoEntry{boot},
		},
	})
	if err != nil {
		return err
	}
	return fixTimes(f)
}
