package main

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
	"hangbench/guests/watchdog"
)

// A new workload, request or part is one line here and one file beside this one.

// workloads returns what this guest can do for as long as dom0 wants it.
func workloads() []workload {
	return []workload{
		{beat.Idle, nothing, nil},
		{beat.Busy, nothing, busy},
		{beat.Mutex, nothing, mutexProber},
		{beat.Files, nothing, filesProber},
		{beat.Forks, nothing, forker},
		{beat.Syscalls, nothing, caller},
		{beat.Memory, nothing, allocator},
		{beat.Disk, (*supervisor).needDisk, diskProber},
		{beat.Pages, (*supervisor).needSwap, pager},
		{beat.Uneven, nothing, busy},
		{beat.Sleeper, nothing, sleeper},
		{beat.Devices, nothing, opener(device)},
		{beat.Crossed, nothing, crosser},
		{beat.Kernel, nothing, kernelWorker},
		{beat.Opens, nothing, opener(self)},
		{beat.Inodes, (*supervisor).needGroups, inodeProber},
		{beat.Mounts, nothing, mountProber},
		{beat.RCUSync, (*supervisor).needGroups, graceProber},
		{beat.Scarce, nothing, scarcer},
		{beat.Clocks, nothing, clockChanger},
		{beat.Queue, (*supervisor).needDisk, queueReader},
		{beat.Swapping, (*supervisor).needMemoryGroups, groupedPager(steadyPages, beat.Period/4)},
		{beat.Grouped, (*supervisor).needMemoryGroups, groupedPager(thrashPages, 0)},
		{beat.Printk, nothing, printer},
		{beat.Polls, nothing, poller},
		{beat.KPolls, nothing, kernelPoller},
		{beat.Build, (*supervisor).needBuild, builder},
		{beat.Exec, nothing, runner},
		{beat.Futexes, nothing, futexPair},
		{beat.Vfork, nothing, vforker},
		{beat.Writes, (*supervisor).needWritable, writer},
		{beat.FUSE, (*supervisor).needServer, asker},
	}
}

// requests returns what this guest does once when dom0 asks for it.
func requests() []request {
	return []request{
		{beat.Pass, (*supervisor).passMutex},
		{beat.Again, (*supervisor).again},
		{beat.Bomb, (*supervisor).bomb},
		{beat.Limited, (*supervisor).limitedBomb},
		{beat.Thrash, (*supervisor).thrash},
		{beat.Realtime, (*supervisor).realtime},
		{beat.Kill, (*supervisor).kill},
		{beat.Stop, func(s *supervisor) error { return s.signal(unix.SIGSTOP) }},
		{beat.Continue, func(s *supervisor) error { return s.signal(unix.SIGCONT) }},
		{beat.Freeze, func(s *supervisor) error { return s.complain(s.freeze()) }},
		{beat.Thaw, func(s *supervisor) error { return s.complain(setFrozen("0")) }},
		{beat.LongChildren, func(s *supervisor) error { return s.complain(lengthenChildren()) }},
		{beat.ShortChildren, func(s *supervisor) error { return s.complain(shortenChildren()) }},
		{beat.FreezeDisk, func(s *supervisor) error { return s.complain(freezeDisk(fiFreeze)) }},
		{beat.ThawDisk, func(s *supervisor) error { return s.complain(freezeDisk(fiThaw)) }},
		{beat.StopServer, func(s *supervisor) error { return s.complain(s.signalServer(unix.SIGSTOP)) }},
		{beat.ContinueServer, func(s *supervisor) error { return s.complain(s.signalServer(unix.SIGCONT)) }},
		{beat.Offline, func(s *supervisor) error { return s.complain(s.setOnline("0")) }},
		{beat.Online, func(s *supervisor) error { return s.complain(s.setOnline("1")) }},
		{beat.Later, func(*supervisor) error { return moveClock(jump) }},
		{beat.Earlier, func(*supervisor) error { return moveClock(-jump) }},
		{beat.Watchdogs, func(s *supervisor) error { return s.armWatchdogs(watchdog.Default) }},
		{beat.QuickWatchdogs, func(s *supervisor) error { return s.armWatchdogs(watchdog.Minimum) }},
		{beat.XenWatchdog, func(s *supervisor) error { return s.armWatchdogs(watchdog.XenDefault) }},
		{beat.Measure, (*supervisor).measure},
		{beat.Deadlock, func(s *supervisor) error { return s.crossFutexes(crossSignal) }},
		{beat.Unlock, func(s *supervisor) error { return s.crossFutexes(uncrossSignal) }},
		{beat.Hush, (*supervisor).hush},
		{beat.Hoard, (*supervisor).hoard},
		{beat.Canaries, (*supervisor).startCanaries},
		{beat.Probe, (*supervisor).tellGone},
	}
}

