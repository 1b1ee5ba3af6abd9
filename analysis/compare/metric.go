package compare

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hangbench/analysis"
	"hangbench/results"
)

// metric is one thing that can get better or worse.
type metric struct {
	name   string
	unit   string
	higher bool // more is better
	// rate is whether the metric counts trials: of those for which it is defined,
	// value is 1 or 0.
	rate bool
	// exact says that two trials of equal seed in the lab differ in it only if the
	// program does something else. Counts of a whole trial are not: when the
	// monitor's timing shifts a little, other switches of the guest are trapped.
	exact bool
	value analysis.Measure
}

// metrics returns all metrics in the order of the table.
func metrics() []metric {
	yes := func(is bool) float64 {
		if is {
			return 1
		}
		return 0
	}
	ms := []metric{
		{"valid", "trials", true, true, true, func(t *results.Trial) (float64, bool) {
			return yes(t.Outcome != results.Invalid), true
		}},
		{"detected", "trials", true, true, true, valid(func(t *results.Trial) (float64, bool) {
			fault := t.Outcome == results.Detected || t.Outcome == results.Missed || t.Outcome == results.FalseAlarm && t.Expected != ""
			return yes(t.Outcome == results.Detected), fault && t.Mechanism != "none"
		})},
		{"right_class", "trials", true, true, true, valid(func(t *results.Trial) (float64, bool) {
			return yes(t.Class == t.Expected), t.Outcome == results.Detected && t.Expected != ""
		})},
		{"false_alarm", "trials", false, true, true, valid(func(t *results.Trial) (float64, bool) {
			return yes(t.Outcome == results.FalseAlarm), t.Mechanism != "none"
		})},
		{"recovered", "trials", true, true, true, valid(func(t *results.Trial) (float64, bool) {
			return yes(t.Recovered != nil && *t.Recovered), t.Recovered != nil
		})},
		{"detect_ms", "ms", false, false, false, valid(analysis.DetectMS)},
		{"all_clear_ms", "ms", false, false, false, valid(analysis.AllClearMS)},
		{"progress", "ratio", true, false, false, valid(analysis.Progress)},
		{"overhead", "with/without", false, false, false, valid(analysis.Slowdown)},
		{"ept_total", "violations/trial", false, false, false, valid(analysis.EPTTotal)},
	}
	for _, c := range analysis.EPTClasses() {
		ms = append(ms, metric{"ept_" + c.Name, "violations/trial", false, false, false, valid(c.Measure())})
	}
	return append(ms,
		metric{"ept_per_event", "violations/event", false, false, true, valid(analysis.PerEvent)},
		metric{"steps_per_event", "steps/event", false, false, true, valid(analysis.StepsPerEvent)},
	)
}

func valid(m analysis.Measure) analysis.Measure {
	return func(t *results.Trial) (float64, bool) {
		if t.Outcome == results.Invalid {
			return 0, false
		}
		return m(t)
	}
}

// Names returns the names of all metrics.
func Names() []string {
	var names []string
	for _, m := range metrics() {
		names = append(names, m.name)
	}
	return names
}

// Gate says which regressions make a comparison fail, and how large they must be.
type Gate struct {
	// Tolerance is the relative change (0.03 is 3%), or for shares of trials the
	// difference, that a metric may get worse by.
	Tolerance float64
	// Only names the metrics that count, nil for all of them; the value is their
	// own tolerance, negative for Tolerance.
	Only map[string]float64
}

// DefaultTolerance is what a metric may get worse by if nobody says otherwise.
const DefaultTolerance = 0.03

// ParseGate reads a list as the command line has it: "any", "none", or metrics
// by name, each with its own tolerance if one is wanted, as in
// "detect_ms:5%,ept_per_event:0%,false_alarm". The tolerance is for the others.
func ParseGate(list, tolerance string) (Gate, error) {
	g := Gate{}
	var err error
	if g.Tolerance, err = parsePercent(tolerance); err != nil {
		return Gate{}, fmt.Errorf("tolerance: %w", err)
	}
	switch list {
	case "any":
		return g, nil
	case "none":
		g.Only = map[string]float64{}
		return g, nil
	}
	g.Only = make(map[string]float64)
	for item := range strings.SplitSeq(list, ",") {
		name, percent, own := strings.Cut(item, ":")
		if !slices.Contains(Names(), name) {
			return Gate{}, fmt.Errorf("there is no metric %q: give any, none, or some of %s", name, strings.Join(Names(), ", "))
		}
		if _, twice := g.Only[name]; twice {
			return Gate{}, fmt.Errorf("metric %s is named twice", name)
		}
		g.Only[name] = -1
		if own {
			if g.Only[name], err = parsePercent(percent); err != nil {
				return Gate{}, fmt.Errorf("metric %s: %w", name, err)
			}
		}
	}
	return g, nil
}

// parsePercent reads "5%" as 0.05.
func parsePercent(s string) (float64, error) {
	number, ok := strings.CutSuffix(s, "%")
	x, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(x >= 0 && x <= 1000) {
		return 0, fmt.Errorf("%q is no percentage from 0%% to 1000%%", s)
	}
	return x / 100, nil
}

// counts says whether a regression of the metric fails the comparison.
func (g Gate) counts(name string) bool {
	_, named := g.Only[name]
	return g.Only == nil || named
}

// tolerance is what the metric may get worse by.
func (g Gate) tolerance(name string) float64 {
	if own, named := g.Only[name]; named && own >= 0 {
		return own
	}
	return g.Tolerance
}
