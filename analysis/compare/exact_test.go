package compare

import (
	"math"
	"slices"
	"strings"
	"testing"

	"hangbench/analysis"
	"hangbench/analysis/internal/madeup"
	"hangbench/analysis/stats"
	"hangbench/results"
)

// none is the value of a trial that has no value.
const none = -1

// cellOf returns a cell whose trials have the values, one slice for each boot. Trials of
// equal position have equal indexes and seeds.
func cellOf(boots ...[]int64) *cell {
	c := &cell{}
	at := 0
	for _, values := range boots {
		var trials []results.Trial
		for _, x := range values {
			trials = append(trials, results.Trial{Trial: at, Seed: uint64(100 + at), WindowNS: x})
			at++
		}
		c.boots = append(c.boots, trials)
	}
	return c
}

// metricOf returns a metric of the values that cellOf stores.
func metricOf(a analysis.Assumption) analysis.Metric {
	return analysis.Metric{Name: "made_up", Assume: a, Of: func(t *results.Trial) (float64, bool) {
		return float64(t.WindowNS), t.WindowNS != none
	}}
}

func times(n int, x int64) []int64 { return slices.Repeat([]int64{x}, n) }

// alike says whether two numbers are equal but for rounding. NaN is like NaN, and an
// infinite number is like itself.
func alike(a, b float64) bool {
	return a == b || math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= 1e-9
}

