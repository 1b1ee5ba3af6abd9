package claims

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"hangbench/analysis"
	"hangbench/analysis/stats"
	"hangbench/analysis/table"
	"hangbench/results"
)

// Claim is one claim and whether it holds in the run.
type Claim struct {
	ID    string // C1 to C5
	Says  string
	Holds bool
	By    string // the numbers
	// SoFar says which trials are missing, without which the claim cannot be judged for
	// good. It is empty if none is.
	SoFar string
}

// InTime and InTimeWaiting are the times in milliseconds within which a hang must be
// detected for C1. InTimeWaiting is for hangs of a slow class
// (results.Manifest.SlowClasses), InTime for all others. A healthy guest waits for seconds
// too, so the verdict on a hang of a slow class needs seconds.
const (
	InTime        = 1000
	InTimeWaiting = 5000
)

// Of returns the claims for which the set has trials, from C1 to C5.
func Of(set *analysis.Set) ([]Claim, error) {
	var all []Claim
	for _, f := range []func(*analysis.Set) (*Claim, error){realTime, violationsOccur, altp2mMinimises, noFalseAlarm,
		survives} {
		c, err := f(set)
		if err != nil {
			return nil, err
		}
		if c != nil {
			c.SoFar = set.Incomplete()
			all = append(all, *c)
		}
	}
	return all, nil
}

// Verdict says whether the claim holds, and by which numbers.
func (c *Claim) Verdict() string {
	verdict := "does not hold"
	switch {
	case c.Holds && c.SoFar != "":
		verdict = "undecided, holds so far"
	case c.Holds:
		verdict = "holds"
	}
	if c.SoFar != "" {
		verdict += " (" + c.SoFar + ")"
	}
	return verdict + ": " + c.By
}

// Table returns the claims as a table.
func Table(set *analysis.Set) (*table.Table, error) {
	all, err := Of(set)
	if err != nil {
		return nil, err
	}
	t := table.New("Claims", table.TextColumn("claim", "claim"), table.TextColumn("says", "says"),
		table.TextColumn("this run", "verdict"))
	t.Flat = true
	for _, c := range all {
		t.Add(table.Text(c.ID), table.Text(c.Says), table.Text(c.Verdict()))
	}
	t.Notes = append(t.Notes, "What counts as holding is in EXPERIMENTS.md. Few trials say little: see the intervals.")
	t.Mark(set)
	return t, nil
}

// valid calls each with every valid trial of the cells that pick selects. Claims are about
// the default thresholds: trials with others are left out.
func valid(set *analysis.Set, pick func(*analysis.Cell) bool, each func(*results.Trial)) {
	for _, c := range set.Cells {
		if !pick(c) || c.Thresholds != "" {
			continue
		}
		for i := range c.Trials {
			if c.Trials[i].Outcome != results.Invalid {
				each(&c.Trials[i])
			}
		}
	}
}

func monitored(c *analysis.Cell) bool { return c.Arm.Watched() }

// realTime is C1: every fault with a monitor is detected, in time. Bounded faults are left
// out, because a trial of one may rightly have no verdict.
func realTime(set *analysis.Set) (*Claim, error) {
	n, k := 0, 0
	var last, lastWaiting float64
	var waiting []string
	valid(set, func(c *analysis.Cell) bool { return c.Fault && c.BoundedMS == 0 && monitored(c) }, func(t *results.Trial) {
		n++
		ms, ok := analysis.DetectTime.Of(t)
		if !ok {
			return
		}
		k++
		if !slices.Contains(set.SlowClasses, t.Expected) {
			last = max(last, ms)
			return
		}
		lastWaiting = max(lastWaiting, ms)
		if !slices.Contains(waiting, t.Expected) {
			waiting = append(waiting, t.Expected)
		}
	})
	if n == 0 {
		return nil, nil
	}
	by := fmt.Sprintf("%d of %d detected", k, n)
	if last > 0 {
		by += fmt.Sprintf(", the last after %.0f ms", last)
	}
	if len(waiting) > 0 {
		slices.Sort(waiting)
		by += fmt.Sprintf("; of class %s the last after %.0f ms", strings.Join(waiting, ", "), lastWaiting)
	}
	return &Claim{ID: "C1", Says: "hangs are detected from outside, in real time", Holds: k == n && last < InTime &&
		lastWaiting < InTimeWaiting, By: by}, nil
}

