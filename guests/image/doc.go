// Package image builds the files the lab boots from: initial RAM file systems
// and the disc with boot loader, hypervisor and dom0. All of it is Go; no
// mkisofs, cpio or root is needed.
//
// A [Tree] collects files, links, devices, programs with the shared libraries
// they need, and kernel modules with the modules they depend on, and is
// written as a cpio archive that Linux unpacks at boot. A [Disc] becomes an
// ISO 9660 image that BIOS boots through El Torito, isolinux and mboot.c32.
//
// Equal inputs give equal bytes, on any machine and at any time: entries are
// sorted, and every time stamp is [Time]. The results can therefore be named
// by their hash and kept in a cache.
//
// Programs, libraries, modules and boot loader come from a prefix that
// guests/lab/debian has laid out; uncompressed kernels come from guests/kernel.
package image

import "time"

// Time is the time stamp of everything in an image: second 1,600,000,000 of
// Unix time, which is also the time at which the lab's clock starts.
var Time = time.Unix(1_600_000_000, 0).UTC()
