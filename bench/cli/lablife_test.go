package cli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/bench/exit"
	"hangbench/guests/lab"
)

// labCase is a command of a shell that uses the lab, and how it ends.
type labCase struct {
	id     string // in testdata/break.txt
	sh     string // HB is the program, RUN a run of a small suite, LAB its cache
	status int
	says   []string
	same   string // the folder of a run whose records are those of any other; may be empty
}

var labCases = []labCase{
	{"L33", `$RUN --out 'with blanks, ünicode'`, 0, nil, "with blanks, ünicode"},
	{"L34", `mkdir real; ln -s real link; $RUN --out link`, 0, nil, "real"},
	{"L35", `mkdir -p other/below; cd other/below; $RUN --out ../relative`, 0, nil, "other/relative"},
	{"L36", `umask 077; $RUN --out mine; test -z "$(find mine -perm /077)"`, 0, nil, "mine"},
	{"L37", `LC_ALL=tr_TR.UTF-8 LANG=tr_TR.UTF-8 TZ=Asia/Kathmandu $RUN --out turkish`, 0, nil, "turkish"},
	{"L38", `unset HOME; $RUN --out homeless --cache "$LAB"`, 0, nil, "homeless"},
	{"L39", `$RUN --out full >/dev/full`, 4, []string{"no space left on device", "1 of 1 trials are kept"}, "full"},
	{"L40", `$RUN --out closed >&-`, 0, nil, "closed"},
	{"L41", `PATH=$USERPATH TMPDIR=/nonexistent $RUN --out tmp`, 4, []string{"/nonexistent: no such file"}, ""},
	{"L49", `$HB lab run --source "$SOURCE" -- xl info >/dev/full`, 4, []string{"no space left on device"}, ""},
	{"L64", `ulimit -n 16; $RUN --out files`, 4, []string{"too many open files"}, ""},
	{"L65", `ulimit -n 64; ulimit -u 4000; ulimit -v 3000000; $RUN --out limits`, 0, nil, "limits"},
	{"L66", `ulimit -f 100; PATH=$USERPATH $RUN --out large`, 4, []string{"compile the lab's"}, ""},
	{"e012", `TMPDIR=/nonexistent $PLAIN lab build --source "$SOURCE"`, 4, []string{"/nonexistent: no such file"}, ""},
	{"e030", `GOFLAGS=--banana $PLAIN lab build --source "$SOURCE"`, 0, []string{"guest     cloud-6.12"}, ""},
	{"e032", `CC=/bin/false CXX=/bin/false CGO_CFLAGS=-Dmain=foo $PLAIN lab build --source "$SOURCE"`, 0,
		[]string{"guest     cloud-6.12"}, ""},
	{"e034", `GOCACHE=off $PLAIN lab build --source "$SOURCE"`, 4, []string{"GOCACHE=off"}, ""},
	{"e035", `LC_ALL=tr_TR.UTF-8 $HB lab build --source "$SOURCE" | tail -3`, 0, []string{"guest     cloud-6.12"}, ""},
	{"s021", `$HB lab env --source "$SOURCE" >/dev/full`, 4, []string{"no space left on device"}, ""},
}

