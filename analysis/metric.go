package analysis

import (
	"fmt"
	"strings"

	"hangbench/results"
)

// Measure takes one number out of a trial. It returns false when the trial has none.
type Measure func(t *results.Trial) (float64, bool)

// Better says which direction of a metric is an improvement.
type Better int

// The directions. Neither is for a metric that only describes.
const (
	Neither Better = iota
	Lower
	Higher
)

// String names the direction as the benchmark format does; empty for Neither.
func (b Better) String() string { return [...]string{"", "lower", "higher"}[b] }

// Assumption says what the values of a metric are like. It decides summary, test and
// interval wherever the metric is shown.
type Assumption int

const (
	// Sample: values vary from trial to trial, also between trials of equal seed. They
	// are summarised by their median.
	Sample Assumption = iota
	// Exact: two trials of equal seed in the lab differ only if the program does
	// something else. Counts of a whole trial are not exact: if the monitor's timing
	// shifts a little, other switches of the guest are trapped.
	Exact
	// Rate: each value is 1 or 0, and the metric is the share of ones. Rates are Exact
	// in the lab.
	Rate
)

// Metric is one thing that can be measured of a trial. Tables, figures, CSV files,
// exports and comparisons all take their metrics from the list of Metrics.
type Metric struct {
	Name    string // on the command line, in comparisons and tables; in lower case with underscores
	Meaning string // in a few words
	Unit    Unit
	Better  Better
	Assume  Assumption
	Of      Measure
	// Compared: a comparison of runs has a row for the metric.
	Compared bool
	// Column is its name in CSV files and Export its unit in the benchmark format. Empty
	// means that it is not there. Times are milliseconds in CSV and seconds in exports.
	Column, Export string
	// OfInvalid: invalid trials have a value too.
	OfInvalid bool
	// Mishap: only trials in which the monitor did harm have a value. No value is good.
	Mishap bool
}

// Value is the metric's value for the trial. It returns false if there is none, as of
// an invalid trial.
func (m Metric) Value(t *results.Trial) (float64, bool) {
	if t.Outcome == results.Invalid && !m.OfInvalid {
		return 0, false
	}
	return m.Of(t)
}

// Metrics returns every metric, in the order in which tables have them.
func Metrics() []Metric {
	all := []Metric{Valid, Detected, RightClass, FalseAlarm, Recovered, DetectTime, AllClear, BackOut, Window,
		Progress, Dom0Share,
		RateOff, RateOn, Slowdown, Overhead, EPTTotal}
	for _, c := range EPTClasses() {
		all = append(all, c.Metric())
	}
	return append(all, TraceLost, Delivered, Steps, RingFull, PerEvent, StepsPerEvent, Seen)
}

