package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

// TestSelectNth tries every sequence of up to five values, ties among them, and every
// rank.
func TestSelectNth(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 5; n++ {
		for code := range int(math.Pow(float64(n), float64(n))) {
			var xs []float64
			for c := code; len(xs) < n; c /= n {
				xs = append(xs, float64(c%n))
			}
			want := slices.Sorted(slices.Values(xs))
			for k := range n {
				got := slices.Clone(xs)
				if x := selectNth(got, k); x != want[k] || got[k] != x {
					t.Fatalf("selectNth(%v, %d) = %g, want %g", xs, k, x, want[k])
				}
				for i, x := range got {
					if i < k && x > got[k] || i > k && x < got[k] {
						t.Fatalf("selectNth(%v, %d) leaves %v", xs, k, got)
					}
				}
			}
		}
	}
}

func TestMedianOf(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		xs   []float64
		want float64
	}{
		{[]float64{3}, 3},
		{[]float64{4, 1}, 2.5},
		{[]float64{9, 1, 5}, 5},
		{[]float64{8, 1, 2, 4}, 3},
		{[]float64{math.MaxFloat64, math.MaxFloat64}, math.MaxFloat64},
	} {
		if m, ok := Median(tc.xs); m != tc.want || !ok {
			t.Errorf("Median(%v) = %g, want %g", tc.xs, m, tc.want)
		}
		if got := MedianOf(slices.Clone(tc.xs)); got != tc.want {
			t.Errorf("MedianOf(%v) = %g, want %g", tc.xs, got, tc.want)
		}
	}
	if m := MedianOf(nil); !math.IsNaN(m) {
		t.Errorf("the median of nothing is %g", m)
	}
}

// TestBootstrapInterval: the share that is cut off each side is P(Z > t sqrt(n/(n-1))),
// with t from tables of Student's distribution (12.7062, 2.7764, 2.2622 and 2.0452 for
// 1, 4, 9 and 29 degrees of freedom at 97.5%; 1.8331 for 9 at 95%). A single unit has no
// correction.
func TestBootstrapInterval(t *testing.T) {
	t.Parallel()
	const draws = 20000
	for _, tc := range []struct {
		n     int
		level float64
		cut   float64
	}{
		{1, 0.95, 500},
		{2, 0.95, 0},
		{5, 0.95, 19},   // P(Z > 3.10416) = 0.000954
		{10, 0.95, 171}, // P(Z > 2.38453) = 0.008551
		{30, 0.95, 375}, // P(Z > 2.08019) = 0.018754
		{10, 0.9, 533},  // P(Z > 1.93227) = 0.026664
	} {
		xs := make([]float64, draws)
		for i, j := range rand.New(rand.NewPCG(1, 2)).Perm(draws) {
			xs[i] = float64(j)
		}
		iv, err := Bootstrap{Level: tc.level}.interval(xs, tc.n)
		if err != nil || iv.Lo != tc.cut || iv.Hi != draws-1-tc.cut || iv.Confidence != tc.level {
			t.Errorf("%d units at %g: %+v, want %g cut on each side: %v", tc.n, tc.level, iv, tc.cut, err)
		}
	}
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if iv, err := (Bootstrap{Level: 0.95}).interval([]float64{1, bad, 2}, 9); err == nil || iv != nil {
			t.Errorf("a draw of %g has the interval %+v", bad, iv)
		}
	}
}

// TestDraw: a resample of one boot is as many of its values as it has, taken by the
// generator. A resample of several boots consists of whole boots, as many as there are,
// each with values of its own.
func TestDraw(t *testing.T) {
	t.Parallel()
	one, err := newSample([][]float64{nil, {10, 11, 12, 13, 14}})
	if err != nil || one.n != 5 || one.units() != 5 {
		t.Fatalf("%+v, %v", one, err)
	}
	same := rand.New(rand.NewPCG(8, 0))
	want := []float64{-1}
	for range 5 {
		want = append(want, 10+float64(same.IntN(5)))
	}
	if got := one.draw(rand.New(rand.NewPCG(8, 0)), []float64{-1}); !slices.Equal(got, want) {
		t.Errorf("drew %v, want %v", got, want)
	}

	several, err := newSample([][]float64{{1, 1.5, 1.75}, nil, {2}, {3, 3.5}})
	if err != nil || several.n != 6 || several.units() != 3 {
		t.Fatalf("%+v, %v", several, err)
	}
	rng := rand.New(rand.NewPCG(9, 0))
	var seen [4]bool
	for range 100 {
		var of [4]int
		for _, x := range several.draw(rng, nil) {
			of[int(x)]++
			seen[int(x)] = true
		}
		if of[1]%3 != 0 || of[3]%2 != 0 || of[1]/3+of[2]+of[3]/2 != 3 {
			t.Fatalf("a resample has %v values of the boots", of)
		}
	}
	if seen != [4]bool{false, true, true, true} {
		t.Errorf("boots seen: %v", seen)
	}
}

