package main

import (
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"hangbench/guests/watchdog"
)

const patPart = "pat"

// armXen starts the process that arms Xen's watchdog, on any vCPU, and waits until
// it has done so once.
func (s *supervisor) armXen() error {
	if s.patted {
		return nil
	}
	if err := loadModules(); err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := s.command(patPart)
	cmd.Stdout, cmd.ExtraFiles = w, nil
	err = startOn(s.all, cmd)
	w.Close()
	if err != nil {
		return fmt.Errorf("start the process that arms Xen's watchdog: %w", err)
	}
	if n, _ := r.Read(make([]byte, 1)); n == 0 {
		cmd.Wait()
		return fmt.Errorf("the process did not arm Xen's watchdog")
	}
	s.patted = true
	return nil
}

// Numbers of Xen's public headers xen.h and sched.h, and of Linux's xen/privcmd.h.
const (
	hypercallSchedOp = 29       // __HYPERVISOR_sched_op
	schedOpWatchdog  = 6        // SCHEDOP_watchdog
	privcmdHypercall = 0x305000 // IOCTL_PRIVCMD_HYPERCALL: _IOC(_IOC_NONE, 'P', 0, 48)
)

// hypercall is struct privcmd_hypercall.
type hypercall struct {
	op  uint64
	arg [5]uint64
}

// schedWatchdog is struct sched_watchdog.
type schedWatchdog struct {
	id      uint32 // 0 makes a new watchdog; Xen returns its number
	timeout uint32 // in seconds
}

// pat arms Xen's watchdog of this domain again and again, as xenwatchdogd does.
// After the first time it writes one byte to its standard output.
func pat([]string) error {
	fd, err := unix.Open("/dev/xen/privcmd", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the device for hypercalls: %w", err)
	}
	// Xen reads the structure at its address, so it must stay in memory.
	mem, err := anonymous(blockBytes)
	if err != nil {
		return err
	}
	if err := unix.Mlock(mem); err != nil {
		return fmt.Errorf("lock memory: %w", err)
	}
	w := (*schedWatchdog)(unsafe.Pointer(&mem[0]))
	for first := true; ; first = false {
		w.timeout = uint32(watchdog.XenTimeout / time.Second)
		call := hypercall{op: hypercallSchedOp, arg: [5]uint64{schedOpWatchdog, uint64(uintptr(unsafe.Pointer(w)))}}
		id, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), privcmdHypercall, uintptr(unsafe.Pointer(&call)))
		if e != 0 {
			return fmt.Errorf("arm Xen's watchdog: %w", e)
		}
		if first {
			w.id = uint32(id)
			fmt.Print(".") // armXen waits for it
		}
		t := unix.NsecToTimespec(int64(watchdog.XenSleep))
		if err := unix.Nanosleep(&t, nil); err != nil && err != unix.EINTR {
			return fmt.Errorf("sleep: %w", err)
		}
	}
}
