package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"hangbench/guests/watchdog"
)

// knob is a kernel file with the threshold of a watchdog, in seconds, and the
// smallest value that the kernel takes (Documentation/admin-guide/sysctl/kernel.rst
// and kernel-parameters.txt).
type knob struct {
	detector watchdog.Detector
	path     string
	least    int
}

func knobs() []knob {
	return []knob{
		{watchdog.SoftLockup, "/proc/sys/kernel/watchdog_thresh", 1},
		{watchdog.RCUStall, "/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout", 3},
		{watchdog.HungTask, "/proc/sys/kernel/hung_task_timeout_secs", 1},
		{watchdog.Workqueue, "/sys/module/workqueue/parameters/watchdog_thresh", 1},
	}
}

// hardSwitch turns the hard-lockup detector on and off. It is read-only if the
// kernel has found no source of non-maskable interrupts.
const hardSwitch = "/proc/sys/kernel/nmi_watchdog"

// armWatchdogs sets the watchdogs and writes into the kernel's log how they are set.
func (s *supervisor) armWatchdogs(set watchdog.Setting) error {
	armed := watchdog.Armed{}
	for _, k := range knobs() {
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
		if sec > 0 { // 0: it is off
			armed[k.detector] = time.Duration(sec) * time.Second
		}
	}
	if st, err := os.Stat(hardSwitch); err == nil && st.Mode()&0o200 != 0 {
		if on, err := readNumber(hardSwitch); err == nil && on != 0 {
			armed[watchdog.HardLockup] = armed[watchdog.SoftLockup]
		}
	}
	if set == watchdog.XenDefault {
		if err := s.armXen(); err != nil {
			return fmt.Errorf("arm the watchdogs: %w", err)
		}
		armed[watchdog.Xen] = watchdog.XenTimeout
	}
	if err := s.startGrace(); err != nil {
		return fmt.Errorf("arm the watchdogs: %w", err)
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

// writeNumber writes a number to a file that exists.
func writeNumber(path string, n int) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(strconv.Itoa(n))
	return err
}

// kernelLog writes a line into the kernel's log. It has the level of an alert, so a
// quiet console shows it too.
func kernelLog(line string) error {
	f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	defer f.Close()
	// The kernel holds back a line without an end until the next one comes.
	if _, err := f.WriteString("<1>" + line + "\n"); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	return nil
}
