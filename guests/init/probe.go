package main

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// The workloads of this file use one part of the kernel each, and count a unit
// of work whenever it has let them go on.

// flagsRequest is struct ifreq with the flags of an interface (netdevice(7)).
type flagsRequest struct {
	name  [unix.IFNAMSIZ]byte
	flags int16
	_     [22]byte
}

// loopback is the network interface that every kernel has.
const loopback = "lo"

// mutex takes and leaves rtnl_mutex: setting the flags of an interface needs
// it, also when they are what they were.
type mutex struct {
	fd  int
	req flagsRequest
}

func openMutex() (*mutex, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	m := &mutex{fd: fd}
	copy(m.req.name[:], loopback)
	if err := m.ioctl(unix.SIOCGIFFLAGS); err != nil {
		return nil, fmt.Errorf("read the flags of %s: %w", loopback, err)
	}
	return m, nil
}

func (m *mutex) ioctl(cmd uintptr) error {
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(m.fd), cmd, uintptr(unsafe.Pointer(&m.req))); e != 0 {
		return e
	}
	return nil
}

func (m *mutex) pass() error {
	if err := m.ioctl(unix.SIOCSIFFLAGS); err != nil {
		return fmt.Errorf("set the flags of %s: %w", loopback, err)
	}
	return nil
}

func mutexProber(page *beat.Page, cpu int) error {
	m, err := openMutex()
	if err != nil {
		return err
	}
	for {
		if err := m.pass(); err != nil {
			return err
		}
		page.Work(cpu)
		time.Sleep(beat.Period)
	}
}

// passMutex takes and leaves it once.
func passMutex(*beat.Page, int) error {
	m, err := openMutex()
	if err != nil {
		return err
	}
	return m.pass()
}

// filesProber reads the list of file systems, which the kernel writes under
// file_systems_lock (fs/filesystems.c).
func filesProber(page *beat.Page, cpu int) error {
	f, err := os.Open("/proc/filesystems")
	if err != nil {
		return err
	}
	buf := make([]byte, 4096)
	for {
		if _, err := unix.Pread(int(f.Fd()), buf, 0); err != nil {
			return fmt.Errorf("read %s: %w", f.Name(), err)
		}
		page.Work(cpu)
		time.Sleep(beat.Period)
	}
}

// sleeper does nothing, and says so once a period.
func sleeper(page *beat.Page, cpu int) error {
	for {
		time.Sleep(beat.Period)
		page.Work(cpu)
	}
}

// caller makes system calls.
func caller(page *beat.Page, cpu int) error {
	for {
		for range 1000 {
			unix.Getppid()
		}
		page.Work(cpu)
	}
}

// allocBytes are allocated in one unit of work, far less than the guest has.
const allocBytes = 4 << 20

// allocator has the kernel hand out memory page by page, and takes it back.
func allocator(page *beat.Page, cpu int) error {
	size := os.Getpagesize()
	for {
		b, err := unix.Mmap(-1, 0, allocBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			return fmt.Errorf("allocate %d bytes: %w", allocBytes, err)
		}
		for i := 0; i < len(b); i += size {
			b[i] = 1
		}
		if err := unix.Munmap(b); err != nil {
			return fmt.Errorf("give memory back: %w", err)
		}
		page.Work(cpu)
	}
}

// forker forks a process that ends at once, waits for it, and again.
func forker(page *beat.Page, cpu int) error {
	for {
		pid, err := forkEnd()
		if err != nil {
			return fmt.Errorf("fork: %w", err)
		}
		for {
			if _, err = unix.Wait4(pid, nil, 0, nil); !errors.Is(err, unix.EINTR) {
				break
			}
		}
		if err != nil {
			return fmt.Errorf("wait for a child: %w", err)
		}
		page.Work(cpu)
	}
}

// device is a character device that every kernel has.
const device = "/dev/null"

// openDevice has the kernel look the device up under cdev_lock (fs/char_dev.c).
func openDevice() error {
	fd, err := unix.Open(device, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", device, err)
	}
	return unix.Close(fd)
}

func deviceProber(page *beat.Page, cpu int) error {
	for {
		if err := openDevice(); err != nil {
			return err
		}
		page.Work(cpu)
		time.Sleep(beat.Period)
	}
}

// noDevice is the number of a device that has no file system.
const noDevice = 1<<20 - 1

// askSuper has the kernel look for a file system that is not there, under sb_lock
// (fs/super.c).
func askSuper() {
	var st [64]byte // larger than struct ustat
	unix.Syscall(unix.SYS_USTAT, noDevice, uintptr(unsafe.Pointer(&st[0])), 0)
}

// crosser goes through two critical sections in turn, and on odd vCPUs in the
// opposite turn. All vCPUs go by one clock: at each instant, half a Period from
// the last, one lock is asked for on the even vCPUs and the other on the odd ones.
func crosser(page *beat.Page, cpu int) error {
	const step = int64(beat.Period / 2)
	for {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			return fmt.Errorf("read the clock: %w", err)
		}
		next := now.Nano()/step + 1
		at := unix.NsecToTimespec(next * step)
		if err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &at, nil); err != nil && err != unix.EINTR {
			return fmt.Errorf("sleep: %w", err)
		}
		if (next+int64(cpu))%2 == 0 {
			if err := openDevice(); err != nil {
				return err
			}
		} else {
			askSuper()
		}
		page.Work(cpu)
	}
}

const (
	// randomPieces of randomBytes each are read at once: what the lab's CPU takes a
	// minute or so for, without as much memory. 1024 is the most there may be (UIO_MAXIOV).
	randomPieces = 1024
	randomBytes  = 256 << 10
)

// kernelWorker makes one system call that computes for a minute. The kernel lets
// others run between two pages of it. Its unit of work is no measure of it.
func kernelWorker(page *beat.Page, cpu int) error {
	fd, err := unix.Open("/dev/urandom", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /dev/urandom: %w", err)
	}
	b := make([]byte, randomBytes)
	if _, err := unix.Read(fd, b); err != nil { // also has the memory mapped
		return fmt.Errorf("read /dev/urandom: %w", err)
	}
	pieces := make([][]byte, randomPieces)
	for i := range pieces {
		pieces[i] = b
	}
	for {
		page.Work(cpu)
		if _, err := unix.Readv(fd, pieces); err != nil {
			return fmt.Errorf("read /dev/urandom: %w", err)
		}
	}
}
