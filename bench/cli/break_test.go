package cli

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/rogpeppe/go-internal/testscript"

	"hangbench/bench/exit"
)

// breakIDs has a line for each attempt to break the program that was made once: its name
// and, if TestBreak does not try it, why, or where it is tried.
//
//go:embed testdata/break.txt
var breakIDs string

// attempts counts attempts to break the program. Several goroutines may use it.
type attempts struct {
	mu     sync.Mutex
	failed map[string]string // of each attempt that was made; empty if the program was good
}

// note counts an attempt, which failed if err is not nil.
func (a *attempts) note(id string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, again := a.failed[id]
	switch {
	case again:
		a.failed[id] = "the name is there twice"
	case err != nil:
		a.failed[id] = err.Error()
	default:
		a.failed[id] = ""
	}
}

// end is how a command ended.
type end struct {
	status         int
	stdout, stderr string
}

// mostOutput is how much a command may print about bad input.
const mostOutput = 1 << 20

// check returns an error unless the command ended with one of the statuses, said each of
// the texts, and spoke as the program should: in sentences of its own, to the right place,
// without the words of Go and without what a terminal acts on.
func (e end) check(statuses []int, texts []string) error {
	said := e.stdout + e.stderr
	if !slices.Contains(statuses, e.status) {
		return fmt.Errorf("status %d, want %v: %.300s", e.status, statuses, e.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(said, text) {
			return fmt.Errorf("it does not say %q: %.500s", text, said)
		}
	}
	for _, word := range []string{"panic:", "goroutine ", "runtime error", "Go struct", "Go value", "bufio.", "!(EXTRA",
		"%!", "context canceled"} {
		if strings.Contains(said, word) {
			return fmt.Errorf("it says %q: %.500s", word, said)
		}
	}
	if i := strings.IndexFunc(said, func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' || r == unicode.ReplacementChar || unicode.Is(unicode.Bidi_Control, r)
	}); i >= 0 {
		return fmt.Errorf("it prints a control character: %.100q", said[i:])
	}
	if len(said) > mostOutput {
		return fmt.Errorf("it prints %d bytes", len(said))
	}
	refused := e.status == exit.Usage
	if refused && e.stdout != "" {
		return fmt.Errorf("a refusal prints to standard output: %.300s", e.stdout)
	}
	if refused && !strings.HasPrefix(e.stderr, "hangbench: ") {
		return fmt.Errorf("standard error does not say who speaks: %.300s", e.stderr)
	}
	return nil
}

// TestBreak tries to break the program: with wrong command lines, suites, runs and
// environments. Most of it is what was tried when the program was young; testdata/break.txt
// has the whole list. The last line that is logged says how many of it were tried and good.
func TestBreak(t *testing.T) {
	if raced {
		t.Skip("make test tries to break the program without the race detector, by make break")
	}
	t.Parallel()
	all := attempts{failed: map[string]string{}}
	t.Run("suites", func(t *testing.T) { breakSuites(t, &all) })
	t.Run("runs", func(t *testing.T) { breakRuns(t, &all) })
	t.Run("scripts", func(t *testing.T) {
		files, err := filepath.Glob(filepath.Join("testdata", "script", "break-*.txtar"))
		if err != nil {
			t.Fatal(err)
		}
		runScripts(t, files, map[string]func(*testscript.TestScript, bool, []string){
			"try":   func(ts *testscript.TestScript, neg bool, args []string) { scriptTry(ts, neg, &all, false, args) },
			"trysh": func(ts *testscript.TestScript, neg bool, args []string) { scriptTry(ts, neg, &all, true, args) },
		})
	})
	good := 0
	for id, failure := range all.failed {
		if failure == "" {
			good++
		} else {
			t.Errorf("%s: %s", id, failure)
		}
	}
	elsewhere, none := "?", "?"
	if !t.Failed() { // else a script may have ended early
		e, n := checkListed(t, &all)
		elsewhere, none = strconv.Itoa(e), strconv.Itoa(n)
	}
	t.Logf("%d attempts are listed: %d tried now, of which %d good and %d wrong; %s are what other tests try, "+
		"%s are tried nowhere, for the reasons in the list", strings.Count(breakIDs, "\n"), len(all.failed), good,
		len(all.failed)-good, elsewhere, none)
}

