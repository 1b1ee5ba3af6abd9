package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hangbench/guests/kernel"
	"hangbench/guests/lab/debian"
)

// isPackage reports whether a file is a Debian package: an archive of ar(5).
func isPackage(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
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

// unpackKernel unpacks the files of a kernel's package into the folder dir and returns
// the path of its image. The error names packages that have none, or several.
func unpackKernel(ctx context.Context, deb, dir string) (string, error) {
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

// ReadKernel reads a kernel: a vmlinuz, a vmlinux, or a Debian package with one of them.
// With kernel.ErrNoBTF it returns what else is known of it.
func ReadKernel(ctx context.Context, path string) (*kernel.Kernel, error) {
	pkg, err := isPackage(path)
	if err != nil {
		return nil, fmt.Errorf("read a kernel: %w", err)
	}
	if !pkg {
		return kernel.Open(path)
	}
	dir, err := os.MkdirTemp("", "hangbench-kernel-")
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", path, err)
	}
	defer os.RemoveAll(dir)
	image, err := unpackKernel(ctx, path, dir)
	if err != nil {
		return nil, err
	}
	return kernel.Open(image)
}
