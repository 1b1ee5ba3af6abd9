package lab

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"hangbench/guests/image"
	"hangbench/guests/kernel"
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
	// The kernel runs this program when it is asked to power off.
	err = errors.Join(err, guest.Symlink("sbin/poweroff", "/init"))
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

// guestDiscs makes the disc from which guests of type HVM boot each guest kernel, and puts
// it under that name into the kernel's folder. prefix has the boot loader.
func guestDiscs(kernels *kernelSet, prefix, ramdisk, name string) error {
	for kern, release := range kernels.guests {
		disc := image.GuestDisc{
			Prefix: prefix, Kernel: kernels.sources[kern], KernelArgs: kernel.Arguments(release, true), Initrd: ramdisk,
		}
		if err := disc.WriteFile(filepath.Join(kernels.Dir, kern, name)); err != nil {
			return err
		}
	}
	return nil
}

// dom0Files say what dom0's initramfs is made of.
type dom0Files struct {
	platform debian.Platform
	prefix   string // with Xen
	kernels  *kernelSet
	work     string            // folder of the compiled programs
	vmi      string            // folder with LibVMI, empty without
	programs map[string]string // path in dom0 → program in the folder work
	ramdisks map[string]string // name in dom0 of a guests' initramfs → file
	hvm      string            // prefix with QEMU and the BIOS; empty for guests of type PVH
	disc     string            // name of a kernel's disc, for guests of type HVM
}

// write writes the initramfs to the file out.
func (d *dom0Files) write(out string) error {
	xen, prefix := d.platform.Xen.Dir(), d.prefix
	libs := image.Libraries{Prefix: prefix, Dirs: d.platform.Xen.LibraryDirs(), Extra: d.vmi}
	var t image.Tree
	var errs []error
	do := func(err error) { errs = append(errs, err) }
	for _, path := range slices.Sorted(maps.Keys(d.programs)) {
		do(t.Program(strings.TrimPrefix(path, "/"), filepath.Join(d.work, d.programs[path]), libs))
	}
	for _, program := range []string{"xenstored", "xenconsoled", "xen-init-dom0", "xl", "libxl-save-helper"} {
		do(t.Program(xen+"/bin/"+program, filepath.Join(prefix, xen, "bin", program), libs))
	}
	do(t.Symlink(filepath.Dir(place.XenBin), filepath.Base(xen)))
	do(t.Library("libgcc_s.so.1", libs)) // pthread_cancel opens it
	if d.vmi != "" {
		// LibVMI opens these two libraries by names that only the -dev package has.
		do(t.Symlink("lib/x86_64-linux-gnu/libxenctrl.so", d.platform.Xen.Libxenctrl()))
		do(t.Symlink("lib/x86_64-linux-gnu/libxenstore.so", d.platform.Xen.Libxenstore()))
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

	modules, err := image.OpenModules(d.kernels.modules[d.kernels.dom0])
	do(err)
	if err == nil {
		do(addModules(&t, place.Modules, modules, dom0Modules()))
	}
	files := []string{place.Kernel, place.Profile, place.Relocs}
	if d.hvm != "" {
		files = []string{place.Profile, d.disc}
		do(d.addHVM(&t))
	}
	for name := range d.kernels.guests {
		for _, f := range files {
			do(t.FileFrom(place.Guests+"/"+name+"/"+f, 0o644, filepath.Join(d.kernels.Dir, name, f)))
		}
	}
	for name, file := range d.ramdisks {
		do(t.FileFrom(place.Guests+"/"+name, 0o644, file))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return t.WriteCPIOFile(out)
}

// addHVM adds what libxl needs for guests of type HVM. QEMU takes Xen's libraries from
// the prefix with Xen, of whose version they must be.
func (d *dom0Files) addHVM(t *image.Tree) error {
	xen := d.platform.Xen
	libs := image.Libraries{
		Prefix: d.prefix, Dirs: xen.LibraryDirs(), Extra: filepath.Join(d.hvm, "usr/lib/x86_64-linux-gnu"),
	}
	return errors.Join(
		t.Program(debian.QEMU, filepath.Join(d.hvm, debian.QEMU), libs),
		t.FileFrom(debian.BIOS, 0o644, filepath.Join(d.hvm, debian.BIOS)),
		t.FileFrom(debian.QEMUKeys, 0o644, filepath.Join(d.hvm, debian.QEMUKeys)),
		t.FileFrom(xen.HVMLoader(), 0o644, filepath.Join(d.prefix, xen.HVMLoader())))
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