// TestBootstrapNumbers draws the same resamples again and compares the whole estimate.
func TestBootstrapNumbers(t *testing.T) {
	t.Parallel()
	b := Bootstrap{MinResamples, 5, 0.95}
	base := [][]float64{{2, 3, 4, 5, 6, 7, 8}, {3, 4, 9}, {5, 5, 6}, {1, 8}, {4, 6}, {5, 7}}
	next := [][]float64{{12, 15, 13, 18, 16, 11, 19, 14, 13, 12, 17, 15}}
	old, err := newSample(base)
	if err != nil {
		t.Fatal(err)
	}
	now, err := newSample(next)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 0))
	var draws []float64
	for range MinResamples {
		below := MedianOf(old.draw(rng, nil))
		draws = append(draws, MedianOf(now.draw(rng, nil))/below)
	}
	want, err := b.interval(draws, 6) // the smaller of six boots and twelve trials
	if err != nil {
		t.Fatal(err)
	}
	e, err := b.Ratio(base, next, MedianOf)
	if err != nil || e.N != 12 || e.Value != 14.5/5 || *e.CI != *want || len(e.Warnings) != 1 {
		t.Errorf("%+v with %+v, want %+v: %v", e, e.CI, want, err)
	}

	rng, draws = rand.New(rand.NewPCG(5, 0)), nil
	for range MinResamples {
		draws = append(draws, MedianOf(old.draw(rng, nil)))
	}
	if want, err = b.interval(draws, 6); err != nil {
		t.Fatal(err)
	}
	e, err = b.One(base, MedianOf)
	if err != nil || e.N != 19 || e.Value != 5 || *e.CI != *want || len(e.Warnings) != 0 {
		t.Errorf("%+v with %+v, want %+v: %v", e, e.CI, want, err)
	}
}

// TestBootstrapFew: the warnings begin below ten values and below five boots.
func TestBootstrapFew(t *testing.T) {
	t.Parallel()
	single := func(n int) [][]float64 { return [][]float64{upTo(n)} }
	boots := func(n int) [][]float64 { return slices.Repeat([][]float64{upTo(4)}, n) }
	const oneBoot = "all trials are of one boot: the interval says nothing about other boots"
	for _, tc := range []struct {
		boots [][]float64
		want  []string
	}{
		{single(9), []string{
			"n=9: a bootstrap interval of fewer than 10 values covers less often than it claims", oneBoot}},
		{single(10), []string{oneBoot}},
		{boots(4), []string{"4 boots are few: an interval over fewer than 5 covers less often than it claims"}},
		{boots(5), nil},
	} {
		s, err := newSample(tc.boots)
		if err != nil || !slices.Equal(s.warnings(), tc.want) {
			t.Errorf("%v: %q, want %q", tc.boots, s.warnings(), tc.want)
		}
	}
	e, err := Bootstrap{MinResamples, 1, 0.95}.Ratio(boots(4), single(20), MedianOf)
	if err != nil || len(e.Warnings) != 2 || !strings.Contains(e.Warnings[0], "4 boots") || e.Warnings[1] != oneBoot {
		t.Errorf("both sides warn: %+v, %v", e, err)
	}
}

