package results

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sort"
)

// Run is a run as it lies on disk.
type Run struct {
	Dir      string
	Manifest Manifest
	Trials   []Trial // in plan order, each once
	Bad      []error // records left out, each with its file and line; show them
	// Notes are what a reader of the numbers should know beside that: checksums that are
	// damaged, or that there is no plan to compare the records with.
	Notes []error
}

// Missing returns how many planned trials have no record.
func (r *Run) Missing() int { return max(0, r.Manifest.Planned-len(r.Trials)) }

// ReadRun reads the run in dir, finished or not, without locking it. Lines
// that cannot be believed are collected in Bad: they are no records, have other
// checksums, are impossible in themselves, or are not what the plan says. A nil
// planner compares with no plan. A missing, damaged or foreign manifest and a
// failing disk are errors.
func ReadRun(dir string, plan Planner) (*Run, error) {
	m, err := readManifest(dir)
	if err != nil {
		return nil, err
	}
	c, err := collect(dir, m, plan)
	if err != nil {
		return nil, err
	}
	run := &Run{Dir: dir, Manifest: *m, Bad: c.bad, Notes: c.notes}
	for _, rec := range c.byTrial {
		run.Trials = append(run.Trials, rec.trial)
	}
	if run.Manifest.Arms == nil {
		run.Manifest.Arms, run.Manifest.SlowClasses = legacyArms(), legacySlowClasses()
	}
	upgradeRun(run.Trials)
	sort.Slice(run.Trials, func(i, j int) bool { return run.Trials[i].Trial < run.Trials[j].Trial })
	return run, nil
}

// mostBad is how many damaged lines of a run are kept as errors. A file of empty lines
// would fill the memory otherwise.
const mostBad = 100_000

// collected is the content of the two trials files of a run.
type collected struct {
	plan    []Planned // nil if there is none to compare with
	sums    map[int]uint32
	byTrial map[int]record
	bad     []error
	notes   []error
}

// collect reads the trials file and then the side file of the run in dir. A
// trial that is in both (a kill between the append to the one and the removal
// of the other) counts once; two different records of one trial are reported
// and the first stands.
func collect(dir string, m *Manifest, plan Planner) (*collected, error) {
	c := &collected{byTrial: make(map[int]record)}
	trials, note, err := planOf(m, plan)
	if err != nil {
		return nil, fmt.Errorf("read run %s: %w", dir, err)
	}
	c.plan = trials
	// A writer adds the checksum after the record: those of records that are read now
	// and do not have one yet are missed, which does no harm.
	if c.sums, c.notes, err = readSums(dir, m.Planned); err != nil {
		return nil, err
	}
	if note != nil {
		c.notes = append(c.notes, note)
	}
	for _, name := range []string{TrialsFile, partialFile} {
		f, err := OpenFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read run: %w", err)
		}
		line := 0
		for rec, err := range scan(f, name) {
			line++
			if _, isLine := errors.AsType[*LineError](err); err != nil && !isLine {
				f.Close()
				return nil, fmt.Errorf("read run %s: %s: %w", dir, name, err)
			}
			if err == nil {
				if perr := c.add(rec, m); perr != nil {
					err = &LineError{File: name, Line: line, Err: perr}
				}
			}
			if err != nil {
				c.bad = append(c.bad, err)
			}
			if len(c.bad) > mostBad {
				f.Close()
				return nil, fmt.Errorf("read run %s: %s has more than %d lines that are no records: "+
					"it is no file of trials, or a damaged one", dir, name, mostBad)
			}
		}
		f.Close()
	}
	return c, nil
}

func (c *collected) add(rec record, m *Manifest) error {
	t := rec.trial
	if sum, ok := c.sums[t.Trial]; ok && sum != castagnoli(rec.raw) {
		return fmt.Errorf("trial %d: the record does not match its checksum in %s: it was changed or damaged", t.Trial,
			SumsFile)
	}
	if err := m.admits(&t); err != nil {
		return err
	}
	if c.plan != nil {
		if err := c.plan[t.Trial].Check(&t); err != nil {
			return err
		}
	}
	if have, ok := c.byTrial[t.Trial]; ok {
		if string(have.raw) != string(rec.raw) {
			return fmt.Errorf("trial %d has another record already, and they differ: the first stands", t.Trial)
		}
		return nil
	}
	c.byTrial[t.Trial] = rec
	return nil
}

// admits returns an error if the trial cannot belong to the run.
func (m *Manifest) admits(t *Trial) error {
	switch {
	case t.Trial >= m.Planned:
		return fmt.Errorf("trial %d is not in the plan of %d trials", t.Trial, m.Planned)
	case t.Suite != m.Suite.Name:
		return fmt.Errorf("trial %d is of suite %q, the run is of %q", t.Trial, t.Suite, m.Suite.Name)
	case t.Host != m.Host.Kind:
		return fmt.Errorf("trial %d ran on host %q, the run is of %q", t.Trial, t.Host, m.Host.Kind)
	}
	return nil
}
