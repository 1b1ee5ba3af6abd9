package bochs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hangbench/cgo/require"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// orphanEnv makes the test binary a program that starts a machine and waits to
// be killed. It holds prefix, shim, disc and folder, separated by newlines.
const orphanEnv = "HANGBENCH_TEST_ORPHAN"

func TestMain(m *testing.M) {
	if s := os.Getenv(orphanEnv); s != "" {
		arg := strings.Split(s, "\n")
		p, err := Start(context.Background(), Launch{Prefix: arg[0], Shim: arg[1], Disc: arg[2], Dir: arg[3],
			Machine: DefaultMachine()})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(p.PID())
		<-p.Done()
	}
	var err error
	if programs.dir, err = os.MkdirTemp("", "hangbench-bochs-"); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	status := m.Run()
	os.RemoveAll(programs.dir)
	os.Exit(status)
}

// fakePrefix compiles testdata/fake.c and the shim, and puts them into a prefix as
// the emulator. The loader and the C library are this machine's.
func fakePrefix(t *testing.T) Launch {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		require.Missing(t, require.CC, "no C compiler (cc) on this machine: the emulator's stand-in cannot be built")
	}
	where := func(name string) string {
		out, err := exec.Command(cc, "-print-file-name="+name).Output()
		path := strings.TrimSpace(string(out))
		if err != nil || !filepath.IsAbs(path) {
			require.Missing(t, require.CC, "the C compiler does not find %s: the stand-in runs under Linux on x86-64 with "+
				"glibc only", name)
		}
		return path
	}
	loader, libs := where("ld-linux-x86-64.so.2"), filepath.Dir(where("libc.so.6"))

	prefix := t.TempDir()
	for _, dir := range []string{"usr/bin", "usr/lib", "usr/lib64", "usr/share/bochs"} {
		if err := os.MkdirAll(filepath.Join(prefix, dir), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"usr/lib64/ld-linux-x86-64.so.2": loader,
		"usr/lib/x86_64-linux-gnu": libs} {
		if err := os.Symlink(target, filepath.Join(prefix, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"usr/share/bochs/BIOS-bochs-latest", "usr/share/bochs/VGABIOS-lgpl-latest", "disc"} {
		writeFile(t, filepath.Join(prefix, name), "x")
	}
	built, err := compiled(cc)
	if err != nil {
		t.Fatal(err)
	}
	l := Launch{Prefix: prefix, Shim: filepath.Join(prefix, "cache", filepath.Base(built.shim)),
		Disc: filepath.Join(prefix, "disc"), Machine: DefaultMachine()}
	l.Machine.MemoryMiB = 64 // as testdata/fake.c has it
	for from, to := range map[string]string{built.fake: filepath.Join(prefix, "usr/bin/bochs-bin"), built.shim: l.Shim} {
		b, err := os.ReadFile(from)
		err = errors.Join(err, os.MkdirAll(filepath.Dir(to), 0o777), os.WriteFile(to, b, 0o777))
		if err != nil {
			t.Fatal(err)
		}
	}
	again, err := BuildShim(t.Context(), "/nonexistent/cc", filepath.Dir(l.Shim))
	if err != nil || again != l.Shim {
		t.Errorf("a library that is there is built again: %q, %v", again, err)
	}
	return l
}

// programs are the compiled stand-in and the shim. TestMain makes their folder.
var programs struct {
	once       sync.Once
	dir        string
	fake, shim string
	err        error
}

// compiled compiles the stand-in and the shim, once for all tests.
func compiled(cc string) (built struct{ fake, shim string }, err error) {
	programs.once.Do(func() {
		programs.fake = filepath.Join(programs.dir, "fake")
		out, err := exec.Command(cc, "-Wall", "-Wextra", "-O1", "-rdynamic", "-o", programs.fake, "testdata/fake.c",
			"-lpthread").CombinedOutput()
		if err != nil {
			programs.err = fmt.Errorf("compile testdata/fake.c: %w\n%s", err, out)
			return
		}
		programs.shim, programs.err = BuildShim(context.Background(), cc, programs.dir)
	})
	built.fake, built.shim = programs.fake, programs.shim
	return built, programs.err
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

// start starts a machine that is closed with the test.
func start(t *testing.T, l Launch) *Process {
	t.Helper()
	l.Dir = t.TempDir()
	p, err := Start(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// read returns the next n lines on com2.
func read(t *testing.T, p *Process, n int) string {
	t.Helper()
	if err := p.Conn().SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(p.Conn())
	var all string
	for range n {
		s, err := r.ReadString('\n')
		all += s
		if err != nil {
			t.Fatalf("after %q: %v", all, p.Explain("read com2", err))
		}
	}
	return all
}

func save(t *testing.T, l Launch) *Snapshot {
	t.Helper()
	l.Dir = t.TempDir()
	var said bytes.Buffer
	dir := filepath.Join(t.TempDir(), "below", "snapshot")
	s, err := Save(t.Context(), l, SaveRequest{Dir: dir, After: "@ready ", Key: "disc 1", Output: &said})
	if err != nil {
		t.Fatal(err)
	}
	if said.String() != "hello\n@ready 1\n" {
		t.Errorf("up to the snapshot com2 said %q", said.String())
	}
	return s
}

func TestBoot(t *testing.T) {
	t.Parallel()
	l := fakePrefix(t)
	l.Job = []byte("say first\n")
	p := start(t, l)
	if got, want := read(t, p, 3), "hello\n@ready 1\nfirst\n"; got != want {
		t.Errorf("com2 said %q, want %q", got, want)
	}
	if _, err := io.WriteString(p.Conn(), "say later\nnet\nclock\nenter\n"); err != nil {
		t.Fatal(err)
	}
	// The emulator checks for interrupts again (m) inside the guest, before it injects
	// events (i).
	if got, want := read(t, p, 4), "later\nrefused\n1600000000.000000\n(mi)\n"; got != want {
		t.Errorf("com2 said %q, want %q", got, want)
	}
	noTCP(t, p.PID())
	if config, err := os.ReadFile(filepath.Join(p.Dir(), configFile)); err != nil || string(config) != l.Machine.Config() {
		t.Errorf("configuration %q, %v", config, err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	var exit *ExitError
	if err := p.Wait(); !errors.As(err, &exit) || exit.Signal != syscall.SIGKILL {
		t.Errorf("after Close the process ended with %v", err)
	}
	if err := syscall.Kill(p.PID(), 0); err != syscall.ESRCH {
		t.Errorf("after Close there still is a process %d: %v", p.PID(), err)
	}
	console, err := os.ReadFile(filepath.Join(p.Dir(), ConsoleLog))
	if err != nil || !strings.Contains(string(console), "dom0: say first") {
		t.Errorf("console %q, %v", console, err)
	}
}

// noTCP checks that none of a process's sockets is an internet socket.
func noTCP(t *testing.T, pid int) {
	t.Helper()
	var inodes []string
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "net", table))
		if errors.Is(err, fs.ErrNotExist) {
			continue // this kernel has no IPv6
		} else if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
			if f := strings.Fields(line); i > 0 && len(f) > 9 {
				inodes = append(inodes, "socket:["+f[9]+"]")
			}
		}
	}
	fds, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "fd", "*"))
	if err != nil {
		t.Fatal(err)
	}
	sockets := 0
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(target, "socket:") {
			sockets++
		}
		if slices.Contains(inodes, target) {
			t.Errorf("%s is an internet socket", fd)
		}
	}
	if sockets < 2 {
		t.Errorf("the emulator has %d sockets, but com2 and the display are two", sockets)
	}
}

