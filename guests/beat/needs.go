package beat

const (
	blockDevice = "a driver of Xen's block device"
	swapping    = blockDevice + ", and swap space (CONFIG_SWAP)"
	groups      = "control groups of version 2 (CONFIG_CGROUPS)"
	memoryGroup = swapping + "; control groups of version 2 with a limit of memory (CONFIG_MEMCG)"
)

// Needs says what the kernel must have for the workload. It is empty if every kernel has
// it. Where it is missing, the guest complains and does not start the workload.
func (w Workload) Needs() string {
	switch w {
	case Disk, Queue:
		return blockDevice
	case Pages:
		return swapping
	case Inodes, RCUSync:
		return groups
	case Swapping, Grouped:
		return memoryGroup
	case Printk:
		return "a log that programs can write to (CONFIG_PRINTK)"
	case KPolls:
		return "io_uring that is not forbidden (CONFIG_IO_URING, kernel.io_uring_disabled), 5.11 or later"
	case Exec:
		return "nothing; the guest's initramfs must have the program (guests with programs)"
	case Writes:
		return blockDevice + ", and ext4, built in (CONFIG_EXT4_FS)"
	case FUSE:
		return "FUSE, built in (CONFIG_FUSE_FS)"
	case Futexes:
		return "CONFIG_FUTEX"
	}
	return ""
}
