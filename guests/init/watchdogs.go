package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"hangbench/guests/watchdog"
)

// knob is where the kernel keeps a watchdog's threshold, in seconds, and the
// smallest one that it takes (Documentation/admin-guide/sysctl/kernel.rst and
// kernel-parameters.txt).
type knob struct {
	detector watchdog.Detector
	path     string
	least    int
}

var knobs = []knob{
	{watchdog.SoftLockup, "/proc/sys/kernel/watchdog_thresh", 1},
	{watchdog.RCUStall, "/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout", 3},
	{watchdog.HungTask, "/proc/sys/kernel/hung_task_timeout_secs", 1},
	{watchdog.Workqueue, "/sys/module/workqueue/parameters/watchdog_thresh", 1},
}

// hardSwitch turns the hard-lockup detector on and off. The kernel lets nobody
// write to it if it found nothing to make non-maskable interrupts with.
const hardSwitch = "/proc/sys/kernel/nmi_watchdog"

// armWatchdogs sets the watchdogs and logs how they are set.
func (s *supervisor) armWatchdogs(set watchdog.Setting) error {
	armed := watchdog.Armed{}
	for _, k := range knobs {
		if set == watchdog.Minimum {
			if err := writeNumber(k.path, k.least); err != nil && !os.IsNotExist(err) {
				return fmt.Errorf("arm the watchdogs: %w", err)
			}
		}
		sec, err := readNumber(k.path)
		if os.IsNotExist(err) {
			continue // not built into this kernel
		}
		if err != nil {
			return fmt.Errorf("arm the watchdogs: %w", err)
		}
		if sec > 0 { // 0 turns it off
			armed[k.detector] = time.Duration(sec) * time.Second
		}
	}
	if st, err := os.Stat(hardSwitch); err == nil && st.Mode()&0o200 != 0 {
		if on, err := readNumber(hardSwitch); err == nil && on != 0 {
			armed[watchdog.HardLockup] = armed[watchdog.SoftLockup]
		}
	}
	if set == watchdog.XenDefault {
		if err := s.startPatter(); err != nil {
			return fmt.Errorf("arm the watchdogs: %w", err)
		}
		armed[watchdog.Xen] = watchdog.XenTimeout
	}
	return kernelLog(armed.String())
}

func readNumber(path string) (int, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

// writeNumber does not try to make the file, which would be another error.
func writeNumber(path string, n int) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(strconv.Itoa(n))
	return err
}

// kernelLog writes a line into the kernel's log, as an alert: a quiet console
// shows it too.
func kernelLog(line string) error {
	f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	defer f.Close()
	// Without its end the line would be kept back until another one follows.
	if _, err := f.WriteString("<1>" + line + "\n"); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	return nil
}

// startPatter starts who pats Xen's watchdog, an ordinary process on any vCPU,
// and waits until it has done so once.
func (s *supervisor) startPatter() error {
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
	cmd := exec.Command("/init", "pat")
	cmd.Stdout, cmd.Stderr, cmd.Env = w, os.Stderr, []string{"GOMAXPROCS=1"}
	unpin, err := pin(s.all)
	if err != nil {
		w.Close()
		return err
	}
	err = cmd.Start()
	unpin()
	w.Close()
	if err != nil {
		return fmt.Errorf("start who pats Xen's watchdog: %w", err)
	}
	if n, _ := r.Read(make([]byte, 1)); n == 0 {
		cmd.Wait()
		return fmt.Errorf("Xen's watchdog was not armed")
	}
	s.patted = true
	return nil
}

// Of Xen's public headers: xen.h, sched.h, and Linux's xen/privcmd.h.
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
	id      uint32 // 0 asks for a new watchdog, whose number is returned
	timeout uint32 // s
}

// pat arms Xen's watchdog of this domain again and again, as xenwatchdogd does.
func pat() error {
	fd, err := unix.Open("/dev/xen/privcmd", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open Xen's calls: %w", err)
	}
	// Xen reads it where it lies, so it must be in memory.
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
			fmt.Print(".") // PID 1 waits for it
		}
		t := unix.NsecToTimespec(int64(watchdog.XenSleep))
		if err := unix.Nanosleep(&t, nil); err != nil && err != unix.EINTR {
			return fmt.Errorf("sleep: %w", err)
		}
	}
}

// unrestricted lets a guest's userland make hypercalls. Kernels as of late keep
// them from it unless it serves another domain, and xenwatchdogd with them.
const unrestricted = "unrestricted=1"

// loadModules loads the modules that came with this kernel.
func loadModules() error {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	modules, err := filepath.Glob(filepath.Join("/lib/modules", unix.ByteSliceToString(uts.Release[:]), "*.ko"))
	if err != nil {
		return err
	}
	for _, m := range modules { // sorted, in the order in which they need each other
		f, err := os.Open(m)
		if err != nil {
			return err
		}
		params := ""
		if strings.HasSuffix(m, "privcmd.ko") {
			params = unrestricted
		}
		err = unix.FinitModule(int(f.Fd()), params, 0)
		f.Close()
		if err != nil && err != unix.EEXIST {
			return fmt.Errorf("load %s: %w", m, err)
		}
	}
	return nil
}
