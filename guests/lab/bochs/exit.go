package bochs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// The exit statuses that are the shim's own. shim.c knows them too.
const (
	exitShim   = 90 // it said why on the status line
	exitOrphan = 91 // the other end of com2 was closed
)

// ExitError says how the emulator ended.
type ExitError struct {
	// Status is the exit status, -1 when Signal ended it.
	Status int
	// Signal is the signal that ended it, 0 if none did.
	Signal syscall.Signal
	// Shim is what the preloaded library had to say, empty if nothing.
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

// exitError reads how a process ended; nil stands for status 0.
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

// Failure is anything that went wrong with a running machine, with what is
// needed to find out why.
type Failure struct {
	// Op is what was attempted, such as "wait for the agent".
	Op string
	// Err is how it failed: an [*ExitError], the context's cause, an error of the
	// serial line.
	Err error
	// Dir is the run's folder, with the complete logs.
	Dir string
	// Panics are the last panics of the emulator itself.
	Panics []string
	// Console, Log and Output are the last lines of [ConsoleLog], [EmulatorLog]
	// and [OutputLog].
	Console, Log, Output []string
}

// failure collects the evidence in a run's folder.
func failure(dir, op string, err error) *Failure {
	const few, some = 3, 20
	f := &Failure{Op: op, Err: err, Dir: dir}
	for _, name := range []string{OutputLog, EmulatorLog} { // the log may not be open yet
		f.Panics = append(f.Panics, panics(filepath.Join(dir, name), few)...)
	}
	f.Console = tail(filepath.Join(dir, ConsoleLog), some)
	f.Log = tail(filepath.Join(dir, EmulatorLog), some)
	f.Output = tail(filepath.Join(dir, OutputLog), some)
	return f
}

// Error says in one sentence what failed, and what the emulator or, failing
// that, the machine's console said last.
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

// Unwrap returns the error that is at the bottom of it.
func (f *Failure) Unwrap() error { return f.Err }

// Detail is the evidence as text of several lines, for a person.
func (f *Failure) Detail() string {
	var b strings.Builder
	for _, part := range []struct {
		name  string
		lines []string
	}{
		{"panics of the emulator", f.Panics},
		{"end of the machine's console", f.Console},
		{"end of the emulator's log", f.Log},
		{"end of the emulator's output", f.Output},
	} {
		if len(part.lines) > 0 {
			fmt.Fprintf(&b, "%s:\n  %s\n", part.name, strings.Join(part.lines, "\n  "))
		}
	}
	return b.String()
}
