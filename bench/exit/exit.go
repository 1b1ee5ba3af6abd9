// Package exit defines the exit statuses of the project's programs, and the errors and
// signals that lead to them.
package exit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"hangbench/cgo/xenctrl"
	"hangbench/guests/xl"
)

// Exit statuses.
const (
	Done        = 0   // everything ran and the result is good
	Failed      = 1   // everything ran and the result is bad
	Usage       = 2   // the command line or an input file is wrong
	Missing     = 3   // this host lacks something that the command needs
	Broken      = 4   // the infrastructure failed
	Interrupted = 130 // the user ended the command
)

// Signals returns the signals that ask this process to end. An interrupt or a hangup that
// was ignored when the process started, as nohup(1) and a shell's background jobs have it,
// is none of them: it stays ignored. Call it before the signals are caught.
func Signals() []os.Signal {
	asks := []os.Signal{unix.SIGTERM}
	for _, s := range []os.Signal{os.Interrupt, unix.SIGHUP} {
		if !signal.Ignored(s) {
			asks = append(asks, s)
		}
	}
	return asks
}

// UsageError is a mistake in the command line or in an input file.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the mistake.
func (e UsageError) Unwrap() error { return e.Err }

// Usagef returns a UsageError whose text fmt.Errorf makes.
func Usagef(format string, a ...any) error { return UsageError{fmt.Errorf(format, a...)} }

// MissingError is something that this host lacks.
type MissingError struct{ Err error }

func (e MissingError) Error() string { return e.Err.Error() }

// Unwrap returns what is missing.
func (e MissingError) Unwrap() error { return e.Err }

// ErrFailed is returned when everything ran and the result is bad. The command has
// already printed the reason.
var ErrFailed = errors.New("trials failed")

// ProgramError is the end of a program that the command has run for the user. The
// program has said why; its exit status becomes the command's.
type ProgramError struct{ Status int }

func (e ProgramError) Error() string {
	return fmt.Sprintf("the program ended with status %d", e.Status)
}

// Is makes it an ErrFailed: there is nothing to print.
func (e ProgramError) Is(target error) bool { return target == ErrFailed }

// Status returns the exit status for a command that returned err. A command that
// fails after ctx has ended was interrupted, unless its command line was wrong.
func Status(ctx context.Context, err error) int {
	var usage UsageError
	var missing MissingError
	var program ProgramError
	switch {
	case err == nil || errors.Is(err, pflag.ErrHelp):
		return Done
	case errors.As(err, &usage):
		return Usage
	case ctx.Err() != nil:
		return Interrupted
	case errors.As(err, &program):
		return program.Status
	case errors.Is(err, ErrFailed):
		return Failed
	case errors.As(err, &missing),
		errors.Is(err, xenctrl.ErrNotBuilt), errors.Is(err, xenctrl.ErrNoXen), errors.Is(err, xl.ErrNoXL):
		return Missing
	}
	return Broken
}
