// Package image builds the files from which the lab boots: initial RAM file systems,
// and the disc with boot loader, hypervisor and dom0. It is written in Go alone, and
// needs no mkisofs, no cpio and no root.
//
// A [Tree] collects files, links, devices, and programs with their shared libraries.
// It is written as a cpio archive, which Linux unpacks at boot. A [Disc] is written as
// an ISO 9660 image, which a BIOS boots through El Torito, isolinux and mboot.c32. A
// [GuestDisc] is one with a guest's kernel alone. [Modules] finds kernel modules and their dependencies.
//
// Equal inputs give equal bytes, on any machine and at any time: entries are sorted,
// and every time stamp is [Time]. The results can therefore be named by their hash and
// kept in a cache.
//
// Programs, libraries, modules and boot loader come from a prefix that
// guests/lab/debian has unpacked, uncompressed kernels from guests/kernel.
package image

import "time"

// Time is the time stamp of everything in an image: second 1,600,000,000 of Unix
// time. The lab's clock starts at the same time.
var Time = time.Unix(1_600_000_000, 0).UTC()
