package debian

import "slices"

// Wanted returns the packages of the ordinary lab.
func (p Platform) Wanted() []string {
	return slices.Concat([]string{
		// The emulator and its firmware.
		"bochs", "bochsbios", "vgabios",
		// The boot loader of the lab's disc.
		"isolinux", "syslinux-common",
	}, p.xen(), []string{
		// The generic kernel is dom0's, the cloud kernel the guest's. The names without
		// a version stand for the newest version in the suites.
		"linux-image-amd64", "linux-image-cloud-amd64",
	}, p.compiler())
}

// XenWanted returns the packages that a lab with the platform's Xen needs beside those of
// the ordinary lab.
func (p Platform) XenWanted() []string { return slices.Concat(p.xen(), p.compiler()) }

// xen returns the packages of the hypervisor, its tools, and the headers of libxenctrl.
func (p Platform) xen() []string {
	return []string{p.Xen.Hypervisor(), p.Xen.Utils(), "xenstore-utils", "libxen-dev"}
}

// compiler returns the packages of the compiler of the programs that run in dom0. They
// link with the C library of the release, as its libxenctrl does.
func (p Platform) compiler() []string { return []string{p.Compiler(), "libc6-dev", "binutils"} }

// Excluded returns the dependencies of Wanted and XenWanted that are left out. No ELF file
// that the lab runs needs one of them (a test checks that). A package that another
// one needs in exactly one version cannot be left out.
func (p Platform) Excluded() []Exclusion {
	const (
		install  = "only maintainer scripts use it, and none runs"
		sanitize = "run time of a compiler option that is not used"
		looks    = "looks of a GTK window; the emulator's display is rfb"
		sound    = "opened by sound plugins; the lab has no sound"
		daemon   = "a system service; nothing of the prefix is started as one"
	)
	return []Exclusion{
		{"debconf", install},
		{"init-system-helpers", install},
		{"initramfs-tools", install},
		{"kmod", install},
		{"linux-base", install},
		{"readline-common", install},
		{"ucf", install},

		{"python3", "language of xen-utils' helper scripts (pygrub, xenmon); the lab uses the C programs"},
		{"dbus", daemon},
		{"udev", daemon},
		{"libpam0g", daemon},

		{"bochs-term", "display for terminals; stands in for the bochs-gui that bochs asks for"},
		{"libasound2" + p.Time64, sound},
		{"libasound2-data", sound},
		{"libpulse0", sound},

		{"adwaita-icon-theme", looks},
		{"at-spi2-common", looks},
		{"fontconfig", looks},
		{"fontconfig-config", looks},
		{"hicolor-icon-theme", looks},
		{"libcolord2", looks},
		{"libcups2" + p.Time64, looks},
		{"libgdk-pixbuf2.0-common", looks},
		{"libgtk-3-common", looks},
		{"libthai-data", looks},
		{"libx11-data", looks},
		{"shared-mime-info", looks},
		{"x11-common", looks},
		{"xkb-data", looks},

		{"libasan8", sanitize},
		{"libcc1-0", sanitize},
		{"libgomp1", sanitize},
		{"libhwasan0", sanitize},
		{"libitm1", sanitize},
		{"liblsan0", sanitize},
		{"libquadmath0", sanitize},
		{"libtsan2", sanitize},
		{"libubsan1", sanitize},

		{"libcrypt-dev", "headers of crypt(3), which nothing here compiles against"},
		{"libgprofng0", "library of a profiler of binutils"},
		{"rpcsvc-proto", "protocol files of Sun RPC"},
	}
}

// Filter returns the filter for the lab's packages. It keeps kernel modules by
// folder: those of Xen, and of block devices and file systems that scenarios break.
func (p Platform) Filter() Filter {
	var f Filter
	rule := func(keep bool, patterns ...string) {
		for _, pattern := range patterns {
			f = append(f, Rule{Pattern: pattern, Keep: keep})
		}
	}
	const kernel = "usr/lib/modules/*/kernel/" // of a release before the merge of /lib as well
	rule(true,
		"usr/share/doc/*/copyright",
		kernel+"arch", kernel+"crypto", kernel+"lib", kernel+"mm",
		kernel+"drivers/xen", kernel+"drivers/block", kernel+"drivers/md",
		kernel+"drivers/net/xen-netback", kernel+"drivers/net/xen-netfront.ko.xz",
		kernel+"fs/ext4", kernel+"fs/jbd2", kernel+"fs/mbcache.ko.xz", kernel+"fs/fuse", kernel+"fs/overlayfs",
	)
	rule(false,
		"usr/lib/modules/*/kernel/*",
		"usr/share/doc", "usr/share/doc-base", "usr/share/man", "usr/share/info", "usr/share/locale",
		"usr/share/lintian", "usr/share/bug", "usr/share/icons",
		"usr/share/gir-1.0", "usr/share/gcc", "usr/share/gdb", "usr/share/themes", "usr/share/applications",
		"boot/xen-*.efi", // 28 MB; the lab boots with BIOS
		// Only the dummy sound plugin is kept. The emulator crashes without a sound
		// plugin, and the others load sound libraries of the host.
		"usr/lib/x86_64-linux-gnu/bochs/plugins/libbx_sound[afop]*",
		"usr/lib/debug",            // the hypervisor's separate symbols
		"usr/lib/syslinux/memdisk", // boot loader parts that are not used
		"usr/lib/syslinux/modules/efi*", "usr/lib/syslinux/mbr",
		"usr/libexec/gcc/*/*/lto1", "usr/libexec/gcc/*/*/lto-wrapper", // link-time optimisation
		"usr/bin/*lto-dump*", "usr/bin/*gcov*", "usr/bin/*gprof*", "usr/bin/gp-*",
		"usr/lib/gcc/*/*/lib?san*", "usr/lib/gcc/*/*/libhwasan*", "usr/lib/gcc/*/*/libubsan*",
		"usr/lib/gcc/*/*/libgcov.a", "usr/lib/gcc/*/*/plugin",
		"usr/lib/x86_64-linux-gnu/gconv",
		"usr/lib/x86_64-linux-gnu/gtk-3.0", "usr/lib/x86_64-linux-gnu/gdk-pixbuf-2.0",
		p.Xen.Dir()+"/lib/python", p.Xen.Dir()+"/ocaml",
		"etc", "var",
	)
	return f
}

// KernelExcluded returns the dependencies of a kernel's package that are left out:
// those that only the installation of a kernel needs.
func KernelExcluded() []Exclusion {
	const install = "only maintainer scripts use it, and none runs"
	return []Exclusion{{"initramfs-tools", install}, {"kmod", install}, {"linux-base", install}}
}
