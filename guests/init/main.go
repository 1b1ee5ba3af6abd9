package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// pollPeriod is how often PID 1 looks whether dom0 wants another workload. It is
// slower than the heartbeat: what is not done costs nothing under a monitor.
const pollPeriod = 900 * time.Millisecond

// pageFD is where the parts inherit the shared page.
const pageFD = 3

func main() {
	if err := run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "hangbench-init:", err)
		if os.Getpid() == 1 {
			// PID 1 must not exit: that would panic the kernel and hide the message.
			// The trial sees that no announcement comes.
			for {
				time.Sleep(time.Hour)
			}
		}
		os.Exit(1)
	}
}

// parts are what this program plays on one vCPU, by its first argument.
var parts = map[string]func(page *beat.Page, cpu int) error{
	"beat":                 beater,
	beat.Busy.String():     worker,
	beat.Mutex.String():    mutexProber,
	beat.Files.String():    filesProber,
	beat.Forks.String():    forker,
	beat.Syscalls.String(): caller,
	beat.Memory.String():   allocator,
	beat.Disk.String():     diskProber,
	beat.Pages.String():    pager,
	beat.Uneven.String():   worker,
	beat.Sleeper.String():  sleeper,
	beat.Devices.String():  deviceProber,
	beat.Crossed.String():  crosser,
	beat.Kernel.String():   kernelWorker,
	"pass":                 passMutex,
}

func run(args []string) error {
	if len(args) == 3 && args[1] == "measure" {
		return measure(args[2])
	}
	if len(args) == 3 {
		cpu, err := strconv.Atoi(args[2])
		if err != nil || cpu < 0 || cpu >= beat.MaxCPUs {
			return fmt.Errorf("vCPU %q is not in 0 to %d", args[2], beat.MaxCPUs-1)
		}
		part, ok := parts[args[1]]
		if !ok {
			return fmt.Errorf("there is no part %q", args[1])
		}
		page, err := mapPage(pageFD)
		if err != nil {
			return err
		}
		return part(page, cpu)
	}
	if len(args) == 2 {
		switch args[1] {
		case "echo":
			return echo()
		case "bomb":
			return bomb()
		case "hog":
			return hog()
		case "pat":
			return pat()
		}
	}
	if os.Getpid() != 1 {
		return fmt.Errorf("this program is the PID 1 of a hangbench guest and does nothing elsewhere")
	}
	return supervise()
}

// supervise is PID 1.
func supervise() error {
	if err := mountAll(); err != nil {
		return err
	}
	fd, err := unix.MemfdCreate("beat", 0)
	if err != nil {
		return fmt.Errorf("create the heartbeat page: %w", err)
	}
	if err := unix.Ftruncate(fd, beat.Size); err != nil {
		return fmt.Errorf("size the heartbeat page: %w", err)
	}
	page, err := mapPage(fd)
	if err != nil {
		return err
	}
	page.Init()
	file := os.NewFile(uintptr(fd), "beat")

	cpus, err := onlineCPUs()
	if err != nil {
		return err
	}
	for cpu := range cpus {
		if _, err := start("beat", cpu, file); err != nil {
			return err
		}
	}
	gfn, err := frameOf(page)
	if err != nil {
		return err
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	ann := beat.Announcement{GFN: gfn, CPUs: cpus, Release: unix.ByteSliceToString(uts.Release[:])}
	if err := xenstoreWrite(beat.Node, ann.String()); err != nil {
		return err
	}
	fmt.Println("hangbench-init: ready:", ann)

	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return fmt.Errorf("read affinity: %w", err)
	}
	// Errands such as ending a fork bomb must not wait for those they are to end.
	if err := takePrecedence(); err != nil {
		return err
	}
	sv := supervisor{page: page, file: file, cpus: cpus, all: all}
	for {
		// Not time.Sleep: that would need another thread to wake this one, and the
		// others have no precedence.
		if err := unix.Nanosleep(&unix.Timespec{Nsec: int64(pollPeriod)}, nil); err != nil && err != unix.EINTR {
			return fmt.Errorf("sleep: %w", err)
		}
		if want := page.Wanted(); want != page.Active() {
			if err := sv.work(want); err != nil {
				return err
			}
		}
		if errand, token, ok := page.Asked(); ok {
			// Answered first: dom0 takes this as the moment at which it begins.
			page.Answer(token)
			if err := sv.run(errand); err != nil {
				return err
			}
		}
	}
}

// supervisor starts and stops what dom0 asks for.
type supervisor struct {
	page    *beat.Page
	file    *os.File
	cpus    int
	all     unix.CPUSet // the vCPUs
	workers []*exec.Cmd
	disk    bool // is there
	swap    bool // is on
	storm   int  // process group of Bomb or Thrash, 0 without one
	patted  bool // somebody pats Xen's watchdog
	mounted bool // a file system on the disk is
}

// work makes one workload run instead of another.
func (s *supervisor) work(want beat.Workload) error {
	for _, w := range s.workers {
		w.Process.Kill()
		w.Wait()
	}
	s.workers = s.workers[:0]
	first := 0
	var err error
	switch want {
	case beat.Files, beat.Uneven, beat.Kernel:
		first = s.cpus - 1
	case beat.Disk:
		err = s.needDisk()
	case beat.Pages:
		err = s.needSwap()
	}
	if err != nil {
		// The trial sees that the workload does not start.
		fmt.Fprintf(os.Stderr, "hangbench-init: workload %s: %v\n", want, err)
		return nil
	}
	if _, ok := parts[want.String()]; ok {
		for cpu := first; cpu < s.cpus; cpu++ {
			w, err := start(want.String(), cpu, s.file)
			if err != nil {
				return err
			}
			s.workers = append(s.workers, w)
		}
	}
	s.page.SetActive(want)
	return nil
}

// start runs one part of this program on one vCPU. Affinity is inherited over
// fork, so the calling thread pins itself for the moment of the fork; PID 1 has
// nothing else to do then.
func start(part string, cpu int, page *os.File) (*exec.Cmd, error) {
	cmd := exec.Command("/init", part, strconv.Itoa(cpu))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{page} // becomes descriptor 3, pageFD
	cmd.Env = []string{"GOMAXPROCS=1"}
	unpin, err := pin(oneCPU(cpu))
	if err != nil {
		return nil, err
	}
	defer unpin()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s on vCPU %d: %w", part, cpu, err)
	}
	return cmd, nil
}

// beater is the heartbeat of one vCPU. It also looks for children to reap, as
// an init does: that takes the kernel's tasklist_lock for reading, so a
// deadlock on this lock stops the heartbeat.
func beater(page *beat.Page, cpu int) error {
	for {
		time.Sleep(beat.Period)
		// It has no children; ECHILD is the answer every time.
		unix.Wait4(-1, nil, unix.WNOHANG, nil)
		page.Beat(cpu)
	}
}