// TestSummarizeLevels: the interval of n values at other levels, from Pascal's triangle.
func TestSummarizeLevels(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		n                         int
		level, lo, hi, confidence float64
	}{
		{2, 0.4, 1, 2, 0.5},
		{3, 0.1, 1, 3, 0.75},
		{4, 0.1, 2, 3, 0.375}, // 1 - 2(1+4)/16
		{4, 0.5, 1, 4, 0.875},
		{10, 0.99, 1, 10, 1 - 2.0/1024},
		{10, 0.8, 3, 8, 1 - 2*(1+10+45)/1024.0},
	} {
		s := Summarize(upTo(tc.n), tc.level)
		if s.CI == nil || s.CI.Lo != tc.lo || s.CI.Hi != tc.hi || !near(s.CI.Confidence, tc.confidence, 1e-12) ||
			len(s.Warnings) > 0 {
			t.Errorf("%d values at %g: %+v", tc.n, tc.level, s.CI)
		}
	}
	for level, want := range map[float64]int{0.5: 2, 0.75: 3, 0.9: 5, 0.95: 6, 0.99: 8} {
		if got := minForCI(level); got != want {
			t.Errorf("an interval at %g needs %d values, want %d", level, got, want)
		}
	}
	if s := Summarize(upTo(4), 0.9); s.CI != nil || !slices.Equal(s.Warnings,
		[]string{"n=4: an interval of the median at 90% needs 5 values"}) {
		t.Errorf("four values at 0.9: %+v", s)
	}
}

// TestPoissonLevels: 3 events at 90% are 0.8177 to 7.7537 in tables. Without any event
// the bounds are logarithms.
func TestPoissonLevels(t *testing.T) {
	t.Parallel()
	iv, err := Poisson(3, 4, 0.9)
	if err != nil || !near(iv.Lo*4, 0.8177, 5e-5) || !near(iv.Hi*4, 7.7537, 5e-5) || iv.Confidence != 0.9 {
		t.Errorf("3 events: %+v, %v", iv, err)
	}
	iv, err = Poisson(0, 1, 0.9)
	if err != nil || iv.Lo != 0 || !near(iv.Hi, math.Log(20), 1e-12) {
		t.Errorf("no event: %+v, %v", iv, err)
	}
	if upper, err := PoissonUpper(0, 2, 0.9); err != nil || !near(upper, math.Log(10)/2, 1e-12) {
		t.Errorf("no event: below %g, %v", upper, err)
	}
	for _, bad := range []struct {
		k               int
		exposure, level float64
	}{{-1, 1, 0.95}, {1, 0, 0.95}, {1, math.NaN(), 0.95}, {1, math.Inf(1), 0.95}, {1, 1, 1}, {1, 1, 0}} {
		if iv, err := Poisson(bad.k, bad.exposure, bad.level); err == nil {
			t.Errorf("%+v: interval %+v", bad, iv)
		}
		if upper, err := PoissonUpper(bad.k, bad.exposure, bad.level); err == nil {
			t.Errorf("%+v: below %g", bad, upper)
		}
	}
}

// TestRateEnds: the ends at no and at all trials are exact, and a difference stays within
// -1 and 1. Newcombe's example in the other direction has the signs changed.
func TestRateEnds(t *testing.T) {
	t.Parallel()
	const z2 = 3.841458820694124
	for n := 1; n <= 50; n++ {
		for _, interval := range []func(k, n int, level float64) (Interval, error){Wilson, ClopperPearson} {
			none, err := interval(0, n, 0.95)
			if err != nil || none.Lo != 0 || !(none.Hi > 0 && none.Hi < 1) {
				t.Errorf("0 of %d: %+v, %v", n, none, err)
			}
			all, err := interval(n, n, 0.95)
			if err != nil || all.Hi != 1 || !near(all.Lo, 1-none.Hi, 1e-9) {
				t.Errorf("%d of %d: %+v, %v", n, n, all, err)
			}
		}
	}
	edge := math.Sqrt2 * z2 / (4 + z2)
	for _, tc := range []struct {
		ka, na, kb, nb    int
		d, lo, hi, within float64
	}{
		{4, 4, 0, 4, -1, -1, -1 + edge, 1e-9},
		{0, 4, 4, 4, 1, 1 - edge, 1, 1e-9},
		{56, 70, 48, 80, -0.2, -0.3339, -0.0524, 1e-4},
	} {
		d, iv, err := RateDifference(tc.ka, tc.na, tc.kb, tc.nb, 0.95)
		if err != nil || !near(d, tc.d, 1e-12) || !near(iv.Lo, tc.lo, tc.within) || !near(iv.Hi, tc.hi, tc.within) ||
			iv.Confidence != 0.95 || iv.Lo < -1 || iv.Hi > 1 {
			t.Errorf("%+v: %g, %+v, %v", tc, d, iv, err)
		}
	}
	if iv, err := ClopperPearson(5, 10, 0.9); err != nil || !near(iv.Lo, 0.2224411, 1e-6) ||
		!near(iv.Hi, 0.7775589, 1e-6) || iv.Confidence != 0.9 { // tables: 0.222 to 0.778
		t.Errorf("5 of 10 at 90%%: %+v, %v", iv, err)
	}
	for _, bad := range [][2]int{{0, -1}, {-2, -1}, {-1, -2}, {-1, 1}, {2, 1}, {0, 0}} {
		_, wilson := Wilson(bad[0], bad[1], 0.95)
		_, exact := ClopperPearson(bad[0], bad[1], 0.95)
		if wilson == nil || exact == nil {
			t.Errorf("%d of %d: %v, %v", bad[0], bad[1], wilson, exact)
		}
	}
}

