// Package debian fetches the lab's Debian packages into a folder and unpacks them
// there. It needs no root, does not use the host's package database, and works on any
// host with apt (Debian, Ubuntu).
//
// [Fetch] runs the host's apt with a configuration of its own: every folder that apt
// reads or writes is below Spec.Dir. apt checks the archive's signatures with the
// release's archive keys. They are embedded here, because other distributions do not
// have them. The result is a [Lock]: the version, SHA-256, size and URL path of each
// package. If the lock and the files exist, Fetch does not use the network.
//
// [Unpack] unpacks the packages into a folder, the prefix. It is written in Go alone
// (ar, tar, xz), so a filled cache can be used on hosts without dpkg too. A [Filter]
// leaves out files that the lab does not need.
//
// The lists of packages are in lab.go and programs.go. What changes with the release of
// Debian is in platform.go.
// guests/lab/toolchain runs the prefix's C compiler, guests/image takes kernel
// modules, programs and libraries from it, guests/lab/bochs starts its emulator.
// Nothing in the prefix is installed or configured: no maintainer script runs.
package debian
