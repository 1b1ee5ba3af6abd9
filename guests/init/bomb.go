package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const bombPart = "bomb"

// bombUser owns a fork bomb. Root would have no limit on the number of processes.
const bombUser = 1000

// bomb starts a fork bomb.
func (s *supervisor) bomb() error { return s.unleash(bombPart, bombUser, nil) }

// limitedBomb starts a fork bomb in a control group that permits few processes.
func (s *supervisor) limitedBomb() error {
	group, err := pidsGroup(fewProcesses)
	if err != nil {
		return s.complain(fmt.Errorf("limit the fork bomb: %w", err))
	}
	defer group.Close()
	return s.unleash(bombPart, bombUser, group)
}

// unleash starts a part that harms the guest, in a process group of its own and,
// if group is not nil, in a control group. There is at most one at a time.
func (s *supervisor) unleash(part string, user uint32, group *os.File) error {
	if s.storm != 0 {
		return nil
	}
	cmd := s.command(part)
	cmd.ExtraFiles = nil
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: &syscall.Credential{Uid: user, Gid: user}}
	if group != nil {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(group.Fd())
	}
	if err := startOn(s.all, cmd); err != nil {
		return fmt.Errorf("start the %s: %w", part, err)
	}
	s.storm = cmd.Process.Pid
	return cmd.Process.Release() // kill reaps it
}

// fewProcesses take most of a vCPU's time from other tasks, but make no storm.
const fewProcesses = 16

// pidsGroup makes a control group (version 2) that permits most processes.
func pidsGroup(most int) (*os.File, error) {
	if err := mountGroups(); err != nil {
		return nil, err
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

// kill ends what unleash has started. A signal to a process group reaches every
// process in it, also one that is just being forked.
func (s *supervisor) kill() error {
	if s.storm == 0 {
		return nil
	}
	for {
		if err := unix.Kill(-s.storm, unix.SIGKILL); err == unix.ESRCH {
			s.storm = 0
			return s.unthrottled()
		} else if err != nil {
			return fmt.Errorf("end the storm: %w", err)
		}
		// PID 1 is the parent of every process whose own parent has ended. Each stays
		// in the group until it is reaped.
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

// bombLimit is the largest number of processes of the fork bomb. They fit in the
// guest's memory: the bomb takes time from other tasks, not memory.
const bombLimit = 256

// explode forks without end, and so does each child.
func explode([]string) error {
	if err := unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: bombLimit, Max: bombLimit}); err != nil {
		return fmt.Errorf("limit the number of processes: %w", err)
	}
	// No process waits for another. Dead children vanish at once, and a process whose
	// parent has ended becomes a child of this one.
	signal.Ignore(unix.SIGCHLD)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("adopt the orphans: %w", err)
	}
	forkForever()
	return nil
}

// forkForever forks. A child that cannot fork, because there are too many
// processes, ends; the first process never ends. See forkEnd for what such a
// process may do.
//
//go:nosplit
func forkForever() {
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
