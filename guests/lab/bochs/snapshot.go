package bochs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Names below a snapshot's folder and below its state.
const (
	manifestFile  = "snapshot.json"
	savedState    = "state"
	savedConfig   = "config" // written by Bochs, which cannot always read it
	ramFile       = "memory.ram"
	systemFile    = "pc_system"
	formatVersion = 2
)

// Snapshot is the saved state of a machine. Any number of machines can be restored
// from it, also at the same time. Nothing writes to its folder.
type Snapshot struct {
	// Dir is the snapshot's folder.
	Dir string `json:"-"`
	// Version is the version of the folder's format.
	Version int `json:"version"`
	// Key is the caller's name for the content of the disc and the state reached.
	Key string `json:"key"`
	// Config is the machine's configuration file.
	Config string `json:"config"`
	// Ticks is the number of instructions that the machine has run since power-on.
	Ticks uint64 `json:"ticks"`
	// Files maps the names of the state's files to their sizes in bytes.
	Files map[string]int64 `json:"files"`
	// Sums maps the names of the state's files to the CRC-32C of their content.
	Sums map[string]uint32 `json:"sums"`

	mu     sync.Mutex
	stamps map[string]stamp // of the files that had the right sum when they were read
}

// SnapshotError reports that a snapshot cannot be used: it is missing, damaged, or
// of another machine. The remedy is to boot the machine and to save a new snapshot.
// An emulator that was killed, or that failed with an undamaged snapshot, is another
// error ([*Failure]): the snapshot is worth keeping.
type SnapshotError struct {
	Dir string
	Err error
}

func (e *SnapshotError) Error() string {
	return fmt.Sprintf("the snapshot %s cannot be used: %v", e.Dir, e.Err)
}

// Unwrap returns the reason.
func (e *SnapshotError) Unwrap() error { return e.Err }

// ErrTouched is the reason of a [*SnapshotError] when files of a snapshot were written
// or replaced while a machine ran from it.
var ErrTouched = errors.New("its files were changed while a machine ran from it")

// file returns the path of a file of the state.
func (s *Snapshot) file(name string) string { return filepath.Join(s.Dir, savedState, name) }

// OpenSnapshot opens the snapshot in dir. It must be complete, undamaged, in this
// version's format, and saved from machine m with the same key. All its files are
// read, which takes tenths of a second. The error wraps fs.ErrNotExist if there is no
// folder dir. It is a [*SnapshotError] if the snapshot there cannot be used, and no
// such error if that is not known, as when ctx has ended or no file can be opened.
func OpenSnapshot(ctx context.Context, dir string, m Machine, key string) (*Snapshot, error) {
	if _, err := os.Lstat(dir); err != nil {
		return nil, fmt.Errorf("open a snapshot: %w", err)
	}
	s, err := readSnapshot(dir)
	if err == nil {
		err = s.check(m, key)
	}
	if err != nil {
		return nil, unusable(dir, err)
	}
	if err := s.Verify(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// unusable returns the error for a snapshot whose files cannot be read or are not
// those that were saved. What the system refuses for another reason than the state of
// its files, such as a lack of memory, is no [*SnapshotError].
func unusable(dir string, err error) error {
	damage := []error{unix.ENOENT, unix.ENOTDIR, unix.EISDIR, unix.ELOOP, unix.EIO}
	is := func(d error) bool { return errors.Is(err, d) }
	if no := unix.Errno(0); errors.As(err, &no) && !slices.ContainsFunc(damage, is) {
		return fmt.Errorf("read the snapshot %s: %w", dir, err)
	}
	// Of a snapshot that is there, a file is missing: it does not wrap fs.ErrNotExist.
	return &SnapshotError{Dir: dir, Err: errors.New(err.Error())}
}

// Verify compares the files of the snapshot with what was saved. It reads a file
// unless it has done so before and the file's size and times are still the same. The
// errors are those of [OpenSnapshot].
//
// Every write through the file system changes one of the times, which no program can set.
// A byte that changes beneath the file system, in a failing disk or memory, is found when
// a file is read again: by the next command, or after a failure. To read the files before
// each trial would find it earlier. That takes 0.12 s of a processor for a memory's image
// with 400 MB of data: 2% of the median trial of suite paper, which takes 6 s, and 6% of
// its shortest.
func (s *Snapshot) Verify(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.Files)) {
		if err := s.verify(ctx, name); err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("read the snapshot %s: %w", s.Dir, context.Cause(ctx))
			}
			return unusable(s.Dir, err)
		}
	}
	return nil
}

