package debian

// XenRelease is a release of Xen as Debian names it, such as "4.20". Debian puts it into
// the names of packages, folders and libraries.
type XenRelease string

// Hypervisor is the package of the hypervisor. Its version is Xen's version.
func (r XenRelease) Hypervisor() string { return "xen-hypervisor-" + string(r) + "-amd64" }

// Utils is the package of the toolstack.
func (r XenRelease) Utils() string { return "xen-utils-" + string(r) }

// Image is the path of the hypervisor's boot image below a prefix.
func (r XenRelease) Image() string { return "boot/xen-" + string(r) + "-amd64.gz" }

// Dir is the folder of the toolstack's programs and private libraries, below a
// prefix.
func (r XenRelease) Dir() string { return "usr/lib/xen-" + string(r) }

// LibraryDirs are the folders, below a prefix, that hold the libraries of Xen's
// programs.
func (r XenRelease) LibraryDirs() []string {
	return []string{"usr/lib/x86_64-linux-gnu", r.Dir() + "/lib/x86_64-linux-gnu", r.Dir() + "/lib"}
}

// HVMLoader is the path, below a prefix, of the program that Xen starts in a guest of type
// HVM before the BIOS.
func (r XenRelease) HVMLoader() string { return r.Dir() + "/boot/hvmloader" }

// Libxenctrl is the file name of the library libxenctrl: its interface changes
// with each release, and so does its name.
func (r XenRelease) Libxenctrl() string { return "libxenctrl.so." + string(r) }

// Libxenstore is the file name of the library libxenstore.
func (r XenRelease) Libxenstore() string { return "libxenstore.so.4" }