// TestQoSEdges: a mistake may start where the last one ended, take no time and last to the
// end of the watch. Mistakes in different watches are not successive.
func TestQoSEdges(t *testing.T) {
	t.Parallel()
	q, err := NewQoS([]Watch{{10, []Mistake{{0, 2}, {2, 2}, {6, 10}}}, {Length: 0}}, 0.95)
	if err != nil || q.Mistakes != 3 || q.Exposure != 10 || !near(q.Recurrence, 3, 1e-12) || !near(q.Duration, 2, 1e-12) ||
		!near(q.Good, 2, 1e-12) || !near(q.Accuracy, 0.4, 1e-12) || !near(q.Rate, 0.3, 1e-12) || len(q.Warnings) != 0 {
		t.Errorf("%+v, %v", q, err)
	}
	// Of 3 events the exact limits are 0.6187 to 8.7673, and 7.7537 on one side.
	if !near(q.RateCI.Lo, 0.06187, 5e-6) || !near(q.RateCI.Hi, 0.87673, 5e-6) || !near(q.Upper, 0.77537, 5e-6) {
		t.Errorf("rate %+v, below %g", q.RateCI, q.Upper)
	}
	q, err = NewQoS([]Watch{{10, []Mistake{{1, 2}}}, {10, []Mistake{{1, 2}}}}, 0.95)
	if err != nil || !math.IsNaN(q.Recurrence) || !math.IsNaN(q.Good) || q.Duration != 1 || q.Accuracy != 0.9 ||
		!slices.Equal(q.Warnings, []string{
			"2 mistakes: T_MR and T_G need two in one watch, 1 over lambda_M stands for T_MR"}) {
		t.Errorf("one mistake in each watch: %+v, %v", q, err)
	}
	for _, bad := range [][]Watch{{{10, []Mistake{{0, 10.1}}}}, {{10, []Mistake{{-0.1, 1}}}},
		{{10, []Mistake{{1, 3}, {2.9, 4}}}}, {{math.NaN(), nil}}, {{10, []Mistake{{1, math.NaN()}}}}} {
		if q, err := NewQoS(bad, 0.95); err == nil {
			t.Errorf("%v: %+v", bad, q)
		}
	}
	for _, bad := range []float64{-1, math.NaN(), math.Inf(1), math.Inf(-1)} {
		if q, err := NewQoS([]Watch{{Length: 10}, {Length: bad}}, 0.95); err == nil ||
			!strings.HasPrefix(err.Error(), "watch 1 is ") {
			t.Errorf("a watch of %g: %+v, %v", bad, q, err)
		}
	}
	for _, level := range []float64{0, 1} {
		if q, err := NewQoS([]Watch{{Length: 1}}, level); err == nil {
			t.Errorf("level %g: %+v", level, q)
		}
	}
}

// TestPairedRatioLeftOut: a base below 0 has no ratio either, and nothing is said if all
// pairs have one.
func TestPairedRatioLeftOut(t *testing.T) {
	t.Parallel()
	e, err := PairedRatio([]Pair{{2, 4}, {-1, 4}, {0, 4}, {4, 4}}, 0.5)
	if err != nil || e.N != 2 || e.Median != 1.5 || e.Min != 1 || e.Max != 2 || !slices.Equal(e.Warnings,
		[]string{"2 of 4 pairs have no ratio, as their base is 0"}) {
		t.Errorf("%+v, %v", e, err)
	}
	if e, err = PairedRatio([]Pair{{2, 4}, {1, 4}}, 0.4); err != nil || len(e.Warnings) != 0 || e.CI.Lo != 2 ||
		e.CI.Hi != 4 {
		t.Errorf("%+v, %v", e, err)
	}
}