// TestCompareCell pins every number of a row. The intervals of pairs are order
// statistics: of six values all of them, with confidence 1 - 2/2^6; of ten the second to
// the ninth, with 1 - 2(1+10)/2^10. The p-values are those of the sign test, of Fisher's
// test and of Mann and Whitney's, counted by hand. Wilson's interval of 0 in 4 ends at
// z^2/(4+z^2), and Newcombe's is made of that.
func TestCompareCell(t *testing.T) {
	t.Parallel()
	nan, inf := math.NaN(), math.Inf(1)
	const z2 = 3.841458820694124
	newcombe := -1 + math.Sqrt2*z2/(4+z2)
	tens, rising := times(6, 10), []int64{11, 12, 13, 14, 15, 16}
	for _, tc := range []struct {
		name        string
		assume      analysis.Assumption
		paired, lab bool
		old, next   []int64
		method      string
		oldN, newN  int
		was, is     float64
		change      float64
		lo, hi      float64 // NaN: no interval
		confidence  float64
		p           float64
		warning     string // part of the only warning; empty: no warning
	}{
		{"six pairs", analysis.Sample, true, true, tens, rising,
			"pairs", 6, 6, 10, 13.5, 0.35, 0.1, 0.6, 1 - 2.0/64, 2.0 / 64, ""},
		{"six exact pairs", analysis.Exact, true, true, tens, rising,
			"exact pairs", 6, 6, 10, 13.5, 0.35, 0.1, 0.6, 1 - 2.0/64, nan, ""},
		{"six pairs of a real host", analysis.Exact, true, false, tens, rising,
			"pairs", 6, 6, 10, 13.5, 0.35, 0.1, 0.6, 1 - 2.0/64, 2.0 / 64, ""},
		{"ten pairs both ways", analysis.Sample, true, true, times(10, 10),
			[]int64{8, 9, 11, 12, 13, 14, 15, 16, 17, 18},
			"pairs", 10, 10, 10, 13.5, 0.35, -0.1, 0.7, 1 - 2*11.0/1024, 2 * 56.0 / 1024, ""},
		{"six falling pairs", analysis.Sample, true, true, tens, []int64{9, 8, 7, 6, 5, 4},
			"pairs", 6, 6, 10, 6.5, -0.35, -0.6, -0.1, 1 - 2.0/64, 2.0 / 64, ""},
		{"a tie does not count", analysis.Sample, true, true, tens, []int64{10, 12, 13, 14, 15, 16},
			"pairs", 6, 6, 10, 13.5, 0.35, 0, 0.6, 1 - 2.0/64, 2.0 / 32, ""},
		{"two exact pairs", analysis.Exact, true, true, times(2, 10), []int64{11, 12},
			"exact pairs", 2, 2, 10, 11.5, 0.15, 0.1, 0.2, 1, nan, ""},
		{"two pairs", analysis.Sample, true, true, times(2, 10), []int64{11, 12},
			"pairs", 2, 2, 10, 11.5, 0.15, nan, nan, 0, 0.5, "needs 6 values"},
		{"two falling pairs", analysis.Sample, true, true, times(2, 10), []int64{9, 8},
			"pairs", 2, 2, 10, 8.5, -0.15, nan, nan, 0, 0.5, "needs 6 values"},
		{"two equal pairs", analysis.Sample, true, true, []int64{10, 20}, []int64{10, 20},
			"pairs", 2, 2, 15, 15, 0, 0, 0, 1, nan, ""},
		{"six equal pairs", analysis.Sample, true, true, tens, tens,
			"pairs", 6, 6, 10, 10, 0, 0, 0, 1 - 2.0/64, nan, ""},
		{"0 to 0 is no change", analysis.Exact, true, true, []int64{0, 10}, []int64{0, 20},
			"exact pairs", 2, 2, 5, 10, 0.5, 0, 1, 1, nan, ""},
		{"from 0", analysis.Exact, true, true, []int64{0, 0}, []int64{5, 6},
			"exact pairs", 2, 2, 0, 5.5, inf, inf, inf, 1, nan, ""},
		{"trials without a value are in no pair", analysis.Exact, true, true,
			[]int64{10, none, 10, 10}, []int64{20, 20, none, 30},
			"exact pairs", 3, 3, 10, 20, 1.5, 1, 2, 1, nan, ""},

		{"samples", analysis.Sample, false, true, times(10, 10), times(10, 12),
			"samples", 10, 10, 10, 12, 0.2, 0.2, 0.2, 0.95, 2.0 / 184756, "one boot"},
		{"falling samples", analysis.Exact, false, true, times(10, 10), times(10, 8),
			"samples", 10, 10, 10, 8, -0.2, -0.2, -0.2, 0.95, 2.0 / 184756, "one boot"},
		{"samples from 0", analysis.Sample, false, false, times(5, 0), []int64{1, 2, 3, 4, 5},
			"samples", 5, 5, 0, 3, inf, nan, nan, 0, 2.0 / 252, "the old median is 0: there is no ratio"},
		{"samples, medians of 0", analysis.Sample, false, false, []int64{0, 0, 0, 0, 1}, []int64{0, 0, 0, 0, 1},
			"samples", 5, 5, 0, 0, 0, nan, nan, 0, 1, "the old median is 0: there is no ratio"},

		{"rates, all to none", analysis.Rate, false, true, times(4, 1), times(4, 0),
			"samples", 4, 4, 1, 0, -1, -1, newcombe, 0.95, 2.0 / 70, ""},
		{"rates, none to all", analysis.Rate, false, true, times(4, 0), times(4, 1),
			"samples", 4, 4, 0, 1, 1, -newcombe, 1, 0.95, 2.0 / 70, ""},
		{"paired rates of a real host", analysis.Rate, true, false, times(4, 0), times(4, 1),
			"samples", 4, 4, 0, 1, 1, -newcombe, 1, 0.95, 2.0 / 70, ""},
		{"exact rates", analysis.Rate, true, true, []int64{0, 0, 0, 1}, []int64{1, 1, 0, 1},
			"exact pairs", 4, 4, 0.25, 0.75, 0.5, 0.5, 0.5, 1, nan, ""},
		{"exact rates fall", analysis.Rate, true, true, []int64{1, 1, 0, 1}, []int64{0, 0, 0, 1},
			"exact pairs", 4, 4, 0.75, 0.25, -0.5, -0.5, -0.5, 1, nan, ""},
		{"exact rates both ways", analysis.Rate, true, true, []int64{0, 0, 1, 1}, []int64{1, 1, 0, 1},
			"exact pairs", 4, 4, 0.5, 0.75, 0.25, 0.25, 0.25, 1, nan, "of 4 trials 2 changed one way and 1 the other"},
		{"rates of 0", analysis.Rate, true, true, times(4, 0), times(4, 0),
			"exact pairs", 4, 4, 0, 0, 0, 0, 0, 1, nan, ""},

		{"only old", analysis.Sample, true, true, []int64{3, 4}, []int64{none},
			"none", 2, 0, 3.5, nan, nan, nan, nan, 0, nan, "only one side has a value"},
		{"only new", analysis.Rate, true, true, nil, []int64{1, 0},
			"none", 0, 2, nan, 0.5, nan, nan, nan, 0, nan, "only one side has a value"},
	} {
		row, ok, err := compareCell(cellOf(tc.old), cellOf(tc.next), metricOf(tc.assume), tc.paired, tc.lab, Options{})
		if err != nil || !ok {
			t.Errorf("%s: %v, %v", tc.name, ok, err)
			continue
		}
		iv := stats.Interval{Lo: math.NaN(), Hi: math.NaN()}
		if row.CI != nil {
			iv = *row.CI
		}
		if row.Method != tc.method || row.OldN != tc.oldN || row.NewN != tc.newN || !alike(row.Old, tc.was) ||
			!alike(row.New, tc.is) || !alike(row.Change, tc.change) || !alike(row.P, tc.p) || row.Verdict != Unclear {
			t.Errorf("%s: %+v, want %+v", tc.name, row, tc)
		}
		if !alike(iv.Lo, tc.lo) || !alike(iv.Hi, tc.hi) || !alike(iv.Confidence, tc.confidence) {
			t.Errorf("%s: interval %+v, want %g to %g at %g", tc.name, iv, tc.lo, tc.hi, tc.confidence)
		}
		if (len(row.Warnings) == 0) != (tc.warning == "") || len(row.Warnings) > 0 &&
			!strings.Contains(strings.Join(row.Warnings, "; "), tc.warning) {
			t.Errorf("%s: warnings %q, want %q", tc.name, row.Warnings, tc.warning)
		}
	}
}

