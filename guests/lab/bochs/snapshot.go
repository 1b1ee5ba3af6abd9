package bochs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Names below a snapshot's folder and below its state.
const (
	manifestFile  = "snapshot.json"
	savedState    = "state"
	savedConfig   = "config" // Bochs' own, which Bochs cannot always read
	ramFile       = "memory.ram"
	systemFile    = "pc_system"
	formatVersion = 2
)

// Snapshot is a machine at rest: everything that is needed to go on from there,
// as often and as often at the same time as one likes. Its folder is never
// written to.
type Snapshot struct {
	// Dir is its folder.
	Dir string `json:"-"`
	// Version is the version of the folder's format.
	Version int `json:"version"`
	// Key is the caller's name for what the machine had booted.
	Key string `json:"key"`
	// Config is the machine's configuration file.
	Config string `json:"config"`
	// Ticks is how many instructions the machine had done since power-on.
	Ticks uint64 `json:"ticks"`
	// Files are the sizes in bytes of the files of the state.
	Files map[string]int64 `json:"files"`
	// Sums are the CRC-32C of the files up to maxSummed bytes long: all but the
	// images of memories, which take too long to read for every restore.
	Sums map[string]uint32 `json:"sums"`
}

// maxSummed is the length in bytes up to which a file of the state is summed.
const maxSummed = 8 << 20

func sum(path string) (uint32, error) {
	b, err := os.ReadFile(path)
	return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)), err
}

// SnapshotError says that a snapshot cannot be used: it is missing, damaged,
// belongs to another machine, or the emulator does not come up from it. The
// remedy is a cold boot and a new snapshot.
type SnapshotError struct {
	Dir string
	Err error
}

func (e *SnapshotError) Error() string {
	return fmt.Sprintf("the snapshot %s cannot be used: %v", e.Dir, e.Err)
}

// Unwrap returns the reason.
func (e *SnapshotError) Unwrap() error { return e.Err }

// file is the path of a file of the state.
func (s *Snapshot) file(name string) string { return filepath.Join(s.Dir, savedState, name) }

// OpenSnapshot opens the snapshot in dir if it was saved by this version from
// machine m under the given key, and is complete. Every error is a
// [*SnapshotError]; errors.Is tells fs.ErrNotExist when there is none.
func OpenSnapshot(dir string, m Machine, key string) (*Snapshot, error) {
	s, err := readSnapshot(dir)
	if err == nil {
		err = s.check(m, key)
	}
	if err != nil {
		return nil, &SnapshotError{Dir: dir, Err: err}
	}
	return s, nil
}

func readSnapshot(dir string) (*Snapshot, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if err != nil {
		return nil, err
	}
	s := &Snapshot{Dir: dir}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("read %s: %w", manifestFile, err)
	}
	return s, nil
}

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
	for name, size := range s.Files {
		if !filepath.IsLocal(name) || strings.ContainsRune(name, filepath.Separator) {
			return fmt.Errorf("%q is not the name of a file of the state", name)
		}
		info, err := os.Lstat(s.file(name))
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() || info.Size() != size {
			return fmt.Errorf("%s has %d bytes, not the %d that were saved", name, info.Size(), size)
		}
		if size > maxSummed {
			continue
		}
		got, err := sum(s.file(name))
		if err != nil {
			return err
		}
		if got != s.Sums[name] {
			return fmt.Errorf("%s is not what was saved", name)
		}
	}
	return nil
}

// layOut makes the folder that Bochs restores a run from: the state's files as
// links, the run's own configuration, and nothing in place of the memory, which
// the shim maps; unless the machine is to be saved again: Bochs writes the memory
// back to where it has read it from before it saves it, so it needs a copy.
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

// SaveRequest says when and where to save a machine's state.
type SaveRequest struct {
	// Dir becomes the snapshot's folder. It must not be there yet, or the error is
	// fs.ErrExist; it appears when the snapshot is complete. If another process
	// has saved the same there meanwhile, its snapshot is returned.
	Dir string
	// After is how the line on com2 begins behind which the state is saved, at the
	// next full virtual millisecond. See wire.FirstLine.
	After string
	// Key is the caller's name for what the machine boots. A snapshot is only
	// opened under the same key: put into it whatever decides what is on the disc.
	Key string
	// Output is handed what the machine sends on com2 up to there. It may be nil.
	Output io.Writer
}

