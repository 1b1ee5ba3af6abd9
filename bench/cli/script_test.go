package cli

import (
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/perf/benchfmt"

	"hangbench/bench/exit"
	"hangbench/cgo/require"
	"hangbench/cgo/xenctrl"
	"hangbench/results"
)

var update = flag.Bool("update", false, "rewrite the files in the scripts and the tables in documents")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"hangbench": func() {
		os.Exit(Main(WithSignals(context.Background(), os.Stderr), ProcessEnv(), os.Args[1:]))
	}, "hangbench-waits": waits})
}

// TestScripts runs the scripts in testdata/script. Beside testscript's own commands
// they have:
//
//	fails STATUS TEXT... -- ARGUMENT...  hangbench ends with the status, prints nothing
//	                                     to standard output, and each text, which need
//	                                     be no pattern, to standard error
//	says TEXT..., warns TEXT...          the last standard output, error has each text
//	madeup DIR [TRIALS [CHANGE]]         makes a made-up run: see madeUpChanges
//	csv ROWS FILE                        a file, or stdout, is CSV of at least so many rows
//	benchfmt N                           the last standard output is N Go benchmark results
//	sh COMMAND                           looks at files and edits them with the shell
//
// and the conditions [dom0], [root] and [mounts]. HANGBENCH is the program's path, REPO that
// of the repository.
func TestScripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasPrefix(filepath.Base(f), "break-") })
	runScripts(t, files, nil) // TestBreak runs the others
}

// runScripts runs scripts. They have more commands than those of TestScripts.
func runScripts(t *testing.T, files []string, more map[string]func(*testscript.TestScript, bool, []string)) {
	t.Helper()
	program := scriptProgram(t)
	repo, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	commands := map[string]func(*testscript.TestScript, bool, []string){
		"fails": scriptFails, "madeup": scriptMadeUp, "csv": scriptCSV, "benchfmt": scriptBenchfmt,
		"says":  func(ts *testscript.TestScript, neg bool, args []string) { scriptHas(ts, "stdout", neg, args) },
		"warns": func(ts *testscript.TestScript, neg bool, args []string) { scriptHas(ts, "stderr", neg, args) },
		"sh": func(ts *testscript.TestScript, _ bool, args []string) {
			ts.Check(ts.Exec("sh", append([]string{"-ec"}, args...)...))
		},
	}
	maps.Copy(commands, more)
	testscript.Run(t, testscript.Params{
		Files:               files,
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HANGBENCH", program)
			env.Setenv("PATH", filepath.Dir(program)+string(filepath.ListSeparator)+env.Getenv("PATH"))
			env.Setenv("REPO", repo)
			return nil
		},
		Condition: condition,
		Cmds:      commands,
	})
}

// scriptProgram returns the path of the program that scripts start. With the race detector
// it would be ten times slower, so it is built without: the detector sees the same code in
// the tests that call Main, and in those of signals, which start this test program.
func scriptProgram(t *testing.T) string {
	t.Helper()
	if raced {
		program := filepath.Join(t.TempDir(), "hangbench")
		build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", program,
			"hangbench/bench/cmd/hangbench")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			require.Missing(t, require.Go, "build the program of the scripts: %v\n%s", err, out)
		}
		return program
	}
	program, err := exec.LookPath("hangbench")
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// condition is a condition of a script.
func condition(name string) (bool, error) {
	if name == "root" {
		return os.Geteuid() == 0, nil
	}
	if name == "mounts" {
		return exec.Command("unshare", "-m", "true").Run() == nil, nil
	}
	if name != "dom0" {
		return false, errors.New("there is no condition " + name)
	}
	xen, err := xenctrl.Open()
	if err != nil {
		return false, nil
	}
	return true, xen.Close()
}

