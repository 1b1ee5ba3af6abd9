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

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
)

// Disc is a boot disc: a hypervisor, and Linux as its first domain.
type Disc struct {
	// Prefix is the folder with the unpacked packages isolinux and syslinux-common.
	Prefix string
	// Xen is the path of the hypervisor, compressed with gzip or not.
	Xen     string
	XenArgs string // the hypervisor's command line
	// Kernel is the path of dom0's kernel, an uncompressed ELF file.
	Kernel     string
	KernelArgs string // the kernel's command line
	// Initrd is the path of dom0's initial RAM file system.
	Initrd string
}

const (
	isolinuxDir = "usr/lib/ISOLINUX"              // of Debian's package isolinux
	modulesDir  = "usr/lib/syslinux/modules/bios" // of Debian's package syslinux-common
	// maxCmdline bounds a command line in bytes. The boot loader has room for 2048
	// with the end mark (syslinux 6: MAX_CMDLINE_LEN).
	maxCmdline  = 2047
	bootFile    = "isolinux.bin" // the file that the BIOS loads
	bootCatalog = "boot.cat"     // the El Torito catalog, a hidden file
	volumeName  = "HANGBENCH"
)

// config returns isolinux.cfg. mboot.c32 loads several files, each with its command line;
// "---" separates them.
func (d *Disc) config() ([]byte, error) {
	for _, a := range []string{d.XenArgs, d.KernelArgs} {
		if strings.Contains(" "+a+" ", " --- ") {
			return nil, fmt.Errorf("command line %q has a word \"---\", which the boot loader cannot take", a)
		}
	}
	return config("mboot.c32", "xen "+d.XenArgs+" --- vmlinux "+d.KernelArgs+" --- initrd")
}

// config returns an isolinux.cfg with one label, which is booted at once, without a
// message: the file kernel with a command line.
func config(kernel, line string) ([]byte, error) {
	if strings.ContainsAny(line, "\r\n\x00") {
		return nil, fmt.Errorf("command line %q has a line break, which the boot loader cannot take", line)
	}
	line = strings.Join(strings.Fields(line), " ")
	if len(line) > maxCmdline {
		return nil, fmt.Errorf("the command lines have %d characters together, the boot loader takes %d", len(line),
			maxCmdline)
	}
	return fmt.Appendf(nil,
		"DEFAULT lab\nPROMPT 0\nTIMEOUT 1\nLABEL lab\n  KERNEL %s\n  APPEND %s\n", kernel, line), nil
}

// WriteFile writes the disc to path as an ISO 9660 image, and reads it back to check
// it. Readers never see half of it. Equal files and command lines give equal bytes.
func (d *Disc) WriteFile(path string) error {
	cfg, err := d.config()
	if err != nil {
		return fmt.Errorf("make boot disc: %w", err)
	}
	if err := needELF(d.Kernel); err != nil {
		return fmt.Errorf("make boot disc: kernel %s: %w", d.Kernel, err)
	}
	return writeDisc(path, d.Prefix, cfg, []discFile{
		{"libcom32.c32", filepath.Join(d.Prefix, modulesDir, "libcom32.c32")},
		{"mboot.c32", filepath.Join(d.Prefix, modulesDir, "mboot.c32")},
		{"xen", d.Xen},
		{"vmlinux", d.Kernel},
		{"initrd", d.Initrd},
	})
}

// GuestDisc is a boot disc with a Linux kernel alone, for a guest that has a BIOS.
type GuestDisc struct {
	// Prefix is the folder with the unpacked packages isolinux and syslinux-common.
	Prefix string
	// Kernel is the path of the kernel as distributions ship it (vmlinuz): its own loader
	// decompresses it and moves it.
	Kernel     string
	KernelArgs string // the kernel's command line
	// Initrd is the path of the guest's initial RAM file system.
	Initrd string
}

// WriteFile writes the disc as Disc.WriteFile does.
func (d *GuestDisc) WriteFile(path string) error {
	cfg, err := config("vmlinuz", "initrd=initrd "+d.KernelArgs)
	if err != nil {
		return fmt.Errorf("make boot disc: %w", err)
	}
	if err := CheckBzImage(d.Kernel); err != nil {
		return fmt.Errorf("make boot disc: kernel %s: %w", d.Kernel, err)
	}
	return writeDisc(path, d.Prefix, cfg, []discFile{{"vmlinuz", d.Kernel}, {"initrd", d.Initrd}})
}

