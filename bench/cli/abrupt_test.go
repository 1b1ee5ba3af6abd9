package cli

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/bench/exit"
	"hangbench/cgo/require"
	"hangbench/guests/lab"
	"hangbench/results"
)

// TestKilled and TestDiskFull end commands at random points. A failure is had again, as far
// as time permits, with -points-seed of the log.
var (
	pointsSeed = flag.Uint64("points-seed", 0, "seed of the points at which commands are ended; 0: the clock's")
	pointsMost = flag.Int("points", 50, "number of points at which each command is ended")
)

// abrupt ends commands at random points.
type abrupt struct {
	program string   // hangbench, as users have it
	source  string   // the project's
	env     []string // with a go command that builds each program only once
	plain   []string // with the user's go command
	random  *rand.Rand
	points  int
}

// newAbrupt chooses the points, and makes the go command that builds each program once.
func newAbrupt(t *testing.T) *abrupt {
	t.Helper()
	a := &abrupt{points: *pointsMost, program: scriptProgram(t)}
	if !allOfLab() {
		a.points = 3
	}
	seed := *pointsSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-points-seed %d", seed)
	a.random = rand.New(rand.NewPCG(seed, 0))
	goCommand, err := exec.LookPath("go")
	if err != nil {
		require.Missing(t, require.Go, "there is no go command")
	}
	if a.source, err = filepath.Abs(filepath.Join("..", "..")); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bin, kept := filepath.Join(dir, "bin"), filepath.Join(dir, "kept")
	if err := errors.Join(os.Mkdir(bin, 0o755), os.Mkdir(kept, 0o755)); err != nil {
		t.Fatal(err)
	}
	script := `#!/bin/sh
out= last=
for a; do [ "$last" = -o ] && out=$a; last=$a; done
kept='` + kept + `'/${out##*/}
if [ -z "$out" ]; then exec '` + goCommand + `' "$@"; fi
if [ -f "$kept" ]; then exec cp "$kept" "$out"; fi
'` + goCommand + `' "$@" && cp "$out" "$kept.$$" && mv "$kept.$$" "$kept"
`
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	a.plain = os.Environ()
	a.env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	return a
}

// fork returns the same with random numbers of its own, for a test beside others.
func (a *abrupt) fork() *abrupt {
	own := *a
	own.random = rand.New(rand.NewPCG(a.random.Uint64(), 1))
	return &own
}

// allOfLab reports whether the long tests in the lab are asked for.
func allOfLab() bool { return os.Getenv("HANGBENCH_TEST_LAB") == "all" }

// needAllOfLab skips a test unless they are.
func needAllOfLab(t *testing.T) {
	t.Helper()
	if !allOfLab() {
		require.Missing(t, require.LabAll, "set HANGBENCH_TEST_LAB=all to end builds and runs of the lab")
	}
}

// below returns a random duration of less than d.
func (a *abrupt) below(d time.Duration) time.Duration {
	return time.Duration(a.random.Int64N(int64(max(d, 1))))
}

// command is a hangbench that runs.
type command struct {
	cmd    *exec.Cmd
	ended  chan struct{} // closed when it has
	stdout bytes.Buffer

	mu     sync.Mutex
	stderr []byte
	more   *sync.Cond // there is more on stderr, or it has ended
	over   bool
}

// Write takes what the command writes to stderr.
func (c *command) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stderr = append(c.stderr, b...)
	c.more.Broadcast()
	return len(b), nil
}

// start starts hangbench.
func (a *abrupt) start(t *testing.T, env []string, args ...string) *command {
	t.Helper()
	c := &command{cmd: exec.Command(a.program, args...), ended: make(chan struct{})}
	c.more = sync.NewCond(&c.mu)
	c.cmd.Env, c.cmd.Stdout, c.cmd.Stderr, c.cmd.WaitDelay = env, &c.stdout, c, time.Minute
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		c.cmd.Wait()
		c.mu.Lock()
		c.over = true
		c.more.Broadcast()
		c.mu.Unlock()
		close(c.ended)
	}()
	return c
}