func TestSaveAndRestore(t *testing.T) {
	t.Parallel()
	l := fakePrefix(t)
	s := save(t, l)
	if s.Ticks != 400_000 { // the millisecond after the one in which the line was sent
		t.Errorf("saved at tick %d, want 400000", s.Ticks)
	}
	opened, err := OpenSnapshot(t.Context(), s.Dir, l.Machine, "disc 1")
	if err != nil {
		t.Fatal(err)
	}
	if opened.Dir != s.Dir || opened.Ticks != s.Ticks || !maps.Equal(opened.Files, s.Files) {
		t.Errorf("opened %+v, want %+v", opened, s)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(s.Dir), unfinished+"*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := Save(t.Context(), l, SaveRequest{Dir: s.Dir, After: "@ready "}); err == nil ||
		!strings.Contains(err.Error(), "there already") {
		t.Errorf("saving in place of a snapshot: %v", err)
	}

	// Several machines from one snapshot at the same time. Each changes its own memory
	// only. Equal jobs give equal answers at equal virtual times.
	before := hashes(t, s.Dir)
	l.Snapshot = opened
	var group sync.WaitGroup
	answers := make([]string, 4)
	for i := range answers {
		l := l
		l.Job = fmt.Appendf(nil, "time\nget\nput machine-%d\nget\ntime\n", i)
		group.Go(func() {
			p := start(t, l)
			answers[i] = read(t, p, 4)
			noTCP(t, p.PID())
			if size := mapped(t, p.PID(), s.file(ramFile)); size != 1<<20 {
				t.Errorf("%d bytes of the memory's image are mapped, want all", size)
			}
		})
	}
	group.Wait()
	for i, got := range answers {
		if want := fmt.Sprintf("500000\n\nmachine-%d\n900000\n", i); got != want {
			t.Errorf("machine %d answered %q, want %q", i, got, want)
		}
	}
	if after := hashes(t, s.Dir); !maps.Equal(before, after) {
		t.Errorf("running from the snapshot has changed it: %v", after)
	}
}

// hashes maps the files below dir to their contents.
func hashes(t *testing.T, dir string) map[string]string {
	t.Helper()
	m := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		m[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// mapped returns the number of bytes of a file that a process has mapped.
func mapped(t *testing.T, pid int, path string) uint64 {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "maps"))
	if err != nil {
		t.Fatal(err)
	}
	var total uint64
	for line := range strings.Lines(string(data)) {
		if !strings.HasSuffix(strings.TrimSpace(line), path) {
			continue
		}
		var from, to uint64
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
			t.Fatal(err)
		}
		total += to - from
	}
	return total
}