// TestCompareCellSamples: three values a side are too few for Mann and Whitney's test to
// reject, and the row says so. The interval is that of the bootstrap with the seed given.
func TestCompareCellSamples(t *testing.T) {
	t.Parallel()
	old, next := cellOf([]int64{10, 20, 30}), cellOf([]int64{60, 70, 80})
	row, _, err := compareCell(old, next, metricOf(analysis.Sample), false, true, Options{Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	boot := stats.Bootstrap{Resamples: stats.MinResamples, Seed: 7, Level: 0.95}
	want, err := boot.Ratio([][]float64{{10, 20, 30}}, [][]float64{{60, 70, 80}}, stats.MedianOf)
	if err != nil {
		t.Fatal(err)
	}
	if row.Change != 2.5 || row.CI.Lo != want.CI.Lo-1 || row.CI.Hi != want.CI.Hi-1 || !alike(row.P, 0.1) {
		t.Errorf("%+v with %+v, want 2.5 with %+v less 1", row, row.CI, want.CI)
	}
	if len(row.Warnings) != 1+len(want.Warnings) || !slices.Equal(row.Warnings[1:], want.Warnings) {
		t.Errorf("warnings %q, want one of the test and %q", row.Warnings, want.Warnings)
	}
}

// TestCompareCellNoRow: a row needs a value, and a class of violations that does not occur
// on either side has none.
func TestCompareCellNoRow(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		assume    analysis.Assumption
		old, next []int64
		want      bool
	}{
		{"no value", analysis.Sample, []int64{none}, nil, false},
		{"no rate", analysis.Rate, nil, []int64{none}, false},
		{"zeros", analysis.Sample, []int64{0, 0}, []int64{0, 0, 0}, false},
		{"exact zeros", analysis.Exact, []int64{0, 0}, []int64{0, 0}, false},
		{"old is not all zero", analysis.Exact, []int64{0, 1}, []int64{0, 0}, true},
		{"new is not all zero", analysis.Exact, []int64{0, 0}, []int64{0, 1}, true},
		{"rates of zero", analysis.Rate, []int64{0, 0}, []int64{0, 0}, true},
	} {
		if _, ok, err := compareCell(cellOf(tc.old), cellOf(tc.next), metricOf(tc.assume), true, true,
			Options{}); ok != tc.want || err != nil {
			t.Errorf("%s: a row is %v, want %v: %v", tc.name, ok, tc.want, err)
		}
	}
}

// TestPairsOf: a pair has the same index and the same seed. Without a pair, trials of
// equal plans are samples.
func TestPairsOf(t *testing.T) {
	t.Parallel()
	for _, a := range []analysis.Assumption{analysis.Sample, analysis.Exact, analysis.Rate} {
		old, next := cellOf([]int64{1, 1, 1}), cellOf([]int64{1, 1, 1})
		next.boots[0][0].Seed++
		next.boots[0][1].Trial += 100
		if pairs := pairsOf(old, next, metricOf(a)); len(pairs) != 1 {
			t.Errorf("%d pairs, want one", len(pairs))
		}
		next.boots[0][2].Seed++
		row, _, err := compareCell(old, next, metricOf(a), true, true, Options{})
		if err != nil || row.Method != "samples" || row.OldN != 3 || row.NewN != 3 {
			t.Errorf("without pairs: %+v, %v", row, err)
		}
	}
}

func TestPaired(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*results.Manifest)
		want   bool
	}{
		{"the same plan", func(*results.Manifest) {}, true},
		{"another seed", func(m *results.Manifest) { m.Seed++ }, false},
		{"more trials", func(m *results.Manifest) { m.Planned++ }, false},
		{"another plan", func(m *results.Manifest) { m.PlanHash = "another" }, false},
		{"another suite", func(m *results.Manifest) {
			m.Suite = results.NewSuiteInfo(madeup.Suite, []byte("changed"))
		}, false},
		{"another host", func(m *results.Manifest) { m.Host.Description = "another" }, false},
	} {
		old, next := run("a", 1, madeup.Trials(1)), run("b", 1, madeup.Trials(1))
		tc.change(&next.Manifest)
		all := Options{MixHosts: true, MixKernels: true, MixSuites: true}
		for _, sides := range [][2]*results.Run{{old, next}, {next, old}} {
			if r, err := Runs(sides[:1], sides[1:], all); err != nil || r.Paired != tc.want {
				t.Errorf("%s: %+v, %v", tc.name, r, err)
			}
		}
	}
	one := func() []*results.Run { return []*results.Run{run("a", 1, madeup.Trials(1))} }
	two := func() []*results.Run { return append(one(), run("b", 1, madeup.Trials(1))) }
	if !pairable(one(), one()) || pairable(two(), one()) || pairable(one(), two()) || pairable(two(), two()) {
		t.Error("one run a side can be paired, and only that")
	}
}