// TestKaplanMeierIntervals: the intervals on the log-minus-log scale as printed in
// textbooks for the remission sample, and the quartile that follows from them.
func TestKaplanMeierIntervals(t *testing.T) {
	t.Parallel()
	s, err := KaplanMeier(remission(), 0.95)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []Interval{{0.620, 0.952, 0.95}, {0.563, 0.923, 0.95}, {0.503, 0.889, 0.95},
		{0.432, 0.849, 0.95}, {0.368, 0.805, 0.95}, {0.268, 0.747, 0.95}, {0.188, 0.680, 0.95}} {
		if ci := s.Steps[i].CI; !near(ci.Lo, want.Lo, 5e-4) || !near(ci.Hi, want.Hi, 5e-4) || ci.Confidence != 0.95 {
			t.Errorf("step %d: %+v, want %+v", i, ci, want)
		}
	}
	if q, ok := s.Quantile(0.25); !ok || q != (Quantile{Time: 13, Lo: 6, Hi: 22}) {
		t.Errorf("first quartile %+v, %v", q, ok)
	}
	if q, ok := s.Quantile(0.9); ok || q.Lo != 35 || !math.IsInf(q.Hi, 1) {
		t.Errorf("nine tenths %+v, %v", q, ok)
	}

	// One of four: S = 3/4, and Greenwood's sum is 1/(4*3).
	four, err := KaplanMeier([]Lifetime{{Time: 1}, {Time: 2}, {Time: 2}, {Time: 3}}, 0.9)
	if err != nil {
		t.Fatal(err)
	}
	half := 1.6448536269514722 / math.Sqrt(12) / math.Log(4.0/3)
	first := four.Steps[0]
	if !near(first.SE, 0.75/math.Sqrt(12), 1e-12) || !near(first.CI.Lo, math.Pow(0.75, math.Exp(half)), 1e-9) ||
		!near(first.CI.Hi, math.Pow(0.75, math.Exp(-half)), 1e-9) || first.CI.Confidence != 0.9 {
		t.Errorf("%+v, %+v", first, first.CI)
	}
	// The curve ends at 0, which is below every share: the lower end is the last time.
	if q, ok := four.Quantile(0.999); !ok || q.Time != 3 || q.Lo != 3 || !math.IsInf(q.Hi, 1) {
		t.Errorf("the last lifetime: %+v, %v", q, ok)
	}
}

// TestKaplanMeierFew: the warning ends at six events, which an interval of 95% needs. A
// lifetime of 0 is one.
func TestKaplanMeierFew(t *testing.T) {
	t.Parallel()
	for events, want := range map[int][]string{
		5: {"n=8, 5 of them ended: Greenwood's interval is rough below 6"}, 6: nil, 7: nil,
	} {
		lives := slices.Repeat([]Lifetime{{Time: 9, Censored: true}}, 3)
		for i := range events {
			lives = append(lives, Lifetime{Time: float64(i)})
		}
		s, err := KaplanMeier(lives, 0.95)
		if err != nil || s.Events != events || s.Steps[0].Time != 0 || !slices.Equal(s.Warnings, want) {
			t.Errorf("%d events: %+v, %v", events, s, err)
		}
	}
	// Two are censored at 1, the time of an event: they are at risk there and are counted
	// with those before the next step. One is censored at 2 alone.
	s, err := KaplanMeier([]Lifetime{{1, false}, {1, true}, {1, true}, {2, true}, {3, false}, {4, true}}, 0.95)
	if err != nil || len(s.Steps) != 2 {
		t.Fatalf("%+v, %v", s, err)
	}
	if a, b := s.Steps[0], s.Steps[1]; a.AtRisk != 6 || a.Censored != 0 || b.AtRisk != 2 || b.Censored != 3 ||
		!near(b.Share, 5.0/12, 1e-12) {
		t.Errorf("%+v, %+v", a, b)
	}
}

// TestHypothesisRefuses: each count that is out of range is an error by itself.
func TestHypothesisRefuses(t *testing.T) {
	t.Parallel()
	for _, bad := range [][4]int{{0, 0, 1, 2}, {1, 2, 0, 0}, {-1, 2, 1, 2}, {1, 2, -1, 2}, {3, 2, 1, 2}, {1, 2, 3, 2}} {
		if p, err := Fisher(bad[0], bad[1], bad[2], bad[3]); err == nil {
			t.Errorf("Fisher(%v) = %g", bad, p)
		}
	}
	for _, bad := range [][2]int{{-1, 2}, {2, -1}, {-1, 0}, {0, -1}} {
		if p, err := Sign(bad[0], bad[1]); err == nil {
			t.Errorf("Sign(%v) = %g", bad, p)
		}
	}
	some := []float64{1, 2}
	for _, bad := range [][2][]float64{{nil, some}, {some, nil}, {nil, nil}} {
		if p, _, err := MannWhitney(bad[0], bad[1], 0.05); err == nil {
			t.Errorf("MannWhitney(%v) = %g", bad, p)
		}
	}
	for _, level := range []float64{0, 1, -0.1, 1.1, math.NaN()} {
		if checkLevel(level) == nil {
			t.Errorf("level %g is allowed", level)
		}
	}
}

