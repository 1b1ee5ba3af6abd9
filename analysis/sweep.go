package analysis

import (
	"cmp"
	"slices"
	"strings"

	"hangbench/analysis/stats"
	"hangbench/results"
)

// Swept returns the names of the thresholds that the set's trials vary, sorted.
func (s *Set) Swept() []string {
	values := make(map[string]map[int64]bool)
	for _, c := range s.Cells {
		for i := range c.Trials {
			for name, v := range c.Trials[i].Thresholds.All() {
				if values[name] == nil {
					values[name] = make(map[int64]bool)
				}
				values[name][v] = true
			}
		}
	}
	var names []string
	for name, of := range values {
		if len(of) > 1 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// SweepPoint holds the results of one arm with one value of a threshold. A fault that is
// undone after a time stands for a stall that ends by itself. A threshold above its length
// should ignore it.
type SweepPoint struct {
	Arm   string // without the threshold
	Value int64
	// Faults are scenarios that should be detected. Quiet are those that should not:
	// controls, and faults that are undone after a time.
	Faults, Quiet []string
	Lives         []stats.Lifetime // of the faults, in milliseconds
	Called        []string         // classes of their verdicts, sorted: of several rules one may come first
	N             int              // valid trials of Quiet
	Alarms        int              // of these with a verdict
	Classes       []string         // of the alarms, sorted
	QoS           *stats.QoS       // over the controls, in seconds; nil if none was watched
}

// Sweep returns the points of a threshold, arm by arm, by rising value. Only
// trials that set it are in them.
func (s *Set) Sweep(name string, level float64) ([]SweepPoint, error) {
	var points []*SweepPoint
	watches := make(map[*SweepPoint][]stats.Watch)
	for _, c := range s.Cells {
		v, ok := c.Thresholds.Get(name)
		if !ok || !c.Watched() {
			continue
		}
		arm := s.arm(c.Cell)
		i := slices.IndexFunc(points, func(p *SweepPoint) bool { return p.Arm == arm && p.Value == v })
		if i < 0 {
			i = len(points)
			points = append(points, &SweepPoint{Arm: arm, Value: v})
		}
		p := points[i]
		if c.Fault && c.BoundedMS == 0 {
			p.Faults = addName(p.Faults, c.Title())
			p.Lives = append(p.Lives, c.Lifetimes()...)
			for _, t := range c.Valid() {
				if t.Outcome == results.Detected {
					p.Called = addName(p.Called, t.Class)
				}
			}
			continue
		}
		p.Quiet = addName(p.Quiet, c.Title())
		for _, t := range c.Valid() {
			p.N++
			if t.Outcome == results.FalseAlarm || t.Outcome == results.Detected {
				p.Alarms++
				p.Classes = addName(p.Classes, t.Class)
			}
			if w, _ := watched(&t); !c.Fault { // how often faults come is the suite's choice
				watches[p] = append(watches[p], w)
			}
		}
	}
	slices.SortFunc(points, func(a, b *SweepPoint) int {
		return cmp.Or(strings.Compare(a.Arm, b.Arm), cmp.Compare(a.Value, b.Value))
	})
	var all []SweepPoint
	for _, p := range points {
		slices.Sort(p.Called)
		slices.Sort(p.Classes)
		if slices.ContainsFunc(watches[p], func(w stats.Watch) bool { return w.Length > 0 }) {
			q, err := stats.NewQoS(watches[p], level)
			if err != nil {
				return nil, err
			}
			p.QoS = q
		}
		all = append(all, *p)
	}
	return all, nil
}
