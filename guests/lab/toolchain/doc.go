// Package toolchain runs the C compiler of a package prefix, without installing it.
//
// The prefix's compiler is linked with the C library of its Debian, which the host may
// not have. [CC] writes shell scripts that start the driver, the compiler, the assembler
// and the linker through the prefix's own dynamic loader, with the prefix as the
// system root. The driver's script can be used as CC for cgo. The program that runs in
// dom0 is linked with the prefix's libxenctrl in this way:
//
//	cc, err := toolchain.CC(debian.Lab(), prefix, dir)
//	args := append([]string{"build"}, toolchain.GoFlags()...)
//	cmd := exec.CommandContext(ctx, "go", append(args, "-tags", "xen", "-o", out, pkg)...)
//	cmd.Env = append(os.Environ(), toolchain.GoEnv(cc)...)
//
// The result does not depend on the paths of prefix, scripts and sources. Its
// interpreter is /lib64/ld-linux-x86-64.so.2, which dom0's image has. On the host the
// program runs through [Loader].
package toolchain
