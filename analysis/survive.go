package analysis

import (
	"slices"

	"hangbench/analysis/stats"
	"hangbench/results"
)

// Lifetimes are the lives of the cell's hangs in milliseconds: from the fault to
// the verdict, or to the deadline, at which a miss is censored. Alarms before the
// fault are no detection of it and no miss, and are not among them.
func (c *Cell) Lifetimes() []stats.Lifetime {
	var lives []stats.Lifetime
	for i := range c.Trials {
		t := &c.Trials[i]
		switch {
		case t.Outcome == results.Detected && t.DetectNS != nil:
			lives = append(lives, stats.Lifetime{Time: MS(*t.DetectNS)})
		case t.Outcome == results.Missed && t.DeadlineNS > 0:
			lives = append(lives, stats.Lifetime{Time: MS(t.DeadlineNS), Censored: true})
		}
	}
	return lives
}

// Right counts the detected trials whose class is the expected one.
func (c *Cell) Right() int {
	n := 0
	for i := range c.Trials {
		if t := &c.Trials[i]; t.Outcome == results.Detected && t.Class == t.Expected {
			n++
		}
	}
	return n
}

// Expected is the class that is right for the cell's fault; empty for a control.
func (c *Cell) Expected() string {
	for i := range c.Trials {
		if c.Trials[i].Expected != "" {
			return c.Trials[i].Expected
		}
	}
	return ""
}

// Cell returns the cell that is c; nil if the set has none.
func (s *Set) Cell(c results.Cell) *Cell {
	i := slices.IndexFunc(s.Cells, func(have *Cell) bool { return have.Cell == c })
	if i < 0 {
		return nil
	}
	return s.Cells[i]
}

// TwinPairs pairs the measure of the mechanism's trials with that of the trials of its
// twin, which sets the same trap in the host view, cell by cell.
func (s *Set) TwinPairs(mechanism string, m Measure) []stats.Pair {
	var pairs []stats.Pair
	for _, c := range s.Cells {
		if c.Mechanism != mechanism {
			continue
		}
		twin := c.Cell
		twin.Mechanism = s.Arms[mechanism].TwinOf
		pairs = append(pairs, c.Pairs(s.Cell(twin), m)...)
	}
	return pairs
}

// Pairs pairs the measure of the cell's valid trials with that of base's trials
// of the same block.
func (c *Cell) Pairs(base *Cell, m Measure) []stats.Pair {
	if base == nil {
		return nil
	}
	of := make(map[int]float64)
	for _, t := range base.Valid() {
		if x, ok := m(&t); ok {
			of[t.Block] = x
		}
	}
	var pairs []stats.Pair
	for _, t := range c.Valid() {
		x, ok := m(&t)
		if b, both := of[t.Block]; ok && both {
			pairs = append(pairs, stats.Pair{Base: b, Next: x})
		}
	}
	return pairs
}

// Accuracy is how a monitor did while nothing was wrong: the controls of one arm.
type Accuracy struct {
	Label    string
	Controls int // valid trials of controls
	Alarms   int // of these with a verdict
	// Early counts alarms of faults before their fault, whose time on watch is not
	// recorded: they are not among Alarms.
	Early int
	// Unended counts mistakes that lasted until the monitor was detached: how long
	// they would have lasted is not known.
	Unended int
	QoS     *stats.QoS // over the controls, in seconds; nil if none was watched
}

// watched is the trial of a control as a time on watch, in seconds, and how many of
// its mistakes lasted until its end.
func watched(t *results.Trial) (w stats.Watch, unended int) {
	w.Length = Seconds(t.WindowNS)
	for _, alarm := range t.Alarms {
		m := stats.Mistake{Start: min(Seconds(alarm.StartNS), w.Length), End: w.Length}
		if alarm.EndNS != nil {
			m.End = min(Seconds(*alarm.EndNS), w.Length)
		} else {
			unended++
		}
		w.Mistakes = append(w.Mistakes, m)
	}
	if t.Outcome == results.FalseAlarm && len(t.Alarms) == 0 { // it ended the trial
		w.Mistakes, unended = []stats.Mistake{{Start: w.Length, End: w.Length}}, 1
	}
	return w, unended
}

// Accuracies returns the accuracy of every monitored arm, in the order of the
// set's labels.
func (s *Set) Accuracies(level float64) ([]Accuracy, error) {
	var order []string
	by := make(map[string]*Accuracy)
	watches := make(map[string][]stats.Watch)
	for _, c := range s.Cells {
		if !c.Arm.Watched() {
			continue
		}
		a := by[c.Label]
		if a == nil {
			a = &Accuracy{Label: c.Label}
			by[c.Label] = a
			order = append(order, c.Label)
		}
		if c.Fault {
			a.Early += c.Counts.FalseAlarms
			continue
		}
		for _, t := range c.Valid() {
			if t.Outcome == results.FalseAlarm {
				a.Alarms++
			}
			a.Controls++
			w, unended := watched(&t)
			a.Unended += unended
			watches[c.Label] = append(watches[c.Label], w)
		}
	}
	slices.Sort(order)
	var all []Accuracy
	for _, label := range order {
		a := by[label]
		if slices.ContainsFunc(watches[label], func(w stats.Watch) bool { return w.Length > 0 }) {
			q, err := stats.NewQoS(watches[label], level)
			if err != nil {
				return nil, err
			}
			a.QoS = q
		}
		all = append(all, *a)
	}
	return all, nil
}