// FindMetric returns the metric of that name.
func FindMetric(name string) (Metric, error) {
	var names []string
	for _, m := range Metrics() {
		if m.Name == name {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return Metric{}, fmt.Errorf("there is no metric %q; there are %s", name, strings.Join(names, ", "))
}

// The metrics.
var (
	Valid = Metric{
		Name: "valid", Meaning: "trials whose ground truth was confirmed", Unit: Trials, Better: Higher, Assume: Rate,
		Compared:  true,
		OfInvalid: true,
		Of:        func(t *results.Trial) (float64, bool) { return oneIf(t.Outcome != results.Invalid), true },
	}
	Detected = Metric{
		Name: "detected", Meaning: "faults on which a verdict followed", Unit: Trials, Better: Higher, Assume: Rate,
		Compared: true,
		Export:   "detected/trial",
		Of: func(t *results.Trial) (float64, bool) {
			fault := t.Outcome == results.Detected || t.Outcome == results.Missed || t.Outcome == results.FalseAlarm &&
				t.Kind == results.Fault
			return oneIf(t.Outcome == results.Detected), fault && t.Watched()
		},
	}
	RightClass = Metric{
		Name: "right_class", Meaning: "detected faults that were called by their class", Unit: Trials, Better: Higher,
		Assume:   Rate,
		Compared: true, Export: "right-class/trial",
		Of: func(t *results.Trial) (float64, bool) {
			return oneIf(t.Class == t.Expected), t.Outcome == results.Detected && t.Expected != ""
		},
	}
	FalseAlarm = Metric{
		Name: "false_alarm", Meaning: "trials with a verdict without a fault, or before it", Unit: Trials, Better: Lower,
		Assume:   Rate,
		Compared: true, Export: "false-alarms/trial",
		Of: func(t *results.Trial) (float64, bool) { return oneIf(t.Outcome == results.FalseAlarm), t.Watched() },
	}
	Recovered = Metric{
		Name: "recovered", Meaning: "guests that went on after their fault was removed", Unit: Trials, Better: Higher,
		Assume:   Rate,
		Compared: true, Export: "recovered/trial",
		Of: func(t *results.Trial) (float64, bool) {
			return oneIf(t.Recovered != nil && *t.Recovered), t.Recovered != nil
		},
	}

	// DetectTime is T_D. Only detected trials have it: a miss is censored at the deadline.
	DetectTime = Metric{
		Name: "detect_ms", Meaning: "T_D: from the fault to the verdict", Unit: Milliseconds, Better: Lower, Compared: true,
		Column: "detect_ms", Export: "detect-sec",
		Of: func(t *results.Trial) (float64, bool) {
			if t.Outcome != results.Detected {
				return 0, false
			}
			return duration(t.DetectNS)
		},
	}
	AllClear = Metric{
		Name: "all_clear_ms", Meaning: "from when the fault was removed to the monitor's word that the hang is over",
		Unit:   Milliseconds,
		Better: Lower, Compared: true, Column: "all_clear_ms", Export: "all-clear-sec",
		Of: func(t *results.Trial) (float64, bool) { return duration(t.AllClearNS) },
	}
	BackOut = Metric{
		Name:    "back_out_ms",
		Meaning: "from when the guest first stood still because of the monitor to when the monitor removed its trap",
		Unit:    Milliseconds,
		Better:  Lower, Compared: true, Column: "back_out_ms", Export: "back-out-sec", Mishap: true,
		Of: func(t *results.Trial) (float64, bool) { return duration(t.BackOutNS) },
	}
	Window = Metric{
		Name: "window_ms", Meaning: "length of the monitored window", Unit: Milliseconds, Column: "window_ms",
		Of: func(t *results.Trial) (float64, bool) { return MS(t.WindowNS), true },
	}

	Progress = Metric{
		Name: "progress", Meaning: "the guest's progress rate with the monitor over the rate without", Unit: Ratio,
		Better:   Higher,
		Compared: true, Column: "progress_ratio", Export: "progress",
		Of: func(t *results.Trial) (float64, bool) {
			if t.Guest.ProgressRatio == nil {
				return 0, false
			}
			return *t.Guest.ProgressRatio, true
		},
	}
	// Dom0Share includes what the trial itself does in dom0, and the trace of EPT
	// violations. Trials without a monitor tell how much that is.
	Dom0Share = Metric{
		Name: "dom0_share", Meaning: "CPU time of dom0 in the window with the monitor, of one physical CPU", Unit: Ratio,
		Better: Lower,
		Column: "dom0_share", Export: "dom0-CPU",
		Of: func(t *results.Trial) (float64, bool) {
			g := &t.Guest
			if g.PairedNS <= 0 {
				return 0, false
			}
			return float64(g.Dom0DuringNS) / float64(g.PairedNS), true
		},
	}
	RateOff = Metric{
		Name: "rate_without", Meaning: "operations of the workload without the monitor", Unit: "1/s", Better: Higher,
		Column: "ops_per_s_without",
		Of: func(t *results.Trial) (float64, bool) {
			_, off, ok := windows(t)
			return perSecond(off), ok
		},
	}
	RateOn = Metric{
		Name: "rate_with", Meaning: "operations of the workload with the monitor", Unit: "1/s", Better: Higher,
		Column: "ops_per_s_with",
		Of: func(t *results.Trial) (float64, bool) {
			on, _, ok := windows(t)
			return perSecond(on), ok
		},
	}
	// Slowdown of a guest that got nothing done with the monitor is counted as if it had
	// done one operation: the true value is above.
	Slowdown = Metric{
		Name: "overhead", Meaning: "time of an operation with the monitor over the time without", Unit: "with/without",
		Better:   Lower,
		Compared: true, Export: "overhead-with/without",
		Of: func(t *results.Trial) (float64, bool) {
			on, off, ok := windows(t)
			if !ok {
				return 0, false
			}
			return float64(on.NS) / float64(max(on.Ops, 1)) * float64(off.Ops) / float64(off.NS), true
		},
	}
	Overhead = Metric{
		Name: "overhead_percent", Meaning: "(on - off) / off of the time of an operation", Unit: "%", Better: Lower,
		Column: "overhead_percent",
		Of: func(t *results.Trial) (float64, bool) {
			x, ok := Slowdown.Of(t)
			return 100 * (x - 1), ok
		},
	}

	EPTTotal = Metric{
		Name: "ept_total", Meaning: "EPT violations, attach to detach", Unit: ViolationsEach, Better: Lower, Compared: true,
		Column: "ept_total", Export: "EPT-violations/trial",
		Of: count(func(t *results.Trial) uint64 { return t.EPT.Total }),
	}
	TraceLost = Metric{
		Name: "ept_trace_lost", Meaning: "trace records that the hypervisor dropped", Unit: PerTrial,
		Column: "ept_trace_lost",
		Of:     count(func(t *results.Trial) uint64 { return t.EPT.TraceLost }),
	}
	Delivered = Metric{
		Name: "events", Meaning: "events delivered to the monitor", Unit: PerTrial, Column: "events_delivered",
		Export: "events/trial",
		Of:     monitored(func(t *results.Trial) float64 { return float64(t.Events.Delivered) }),
	}
	Steps = Metric{
		Name: "steps", Meaning: "single steps delivered to the monitor", Unit: PerTrial, Column: "events_steps",
		Of: monitored(func(t *results.Trial) float64 { return float64(t.Events.Steps) }),
	}
	RingFull = Metric{
		Name: "ring_full", Meaning: "times the event ring had no free slot", Unit: PerTrial, Column: "events_ring_full",
		Of: monitored(func(t *results.Trial) float64 { return float64(t.Events.RingFull) }),
	}
	PerEvent = Metric{
		Name: "ept_per_event", Meaning: "EPT violations per delivered event", Unit: "violations/event", Better: Lower,
		Assume:   Exact,
		Compared: true, Column: "ept_per_event", Export: "EPT-violations/event",
		Of: each(func(t *results.Trial) uint64 { return t.EPT.Total }),
	}
	StepsPerEvent = Metric{
		Name: "steps_per_event", Meaning: "single steps per delivered event", Unit: "steps/event", Better: Lower,
		Assume:   Exact,
		Compared: true, Column: "steps_per_event", Export: "steps/event",
		Of: each(func(t *results.Trial) uint64 { return t.Events.Steps }),
	}
	Seen = Metric{
		Name: "switches_seen", Meaning: "task switches that the mechanism saw over those that the guest counted", Unit: Ratio,
		Column: "signals_share",
		Of: func(t *results.Trial) (float64, bool) {
			if !t.Watched() || t.Events.Switches == 0 {
				return 0, false
			}
			return float64(t.Events.Signals) / float64(t.Events.Switches), true
		},
	}
)

// EPTClass is one class of EPT violations. Every class of results.EPT that is part of
// Total is in EPTClasses, in one order for all tables and figures.
type EPTClass struct {
	Name    string // as in the JSON record
	Short   string // for narrow columns
	Meaning string // for legends and captions
	Count   func(e *results.EPT) uint64
}

// EPTClasses returns the classes whose counts add up to results.EPT.Total.
func EPTClasses() []EPTClass {
	return []EPTClass{
		{"permission", "perm.", "on a trapped frame, delivered as an event",
			func(e *results.EPT) uint64 { return e.Permission }},
		{"lazy", "lazy", "altp2m view filled from the host p2m", func(e *results.EPT) uint64 { return e.Lazy }},
		{"mmio", "mmio", "emulated or unbacked frame", func(e *results.EPT) uint64 { return e.MMIO }},
		{"superpage", "superp.", "large page split or propagated", func(e *results.EPT) uint64 { return e.Superpage }},
		{"suppressed", "suppr.", "on a trapped frame, resolved without an event",
			func(e *results.EPT) uint64 { return e.Suppressed }},
		{"residual", "resid.", "none of the others", func(e *results.EPT) uint64 { return e.Residual }},
	}
}

// Metric is the class's count in a trial.
func (c EPTClass) Metric() Metric {
	return Metric{
		Name: "ept_" + c.Name, Meaning: "EPT violations, " + c.Meaning, Unit: ViolationsEach, Better: Lower, Compared: true,
		Column: "ept_" + c.Name, Export: "EPT-" + c.Name + "/trial",
		Of: count(func(t *results.Trial) uint64 { return c.Count(&t.EPT) }),
	}
}

// FindingTime is the time from the fault to the first report of somebody who watched
// beside our monitor.
func FindingTime(observer string) Metric {
	return Metric{
		Name: observer + "_ms", Meaning: "from the fault to the first report of " + observer, Unit: Milliseconds,
		Better: Lower, Compared: true,
		Column: "baseline_" + observer + "_ms", Export: observer + "-sec",
		Of: func(t *results.Trial) (float64, bool) {
			f := t.Finding(observer)
			if f == nil {
				return 0, false
			}
			return duration(f.AtNS)
		},
	}
}

// PerSecond is the measure over the length of the monitored window in seconds.
func PerSecond(m Measure) Measure {
	return func(t *results.Trial) (float64, bool) {
		x, ok := m(t)
		if !ok || t.WindowNS <= 0 {
			return 0, false
		}
		return x / Seconds(t.WindowNS), true
	}
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// duration is a time in milliseconds; false if there is none.
func duration(ns *int64) (float64, bool) {
	if ns == nil {
		return 0, false
	}
	return MS(*ns), true
}

func count(of func(t *results.Trial) uint64) Measure {
	return func(t *results.Trial) (float64, bool) { return float64(of(t)), true }
}

// monitored is a measure that trials without a monitor do not have.
func monitored(of func(t *results.Trial) float64) Measure {
	return func(t *results.Trial) (float64, bool) { return of(t), t.Watched() }
}

// each is a count over the delivered events.
func each(of func(t *results.Trial) uint64) Measure {
	return func(t *results.Trial) (float64, bool) {
		if t.Events.Delivered == 0 {
			return 0, false
		}
		return float64(of(t)) / float64(t.Events.Delivered), true
	}
}

// windows are the sums of the trial's windows with the monitor and without. It returns
// false if the trial has no workload or not all of its windows.
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
	return float64(w.Ops) / Seconds(w.NS)
}
