package exit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"hangbench/cgo/xenctrl"
	"hangbench/guests/xl"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	broken := errors.New("the disk is full")
	for _, c := range []struct {
		name string
		ctx  context.Context
		err  error
		want int
	}{
		{"nothing went wrong", ended, nil, Done},
		{"help", t.Context(), pflag.ErrHelp, Done},
		{"usage", t.Context(), fmt.Errorf("run: %w", Usagef("--jobs %d", 0)), Usage},
		{"usage, and then interrupted", ended, Usagef("--jobs 0"), Usage},
		{"interrupted", ended, broken, Interrupted},
		{"a bad result", t.Context(), fmt.Errorf("judge: %w", ErrFailed), Failed},
		{"a program's own", t.Context(), fmt.Errorf("run it: %w", ProgramError{130}), 130},
		{"missing", t.Context(), fmt.Errorf("open: %w", MissingError{broken}), Missing},
		{"built without Xen", t.Context(), fmt.Errorf("open: %w", xenctrl.ErrNotBuilt), Missing},
		{"no Xen", t.Context(), fmt.Errorf("open: %w", xenctrl.ErrNoXen), Missing},
		{"no xl", t.Context(), fmt.Errorf("open: %w", xl.ErrNoXL), Missing},
		{"anything else", t.Context(), broken, Broken},
	} {
		if got := Status(c.ctx, c.err); got != c.want {
			t.Errorf("%s: status %d, want %d", c.name, got, c.want)
		}
	}
}

// TestErrors: both kinds of error print and unwrap as what they wrap.
func TestErrors(t *testing.T) {
	t.Parallel()
	for _, err := range []error{UsageError{io.EOF}, MissingError{io.EOF}, Usagef("%w", io.EOF)} {
		if err.Error() != "EOF" || !errors.Is(err, io.EOF) {
			t.Errorf("%T: %v", err, err)
		}
	}
}

// TestSignals: a signal that was ignored when the process started does not ask it to end.
func TestSignals(t *testing.T) {
	t.Parallel()
	const asked = "HANGBENCH_TEST_SIGNALS"
	if os.Getenv(asked) != "" {
		fmt.Println("asks:", Signals())
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Under nohup the tests ignore SIGHUP, and so would what they start.
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, os.Interrupt, unix.SIGHUP)
	t.Cleanup(func() { signal.Stop(heard) })
	for ignored, want := range map[string]string{"EXIT": "[terminated interrupt hangup]", "HUP": "[terminated interrupt]",
		"INT": "[terminated hangup]", "HUP INT": "[terminated]"} {
		c := exec.CommandContext(t.Context(), "sh", "-c", `trap "" `+ignored+`; exec "$0" -test.run=^TestSignals$`, exe)
		c.Env = append(os.Environ(), asked+"=1")
		out, err := c.Output()
		if err != nil || !strings.Contains(string(out), "asks: "+want+"\n") {
			t.Errorf("%q is ignored: %s (%v), want %s", ignored, out, err, want)
		}
	}
}
