package analysis

import "hangbench/results"

// Measure takes one number out of a trial, and false when the trial has none.
type Measure func(t *results.Trial) (float64, bool)

// EPTClass is one class of EPT violations. Every class of results.EPT that is
// part of Total is in EPTClasses, in one order for all tables and figures.
type EPTClass struct {
	Name    string // as in the JSON record
	Short   string // for narrow columns
	Meaning string // for legends and captions
	Count   func(e *results.EPT) uint64
}

// EPTClasses returns the classes whose counts add up to results.EPT.Total.
func EPTClasses() []EPTClass {
	return []EPTClass{
		{"permission", "perm.", "on a trapped frame, delivered as an event", func(e *results.EPT) uint64 { return e.Permission }},
		{"lazy", "lazy", "altp2m view filled from the host p2m", func(e *results.EPT) uint64 { return e.Lazy }},
		{"mmio", "mmio", "emulated or unbacked frame", func(e *results.EPT) uint64 { return e.MMIO }},
		{"superpage", "superp.", "large page split or propagated", func(e *results.EPT) uint64 { return e.Superpage }},
		{"suppressed", "suppr.", "on a trapped frame, resolved without an event", func(e *results.EPT) uint64 { return e.Suppressed }},
		{"residual", "resid.", "none of the others", func(e *results.EPT) uint64 { return e.Residual }},
	}
}

// Measure is the class's count in a trial.
func (c EPTClass) Measure() Measure {
	return count(func(t *results.Trial) uint64 { return c.Count(&t.EPT) })
}

func count(of func(t *results.Trial) uint64) Measure {
	return func(t *results.Trial) (float64, bool) { return float64(of(t)), true }
}

// The measures of a trial.
var (
	// DetectMS is T_D in milliseconds, of detected trials only: a miss is
	// censored at the deadline and has no detection time.
	DetectMS Measure = func(t *results.Trial) (float64, bool) {
		if t.Outcome != results.Detected || t.DetectNS == nil {
			return 0, false
		}
		return float64(*t.DetectNS) / 1e6, true
	}
	// BackOutMS is the time from when the guest stood still, of its monitor's doing,
	// to when the monitor let go of it by itself, in milliseconds.
	BackOutMS Measure = func(t *results.Trial) (float64, bool) {
		if t.BackOutNS == nil {
			return 0, false
		}
		return float64(*t.BackOutNS) / 1e6, true
	}
	// AllClearMS is the time from when a fault had been lifted to the monitor's word
	// that the hang is over, in milliseconds.
	AllClearMS Measure = func(t *results.Trial) (float64, bool) {
		if t.AllClearNS == nil {
			return 0, false
		}
		return float64(*t.AllClearNS) / 1e6, true
	}
	// Dom0Share is the CPU time that the control domain had in the window with the
	// monitor, of one physical CPU. What the trial itself does there, and the trace of
	// EPT violations, is in it: mechanism none tells how much.
	Dom0Share Measure = func(t *results.Trial) (float64, bool) {
		g := &t.Guest
		if g.PairedNS <= 0 {
			return 0, false
		}
		return float64(g.Dom0DuringNS) / float64(g.PairedNS), true
	}
	// WindowMS is the length of the monitored window in milliseconds.
	WindowMS Measure = func(t *results.Trial) (float64, bool) { return float64(t.WindowNS) / 1e6, true }

	EPTTotal  = count(func(t *results.Trial) uint64 { return t.EPT.Total })
	TraceLost = count(func(t *results.Trial) uint64 { return t.EPT.TraceLost })
	Delivered = monitored(func(t *results.Trial) float64 { return float64(t.Events.Delivered) })
	Steps     = monitored(func(t *results.Trial) float64 { return float64(t.Events.Steps) })
	RingFull  = monitored(func(t *results.Trial) float64 { return float64(t.Events.RingFull) })

	// PerEvent is EPT violations per delivered event.
	PerEvent Measure = func(t *results.Trial) (float64, bool) {
		if t.Events.Delivered == 0 {
			return 0, false
		}
		return float64(t.EPT.Total) / float64(t.Events.Delivered), true
	}

	// StepsPerEvent is single steps per delivered event.
	StepsPerEvent Measure = func(t *results.Trial) (float64, bool) {
		if t.Events.Delivered == 0 {
			return 0, false
		}
		return float64(t.Events.Steps) / float64(t.Events.Delivered), true
	}

	// Seen is the task switches that the mechanism saw over those that the guest's
	// run queues counted.
	Seen Measure = func(t *results.Trial) (float64, bool) {
		if t.Mechanism == "none" || t.Events.Switches == 0 {
			return 0, false
		}
		return float64(t.Events.Signals) / float64(t.Events.Switches), true
	}

	// Progress is the guest's progress rate with the monitor over the rate
	// without.
	Progress Measure = func(t *results.Trial) (float64, bool) {
		if t.Guest.ProgressRatio == nil {
			return 0, false
		}
		return *t.Guest.ProgressRatio, true
	}

	// Slowdown is the time that one operation of a workload took with the monitor over
	// the time it took without, of a trial with all its windows. A guest that got nothing
	// done with the monitor is counted as if it had done one operation: the true
	// value is above.
	Slowdown Measure = func(t *results.Trial) (float64, bool) {
		on, off, ok := windows(t)
		if !ok {
			return 0, false
		}
		return float64(on.NS) / float64(max(on.Ops, 1)) * float64(off.Ops) / float64(off.NS), true
	}
	// Overhead is (on - off) / off in percent, of the times that one operation took with
	// the monitor and without.
	Overhead Measure = func(t *results.Trial) (float64, bool) {
		x, ok := Slowdown(t)
		return 100 * (x - 1), ok
	}
	// RateOff and RateOn are operations a second of the guest's clock, without and
	// with the monitor.
	RateOff Measure = func(t *results.Trial) (float64, bool) {
		_, off, ok := windows(t)
		return perSecond(off), ok
	}
	RateOn Measure = func(t *results.Trial) (float64, bool) {
		on, _, ok := windows(t)
		return perSecond(on), ok
	}
)

// windows are the sums of the trial's windows with the monitor and without; not ok if
// it has no workload or not all of its windows.
func windows(t *results.Trial) (on, off results.Window, ok bool) {
	if t.Workload == nil || !t.Workload.Complete() {
		return on, off, false
	}
	on, off = t.Workload.Sums()
	return on, off, off.Ops > 0 && off.NS > 0 && on.NS > 0
}

func perSecond(w results.Window) float64 {
	if w.NS <= 0 {
		return 0
	}
	return float64(w.Ops) / (float64(w.NS) / 1e9)
}

// monitored is a measure that trials without a monitor do not have.
func monitored(of func(t *results.Trial) float64) Measure {
	return func(t *results.Trial) (float64, bool) { return of(t), t.Mechanism != "none" }
}

// PerSecond is the measure over the length of the monitored window in seconds.
func PerSecond(m Measure) Measure {
	return func(t *results.Trial) (float64, bool) {
		x, ok := m(t)
		if !ok || t.WindowNS <= 0 {
			return 0, false
		}
		return x / (float64(t.WindowNS) / 1e9), true
	}
}