// TestSlowReader leaves com2 unread until its buffer is full, and checks that
// nothing is lost.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	l := fakePrefix(t)
	const n = 64 << 10
	l.Job = fmt.Appendf(nil, "fill %d\nsay end\n", n)
	p := start(t, l)
	time.Sleep(100 * time.Millisecond)
	got := read(t, p, 2+n/64+1)
	if len(got) != len("hello\n@ready 1\n")+n+len("end\n") || !strings.HasSuffix(got, "end\n") {
		t.Errorf("%d bytes came, the last of them %q", len(got), got[max(0, len(got)-10):])
	}
}

func TestLargestJob(t *testing.T) {
	t.Parallel()
	l := fakePrefix(t)
	l.Job = bytes.Repeat([]byte("say "+strings.Repeat("x", 1019)+"\n"), MaxJob/1024)
	if len(l.Job) != MaxJob {
		t.Fatalf("the test's job has %d bytes", len(l.Job))
	}
	p := start(t, l)
	if got := read(t, p, 2+MaxJob/1024); !strings.HasSuffix(got, "\n"+strings.Repeat("x", 1019)+"\n") {
		t.Errorf("the last line of the job was answered with %q", got[len(got)-20:])
	}
	l.Job = append(l.Job, '\n')
	l.Dir = t.TempDir()
	if _, err := Start(t.Context(), l); err == nil || !strings.Contains(err.Error(), "131073 bytes") {
		t.Errorf("a job that is too large: %v", err)
	}
}