// Save starts the machine, from power-on or from l.Snapshot, waits for the line
// and saves the state. The emulator ends by it. Nothing in the result depends on wall-clock time or chance: the
// same disc and the same machine give the same state again.
//
// An error is a [*Failure] whenever the emulator has been started.
func Save(ctx context.Context, l Launch, r SaveRequest) (*Snapshot, error) {
	if r.After == "" || strings.ContainsAny(r.After, "\x00\n") {
		return nil, fmt.Errorf("save the machine's state: %q is not how a line begins", r.After)
	}
	dir, err := filepath.Abs(r.Dir)
	if err != nil {
		return nil, fmt.Errorf("save the machine's state: %w", err)
	}
	if _, err := os.Lstat(dir); err == nil {
		return nil, fmt.Errorf("save the machine's state: %s is there already: remove it first: %w", dir, fs.ErrExist)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
		return nil, fmt.Errorf("save the machine's state: %w", err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".snapshot-")
	if err != nil {
		return nil, fmt.Errorf("save the machine's state: %w", err)
	}
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
	if _, err := io.Copy(output, p.Conn()); err != nil && ctx.Err() == nil {
		return nil, p.Explain("read the serial port com2", err)
	}
	err = p.Wait()
	switch {
	case ctx.Err() != nil:
		return nil, p.Explain(fmt.Sprintf("wait for the line %q on com2", r.After), context.Cause(ctx))
	case err != nil || !p.saved:
		return nil, p.Explain("save the machine's state", err)
	}
	if err := punchHoles(filepath.Join(tmp, savedState, ramFile)); err != nil {
		return nil, p.Explain("save the machine's state", err)
	}
	s := &Snapshot{Dir: tmp, Version: formatVersion, Key: r.Key, Config: l.Machine.Config()}
	if err := s.collect(); err != nil {
		return nil, p.Explain("save the machine's state", err)
	}
	if err := os.Chmod(tmp, 0o755); err != nil { // MkdirTemp's is for the owner alone
		return nil, fmt.Errorf("save the machine's state: %w", err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		// Another process was faster: what it made of the same disc and machine is
		// as good. A folder that is no such snapshot is left alone.
		if errors.Is(err, fs.ErrExist) {
			if won, openErr := OpenSnapshot(dir, l.Machine, r.Key); openErr == nil {
				return won, nil
			}
		}
		return nil, fmt.Errorf("save the machine's state: %w", err)
	}
	s.Dir = dir
	return s, nil
}

// collect checks what Bochs has written, as it does not look at the results
// itself, and writes the manifest.
func (s *Snapshot) collect() error {
	if err := os.Remove(s.file(savedConfig)); err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(s.Dir, savedState))
	if err != nil {
		return err
	}
	s.Files = make(map[string]int64, len(entries))
	s.Sums = make(map[string]uint32, len(entries))
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Size() == 0 {
			return fmt.Errorf("the file %s of the state is empty: is the disk full?", e.Name())
		}
		// Names with a dot are raw data, the others text that ends with a brace.
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
		if info.Size() <= maxSummed {
			if s.Sums[e.Name()], err = sum(s.file(e.Name())); err != nil {
				return err
			}
		}
	}
	for _, name := range []string{ramFile, systemFile, "memory", "cpu0", "serial", "logopts"} {
		if _, ok := s.Files[name]; !ok {
			return fmt.Errorf("the file %s of the state: %w", name, fs.ErrNotExist)
		}
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
	return os.WriteFile(filepath.Join(s.Dir, manifestFile), append(data, '\n'), 0o444)
}

// readTicks finds the instruction counter in the saved state of the system's
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

// VirtualTime is the machine's time since power-on after so many instructions.
func (m Machine) VirtualTime(ticks uint64) time.Duration {
	return time.Duration(float64(ticks) / float64(m.IPS) * float64(time.Second))
}
