package analysis

import (
	"slices"

	"hangbench/analysis/stats"
	"hangbench/results"
)

// Observers names who watched beside our monitor, in the order in which they occur.
func (s *Set) Observers() []string {
	var names []string
	for _, c := range s.Cells {
		for i := range c.Trials {
			if c.Trials[i].Outcome == results.Invalid {
				continue
			}
			for _, f := range c.Trials[i].Findings {
				names = addName(names, f.Observer)
			}
		}
	}
	return names
}

// Watchdog is one detector of Linux or Xen over the trials of a set.
type Watchdog struct {
	Detector, Setting string
	Absent            int // valid trials whose guest does not have it, or not on
	// of faults, in milliseconds; without a report censored when it was no longer listened to
	Lives []stats.Lifetime
	// Controls is the time it was listened to in trials without a fault, in
	// seconds. Reports there are its mistakes, and so are reports before a fault,
	// whose time on watch is not recorded: those are Early.
	Controls []stats.Watch
	Early    int
}

// Watchdogs returns the detectors of Linux and Xen, each with each of its
// settings, in the order in which they occur.
func (s *Set) Watchdogs() []*Watchdog {
	var all []*Watchdog
	for _, c := range s.Cells {
		for _, t := range c.Valid() {
			for _, f := range t.Findings {
				i := slices.IndexFunc(all, func(w *Watchdog) bool { return w.Detector == f.Observer && w.Setting == c.Watchdogs })
				if i < 0 {
					i = len(all)
					all = append(all, &Watchdog{Detector: f.Observer, Setting: c.Watchdogs})
				}
				all[i].add(c.Fault, &f)
			}
		}
	}
	return all
}

func (w *Watchdog) add(fault bool, f *results.Finding) {
	watched := float64(f.WatchedNS)
	switch {
	case !f.Armed:
		w.Absent++
	case !fault:
		watch := stats.Watch{Length: watched / 1e9}
		for range f.FalseAlarms { // when they came is not recorded
			watch.Mistakes = append(watch.Mistakes, stats.Mistake{Start: watch.Length, End: watch.Length})
		}
		w.Controls = append(w.Controls, watch)
	case f.AtNS != nil:
		w.Lives = append(w.Lives, stats.Lifetime{Time: MS(*f.AtNS)})
		w.Early += f.FalseAlarms
	default:
		w.Lives = append(w.Lives, stats.Lifetime{Time: watched / 1e6, Censored: true})
		w.Early += f.FalseAlarms
	}
}
