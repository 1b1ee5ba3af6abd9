package analysis

import (
	"cmp"
	"slices"

	"hangbench/analysis/stats"
	"hangbench/results"
)

// Campaign is what became of the faults of one arm whose effect nobody knew before, and how
// its verdicts stand against it. Only trials with a monitor are held against anything.
type Campaign struct {
	Label   string
	Watched bool
	Valid   int
	Invalid int
	Early   int            // trials with a verdict before the fault: nothing was injected
	What    map[string]int // trials by Effect.What
	Grew    int            // hangs that were partial first and full in the end
	Partial Tally          // hangs of parts
	Full    Tally          // hangs of all, and crashes
	// Calm are trials in which nothing hung and nothing became slow; Alarms those of them with
	// a verdict. Slow and SlowAlarms are the same of trials in which a part became slow.
	Calm, Alarms     int
	Slow, SlowAlarms int
}

// Tally is what became of the hangs of one kind.
type Tally struct {
	Hangs   int
	Covered int // that had a verdict
	Right   int // that had one of a right class
	// Lives are the times from the first part's last sign of life to the verdict in
	// milliseconds, 0 for a verdict before it. A miss is censored at the deadline.
	Lives []stats.Lifetime
}

// Add adds another tally.
func (t *Tally) Add(o Tally) {
	t.Hangs, t.Covered, t.Right = t.Hangs+o.Hangs, t.Covered+o.Covered, t.Right+o.Right
	t.Lives = append(t.Lives, o.Lives...)
}

func (t *Tally) add(r *results.Trial) {
	t.Hangs++
	life := stats.Lifetime{Time: MS(max(r.DeadlineNS-*r.Effect.HungNS, 0)), Censored: true}
	if r.DetectNS != nil {
		t.Covered++
		if RightlyCalled(r) {
			t.Right++
		}
		life = stats.Lifetime{Time: MS(max(*r.DetectNS-*r.Effect.HungNS, 0))}
	}
	t.Lives = append(t.Lives, life)
}

// RightlyCalled reports whether the verdict names a class that the evidence permits.
func RightlyCalled(r *results.Trial) bool {
	return r.Effect != nil && r.Class != "" && slices.Contains(r.Effect.Right, r.Class)
}

// Campaigns returns a Campaign for each arm of the trials in Unknown, by the arms' labels.
func (s *Set) Campaigns() []*Campaign {
	var all []*Campaign
	for i := range s.Unknown {
		t := &s.Unknown[i]
		label := s.Label(t.Cell)
		at := slices.IndexFunc(all, func(c *Campaign) bool { return c.Label == label })
		if at < 0 {
			at = len(all)
			all = append(all, &Campaign{Label: label, Watched: t.Arm.Watched(), What: make(map[string]int)})
		}
		all[at].add(t)
	}
	slices.SortStableFunc(all, func(a, b *Campaign) int { return cmp.Compare(a.Label, b.Label) })
	return all
}

func (c *Campaign) add(t *results.Trial) {
	if t.Outcome == results.Invalid {
		c.Invalid++
		return
	}
	c.Valid++
	e := t.Effect
	if e == nil {
		c.Early++
		return
	}
	c.What[e.What]++
	alarm := 0
	if t.Class != "" {
		alarm = 1
	}
	switch e.What {
	case results.PartHung:
		c.Partial.add(t)
	case results.AllHung, results.Crashed:
		c.Full.add(t)
		if e.Grew {
			c.Grew++
		}
	case results.Slowed:
		c.Slow++
		c.SlowAlarms += alarm
	default:
		c.Calm++
		c.Alarms += alarm
	}
}
