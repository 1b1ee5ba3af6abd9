package debian

// Platform is a release of Debian as the lab uses it: the release, and what its
// packages name after a version. A lab of another release, with the Xen of that
// release, is another Platform.
//
// What package cgo/xenctrl knows of a release of Xen is in its compat.h, which has what
// differs in Xen's headers, and in npf.go and recover.go, which were written from Xen's
// source.
type Platform struct {
	Release Release
	Xen     XenRelease
	// GCC is the major version of the C compiler, and GCCDir the folder, below a prefix,
	// of the programs that it starts.
	GCC, GCCDir string
	// Time64 is the suffix of libraries that were built anew for 64-bit times: "t64",
	// and "" before trixie.
	Time64 string
}

// Lab returns the platform of the lab.
func Lab() Platform {
	return Platform{Release: Trixie, Xen: "4.20", GCC: "14", GCCDir: "usr/libexec/gcc/x86_64-linux-gnu/14", Time64: "t64"}
}

// Compiler is the package of the C compiler.
func (p Platform) Compiler() string { return "gcc-" + p.GCC }

// CompilerDriver is the path of the C compiler's driver below a prefix.
func (p Platform) CompilerDriver() string { return "usr/bin/x86_64-linux-gnu-gcc-" + p.GCC }
