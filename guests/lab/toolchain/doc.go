// Package toolchain runs the C compiler of a package prefix where it lies.
//
// The compiler that guests/lab/debian lays out is linked against Debian 13's
// C library, which the host need not have. [CC] writes a handful of shell
// scripts that start the driver, the compiler proper, the assembler and the
// linker through the prefix's own dynamic loader, with the prefix as the
// system root. The driver's script can be used as CC for cgo, which is how the
// program that runs in dom0 is built against the prefix's libxenctrl:
//
//	cc, err := toolchain.CC(prefix, dir)
//	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build"}, toolchain.GoFlags()...), "-tags", "xen", "-o", out, pkg)...)
//	cmd.Env = append(os.Environ(), toolchain.GoEnv(cc)...)
//
// What is built that way does not depend on where prefix, scripts and sources
// lie. It asks for the loader /lib64/ld-linux-x86-64.so.2, which is there in
// dom0's image; on the host it runs through [Loader].
package toolchain