// TestLabLife runs and builds in the lab under odd circumstances: folders, environments,
// limits, files that vanish and processes that are stopped.
func TestLabLife(t *testing.T) {
	t.Parallel()
	needAllOfLab(t)
	a := newAbrupt(t)
	r := a.newLabRuns(t, filepath.Join(t.TempDir(), "runs"), 1)
	cache, err := lab.FindCache("", os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	env := append(r.env, "HB="+a.program, "LAB="+string(cache), "SOURCE="+a.source,
		"GOPATH="+goValue(t, "GOPATH"), "GOCACHE="+goValue(t, "GOCACHE"),
		"USERPATH="+os.Getenv("PATH"),
		"RUN="+a.program+" run "+r.suite+" --jobs 1 --source "+a.source,
		"PLAIN=env PATH="+os.Getenv("PATH")+" "+a.program)
	for _, tc := range labCases {
		t.Run(tc.id, func(t *testing.T) {
			c := exec.Command("sh", "-c", tc.sh)
			var stdout, stderr strings.Builder
			c.Dir, c.Env, c.Stdout, c.Stderr = dir, env, &stdout, &stderr
			if err := c.Run(); err != nil && c.ProcessState == nil {
				t.Fatal(err)
			}
			e := end{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
			if err := e.check([]int{tc.status}, tc.says); err != nil {
				t.Error(err)
			}
			if tc.same == "" {
				return
			}
			if r.out = filepath.Join(dir, tc.same); r.stored(t) != r.records {
				t.Errorf("the records are\n%s\nwant\n%s", r.stored(t), r.records)
			}
		})
	}
	t.Run("L21", func(t *testing.T) { r.at(filepath.Join(dir, "L21")).stopAll(t) })
	t.Run("L24", func(t *testing.T) { r.at(filepath.Join(dir, "L24")).stopEmulator(t) })
	t.Run("L31", func(t *testing.T) { r.at(filepath.Join(dir, "L31")).removeCache(t, string(cache)) })
	t.Run("L32", func(t *testing.T) { r.at(filepath.Join(dir, "L32")).removeRun(t) })
}

// goValue returns a setting of the go command.
func goValue(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// at returns the same with another folder for the run.
func (r *labRuns) at(out string) *labRuns {
	own := *r
	own.out = out
	return &own
}

// emulator returns the process of the emulator that a command has started.
func (c *command) emulator(t *testing.T) int {
	t.Helper()
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end) && running(c.cmd.Process.Pid); {
		for _, pid := range descendants(t, c.cmd.Process.Pid) {
			line, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
			if strings.Contains(string(line), "bochs-bin") {
				return pid
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("there is no emulator: %s", c.stderr)
	return 0
}

// stopAll: a run that is stopped for a while, with its emulator, goes on.
func (r *labRuns) stopAll(t *testing.T) {
	c := r.start(t, r.env, r.args()...)
	all := []int{c.cmd.Process.Pid, c.emulator(t)}
	for _, s := range []unix.Signal{unix.SIGSTOP, unix.SIGCONT} {
		for _, pid := range all {
			if err := unix.Kill(pid, s); err != nil && !errors.Is(err, unix.ESRCH) {
				t.Error(err)
			}
		}
		if s == unix.SIGSTOP {
			time.Sleep(20 * time.Second)
		}
	}
	if status := c.status(); status != exit.Done || r.stored(t) != r.records {
		t.Errorf("status %d: %s\nrecords\n%s\nwant\n%s", status, c.stderr, r.stored(t), r.records)
	}
}

// stopEmulator: an emulator that is stopped is given up, and its trial runs again.
func (r *labRuns) stopEmulator(t *testing.T) {
	c := r.start(t, r.env, r.args()...)
	pid := c.emulator(t)
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Error(err)
	}
	status := c.status()
	if running(pid) {
		t.Error("the emulator that was stopped is left")
	}
	if !strings.Contains(string(c.stderr), "the emulator has made no progress for 1m0s: was its process "+
		strconv.Itoa(pid)+" stopped?") || status != exit.Done || r.stored(t) != r.records {
		t.Errorf("status %d: %s\nrecords\n%s\nwant\n%s", status, c.stderr, r.stored(t), r.records)
	}
}

// removeCache: a run whose cache is removed ends with one sentence, and goes on with
// another cache.
func (r *labRuns) removeCache(t *testing.T, from string) {
	own := filepath.Join(t.TempDir(), "cache")
	said, _ := r.must(t, "lab", "build", "--source", r.source)
	key := strings.Fields(said)[1]
	for _, part := range []string{"packages", "packages-bookworm", "prefix-*[0-9a-f]", "labs/" + key + "/lab.*",
		"labs/" + key + "/snapshots/guest-cloud-6.12-1cpu-*"} {
		// Hard links: nothing in a cache is written in place.
		to := filepath.Join(own, filepath.Dir(part))
		out, err := exec.Command("sh", "-c", "mkdir -p "+to+" && cp -al "+filepath.Join(from, part)+" "+to).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	c := r.start(t, r.env, append(r.args(), "--cache", own)...)
	c.emulator(t)
	err := os.RemoveAll(own)
	for errors.Is(err, unix.ENOTEMPTY) { // the run has just made a file
		err = os.RemoveAll(own)
	}
	if err != nil {
		t.Fatal(err)
	}
	if status := c.status(); status != exit.Done {
		c.checkSentence(t, exit.Broken, "no such file or directory", "go on with: hangbench resume")
		r.must(t, r.args()...)
	}
	if r.stored(t) != r.records {
		t.Errorf("records\n%s\nwant\n%s", r.stored(t), r.records)
	}
}

// removeRun: a run whose folder is removed ends with one sentence.
func (r *labRuns) removeRun(t *testing.T) {
	c := r.start(t, r.env, r.args()...)
	c.emulator(t)
	if err := os.RemoveAll(r.out); err != nil {
		t.Fatal(err)
	}
	c.checkSentence(t, exit.Broken, "was removed while the run went on")
}

// checkSentence fails the test unless the command ends with a status and one line that
// has the texts. Warnings may come before it.
func (c *command) checkSentence(t *testing.T, status int, texts ...string) {
	t.Helper()
	got := c.status()
	all := "\n" + string(c.stderr)
	message := all[strings.LastIndex(all, "\nhangbench: ")+1:]
	if got != status || !strings.HasPrefix(message, "hangbench: ") || strings.HasPrefix(message, "hangbench: warning") ||
		strings.Count(message, "\n") != 1 {
		t.Errorf("status %d: %s", got, c.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(message, text) {
			t.Errorf("it does not say %q: %s", text, message)
		}
	}
}
