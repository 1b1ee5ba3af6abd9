package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const realtimePart = "realtime"

// throttles are the files that say how much time the kernel leaves to other tasks beside
// real-time ones, with the value that leaves none: a limit on real-time tasks, and since
// Linux 6.12 a server for fair ones, of each vCPU.
func throttles(cpus int) (paths, none []string) {
	paths, none = []string{"/proc/sys/kernel/sched_rt_runtime_us"}, []string{"-1"}
	for cpu := range cpus {
		paths = append(paths, fmt.Sprintf("/sys/kernel/debug/sched/fair_server/cpu%d/runtime", cpu))
		none = append(none, "0")
	}
	return paths, none
}

// realtime starts a process on every vCPU that computes as a real-time task, after it has
// turned off what the kernel leaves to other tasks. kill ends them and turns it on again.
func (s *supervisor) realtime() error {
	if s.storm != 0 {
		return nil
	}
	if err := unix.Mount("debugfs", "/sys/kernel/debug", "debugfs", 0, ""); err != nil && err != unix.EBUSY {
		return s.complain(fmt.Errorf("mount /sys/kernel/debug: %w", err))
	}
	paths, none := throttles(s.cpus)
	for i, path := range paths {
		old, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) && i > 0 {
			continue // Linux before 6.12
		}
		if err == nil {
			err = os.WriteFile(path, []byte(none[i]), 0)
		}
		if err != nil {
			return s.complain(fmt.Errorf("leave no time to others: %w", err))
		}
		s.throttles = append(s.throttles, throttle{path, old})
	}
	for cpu := range s.cpus {
		cmd := s.command(realtimePart)
		cmd.ExtraFiles = nil
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: s.storm} // 0: a group of its own
		if err := startOn(oneCPU(cpu), cmd); err != nil {
			return fmt.Errorf("start a real-time task on vCPU %d: %w", cpu, err)
		}
		if s.storm == 0 {
			s.storm = cmd.Process.Pid
		}
		if err := cmd.Process.Release(); err != nil { // kill reaps it
			return err
		}
	}
	return nil
}

// throttle is a file of throttles and what it said before.
type throttle struct {
	path string
	old  []byte
}

// unthrottled puts back what realtime has turned off.
func (s *supervisor) unthrottled() error {
	var errs []error
	for _, t := range s.throttles {
		errs = append(errs, os.WriteFile(t.path, t.old, 0))
	}
	s.throttles = nil
	return s.complain(errors.Join(errs...))
}

// compute becomes a real-time task and computes. PID 1 has a higher priority.
func compute([]string) error {
	runtime.LockOSThread() // the thread that becomes a real-time task is the one that computes
	if err := becomeRealtime(realtimePriority - 1); err != nil {
		return err
	}
	spin()
	return nil
}

// spin computes without end. It has no place at which the Go runtime could stop it.
//
//go:nosplit
func spin() {
	//lint:ignore SA5002 it shall use all of the CPU
	for {
	}
}

// realtimePriority is the priority of PID 1.
const realtimePriority = 2

// becomeRealtime makes the calling thread a real-time task. The processes that it starts
// are ordinary tasks.
func becomeRealtime(priority int32) error {
	const resetOnFork = 0x40000000 // SCHED_RESET_ON_FORK of include/uapi/linux/sched.h
	param := struct{ priority int32 }{priority}
	if _, _, e := unix.Syscall(unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_FIFO|resetOnFork,
		uintptr(unsafe.Pointer(&param))); e != 0 {
		return fmt.Errorf("become a real-time task: %w", e)
	}
	return nil
}
