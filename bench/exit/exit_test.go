package exit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/spf13/pflag"

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
