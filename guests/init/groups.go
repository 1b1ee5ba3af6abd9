package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// groupRoot is where the control groups (version 2) are mounted.
const groupRoot = "/sys/fs/cgroup"

// mountGroups mounts the control groups. They may be mounted already.
func mountGroups() error {
	if err := unix.Mount("cgroup2", groupRoot, "cgroup2", 0, ""); err != nil && err != unix.EBUSY {
		return fmt.Errorf("mount %s: %w", groupRoot, err)
	}
	return nil
}

// needGroups prepares work that uses control groups.
func (*supervisor) needGroups() error { return mountGroups() }

// frozenGroup is the control group of processes that are frozen.
const frozenGroup = groupRoot + "/frozen"

// freeze puts the processes of the workload into a control group, and freezes it.
func (s *supervisor) freeze() error {
	if err := mountGroups(); err != nil {
		return err
	}
	if err := os.Mkdir(frozenGroup, 0o755); err != nil && !os.IsExist(err) {
		return err
	}
	for _, w := range s.workers {
		if err := os.WriteFile(frozenGroup+"/cgroup.procs", strconv.AppendInt(nil, int64(w.Process.Pid), 10), 0); err != nil {
			return err
		}
	}
	return setFrozen("1")
}

// setFrozen freezes the control group, or thaws it.
func setFrozen(to string) error {
	return os.WriteFile(frozenGroup+"/cgroup.freeze", []byte(to), 0)
}

// complain tells dom0 and the console what this guest cannot do. PID 1 goes on, and the
// trial sees that nothing has happened.
func (s *supervisor) complain(err error) error {
	if err != nil {
		fmt.Fprintf(os.Stderr, "hangbench-init: %v\n", err)
		s.page.Complain(err.Error())
	}
	return nil
}

// inodeProber makes a control group, asks for its attributes and removes it, once a
// period. When it asks, the kernel makes an inode and enters it into the table of all
// inodes under inode_hash_lock (iget_locked of fs/inode.c).
//
// It works in a group of its own. A process that waits for cgroup_mutex holds the lock of
// the folder that it changes, and would stop all others there before they ask for the
// mutex: then nobody would wake it when the mutex is released (beat.Again).
func inodeProber(page *beat.Page, cpu int) error {
	own := fmt.Sprintf("%s/inodes-%d", groupRoot, os.Getpid())
	if err := unix.Mkdir(own, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", own, err)
	}
	dir := own + "/one"
	for {
		if err := unix.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", dir, err)
		}
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			return fmt.Errorf("stat %s: %w", dir, err)
		}
		if err := unix.Rmdir(dir); err != nil {
			return fmt.Errorf("remove %s: %w", dir, err)
		}
		page.Work(cpu)
		time.Sleep(beat.Period)
	}
}

// graceProber moves itself into the control group that it is in, once a period. For that
// the kernel takes cgroup_threadgroup_rwsem for writing, which nobody has taken for a
// while, and waits for a grace period of RCU first (rcu_sync_enter of kernel/rcu/sync.c).
func graceProber(page *beat.Page, cpu int) error {
	f, err := os.OpenFile(groupRoot+"/cgroup.procs", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	for {
		if _, err := unix.Write(int(f.Fd()), []byte("0")); err != nil {
			return fmt.Errorf("write to %s: %w", f.Name(), err)
		}
		page.Work(cpu)
		time.Sleep(beat.Period)
	}
}
