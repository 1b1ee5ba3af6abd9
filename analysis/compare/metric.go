package compare

import (
	"fmt"
	"maps"
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

// Gate says which metrics make a comparison fail when they get worse, and by how much.
type Gate struct {
	// Tolerance is the change that is allowed. It is relative (0.03 is 3%), or a difference
	// if the metric is a share of trials (0.03 is three percentage points). It is 0 or more.
	Tolerance float64
	// Only holds the metrics that count and the tolerance of each. A negative tolerance
	// stands for Tolerance. If Only is nil, all metrics count; if it is empty, none.
	Only map[string]float64
}

// DefaultTolerance is the tolerance if the caller gives none: 3%.
const DefaultTolerance = 0.03

// ParseGate parses the list of metrics of the command line: "any", "none", or names
// separated by commas. A name can have its own tolerance, as in
// "detect_ms:5%,ept_per_event:0%,false_alarm". The second argument, such as "3%", is the
// tolerance of all others. Percentages are from 0% to 1000%. It is an error if a name is
// unknown, is not compared or appears twice. The time of an observer, as in probe_ms, is
// known to the runs only: Runs checks it.
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
		if name == "any" || name == "none" {
			return Gate{}, fmt.Errorf("%s stands alone: give any, none, or some of %s", name, strings.Join(Names(), ", "))
		}
		if m, err := analysis.FindMetric(name); err == nil && !m.Compared ||
			err != nil && (name == "_ms" || !strings.HasSuffix(name, "_ms")) { // an observer's metric ends so
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

// parsePercent parses "5%" as 0.05.
func parsePercent(s string) (float64, error) {
	number, ok := strings.CutSuffix(s, "%")
	x, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(x >= 0 && x <= 1000) {
		return 0, fmt.Errorf("%q is no percentage from 0%% to 1000%%", s)
	}
	return x / 100, nil
}

// check returns an error if the gate names a metric that is not among those.
func (g Gate) check(all []analysis.Metric) error {
	var names []string
	for _, m := range all {
		names = append(names, m.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(g.Only)) {
		if !slices.Contains(names, name) {
			return fmt.Errorf("there is no metric %q in these runs: give any, none, or some of %s", name,
				strings.Join(names, ", "))
		}
	}
	return nil
}

// none reports whether no metric counts.
func (g Gate) none() bool { return g.Only != nil && len(g.Only) == 0 }

// counts reports whether a regression of the metric fails the comparison.
func (g Gate) counts(name string) bool {
	_, named := g.Only[name]
	return g.Only == nil || named
}

// tolerance returns the change that is allowed for the metric.
func (g Gate) tolerance(name string) float64 {
	if own, named := g.Only[name]; named && own >= 0 {
		return own
	}
	return g.Tolerance
}
