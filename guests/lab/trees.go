package lab

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"hangbench/guests/image"
	"hangbench/guests/lab/debian"
	"hangbench/guests/lab/place"
	"hangbench/guests/stress"
)

// dom0Modules returns the kernel modules of dom0. The first five make a domain a
// control domain. The last four make disks for guests (guests/disk).
func dom0Modules() []string {
	return []string{
		"xen-privcmd", "xenfs", "xen-evtchn", "xen-gntdev", "xen-gntalloc", "brd", "dm-mod", "dm-delay", "xen-blkback",
	}
}

// guestModules returns the kernel modules of guests: for the disk, and for calls
// to Xen's domain watchdog.
func guestModules() []string { return []string{"xen-blkfront", "xen-privcmd"} }

// guestTree writes the initramfs of guests to the file out. work is the folder of
// the compiled programs. set is a set of programs, whose packages are laid out in
// prefix; it may be empty.
func guestTree(kernels *kernelSet, work, set, prefix, out string) error {
	var guest image.Tree
	err := guest.FileFrom("init", 0o755, filepath.Join(work, initProgram))
	for _, d := range []string{"dev", "proc", "sys"} {
		err = errors.Join(err, guest.Dir(d, 0o755))
	}
	// The kernel opens this device as init's standard files.
	err = errors.Join(err, guest.CharDevice("dev/console", 0o600, 5, 1))
	for _, release := range slices.Sorted(maps.Values(kernels.guests)) {
		load, given := kernels.load[release]
		if !given {
			load = guestModules()
		}
		if len(load) == 0 {
			continue
		}
		modules, merr := image.OpenModules(kernels.modules[release])
		if merr != nil {
			return merr
		}
		err = errors.Join(err, addModules(&guest, "lib/modules/"+release, modules, load))
	}
	if set == "" {
		return errors.Join(err, guest.WriteCPIOFile(out))
	}
	libs := image.Libraries{Prefix: prefix, Dirs: []string{"usr/lib/x86_64-linux-gnu"}}
	return errors.Join(err,
		guest.Program(stress.Program, filepath.Join(prefix, "usr/bin/stress-ng"), libs),
		guest.Program(stress.MakeFS, filepath.Join(prefix, "usr/sbin/mke2fs"), libs),
		guest.Dir(stress.Scratch, 0o755), guest.Dir(stress.DiskDir, 0o755),
		// While dom0 boots it holds its initramfs twice. Uncompressed, the programs
		// would take 45 MiB each time, which is more than dom0 has.
		guest.WriteZstdFile(out))
}

// dom0Tree writes dom0's initramfs to the file out. vmi is the folder with LibVMI,
// empty without. programs maps paths in dom0 to programs in the folder work, and
// ramdisks the names of the guests' initramfs to files.
func dom0Tree(
	p debian.Platform, prefix string, kernels *kernelSet, work, vmi string, programs, ramdisks map[string]string,
	out string,
) error {
	xen := p.Xen.Dir()
	libs := image.Libraries{Prefix: prefix, Dirs: p.Xen.LibraryDirs(), Extra: vmi}
	var t image.Tree
	var errs []error
	do := func(err error) { errs = append(errs, err) }
	for _, path := range slices.Sorted(maps.Keys(programs)) {
		do(t.Program(strings.TrimPrefix(path, "/"), filepath.Join(work, programs[path]), libs))
	}
	for _, program := range []string{"xenstored", "xenconsoled", "xen-init-dom0", "xl", "libxl-save-helper"} {
		do(t.Program(xen+"/bin/"+program, filepath.Join(prefix, xen, "bin", program), libs))
	}
	do(t.Symlink(filepath.Dir(place.XenBin), filepath.Base(xen)))
	do(t.Library("libgcc_s.so.1", libs)) // pthread_cancel opens it
	if vmi != "" {
		// LibVMI opens these two libraries by names that only the -dev package has.
		do(t.Symlink("lib/x86_64-linux-gnu/libxenctrl.so", p.Xen.Libxenctrl()))
		do(t.Symlink("lib/x86_64-linux-gnu/libxenstore.so", p.Xen.Libxenstore()))
	}
	do(t.File("etc/xen/xl.conf", 0o644, nil))
	// xl runs this script when a guest gets a disk; the agent does its work.
	do(t.Symlink(place.BlockScript, place.Agent))
	for _, d := range []string{"dev", "proc", "sys", "run", "tmp", "var/lib", "var/log"} {
		do(t.Dir(d, 0o755))
	}
	do(t.Symlink("var/run", "/run"))
	do(t.Symlink("var/lock", "/run/lock"))
	do(t.CharDevice("dev/console", 0o600, 5, 1))

	modules, err := image.OpenModules(kernels.modules[kernels.dom0])
	do(err)
	if err == nil {
		do(addModules(&t, place.Modules, modules, dom0Modules()))
	}
	for name := range kernels.guests {
		for _, f := range []string{place.Kernel, place.Profile, place.Relocs} {
			do(t.FileFrom(place.Guests+"/"+name+"/"+f, 0o644, filepath.Join(kernels.Dir, name, f)))
		}
	}
	for name, file := range ramdisks {
		do(t.FileFrom(place.Guests+"/"+name, 0o644, file))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return t.WriteCPIOFile(out)
}

// addModules adds modules and the modules that they need. Each file name begins
// with a number: a program that loads the modules does so in the order of their
// names.
func addModules(t *image.Tree, dir string, from *image.Modules, names []string) error {
	order, err := from.InOrder(names...)
	if err != nil {
		return err
	}
	for i, m := range order {
		if err := t.File(fmt.Sprintf("%s/%02d-%s.ko", dir, i, m.Name), 0o644, m.Data); err != nil {
			return err
		}
	}
	return nil
}
