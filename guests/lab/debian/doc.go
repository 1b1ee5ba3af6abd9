// Package debian brings the lab's Debian packages to a folder of the user's
// own: without root, without a word to the host's package database, on any
// host that has apt (Debian, Ubuntu).
//
// [Fetch] runs the host's apt with a configuration of its own, in which every
// folder apt reads or writes lies below Spec.Dir. Archive signatures are
// checked by apt against the release's archive keys, which are embedded here
// because other distributions do not carry them. The result is a [Lock]: every
// package with version, SHA-256, size and the place on the mirror. With the
// lock and the files in place, Fetch does not touch the network.
//
// [Unpack] lays the fetched packages out in a prefix, in Go alone (ar, tar,
// xz), so a filled cache is of use on hosts without dpkg too. A [Filter] leaves
// out what the lab never opens.
//
// What the lab wants is in lab.go. The neighbours use the prefix:
// guests/lab/toolchain compiles with its gcc, guests/image takes kernel
// modules, programs and libraries from it, guests/lab/bochs starts its
// emulator. Nothing in the prefix is ever installed or configured: no
// maintainer script runs.
package debian