func onHost(kind string) *results.Run {
	r := run(kind, 1, madeup.Trials(1))
	r.Manifest.Host.Kind = kind
	for i := range r.Trials {
		r.Trials[i].Host = kind
	}
	return r
}

// TestCaption: the caption names the hosts, and says of the lab that it is emulated.
func TestCaption(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ old, next, want string }{
		{"lab", "lab", "old: lab; new: new lab; host: lab (emulated; virtual time)"},
		{"lab", "xen", "old: lab; new: new xen; host: lab (emulated; virtual time) and xen"},
		{"xen", "lab", "old: xen; new: new lab; host: xen and lab (emulated; virtual time)"},
		{"xen", "xen", "old: xen; new: new xen; host: xen"},
	} {
		next := onHost(tc.next)
		next.Manifest.RunID = "new " + tc.next
		r, err := Runs([]*results.Run{onHost(tc.old)}, []*results.Run{next}, Options{MixHosts: true})
		if err != nil || r.Caption != tc.want {
			t.Errorf("caption %q, want %q: %v", r.Caption, tc.want, err)
		}
		for _, row := range r.Rows {
			if exact := tc.old == "lab" && tc.next == "lab"; exact != (row.Method == "exact pairs") &&
				row.metric.Assume != analysis.Sample && row.Method != "none" {
				t.Errorf("%s to %s, %s: by %s", tc.old, tc.next, row.Metric, row.Method)
			}
		}
		if tc.old == tc.next && len(r.Warnings) > 0 {
			t.Errorf("%s to %s warns %q", tc.old, tc.next, r.Warnings)
		}
	}
}

// withKernels returns a run with the trials once for each kernel.
func withKernels(id string, kernels ...string) []*results.Run {
	var all []results.Trial
	for _, k := range kernels {
		for _, tr := range madeup.Trials(1) {
			tr.GuestKernel, tr.Trial = k, len(all)
			all = append(all, tr)
		}
	}
	return []*results.Run{run(id, 1, all)}
}

