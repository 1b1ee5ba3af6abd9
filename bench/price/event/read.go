package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"

	"hangbench/results"
	"hangbench/results/printable"
)

// Limits of what a report may have, far above what is measured.
const (
	maxFile      = 16 << 20 // bytes
	maxSeries    = 64
	maxBlocks    = 100
	maxNS        = 1e15 // of a window, twelve days; also of cycles of an event
	maxPerSecond = 1e12 // of the time-stamp counter
)

// Read reads a report as "hangbench bench event --json" writes it. The rows must follow
// from the series: a file in which one number has changed is an error.
func Read(from io.Reader) (*Report, error) {
	b, err := io.ReadAll(io.LimitReader(from, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("it has more than %d bytes", maxFile)
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("it is no report of \"hangbench bench event --json\": %w", printable.JSON(err))
	}
	printable.Fields(&r)
	if err := r.check(); err != nil {
		return nil, err
	}
	again := r
	again.Compute()
	if !reflect.DeepEqual(again.Rows, r.Rows) || !reflect.DeepEqual(again.Poll, r.Poll) {
		return nil, errors.New("its rows do not follow from its series: the file has changed since it was written")
	}
	return &r, nil
}

// check reports what is impossible in a report. What it accepts Compute can divide by.
func (r *Report) check() error {
	switch {
	case r.Schema != Schema:
		return fmt.Errorf("its schema is %d, and this program reads %d", r.Schema, Schema)
	case !slices.Contains(results.HostKinds(), r.Host):
		return fmt.Errorf("its host is %q", r.Host)
	case r.PerSecond <= 0 || r.PerSecond > maxPerSecond:
		return fmt.Errorf("its instr_per_sec is %g", r.PerSecond)
	case len(r.Series) == 0:
		return errors.New("it has no series: measure at least one mechanism")
	case len(r.Series) > maxSeries:
		return fmt.Errorf("it has %d series", len(r.Series))
	}
	seen := map[string]bool{}
	for _, s := range r.Series {
		if !slices.Contains(Mechanisms(), s.Mechanism) || seen[s.Mechanism] {
			return fmt.Errorf("it has a series of mechanism %.60q, which is unknown or there twice", s.Mechanism)
		}
		seen[s.Mechanism] = true
		if len(s.Blocks) == 0 || len(s.Blocks) > maxBlocks {
			return fmt.Errorf("%s has %d blocks", s.Mechanism, len(s.Blocks))
		}
		for _, side := range []*Side{s.TimedOurs, s.TimedC} {
			if side == nil {
				continue
			}
			for part, cycles := range side.Parts {
				if cycles < 0 || cycles > maxNS {
					return fmt.Errorf("an event of %s has %g cycles in the part %.60q", s.Mechanism, cycles, part)
				}
			}
		}
		for i, b := range s.Blocks {
			for _, w := range []Window{b.Base, b.Ours, b.C} {
				if w.NS <= 0 || w.NS > maxNS || w.Dom0NS < 0 || w.Dom0NS > maxNS {
					return fmt.Errorf("block %d of %s has a window of %d ns, with %d ns of dom0", i+1, s.Mechanism, w.NS, w.Dom0NS)
				}
			}
			if b.Base.Work == 0 || b.Ours.Events == 0 || b.C.Events == 0 {
				return fmt.Errorf("block %d of %s has a window without work or events", i+1, s.Mechanism)
			}
		}
	}
	return nil
}
