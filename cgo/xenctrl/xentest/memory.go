package xentest

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"hangbench/cgo/xenctrl"
)

const (
	pageSize = xenctrl.PageSize
	// maxFrames is the size of a host in page frames: 1 GiB. Frames that nobody
	// has touched take no memory.
	maxFrames = 1 << 18
)

// memory is the machine's memory: one file without a name, mapped as a whole.
// Frames of it can be mapped again, one by one and in any order.
type memory struct {
	file  *os.File
	arena []byte
	used  uint64 // frames from here on were never given away
}

func newMemory() (*memory, error) {
	name := append([]byte("xentest"), 0)
	fd, _, errno := syscall.Syscall(sysMemfdCreate, uintptr(unsafe.Pointer(&name[0])), 1 /* MFD_CLOEXEC */, 0)
	if errno != 0 {
		return nil, fmt.Errorf("memfd_create: %w", errno)
	}
	m := &memory{file: os.NewFile(fd, "xentest"), used: 1} // frame 0 belongs to nobody
	err := m.file.Truncate(maxFrames * pageSize)
	if err == nil {
		m.arena, err = syscall.Mmap(int(fd), 0, maxFrames*pageSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	}
	if err != nil {
		m.file.Close()
		return nil, fmt.Errorf("map the machine's memory: %w", err)
	}
	return m, nil
}

func (m *memory) close() error {
	err := syscall.Munmap(m.arena)
	m.arena = nil
	if cerr := m.file.Close(); err == nil {
		err = cerr
	}
	return err
}

// take returns a frame of zeros.
func (m *memory) take() (mfn uint64, ok bool) {
	if m.used == maxFrames {
		return 0, false
	}
	m.used++
	return m.used - 1, true
}

func (m *memory) frame(mfn uint64) []byte {
	return m.arena[mfn*pageSize : (mfn+1)*pageSize : (mfn+1)*pageSize]
}

// view maps frames one after the other. Touching a frame that is 0 kills the
// process, as on Xen.
func (m *memory) view(mfns []uint64, p xenctrl.Prot) ([]byte, error) {
	b, err := syscall.Mmap(-1, 0, len(mfns)*pageSize, syscall.PROT_NONE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return nil, err
	}
	for i, mfn := range mfns {
		if mfn == 0 {
			continue
		}
		at := uintptr(unsafe.Pointer(unsafe.SliceData(b))) + uintptr(i*pageSize)
		prot := syscall.PROT_READ
		if p == xenctrl.ReadWrite {
			prot |= syscall.PROT_WRITE
		}
		_, _, errno := syscall.Syscall6(syscall.SYS_MMAP, at, pageSize, uintptr(prot), syscall.MAP_SHARED|syscall.MAP_FIXED,
			m.file.Fd(), uintptr(mfn*pageSize))
		if errno != 0 {
			syscall.Munmap(b)
			return nil, errno
		}
	}
	return b, nil
}

func unview(b []byte) error { return syscall.Munmap(b) }

// sysMemfdCreate is the number of memfd_create(2) on x86-64.
const sysMemfdCreate = 319
