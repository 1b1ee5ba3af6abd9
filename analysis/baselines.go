package analysis

import (
	"slices"

	"hangbench/analysis/stats"
	"hangbench/results"
)

// BaselineNames returns the detectors of Linux and Xen that the set's valid trials
// listened to, armed or not, in the order of the records.
func (s *Set) BaselineNames() []string {
	var names []string
	for _, c := range s.Cells {
		for i := range c.Trials {
			t := &c.Trials[i]
			if t.Outcome == results.Invalid || t.Baselines == nil {
				continue
			}
			for _, b := range t.Baselines.Detectors {
				names = addName(names, b.Detector)
			}
		}
	}
	return names
}

// BaselineOf is what a trial's record says of a detector of Linux or Xen; nil if
// nobody listened to it.
func BaselineOf(t *results.Trial, detector string) *results.Baseline {
	if t.Baselines == nil {
		return nil
	}
	i := slices.IndexFunc(t.Baselines.Detectors, func(b results.Baseline) bool { return b.Detector == detector })
	if i < 0 {
		return nil
	}
	return &t.Baselines.Detectors[i]
}

// BaselineMS is the time from fault to report of one of these detectors in
// milliseconds.
func BaselineMS(detector string) Measure {
	return func(t *results.Trial) (float64, bool) {
		b := BaselineOf(t, detector)
		if b == nil || b.DetectNS == nil {
			return 0, false
		}
		return float64(*b.DetectNS) / 1e6, true
	}
}

// Watchdog is one detector of Linux or Xen over the trials of a set.
type Watchdog struct {
	Detector, Setting string
	Absent            int              // valid trials whose guest does not have it, or not on
	Lives             []stats.Lifetime // of faults, in milliseconds; without a report censored when it was no longer listened to
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
			if t.Baselines == nil {
				continue
			}
			for _, b := range t.Baselines.Detectors {
				i := slices.IndexFunc(all, func(w *Watchdog) bool { return w.Detector == b.Detector && w.Setting == t.Baselines.Setting })
				if i < 0 {
					i = len(all)
					all = append(all, &Watchdog{Detector: b.Detector, Setting: t.Baselines.Setting})
				}
				all[i].add(c.Fault, t.Baselines.WatchedNS, &b)
			}
		}
	}
	return all
}

func (w *Watchdog) add(fault bool, watchedNS int64, b *results.Baseline) {
	watched := float64(watchedNS)
	switch {
	case !b.Armed:
		w.Absent++
	case !fault:
		watch := stats.Watch{Length: watched / 1e9}
		for range b.FalseAlarms { // when they came is not recorded
			watch.Mistakes = append(watch.Mistakes, stats.Mistake{Start: watch.Length, End: watch.Length})
		}
		w.Controls = append(w.Controls, watch)
	case b.DetectNS != nil:
		w.Lives = append(w.Lives, stats.Lifetime{Time: float64(*b.DetectNS) / 1e6})
		w.Early += b.FalseAlarms
	default:
		w.Lives = append(w.Lives, stats.Lifetime{Time: watched / 1e6, Censored: true})
		w.Early += b.FalseAlarms
	}
}
