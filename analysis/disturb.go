package analysis

import (
	"slices"

	"hangbench/analysis/stats"
	"hangbench/results"
)

// Disturbance is how those who watched did in the trials of one control, on all guests.
// Every report is a false alarm.
type Disturbance struct {
	Title string // of the control
	Watch string // mechanism, with the driver where the set has several
	// Trials and Alarms are the valid trials, and those of them with an alarm of the monitor.
	Trials, Alarms int
	Invalid        int
	// Monitor is what the monitor watched, in seconds, and Linux what the watchdogs of the
	// guest's kernel did in the same trials. A trial in which none of them was armed is not
	// among the latter.
	Monitor, Linux []stats.Watch
}

// Disturbances returns one Disturbance for each control and each mechanism that watched it,
// in the order of the cells. Trials that measure a workload are not among them.
func (s *Set) Disturbances() []*Disturbance {
	var all []*Disturbance
	for _, c := range s.Cells {
		if c.Fault || c.Kind == results.Measured || !c.Arm.Watched() {
			continue
		}
		title, watch := c.Title(), s.watch(c.Cell)
		i := slices.IndexFunc(all, func(d *Disturbance) bool { return d.Title == title && d.Watch == watch })
		if i < 0 {
			i = len(all)
			all = append(all, &Disturbance{Title: title, Watch: watch})
		}
		all[i].add(c)
	}
	return all
}

// add adds the trials of a cell.
func (d *Disturbance) add(c *Cell) {
	d.Invalid += c.Counts.Invalid
	for _, t := range c.Valid() {
		d.Trials++
		if t.Outcome == results.FalseAlarm {
			d.Alarms++
		}
		w, _ := watched(&t)
		d.Monitor = append(d.Monitor, w)
		if w, ok := listened(&t); ok {
			d.Linux = append(d.Linux, w)
		}
	}
}

// Together returns the sum of disturbances.
func Together(all []*Disturbance) *Disturbance {
	sum := &Disturbance{}
	for _, d := range all {
		sum.Trials, sum.Alarms, sum.Invalid = sum.Trials+d.Trials, sum.Alarms+d.Alarms, sum.Invalid+d.Invalid
		sum.Monitor, sum.Linux = append(sum.Monitor, d.Monitor...), append(sum.Linux, d.Linux...)
	}
	return sum
}

// listened is the trial of a control as the time for which the watchdogs of Linux were
// listened to, with all of their reports. It returns false if none was armed.
func listened(t *results.Trial) (w stats.Watch, ok bool) {
	reports := 0
	for _, f := range t.Findings {
		if !f.Armed || !slices.Contains(results.LinuxWatchdogs(), f.Observer) {
			continue
		}
		ok = true
		w.Length = max(w.Length, Seconds(f.WatchedNS))
		reports += f.FalseAlarms
	}
	for range reports { // when they came is not recorded
		w.Mistakes = append(w.Mistakes, stats.Mistake{Start: w.Length, End: w.Length})
	}
	return w, ok
}
