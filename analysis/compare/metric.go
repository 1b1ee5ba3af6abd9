package compare

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hangbench/analysis"
)

// metrics returns the metrics that are compared, in the order of the table.
func metrics() []analysis.Metric {
	return slices.DeleteFunc(analysis.Metrics(), func(m analysis.Metric) bool { return !m.Compared })
}

// Names returns the names of all metrics that are compared.
func Names() []string {
	var names []string
	for _, m := range metrics() {
		names = append(names, m.Name)
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
		m, err := analysis.FindMetric(name)
		if err != nil || !m.Compared {
			return Gate{}, fmt.Errorf("there is no metric %q: give any, none, or some of %s", name, strings.Join(Names(), ", "))
		}
		name = m.Name
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
