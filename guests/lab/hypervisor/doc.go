// Package hypervisor reads from a boot image of Xen which Xen it is and which interface it
// has for its tools, without running it.
//
// The image (xen.gz, or xen beside it) is a stripped ELF file of 32 bits, which a multiboot
// loader can load. Xen's own code is in it at the addresses at which Xen runs, counted from
// XEN_VIRT_START. For its stack traces Xen keeps a table of its symbols (symbols.go). Read
// finds functions with it, and takes what it needs from their first instructions
// (code.go):
//
//   - xen_major_version, xen_minor_version and xen_extra_version return the version.
//   - do_domctl and do_sysctl compare the version of their interface with that of the
//     caller, and refuse all others.
//
// A boot image that a user brings may be damaged, or no image of Xen. Read reads a bounded
// amount of memory for any file.
package hypervisor
