package oldflag

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestOldNames(t *testing.T) {
	t.Parallel()
	const renamed = "hangbench: warning: --mechanisms is now --mechanism; the old name still works\n"
	for _, tc := range []struct {
		args  []string
		names string
		ms    int
		warns string
		fails string
	}{
		{args: []string{"--mechanism", "a", "--mechanism", "b,c"}, names: "[a b c]"},
		{args: []string{"--mechanisms", "a,b"}, names: "[a b]", warns: renamed},
		{args: []string{"--mechanisms=a", "--mechanisms", "b"}, names: "[a b]", warns: renamed},
		{args: []string{"--ms", "7"}, names: "[]", ms: 7,
			warns: "hangbench: warning: --ms is now --sample 100ms; the old name still works\n"},
		{args: []string{"--ms", "seven"}, fails: "no number"},
	} {
		var names []string
		var ms int
		f := pflag.NewFlagSet("test", pflag.ContinueOnError)
		f.StringSliceVar(&names, "mechanism", nil, "names")
		Rename(f, "mechanisms", "mechanism")
		Add(f, "ms", "--sample 100ms", func(v string) error {
			if _, err := fmt.Sscan(v, &ms); err != nil {
				return errors.New("no number")
			}
			return nil
		})
		if usage := f.FlagUsages(); strings.Contains(usage, "mechanisms") || strings.Contains(usage, "--ms") {
			t.Errorf("help shows a former name:\n%s", usage)
		}
		err := f.Parse(tc.args)
		if tc.fails != "" {
			if err == nil || !strings.Contains(err.Error(), tc.fails) {
				t.Errorf("%q: %v, want %q", tc.args, err, tc.fails)
			}
			continue
		}
		var w bytes.Buffer
		if werr := Warn(&w, f); err != nil || werr != nil {
			t.Errorf("%q: %v, %v", tc.args, err, werr)
		}
		if fmt.Sprint(names) != tc.names || ms != tc.ms || w.String() != tc.warns {
			t.Errorf("%q: %q, %d, %q", tc.args, names, ms, w.String())
		}
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("closed") }

func TestWarnError(t *testing.T) {
	t.Parallel()
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	Add(f, "old", "--new", func(string) error { return nil })
	if err := f.Parse([]string{"--old", "x"}); err != nil {
		t.Fatal(err)
	}
	if err := Warn(failing{}, f); err == nil {
		t.Error("the writer's error is lost")
	}
	if !slices.Equal(f.Args(), []string{}) {
		t.Error(f.Args())
	}
}
