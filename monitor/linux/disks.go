package linux

import (
	"encoding/binary"

	"hangbench/monitor/detect"
)

// diskFields are what is read of disks. The file system of block devices has an inode of
// each.
type diskFields struct {
	super                                   uint64 // the address of blockdev_superblock, slid; 0 if absent
	inodes, next, device, inode, disk, name place
	whole, stats                            place // gendisk.part0, a pointer, and block_device.bd_stats: since 5.11
	embedded, oldStats                      place // gendisk.part0, a structure, and hd_struct.dkstats
	completed                               place
	size                                    uint64 // of bdev_inode
}

// disksNeed is the need of what disks complete.
func disksNeed() Need {
	all := []string{"symbol blockdev_superblock", "super_block.s_inodes", "inode.i_sb_list", "bdev_inode.bdev",
		"bdev_inode.vfs_inode", "bdev_inode", "block_device.bd_disk", "gendisk.disk_name", "gendisk.part0", "disk_stats.ios"}
	with := func(stats string) []string { return append(append([]string{}, all...), stats) }
	return Need{
		What: "what disks complete", Ways: [][]string{with("block_device.bd_stats"), with("hd_struct.dkstats")},
		Without: "io: only the ends of waits show that a disk works, and the evidence lacks the disk",
	}
}

// findDisks fills k.disksAt.
func (k *Kernel) findDisks() {
	d := &k.disksAt
	*d = diskFields{
		super: k.variable("blockdev_superblock"), inodes: k.fieldOf("super_block", "s_inodes"),
		next: k.fieldOf("inode", "i_sb_list"), device: k.fieldOf("bdev_inode", "bdev"),
		inode: k.fieldOf("bdev_inode", "vfs_inode"), disk: k.fieldOf("block_device", "bd_disk"),
		name: k.fieldOf("gendisk", "disk_name"), stats: k.fieldOf("block_device", "bd_stats"),
		oldStats: k.fieldOf("hd_struct", "dkstats"), completed: k.fieldOf("disk_stats", "ios"),
	}
	size, ok := k.layout.SizeOf("bdev_inode")
	if d.size = uint64(size); !ok || d.size > maxSpan {
		d.super = 0
	}
	if d.stats.ok {
		d.whole = k.fieldOf("gendisk", "part0")
	} else {
		d.embedded = k.fieldOf("gendisk", "part0")
	}
	for _, p := range []place{d.inodes, d.next, d.device, d.inode, d.disk, d.name, d.completed} {
		if !p.ok {
			d.super = 0
		}
	}
	if !(d.whole.ok && d.stats.ok) && !(d.embedded.ok && d.oldStats.ok) {
		d.super = 0
	}
}

const (
	// maxDevices bounds how many block devices are looked at, partitions included.
	maxDevices = 256
	// diskNameLen is DISK_NAME_LEN of include/linux/blkdev.h.
	diskNameLen = 32
	// diskCounters is how many counters disk_stats.ios has: reads, writes, discards, flushes.
	diskCounters = 4
)

// readDisks reads what disks complete, once an inspection.
func (k *Kernel) readDisks() {
	d := &k.disksAt
	if k.seen.disksRead || d.super == 0 {
		return
	}
	k.seen.disksRead = true
	sb, err := k.u64(d.super)
	if err != nil || sb < kernelHalf {
		return
	}
	head := sb + d.inodes.off
	first, err := k.u64(head)
	if err != nil {
		return
	}
	budget := maxDevices
	// What was found before an error is right.
	k.follow(head, first, &budget, func(node uint64) (uint64, error) {
		start := node - d.next.off - d.inode.off
		if disk, err := k.u64(start + d.device.off + d.disk.off); err == nil && disk >= kernelHalf {
			k.addDevice(start, disk)
		}
		return k.u64(node)
	})
}

// addDevice adds the block device at start, which is a part of a disk or the whole disk.
// A disk that has never completed anything is left out: it may have nothing to do.
func (k *Kernel) addDevice(start, disk uint64) {
	d := &k.disksAt
	for _, have := range k.seen.devices {
		if have.gendisk == disk {
			k.seen.devices = append(k.seen.devices, device{start, start + d.size, disk, have.disk})
			return
		}
	}
	n, ok := k.completedBy(disk)
	if !ok || n == 0 {
		return
	}
	if len(k.seen.disks) == detect.MaxDisks {
		last := &k.seen.disks[detect.MaxDisks-1]
		last.Name, last.Completed = "others", last.Completed+n
	} else {
		k.seen.disks = append(k.seen.disks, detect.Disk{Name: k.text(disk+d.name.off, diskNameLen), Completed: n})
	}
	k.seen.devices = append(k.seen.devices, device{start, start + d.size, disk, len(k.seen.disks) - 1})
}

// device is the place of a block device.
type device struct {
	begin, end uint64 // of its bdev_inode
	gendisk    uint64
	disk       int // index in seen.disks
}

// completedBy returns how many requests a disk has completed, on all CPUs.
func (k *Kernel) completedBy(disk uint64) (n uint64, ok bool) {
	d := &k.disksAt
	at := disk + d.embedded.off + d.oldStats.off
	if d.whole.ok {
		part, err := k.u64(disk + d.whole.off)
		if err != nil || part < kernelHalf {
			return 0, false
		}
		at = part + d.stats.off
	}
	stats, err := k.u64(at)
	if err != nil {
		return 0, false
	}
	for i := range k.cpus {
		b := k.reader.span[:8*diskCounters]
		if err := k.read(k.cpus[i].offset+stats+d.completed.off, b); err != nil {
			return 0, false
		}
		for j := range diskCounters {
			n += binary.LittleEndian.Uint64(b[8*j:])
		}
	}
	return n, true
}

// diskOf returns the disk of a thread whose stack holds an address in a block device, or
// in its inode: "" if there is none, or more than one.
func (k *Kernel) diskOf(words []uint64) string {
	found := -1
	for _, v := range words {
		for _, d := range k.seen.devices {
			if v < d.begin || v >= d.end || d.disk == found {
				continue
			}
			if found >= 0 {
				return ""
			}
			found = d.disk
		}
	}
	if found < 0 {
		return ""
	}
	return k.seen.disks[found].Name
}
