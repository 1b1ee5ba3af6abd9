package debian

import "hangbench/guests/lab/hypervisor"

// Platform is a release of Debian as the lab uses it: the release, and what its
// packages name after a version. A lab with the Xen of another release has another
// Platform. It takes the emulator and the kernels from the ordinary lab's.
//
// What package cgo/xenctrl knows of a release of Xen is in its compat.h, which has what
// differs in Xen's headers, in releases.go, which has what differs at run time, and in
// npf.go and recover.go, which were written from Xen's source.
type Platform struct {
	Release Release
	Xen     XenRelease
	// Interface is the interface that the tools of this Xen have: XEN_DOMCTL_INTERFACE_VERSION
	// and XEN_SYSCTL_INTERFACE_VERSION in its headers.
	Interface hypervisor.Interface
	// GCC is the major version of the C compiler, and GCCDir the folder, below a prefix,
	// of the programs that it starts.
	GCC, GCCDir string
	// Time64 is the suffix of libraries that were built anew for 64-bit times: "t64",
	// and "" before trixie.
	Time64 string
}

// Platforms returns all platforms. The first is that of the ordinary lab. To add a Xen,
// add an entry, and the release's keys to release.go.
func Platforms() []Platform {
	return []Platform{
		{Release: Trixie, Xen: "4.20", Interface: hypervisor.Interface{Domctl: 0x17, Sysctl: 0x15},
			GCC: "14", GCCDir: "usr/libexec/gcc/x86_64-linux-gnu/14", Time64: "t64"},
		{Release: Bookworm, Xen: "4.17", Interface: hypervisor.Interface{Domctl: 0x15, Sysctl: 0x15},
			GCC: "12", GCCDir: "usr/lib/gcc/x86_64-linux-gnu/12"},
	}
}

// Lab returns the platform of the ordinary lab.
func Lab() Platform { return Platforms()[0] }

// Compiler is the package of the C compiler.
func (p Platform) Compiler() string { return "gcc-" + p.GCC }

// CompilerDriver is the path of the C compiler's driver below a prefix.
func (p Platform) CompilerDriver() string { return "usr/bin/x86_64-linux-gnu-gcc-" + p.GCC }
