package bochs

import (
	"context"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReadTicks(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in   string
		want uint64
		ok   bool
	}{
		{"pc_system = {\n  a20_mask = 0xffffffffffffffff\n  ticksTotal = 3341400000\n  lastTimeUsec = 0\n}\n", 3341400000,
			true},
		{"pc_system = {\n  ticksTotal = -1\n}\n", 0, false},
		{"pc_system = {\n}\n", 0, false},
		{strings.Repeat("x", 1<<20), 0, false},
	} {
		if got, err := readTicks(strings.NewReader(tc.in)); got != tc.want || (err == nil) != tc.ok {
			t.Errorf("%.60q: %d, %v, want %d", tc.in, got, err, tc.want)
		}
	}
}

// TestVerify: files are read once, and again after a change of any kind.
func TestVerify(t *testing.T) {
	t.Parallel()
	l := fakePrefix(t)
	s, err := OpenSnapshot(t.Context(), save(t, l).Dir, l.Machine, "disc 1")
	if err != nil {
		t.Fatal(err)
	}
	was := s.Sums[ramFile]
	s.Sums[ramFile]++
	if err := s.Verify(t.Context()); err != nil || !s.Untouched() {
		t.Errorf("a file that has not changed was read again: %v", err)
	}
	if err := s.VerifyAgain(t.Context()); err == nil || s.Untouched() {
		t.Error("a file was not read again")
	}
	s.Sums[ramFile] = was
	if err := s.Verify(t.Context()); err != nil || !s.Untouched() {
		t.Errorf("as it was saved: %v", err)
	}
	flip(t, s.file(ramFile), 7)
	if s.Untouched() {
		t.Error("a change is not seen")
	}
	var damaged *SnapshotError
	if err := s.Verify(t.Context()); !errors.As(err, &damaged) {
		t.Errorf("a changed file: %v", err)
	}
	flip(t, s.file(ramFile), 7)
	// Equal again, but a machine that ran meanwhile may have read the other byte.
	if s.Untouched() {
		t.Error("a change back is not seen")
	}
	if err := s.Verify(t.Context()); err != nil || !s.Untouched() {
		t.Errorf("the byte is as it was: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.VerifyAgain(ended); !errors.Is(err, context.Canceled) || errors.As(err, &damaged) {
		t.Errorf("interrupted: %v", err)
	}
}

// TestNotDamaged: what fails for another reason than the files of a snapshot is no
// SnapshotError, as its owner then removes a snapshot that is good.
func TestNotDamaged(t *testing.T) {
	t.Parallel()
	l := fakePrefix(t)
	s := save(t, l)
	var damaged *SnapshotError
	_, err := OpenSnapshot(t.Context(), s.Dir+"x", l.Machine, "disc 1")
	if !errors.Is(err, fs.ErrNotExist) || errors.As(err, &damaged) {
		t.Errorf("no snapshot: %v", err)
	}
	for _, no := range []error{unix.EMFILE, unix.ENOMEM, unix.EACCES} {
		err := unusable("d", &fs.PathError{Op: "open", Path: "f", Err: no})
		if errors.As(err, &damaged) || !errors.Is(err, no) {
			t.Errorf("%v: %v", no, err)
		}
	}
	for word, signal := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "broken": 0} {
		l := l
		l.Snapshot, l.Dir, l.Disc = s, t.TempDir(), filepath.Join(t.TempDir(), "disc")
		writeFile(t, l.Disc, word)
		_, err := Start(t.Context(), l)
		var exit *ExitError
		if errors.As(err, &damaged) || !errors.As(err, &exit) || exit.Signal != signal {
			t.Errorf("an emulator that is %s: %v", word, err)
		}
		// The same end with a damaged snapshot.
		flip(t, s.file(ramFile), 7)
		l.Dir = t.TempDir()
		if _, err := Start(t.Context(), l); !errors.As(err, &damaged) {
			t.Errorf("an emulator that is %s, and a damaged snapshot: %v", word, err)
		}
		flip(t, s.file(ramFile), 7)
	}
}

// TestSaveFromTouched: what is saved by a machine whose own snapshot was changed
// meanwhile is not kept.
func TestSaveFromTouched(t *testing.T) {
	t.Parallel()
	l := fakePrefix(t)
	l.Snapshot = save(t, l)
	l.Job = []byte("say @again\n")
	l.Dir = t.TempDir()
	var once sync.Once
	r := SaveRequest{Dir: filepath.Join(t.TempDir(), "s"), After: "@again"}
	r.Output = writerFunc(func(p []byte) (int, error) {
		once.Do(func() { flip(t, l.Snapshot.file("cpu0"), 0) })
		return len(p), nil
	})
	_, err := Save(t.Context(), l, r)
	if damaged := (*SnapshotError)(nil); !errors.As(err, &damaged) || !errors.Is(err, ErrTouched) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Lstat(r.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is kept: %v", err)
	}
}