// VerifyAgain is Verify, but reads every file.
func (s *Snapshot) VerifyAgain(ctx context.Context) error {
	s.mu.Lock()
	clear(s.stamps)
	s.mu.Unlock()
	return s.Verify(ctx)
}

// Untouched reports whether no file has been written or replaced since Verify has read
// it. A machine that ran meanwhile saw what was saved.
func (s *Snapshot) Untouched() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.Files {
		if is, err := stampOf(s.file(name)); err != nil || is != s.stamps[name] {
			return false
		}
	}
	return true
}

// verify is Verify for one file. The lock is held.
func (s *Snapshot) verify(ctx context.Context, name string) error {
	is, err := stampOf(s.file(name))
	if err != nil {
		return err
	}
	if is == s.stamps[name] {
		return nil
	}
	if is.size != s.Files[name] {
		return fmt.Errorf("%s has %d bytes, not the %d that were saved", name, is.size, s.Files[name])
	}
	want, ok := s.Sums[name]
	if !ok {
		return fmt.Errorf("%s was saved without a checksum", name)
	}
	got, err := sum(ctx, s.file(name))
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%s has changed since it was saved", name)
	}
	if s.stamps == nil {
		s.stamps = map[string]stamp{}
	}
	s.stamps[name] = is
	return nil
}

// readSnapshot reads the manifest in a snapshot's folder.
func readSnapshot(dir string) (*Snapshot, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if err != nil {
		return nil, err
	}
	s, err := parseSnapshot(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", manifestFile, err)
	}
	s.Dir = dir
	return s, nil
}

// parseSnapshot decodes a snapshot's manifest. It refuses names of files that are
// not directly in the folder of the state.
func parseSnapshot(data []byte) (*Snapshot, error) {
	var s Snapshot
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, err
	}
	for name, size := range s.Files {
		if !filepath.IsLocal(name) || name == "." || strings.ContainsAny(name, "/\x00") {
			return nil, fmt.Errorf("%q is not the name of a file of the state", name)
		}
		if size < 1 {
			return nil, fmt.Errorf("%s has %d bytes", name, size)
		}
	}
	return &s, nil
}

// check compares the snapshot with the machine and the key that are asked for.
func (s *Snapshot) check(m Machine, key string) error {
	switch {
	case s.Version != formatVersion:
		return fmt.Errorf("its format is version %d, not %d", s.Version, formatVersion)
	case s.Key != key:
		return fmt.Errorf("it was taken from %q, not from %q", s.Key, key)
	case s.Config != m.Config():
		return errors.New("it was taken from a machine with another configuration")
	case len(s.Files) == 0:
		return errors.New("it has no files")
	}
	return nil
}

