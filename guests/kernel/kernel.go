package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"hangbench/results/printable"
)

// A Kernel is the information in a kernel image.
type Kernel struct {
	// Release is the version as uname -r prints it.
	Release string
	// Banner is the first line of the kernel's log: release, builder, compiler and
	// build date.
	Banner  string
	Symbols *Symbols
	Types   *Types
	// ELF is the uncompressed image, for [Compact].
	ELF []byte
}

// Open reads a kernel image, vmlinuz or vmlinux. See [Read] for ErrNoBTF.
func Open(path string) (*Kernel, error) {
	if err := CheckFile(path); err != nil {
		return nil, fmt.Errorf("open kernel: %w", err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("open kernel: %w", printable.File(err))
	}
	k, err := Read(b)
	if err != nil {
		return k, fmt.Errorf("open kernel %s: %w", path, err)
	}
	return k, nil
}

// mostFile bounds the file of a kernel in bytes. A vmlinux with all its debug
// information has about half a GiB.
const mostFile = 2 << 30

// CheckFile returns an error for a file that no kernel is in: a folder, a device or a pipe,
// which could be read for ever, or a file of more than 2 GiB. The error names the file and
// says what to do.
func CheckFile(path string) error {
	switch info, err := os.Stat(path); {
	case err != nil:
		return printable.File(err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file: give the path of a file", path)
	case info.Size() > mostFile:
		return fmt.Errorf("%s is larger than %d GiB, which no kernel is", path, mostFile>>30)
	}
	return nil
}

// Read is [Open] for an image in memory. The Kernel keeps a reference to it.
//
// With ErrNoBTF it returns all the same what else is known of the kernel: its Types have
// no type.
func Read(b []byte) (*Kernel, error) {
	b, err := ExtractELF(b)
	if err != nil {
		return nil, err
	}
	img, err := parseImage(b)
	if err != nil {
		return nil, err
	}
	k, err := img.read()
	if k != nil {
		k.ELF = b
	}
	return k, err
}

// read reads the kernel from its segments. With ErrNoBTF it returns what else is known.
func (img *image) read() (*Kernel, error) {
	k := &Kernel{}
	var err error
	if k.Release, k.Banner, err = img.banner(); err != nil {
		return nil, err
	}
	if k.Symbols, err = img.kallsyms(); err != nil {
		return nil, fmt.Errorf("read kallsyms of Linux %s: %w", k.Release, err)
	}
	// The image has an early banner too, without the build's number.
	if sym, ok := k.Symbols.Lookup("linux_banner"); ok {
		if b, ok := img.between(sym.Addr, sym.Addr+maxBanner); ok {
			line, _, ok := bytes.Cut(b, []byte("\n\x00"))
			if ok && bytes.HasPrefix(line, []byte("Linux version "+k.Release+" ")) {
				k.Banner = string(line)
			}
		}
	}
	if k.Types, err = img.types(k.Symbols); err != nil {
		err = fmt.Errorf("read types of Linux %s: %w", k.Release, err)
		if !errors.Is(err, ErrNoBTF) {
			return nil, err
		}
		return k, err
	}
	return k, nil
}

// maxBanner bounds linux_banner in bytes. The kernel reads no more than 512 of it.
const maxBanner = 512

// banner finds linux_banner by its form: "Linux version ", a number, and the end of
// one line with a NUL behind it. Other strings that begin so are formats.
func (img *image) banner() (release, banner string, err error) {
	const prefix = "Linux version "
	for _, seg := range img.segs {
		for rest := seg.data; ; rest = rest[len(prefix):] {
			i := bytes.Index(rest, []byte(prefix))
			if i < 0 {
				break
			}
			rest = rest[i:]
			line, _, ok := bytes.Cut(rest[:min(len(rest), maxBanner)], []byte("\n\x00"))
			if !ok || len(line) == len(prefix) || line[len(prefix)] < '0' || line[len(prefix)] > '9' ||
				bytes.IndexByte(line, 0) >= 0 {
				continue
			}
			return strings.Fields(string(line))[2], string(line), nil
		}
	}
	return "", "", errors.New("no Linux banner in the image; it is no Linux kernel")
}
