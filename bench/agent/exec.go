package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/guests/lab/wire"
)

// execProgress is how often a program is reported to run: the harness gives up a silent
// lab.
const execProgress = 10 * time.Second

// endDelay is how long a program that is asked to end may take: a monitor detaches from its
// guest. So long is the output of a program that has ended waited for, too: a daemon that
// it has started may keep it open for ever.
const endDelay = 5 * time.Second

// program is a program that runs.
type program struct {
	end  context.CancelFunc // asks it to end, and kills it endDelay later
	done chan struct{}      // closed when it has ended
}

// running reports whether there is such a program, and it runs.
func (p *program) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// startProgram starts a program. Its answer is sent when it has ended.
func (a *agent) startProgram(ctx context.Context, argv []string) *program {
	ctx, cancel := context.WithCancel(ctx)
	p := &program{end: cancel, done: make(chan struct{})}
	go func() {
		defer cancel()
		e, err := a.exec(ctx, argv)
		close(p.done)
		// An error of the port is not lost: the port's reader sees it too.
		if err != nil {
			a.send(wire.KindError, Failure{Error: err.Error(), NoProgram: noProgram(err)})
		} else {
			a.send(wire.KindRecord, e)
		}
	}()
	return p
}

// exec runs a program and sends its output. A program that fails is no error. When ctx ends,
// the program and its children are asked to end with SIGTERM. Those that are left endDelay
// later are killed.
func (a *agent) exec(ctx context.Context, argv []string) (Exit, error) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(execProgress)
		defer tick.Stop()
		for {
			a.log.Info("run " + argv[0])
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = sender{a, wire.KindStdout}, sender{a, wire.KindStderr}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var asked time.Time // to end
	cmd.Cancel = func() error {
		asked = time.Now()
		return unix.Kill(-cmd.Process.Pid, unix.SIGTERM) // its children too
	}
	cmd.WaitDelay = endDelay
	err := cmd.Run()
	if !asked.IsZero() {
		endGroup(cmd.Process.Pid, asked.Add(endDelay))
	}
	close(stop)
	<-stopped
	if cmd.ProcessState == nil {
		return Exit{}, fmt.Errorf("run %s: %w", argv[0], err)
	}
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		return Exit{128 + int(status.Signal())}, nil
	}
	return Exit{cmd.ProcessState.ExitCode()}, nil
}

// endGroup waits for the end of a process group, and kills it at the deadline.
func endGroup(group int, deadline time.Time) {
	for unix.Kill(-group, 0) == nil {
		if time.Now().After(deadline) {
			unix.Kill(-group, unix.SIGKILL)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// noProgram reports whether a program could not be started because it is none.
func noProgram(err error) bool {
	return errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) ||
		errors.Is(err, unix.ENOEXEC)
}

// sender sends the output of a program.
type sender struct {
	a    *agent
	kind wire.Kind
}

func (s sender) Write(b []byte) (int, error) {
	if err := s.a.out.Write(s.kind, b); err != nil {
		return 0, fmt.Errorf("send to the harness: %w", err)
	}
	return len(b), nil
}
