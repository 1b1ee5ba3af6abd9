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

// pollPeriod is the time between two looks of PID 1 at what dom0 wants. It is
// longer than the heartbeat's, because each look costs time under a monitor.
const pollPeriod = 900 * time.Millisecond

// pageFD is the file descriptor of the shared page in each process of this program.
const pageFD = 3

// self is the path of this program in the guest's initramfs.
const self = "/init"

func main() {
	if err := run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "hangbench-init:", err)
		if os.Getpid() == 1 {
			// If PID 1 exits, the kernel panics and hides the message. The trial fails
			// because no announcement comes.
			for {
				time.Sleep(time.Hour)
			}
		}
		os.Exit(1)
	}
}

// run is the whole program. Its first argument selects a part; PID 1 has no part.
func run(args []string) error {
	if os.Getpid() == 1 {
		return supervise()
	}
	if args[0] == powerOffPath {
		return powerOff()
	}
	if len(args) < 2 {
		return fmt.Errorf("this program is the PID 1 of a hangbench guest and does nothing elsewhere")
	}
	p, ok := findPart(args[1])
	if !ok {
		return fmt.Errorf("there is no part %q", args[1])
	}
	return p(args[2:])
}

// supervise is PID 1: it prepares the guest, starts a heartbeat on each vCPU,
// announces the guest, and then does what dom0 wants.
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
	cpus, err := onlineCPUs()
	if err != nil {
		return err
	}
	s := &supervisor{page: page, file: os.NewFile(uintptr(fd), "beat"), cpus: cpus}
	for cpu := range cpus {
		cmd, err := s.start(cpu, beaterPart)
		if err != nil {
			return err
		}
		s.beaters = append(s.beaters, cmd)
	}
	if err := announce(page, cpus); err != nil {
		return err
	}
	if err := unix.SchedGetaffinity(0, &s.all); err != nil {
		return fmt.Errorf("read affinity: %w", err)
	}
	// A request to end a fork bomb must not wait for the bomb's processes.
	if err := takePrecedence(); err != nil {
		return err
	}
	for {
		// Not time.Sleep: another thread would have to wake this one, and the other
		// threads have no precedence.
		if err := unix.Nanosleep(&unix.Timespec{Nsec: int64(pollPeriod)}, nil); err != nil && err != unix.EINTR {
			return fmt.Errorf("sleep: %w", err)
		}
		if err := s.look(); err != nil {
			return err
		}
	}
}

// supervisor is PID 1's state.
type supervisor struct {
	page      *beat.Page
	file      *os.File // of the page
	cpus      int      // number of vCPUs
	all       unix.CPUSet
	beaters   []*exec.Cmd // processes of the heartbeat, by vCPU
	workers   []*exec.Cmd // processes of the workload and of requests, to be reaped with them
	disk      bool        // the disk is there
	swap      bool        // the disk is swap space
	mounted   bool        // the disk has a file system, which is mounted
	storm     int         // process group that Kill ends, 0 without one
	patted    bool        // a process arms Xen's watchdog
	graced    int         // the vCPUs from 0 on that have a process for grace periods
	canaries  []*exec.Cmd // by beat.Canary, once they have been asked for
	throttles []throttle  // that Kill puts back
	written   bool        // the disk has the file system of the work writes
	server    *exec.Cmd   // of the work fuse
}

// look does what dom0 has asked for since the last look.
func (s *supervisor) look() error {
	if want := s.page.Wanted(); want != s.page.Active() {
		if err := s.work(want); err != nil {
			return err
		}
	}
	r, token, ok := s.page.Asked()
	if !ok {
		return nil
	}
	// Answered first: dom0 takes this as the moment at which the request begins.
	s.page.Answer(token)
	do, ok := findRequest(r)
	if !ok {
		return fmt.Errorf("dom0 sends the request %q, which is unknown", r)
	}
	return do(s)
}

// work ends the workload that runs and starts the wanted one. If that cannot be
// started, dom0 and the console get the reason, dom0 sees that it does not run, and the
// next look tries again.
func (s *supervisor) work(want string) error {
	for _, w := range s.workers {
		w.Process.Kill()
		w.Wait()
	}
	s.workers = s.workers[:0]
	for _, name := range beat.Parts(want) {
		w, ok := findWorkload(name)
		err := fmt.Errorf("it is unknown")
		if ok {
			err = w.prepare(s)
		}
		if err != nil {
			return s.complain(fmt.Errorf("workload %q: %w", name, err))
		}
	}
	s.page.Complain("") // of the workload before
	if err := s.startWorkers(want); err != nil {
		return err
	}
	s.page.SetActive(want)
	return nil
}

// startWorkers starts the processes of a workload, or of each of several.
func (s *supervisor) startWorkers(name string) error {
	for n, part := range beat.Parts(name) {
		w, ok := findWorkload(part)
		for cpu := w.first(s.cpus); ok && cpu < s.cpus && w.run != nil; cpu++ {
			cmd, err := s.start(cpu, w.Name, strconv.Itoa(n))
			if err != nil {
				return err
			}
			s.workers = append(s.workers, cmd)
		}
	}
	return nil
}

// again starts the processes of the workload once more. Those that run may sleep until
// somebody takes and releases the lock that they wait for.
func (s *supervisor) again() error { return s.startWorkers(s.page.Active()) }

// start starts one part of this program on one vCPU. A process inherits the
// affinity of the thread that forks it, so the calling thread pins itself until
// the fork.
func (s *supervisor) start(cpu int, part string, args ...string) (*exec.Cmd, error) {
	cmd := s.command(part, append([]string{strconv.Itoa(cpu)}, args...)...)
	cmd.Stdout = os.Stdout
	if err := startOn(oneCPU(cpu), cmd); err != nil {
		return nil, fmt.Errorf("start %s on vCPU %d: %w", part, cpu, err)
	}
	return cmd, nil
}

// command returns a process of this program that plays a part. It inherits the
// page and reports errors on the console.
func (s *supervisor) command(part string, args ...string) *exec.Cmd {
	cmd := exec.Command(self, append([]string{part}, args...)...)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{s.file} // becomes descriptor 3, pageFD
	cmd.Env = []string{"GOMAXPROCS=1"}
	return cmd
}

// startOn starts a process that may run on some vCPUs only.
func startOn(cpus unix.CPUSet, cmd *exec.Cmd) error {
	unpin, err := pin(cpus)
	if err != nil {
		return err
	}
	defer unpin()
	return cmd.Start()
}
