package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hangbench/bench/exit"
	"hangbench/bench/plan"
	"hangbench/guests/lab/debian"
)

// testEnv is a world of two buffers without environment variables, whose clock
// gains a second at each look.
func testEnv() (env *Env, stdout, stderr *bytes.Buffer) {
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	now := madeUpStart
	return &Env{
		Stdout: stdout, Stderr: stderr, Getenv: func(string) string { return "" },
		Now: func() time.Time { now = now.Add(time.Second); return now },
	}, stdout, stderr
}

// hangbench runs a command line in this process.
func hangbench(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	env, out, errs := testEnv()
	status = Main(t.Context(), env, args)
	return status, out.String(), errs.String()
}

// allCommands calls f for every command of the tree.
func allCommands(c *cobra.Command, f func(c *cobra.Command)) {
	f(c)
	for _, sub := range c.Commands() {
		allCommands(sub, f)
	}
}

// TestMissingInput: a file or folder that the user names and that is not there is told in
// one sentence with the remedy.
func TestMissingInput(t *testing.T) {
	t.Parallel()
	gone, here := filepath.Join(t.TempDir(), "gone"), "cli_test.go"
	for _, args := range [][]string{
		{"timeline", gone + ".jsonl"}, {"timeline", gone + ".jsonl", "--record", gone}, {"check", gone + ".yaml"},
		{"run", gone + ".yaml"}, {"report", gone}, {"export", gone}, {"resume", gone}, {"compare", gone, gone},
		{"compare", reference, gone}, {"kernel", "check", gone}, {"run", "quick", "--kernel", "file:" + gone},
		{"run", "quick", "--kernel", "file:" + here + "," + gone}, {"lab", "build", "--kernel", "file:" + gone},
	} {
		status, out, errs := hangbench(t, args...)
		if status != exit.Usage || out != "" || strings.Count(errs, "\n") != 1 ||
			!strings.Contains(errs, gone) || !strings.Contains(errs, ": no such file or directory: check the path") {
			t.Errorf("%q: status %d\n%s%s", args, status, out, errs)
		}
	}
}

// TestHelp: every command has help, by three ways, that names its flags and no
// hidden one, and no line of it is longer than 120 columns.
func TestHelp(t *testing.T) {
	t.Parallel()
	env, _, _ := testEnv()
	_, root := newApp(env, nil)
	n := 0
	allCommands(root, func(c *cobra.Command) {
		n++
		path := strings.Fields(c.CommandPath())[1:]
		status, help, stderr := hangbench(t, append(path, "--help")...)
		if status != exit.Done || stderr != "" || !strings.HasPrefix(help, "usage: "+c.CommandPath()+" ") {
			t.Errorf("%q: status %d, stderr %q, stdout\n%s", path, status, stderr, help)
		}
		for _, args := range [][]string{append(path, "-h"), append([]string{"help"}, path...)} {
			if status, other, stderr := hangbench(t, args...); status != exit.Done || stderr != "" || other != help {
				t.Errorf("%q: status %d, stderr %q, stdout\n%s", args, status, stderr, other)
			}
		}
		for line := range strings.Lines(help) {
			if len(line) > 121 {
				t.Errorf("%q: %d columns: %s", path, len(line)-1, line)
			}
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if shown := strings.Contains(help, "--"+f.Name); shown == f.Hidden {
				t.Errorf("%q: flag %s: hidden %v, in the help %v", path, f.Name, f.Hidden, shown)
			}
			if f.Usage == "" {
				t.Errorf("%q: flag %s has no description", path, f.Name)
			}
		})
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || !strings.ContainsAny(c.Long[len(c.Long)-1:], ".)") {
			t.Errorf("%q: summary %q, text %q", path, c.Short, c.Long)
		}
	})
	if n < 25 {
		t.Errorf("only %d commands", n)
	}
}

// TestCompletions: the flags that complete do so without an error.
func TestCompletions(t *testing.T) {
	t.Parallel()
	env, _, _ := testEnv()
	_, root := newApp(env, nil)
	n := 0
	allCommands(root, func(c *cobra.Command) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			with, ok := c.GetFlagCompletionFunc(f.Name)
			if !ok {
				return
			}
			n++
			names, directive := with(c, nil, "")
			none := len(names) == 0 && directive != cobra.ShellCompDirectiveFilterDirs
			if directive&cobra.ShellCompDirectiveError != 0 || none {
				t.Errorf("%s --%s: %q, directive %d", c.CommandPath(), f.Name, names, directive)
			}
		})
	})
	if n < 30 {
		t.Errorf("only %d flags complete", n)
	}
}

func TestExitStatus(t *testing.T) {
	t.Parallel()
	live := context.Background()
	ended, cancel := context.WithCancel(live)
	cancel()
	wrap := func(err error) error { return fmt.Errorf("attempt: %w", errors.Join(err)) }
	for _, tc := range []struct {
		name string
		ctx  context.Context
		err  error
		want int
	}{
		{"done", live, nil, exit.Done},
		{"done before it could be interrupted", ended, nil, exit.Done},
		{"failed trials", live, wrap(exit.ErrFailed), exit.Failed},
		{"usage, interrupted", ended, exit.Usagef("wrong"), exit.Usage},
		{"missing tool", live, wrap(&debian.MissingToolError{Tool: "apt-get"}), exit.Missing},
		{"missing tool, interrupted", ended, wrap(&debian.MissingToolError{Tool: "apt-get"}), exit.Interrupted},
		{"broken", live, errors.New("disk is full"), exit.Broken},
		{"interrupted", ended, wrap(context.Canceled), exit.Interrupted},
		{"interrupted, whatever came of it", ended, errors.New("emulator was killed"), exit.Interrupted},
		{"a deadline of our own", live, wrap(context.DeadlineExceeded), exit.Broken},
	} {
		if got := exitStatus(tc.ctx, tc.err); got != tc.want {
			t.Errorf("%s: status %d, want %d", tc.name, got, tc.want)
		}
	}
}

// TestCheckJSON: the JSON is the plan itself: it reads back as the trials that run.
func TestCheckJSON(t *testing.T) {
	t.Parallel()
	_, stdout, _ := hangbench(t, "check", "ci", "--json", "--seed", "5")
	var got struct {
		Schema int
		Suite  string
		Seed   uint64
		Trials []plan.Trial
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	s, err := loadSuite(t.Context(), "ci")
	if err != nil {
		t.Fatal(err)
	}
	want := plan.Expand(s, 5)
	if got.Schema != 2 || got.Suite != "ci" || got.Seed != 5 || !reflect.DeepEqual(got.Trials, want) {
		t.Errorf("check --json reads back as %+v, want the trials %+v", got, want)
	}
}

// TestVerbose: details are shown with --verbose only, wherever on the command line it
// stands.
func TestVerbose(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"list suites": "", "-v list suites": "a detail of=everything\n", "list suites --verbose": "a detail of=everything\n",
	} {
		env, _, stderr := testEnv()
		a, root := newApp(env, strings.Fields(line))
		if err := root.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.log.Debug("a detail", "of", "everything")
		if stderr.String() != want {
			t.Errorf("%s: %q, want %q", line, stderr.String(), want)
		}
	}
}

func TestWrap(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                             "",
		"one":                          "one",
		"one two three four":           "one two\nthree four",
		"one  two\nthree":              "one two\nthree",
		"a-word-longer-than-it and so": "a-word-longer-than-it\nand so",
		"first part\n\nsecond part":    "first part\n\nsecond\npart",
	} {
		if got := wrap(text, 10); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