// checkListed compares the attempts with the list of those that are to be made. It returns
// how many of the list other tests try, and how many none does.
func checkListed(t *testing.T, all *attempts) (elsewhere, none int) {
	t.Helper()
	listed := map[string]bool{}
	conditions := map[string]string{"as root": "root", "with mounts": "mounts"}
	for line := range strings.Lines(breakIDs) {
		id, why, _ := strings.Cut(strings.TrimSpace(line), " ")
		_, tried := all.failed[id]
		listed[id] = true
		switch {
		case tried && why == "":
		case !tried && strings.HasPrefix(why, "in "):
			elsewhere++
		case !tried && strings.HasPrefix(why, "not "):
			none++
		case conditions[why] != "":
			can, err := condition(conditions[why])
			if err != nil || tried != can {
				t.Errorf("testdata/break.txt: %s: tried here %v, it says %q (%v)", id, tried, why, err)
			}
			if !tried {
				none++
			}
		default:
			t.Errorf("testdata/break.txt: %s: tried here %v, it says %q", id, tried, why)
		}
	}
	for id := range all.failed {
		if !listed[id] {
			t.Errorf("%s is tried and is not in testdata/break.txt", id)
		}
	}
	return elsewhere, none
}

// scriptTry is the command of a script
//
//	try ID STATUS TEXT... -- ARGUMENT...
//
// which runs hangbench and counts an attempt. STATUS may be several, with bars between
// them. The script goes on if the attempt fails. With shell, the one ARGUMENT is a command
// of a shell, whose standard output and error are judged.
func scriptTry(ts *testscript.TestScript, neg bool, all *attempts, shell bool, args []string) {
	i := slices.Index(args, "--")
	if neg || i < 2 || len(args) == i+1 || shell && len(args) != i+2 {
		ts.Fatalf("usage: try ID STATUS TEXT... -- ARGUMENT...")
	}
	var statuses []int
	for s := range strings.SplitSeq(args[1], "|") {
		n, err := strconv.Atoi(s)
		ts.Check(err)
		statuses = append(statuses, n)
	}
	program, argv := ts.Getenv("HANGBENCH"), args[i+1:]
	if shell {
		program, argv = "sh", []string{"-c", args[i+1]}
	}
	e := end{}
	if err := ts.Exec(program, argv...); err != nil {
		var ended *exec.ExitError
		if !errors.As(err, &ended) {
			ts.Fatalf("%v", err)
		}
		e.status = ended.ExitCode()
	}
	e.stdout, e.stderr = ts.ReadFile("stdout"), ts.ReadFile("stderr")
	all.note(args[0], e.check(statuses, args[2:i]))
}

// attempt runs a command line in this process.
func attempt(t *testing.T, args ...string) end {
	t.Helper()
	status, stdout, stderr := hangbench(t, args...)
	return end{status, stdout, stderr}
}

// TestCheckEnd: the judge of the attempts finds what it is for.
func TestCheckEnd(t *testing.T) {
	t.Parallel()
	good := end{2, "", "hangbench: x.yaml:3: wrong\n"}
	if err := good.check([]int{0, 2}, []string{"wrong"}); err != nil {
		t.Error(err)
	}
	for _, bad := range []end{
		{4, "", good.stderr}, {2, "", "hangbench: x.yaml:3: bad\n"}, {2, "table\n", good.stderr}, {2, "", "wrong\n"},
		{0, "wrong \x1b[31m", ""}, {0, "wrong \u202e", ""}, {0, "wrong \xff", ""}, {0, "wrong\r", ""},
		{2, "", "hangbench: wrong\npanic: x\n"}, {2, "", "hangbench: wrong: Go struct field\n"},
		{0, "wrong" + strings.Repeat("x", mostOutput), ""},
	} {
		if bad.check([]int{0, 2}, []string{"wrong"}) == nil {
			t.Errorf("%.200v passes", bad)
		}
	}
}

// TestBreakList: the list of attempts has each once, and the tests that it names are there.
func TestBreakList(t *testing.T) {
	t.Parallel()
	seen, tests := map[string]bool{}, map[string]bool{}
	for s := bufio.NewScanner(strings.NewReader(breakIDs)); s.Scan(); {
		id, why, _ := strings.Cut(s.Text(), " ")
		if seen[id] || id == "" {
			t.Errorf("%q is there twice, or empty", id)
		}
		seen[id] = true
		if where, ok := strings.CutPrefix(why, "in "); ok {
			tests[where] = true
		}
	}
	for where := range tests {
		dir, name, _ := strings.Cut(where, " ")
		files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(dir), "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(files, func(file string) bool {
			text, err := os.ReadFile(file)
			return err == nil && strings.Contains(string(text), "\nfunc "+name+"(")
		}) {
			t.Errorf("there is no test %s in %s", name, dir)
		}
	}
	if want := 530 + 93; len(seen) != want { // at first, and those that came later
		t.Errorf("%d attempts are listed; %d were made", len(seen), want)
	}
}