// until waits until the command has said a text, or has ended.
func (c *command) until(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.over && !bytes.Contains(c.stderr, []byte(text)) {
		c.more.Wait()
	}
}

// after waits for some time, or the end of the command.
func (c *command) after(d time.Duration) {
	select {
	case <-c.ended:
	case <-time.After(d):
	}
}

// kill kills the command, and waits until all that it has started have ended too.
func (c *command) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Signal(unix.SIGSTOP); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	left := descendants(t, c.cmd.Process.Pid)
	c.cmd.Process.Kill() // it may have ended
	<-c.ended
	for _, pid := range left {
		for end := time.Now().Add(5 * time.Minute); running(pid); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				line, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
				t.Fatalf("process %d is left running: %q", pid, line)
			}
		}
	}
}

// status waits for the end of the command.
func (c *command) status() int {
	<-c.ended
	return c.cmd.ProcessState.ExitCode()
}

// must runs hangbench, which must end well, and returns its output.
func (a *abrupt) must(t *testing.T, args ...string) (stdout string, took time.Duration) {
	t.Helper()
	began := time.Now()
	c := a.start(t, a.env, args...)
	if status := c.status(); status != exit.Done {
		t.Fatalf("%q: status %d\n%s%s", args, status, c.stderr, &c.stdout)
	}
	return c.stdout.String(), time.Since(began)
}

// stat returns the state and the parent of a process.
func stat(pid int) (state byte, parent int) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	parent, _ = strconv.Atoi(fields[1])
	return fields[0][0], parent
}

// running reports whether a process has not ended.
func running(pid int) bool {
	state, _ := stat(pid)
	return state != 0 && state != 'Z' && state != 'X'
}

// descendants returns the processes that a process has started, and those that they have.
func descendants(t *testing.T, pid int) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	children := map[int][]int{}
	for _, e := range entries {
		if child, err := strconv.Atoi(e.Name()); err == nil {
			_, parent := stat(child)
			children[parent] = append(children[parent], child)
		}
	}
	all := slices.Clone(children[pid])
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// treeOf returns the content of the files below a folder, by their paths in it.
func treeOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		all[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// copyFiles copies files to a folder.
func copyFiles(t *testing.T, to string, names ...string) {
	t.Helper()
	for _, name := range names {
		b, err := os.ReadFile(name)
		err = errors.Join(err, os.MkdirAll(to, 0o755), os.WriteFile(filepath.Join(to, filepath.Base(name)), b, 0o644))
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestKilled kills "report" and, with all of the lab's tests, "lab build" and "run" at
// random points. Nothing is lost, nothing half made is taken for whole, no process is left,
// and the next command goes on.
func TestKilled(t *testing.T) {
	t.Parallel()
	a := newAbrupt(t)
	for name, f := range map[string]func(*abrupt, *testing.T){
		"report": (*abrupt).killReports, "build": (*abrupt).killBuilds, "run": (*abrupt).killRuns,
	} {
		own := a.fork()
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(own, t)
		})
	}
}

// TestDiskFull does the same with a disk that becomes full at random points. The command
// says so in one sentence, and goes on when there is space again.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	a := newAbrupt(t)
	for name, f := range map[string]func(*abrupt, *testing.T){
		"report": (*abrupt).fillReports, "build": (*abrupt).fillBuilds, "run": (*abrupt).fillRuns,
	} {
		own := a.fork()
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(own, t)
		})
	}
}

// reports is a run of which reports are written.
type reports struct {
	dir   string
	whole map[string]string // the files of a whole report and of the run
	took  time.Duration     // to write it
}

// oldFile is the content of each file of a report that is there before.
const oldFile = "an old file"

// newReports copies the records of a reference run into a folder, and writes its report.
func (a *abrupt) newReports(t *testing.T, dir string) *reports {
	t.Helper()
	from := filepath.Join(a.source, "results", "reference", "paper")
	r := &reports{dir: dir}
	copyFiles(t, dir, filepath.Join(from, results.TrialsFile), filepath.Join(from, results.ManifestFile))
	_, r.took = a.must(t, "report", dir)
	r.whole = treeOf(t, dir)
	for _, name := range []string{"report.html", "overview.png", "figures/survival.svg"} {
		if r.whole[name] == "" {
			t.Fatalf("the report has no %s: %v", name, slices.Sorted(maps.Keys(r.whole)))
		}
	}
	return r
}

