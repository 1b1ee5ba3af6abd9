package agent

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Bounds of Job.Exec.
const (
	execTime     = 10 * time.Minute // how long a program may run
	execOutput   = 512 << 10        // bytes that are returned of each of its two outputs
	execProgress = 10 * time.Second // how often it is reported to run: the harness gives up a silent lab
)

// exec runs a program and returns its output. A program that fails is no error.
func (a *agent) exec(ctx context.Context, argv []string) (Output, error) {
	ctx, cancel := context.WithTimeout(ctx, execTime)
	defer cancel()
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
	var stdout, stderr head
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	close(stop)
	<-stopped
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return Output{}, fmt.Errorf("run %s: %w", argv[0], err)
	}
	return Output{Stdout: stdout.text(), Stderr: stderr.text(), Status: cmd.ProcessState.ExitCode()}, nil
}

// head keeps the first execOutput bytes that are written to it.
type head struct{ b []byte }

func (h *head) Write(b []byte) (int, error) {
	h.b = append(h.b, b[:min(len(b), execOutput-len(h.b))]...)
	return len(b), nil
}

// text returns what was kept, with "?" in place of bytes that are not UTF-8.
func (h *head) text() string { return strings.ToValidUTF8(string(h.b), "?") }
