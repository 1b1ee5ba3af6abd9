package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// mountAll mounts the pseudo file systems that the rest of the program uses.
func mountAll() error {
	for _, m := range []struct{ fs, dir string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", m.dir, err)
		}
		// The kernel may have mounted devtmpfs already.
		if err := unix.Mount(m.fs, m.dir, m.fs, 0, ""); err != nil && err != unix.EBUSY {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	// The page that dom0 maps must keep its frame. By default, compaction moves even
	// locked pages.
	if err := os.WriteFile("/proc/sys/vm/compact_unevictable_allowed", []byte("0"), 0); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("forbid moving locked pages: %w", err)
	}
	return nil
}

// mapPage maps the shared page, touches it and locks it in memory.
func mapPage(fd int) (*beat.Page, error) {
	b, err := unix.Mmap(fd, 0, beat.Size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("map the heartbeat page: %w", err)
	}
	if err := unix.Mlock(b); err != nil {
		return nil, fmt.Errorf("lock the heartbeat page: %w", err)
	}
	return beat.New(b)
}

// frameOf returns the guest frame number of the shared page. It reads
// /proc/self/pagemap, which has eight bytes for each virtual page: bit 63 is set if
// the page is present, bits 0-54 are the frame
// (Documentation/admin-guide/mm/pagemap.rst).
func frameOf(p *beat.Page) (uint64, error) {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return 0, fmt.Errorf("find the heartbeat page's frame: %w", err)
	}
	defer f.Close()
	var e [8]byte
	va := uintptr(unsafe.Pointer(p.Base()))
	if _, err := f.ReadAt(e[:], int64(va/beat.Size*8)); err != nil {
		return 0, fmt.Errorf("find the heartbeat page's frame: %w", err)
	}
	v := binary.LittleEndian.Uint64(e[:])
	if v>>63 == 0 || v&(1<<55-1) == 0 {
		return 0, fmt.Errorf("find the heartbeat page's frame: pagemap entry %#x is of a page that is not present", v)
	}
	return v & (1<<55 - 1), nil
}

// announce publishes the page's frame in xenstore. The guest is then ready.
func announce(page *beat.Page, cpus int) error {
	gfn, err := frameOf(page)
	if err != nil {
		return err
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	ann := beat.Announcement{GFN: gfn, CPUs: cpus, Release: unix.ByteSliceToString(uts.Release[:])}
	if err := xenstoreWrite(beat.Node, ann.String()); err != nil {
		return err
	}
	fmt.Println("hangbench-init: ready:", ann)
	return nil
}

// onlineCPUs returns the number of vCPUs that this process may run on.
func onlineCPUs() (int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return 0, fmt.Errorf("count the vCPUs: %w", err)
	}
	return min(set.Count(), beat.MaxCPUs), nil
}

// oneCPU is the set of one vCPU.
func oneCPU(cpu int) (s unix.CPUSet) {
	s.Set(cpu)
	return s
}

// pin binds the calling goroutine to its thread, and the thread to some vCPUs, until
// unpin is called.
func pin(to unix.CPUSet) (unpin func(), err error) {
	runtime.LockOSThread()
	var old unix.CPUSet
	if err := unix.SchedGetaffinity(0, &old); err != nil {
		return nil, fmt.Errorf("read affinity: %w", err)
	}
	if err := unix.SchedSetaffinity(0, &to); err != nil {
		return nil, fmt.Errorf("pin to vCPUs: %w", err)
	}
	return func() {
		unix.SchedSetaffinity(0, &old)
		runtime.UnlockOSThread()
	}, nil
}

// xenstoreWrite writes one node of xenstore through the kernel's xenbus device. A
// message is a header of four 32-bit words (type, request, transaction, length) and
// the body "path\0value". The answer has the same form
// (xen/include/public/io/xs_wire.h).
func xenstoreWrite(path, value string) error {
	const write, errorReply = 11, 16 // XS_WRITE, XS_ERROR
	f, err := os.OpenFile("/dev/xen/xenbus", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("announce in xenstore: %w", err)
	}
	defer f.Close()
	body := path + "\x00" + value
	msg := binary.LittleEndian.AppendUint32(nil, write)
	msg = binary.LittleEndian.AppendUint32(msg, 1)
	msg = binary.LittleEndian.AppendUint32(msg, 0)
	msg = binary.LittleEndian.AppendUint32(msg, uint32(len(body)))
	msg = append(msg, body...)
	if _, err := f.Write(msg); err != nil {
		return fmt.Errorf("announce in xenstore: write %s: %w", path, err)
	}
	var head [16]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return fmt.Errorf("announce in xenstore: read the answer: %w", err)
	}
	answer := make([]byte, min(binary.LittleEndian.Uint32(head[12:]), 4096))
	if _, err := io.ReadFull(f, answer); err != nil {
		return fmt.Errorf("announce in xenstore: read the answer: %w", err)
	}
	if binary.LittleEndian.Uint32(head[:]) == errorReply {
		return fmt.Errorf("announce in xenstore: write %s: %s", path, answer)
	}
	return nil
}

// takePrecedence has the calling goroutine run before everything else in the guest:
// as a real-time task on a thread of its own, on vCPU 0, which partial faults do not
// stop. The processes that it starts are ordinary tasks.
func takePrecedence() error {
	runtime.LockOSThread()
	if _, err := pin(oneCPU(0)); err != nil {
		return err
	}
	if err := becomeRealtime(realtimePriority); err != nil {
		return err
	}
	// A task with pages on the disk would have to wait for them.
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return fmt.Errorf("stay in memory: %w", err)
	}
	return nil
}
