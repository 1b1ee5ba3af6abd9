package bochs

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Exit statuses of the shim, equal to those in shim.c.
const (
	exitShim   = 90 // the reason is on the status line
	exitOrphan = 91 // the other end of com2 was closed
)

// ExitError reports how the emulator ended.
type ExitError struct {
	// Status is the exit status, or -1 if a signal ended the process.
	Status int
	// Signal is the signal that ended the process, or 0.
	Signal syscall.Signal
	// Shim is the reason that the preloaded library gave, or empty.
	Shim string
}

func (e *ExitError) Error() string {
	switch {
	case e.Shim != "":
		return "the emulator gave up: " + e.Shim
	case e.Signal != 0:
		return fmt.Sprintf("the emulator was ended by signal %d (%v)", int(e.Signal), e.Signal)
	case e.Status == exitOrphan:
		return "the emulator ended because its serial port com2 was closed"
	case e.Status == 0:
		return "the emulator ended although nobody asked it to"
	}
	return fmt.Sprintf("the emulator ended with status %d", e.Status)
}

// exitError returns the [*ExitError] of an ended process, or nil for status 0.
func exitError(state *os.ProcessState, shim string) error {
	status, ok := state.Sys().(syscall.WaitStatus)
	switch {
	case ok && status.Signaled():
		return &ExitError{Status: -1, Signal: status.Signal(), Shim: shim}
	case state.ExitCode() != 0 || shim != "":
		return &ExitError{Status: state.ExitCode(), Shim: shim}
	}
	return nil
}

// Failure is an error of a running machine, with the ends of its logs.
type Failure struct {
	// Op names what was attempted, such as "wait for the agent".
	Op string
	// Err is the reason: an [*ExitError], the context's cause, or an error of the
	// serial line.
	Err error
	// Dir is the run's folder, with the complete logs.
	Dir string
	// Panics are the last panics of the emulator itself.
	Panics []string
	// Console, Log and Output are the last lines of the machine's console, of the
	// emulator's log, and of the emulator's standard output and error.
	Console, Log, Output []string
}

// full reports whether hardly anything can be written to the file system of a folder. The
// emulator needs less than 1 MiB for its logs; it ends, or goes on without them, when it
// cannot write.
func full(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && int64(st.Bavail)*st.Bsize < 1<<20
}

// failure returns a Failure with the ends of the logs in a run's folder. Its reason wraps
// unix.ENOSPC if the disk is full.
func failure(dir, op string, err error) *Failure {
	const few, some = 3, 20
	if full(dir) {
		err = fmt.Errorf("%w: %w", err, unix.ENOSPC)
	}
	f := &Failure{Op: op, Err: err, Dir: dir}
	for _, name := range []string{outputLog, emulatorLog} { // before it opens its log, it writes panics to its output
		f.Panics = append(f.Panics, panics(filepath.Join(dir, name), few)...)
	}
	f.Console = tail(filepath.Join(dir, ConsoleLog), some)
	f.Log = tail(filepath.Join(dir, emulatorLog), some)
	f.Output = tail(filepath.Join(dir, outputLog), some)
	return f
}

// Error returns one sentence with the operation, the reason, and the emulator's last
// panic or, without one, the last line of the console or of the output.
func (f *Failure) Error() string {
	s := fmt.Sprintf("%s: %v", f.Op, f.Err)
	switch {
	case len(f.Panics) > 0:
		s += fmt.Sprintf("; the emulator's panic: %s", f.Panics[len(f.Panics)-1])
	case len(f.Console) > 0:
		s += fmt.Sprintf("; the console's last line: %s", f.Console[len(f.Console)-1])
	case len(f.Output) > 0:
		s += fmt.Sprintf("; the emulator's last line: %s", f.Output[len(f.Output)-1])
	}
	return s + fmt.Sprintf(" (logs in %s)", f.Dir)
}

// Unwrap returns the reason.
func (f *Failure) Unwrap() error { return f.Err }