// TestFailures has machines fail in several ways and checks the messages.
func TestFailures(t *testing.T) {
	t.Parallel()
	l := fakePrefix(t)
	disc := func(word string) string {
		path := filepath.Join(t.TempDir(), "disc")
		writeFile(t, path, word)
		return path
	}
	for _, tc := range []struct {
		name, job string
		want      []string // parts of the message
		status    int
	}{
		{"panic", "panic\n", []string{"run the job: the emulator ended with status 1",
			"panic: 3rd exception with no resolution"}, 1},
		{"exit", "exit 7\n", []string{"the emulator ended with status 7", "console's last line: dom0: exit 7"}, 7},
		{"end", "exit 0\n", []string{"the emulator ended although nobody asked it to"}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l.Job = []byte(tc.job)
			p := start(t, l)
			if _, err := io.Copy(io.Discard, p.Conn()); err != nil {
				t.Fatal(err)
			}
			err := p.Explain("run the job", io.EOF)
			for _, want := range append(tc.want, p.Dir()) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			var exit *ExitError
			if !errors.As(err, &exit) || exit.Status != tc.status {
				t.Errorf("error %v, want status %d", err, tc.status)
			}
			var f *Failure
			if !errors.As(err, &f) {
				t.Fatalf("error %v is no failure", err)
			}
			if !slices.Contains(f.Console, "(XEN) booting") || len(f.Output) == 0 {
				t.Errorf("console %q, output %q", f.Console, f.Output)
			}
		})
	}
	l.Job = nil

	t.Run("deadline", func(t *testing.T) {
		p := start(t, l)
		read(t, p, 2)
		if err := p.Conn().SetReadDeadline(time.Now()); err != nil {
			t.Fatal(err)
		}
		_, err := p.Conn().Read(make([]byte, 1))
		err = p.Explain("wait for the agent", err)
		var f *Failure
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &f) || len(f.Console) == 0 {
			t.Errorf("error %v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := l
		l.Dir = t.TempDir()
		p, err := Start(ctx, l)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := io.Copy(io.Discard, p.Conn()); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		var exit *ExitError
		if err := p.Wait(); !errors.As(err, &exit) || exit.Signal != syscall.SIGKILL {
			t.Errorf("the process ended with %v", err)
		}
		if err := p.Explain("run the job", context.Cause(ctx)); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want the context's", err)
		}
	})
	t.Run("com2 closed", func(t *testing.T) {
		p := start(t, l)
		read(t, p, 2)
		if err := p.Conn().Close(); err != nil {
			t.Fatal(err)
		}
		var exit *ExitError
		if err := p.Wait(); !errors.As(err, &exit) || exit.Status != exitOrphan {
			t.Errorf("the process ended with %v", err)
		}
		p.closing.Do(func() {}) // com2 is closed already
	})
	t.Run("broken", func(t *testing.T) {
		l := l
		l.Disc, l.Dir = disc("broken"), t.TempDir()
		_, err := Start(t.Context(), l)
		var f *Failure
		if !errors.As(err, &f) || !strings.Contains(err.Error(), "System BIOS must end at") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("another emulator", func(t *testing.T) {
		l := l
		l.Dir = t.TempDir()
		prefix := filepath.Join(t.TempDir(), "p")
		if out, err := exec.Command("cp", "-a", l.Prefix, prefix).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		l.Prefix = prefix
		binary := filepath.Join(l.Prefix, "usr/bin/bochs-bin")
		code, err := os.ReadFile(binary)
		if err != nil {
			t.Fatal(err)
		}
		// Another version could have another name for the function.
		code = bytes.ReplaceAll(code, []byte("19set_notify_callback"), []byte("19get_notify_fallback"))
		if err := os.WriteFile(binary, code, 0o777); err != nil {
			t.Fatal(err)
		}
		_, err = Start(t.Context(), l)
		var exit *ExitError
		if !errors.As(err, &exit) || exit.Status != exitShim || !strings.Contains(err.Error(), "it is not Bochs 3.0") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("never ready", func(t *testing.T) {
		l := l
		l.Disc, l.Dir = disc("silent"), t.TempDir()
		ctx, cancel := context.WithCancelCause(t.Context())
		late := errors.New("it takes too long")
		r := SaveRequest{Dir: filepath.Join(t.TempDir(), "s"), After: "@ready "}
		time.AfterFunc(300*time.Millisecond, func() { cancel(late) })
		_, err := Save(ctx, l, r)
		var f *Failure
		if !errors.Is(err, late) || !errors.As(err, &f) {
			t.Errorf("error %v", err)
		}
		if _, err := os.Lstat(r.Dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("there is half a snapshot: %v", err)
		}
	})
	for word, want := range map[string]string{
		"cut-off":  "pc_system of the state is cut off",
		"no-space": "memory.ram of the state has 1048576 bytes, not 67108864: is the disk full?",
	} {
		t.Run(word, func(t *testing.T) {
			l := l
			l.Disc, l.Dir = disc(word), t.TempDir()
			r := SaveRequest{Dir: filepath.Join(t.TempDir(), "s"), After: "@ready "}
			_, err := Save(t.Context(), l, r)
			var f *Failure
			if !errors.As(err, &f) || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v", err)
			}
			if _, err := os.Lstat(r.Dir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("there is half a snapshot: %v", err)
			}
		})
	}
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	good := fakePrefix(t)
	full := t.TempDir()
	writeFile(t, filepath.Join(full, "x"), "x")
	for _, tc := range []struct {
		name   string
		change func(l *Launch)
		want   string
	}{
		{"machine", func(l *Launch) { l.Machine.CPUs = 0 }, "number of CPUs is 0"},
		{"disc", func(l *Launch) { l.Disc = "/nonexistent/disc" }, "/nonexistent/disc"},
		{"prefix", func(l *Launch) { l.Prefix = t.TempDir() }, "BIOS-bochs-latest"},
		{"colon", func(l *Launch) { l.Prefix = "/tmp/a:b" }, "has a colon"},
		{"folder", func(l *Launch) { l.Dir = full }, "is not empty"},
		{"loader", func(l *Launch) {
			if err := os.Remove(filepath.Join(l.Prefix, "usr/lib64/ld-linux-x86-64.so.2")); err != nil {
				t.Fatal(err)
			}
		}, "ld-linux-x86-64.so.2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := good
			l.Dir = t.TempDir()
			tc.change(&l)
			p, err := Start(t.Context(), l)
			if err == nil {
				p.Close()
				t.Fatal("it was started")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q does not say %q", err, tc.want)
			}
		})
	}
}

// TestSnapshotErrors damages a snapshot in several ways. Each gives a SnapshotError
// that says what is wrong.
func TestSnapshotErrors(t *testing.T) {
	t.Parallel()
	l := fakePrefix(t)
	for _, tc := range []struct {
		name   string
		damage func(t *testing.T, s *Snapshot, m *Machine, key *string)
		want   string
	}{
		{"other disc", func(t *testing.T, _ *Snapshot, _ *Machine, key *string) { *key = "disc 2" },
			`taken from "disc 1", not from "disc 2"`},
		{"other machine", func(t *testing.T, _ *Snapshot, m *Machine, _ *string) { m.MemoryMiB *= 2 },
			"another configuration"},
		{"no manifest", func(t *testing.T, s *Snapshot, _ *Machine, _ *string) {
			replace(t, filepath.Join(s.Dir, manifestFile), "{")
		}, "read snapshot.json"},
		{"other version", func(t *testing.T, s *Snapshot, _ *Machine, _ *string) {
			replace(t, filepath.Join(s.Dir, manifestFile), `{"version":0}`)
		}, "version 0"},
		{"names outside", func(t *testing.T, s *Snapshot, m *Machine, _ *string) {
			replace(t, filepath.Join(s.Dir, manifestFile),
				fmt.Sprintf(`{"version":%d,"key":"disc 1","config":%q,"files":{"../x":1}}`, formatVersion, m.Config()))
		}, "is not the name"},
		{"file missing", func(t *testing.T, s *Snapshot, _ *Machine, _ *string) {
			if err := os.Remove(s.file("cpu0")); err != nil {
				t.Fatal(err)
			}
		}, "cpu0"},
		{"file cut off", func(t *testing.T, s *Snapshot, _ *Machine, _ *string) { replace(t, s.file(ramFile), "x") },
			"memory.ram has 1 bytes, not the 67108864"},
		{"garbage", func(t *testing.T, s *Snapshot, _ *Machine, _ *string) {
			replace(t, s.file(systemFile), strings.Repeat("x", int(s.Files[systemFile])))
		}, "pc_system has changed since it was saved"},
		{"no manifest at all", func(t *testing.T, s *Snapshot, _ *Machine, _ *string) {
			if err := os.Remove(filepath.Join(s.Dir, manifestFile)); err != nil {
				t.Fatal(err)
			}
		}, "snapshot.json: no such file"},
		{"no state", func(t *testing.T, s *Snapshot, _ *Machine, _ *string) {
			if err := os.RemoveAll(filepath.Join(s.Dir, savedState)); err != nil {
				t.Fatal(err)
			}
		}, "no such file"},
		{"state is a file", func(t *testing.T, s *Snapshot, _ *Machine, _ *string) {
			if err := os.RemoveAll(filepath.Join(s.Dir, savedState)); err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(s.Dir, savedState), "x")
		}, "not a directory"},
		{"file is a link", func(t *testing.T, s *Snapshot, _ *Machine, _ *string) {
			if err := errors.Join(os.Rename(s.file("cpu0"), s.Dir+"/cpu0"), os.Symlink("../cpu0", s.file("cpu0"))); err != nil {
				t.Fatal(err)
			}
		}, "cpu0: it is not a regular file"},
		{"a byte of the memory", func(t *testing.T, s *Snapshot, _ *Machine, _ *string) { flip(t, s.file(ramFile), 1<<19) },
			"memory.ram has changed since it was saved"},
		{"its last byte", func(t *testing.T, s *Snapshot, _ *Machine, _ *string) { flip(t, s.file(ramFile), 64<<20-1) },
			"memory.ram has changed since it was saved"},
		{"no checksum", func(t *testing.T, s *Snapshot, _ *Machine, _ *string) {
			delete(s.Sums, ramFile) // as in snapshots of older versions
			manifest, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			replace(t, filepath.Join(s.Dir, manifestFile), string(manifest))
		}, "memory.ram was saved without a checksum"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, m, key := save(t, l), l.Machine, "disc 1"
			tc.damage(t, s, &m, &key)
			_, err := OpenSnapshot(t.Context(), s.Dir, m, key)
			var snapshot *SnapshotError
			if !errors.As(err, &snapshot) || snapshot.Dir != s.Dir {
				t.Fatalf("error %v is no snapshot error", err)
			}
			if errors.Is(err, fs.ErrNotExist) {
				t.Errorf("error %v says that there is no snapshot", err)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q does not say %q", err, tc.want)
			}
		})
	}
	t.Run("wrong launch", func(t *testing.T) {
		s := save(t, l)
		l := l
		l.Snapshot, l.Dir = s, t.TempDir()
		l.Machine.IPS *= 2
		_, err := Start(t.Context(), l)
		var snapshot *SnapshotError
		if !errors.As(err, &snapshot) {
			t.Errorf("error %v is no snapshot error", err)
		}
	})
}

