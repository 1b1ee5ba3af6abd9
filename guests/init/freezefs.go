package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// diskDir is where the file system on the guest's disk is mounted for writer.
const diskDir = "/hangbench-disk"

// needWritable makes a small file system on the disk and mounts it, the first time.
func (s *supervisor) needWritable() error {
	if s.written {
		return nil
	}
	if s.swap || s.mounted {
		return fmt.Errorf("the disk is in use already")
	}
	if err := s.needDisk(); err != nil {
		return err
	}
	if err := os.WriteFile(diskPath, ext2(), 0o600); err != nil {
		return fmt.Errorf("make a file system on %s: %w", diskPath, err)
	}
	if err := os.MkdirAll(diskDir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(diskPath, diskDir, "ext4", unix.MS_NOATIME, ""); err != nil {
		return fmt.Errorf("mount %s: %w", diskPath, err)
	}
	s.written = true
	return nil
}

// writer writes to a file on the guest's disk once a period, through the page cache.
func writer(page *beat.Page, cpu int) error {
	f, err := os.OpenFile(fmt.Sprintf("%s/%d", diskDir, cpu), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	for {
		if _, err := f.WriteAt([]byte{'x'}, 0); err != nil {
			return err
		}
		page.Work(cpu)
		time.Sleep(beat.Period)
	}
}

// Requests of ioctl(2) from include/uapi/linux/fs.h: _IOWR('X', 119, int) and 120.
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

// freezeDisk freezes the file system on the guest's disk, or thaws it.
func freezeDisk(request uintptr) error {
	fd, err := unix.Open(diskDir, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", diskDir, err)
	}
	defer unix.Close(fd)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, 0); e != 0 {
		return fmt.Errorf("freeze or thaw %s: %w", diskDir, e)
	}
	return nil
}

// The file system that ext2 makes. Block 0 is left for a boot loader.
const (
	ext2Block    = 1024 // bytes
	ext2Blocks   = 4096
	ext2Inodes   = 64
	ext2Reserved = 10  // inodes; the second is the root's
	ext2Inode    = 128 // bytes
	ext2PerGroup = 8 * ext2Block

	superBlock  = 1
	groupTable  = 2
	blockBitmap = 3
	inodeBitmap = 4
	inodeTable  = 5
	rootBlock   = inodeTable + ext2Inodes*ext2Inode/ext2Block
)

// ext2 returns the first blocks of an empty file system of one group, of the first revision
// of ext2, which every kernel with ext4 can mount
// (Documentation/filesystems/ext4/globals.rst).
func ext2() []byte {
	const (
		blocks = ext2Blocks - superBlock // of the group
		used   = rootBlock               // of them, from the first on
	)
	b := make([]byte, (rootBlock+1)*ext2Block)
	at := func(block int) []byte { return b[block*ext2Block:][:ext2Block] }
	le := binary.LittleEndian
	put := func(in []byte, values map[int]uint32) {
		for off, v := range values {
			le.PutUint32(in[off:], v)
		}
	}
	put(at(superBlock), map[int]uint32{
		0: ext2Inodes, 4: ext2Blocks, 12: blocks - used, 16: ext2Inodes - ext2Reserved, 20: superBlock,
		32: ext2PerGroup, 36: ext2PerGroup, 40: ext2Inodes,
		52: 0xffff << 16,   // mounts until a check
		56: 1<<16 | 0xef53, // clean; magic
		60: 1,              // continue after errors
	})
	put(at(groupTable), map[int]uint32{
		0: blockBitmap, 4: inodeBitmap, 8: inodeTable, 12: (ext2Inodes-ext2Reserved)<<16 | blocks - used,
		16: 1, // directories
	})
	setBits(at(blockBitmap), 0, used)
	setBits(at(blockBitmap), blocks, ext2PerGroup)
	setBits(at(inodeBitmap), 0, ext2Reserved)
	setBits(at(inodeBitmap), ext2Inodes, ext2PerGroup)
	root := at(inodeTable)[ext2Inode:]
	put(root, map[int]uint32{
		0: 0o040755, 4: ext2Block, 24: 2 << 16, // links
		28: ext2Block / 512, 40: rootBlock,
	})
	// Two entries: the inode, the length of the entry, the length of the name, the name.
	dir := at(rootBlock)
	put(dir, map[int]uint32{0: 2, 4: 1<<16 | 12, 8: '.', 12: 2, 16: 2<<16 | ext2Block - 12, 20: '.' | '.'<<8})
	return b
}

// setBits sets the bits from one to before another.
func setBits(b []byte, from, to int) {
	for i := from; i < to; i++ {
		b[i/8] |= 1 << (i % 8)
	}
}
