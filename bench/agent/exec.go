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

// outputDelay is how long the output of a program that has ended is waited for. A
// daemon that it has started may keep it open for ever.
const outputDelay = 2 * time.Second

// program is a program that runs.
type program struct {
	end  context.CancelFunc // kills it
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

// exec runs a program and sends its output. A program that fails is no error.
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
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) } // its children too
	cmd.WaitDelay = outputDelay
	err := cmd.Run()
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
