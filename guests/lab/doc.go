// Package lab is the embedded default host: a real Xen, a real dom0 and real
// guests inside a CPU emulator, on any Linux machine, without root.
//
// Build makes a Lab in a cache folder out of Debian packages and this project's
// own source:
//
//	guests/lab/debian     packages, verified, unpacked to a prefix
//	guests/lab/toolchain  the prefix's compiler; builds the dom0 program
//	guests/kernel         uncompressed kernels, and the guest kernel's profile
//	guests/image          initramfs of dom0 and guest, and the boot disc
//
// and writes down in lab.json what went into it. A Lab is named by the hash of
// its inputs: a changed source, package or setting makes another one.
//
// Lab.Start runs it with guests/lab/bochs, from power-on or from a snapshot;
// guests/lab/wire is the language spoken with the agent inside (bench/agent).
// Snapshots are kept beside the lab they belong to.
package lab
