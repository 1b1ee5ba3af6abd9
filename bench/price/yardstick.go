package price

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"hangbench/bench/price/event"
)

// yardstickLimit is the longest time that a C loop runs if its parent dies, in seconds.
const yardstickLimit = 600

// process is a running C loop: an event.Loop.
type process struct {
	cmd    *exec.Cmd
	out    io.Reader
	stderr *strings.Builder
	result result
}

// result is what a C loop prints at its end.
type result struct {
	Events uint64 `json:"events"`
	// Stamps are the times of the first turns, of the time-stamp counter: at the return of
	// the wait, when the requests were taken, when they were answered, and when Xen was told.
	Stamps [][]uint64 `json:"stamps"`
}

// mostResult bounds the result in bytes: a stamp has at most 85.
const mostResult = 1<<10 + 85*maxStamps

// readResult reads the result of a C loop.
func readResult(r io.Reader) (result, error) {
	var res result
	if err := json.NewDecoder(io.LimitReader(r, mostResult)).Decode(&res); err != nil {
		return result{}, err
	}
	for i, s := range res.Stamps {
		if len(s) != 4 {
			return result{}, fmt.Errorf("stamp %d has %d times, not 4", i, len(s))
		}
	}
	return res, nil
}

// startYardstick starts the C loop at path and waits until it is armed. The loop records
// the times of its first turns, at most stamps of them.
func (g *guest) startYardstick(ctx context.Context, path, mechanism string, stamps int) (*process, error) {
	cmd := exec.CommandContext(ctx, path, mechanism, strconv.Itoa(g.Domid), strconv.FormatUint(g.site.GFN, 16),
		strconv.FormatUint(g.site.VA>>12, 16), strconv.Itoa(yardstickLimit), strconv.Itoa(stamps))
	// An interrupt and not a kill: the loop has to detach from the guest.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	// It has no journal. If this process is killed, it detaches from the guest itself.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	stderr := &strings.Builder{}
	cmd.Stderr = stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the yardstick: %w", err)
	}
	const armed = "armed\n"
	line := make([]byte, len(armed))
	_, err = io.ReadFull(pipe, line)
	if err == nil && string(line) != armed {
		err = errors.Join(fmt.Errorf("it printed %q", line), cmd.Process.Signal(os.Interrupt))
	}
	if err != nil {
		werr := cmd.Wait() // its standard error is complete after that
		return nil, fmt.Errorf("yardstick: it was not armed: %w: %s", errors.Join(err, werr),
			strings.TrimSpace(stderr.String()))
	}
	return &process{cmd: cmd, out: pipe, stderr: stderr}, nil
}

// Stop ends the loop.
func (q *process) Stop() (event.Counts, error) {
	if err := q.cmd.Process.Signal(os.Interrupt); err != nil {
		return event.Counts{}, fmt.Errorf("stop the yardstick: %w", err)
	}
	var derr error
	q.result, derr = readResult(q.out)
	if err := q.cmd.Wait(); err != nil {
		return event.Counts{}, fmt.Errorf("yardstick: %w: %s", err, strings.TrimSpace(q.stderr.String()))
	}
	if derr != nil {
		return event.Counts{}, fmt.Errorf("yardstick: read its result: %w", derr)
	}
	return event.Counts{Events: q.result.Events}, nil
}

// stamps returns the instants that the loop took, once it has ended.
func (q *process) stamps() []event.Instant {
	var all []event.Instant
	for _, s := range q.result.Stamps {
		all = append(all, event.Instant{TSC: s[0], Kind: event.Woke}, event.Instant{TSC: s[0], Kind: event.CallBegin},
			event.Instant{TSC: s[1], Kind: event.CallEnd}, event.Instant{TSC: s[2], Kind: event.Sleeps})
	}
	return all
}