// TestSum: the sum is that of the bytes, wherever holes are.
func TestSum(t *testing.T) {
	t.Parallel()
	const size = 5<<20 + 13
	data := make([]byte, size)
	at := []int64{0, 1, 64<<10 - 1, 64 << 10, 1 << 20, 3<<20 + 5, size - 1}
	path := filepath.Join(t.TempDir(), "f")
	for i := range at {
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		clear(data)
		err = f.Truncate(size)
		for _, a := range at[i:] {
			data[a] = byte(a) | 1
			_, werr := f.WriteAt(data[a:a+1], a)
			err = errors.Join(err, werr)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		got, err := sum(t.Context(), path)
		if want := crc32.Checksum(data, castagnoli); got != want || err != nil {
			t.Errorf("with data at %d: %#x, %v, want %#x", at[i:], got, err, want)
		}
	}
}

// TestUnfinished: the folder of a process that was killed while it saved is removed,
// and no folder that is in use.
func TestUnfinished(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	left, used := filepath.Join(parent, unfinished+"1"), filepath.Join(parent, "dom0")
	for _, dir := range []string{filepath.Join(left, "state"), used} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	mine, held, err := makeUnfinished(parent)
	if err != nil {
		t.Fatal(err)
	}
	removed, err := RemoveUnfinished(parent)
	if err != nil || !slices.Equal(removed, []string{left}) {
		t.Errorf("removed %v, %v; want %s", removed, err, left)
	}
	held.Close()
	removed, err = RemoveUnfinished(parent)
	if err != nil || !slices.Equal(removed, []string{mine}) {
		t.Errorf("removed %v, %v; want %s", removed, err, mine)
	}
	if _, err := os.Stat(used); err != nil {
		t.Error(err)
	}
	if removed, err := RemoveUnfinished(filepath.Join(parent, "absent")); err != nil || len(removed) > 0 {
		t.Errorf("no folder: %v, %v", removed, err)
	}
	// Several at once: each gets a folder of its own, whatever the others remove.
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				dir, held, err := makeUnfinished(parent)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := os.Stat(dir); err != nil {
					t.Error(err)
				}
				held.Close()
				if _, err := RemoveUnfinished(parent); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

// FuzzReadTicks: the result is the number on the first line with a counter.
func FuzzReadTicks(f *testing.F) {
	f.Add("pc_system = {\n  ticksTotal = 3341400000\n}\n")
	f.Add("ticksTotal = 18446744073709551615\nticksTotal = 2")
	f.Add("  ticksTotal =  7\r\n")
	f.Add("xticksTotal = 7\nticksTotal = 0x7\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := readTicks(strings.NewReader(text))
		var want string
		for line := range strings.Lines(text) {
			if value, ok := strings.CutPrefix(strings.TrimSpace(line), "ticksTotal = "); ok {
				want = value
				break
			}
		}
		n, perr := strconv.ParseUint(want, 10, 64)
		if err == nil && (perr != nil || n != got) {
			t.Fatalf("read %d, and the first line says %q", got, want)
		}
		if err != nil && perr == nil && len(text) < 1<<10 {
			t.Fatalf("%d is there and was not read: %v", n, err)
		}
	})
}

// FuzzSnapshot: a manifest that is accepted names only files in the folder of the
// state, and is the same when it is written and read again.
func FuzzSnapshot(f *testing.F) {
	whole, err := json.Marshal(Snapshot{
		Version: formatVersion, Key: "disc 1", Config: DefaultMachine().Config(), Ticks: 400_000,
		Files: map[string]int64{ramFile: 1 << 20, "cpu0": 12}, Sums: map[string]uint32{"cpu0": 1 << 31},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	for _, name := range []string{"../x", "/etc/passwd", "a/b", ".", "..", "", "a\x00b"} {
		b, err := json.Marshal(Snapshot{Files: map[string]int64{name: 1}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"version":2,"files":{"cpu0":0}}`))
	f.Add([]byte(`{"version":2,"files":{"cpu0":1e30},"sums":{"cpu0":-1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseSnapshot(data)
		if err != nil {
			return
		}
		s.Dir = "/snapshot"
		for name, size := range s.Files {
			if path := s.file(name); filepath.Dir(path) != "/snapshot/state" || strings.Contains(path, "\x00") || size < 1 {
				t.Fatalf("the file %q is %s with %d bytes", name, path, size)
			}
		}
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseSnapshot(b)
		if err != nil || again.Version != s.Version || again.Key != s.Key || again.Config != s.Config ||
			again.Ticks != s.Ticks ||
			!maps.Equal(again.Files, s.Files) || !maps.Equal(again.Sums, s.Sums) {
			t.Fatalf("%s reads back as %+v, %v", b, again, err)
		}
		if s.check(DefaultMachine(), "disc 1") == nil && s.Verify(t.Context()) == nil {
			t.Fatal("a snapshot without a folder passes the check")
		}
	})
}