// record says whether a file of the run is its record, and not a part of the report.
func (r *reports) record(name string) bool {
	return name == results.TrialsFile || name == results.ManifestFile
}

// reset removes all files of the report, or puts old ones in their place.
func (r *reports) reset(t *testing.T, old bool) {
	t.Helper()
	for name := range treeOf(t, r.dir) {
		if r.record(name) {
			continue
		}
		if err := os.Remove(filepath.Join(r.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name := range r.whole {
		if old && !r.record(name) {
			writeFile(t, filepath.Join(r.dir, name), oldFile)
		}
	}
}

// check fails the test unless each file is whole, or as it was before.
func (r *reports) check(t *testing.T, old bool) {
	t.Helper()
	is := treeOf(t, r.dir)
	for name, want := range r.whole {
		got, there := is[name]
		if got != want && (r.record(name) || there != old || there && got != oldFile) {
			t.Errorf("%s: there %v, %d bytes; want all %d, or what was there before", name, there, len(got), len(want))
		}
	}
}

// endReports writes the report again: it is as it would have been.
func (a *abrupt) endReports(t *testing.T, r *reports) {
	t.Helper()
	a.must(t, "report", r.dir)
	if is := treeOf(t, r.dir); !maps.Equal(is, r.whole) {
		t.Errorf("the last report has other files: %v, want %v", slices.Sorted(maps.Keys(is)),
			slices.Sorted(maps.Keys(r.whole)))
	}
}

func (a *abrupt) killReports(t *testing.T) {
	r := a.newReports(t, filepath.Join(t.TempDir(), "run"))
	for i := range a.points {
		old := i%2 == 1
		r.reset(t, old)
		c := a.start(t, a.env, "report", r.dir)
		c.after(a.below(r.took))
		c.kill(t)
		r.check(t, old)
	}
	a.endReports(t, r)
}

// ownMounts gives the test mounts of its own, until it ends.
func ownMounts(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // for ever: the thread ends with the test, and the mounts with it
	err := unix.Unshare(unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	if err != nil {
		require.Missing(t, require.Mounts, "no disk can be mounted and filled (as root it can): %v", err)
	}
}

// disk is a disk that can be filled.
type disk struct{ dir string }

// ample is the size of a disk that has space.
const ample = "size=3g"

// newDisk mounts a disk until the test ends.
func newDisk(t *testing.T, dir string) disk {
	t.Helper()
	err := errors.Join(os.MkdirAll(dir, 0o755), unix.Mount("tmpfs", dir, "tmpfs", 0, ample))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return disk{dir}
}

// used returns how many bytes are on the disk.
func (d disk) used(t *testing.T) int64 {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(d.dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Blocks-st.Bfree) * st.Bsize
}

// fill leaves so many bytes on the disk free.
func (d disk) fill(t *testing.T, spare int64) {
	t.Helper()
	for {
		size := max(d.used(t)+spare, 4096) // 0 would be no limit
		err := unix.Mount("tmpfs", d.dir, "tmpfs", unix.MS_REMOUNT, "size="+strconv.FormatInt(size, 10))
		if err == nil {
			return
		}
		if !errors.Is(err, unix.EINVAL) { // more has been written meanwhile
			t.Fatal(err)
		}
	}
}

// free makes space on the disk.
func (d disk) free(t *testing.T) {
	t.Helper()
	if err := unix.Mount("tmpfs", d.dir, "tmpfs", unix.MS_REMOUNT, ample); err != nil {
		t.Fatal(err)
	}
}

// checkFull fails the test unless a command has ended well, or has said in one sentence
// that the disk is full and what to do. It reports whether the disk was full.
func (c *command) checkFull(t *testing.T) bool {
	t.Helper()
	status := c.status()
	if status == exit.Done {
		return false
	}
	said := string(c.stderr)
	_, message, found := strings.Cut("\n"+said, "\nhangbench: ")
	full := strings.Contains(message, "no space left") || strings.Contains(message, "MiB free") &&
		strings.Contains(message, "are needed")
	if status != exit.Broken || !found || !full || !strings.Contains(message, "free some") ||
		strings.Count(message, "\n") != 1 || strings.Count(message, "no space left") > 1 {
		t.Errorf("status %d: %s", status, said)
	}
	return true
}

func (a *abrupt) fillReports(t *testing.T) {
	ownMounts(t)
	d := newDisk(t, t.TempDir())
	r := a.newReports(t, filepath.Join(d.dir, "run"))
	all := d.used(t)
	r.reset(t, false)
	need := all - d.used(t)
	full := 0
	for i := range a.points {
		old := i%2 == 1
		r.reset(t, old)
		d.fill(t, a.random.Int64N(need))
		c := a.start(t, a.env, "report", r.dir)
		if c.checkFull(t) {
			full++
		}
		r.check(t, old)
		for name := range treeOf(t, r.dir) {
			if _, known := r.whole[name]; !known {
				t.Errorf("%s is left", name)
			}
		}
		d.free(t)
	}
	if full < a.points/2 {
		t.Errorf("the disk was full %d times of %d", full, a.points)
	}
	a.endReports(t, r)
}

// builds is a cache in which labs are built.
type builds struct {
	*abrupt
	cache string
	disc  string   // what a whole lab has
	said  string   // of a whole build
	names []string // of the files of the cache then
	steps []step   // of a build, from its packages to its check
}

// step is a step of a build, as its log names it.
type step struct {
	says string
	took time.Duration
}

// newBuilds copies the packages of the lab to a cache, and builds the lab there.
func (a *abrupt) newBuilds(t *testing.T, cache string) *builds {
	t.Helper()
	b := &builds{abrupt: a, cache: cache}
	from, err := lab.FindCache("", os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range []string{"packages", "packages-bookworm"} {
		if err := os.CopyFS(filepath.Join(cache, set), os.DirFS(filepath.Join(string(from), set))); err != nil {
			t.Fatalf("%v: give the command hangbench lab build", err)
		}
	}
	b.whole(t) // the go command then has the programs
	b.remove(t, "prefix-*", "labs")
	c := a.start(t, a.env, b.args("build")...)
	for at := time.Now(); ; {
		c.mu.Lock()
		n := len(c.stderr)
		for !c.over && len(c.stderr) == n {
			c.more.Wait()
		}
		over, text := c.over, string(c.stderr[n:])
		c.mu.Unlock()
		if len(b.steps) > 0 {
			b.steps[len(b.steps)-1].took = time.Since(at)
		}
		for line := range strings.Lines(text) {
			says, _, _ := strings.Cut(strings.TrimSpace(line), ":")
			if !slices.ContainsFunc(b.steps, func(s step) bool { return s.says == says }) {
				b.steps = append(b.steps, step{says: says})
				at = time.Now()
			}
		}
		if over {
			break
		}
	}
	if c.status() != exit.Done || len(b.steps) < 6 {
		t.Fatalf("steps %v of a build: %s", b.steps, c.stderr)
	}
	return b
}

func (b *builds) args(command string) []string {
	return []string{"lab", command, "--cache", b.cache, "--source", b.source}
}

// remove removes parts of the cache.
func (b *builds) remove(t *testing.T, patterns ...string) {
	t.Helper()
	for _, pattern := range patterns {
		paths, err := filepath.Glob(filepath.Join(b.cache, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// whole builds the lab, which is the same each time, and leaves nothing else.
func (b *builds) whole(t *testing.T) {
	t.Helper()
	said, _ := b.must(t, b.args("build")...)
	checked, _ := b.must(t, b.args("check")...)
	if !strings.Contains(checked, "is whole: sets of packages 2, unpacked 2, labs 1, ") {
		t.Errorf("lab check says %s", checked)
	}
	var names []string
	err := filepath.WalkDir(b.cache, func(path string, d fs.DirEntry, err error) error {
		names = append(names, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	disc := b.builtDisc(t)
	if b.said == "" {
		b.said, b.disc, b.names = said, disc, names
	}
	if said != b.said || disc != b.disc {
		t.Errorf("the lab is another one: %s, want %s", said, b.said)
	}
	for _, name := range names {
		if !slices.Contains(b.names, name) {
			t.Errorf("%s is left", name)
		}
	}
}

// builtDisc returns the disc of the lab in the cache; empty: the lab is not whole.
func (b *builds) builtDisc(t *testing.T) string {
	t.Helper()
	manifests, err := filepath.Glob(filepath.Join(b.cache, "labs", "*", lab.ManifestFile))
	if err != nil || len(manifests) == 0 {
		return ""
	}
	disc, err := os.ReadFile(filepath.Join(filepath.Dir(manifests[0]), lab.DiscFile))
	if err != nil || len(manifests) > 1 {
		t.Errorf("%v: %v", manifests, err)
	}
	return string(disc)
}

// begin begins a build and returns it in one of its steps. Each has its turn: what
// the build needs not do any more for that step is removed.
func (b *builds) begin(t *testing.T, i int) *command {
	t.Helper()
	// The first steps are those of packages.
	s := b.steps[i%len(b.steps)]
	if strings.HasPrefix(s.says, "unpack") {
		// The emulator is in the large prefix, which takes ten times as long as the other.
		large := b.random.IntN(4) == 0
		prefixes, err := filepath.Glob(filepath.Join(b.cache, "prefix-*[0-9a-f]"))
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range prefixes {
			if _, err := os.Stat(filepath.Join(dir, "usr", "bin", "bochs-bin")); (err == nil) == large {
				b.remove(t, filepath.Base(dir))
			}
		}
	}
	if disc := b.builtDisc(t); disc != "" {
		if disc != b.disc {
			t.Errorf("a lab that is not whole has a manifest")
		}
		b.remove(t, "labs")
	}
	env := b.env
	if i%25 == 2 {
		env = b.plain
	}
	c := b.start(t, env, b.args("build")...)
	c.until(s.says)
	c.after(b.below(s.took))
	return c
}

// check fails the test if something in the cache is worse than left over.
func (b *builds) check(t *testing.T) {
	t.Helper()
	c := b.start(t, b.env, b.args("check")...)
	status := c.status()
	if status != exit.Done && status != exit.Failed {
		t.Errorf("lab check: status %d: %s", status, c.stderr)
	}
	for line := range strings.Lines(c.stdout.String()) {
		if !strings.Contains(line, ": it was left by a process that was killed") && !strings.HasPrefix(line, "cache ") {
			t.Errorf("lab check says %s", line)
		}
	}
}

func (a *abrupt) killBuilds(t *testing.T) {
	needAllOfLab(t)
	b := a.newBuilds(t, filepath.Join(t.TempDir(), "cache"))
	for i := range a.points {
		b.begin(t, i).kill(t)
		if i%10 == 0 {
			b.check(t)
		}
	}
	// Of two at once one is killed: the other goes on.
	b.remove(t, "prefix-*", "labs")
	one, other := b.start(t, b.env, b.args("build")...), b.start(t, b.env, b.args("build")...)
	one.until("unpack")
	one.kill(t)
	if status := other.status(); status != exit.Done {
		t.Errorf("status %d: %s", status, other.stderr)
	}
	b.whole(t)
}

func (a *abrupt) fillBuilds(t *testing.T) {
	needAllOfLab(t)
	ownMounts(t)
	d := newDisk(t, t.TempDir())
	b := a.newBuilds(t, filepath.Join(d.dir, "cache"))
	full := 0
	for i := range a.points {
		c := b.begin(t, i)
		d.fill(t, b.random.Int64N(1<<20))
		if c.checkFull(t) {
			full++
		}
		if i%10 == 0 {
			b.check(t)
		}
		d.free(t)
	}
	if full < a.points/2 {
		t.Errorf("the disk was full %d times of %d", full, a.points)
	}
	b.whole(t)
}

// labRuns is a suite that runs in the lab.
type labRuns struct {
	*abrupt
	suite, out string
	records    string        // of a run that nothing has ended
	took       time.Duration // of that run
}

// newLabRuns runs a suite of so many trials once.
func (a *abrupt) newLabRuns(t *testing.T, out string, trials int) *labRuns {
	t.Helper()
	r := &labRuns{abrupt: a, suite: filepath.Join(t.TempDir(), "abrupt.yaml"), out: filepath.Join(t.TempDir(), "whole")}
	writeFile(t, r.suite, `name: abrupt
scenarios: [spinlock-deadlock]
mechanisms: [exec-step]
guests: [{kernel: cloud-6.12, vcpus: 1, memory_mib: 160}]
repetitions: `+strconv.Itoa(trials)+"\n")
	a.must(t, r.args()...) // builds the lab and boots its guest
	r.remove(t)
	_, r.took = a.must(t, r.args()...)
	r.records = r.remove(t)
	if n := strings.Count(r.records, "\n"); n != trials {
		t.Fatalf("%d records, want %d: %s", n, trials, r.records)
	}
	r.out = out
	return r
}

// args is the next command: the run goes on, if there is one.
func (r *labRuns) args() []string {
	runs, _ := filepath.Glob(filepath.Join(r.out, "*", results.ManifestFile))
	args := []string{"run", r.suite, "--out", r.out}
	if len(runs) > 0 {
		args = []string{"resume", filepath.Dir(runs[0])}
	}
	return append(args, "--jobs", "1", "--source", r.source)
}

// stored returns the records of the run, if there is one.
func (r *labRuns) stored(t *testing.T) string {
	t.Helper()
	runs, err := filepath.Glob(filepath.Join(r.out, "*", results.TrialsFile))
	if err != nil || len(runs) > 1 {
		t.Fatalf("runs %v, %v", runs, err)
	}
	if len(runs) == 0 {
		return ""
	}
	b, err := os.ReadFile(runs[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// remove removes the run and returns its records.
func (r *labRuns) remove(t *testing.T) string {
	t.Helper()
	records := r.stored(t)
	runs, err := filepath.Glob(filepath.Join(r.out, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range runs {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	return records
}

// check compares what is stored with the run that nothing has ended, as far as it goes. A
// run that is whole makes place for the next one.
func (r *labRuns) check(t *testing.T, before string) {
	t.Helper()
	now := r.stored(t)
	lines := func(s string) string { return s[:strings.LastIndexByte(s, '\n')+1] } // a kill may cut the last one short
	if !strings.HasPrefix(r.records, lines(now)) || !strings.HasPrefix(now, lines(before)) {
		t.Fatalf("the records are\n%s\nbefore the command they were\n%s\nand those of a whole run are\n%s", now, before,
			r.records)
	}
	if now == r.records {
		r.remove(t)
	}
}

// end lets the last run go on to its end.
func (r *labRuns) end(t *testing.T) {
	t.Helper()
	r.must(t, r.args()...)
	if records := r.stored(t); records != r.records {
		t.Errorf("the records are\n%s\nand those of a whole run are\n%s", records, r.records)
	}
}

func (a *abrupt) killRuns(t *testing.T) {
	needAllOfLab(t)
	r := a.newLabRuns(t, filepath.Join(t.TempDir(), "killed"), 2)
	for range a.points {
		before := r.stored(t)
		c := r.start(t, r.env, r.args()...)
		c.after(r.below(r.took * 3 / 4))
		c.kill(t)
		r.check(t, before)
	}
	r.end(t)
}

func (a *abrupt) fillRuns(t *testing.T) {
	needAllOfLab(t)
	ownMounts(t)
	cache, err := lab.FindCache("", os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	out, machines := newDisk(t, t.TempDir()), newDisk(t, filepath.Join(string(cache), "runs"))
	r := a.newLabRuns(t, filepath.Join(out.dir, "full"), 2)
	full := 0
	for i := range a.points {
		before := r.stored(t)
		c := r.start(t, r.env, r.args()...)
		c.after(r.below(r.took / 2))
		d := out
		if i%3 == 2 {
			d = machines
		}
		d.fill(t, r.random.Int64N(64<<10))
		if c.checkFull(t) {
			full++
		}
		r.check(t, before)
		d.free(t)
	}
	if full < a.points/2 {
		t.Errorf("the disk was full %d times of %d", full, a.points)
	}
	r.end(t)
}