// violationsOccur is C2: page traps cause EPT violations, and every violation is explained.
// Mechanisms that trap no page are left out.
func violationsOccur(set *analysis.Set) (*Claim, error) {
	var events, permission, residual, lost uint64
	n := 0
	valid(set, func(c *analysis.Cell) bool { return set.Arms[c.Mechanism].PageTrap }, func(t *results.Trial) {
		n++
		events += t.Events.Delivered
		permission += t.EPT.Permission
		residual += t.EPT.Residual
		lost += t.EPT.TraceLost
	})
	if n == 0 {
		return nil, nil
	}
	return &Claim{ID: "C2", Says: "EPT violations occur while monitoring", Holds: permission > 0 && events == permission &&
		residual == 0 && lost == 0,
		By: fmt.Sprintf("%d events, %d violations on trapped pages, %d unexplained, %d lost", events, permission, residual,
			lost)}, nil
}

// altp2mMinimises is C3: in every pair, altp2m has fewer violations than the same trap in
// the host view, all classes together.
func altp2mMinimises(set *analysis.Set) (*Claim, error) {
	holds := true
	var by []string
	for _, name := range slices.Sorted(maps.Keys(set.Arms)) {
		arm := set.Arms[name]
		if !arm.PageTrap || arm.View != results.Altp2mView || arm.TwinOf == "" {
			continue
		}
		s, err := stats.PairedRatio(set.TwinPairs(name, analysis.EPTTotal.Of), table.Level)
		if err != nil {
			continue // no trials of both
		}
		holds = holds && s.Max < 1
		by = append(by, fmt.Sprintf("%.1f times as many with %s as with %s, %.1f to %.1f in %d pairs",
			s.Median, name, arm.TwinOf, s.Min, s.Max, s.N))
	}
	if len(by) == 0 {
		return nil, nil // no pair
	}
	return &Claim{ID: "C3", Says: "altp2m minimises EPT violations", Holds: holds, By: strings.Join(by, "; ")}, nil
}

// noFalseAlarm is C4: there is no verdict on a control.
func noFalseAlarm(set *analysis.Set) (*Claim, error) {
	n, k := 0, 0
	valid(set, func(c *analysis.Cell) bool { return !c.Fault && monitored(c) }, func(t *results.Trial) {
		n++
		if t.Outcome == results.FalseAlarm {
			k++
		}
	})
	if n == 0 {
		return nil, nil
	}
	iv, err := stats.ClopperPearson(k, n, table.Level)
	if err != nil {
		return nil, err
	}
	return &Claim{ID: "C4", Says: "an idle or busy guest is not called hung", Holds: k == 0,
		By: fmt.Sprintf("%d of %d (exact 95%%: up to %.0f%%)", k, n, 100*iv.Hi)}, nil
}

// survives is C5: every guest goes on after the fault was removed and the monitor
// detached.
func survives(set *analysis.Set) (*Claim, error) {
	tried, recovered, invalid, all := 0, 0, 0, 0
	for _, c := range set.Cells {
		all += len(c.Trials)
		invalid += c.Counts.Invalid
		if monitored(c) {
			tried += c.Counts.RecoveredOf
			recovered += c.Counts.Recovered
		}
	}
	return &Claim{ID: "C5", Says: "the guest survives the monitor", Holds: recovered == tried && invalid == 0,
		By: fmt.Sprintf("%d of %d recovered, %d of %d trials invalid", recovered, tried, invalid, all)}, nil
}
