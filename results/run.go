package results

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
)

// Run is a run as it lies on disk.
type Run struct {
	Dir      string
	Manifest Manifest
	Trials   []Trial // in plan order, each once
	Bad      []error // lines left out, each with its file and line; show them
}

// Missing returns how many planned trials have no record.
func (r *Run) Missing() int { return max(0, r.Manifest.Planned-len(r.Trials)) }

// ReadRun reads the run in dir, finished or not, without locking it. Lines
// that cannot be believed are collected in Bad; only a missing or foreign
// manifest or a failing disk is an error.
func ReadRun(dir string) (*Run, error) {
	m, err := readManifest(dir)
	if err != nil {
		return nil, err
	}
	c, err := collect(dir, m)
	if err != nil {
		return nil, err
	}
	run := &Run{Dir: dir, Manifest: *m, Bad: c.bad}
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

// collected is the content of the two trials files of a run.
type collected struct {
	byTrial map[int]record
	bad     []error
}

// collect reads the trials file and then the side file of the run in dir. A
// trial that is in both (a kill between the append to the one and the removal
// of the other) counts once; two different records of one trial are reported
// and the first stands.
func collect(dir string, m *Manifest) (*collected, error) {
	c := &collected{byTrial: make(map[int]record)}
	for _, name := range []string{TrialsFile, partialFile} {
		f, err := os.Open(filepath.Join(dir, name))
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
		}
		f.Close()
	}
	return c, nil
}

func (c *collected) add(rec record, m *Manifest) error {
	if err := m.admits(&rec.trial); err != nil {
		return err
	}
	t := rec.trial
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
