package main

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// flagsRequest is struct ifreq with the flags of an interface (netdevice(7)).
type flagsRequest struct {
	name  [unix.IFNAMSIZ]byte
	flags int16
	_     [22]byte
}

// loopback is the network interface that every kernel has.
const loopback = "lo"

// mutex takes and releases rtnl_mutex. The kernel takes it to set the flags of an
// interface, also if the flags stay the same.
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

// mutexProber takes and releases the mutex once a period.
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

const passPart = "pass"

// passMutex has each vCPU take and release the mutex once. It does not wait for
// them: if the mutex is still held, PID 1 must go on.
func (s *supervisor) passMutex() error {
	for cpu := range s.cpus {
		cmd, err := s.start(cpu, passPart)
		if err != nil {
			return err
		}
		s.workers = append(s.workers, cmd)
	}
	return nil
}

// passOnce takes and releases the mutex once.
func passOnce(*beat.Page, int) error {
	m, err := openMutex()
	if err != nil {
		return err
	}
	return m.pass()
}
