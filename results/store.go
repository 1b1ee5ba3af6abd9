package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"
)

// Store writes one run. Trials may be appended from several goroutines and in
// any order; the trials file holds them in plan order all the same.
//
// A trial whose turn it is goes to the end of the trials file. One that came
// early goes to a side file at once, and moves when the gap before it closes.
// Every append is synced before Append returns, so a kill -9 at any instant
// loses no trial that was reported as stored: Resume merges the two files.
type Store struct {
	dir  string
	lock *os.File

	mu     sync.Mutex
	m      Manifest
	main   *os.File
	side   *os.File       // nil while no trial is early
	sums   *os.File       // open for appends
	next   int            // every trial below is in main
	early  map[int][]byte // lines in side, not yet in main
	sum    map[int]uint32 // checksums of the records that are stored
	failed error          // the first failed write; the tail of a file is unknown after it
}

var idPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// RunID names a run after its suite, seed and start.
func RunID(suite string, seed uint64, start time.Time) string {
	return fmt.Sprintf("%s-%d-%s", suite, seed, start.UTC().Format("20060102T150405Z"))
}

// ErrRunExists means that there is a run, or another file, of the same name.
var ErrRunExists = errors.New("it exists already")

// Create makes the folder of a new run, runsDir/<m.RunID>, writes its manifest
// and locks it. It returns ErrRunExists if the folder is there. The caller fills in
// RunID, Suite, Seed, Planned, Host, Versions, Started and Bench; the rest is the
// store's.
func Create(runsDir string, m Manifest) (*Store, error) {
	if !idPattern.MatchString(m.RunID) {
		return nil, fmt.Errorf("run id %q: use letters, digits, dot, dash and underscore, beginning with a letter or "+
			"digit", m.RunID)
	}
	if m.Planned < 1 {
		return nil, fmt.Errorf("run %s: a plan of %d trials has nothing to store", m.RunID, m.Planned)
	}
	if err := os.MkdirAll(runsDir, 0o755); err != nil {
		return nil, fmt.Errorf("create run: %w", err)
	}
	dir := filepath.Join(runsDir, m.RunID)
	if err := os.Mkdir(dir, 0o755); errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("create run %s: %w", dir, ErrRunExists)
	} else if err != nil {
		return nil, fmt.Errorf("create run: %w", err)
	}
	s, err := create(dir, m)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir)) // half a run is none
	}
	return s, nil
}

// create makes the files of a new run in an empty folder.
func create(dir string, m Manifest) (*Store, error) {
	lock, err := lockRun(dir)
	if err != nil {
		return nil, err
	}
	m = m.clone()
	m.Schema = ManifestSchema
	m.Interrupted = true // until Close finds the plan complete, so that a kill leaves the truth
	m.Started = m.Started.UTC()
	m.Ended = time.Time{}
	m.TrialWallSec = make([]float64, m.Planned)
	s := &Store{dir: dir, lock: lock, m: m, early: make(map[int][]byte), sum: make(map[int]uint32)}
	if err := writeManifest(dir, &s.m); err != nil {
		return nil, errors.Join(err, unlockRun(lock))
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, unlockRun(lock))
	}
	return s, nil
}

// Resume opens the run in dir to go on with it. What a kill left behind is
// put in order first: a record cut short is dropped, early trials are merged,
// and records without a checksum get one. A file with any other damage is kept
// beside as <name>.damaged, its good records go on, and the manifest gets a
// warning for each bad line. Plan and damage are as for ReadRun. Records
// of an unknown schema are an error: another program is writing this run.
func Resume(dir string, plan Planner) (*Store, error) {
	lock, err := lockRun(dir)
	if err != nil {
		return nil, err
	}
	s, err := resume(dir, lock, plan)
	if err != nil {
		return nil, errors.Join(err, unlockRun(lock))
	}
	return s, nil
}

func resume(dir string, lock *os.File, plan Planner) (*Store, error) {
	m, err := readManifest(dir)
	if err != nil {
		return nil, err
	}
	c, err := collect(dir, m, plan)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, lock: lock, m: *m, early: make(map[int][]byte), sum: make(map[int]uint32)}
	damaged := false
	for _, bad := range c.bad {
		if errors.Is(bad, ErrSchema) {
			return nil, fmt.Errorf("resume %s: %w", dir, bad)
		}
		le, ok := errors.AsType[*LineError](bad)
		damaged = damaged || !ok || !le.Torn
		s.m.Warnings = append(s.m.Warnings, "resume: "+bad.Error())
	}
	if damaged {
		for _, name := range []string{TrialsFile, partialFile, SumsFile} {
			if err := keepDamaged(filepath.Join(dir, name)); err != nil {
				return nil, fmt.Errorf("resume %s: %w", dir, err)
			}
		}
	}

	var inOrder, rest, all bytes.Buffer
	for i, n := range slices.Sorted(maps.Keys(c.byTrial)) {
		raw := c.byTrial[n].raw
		s.sum[n] = castagnoli(raw)
		line := append(raw, '\n')
		all.Write(line)
		if n == i {
			inOrder.Write(line)
			s.next = n + 1
		} else {
			rest.Write(line)
			s.early[n] = line
		}
	}
	// At every instant of these steps the two files of records together hold
	// every record. The checksums of records that are dropped stay until the end:
	// none of the others has the wrong one.
	for _, step := range []struct {
		name string
		data []byte
	}{{partialFile, all.Bytes()}, {TrialsFile, inOrder.Bytes()}, {partialFile, rest.Bytes()},
		{SumsFile, sumsOf(s.sum)}} {
		if err := ReplaceFile(filepath.Join(dir, step.name), step.data); err != nil {
			return nil, fmt.Errorf("resume %s: %w", dir, err)
		}
	}
	s.m.Interrupted = true
	s.m.Ended = time.Time{}
	if err := writeManifest(dir, &s.m); err != nil {
		return nil, err
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	if len(s.early) == 0 {
		err = s.dropSide()
	}
	return s, err
}

