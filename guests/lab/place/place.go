// Package place names the files and folders of the lab's dom0. The lab's build
// (guests/lab) puts them there; the programs that run in dom0 (bench) look for
// them there. All paths but names of single files are absolute.
package place

// Files and folders of dom0.
const (
	// Agent is the program that runs as dom0's first process.
	Agent = "/init"
	// XenBin is the folder of Xen's daemons and tools.
	XenBin = "/usr/lib/xen/bin"
	// Modules is the folder of dom0's kernel modules. They are uncompressed; the
	// order of their names is the order in which they must be loaded.
	Modules = "/lib/hangbench/modules"
	// BlockScript is the program that xl runs when a guest gets or loses a disk.
	BlockScript = "/etc/xen/scripts/block"
	// Yardstick is the C event loop of bench/price/yardstick.
	Yardstick = "/usr/lib/hangbench/eventloop"
	// Tests is the program of the tests of package cgo/xenctrl, in a lab that has them.
	Tests = "/usr/lib/hangbench/tests"
	// Guests is the folder of guest kernels: one folder for each kernel, named
	// after it, and the guests' initramfs (see Ramdisk).
	Guests = "/guest"
)

// Files in the folder of one guest kernel.
const (
	Kernel  = "vmlinux" // the kernel, uncompressed (kernel.Compact)
	Profile = "profile" // its symbols and types (kernel.Profile)
	Relocs  = "relocs"  // its relocation table, which kernel.Relocate needs
)

// LabMark is a word on the command line of dom0's kernel. It tells the lab's dom0
// from the dom0 of a real machine.
const LabMark = "hangbench.lab=1"

// Ramdisk returns the file name, in the folder of guest kernels, of the initramfs
// of guests that have a set of programs. The empty set names the initramfs
// without programs of its own.
func Ramdisk(programs string) string {
	if programs == "" {
		return "initrd"
	}
	return "initrd-" + programs
}

// Disc returns the file name, in the folder of one guest kernel, of the disc from which
// guests of type HVM boot that kernel with the initramfs that has a set of programs.
func Disc(programs string) string {
	if programs == "" {
		return "disc.iso"
	}
	return "disc-" + programs + ".iso"
}
