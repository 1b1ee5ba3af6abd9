package compare

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"

	"hangbench/analysis"
	"hangbench/analysis/stats"
	"hangbench/results"
)

// Level is the confidence level of intervals. 1-Level is the family-wise error rate that
// Holm's procedure controls.
const Level = 0.95

// Verdict says how a metric has changed.
type Verdict string

const (
	Better  Verdict = "better"  // significant, and more than the tolerance
	Same    Verdict = "same"    // the whole interval is within the tolerance
	Worse   Verdict = "worse"   // significant, and more than the tolerance
	Unclear Verdict = "unclear" // the trials cannot decide
)

// Options say which runs may be compared, and how.
type Options struct {
	Gate Gate
	Seed uint64 // of the bootstrap
	// MixHosts, MixKernels and MixSuites allow runs of different hosts, kernels and suites.
	MixHosts, MixKernels, MixSuites bool
	// AllowMissing lets a comparison pass although trials, cells or metrics are missing.
	AllowMissing bool
}

// Row is one metric of one cell.
type Row struct {
	Scenario, Arm string
	Metric, Unit  string
	OldN, NewN    int
	Old, New      float64 // medians, or shares if the metric is a share of trials; NaN without a value
	// Change is the median ratio of New to Old minus 1. If the metric is a share of trials,
	// it is New minus Old: 0.05 is five percentage points. It is infinite if Old is 0, and
	// NaN if one side has no value.
	Change float64
	CI     *stats.Interval // of Change; nil if there is none
	// P is the p-value of the hypothesis that nothing changed, adjusted by Holm's
	// procedure. It is NaN if the change is exact or one side has no value.
	P       float64
	Method  string // pairs, exact pairs, samples, or none if one side has no value
	Verdict Verdict
	// Fails says that the row is worse and that the gate counts its metric.
	Fails    bool
	Warnings []string

	metric analysis.Metric
}

// Report is the result of a comparison.
type Report struct {
	Old, New []string // IDs of the runs
	Caption  string
	Paired   bool
	Rows     []Row
	Warnings []string
	// Missing says what could not be compared, a sentence without full stop each: trials
	// and records that are missing, cells that only one side has, and metrics that the new
	// side has no more.
	Missing []string

	missingFails bool
}

// Failed reports whether any row fails, or something is missing that must not be.
func (r *Report) Failed() bool {
	return r.missingFails || slices.ContainsFunc(r.Rows, func(row Row) bool { return row.Fails })
}

// MixError is the error for runs that were not measured under the same conditions.
type MixError struct {
	What     string // hosts, kernels or suites
	Old, New string
}

func (e *MixError) Error() string {
	return fmt.Sprintf("the %s differ, %s and %s: say --mix %s if that is what is to be compared", e.What, e.Old,
		e.New, e.What)
}

