// Package lab is the embedded host: a real Xen, a real dom0 and real guests inside
// a CPU emulator. It needs a Linux machine, no root and no network at run time.
//
// Build makes a Lab in a folder of the cache, from Debian's packages and this
// project's own source. Who calls whom, and what for:
//
//	bench/cli -> guests/lab
//	               |-> guests/lab/debian     download, verify and unpack packages: the prefix
//	               |-> guests/lab/toolchain  the prefix's C compiler, for agent and yardstick
//	               |-> guests/kernel         uncompressed kernels, profiles, relocations
//	               |-> guests/image          initramfs of guests and of dom0, boot disc
//	               '-> guests/lab/place      names of the files in dom0
//
// A built Lab runs in the emulator. Both ends of its second serial port speak the
// protocol of guests/lab/wire:
//
//	bench/labhost -> guests/lab/bochs -> emulator (com2 = ttyS1 in dom0) <- bench/agent
//
// The files of this package:
//
//   - build.go: Build, and the order of its steps
//   - compile.go: the programs of this project
//   - kernels.go: the kernels of the packages
//   - xens.go: the releases of Xen
//   - trees.go: the contents of every initramfs
//   - manifest.go: the record of the inputs
//   - cache.go, lock.go: the folder of labs, and the locks on it
//   - libvmi.go: this machine's LibVMI, for a lab that has it
//
// The file lab.json records the inputs. Their hash names the lab (Manifest.Key): a
// changed source, package or setting makes another lab. Snapshots of a running lab
// are kept in the lab's folder.
package lab
