package analysis

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"hangbench/results"
)

// Key is what the trials of a cell have in common.
type Key struct {
	Scenario   string
	Mechanism  string
	Driver     string
	Kernel     string
	VCPUs      int
	MemoryMiB  int
	Neighbours int   // more guests like it that were monitored beside it
	BoundedMS  int64 // how long the fault lasts; 0 if until the verdict
	// Thresholds are the detector's that were set, as in "io_ms 500"; empty if it had
	// its defaults.
	Thresholds string
}

// Title is the scenario, with the length of its fault if that is bounded.
func (k Key) Title() string { return title(k.Scenario, k.BoundedMS) }

// Title is the title of the trial's cell.
func Title(t *results.Trial) string { return title(t.Scenario, t.BoundedMS) }

func title(scenario string, boundedMS int64) string {
	if boundedMS == 0 {
		return scenario
	}
	return fmt.Sprintf("%s, %g s", scenario, float64(boundedMS)/1000)
}

// Guest describes the cell's guest in a few words.
func (k Key) Guest() string {
	parts := k.guestParts()
	return strings.Join(slices.DeleteFunc(parts[:], func(s string) bool { return s == "" }), ", ")
}

// guestParts are the words of Guest one by one.
// There is none about neighbours where there are none.
func (k Key) guestParts() [4]string {
	beside := ""
	if k.Neighbours > 0 {
		beside = fmt.Sprintf("beside %d more", k.Neighbours)
	}
	return [4]string{k.Kernel, fmt.Sprintf("%d vCPU", k.VCPUs), fmt.Sprintf("%d MiB", k.MemoryMiB), beside}
}

// Cell is the trials of one key, in plan order.
type Cell struct {
	Key
	// Fault says that the scenario injects a fault; without, it is a control.
	Fault bool
	// Label names the cell's arm among the others of its scenario: the
	// mechanism, with driver and guest where the set has several, and the
	// thresholds that were set.
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

// Watched says whether the cell could have come to a verdict: mechanism none
// is no monitor, and not to see a hang is no failing of it.
func (c *Cell) Watched() bool {
	return c.Mechanism != "none" || c.Counts.Detected+c.Counts.FalseAlarms > 0
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

	suites, drivers []string
	guests          [4][]string // kernels, vCPUs, memory sizes: see guestParts
	trials          int
}

// Group makes cells of trials. It refuses an empty list, and trials of several
// hosts: the virtual time of the lab and the time of a real host do not mix.
func Group(trials []results.Trial) (*Set, error) {
	if len(trials) == 0 {
		return nil, errors.New("there are no trials to summarise")
	}
	s := &Set{Host: trials[0].Host, trials: len(trials)}
	cells := make(map[Key]*Cell)
	fault := make(map[string]bool)
	for _, t := range trials {
		if t.Host != s.Host {
			return nil, fmt.Errorf("trials of hosts %q and %q do not mix: their clocks differ, summarise them apart", s.Host, t.Host)
		}
		k := KeyOf(&t)
		c := cells[k]
		if c == nil {
			c = &Cell{Key: k}
			cells[k] = c
			s.Cells = append(s.Cells, c)
		}
		c.Trials = append(c.Trials, t)
		c.Counts.add(&t)
		s.suites = addName(s.suites, t.Suite)
		s.drivers = addName(s.drivers, t.Driver)
		for i, part := range k.guestParts() {
			s.guests[i] = addName(s.guests[i], part)
		}
		if t.Expected != "" || t.DeadlineNS > 0 || t.Outcome == results.Undone || t.Outcome == results.Detected || t.Outcome == results.Missed {
			fault[t.Scenario] = true
		}
	}
	for _, c := range s.Cells {
		c.Fault = fault[c.Scenario]
		c.Label = s.label(c.Key)
		slices.SortStableFunc(c.Trials, func(a, b results.Trial) int { return cmp.Compare(a.Trial, b.Trial) })
	}
	slices.SortStableFunc(s.Cells, compareCells)
	return s, nil
}

// KeyOf is the key of the trial's cell.
func KeyOf(t *results.Trial) Key {
	kernel := t.GuestKernel
	if t.GuestBoot != "" {
		kernel += ", " + t.GuestBoot // another kernel to all intents: never averaged with the plain one
	}
	if t.Programs != "" {
		kernel += ", with " + t.Programs // another initramfs, which leaves it other memory
	}
	if t.Superpages {
		kernel += ", superpages" // another machine, as far as views go
	}
	if t.Baselines != nil {
		kernel += ", watchdogs " + t.Baselines.Setting // their thresholds change what the guest does, and how long a trial lasts
	}
	return Key{t.Scenario, t.Mechanism, t.Driver, kernel, t.VCPUs, t.MemoryMiB, t.Neighbours, t.BoundedMS, thresholds(t.Thresholds)}
}

// Label is the label of the trial's cell.
func (s *Set) Label(t *results.Trial) string { return s.label(KeyOf(t)) }

func (s *Set) label(k Key) string {
	label := s.arm(k)
	if k.Thresholds != "" {
		label += ", " + k.Thresholds
	}
	return label
}

// arm is a label without thresholds.
func (s *Set) arm(k Key) string { return s.watch(k) + s.guestNote(k) }

// watch is the mechanism, with the driver where the set has several.
func (s *Set) watch(k Key) string {
	if len(s.drivers) > 1 {
		return k.Mechanism + "/" + k.Driver
	}
	return k.Mechanism
}

// guestNote is what tells the guest from the set's others, in brackets; empty if
// nothing does.
func (s *Set) guestNote(k Key) string {
	var differ []string
	for i, part := range k.guestParts() {
		if len(s.guests[i]) > 1 && part != "" {
			differ = append(differ, part)
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
	return cmp.Or(
		cmp.Compare(first(a.Fault), first(b.Fault)),
		cmp.Compare(a.Scenario, b.Scenario),
		cmp.Compare(a.BoundedMS, b.BoundedMS),
		cmp.Compare(first(a.Mechanism == "none"), first(b.Mechanism == "none")),
		cmp.Compare(a.Mechanism, b.Mechanism),
		cmp.Compare(a.Driver, b.Driver),
		cmp.Compare(a.Kernel, b.Kernel),
		cmp.Compare(a.VCPUs, b.VCPUs),
		cmp.Compare(a.MemoryMiB, b.MemoryMiB),
		cmp.Compare(a.Neighbours, b.Neighbours),
		compareThresholds(a.Thresholds, b.Thresholds),
	)
}

func addName(names []string, name string) []string {
	if slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}

// HostLabel says what a host's numbers are, for every table and figure.
func (s *Set) HostLabel() string {
	switch s.Host {
	case "lab":
		return "host: lab (emulated; virtual time)"
	case "xen":
		return "host: xen (this machine's hardware)"
	}
	return "host: " + s.Host
}

// Caption says where the numbers of the set come from, in one line.
func (s *Set) Caption() string {
	parts := []string{s.HostLabel(), "suite: " + strings.Join(s.suites, ", ")}
	if len(s.drivers) == 1 {
		parts = append(parts, "driver: "+s.drivers[0])
	}
	var guest []string // what all guests have in common
	for _, names := range s.guests {
		if len(names) == 1 && names[0] != "" {
			guest = append(guest, names[0])
		}
	}
	if len(guest) > 0 {
		parts = append(parts, "guest: "+strings.Join(guest, ", "))
	}
	noun := "trials"
	if s.trials == 1 {
		noun = "trial"
	}
	return strings.Join(append(parts, fmt.Sprintf("%d %s", s.trials, noun)), "; ")
}