// Runs compares the old runs with the new ones. Several runs of one side are boots of one
// experiment. It returns a *MixError if the two sides differ in host, suite or kernel and
// o does not allow that. It is also an error if a side has no run or no trial, if the runs
// of one side differ in host or suite, if a run is there twice, if the gate names an
// observer that neither side has, or if the two sides have no cell in common.
func Runs(old, next []*results.Run, o Options) (*Report, error) {
	r := &Report{}
	a, err := newSide(old)
	if err != nil {
		return nil, fmt.Errorf("old: %w", err)
	}
	b, err := newSide(next)
	if err != nil {
		return nil, fmt.Errorf("new: %w", err)
	}
	for _, x := range old {
		for _, y := range next {
			if sameRun(&x.Manifest, &y.Manifest) && reflect.DeepEqual(x.Trials, y.Trials) {
				return nil, fmt.Errorf("run %s is old and new: give two runs", x.Manifest.RunID)
			}
		}
	}
	r.Old, r.New = a.ids, b.ids
	for _, missing := range a.missing {
		r.Missing = append(r.Missing, "old: "+missing)
	}
	for _, missing := range b.missing {
		r.Missing = append(r.Missing, "new: "+missing)
	}
	all := metrics()
	for _, name := range observers(old, next) {
		all = append(all, analysis.FindingTime(name))
	}
	if err := o.Gate.check(all); err != nil {
		return nil, err
	}
	for _, m := range []struct {
		what     string
		allowed  bool
		old, new string
	}{
		{"hosts", o.MixHosts, a.host, b.host},
		{"suites", o.MixSuites, a.suite, b.suite},
		{"kernels", o.MixKernels, a.kernels, b.kernels},
	} {
		if m.old == m.new {
			continue
		}
		if !m.allowed {
			return nil, &MixError{m.what, m.old, m.new}
		}
		r.Warnings = append(r.Warnings, fmt.Sprintf("the %s differ: %s and %s", m.what, m.old, m.new))
	}
	hosts := []string{a.kind + results.HostNote(a.kind), b.kind + results.HostNote(b.kind)}
	r.Caption = fmt.Sprintf("old: %s; new: %s; host: %s", strings.Join(a.ids, ", "), strings.Join(b.ids, ", "),
		strings.Join(slices.Compact(hosts), " and "))
	r.Paired = a.machine == b.machine && pairable(old, next)

	oneKernel := a.kernels != b.kernels && !strings.Contains(a.kernels, " + ") && !strings.Contains(b.kernels, " + ")
	name := func(k results.Cell) results.Cell {
		if oneKernel {
			return k.Sizes()
		}
		return k
	}
	inNew := make(map[results.Cell]*cell)
	for _, c := range b.cells {
		inNew[name(c.key)] = c
	}
	for _, c := range a.cells {
		n := inNew[name(c.key)]
		if n == nil {
			r.Missing = append(r.Missing, fmt.Sprintf("%s, %s: only old has trials", c.key.Title(), c.label))
			continue
		}
		delete(inNew, name(c.key))
		for _, m := range all {
			row, ok, err := compareCell(c, n, m, r.Paired, a.kind == results.Lab && b.kind == results.Lab, o)
			if err != nil {
				return nil, fmt.Errorf("%s, %s, %s: %w", c.key.Title(), c.label, m.Name, err)
			}
			if !ok {
				continue
			}
			r.Rows = append(r.Rows, row)
			if row.NewN == 0 && !m.Mishap && o.Gate.counts(m.Name) {
				r.Missing = append(r.Missing, fmt.Sprintf("%s, %s: old has %s in %d trials, new in none", c.key.Title(), c.label,
					m.Name, row.OldN))
			}
		}
	}
	for _, c := range b.cells {
		if inNew[name(c.key)] == c {
			r.Missing = append(r.Missing, fmt.Sprintf("%s, %s: only new has trials", c.key.Title(), c.label))
		}
	}
	if len(r.Rows) == 0 {
		return nil, errors.New("the runs have no cell in common: nothing can be compared")
	}
	r.judge(o.Gate)
	r.missingFails = len(r.Missing) > 0 && !o.AllowMissing && !o.Gate.none()
	return r, nil
}

// sameRun reports whether two manifests can be of one run. Runs that began in the same
// second on two machines have one ID.
func sameRun(a, b *results.Manifest) bool {
	return a.RunID == b.RunID && a.Host == b.Host && a.Suite.SHA256 == b.Suite.SHA256
}