func scriptFails(ts *testscript.TestScript, neg bool, args []string) {
	i := slices.Index(args, "--")
	if neg || i < 1 {
		ts.Fatalf("usage: fails STATUS TEXT... -- ARGUMENT...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	status := exit.Done
	if err := ts.Exec(ts.Getenv("HANGBENCH"), args[i+1:]...); err != nil {
		var ended *exec.ExitError
		if !errors.As(err, &ended) {
			ts.Fatalf("%v", err)
		}
		status = ended.ExitCode()
	}
	if status != want {
		ts.Fatalf("status %d, want %d", status, want)
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("a failure prints to standard output")
	}
	if !strings.HasPrefix(ts.ReadFile("stderr"), "hangbench: ") {
		ts.Fatalf("standard error does not say who speaks")
	}
	scriptHas(ts, "stderr", false, args[1:i])
}

// scriptHas fails unless the output has each text, or with neg if it has one.
func scriptHas(ts *testscript.TestScript, output string, neg bool, texts []string) {
	got := ts.ReadFile(output)
	if len(texts) == 0 {
		ts.Fatalf("no text to look for")
	}
	for _, text := range texts {
		if strings.Contains(got, text) == neg {
			ts.Fatalf("%s: %q: found %v", output, text, !neg)
		}
	}
}

func scriptCSV(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: csv ROWS FILE")
	}
	least, err := strconv.Atoi(args[0])
	ts.Check(err)
	rows, err := csv.NewReader(strings.NewReader(ts.ReadFile(args[1]))).ReadAll()
	ts.Check(err)
	if len(rows) < least {
		ts.Fatalf("%d rows, want %d or more", len(rows), least)
	}
}

func scriptBenchfmt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: benchfmt N")
	}
	n := 0
	for r := benchfmt.NewReader(strings.NewReader(ts.ReadFile("stdout")), "export"); r.Scan(); {
		switch rec := r.Result().(type) {
		case *benchfmt.Result:
			n++
		case *benchfmt.SyntaxError:
			ts.Fatalf("%v", rec)
		}
	}
	if strconv.Itoa(n) != args[0] {
		ts.Fatalf("%d results, want %s", n, args[0])
	}
}

func scriptMadeUp(ts *testscript.TestScript, neg bool, args []string) {
	n, change := len(madeUpPlan()), "none"
	if len(args) > 1 {
		var err error
		n, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	if len(args) > 2 {
		change = args[2]
	}
	if neg || len(args) < 1 || madeUpChanges[change] == nil {
		ts.Fatalf("usage: madeup DIR [TRIALS [CHANGE]]")
	}
	kind := "lab"
	if change == "xen" {
		kind = "xen"
	}
	start := madeUpStart // each name has its own, and so does the run's ID
	for _, c := range args[0] {
		start = start.Add(time.Duration(c) * time.Second)
	}
	store, err := createRunOf(ts.MkAbs(args[0]), kind, madeUpSuite, start)
	ts.Check(err)
	for _, p := range madeUpPlan()[:n] {
		rec := madeUpRecord(p)
		madeUpChanges[change](&rec)
		ts.Check(store.Append(rec, time.Second))
	}
	ts.Check(store.Close(madeUpStart.Add(time.Minute)))
	ts.Check(os.Rename(store.Dir(), ts.MkAbs(args[0])+".run"))
	ts.Check(os.Remove(ts.MkAbs(args[0])))
	ts.Check(os.Rename(ts.MkAbs(args[0])+".run", ts.MkAbs(args[0])))
}

// madeUpChanges are what can be different in the records of a made-up run.
var madeUpChanges = map[string]func(*results.Trial){
	"none":   func(*results.Trial) {},
	"xen":    func(t *results.Trial) { t.Host = "xen" },
	"window": func(t *results.Trial) { t.WindowNS++ },
	"mute":   func(t *results.Trial) { t.Guest.ProgressRatio = nil },
	"kernel": func(t *results.Trial) { t.GuestKernel = "6.1-test" },
	"violation": func(t *results.Trial) { // one more for each event
		t.EPT.Lazy += t.Events.Delivered
		t.EPT.Total += t.Events.Delivered
	},
}
