package analysis

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"hangbench/results"
)

// Cell is the trials of one cell, in plan order.
type Cell struct {
	results.Cell
	// Fault: the scenario injects a fault.
	Fault bool
	// Label names the cell's arm among the others of its scenario: the mechanism, with
	// driver and guest where the set has several, and the thresholds that were set.
	Label  string
	Trials []results.Trial
	Counts Counts
}

// Counts are the outcomes of a cell.
type Counts struct {
	Valid       int // all but the invalid ones
	Invalid     int
	Detected    int
	Missed      int
	Undone      int // bounded faults that were over before any verdict
	FalseAlarms int
	Clean       int

	Recovered   int // of RecoveredOf valid trials in which recovery was tried
	RecoveredOf int
}

// Watched reports whether the cell could have come to a verdict: it has a monitor, or
// there was a verdict all the same.
func (c *Cell) Watched() bool {
	return c.Arm.Watched() || c.Counts.Detected+c.Counts.FalseAlarms > 0
}

// Valid returns the trials that may enter a measure.
func (c *Cell) Valid() []results.Trial {
	var valid []results.Trial
	for _, t := range c.Trials {
		if t.Outcome != results.Invalid {
			valid = append(valid, t)
		}
	}
	return valid
}

// Values returns the measure's value of every valid trial that has one.
func (c *Cell) Values(m Measure) []float64 {
	xs := make([]float64, 0, len(c.Trials))
	for i := range c.Trials {
		t := &c.Trials[i] // a Trial is large: no copies
		if t.Outcome == results.Invalid {
			continue
		}
		if x, ok := m(t); ok {
			xs = append(xs, x)
		}
	}
	return xs
}

