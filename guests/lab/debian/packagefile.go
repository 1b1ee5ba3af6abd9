package debian

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
)

const (
	mostPackage = 2 << 30 // longest package file of a user's in bytes
	mostControl = 1 << 20 // longest control file in bytes
)

// controlValue is the form of a package's name, version and architecture (Debian policy
// 5.6.1, 5.6.8 and 5.6.12).
var controlValue = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.+:~-]*$`)

// ReadPackage reads a package file that a user brings: its name, version, architecture,
// length and SHA-256. Suite and Path are empty, and File is the path. No index vouches for
// the file.
func ReadPackage(file string) (Package, error) {
	p := Package{File: file}
	switch st, err := os.Stat(file); {
	case err != nil:
		return p, fmt.Errorf("read a package: %w", err)
	case !st.Mode().IsRegular() || st.Size() > mostPackage:
		return p, fmt.Errorf("read the package %s: it is no regular file of at most %d GiB", file, mostPackage>>30)
	}
	f, err := os.Open(file)
	if err != nil {
		return p, fmt.Errorf("read a package: %w", err)
	}
	defer f.Close()
	if err := p.readControl(f); err != nil {
		return p, fmt.Errorf("read the package %s: %w", file, err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return p, fmt.Errorf("read the package %s: %w", file, err)
	}
	h := sha256.New()
	if p.SizeBytes, err = io.Copy(h, f); err != nil {
		return p, fmt.Errorf("read the package %s: %w", file, err)
	}
	p.SHA256 = hex.EncodeToString(h.Sum(nil))
	return p, nil
}

// readControl fills in what the file "control" of a package says (deb-control(5)).
func (p *Package) readControl(r io.Reader) error {
	tr, err := debMember(r, "control.tar")
	if err != nil {
		return err
	}
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return errors.New("its control.tar has no file named control")
		}
		if err != nil {
			return noEOF(err)
		}
		if path.Clean(h.Name) == "control" {
			break
		}
	}
	err = readStanzas(io.LimitReader(tr, mostControl), func(s stanza) error {
		p.Name, p.Version, p.Arch = s["Package"], s["Version"], s["Architecture"]
		return nil
	})
	if err != nil {
		return fmt.Errorf("its file control: %w", err)
	}
	for _, value := range []string{p.Name, p.Version, p.Arch} {
		if !controlValue.MatchString(value) {
			return fmt.Errorf("its file control gives the name %q, version %q and architecture %q", p.Name, p.Version, p.Arch)
		}
	}
	return nil
}

// KernelFilter returns the filter for a package with a kernel that a user brings. It
// keeps images, modules for a guest's disk and for Xen, and the list of modules that are
// built in.
func KernelFilter() Filter {
	const modules = "usr/lib/modules/*/"
	var f Filter
	for _, p := range []string{
		"boot/vmlinuz-*", "boot/vmlinux-*", modules + "vmlinuz", modules + "modules.builtin",
		modules + "kernel/drivers/xen", modules + "kernel/drivers/block", modules + "kernel/arch", modules + "kernel/lib",
	} {
		f = append(f, Rule{Pattern: p, Keep: true})
	}
	return append(f, Rule{Pattern: "*"})
}

// UnpackFile unpacks one package file into the folder dir, which must exist. No index
// vouches for the file. Unpack has the rules for its entries.
func UnpackFile(ctx context.Context, deb, dir string, filter Filter) error {
	if err := filter.valid(); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", deb, err)
	}
	defer root.Close()
	if err := unpackOne(ctx, root, deb, filter); err != nil {
		return noSpace(fmt.Errorf("unpack %s: %w", deb, err), dir)
	}
	return nil
}