// observers are the names of all observers that reported on a trial of the runs.
func observers(old, next []*results.Run) []string {
	seen := make(map[string]bool)
	for _, r := range slices.Concat(old, next) {
		for i := range r.Trials {
			for _, f := range r.Trials[i].Findings {
				seen[f.Observer] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// side holds the runs of one side, grouped by cell.
type side struct {
	ids                        []string
	kind, host, suite, kernels string
	machine                    string // see machine
	cells                      []*cell
	missing                    []string
}

// cell holds the trials of one key. boots[i] are those of run i.
type cell struct {
	key   results.Cell
	label string
	boots [][]results.Trial
}

func newSide(runs []*results.Run) (*side, error) {
	if len(runs) == 0 {
		return nil, errors.New("no run")
	}
	s := &side{}
	hosts, kernels, suites := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, r := range runs {
		m := &r.Manifest
		s.ids = append(s.ids, m.RunID)
		hosts[m.Host.Kind+", "+m.Host.Description] = true
		suites[fmt.Sprintf("%s (%.8s)", m.Suite.Name, m.Suite.SHA256)] = true
		if text := analysis.Incomplete(r); text != "" {
			s.missing = append(s.missing, m.RunID+": "+text)
		}
	}
	if len(hosts) > 1 || len(suites) > 1 {
		return nil, fmt.Errorf("runs of one side are boots of one experiment, these are of %s, %s", list(hosts), list(suites))
	}
	for i, r := range runs {
		for _, other := range runs[:i] {
			if r.Manifest.RunID == other.Manifest.RunID || reflect.DeepEqual(r.Trials, other.Trials) {
				return nil, fmt.Errorf("runs %s and %s are one, or have the same trials: they would count as two boots",
					other.Manifest.RunID, r.Manifest.RunID)
			}
		}
	}
	set, err := analysis.Group(runs...)
	if err != nil {
		return nil, err
	}
	for _, c := range set.Cells {
		kernels[kernel(c.Cell)] = true
		n := &cell{key: c.Cell, label: c.Label}
		s.cells = append(s.cells, n)
	}
	byKey := make(map[results.Cell]*cell)
	for _, c := range s.cells {
		byKey[c.key] = c
	}
	for i, r := range runs {
		for j := range r.Trials {
			c := byKey[r.Trials[j].Cell]
			for len(c.boots) <= i {
				c.boots = append(c.boots, nil)
			}
			c.boots[i] = append(c.boots[i], r.Trials[j])
		}
	}
	first := &runs[0].Manifest
	s.kind, s.host, s.suite, s.kernels = first.Host.Kind, list(hosts), list(suites), list(kernels)
	s.machine = machine(first)
	return s, nil
}

// machine names the host of a run, of the lab without the version of its Xen. On equal
// machines the trials of a pair differ only by what a developer compares: the program, or
// the Xen.
func machine(m *results.Manifest) string {
	host := m.Host.Description
	if xen := m.Versions.Packages["xen"]; m.Host.Kind == results.Lab && xen != "" {
		host = strings.Replace(host, "Xen "+xen, "Xen", 1)
	}
	return m.Host.Kind + ", " + host
}

// kernel names the software of the cell's guest: its kernel and all other factors that are
// not sizes.
func kernel(c results.Cell) string {
	var parts []string
	for _, f := range c.Factors() {
		if !f.Size && f.Label != "" {
			parts = append(parts, f.Label)
		}
	}
	return strings.Join(parts, ", ")
}

func list(set map[string]bool) string { return strings.Join(slices.Sorted(maps.Keys(set)), " + ") }

// pairable reports whether there is one run on each side and both have the same plan.
// Trial i of one then has the same settings and the same seed as trial i of the other.
func pairable(old, next []*results.Run) bool {
	if len(old) != 1 || len(next) != 1 {
		return false
	}
	a, b := &old[0].Manifest, &next[0].Manifest
	return a.Suite.SHA256 == b.Suite.SHA256 && a.Seed == b.Seed && a.Planned == b.Planned && a.PlanHash == b.PlanHash
}

// compareCell compares one metric of one cell. It returns false if neither side has a value,
// or if all values are 0 and the metric is not a rate.
func compareCell(old, next *cell, m analysis.Metric, paired, lab bool, o Options) (Row, bool, error) {
	row := Row{
		Scenario: old.key.Title(), Arm: old.label, Metric: m.Name, Unit: string(m.Unit),
		P: math.NaN(), Change: math.NaN(), Verdict: Unclear, metric: m,
	}
	a, b := values(old, m), values(next, m)
	flatA, flatB := slices.Concat(a...), slices.Concat(b...)
	row.OldN, row.NewN = len(flatA), len(flatB)
	switch {
	case row.OldN == 0 && row.NewN == 0:
		return row, false, nil
	case row.OldN == 0 || row.NewN == 0:
		row.Method = "none"
		row.Old, row.New = centre(m, flatA), centre(m, flatB)
		row.Warnings = append(row.Warnings, "only one side has a value")
		return row, true, nil
	}
	row.Old, row.New = centre(m, flatA), centre(m, flatB)
	if m.Assume != analysis.Rate && allZero(flatA) && allZero(flatB) {
		return row, false, nil // such as a class of violations that does not occur
	}
	var err error
	switch pairs := pairsOf(old, next, m); {
	case m.Assume == analysis.Rate && paired && lab && len(pairs) > 0:
		row.exactRate(pairs)
	case m.Assume == analysis.Rate:
		err = row.rates(flatA, flatB)
	case paired && len(pairs) > 0:
		err = row.pairs(pairs, lab && m.Assume == analysis.Exact)
	default:
		err = row.samples(a, b, o)
	}
	return row, true, err
}

func values(c *cell, m analysis.Metric) [][]float64 {
	var boots [][]float64
	for _, trials := range c.boots {
		var xs []float64
		for i := range trials {
			if x, ok := m.Value(&trials[i]); ok {
				xs = append(xs, x)
			}
		}
		boots = append(boots, xs)
	}
	return boots
}

// pairsOf returns the values of trials that have the same index and seed on both sides.
func pairsOf(old, next *cell, m analysis.Metric) []stats.Pair {
	type id struct {
		trial int
		seed  uint64
	}
	base := make(map[id]float64)
	for _, trials := range old.boots {
		for i := range trials {
			if x, ok := m.Value(&trials[i]); ok {
				base[id{trials[i].Trial, trials[i].Seed}] = x
			}
		}
	}
	var pairs []stats.Pair
	for _, trials := range next.boots {
		for i := range trials {
			x, ok := m.Value(&trials[i])
			if was, both := base[id{trials[i].Trial, trials[i].Seed}]; ok && both {
				pairs = append(pairs, stats.Pair{Base: was, Next: x})
			}
		}
	}
	return pairs
}

func centre(m analysis.Metric, xs []float64) float64 {
	if len(xs) == 0 {
		return math.NaN()
	}
	if m.Assume == analysis.Rate {
		return sum(xs) / float64(len(xs))
	}
	return stats.MedianOf(slices.Clone(xs))
}

func sum(xs []float64) float64 {
	s := 0.0
	for _, x := range xs {
		s += x
	}
	return s
}

func allZero(xs []float64) bool {
	return !slices.ContainsFunc(xs, func(x float64) bool { return x != 0 })
}

// exactRate compares outcomes that the lab reproduces. Every difference is caused by the
// program, so there is no test.
func (r *Row) exactRate(pairs []stats.Pair) {
	r.Method = "exact pairs"
	var up, down int
	for _, p := range pairs {
		switch {
		case p.Next > p.Base:
			up++
		case p.Next < p.Base:
			down++
		}
	}
	r.Change = float64(up-down) / float64(len(pairs))
	r.CI = &stats.Interval{Lo: r.Change, Hi: r.Change, Confidence: 1}
	if up > 0 && down > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("of %d trials %d changed one way and %d the other", len(pairs), up, down))
	}
}

func (r *Row) rates(a, b []float64) error {
	r.Method = "samples"
	ka, kb := int(sum(a)), int(sum(b))
	d, iv, err := stats.RateDifference(ka, len(a), kb, len(b), Level)
	if err != nil {
		return err
	}
	r.Change, r.CI = d, &iv
	r.P, err = stats.Fisher(ka, len(a), kb, len(b))
	return err
}

func (r *Row) pairs(pairs []stats.Pair, exact bool) error {
	r.Method = "pairs"
	if exact {
		r.Method = "exact pairs"
	}
	var ratios []float64
	up, down := 0, 0
	for _, p := range pairs {
		switch {
		case p.Next > p.Base:
			up++
		case p.Next < p.Base:
			down++
		}
		if p.Next == p.Base {
			ratios = append(ratios, 1) // also if both are 0
		} else {
			ratios = append(ratios, p.Next/p.Base) // infinite if the base is 0
		}
	}
	r.Change = stats.MedianOf(slices.Clone(ratios)) - 1
	s := stats.Summarize(ratios, Level)
	r.CI = s.CI
	same := up == 0 && down == 0
	switch {
	case r.CI == nil && (exact || same):
		// Equal seeds give equal counts: these are all values, not a sample of them.
		r.CI = &stats.Interval{Lo: s.Min, Hi: s.Max, Confidence: 1}
	case r.CI == nil:
		r.Warnings = append(r.Warnings, s.Warnings...)
	}
	if r.CI != nil {
		r.CI = &stats.Interval{Lo: r.CI.Lo - 1, Hi: r.CI.Hi - 1, Confidence: r.CI.Confidence}
	}
	if !exact && !same {
		// The sign test matches the order-statistic interval: both count the pairs
		// above and below.
		p, err := stats.Sign(up, down)
		if err != nil {
			return err
		}
		r.P = p
	}
	return nil
}

func (r *Row) samples(a, b [][]float64, o Options) error {
	r.Method = "samples"
	var err error
	var ws []string
	if r.P, ws, err = stats.MannWhitney(slices.Concat(a...), slices.Concat(b...), 1-Level); err != nil {
		return err
	}
	r.Warnings = append(r.Warnings, ws...)
	if r.Old == 0 {
		r.Change = math.Inf(1)
		if r.New == 0 {
			r.Change = 0
		}
		r.Warnings = append(r.Warnings, "the old median is 0: there is no ratio")
		return nil
	}
	boot := stats.Bootstrap{Resamples: stats.MinResamples, Seed: o.Seed, Level: Level}
	e, err := boot.Ratio(a, b, stats.MedianOf)
	if err != nil {
		return err
	}
	r.Change = e.Value - 1
	r.Warnings = append(r.Warnings, e.Warnings...)
	if e.CI != nil {
		r.CI = &stats.Interval{Lo: e.CI.Lo - 1, Hi: e.CI.Hi - 1, Confidence: e.CI.Confidence}
	}
	return nil
}

// judge adjusts the p-values and sets the verdicts. Metrics that the gate counts are
// adjusted separately from the others, so that the others do not weaken the gate.
func (r *Report) judge(g Gate) {
	for _, counts := range []bool{true, false} {
		var ps []float64
		var at []int
		for i := range r.Rows {
			if g.counts(r.Rows[i].Metric) == counts && !math.IsNaN(r.Rows[i].P) {
				ps = append(ps, r.Rows[i].P)
				at = append(at, i)
			}
		}
		for i, p := range stats.Holm(ps) {
			r.Rows[at[i]].P = p
		}
	}
	for i := range r.Rows {
		row := &r.Rows[i]
		row.Verdict = row.verdict(g.tolerance(row.Metric))
		row.Fails = row.Verdict == Worse && g.counts(row.Metric)
	}
}

// verdict decides by the interval, the tolerance, and the p-value if there is one.
func (r *Row) verdict(tolerance float64) Verdict {
	if math.IsNaN(r.Change) {
		return Unclear
	}
	sure := math.IsNaN(r.P) || r.P < 1-Level
	if r.CI == nil {
		if math.IsInf(r.Change, 1) && sure && !math.IsNaN(r.P) {
			return r.direction(1)
		}
		return Unclear
	}
	lo, hi := r.CI.Lo, r.CI.Hi
	// The tolerance of a ratio is symmetric on a logarithmic scale: twice as much is as
	// far from 1 as half as much.
	up, down := tolerance, -tolerance
	if r.metric.Assume != analysis.Rate {
		down = 1/(1+tolerance) - 1
	}
	nearer, farther := 0.0, 0.0
	if r.CI.Confidence == 1 {
		nearer, farther = up, down // the range of all values: all must be outside the tolerance
	}
	switch {
	case lo > nearer && r.Change > up && sure:
		return r.direction(1)
	case hi < farther && r.Change < down && sure:
		return r.direction(-1)
	case lo >= down && hi <= up:
		return Same
	}
	return Unclear
}

func (r *Row) direction(sign int) Verdict {
	if (sign > 0) == (r.metric.Better == analysis.Higher) {
		return Better
	}
	return Worse
}

// Count returns how many rows have the verdict.
func (r *Report) Count(v Verdict) int {
	n := 0
	for _, row := range r.Rows {
		if row.Verdict == v {
			n++
		}
	}
	return n
}

// worstFirst orders rows: first regressions that fail, then worse, better, unclear, same.
func worstFirst(a, b Row) int {
	rank := func(r Row) int {
		switch {
		case r.Fails:
			return 0
		case r.Verdict == Worse:
			return 1
		case r.Verdict == Better:
			return 2
		case r.Verdict == Unclear:
			return 3
		}
		return 4
	}
	return cmp.Compare(rank(a), rank(b))
}
