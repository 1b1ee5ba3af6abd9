package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/bench/dom0cmd"
	"hangbench/bench/exit"
)

// settle is the time within which several signals are one: timeout(1) sends its signal
// to the program and to its process group.
const settle = 500 * time.Millisecond

// WithSignals returns a context that ends with the first of exit.Signals. The second one
// ends the process at once. SIGQUIT is left to Go, which prints what the goroutines do.
func WithSignals(ctx context.Context, stderr io.Writer) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, exit.Signals()...)
	go func() {
		twice(signals, func() {
			fmt.Fprintln(stderr, "\nhangbench: interrupted, cleaning up; once more to stop at once")
			cancel()
		})
		// Emulators end with this process, by the kernel's hand.
		os.Exit(exit.Interrupted)
	}()
	return ctx
}

// twice calls first at the first signal and returns at the second. A signal that comes
// less than settle after the first belongs to it.
func twice(signals <-chan os.Signal, first func()) {
	<-signals
	begun := time.Now()
	first()
	for range signals {
		if time.Since(begun) >= settle {
			return
		}
	}
}

// interruptedError is the end of a command that a signal ended. Its text is a sentence
// that says what is kept and how to go on.
type interruptedError struct{ text string }

func (e interruptedError) Error() string { return e.text }

// spaceError is the error of a full disk whose text says what to do.
type spaceError struct{ error }

func (e spaceError) Unwrap() error { return e.error }

// explainEnd replaces the error of a command that a signal ended: what failed because
// the context ended is no news. Mistakes of the user stay, and what went wrong with a guest
// that was watched. Of a full disk it says what to do, unless the error says so itself.
func (a *app) explainEnd(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() == nil && signalled(err) {
		select { // the signal came to the whole process group, and a program ended before we heard it
		case <-ctx.Done():
		case <-time.After(settle):
		}
	}
	if told := (spaceError{}); ctx.Err() == nil && noSpace(err) && !errors.As(err, &told) {
		return spaceError{fmt.Errorf("%w: free some, then give the command again", err)}
	}
	if ctx.Err() == nil {
		return err
	}
	var usage exit.UsageError
	var told interruptedError
	var watched dom0cmd.WatchedError
	if errors.As(err, &usage) || errors.As(err, &told) || errors.As(err, &watched) {
		return err
	}
	a.log.Debug("interrupted", "error", err)
	if a.cache != "" {
		return interruptedError{fmt.Sprintf("interrupted; what was fetched and built is kept in %s; "+
			"to go on, give the command again", a.cache)}
	}
	return interruptedError{"interrupted; to go on, give the command again"}
}

// signalled reports whether a program was ended by a signal that asks to end.
func signalled(err error) bool {
	var ended *exec.ExitError
	if !errors.As(err, &ended) {
		return false
	}
	status, ok := ended.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && slices.Contains([]syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP},
		status.Signal())
}

// readInput calls f, which reads what the user names, and returns its value. An error of
// f is a mistake of the user. readInput does not wait for f if ctx ends first: a file may
// be very large, or on a disk that does not answer.
func readInput[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	c := make(chan answer, 1)
	go func() {
		v, err := f()
		c <- answer{v, err}
	}()
	var got answer
	select {
	case got = <-c:
	case <-ctx.Done():
		return got.value, ctx.Err()
	}
	if got.err != nil {
		return got.value, exit.UsageError{Err: got.err}
	}
	return got.value, nil
}
