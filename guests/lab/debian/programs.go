package debian

// StressWanted returns the packages of guests with measured work: stress-ng, and the
// program that makes a file system on the guest's disk.
func StressWanted() []string { return []string{"stress-ng", "e2fsprogs"} }

// StressExcluded returns the dependencies of StressWanted that are left out: libraries
// that are only opened at run time, by stressors that the guests do not run. Neither
// the two programs nor their libraries are linked with one of them.
func StressExcluded() []Exclusion {
	const (
		draws = "drivers of graphics cards; the guests have none"
		shows = "connections to a display; the guests have none"
	)
	return []Exclusion{
		{"mesa-libgallium", draws},
		{"libegl-mesa0", draws},
		{"libdrm-common", draws},
		{"libx11-6", shows},
		{"libwayland-server0", shows},
		{"openssl-provider-legacy", "opened by programs that want outdated ciphers"},
		{"logsave", "only scripts that run at boot use it"},
	}
}

// HVMWanted returns the packages that dom0 needs for guests of type HVM beside those of
// Xen: QEMU, which emulates their devices, and their BIOS.
func HVMWanted() []string { return []string{QEMUPackage, "seabios"} }

// QEMUPackage is the package of the QEMU that emulates the devices of guests of type HVM.
const QEMUPackage = "qemu-system-xen"

// HVMExcluded returns the dependencies of HVMWanted that are left out. QEMU is not linked
// with any of them. They are of the same names in all releases.
func HVMExcluded() []Exclusion {
	return []Exclusion{
		{"ipxe-qemu", "programs of network cards; the guests have none"},
		{"iso-codes", "names of languages for players of films"},
		{"libcap2-bin", "programs; QEMU needs the library alone"},
		{"libdrm-common", "files for graphics cards; the guests have none"},
		{"libsasl2-modules-db", "opened by the servers of remote displays, and none is started"},
	}
}

// Files for guests of type HVM, below a prefix. libxl has the paths of QEMU and of the BIOS
// built in, as Debian's packages have them.
const (
	QEMU = "usr/libexec/xen-qemu-system-i386"
	BIOS = "usr/share/seabios/bios-256k.bin"
	// QEMUKeys is the keyboard that QEMU reads at its start, also without a screen.
	QEMUKeys = "usr/share/qemu/keymaps/en-us"
)
