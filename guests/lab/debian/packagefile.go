package debian

import (
	"context"
	"fmt"
	"os"
)

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