// TestFisherExact compares with the sum over hypergeometric probabilities, for all tables
// of up to 6 and 5 trials.
func TestFisherExact(t *testing.T) {
	t.Parallel()
	choose := func(n, k int) int {
		if k < 0 || k > n {
			return 0
		}
		c := 1
		for i := range k {
			c = c * (n - i) / (i + 1)
		}
		return c
	}
	for na := 1; na <= 6; na++ {
		for nb := 1; nb <= 5; nb++ {
			for ka := range na + 1 {
				for kb := range nb + 1 {
					sum, seen := 0, choose(na, ka)*choose(nb, kb)
					for x := range ka + kb + 1 {
						if ways := choose(na, x) * choose(nb, ka+kb-x); ways <= seen {
							sum += ways
						}
					}
					want := float64(sum) / float64(choose(na+nb, ka+kb))
					if p, err := Fisher(ka, na, kb, nb); err != nil || !near(p, want, 1e-9) || p > 1 {
						t.Errorf("Fisher(%d, %d, %d, %d) = %g, want %g: %v", ka, na, kb, nb, p, want, err)
					}
				}
			}
		}
	}
}

// TestTests: small samples whose p-values are counted by hand, and Holm's order.
func TestTests(t *testing.T) {
	t.Parallel()
	// 1, 2, 4 against 3, 5, 6: U is 1, and 2 of 20 orders have 1 or less: two-sided 4 in 20.
	p, ws, err := MannWhitney([]float64{4, 1, 2}, []float64{6, 3, 5}, 0.2)
	if err != nil || !near(p, 0.2, 1e-9) || len(ws) != 0 {
		t.Errorf("p=%g, %q, %v", p, ws, err)
	}
	for n := range 12 {
		for up := range n + 1 {
			tail := 0.0
			for k := range min(up, n-up) + 1 {
				tail += distuv.Binomial{N: float64(n), P: 0.5}.Prob(float64(k))
			}
			if p, err := Sign(up, n-up); err != nil || !near(p, min(1, 2*tail), 1e-9) || p > 1 {
				t.Errorf("Sign(%d, %d) = %g, want %g: %v", up, n-up, p, min(1, 2*tail), err)
			}
		}
	}
	ps := []float64{0.2, 0.01, 0.2, 0.03}
	if got := Holm(ps); !slices.EqualFunc(got, []float64{0.4, 0.04, 0.4, 0.09}, func(a, b float64) bool {
		return near(a, b, 1e-12)
	}) || !slices.Equal(ps, []float64{0.2, 0.01, 0.2, 0.03}) {
		t.Errorf("Holm makes %v of %v", got, ps)
	}
}

// TestQuantileSlack: a share or an end of an interval counts as reached if it is above 1-p by
// no more than rounding, which is 1e-12.
func TestQuantileSlack(t *testing.T) {
	t.Parallel()
	left := 0.5
	for _, tc := range []struct {
		above float64
		want  Quantile
	}{
		{0, Quantile{Time: 2, Lo: 1, Hi: 2}},
		{1e-12, Quantile{Time: 2, Lo: 1, Hi: 2}},
		{2e-12, Quantile{Time: 3, Lo: 2, Hi: 3}},
	} {
		at := left + tc.above
		s := &Survival{Last: 4, Steps: []SurvivalStep{
			{Time: 1, Share: 0.7, CI: &Interval{Lo: at, Hi: 0.9}},
			{Time: 2, Share: at, CI: &Interval{Lo: 0.3, Hi: at}},
			{Time: 3, Share: 0.2, CI: &Interval{Lo: 0.1, Hi: 0.3}},
		}}
		if q, ok := s.Quantile(0.5); !ok || q != tc.want {
			t.Errorf("%g above: %+v, %v, want %+v", tc.above, q, ok, tc.want)
		}
	}
}