// Classes tells the classes of the cell's verdicts with their counts when
// there are several, as in "spin" or "hard 1, spin 2"; empty without a verdict.
func (c *Cell) Classes() string {
	count := make(map[string]int)
	for i := range c.Trials {
		if t := &c.Trials[i]; t.Outcome != results.Invalid && t.Class != "" {
			count[t.Class]++
		}
	}
	var parts []string
	for class, n := range count {
		if len(count) == 1 {
			return class
		}
		parts = append(parts, fmt.Sprintf("%s %d", class, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// Work says what an operation of the cell's workload is, and what program does it;
// empty if it has none. Several programs, as other versions are, are all named.
func (c *Cell) Work() (op, by string) {
	var ops, programs []string
	for i := range c.Trials {
		if w := c.Trials[i].Workload; w != nil {
			ops, programs = addName(ops, w.Op), addName(programs, w.Program)
		}
	}
	return strings.Join(ops, ", "), strings.Join(programs, ", ")
}

// Set is the cells of one host's trials: faults before controls, scenarios by
// name, no monitor before the mechanisms by name.
type Set struct {
	Host  string
	Cells []*Cell
	// Unknown are the trials of faults whose effect nobody knew before, in plan order. They
	// are in no cell: what became of each is told by its record alone.
	Unknown []results.Trial
	// Arms and SlowClasses are those of the runs' manifests.
	Arms        results.Arms
	SlowClasses []string

	suites, drivers []string
	factors         map[string][]results.Factor // the values that occur, by name
	first           results.Cell                // of any trial
	trials          int
	missing         int // planned trials without a record
	damaged         int // records left out
}

// Group makes cells of the trials of runs. It refuses runs without a trial, and trials
// of several hosts: the virtual time of the lab and the time of a real host do not mix.
func Group(runs ...*results.Run) (*Set, error) {
	s := &Set{Arms: make(results.Arms), factors: make(map[string][]results.Factor)}
	var trials []results.Trial
	for _, r := range runs {
		trials = append(trials, r.Trials...)
		s.missing, s.damaged = s.missing+r.Missing(), s.damaged+len(r.Bad)
		maps.Copy(s.Arms, r.Manifest.Arms)
		for _, class := range r.Manifest.SlowClasses {
			s.SlowClasses = addName(s.SlowClasses, class)
		}
	}
	if len(trials) == 0 {
		return nil, errors.New("there are no trials to summarise")
	}
	s.Host, s.trials, s.first = trials[0].Host, len(trials), trials[0].Cell
	cells := make(map[results.Cell]*Cell)
	for _, t := range trials {
		if t.Host != s.Host {
			return nil, fmt.Errorf("trials of hosts %q and %q do not mix: their clocks differ, summarise them apart", s.Host,
				t.Host)
		}
		s.suites = addName(s.suites, t.Suite)
		s.drivers = addName(s.drivers, t.Driver)
		c := cells[t.Cell]
		if c == nil {
			c = &Cell{Cell: t.Cell, Fault: t.Kind == results.Fault}
			cells[t.Cell] = c
			if t.Kind != results.Unknown {
				s.Cells = append(s.Cells, c)
			}
			for _, f := range t.Factors() {
				if !slices.Contains(s.factors[f.Name], f) {
					s.factors[f.Name] = append(s.factors[f.Name], f)
				}
			}
		}
		if t.Kind == results.Unknown {
			s.Unknown = append(s.Unknown, t)
			continue
		}
		c.Trials = append(c.Trials, t)
		c.Counts.add(&t)
	}
	slices.SortStableFunc(s.Unknown, func(a, b results.Trial) int { return cmp.Compare(a.Trial, b.Trial) })
	for _, c := range s.Cells {
		c.Label = s.Label(c.Cell)
		slices.SortStableFunc(c.Trials, func(a, b results.Trial) int { return cmp.Compare(a.Trial, b.Trial) })
	}
	slices.SortStableFunc(s.Cells, compareCells)
	return s, nil
}

// Label names the arm of a cell of the set: see Cell.
func (s *Set) Label(c results.Cell) string {
	label := s.arm(c)
	if c.Thresholds != "" {
		label += ", " + string(c.Thresholds)
	}
	return label
}

// arm is a label without thresholds.
func (s *Set) arm(c results.Cell) string { return s.watch(c) + s.guestNote(c) }

// watch is the mechanism, with the driver where the set has several.
func (s *Set) watch(c results.Cell) string {
	if len(s.drivers) > 1 {
		return c.Mechanism + "/" + c.Driver
	}
	return c.Mechanism
}

// guestNote names the factors of the guest that differ within the set, in brackets. It
// is empty if none does.
func (s *Set) guestNote(c results.Cell) string {
	var differ []string
	for _, f := range c.Factors() {
		if len(s.factors[f.Name]) > 1 && f.Label != "" {
			differ = append(differ, f.Label)
		}
	}
	if len(differ) == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s)", strings.Join(differ, ", "))
}

func (n *Counts) add(t *results.Trial) {
	if t.Outcome == results.Invalid {
		n.Invalid++
		return
	}
	n.Valid++
	switch t.Outcome {
	case results.Detected:
		n.Detected++
	case results.Missed:
		n.Missed++
	case results.Undone:
		n.Undone++
	case results.FalseAlarm:
		n.FalseAlarms++
	case results.Clean:
		n.Clean++
	}
	if t.Recovered != nil {
		n.RecoveredOf++
		if *t.Recovered {
			n.Recovered++
		}
	}
}

func compareCells(a, b *Cell) int {
	first := func(is bool) int {
		if is {
			return 0
		}
		return 1
	}
	order := cmp.Or(
		cmp.Compare(first(a.Fault), first(b.Fault)),
		cmp.Compare(a.Scenario, b.Scenario),
		cmp.Compare(a.BoundedMS, b.BoundedMS),
		cmp.Compare(first(!a.Arm.Watched()), first(!b.Arm.Watched())),
		cmp.Compare(a.Mechanism, b.Mechanism),
		cmp.Compare(a.Driver, b.Driver),
	)
	theirs := b.Factors()
	for i, f := range a.Factors() {
		order = cmp.Or(order, f.Compare(theirs[i]))
	}
	return cmp.Or(order, a.Thresholds.Compare(b.Thresholds))
}

func addName(names []string, name string) []string {
	if slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}

// HostLabel says what a host's numbers are, for every table and figure.
func (s *Set) HostLabel() string {
	return "host: " + results.HostTitle(s.Host)
}

// Caption says where the numbers of the set come from, in one line.
func (s *Set) Caption() string {
	parts := []string{s.HostLabel(), "suite: " + strings.Join(s.suites, ", ")}
	if len(s.drivers) == 1 {
		parts = append(parts, "driver: "+s.drivers[0])
	}
	var guest []string // what all guests have in common
	for _, f := range s.first.Factors() {
		if len(s.factors[f.Name]) == 1 && f.Label != "" {
			guest = append(guest, f.Label)
		}
	}
	if len(guest) > 0 {
		parts = append(parts, "guest: "+strings.Join(guest, ", "))
	}
	noun := "trials"
	if s.trials == 1 {
		noun = "trial"
	}
	parts = append(parts, fmt.Sprintf("%d %s", s.trials, noun))
	if text := s.Incomplete(); text != "" {
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}