// layOut makes the folder from which Bochs restores a run: links to the state's
// files and the machine's configuration. With mapped set, the file of the memory is
// empty, and the shim maps the snapshot's. A machine that will be saved again needs
// mapped unset: before it saves, Bochs writes the memory back to the file that it
// has read, which must then be a copy.
func (s *Snapshot) layOut(dir string, m Machine, mapped bool) error {
	if s.Config != m.Config() {
		return &SnapshotError{Dir: s.Dir, Err: errors.New("it was taken from a machine with another configuration")}
	}
	if err := os.Mkdir(dir, 0o777); err != nil {
		return err
	}
	for name := range s.Files {
		if name == ramFile && mapped {
			continue
		}
		if err := os.Symlink(s.file(name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	made := map[string]string{savedConfig: s.Config}
	if mapped {
		made[ramFile] = ""
	}
	for name, content := range made {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			return err
		}
	}
	return nil
}

// SaveRequest tells Save when and where to save a machine's state.
type SaveRequest struct {
	// Dir becomes the snapshot's folder, once the snapshot is complete. If it exists
	// already, the error wraps fs.ErrExist. If another process saves the same
	// snapshot there meanwhile, Save returns that one.
	Dir string
	// After is the beginning of a line on com2. The state is saved at the first full
	// virtual millisecond after the first such line.
	After string
	// Key is the caller's name for the content of the disc and the state reached.
	// OpenSnapshot needs the same key.
	Key string
	// Within is the machine's time in which the line must come; 0: any.
	Within time.Duration
	// Output, if not nil, gets what the machine sends on com2 until it is saved.
	Output io.Writer
}

// Save starts the machine, from power-on or from l.Snapshot, waits for the line and
// saves the state. The emulator then ends. The result does not depend on wall-clock
// time or on chance: the same disc and the same machine give the same state again.
//
// Once the emulator has been started, every error is a [*Failure], or a
// [*SnapshotError] if l.Snapshot was damaged.
func Save(ctx context.Context, l Launch, r SaveRequest) (*Snapshot, error) {
	if r.After == "" || strings.ContainsAny(r.After, "\x00\n") {
		return nil, fmt.Errorf("save the machine's state: %q is not the beginning of a line", r.After)
	}
	dir, err := filepath.Abs(r.Dir)
	if err != nil {
		return nil, fmt.Errorf("save the machine's state: %w", err)
	}
	if _, err := os.Lstat(dir); err == nil {
		return nil, fmt.Errorf("save the machine's state: %s is there already; remove it first: %w", dir, fs.ErrExist)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
		return nil, fmt.Errorf("save the machine's state: %w", err)
	}
	if _, err := RemoveUnfinished(filepath.Dir(dir)); err != nil {
		return nil, fmt.Errorf("save the machine's state: %w", err)
	}
	tmp, held, err := makeUnfinished(filepath.Dir(dir))
	if err != nil {
		return nil, fmt.Errorf("save the machine's state: %w", err)
	}
	defer held.Close()
	defer os.RemoveAll(tmp)
	l.save = savePoint{after: r.After, dir: filepath.Join(tmp, savedState)}
	if err := os.Mkdir(l.save.dir, 0o777); err != nil {
		return nil, fmt.Errorf("save the machine's state: %w", err)
	}

	p, err := Start(ctx, l)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	output := r.Output
	if output == nil {
		output = io.Discard
	}
	p.Limit(r.Within)
	if _, err := io.Copy(output, p); err != nil && ctx.Err() == nil {
		return nil, p.Explain("read the serial port com2", err)
	}
	err = p.Wait()
	switch {
	case ctx.Err() != nil:
		return nil, p.Explain(fmt.Sprintf("wait for the line %q on com2", r.After), context.Cause(ctx))
	case err != nil || !p.saved:
		return nil, p.Explain("save the machine's state", err)
	case l.Snapshot != nil && !l.Snapshot.Untouched():
		return nil, &SnapshotError{Dir: l.Snapshot.Dir, Err: ErrTouched}
	}
	if err := punchHoles(filepath.Join(tmp, savedState, ramFile)); err != nil {
		return nil, p.Explain("save the machine's state", err)
	}
	s := &Snapshot{Dir: tmp, Version: formatVersion, Key: r.Key, Config: l.Machine.Config()}
	if err := s.collect(ctx, l.Machine); err != nil {
		return nil, p.Explain("save the machine's state", err)
	}
	if err := os.Chmod(tmp, 0o755); err != nil { // MkdirTemp makes it 0700
		return nil, fmt.Errorf("save the machine's state: %w", err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		// Another process was faster. Its snapshot of the same disc and machine is
		// equal to this one. Any other folder stays as it is.
		if errors.Is(err, fs.ErrExist) {
			if won, openErr := OpenSnapshot(ctx, dir, l.Machine, r.Key); openErr == nil {
				return won, nil
			}
		}
		return nil, fmt.Errorf("save the machine's state: %w", err)
	}
	s.Dir = dir
	if err := syncPath(filepath.Dir(dir)); err != nil {
		return nil, fmt.Errorf("save the machine's state: %w", err)
	}
	return s, nil
}

// collect checks the files that Bochs has written, because Bochs ignores errors of
// writing. Once they are on the disk it writes the manifest: a machine that loses
// power then has the whole snapshot, or none.
func (s *Snapshot) collect(ctx context.Context, m Machine) error {
	if err := os.Remove(s.file(savedConfig)); err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(s.Dir, savedState))
	if err != nil {
		return err
	}
	s.Files = make(map[string]int64, len(entries))
	s.Sums = make(map[string]uint32, len(entries))
	s.stamps = make(map[string]stamp, len(entries))
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Size() == 0 {
			return fmt.Errorf("the file %s of the state is empty: is the disk full?", e.Name())
		}
		// Files with a dot in the name are raw data, the others text that ends with a
		// brace.
		if !strings.Contains(e.Name(), ".") && e.Name() != "logopts" {
			data, err := os.ReadFile(s.file(e.Name()))
			if err != nil {
				return err
			}
			if !bytes.HasSuffix(data, []byte("}\n")) {
				return fmt.Errorf("the file %s of the state is cut off: is the disk full?", e.Name())
			}
		}
		if err := os.Chmod(s.file(e.Name()), 0o444); err != nil {
			return err
		}
		s.Files[e.Name()] = info.Size()
		if s.stamps[e.Name()], err = stampOf(s.file(e.Name())); err != nil {
			return err
		}
		if s.Sums[e.Name()], err = sum(ctx, s.file(e.Name())); err != nil {
			return err
		}
		if err := syncPath(s.file(e.Name())); err != nil {
			return err
		}
	}
	for _, name := range []string{ramFile, systemFile, "memory", "cpu0", "serial", "logopts"} {
		if _, ok := s.Files[name]; !ok {
			return fmt.Errorf("the file %s of the state: %w", name, fs.ErrNotExist)
		}
	}
	if got, want := s.Files[ramFile], int64(m.MemoryMiB)<<20; got != want {
		return fmt.Errorf("the file %s of the state has %d bytes, not %d: is the disk full?", ramFile, got, want)
	}
	system, err := os.Open(s.file(systemFile))
	if err != nil {
		return err
	}
	defer system.Close()
	if s.Ticks, err = readTicks(system); err != nil {
		return err
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	manifest := filepath.Join(s.Dir, manifestFile)
	if err := os.WriteFile(manifest, append(data, '\n'), 0o444); err != nil {
		return err
	}
	for _, path := range []string{manifest, filepath.Join(s.Dir, savedState), s.Dir} {
		if err := syncPath(path); err != nil {
			return err
		}
	}
	return nil
}

// readTicks reads the instruction counter from the saved state of the system's
// clock: a line "ticksTotal = 123".
func readTicks(r io.Reader) (uint64, error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, value, _ := strings.Cut(strings.TrimSpace(lines.Text()), " = ")
		if name == "ticksTotal" {
			ticks, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read the saved clock: %w", err)
			}
			return ticks, nil
		}
	}
	if err := lines.Err(); err != nil {
		return 0, fmt.Errorf("read the saved clock: %w", err)
	}
	return 0, errors.New("read the saved clock: there is no ticksTotal in it")
}