// keepDamaged copies the file at path beside itself unless a copy is there
// already: the first damage is the interesting one.
func keepDamaged(path string) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(path + ".damaged"); err == nil {
		return nil
	}
	return ReplaceFile(path+".damaged", data)
}

func (s *Store) open() (err error) {
	s.main, err = os.OpenFile(filepath.Join(s.dir, TrialsFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open trials: %w", err)
	}
	s.sums, err = AppendFile(filepath.Join(s.dir, SumsFile))
	if err != nil {
		return errors.Join(fmt.Errorf("open checksums: %w", err), s.main.Close())
	}
	return syncDir(s.dir)
}

// Dir returns the folder of the run.
func (s *Store) Dir() string { return s.dir }

// Manifest returns a copy of the manifest as it stands.
func (s *Store) Manifest() Manifest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m.clone()
}

// Done reports whether the trial of that index is stored.
func (s *Store) Done(trial int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done(trial)
}

func (s *Store) done(trial int) bool {
	_, early := s.early[trial]
	return trial < s.next || early
}

// Remaining returns the indices of the trials not stored, ascending.
func (s *Store) Remaining() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var rem []int
	for i := s.next; i < s.m.Planned; i++ {
		if !s.done(i) {
			rem = append(rem, i)
		}
	}
	return rem
}

// Append stores a trial and the wall time it took. It returns once the record
// is on disk. A record that does not validate, is not in the plan, or is
// stored already is refused; after a failed write every further append fails,
// and the run must be resumed.
func (s *Store) Append(t Trial, wall time.Duration) error {
	if err := t.Validate(); err != nil {
		return fmt.Errorf("store trial: %w", err)
	}
	line, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("store trial %d: %w", t.Trial, err)
	}
	if len(line) > maxLine {
		return fmt.Errorf("store trial %d: the record of %d bytes is %w", t.Trial, len(line), errTooLong)
	}
	line = append(line, '\n')

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return fmt.Errorf("store trial %d: an earlier write failed, resume the run: %w", t.Trial, s.failed)
	}
	if err := s.m.admits(&t); err != nil {
		return fmt.Errorf("store trial: %w", err)
	}
	if s.done(t.Trial) {
		return fmt.Errorf("store trial: trial %d is stored already", t.Trial)
	}
	if err := s.write(t.Trial, line); err != nil {
		s.failed = err
		return fmt.Errorf("store trial %d: %w", t.Trial, err)
	}
	// The checksum need not be synced: Resume writes one that is lost.
	s.sum[t.Trial] = castagnoli(line[:len(line)-1])
	if _, err := s.sums.Write(sumLine(t.Trial, s.sum[t.Trial])); err != nil {
		s.failed = err
		return fmt.Errorf("store the checksum of trial %d: %w", t.Trial, err)
	}
	s.m.TrialWallSec[t.Trial] = wall.Seconds()
	if err := writeManifest(s.dir, &s.m); err != nil {
		s.failed = err
		return err
	}
	return nil
}

func (s *Store) write(trial int, line []byte) error {
	if trial != s.next {
		if s.side == nil {
			f, err := AppendFile(filepath.Join(s.dir, partialFile))
			if err != nil {
				return err
			}
			s.side = f
			if err := syncDir(s.dir); err != nil {
				return err
			}
		}
		if err := writeSync(s.side, line); err != nil {
			return err
		}
		s.early[trial] = line
		return nil
	}
	end := trial + 1
	for ; s.early[end] != nil; end++ {
		line = append(line, s.early[end]...)
	}
	if err := writeSync(s.main, line); err != nil {
		return err
	}
	for i := trial + 1; i < end; i++ {
		delete(s.early, i)
	}
	s.next = end
	if len(s.early) == 0 {
		return s.dropSide()
	}
	return nil
}

// dropSide removes the side file, whose records are all in the trials file.
func (s *Store) dropSide() error {
	if s.side != nil {
		if err := s.side.Close(); err != nil {
			return err
		}
		s.side = nil
	}
	err := os.Remove(filepath.Join(s.dir, partialFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(s.dir)
}

func writeSync(f *os.File, data []byte) error {
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// UpdateManifest changes the manifest by fn and writes it, for warnings and
// figures of the bench. The fields the store keeps itself (schema, run id,
// planned, wall times, ended, interrupted) are put back after fn.
func (s *Store) UpdateManifest(fn func(*Manifest)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.m.clone()
	fn(&m)
	m.Schema, m.RunID, m.Planned, m.TrialWallSec = s.m.Schema, s.m.RunID, s.m.Planned, s.m.TrialWallSec
	m.Ended, m.Interrupted = s.m.Ended, s.m.Interrupted
	s.m = m
	return writeManifest(s.dir, &s.m)
}

// Close writes the manifest for good, marking the run interrupted unless the
// whole plan is stored, and gives the run's lock back.
func (s *Store) Close(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m.Ended = now.UTC()
	s.m.Interrupted = s.next < s.m.Planned
	// In plan order, so that equal runs have equal files.
	err := ReplaceFile(filepath.Join(s.dir, SumsFile), sumsOf(s.sum))
	err = errors.Join(err, writeManifest(s.dir, &s.m), s.main.Close(), s.sums.Close())
	if s.side != nil {
		err = errors.Join(err, s.side.Close())
	}
	s.failed = errors.New("the store is closed")
	return errors.Join(err, unlockRun(s.lock))
}