// TestKernels: one kernel against another is compared cell by cell. Where a side has
// several, only cells of the same kernel are.
func TestKernels(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		old, next []string
		side      string // that has cells of its own, of kernel 5.10
		cells     int    // how many
	}{
		{[]string{"5.10"}, []string{"6.12"}, "", 0},
		{[]string{"5.10", "6.12"}, []string{"6.12"}, "old", 9},
		{[]string{"6.12"}, []string{"5.10", "6.12"}, "new", 9},
		{[]string{"5.10", "6.12"}, []string{"5.10", "6.12"}, "", 0},
	} {
		r, err := Runs(withKernels("a", tc.old...), withKernels("b", tc.next...), Options{MixKernels: true})
		if err != nil {
			t.Fatal(err)
		}
		only := 0
		for _, w := range append(r.Warnings, r.Missing...) {
			if strings.HasSuffix(w, ": only "+tc.side+" has trials") && strings.Contains(w, "5.10") {
				only++
			} else if !strings.HasPrefix(w, "the kernels differ: ") {
				t.Errorf("%v to %v: warning %q", tc.old, tc.next, w)
			}
		}
		if only != tc.cells {
			t.Errorf("%v to %v: %d cells are on one side only, want %d: %q", tc.old, tc.next, only, tc.cells, r.Missing)
		}
	}
	for want, machine := range map[string]results.Machine{
		"6.12":                 {GuestKernel: "6.12", VCPUs: 2, MemoryMiB: 160, Neighbours: 3},
		"6.12, distro":         {GuestKernel: "6.12", Boot: "distro", VCPUs: 2},
		"6.12, with stress-ng": {GuestKernel: "6.12", Programs: "stress-ng"},
		"5.10, superpages":     {GuestKernel: "5.10", Superpages: true},
		"":                     {VCPUs: 1},
	} {
		if got := kernel(results.Cell{Machine: machine}); got != want {
			t.Errorf("kernel of %+v is %q, want %q", machine, got, want)
		}
	}
}

// TestSide: runs of one side must agree on host and suite. The trials of a cell are kept
// by boot, and a boot without the cell is empty.
func TestSide(t *testing.T) {
	t.Parallel()
	first := run("a", 1, madeup.Trials(1)[:1])
	second := run("b", 1, madeup.Trials(1)[:2])
	s, err := newSide([]*results.Run{first, second})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]int{{0, 1}, {1, 1}} { // none comes before exec-step
		var got []int
		for _, b := range s.cells[i].boots {
			got = append(got, len(b))
		}
		if !slices.Equal(got, want) {
			t.Errorf("cell %d has boots of %v trials, want %v", i, got, want)
		}
	}
	if len(s.cells) != 2 || len(s.missing) != 0 || !slices.Equal(s.ids, []string{"a", "b"}) {
		t.Errorf("%+v", s)
	}
	second.Manifest.Suite = results.NewSuiteInfo("other", nil)
	if _, err := newSide([]*results.Run{first, second}); err == nil || !strings.Contains(err.Error(), "made-up") ||
		!strings.Contains(err.Error(), "other") {
		t.Errorf("boots of two suites: %v", err)
	}
	third := run("c", 1, madeup.Trials(1)[1:2])
	third.Manifest.Host.Description = "another"
	if _, err := newSide([]*results.Run{first, third}); err == nil || !strings.Contains(err.Error(), "another") {
		t.Errorf("boots of two hosts: %v", err)
	}
}