// discFile is a file of a disc and where its content comes from.
type discFile struct{ name, from string }

// writeDisc writes a disc with isolinux, its configuration and other files to path.
func writeDisc(path, prefix string, cfg []byte, files []discFile) error {
	// The library makes the image from a folder of files, and deletes the folder.
	work, err := os.MkdirTemp(filepath.Dir(path), ".disc-*")
	if err != nil {
		return fmt.Errorf("make boot disc: %w", err)
	}
	defer os.RemoveAll(work)
	files = append([]discFile{
		{bootFile, filepath.Join(prefix, isolinuxDir, "isolinux.bin")},
		{"ldlinux.c32", filepath.Join(prefix, modulesDir, "ldlinux.c32")},
	}, files...)
	if err := os.WriteFile(filepath.Join(work, "isolinux.cfg"), cfg, 0o644); err != nil {
		return fmt.Errorf("make boot disc: %w", err)
	}
	for _, f := range files {
		if err := stage(f.from, filepath.Join(work, f.name)); err != nil {
			return fmt.Errorf("make boot disc: %s: %w", f.name, err)
		}
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

// stage copies a file. It decompresses the hypervisor: in the emulator, the boot loader
// would be slow to do that. A compressed initrd stays as it is: Linux decompresses it.
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

// needELF returns an error unless the file is an ELF file. The lab's hypervisor loads
// no other kind of kernel.
func needELF(path string) error {
	return needMagic(path, 0, "\x7fELF", "not an ELF file: give the uncompressed kernel, not vmlinuz")
}

// CheckBzImage returns an error unless the file has the header of a kernel that a boot
// loader loads: "HdrS" at 0x202 (Documentation/arch/x86/boot.rst).
func CheckBzImage(path string) error {
	return needMagic(path, 0x202, "HdrS", "a boot loader cannot load it: give vmlinuz, not the uncompressed kernel")
}

// needMagic returns an error that says why unless the file has the magic at the offset.
func needMagic(path string, offset int64, magic, why string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, len(magic))
	if _, err := f.ReadAt(b, offset); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if string(b) != magic {
		return errors.New(why)
	}
	return nil
}

// writeISO writes an image of the files in the folder work to f.
func writeISO(f *os.File, work string) error {
	disk := &noting{Storage: file.New(f, false)}
	fsys, err := iso9660.Create(disk, 0, 0, sector, work)
	if err != nil {
		return err
	}
	boot := &iso9660.ElToritoEntry{
		Platform:  iso9660.BIOS,
		Emulation: iso9660.NoEmulation,
		BootFile:  bootFile,
		// isolinux finds its own position and length in the table.
		BootTable: true,
	}
	boot.SetLoadSize(4) // blocks of 512 bytes; isolinux then loads its rest
	err = fsys.Finalize(iso9660.FinalizeOptions{
		VolumeIdentifier: volumeName,
		ElTorito: &iso9660.ElTorito{
			BootCatalog:     bootCatalog,
			HideBootCatalog: true,
			Entries:         []*iso9660.ElToritoEntry{boot},
		},
	})
	if disk.failed != nil {
		return disk.failed
	}
	if err != nil {
		return err
	}
	return fixTimes(f)
}

// noting is a file that the library writes. It keeps the first error of a write, because
// the library returns only its text: a full disk could not be told from other errors.
type noting struct {
	backend.Storage
	failed error
}

// Writable returns the file for writing.
func (n *noting) Writable() (backend.WritableFile, error) {
	w, err := n.Storage.Writable()
	return &notingWrites{w, n}, err
}

type notingWrites struct {
	backend.WritableFile
	of *noting
}

// WriteAt writes, and keeps the first error.
func (w *notingWrites) WriteAt(b []byte, at int64) (int, error) {
	n, err := w.WritableFile.WriteAt(b, at)
	if err != nil && w.of.failed == nil {
		w.of.failed = err
	}
	return n, err
}