// flip changes one bit of a file that may be read-only.
func flip(t *testing.T, path string, at int64) {
	t.Helper()
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// replace overwrites a file that may be read-only.
func replace(t *testing.T, path, content string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, content)
}

// TestOrphan kills a program that runs a machine and checks that the emulator ends
// too.
func TestOrphan(t *testing.T) {
	t.Parallel()
	l := fakePrefix(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), orphanEnv+"="+strings.Join([]string{l.Prefix, l.Shim, l.Disc, t.TempDir()}, "\n"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the program said %q", line)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("no process %d before the program is killed: %v", pid, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	for until := time.Now().Add(time.Minute); alive(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("the emulator, process %d, has outlived the program that started it", pid)
		}
	}
}

// alive reports whether a process runs. A zombie does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// TestDamagedShim: a library that was damaged is built anew.
func TestDamagedShim(t *testing.T) {
	t.Parallel()
	l := fakePrefix(t)
	was, err := os.ReadFile(l.Shim)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, len(was) / 2} {
		if err := os.Truncate(l.Shim, int64(size)); err != nil {
			t.Fatal(err)
		}
		path, err := BuildShim(t.Context(), "cc", filepath.Dir(l.Shim))
		if err != nil || path != l.Shim {
			t.Fatalf("built as %s, %v; want %s", path, err, l.Shim)
		}
		if is, err := os.ReadFile(path); err != nil || !bytes.Equal(is, was) {
			t.Errorf("with %d bytes it was left as it is (%v)", size, err)
		}
	}
}

func TestBuildShimFails(t *testing.T) {
	t.Parallel()
	_, err := BuildShim(t.Context(), "/bin/false", t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "/bin/false") {
		t.Errorf("error %v", err)
	}
}