// TestVerdictEdges: a change of exactly the tolerance is within it, an end of an interval
// at exactly 0 does not exclude 0, and a p-value of exactly 0.05 is not below it.
func TestVerdictEdges(t *testing.T) {
	t.Parallel()
	up := 0.03
	down := 1/(1+up) - 1
	nan, inf := math.NaN(), math.Inf(1)
	less := analysis.Metric{Better: analysis.Lower}
	share := analysis.Metric{Better: analysis.Lower, Assume: analysis.Rate}
	for _, tc := range []struct {
		name           string
		m              analysis.Metric
		change, lo, hi float64
		confidence, p  float64
		want           Verdict
	}{
		{"lower end at 0", less, 0.05, 0, 0.09, 0.95, 0.01, Unclear},
		{"lower end above 0", less, 0.05, 1e-9, 0.09, 0.95, 0.01, Worse},
		{"upper end at 0", less, -0.05, -0.09, 0, 0.95, 0.01, Unclear},
		{"upper end below 0", less, -0.05, -0.09, -1e-9, 0.95, 0.01, Better},
		{"change of the tolerance", less, up, 0.01, 0.09, 0.95, 0.01, Unclear},
		{"change of the tolerance, down", less, down, -0.09, -0.01, 0.95, 0.01, Unclear},
		{"range from the tolerance", less, 0.05, up, 0.09, 1, nan, Unclear},
		{"range to the tolerance, down", less, -0.05, -0.09, down, 1, nan, Unclear},
		{"range below the tolerance", less, -0.05, -0.09, down - 1e-9, 1, nan, Better},
		{"within the tolerance, ends too", less, 0, down, up, 0.95, 0.5, Same},
		{"lower end just outside", less, 0, down - 1e-9, up, 0.95, 0.5, Unclear},
		{"upper end just outside", less, 0, down, up + 1e-9, 0.95, 0.5, Unclear},
		{"all above, yet too many looked at", less, 0.05, 0.04, 0.09, 0.95, 0.05, Unclear},
		{"all below, yet too many looked at", less, -0.05, -0.09, -0.04, 0.95, 0.05, Unclear},
		{"just below 0.05", less, 0.05, 0.04, 0.09, 0.95, 0.0499, Worse},
		{"share down to the tolerance", share, -0.01, -up, up, 0.95, 0.5, Same},
		{"share below the tolerance", share, -0.05, -0.09, -0.01, 0.95, 0.01, Better},
		{"share above the tolerance", share, 0.05, 0.01, 0.09, 0.95, 0.01, Worse},
		{"no interval, infinite, p of 0.05", less, inf, nan, nan, 0, 0.05, Unclear},
		{"no interval, infinite, no p", less, inf, nan, nan, 0, nan, Unclear},
		{"no interval, finite, no p", less, 0.5, nan, nan, 0, nan, Unclear},
		{"no change known, yet an interval", less, nan, 0, 0, 0.95, 0.5, Unclear},
	} {
		row := Row{metric: tc.m, Change: tc.change, P: tc.p}
		if !math.IsNaN(tc.lo) {
			row.CI = &stats.Interval{Lo: tc.lo, Hi: tc.hi, Confidence: tc.confidence}
		}
		if got := row.verdict(up); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

// TestJudge: p-values are adjusted among the metrics that the gate names, and among the
// others apart. Only a regression of a named metric fails.
func TestJudge(t *testing.T) {
	t.Parallel()
	row := func(metric string, p float64) Row {
		return Row{Metric: metric, P: p, Change: 0.5, CI: &stats.Interval{Lo: 0.4, Hi: 0.6, Confidence: 0.95},
			metric: analysis.Metric{Better: analysis.Lower}}
	}
	r := &Report{Rows: []Row{row("detect_ms", 0.02), row("progress", 0.04), row("detect_ms", math.NaN()),
		row("ept_total", 0.01), row("detect_ms", 0.01), row("progress", 0.03)}}
	r.judge(Gate{Tolerance: 0.03, Only: map[string]float64{"detect_ms": -1}})
	for i, want := range []struct {
		p       float64
		verdict Verdict
		fails   bool
	}{
		{0.02, Worse, true}, {0.06, Unclear, false}, {math.NaN(), Worse, true},
		{0.03, Worse, false}, {0.02, Worse, true}, {0.06, Unclear, false},
	} {
		if got := r.Rows[i]; !alike(got.P, want.p) || got.Verdict != want.verdict || got.Fails != want.fails {
			t.Errorf("row %d: p %g, %s, fails %v; want %+v", i, got.P, got.Verdict, got.Fails, want)
		}
	}
	if want := "3 regressions beyond the tolerance; of 6 metrics 4 worse, 0 better, 0 the same, 2 unclear"; r.Answer() !=
		want || !r.Failed() {
		t.Errorf("answer %q, want %q", r.Answer(), want)
	}
}

// TestAnswer: the sentence counts every verdict.
func TestAnswer(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		rows   []Row
		failed bool
		want   string
	}{
		{[]Row{{Verdict: Same}, {Verdict: Better}, {Verdict: Same}}, false,
			"0 regressions beyond the tolerance; of 3 metrics 0 worse, 1 better, 2 the same, 0 unclear"},
		{[]Row{{Verdict: Worse, Fails: true}, {Verdict: Worse}}, true,
			"1 regression beyond the tolerance; of 2 metrics 2 worse, 0 better, 0 the same, 0 unclear"},
	} {
		r := &Report{Rows: tc.rows}
		if r.Answer() != tc.want || r.Failed() != tc.failed {
			t.Errorf("%q, failed %v; want %q", r.Answer(), r.Failed(), tc.want)
		}
	}
}

// TestTableText pins what a reader sees of each kind of number.
func TestTableText(t *testing.T) {
	t.Parallel()
	nan, inf := math.NaN(), math.Inf(1)
	ci := func(lo, hi float64) *stats.Interval { return &stats.Interval{Lo: lo, Hi: hi, Confidence: 0.95} }
	share := analysis.Metric{Assume: analysis.Rate}
	rows := []Row{
		{Arm: "same", Verdict: Same, Warnings: []string{"hidden", "few"}},
		{Arm: "unclear", Verdict: Unclear, Change: nan, P: nan, Old: nan, New: 1},
		{Arm: "better", Verdict: Better, Old: 2, New: 1, Change: -0.5, CI: ci(-0.75, -0.25), P: 0.0009999,
			Warnings: []string{"few"}},
		{Arm: "worse", Verdict: Worse, Old: 0, New: 123456, Change: inf, CI: ci(inf, inf), P: 0.001,
			Warnings: []string{"few", "odd"}},
		{Arm: "fails", Verdict: Worse, Fails: true, Old: 0.25, New: 0.5, Change: 0.25, CI: ci(0.125, 0.375), P: 0.0456,
			metric: share},
		{Arm: "no interval", Verdict: Better, Old: 1, New: 0.5, Change: -0.5, P: nan, metric: share},
	}
	want := [][]string{ // mechanism, old, new, change, p, verdict
		{"fails", "25.0%", "50.0%", "+25.0 pp [+12.5, +37.5]", "0.046", "WORSE"},
		{"worse", "0", "1.2346e+05", "∞ [∞, ∞]", "0.001", "worse"},
		{"better", "2", "1", "-50.0% [-75.0%, -25.0%]", "<0.001", "better"},
		{"no interval", "100.0%", "50.0%", "-50.0 pp", "–", "better"},
		{"unclear", "–", "1", "–", "–", "unclear"},
		{"same", "0", "0", "+0.0%", "<0.001", "same"},
	}
	r := &Report{Rows: rows}
	for _, all := range []bool{false, true} {
		shown := want
		notes := []string{"In 2 of these rows: few.", "In 1 of these rows: odd."}
		if all {
			notes = []string{"In 3 of these rows: few.", "In 1 of these rows: odd.", "In 1 of these rows: hidden."}
		} else {
			shown = want[:4]
		}
		tab := r.Table(all)
		if len(tab.Rows) != len(shown) {
			t.Fatalf("all %v: %d rows, want %d: %q", all, len(tab.Rows), len(shown), tab.Rows)
		}
		for i, cells := range tab.Rows {
			got := []string{cells[1], cells[5], cells[6], cells[7], cells[8], cells[10]}
			if !slices.Equal(got, shown[i]) {
				t.Errorf("all %v, row %d: %q, want %q", all, i, got, shown[i])
			}
		}
		if got := tab.Notes[len(tab.Notes)-len(notes):]; !slices.Equal(got, notes) {
			t.Errorf("all %v: notes %q, want %q", all, got, notes)
		}
	}
}

// TestGateEdges: a metric that exists but is not compared cannot be named, and a tolerance
// of 0 is not the absence of one.
func TestGateEdges(t *testing.T) {
	t.Parallel()
	if slices.Contains(Names(), analysis.Window.Name) {
		t.Fatalf("%s is compared: choose another metric for this test", analysis.Window.Name)
	}
	if g, err := ParseGate(analysis.Window.Name, "3%"); err == nil ||
		!strings.Contains(err.Error(), "some of "+strings.Join(Names(), ", ")) {
		t.Errorf("a gate on %s: %+v, %v", analysis.Window.Name, g, err)
	}
	g, err := ParseGate("ept_per_event:0%,detect_ms", "3%")
	if err != nil || g.tolerance("ept_per_event") != 0 || g.tolerance("detect_ms") != 0.03 {
		t.Errorf("%+v: %g, %g, %v", g, g.tolerance("ept_per_event"), g.tolerance("detect_ms"), err)
	}
}

// TestPercentEdges: the ends of the range are allowed.
func TestPercentEdges(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]float64{"0%": 0, "1000%": 10, "12.5%": 0.125} {
		if got, err := parsePercent(s); err != nil || got != want {
			t.Errorf("parsePercent(%q) = %g, %v; want %g", s, got, err, want)
		}
	}
	for _, bad := range []string{"1000.1%", "-0.1%", "5", "x%", "%", ""} {
		if got, err := parsePercent(bad); err == nil {
			t.Errorf("parsePercent(%q) = %g", bad, got)
		}
	}
}
