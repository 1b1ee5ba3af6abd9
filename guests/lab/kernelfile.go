package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hangbench/guests/image"
	"hangbench/guests/kernel"
	"hangbench/guests/lab/debian"
	"hangbench/results/printable"
)

// IsPackage reports whether a file of a kernel is a Debian package: an archive of ar(5).
// The error is about a file that no kernel is in: see kernel.CheckFile.
func IsPackage(path string) (bool, error) {
	if err := kernel.CheckFile(path); err != nil {
		return false, err
	}
	f, err := os.Open(path)
	if err != nil {
		return false, printable.File(err)
	}
	defer f.Close()
	const magic = "!<arch>\n"
	b := make([]byte, len(magic))
	_, err = io.ReadFull(f, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return false, nil
	}
	return bytes.Equal(b, []byte(magic)), err
}

// images returns the kernel images below a folder in which packages were unpacked.
func images(dir string) ([]string, error) {
	var all []string
	for _, pattern := range []string{"boot/vmlinuz-*", "boot/vmlinux-*", "usr/lib/modules/*/vmlinuz"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// UnpackKernel unpacks the files of a kernel's package into the folder dir and returns
// the path of its image. The error names packages that have none, or several.
func UnpackKernel(ctx context.Context, deb, dir string) (string, error) {
	if err := debian.UnpackFile(ctx, deb, dir, debian.KernelFilter()); err != nil {
		return "", err
	}
	found, err := images(dir)
	if err != nil {
		return "", err
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%s has no kernel image; Debian has it in the package linux-image-VERSION, "+
			"of Linux 7 in linux-binary-VERSION", deb)
	case 1:
		return found[0], nil
	}
	for i := range found {
		found[i] = filepath.Base(found[i])
	}
	slices.Sort(found)
	return "", fmt.Errorf("%s has several kernel images, %s: give one of them", deb, strings.Join(found, " and "))
}

// A GuestNeed is a function of the kernel that a guest of the lab needs.
type GuestNeed struct {
	What     string // for people
	Symbol   string // the function
	Without  string // what follows if it is not there, and the remedy
	Optional bool   // the guest boots without it
	PVH      bool   // only guests of type PVH need it
	// Module has the function if it is not built in. It is empty for a function that must
	// be built in.
	Module string
}

// GuestNeeds returns what a kernel must have to boot as a guest and to run hangbench's
// PID 1.
func GuestNeeds() []GuestNeed {
	return []GuestNeed{
		{What: "entry point for guests of type PVH", Symbol: "pvh_start_xen", PVH: true,
			Without: "it cannot be booted as a PVH guest: set CONFIG_XEN_PVH=y, or boot it as an HVM guest (type: hvm)"},
		{What: "initramfs", Symbol: "unpack_to_rootfs", Without: "it cannot start PID 1: set CONFIG_BLK_DEV_INITRD=y"},
		{What: "xenstore device", Symbol: "xenbus_file_write",
			Without: "the guest cannot say that it is up: set CONFIG_XEN_XENBUS_FRONTEND=y"},
		{What: "Xen console", Symbol: "xen_hvc_init", Optional: true,
			Without: "its console is not seen: set CONFIG_HVC_XEN=y"},
		{What: "Xen block device, built in", Symbol: "blkfront_probe", Module: "xen-blkfront",
			Without: "its module xen-blkfront is needed beside the kernel"},
		{What: "Xen hypercalls of programs, built in", Symbol: "privcmd_ioctl", Module: "xen-privcmd", Optional: true,
			Without: "Xen's watchdog is armed only with its module xen-privcmd beside the kernel"},
	}
}

// KernelFileName returns the name of a guest kernel that a user brings, which says its
// content: "file-" and the first 12 digits of the image's SHA-256. spec is the path of the
// image or of a package with it, and, behind a comma, that of a folder or a package with
// its modules, if they lie elsewhere.
func KernelFileName(spec string) (string, error) {
	image, modules, given := strings.Cut(spec, ",")
	if err := kernel.CheckFile(image); err != nil {
		return "", &KernelFileError{spec, err}
	}
	sum, err := hashFile(image)
	if err != nil {
		return "", &KernelFileError{spec, err}
	}
	if given {
		info, err := os.Stat(modules)
		if err = printable.File(err); err == nil && !info.IsDir() {
			err = kernel.CheckFile(modules)
		}
		if err != nil {
			return "", &KernelFileError{spec, fmt.Errorf("its modules: %w", err)}
		}
	}
	return "file-" + sum[:12], nil
}

// KernelFileError is a mistake in a guest kernel that the user brings, or something that
// it lacks.
type KernelFileError struct {
	Spec string // as for KernelFileName
	Err  error
}

func (e *KernelFileError) Error() string { return fmt.Sprintf("guest kernel %s: %v", e.Spec, e.Err) }

// Unwrap returns the mistake.
func (e *KernelFileError) Unwrap() error { return e.Err }

// addFile adds the guest kernel of a file to the set, and returns the hash of the file
// and of the modules that guests load. Packages are unpacked into the folder dir.
func (o *Options) addFile(ctx context.Context, set *kernelSet, name, spec, dir string) (sum string, err error) {
	fail := func(err error) (string, error) { return "", &KernelFileError{spec, err} }
	path, modules, _ := strings.Cut(spec, ",")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fail(err)
	}
	if sum, err = hashFile(path); err != nil {
		return fail(err)
	}
	source := path
	pkg, err := IsPackage(path)
	if err == nil && pkg {
		source, err = UnpackKernel(ctx, path, dir)
	}
	if err != nil {
		return fail(err)
	}
	k, err := kernel.Open(source)
	if err == nil && o.Variant.HVM {
		err = image.CheckBzImage(source)
	}
	if err != nil {
		return fail(err)
	}
	from, err := modulesOf(ctx, modules, k.Release, dir)
	if err != nil {
		return fail(err)
	}
	var load []string
	for _, n := range GuestNeeds() {
		if _, ok := k.Symbols.Lookup(n.Symbol); ok || n.PVH && o.Variant.HVM {
			continue
		}
		found := false
		if n.Module != "" && from != nil {
			order, err := from.InOrder(n.Module)
			if found = err == nil; found {
				load = append(load, n.Module)
				for _, m := range order {
					sum = hashStrings([]string{sum, m.Name, string(m.Data)})
				}
			}
		}
		switch {
		case found:
		case n.Optional:
			o.Log.Warn(fmt.Sprintf("guest kernel %s: %s", k.Release, n.Without))
		case n.Module != "":
			return fail(fmt.Errorf("kernel %s: %s: name a package or folder with it behind a comma, as in file:%s,FOLDER",
				k.Release, n.Without, path))
		default:
			return fail(fmt.Errorf("kernel %s: %s", k.Release, n.Without))
		}
	}
	set.guests[name], set.sources[name] = k.Release, source
	set.load = map[string][]string{k.Release: load}
	if from != nil {
		set.modules[k.Release] = from.Dir()
	}
	return sum, nil
}

// modulesOf opens the modules of a kernel: those of a package or a folder, or, if path is
// empty, those among the unpacked files in dir. It returns nil if there are none there.
func modulesOf(ctx context.Context, path, release, dir string) (*image.Modules, error) {
	if path == "" {
		m, err := image.OpenModules(filepath.Join(dir, "usr/lib/modules", release))
		if errors.Is(err, image.ErrNoModules) || errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return m, err
	}
	st, err := os.Stat(path)
	if err != nil {
		return nil, printable.File(err)
	}
	if !st.IsDir() {
		if err := debian.UnpackFile(ctx, path, dir, debian.KernelFilter()); err != nil {
			return nil, err
		}
		return image.OpenModules(filepath.Join(dir, "usr/lib/modules", release))
	}
	if below := filepath.Join(path, release); isDir(below) {
		path = below
	}
	return image.OpenModules(path)
}

// isDir reports whether path is a folder.
func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}
