package observe

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// guardName is the name under which this program starts itself as the guard of an
// observer's program.
const guardName = "hangbench-observer-guard"

// IsGuard reports whether this process is to be the guard of an observer's program.
// The main function of every program that runs trials must ask first, and call Guard.
func IsGuard() bool { return os.Args[0] == guardName }

// Guard runs the program that its arguments name, and does not return. It leads the
// program's process group, and the kernel sends it SIGTERM when the process ends that
// started it, however that ends. Guard then sends the program SIGTERM, and after
// leaveTime it ends the whole process group, itself included. If the program ends first,
// Guard ends with its exit status.
//
// Without a guard, processes that the program has started would outlive a trial that
// was killed.
func Guard() {
	runtime.LockOSThread() // the program ends with the thread that started it
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, unix.SIGTERM)
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitNoProgram)
	}
	// The program has these now. With the guard's own copies a program that closes its
	// output, or stops reading, would look as if it did not.
	os.Stdin.Close()
	os.Stdout.Close()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		os.Exit(status(err))
	case <-asked:
	}
	cmd.Process.Signal(unix.SIGTERM) // an error means that it has ended
	select {
	case <-ended:
	case <-time.After(leaveTime):
	}
	unix.Kill(0, unix.SIGKILL) // the process group
}

// exitNoProgram is the exit status of a guard whose program cannot be started, as a
// shell has it.
const exitNoProgram = 127

// status is the exit status for a program that has ended, as a shell has it.
func status(err error) int {
	exit, ok := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return 0
	case !ok:
		return 1
	case exit.ExitCode() >= 0:
		return exit.ExitCode()
	}
	return 128 + int(exit.Sys().(syscall.WaitStatus).Signal())
}