// parts returns the processes of this program that are no workload, by their first
// argument.
func parts() []part {
	return []part{
		{beaterPart, onCPU(beater)},
		{echoPart, echo},
		{passPart, onCPU(passOnce)},
		{bombPart, explode},
		{hogPart, hog},
		{realtimePart, compute},
		{eaterPart, eat},
		{patPart, pat},
		{gracePart, onCPU(grace)},
		{servePart, serve},
		{measurePart, measureOnce},
		{compilePart, compile},
		{hoardPart, keepFiles},
		{canaryPart, sing},
	}
}

// workload is one entry of workloads. run does the work in a process of its own,
// on one vCPU, and does not return; nil means no process.
type workload struct {
	beat.Workload
	prepare func(*supervisor) error
	run     func(page *beat.Page, cpu int) error
}

// first returns the first of n vCPUs that the workload runs on. It runs on all
// vCPUs from that one on.
func (w workload) first(n int) int {
	if w.Last {
		return n - 1
	}
	return 0
}

// nothing prepares a workload that needs no preparation.
func nothing(*supervisor) error { return nil }

// request is one entry of requests. do runs in PID 1 and must not wait for
// anything that a fault can stop.
type request struct {
	beat.Request
	do func(*supervisor) error
}

// part is one entry of parts. run gets the arguments behind the part's name.
type part struct {
	name string
	run  func(args []string) error
}

func findWorkload(name string) (workload, bool) {
	for _, w := range workloads() {
		if w.Name == name {
			return w, true
		}
	}
	return workload{}, false
}

func findRequest(r beat.Request) (do func(*supervisor) error, ok bool) {
	for _, q := range requests() {
		if q.Request == r {
			return q.do, true
		}
	}
	return nil, false
}

// findPart returns the code of a process of this program: a part or a workload.
func findPart(name string) (run func(args []string) error, ok bool) {
	for _, p := range parts() {
		if p.name == name {
			return p.run, true
		}
	}
	if w, ok := findWorkload(name); ok && w.run != nil {
		return onCPU(w.run), true
	}
	return nil, false
}

// onCPU makes a part of work on one vCPU. The vCPU's number is the part's first argument;
// the process has been pinned to that vCPU. The second is the number of the work among
// those that run at a time, 0 if it is left out.
func onCPU(work func(page *beat.Page, cpu int) error) func(args []string) error {
	return func(args []string) error {
		if len(args) < 1 || len(args) > 2 {
			return fmt.Errorf("%d arguments instead of the number of a vCPU", len(args))
		}
		cpu, err := strconv.Atoi(args[0])
		if err != nil || cpu < 0 || cpu >= beat.MaxCPUs {
			return fmt.Errorf("vCPU %q is not in 0 to %d", args[0], beat.MaxCPUs-1)
		}
		n := 0
		if len(args) == 2 {
			if n, err = strconv.Atoi(args[1]); err != nil || n < 0 || n >= beat.MaxWorks {
				return fmt.Errorf("work %q is not in 0 to %d", args[1], beat.MaxWorks-1)
			}
		}
		page, err := mapPage(pageFD)
		if err != nil {
			return err
		}
		err = work(page.Of(n), cpu)
		if err != nil {
			page.Complain(err.Error()) // the console has it too
		}
		return err
	}
}
