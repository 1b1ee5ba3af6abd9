package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
	"hangbench/guests/watchdog"
)

// takePrecedence lets the calling goroutine run before everything else in the
// guest, on a thread of its own on vCPU 0, where partial faults do not arrive; what it starts is ordinary again.
func takePrecedence() error {
	runtime.LockOSThread()
	if _, err := pin(oneCPU(0)); err != nil {
		return err
	}
	param := struct{ priority int32 }{1}
	const resetOnFork = 0x40000000 // SCHED_RESET_ON_FORK of include/uapi/linux/sched.h
	if _, _, e := unix.Syscall(unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_FIFO|resetOnFork, uintptr(unsafe.Pointer(&param))); e != 0 {
		return fmt.Errorf("become a real-time task: %w", e)
	}
	// What is paged out cannot run first.
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return fmt.Errorf("stay in memory: %w", err)
	}
	return nil
}

// jump is how far Later sets the clock.
const jump = time.Hour

// run does one errand.
func (s *supervisor) run(e beat.Errand) error {
	switch e {
	case beat.Pass:
		// Not awaited: if the mutex is still held, PID 1 must not be.
		for cpu := range s.cpus {
			cmd, err := start("pass", cpu, s.file)
			if err != nil {
				return err
			}
			s.workers = append(s.workers, cmd) // to be reaped with them
		}
	case beat.Bomb:
		return s.unleash("bomb", bombUser, nil)
	case beat.Limited:
		group, err := pidsGroup(fewProcesses)
		if err != nil {
			// The trial sees that nothing happens.
			fmt.Fprintf(os.Stderr, "hangbench-init: limit the fork bomb: %v\n", err)
			return nil
		}
		defer group.Close()
		return s.unleash("bomb", bombUser, group)
	case beat.Thrash:
		return s.unleash("hog", 0, nil)
	case beat.Kill:
		return s.kill()
	case beat.Stop, beat.Continue:
		sig := unix.SIGSTOP
		if e == beat.Continue {
			sig = unix.SIGCONT
		}
		for _, w := range s.workers {
			if err := w.Process.Signal(sig); err != nil {
				return fmt.Errorf("signal a worker: %w", err)
			}
		}
	case beat.Later:
		return moveClock(jump)
	case beat.Earlier:
		return moveClock(-jump)
	case beat.Watchdogs:
		return s.armWatchdogs(watchdog.Default)
	case beat.QuickWatchdogs:
		return s.armWatchdogs(watchdog.Minimum)
	case beat.XenWatchdog:
		return s.armWatchdogs(watchdog.XenDefault)
	case beat.Measure:
		return s.measure()
	default:
		return fmt.Errorf("dom0 asks for errand %d, which is unknown", e)
	}
	return nil
}

// moveClock sets the wall clock; the monotonic one goes on as it was.
func moveClock(d time.Duration) error {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return fmt.Errorf("read the clock: %w", err)
	}
	ts = unix.NsecToTimespec(ts.Nano() + int64(d))
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return fmt.Errorf("set the clock: %w", err)
	}
	return nil
}

// bombUser is who owns a fork bomb: root has no limit on the number of processes.
const bombUser = 1000

// unleash starts one of the programs that are to bring the guest down, in a
// process group of its own, and in a control group if there is one.
func (s *supervisor) unleash(part string, user uint32, group *os.File) error {
	if s.storm != 0 {
		return nil // one at a time
	}
	cmd := exec.Command("/init", part)
	cmd.Stderr, cmd.Env = os.Stderr, []string{"GOMAXPROCS=1"}
	unpin, err := pin(s.all)
	if err != nil {
		return err
	}
	defer unpin()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: &syscall.Credential{Uid: user, Gid: user}}
	if group != nil {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(group.Fd())
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the %s: %w", part, err)
	}
	s.storm = cmd.Process.Pid
	return cmd.Process.Release() // reaped by kill, with all its offspring
}

const (
	// fewProcesses are enough to take most of a vCPU's time from others, and far
	// from a storm.
	fewProcesses = 16
	groupRoot    = "/sys/fs/cgroup"
)

// pidsGroup makes a control group (version 2) that may have so many processes.
func pidsGroup(most int) (*os.File, error) {
	if err := unix.Mount("cgroup2", groupRoot, "cgroup2", 0, ""); err != nil && err != unix.EBUSY {
		return nil, fmt.Errorf("mount %s: %w", groupRoot, err)
	}
	dir := groupRoot + "/bomb"
	if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
		return nil, err
	}
	if err := os.WriteFile(groupRoot+"/cgroup.subtree_control", []byte("+pids"), 0); err != nil {
		return nil, err
	}
	if err := os.WriteFile(dir+"/pids.max", strconv.AppendInt(nil, int64(most), 10), 0); err != nil {
		return nil, err
	}
	return os.Open(dir)
}

// kill ends the storm. A signal to a process group reaches every process in it,
// also those that fork at that moment.
func (s *supervisor) kill() error {
	if s.storm == 0 {
		return nil
	}
	for {
		if err := unix.Kill(-s.storm, unix.SIGKILL); err == unix.ESRCH {
			s.storm = 0
			return nil
		} else if err != nil {
			return fmt.Errorf("end the storm: %w", err)
		}
		// Who has lost its parent has PID 1, and is in the group until it is reaped.
		for {
			pid, err := unix.Wait4(-s.storm, nil, unix.WNOHANG, nil)
			if pid <= 0 && err != unix.EINTR {
				break
			}
		}
		if err := unix.Nanosleep(&unix.Timespec{Nsec: int64(10 * time.Millisecond)}, nil); err != nil && err != unix.EINTR {
			return fmt.Errorf("sleep: %w", err)
		}
	}
}

// bombLimit is how many processes the fork bomb may have. The guest's memory
// has room for them: the bomb is to starve the others of time, not of memory.
const bombLimit = 256

// bomb forks, and so does every child, without end.
func bomb() error {
	if err := unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: bombLimit, Max: bombLimit}); err != nil {
		return fmt.Errorf("limit the number of processes: %w", err)
	}
	// Nobody waits for anybody: dead children vanish at once, and those whose
	// parent died become this process's.
	signal.Ignore(unix.SIGCHLD)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("adopt the orphans: %w", err)
	}
	explode()
	return nil
}

// A process made by a bare clone has one thread and no Go scheduler: all it may
// do is make raw system calls, in functions that never look at their stack.

// explode forks for ever. Who cannot, because there are too many, ends and makes
// room for another's child; only the first never ends.
//
//go:nosplit
func explode() {
	child := false
	for {
		pid, _, e := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		switch {
		case e != 0 && child:
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		case e == 0 && pid == 0:
			child = true
		}
	}
}

// forkEnd makes a process that ends at once.
//
//go:nosplit
func forkEnd() (pid int, err error) {
	r, _, e := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if e != 0 {
		return 0, e
	}
	for r == 0 {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	return int(r), nil
}
