package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/perf/benchmath"
)

func near(a, b, eps float64) bool { return math.Abs(a-b) <= eps }

func upTo(n int) []float64 {
	xs := make([]float64, n)
	for i := range xs {
		xs[i] = float64(n - i) // descending: Summarize must sort
	}
	return xs
}

// The intervals are worked by hand from Pascal's triangle: of n values, the
// k-th smallest to the k-th largest misses the median with probability
// 2 (C(n,0)+...+C(n,k-1)) / 2^n.
func TestSummarize(t *testing.T) {
	for _, tc := range []struct {
		n          int
		median     float64
		lo, hi     float64 // 0, 0: no interval
		confidence float64
	}{
		{1, 1, 0, 0, 0},
		{2, 1.5, 0, 0, 0},
		{5, 3, 0, 0, 0},                         // 1 - 2/32 = 0.9375
		{6, 3.5, 1, 6, 1 - 2.0/64},              // 0.96875
		{7, 4, 1, 7, 1 - 2.0/128},               // k=2: 1 - 16/128 = 0.875
		{8, 4.5, 1, 8, 1 - 2.0/256},             // k=2: 1 - 18/256 = 0.9297
		{9, 5, 2, 8, 1 - 2*(1+9)/512.0},         // 0.9609
		{10, 5.5, 2, 9, 1 - 2*(1+10)/1024.0},    // 0.9785
		{12, 6.5, 3, 10, 1 - 2*(1+12+66)/4096.}, // 0.9614
		{40, 20.5, 14, 27, 0.9615},              // k=14: 0.9615 in printed tables, k=15: 0.9193
	} {
		s := Summarize(upTo(tc.n), 0.95)
		if s.N != tc.n || s.Median != tc.median || s.Min != 1 || s.Max != float64(tc.n) {
			t.Errorf("n=%d: %+v", tc.n, s)
		}
		if tc.lo == 0 {
			if s.CI != nil || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "needs 6 values") {
				t.Errorf("n=%d: interval %v, warnings %q", tc.n, s.CI, s.Warnings)
			}
			continue
		}
		if s.CI == nil || s.CI.Lo != tc.lo || s.CI.Hi != tc.hi || !near(s.CI.Confidence, tc.confidence, 5e-5) ||
			len(s.Warnings) != 0 {
			t.Errorf("n=%d: interval %+v, want [%g, %g] at %g", tc.n, s.CI, tc.lo, tc.hi, tc.confidence)
		}
	}
	if Summarize(nil, 0.95) != nil {
		t.Error("an empty sample has a summary")
	}
}

// benchmath's interval need not have equal tails, so it is never wider in ranks. If it has
// the same ranks, the confidences must agree.
func TestSummarizeAgainstBenchmath(t *testing.T) {
	same := 0
	for n := 6; n <= 30; n++ {
		ours := Summarize(upTo(n), 0.95)
		theirs := benchmath.AssumeNothing.Summary(benchmath.NewSample(upTo(n), &benchmath.DefaultThresholds), 0.95)
		if theirs.Center != ours.Median {
			t.Errorf("n=%d: median %g, benchmath %g", n, ours.Median, theirs.Center)
		}
		if theirs.Hi-theirs.Lo > ours.CI.Hi-ours.CI.Lo {
			t.Errorf("n=%d: [%g, %g], benchmath's [%g, %g] is wider", n, ours.CI.Lo, ours.CI.Hi, theirs.Lo, theirs.Hi)
		}
		if theirs.Lo == ours.CI.Lo && theirs.Hi == ours.CI.Hi {
			same++
			if !near(theirs.Confidence, ours.CI.Confidence, 1e-9) {
				t.Errorf("n=%d: confidence %g, benchmath %g", n, ours.CI.Confidence, theirs.Confidence)
			}
		}
	}
	if same == 0 {
		t.Error("benchmath never agrees: one of the two is wrong")
	}
}

// The share of samples whose interval contains the true median must be the confidence
// claimed, within five standard errors. The seed is fixed.
func TestSummarizeCoverage(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	const draws = 20000
	for _, n := range []int{6, 9, 20} {
		hit, claimed := 0, 0.0
		for range draws {
			xs := make([]float64, n)
			for i := range xs {
				xs[i] = rng.ExpFloat64()
			}
			s := Summarize(xs, 0.95)
			claimed = s.CI.Confidence
			if s.CI.Lo <= math.Ln2 && math.Ln2 <= s.CI.Hi {
				hit++
			}
		}
		got := float64(hit) / draws
		if sd := math.Sqrt(claimed * (1 - claimed) / draws); math.Abs(got-claimed) > 5*sd {
			t.Errorf("n=%d: covers %g of samples, claims %g", n, got, claimed)
		}
	}
}

func TestSummarizeBig(t *testing.T) {
	s := Summarize(upTo(5000), 0.95)
	// Normal approximation: k is about n/2 - 1.96 sqrt(n)/2 = 2430.7.
	if s.CI == nil || s.CI.Lo < 2425 || s.CI.Lo > 2436 || s.CI.Confidence < 0.95 || s.CI.Confidence > 0.96 {
		t.Errorf("n=5000: %+v", s.CI)
	}
}

func TestMedian(t *testing.T) {
	xs := []float64{9, 1, 5}
	if m, ok := Median(xs); !ok || m != 5 || !slices.Equal(xs, []float64{9, 1, 5}) {
		t.Errorf("median %g %v of %v", m, ok, xs)
	}
	if m, ok := Median([]float64{math.MaxFloat64, math.MaxFloat64}); !ok || m != math.MaxFloat64 {
		t.Errorf("median of huge values is %g", m)
	}
	if _, ok := Median(nil); ok {
		t.Error("an empty sample has a median")
	}
}

// 1/10 and 5/10 are worked by hand from the formula with z = 1.959964; the
// ends are z^2/(n+z^2): 3.841459/(2+3.841459) = 0.657620 for n = 2.
func TestWilson(t *testing.T) {
	for _, tc := range []struct {
		k, n   int
		lo, hi float64
	}{
		{0, 2, 0, 0.657620},
		{2, 2, 0.342380, 1},
		{0, 10, 0, 0.277533},
		{1, 10, 0.017876, 0.404150},
		{5, 10, 0.236593, 0.763407},
		{10, 10, 0.722467, 1},
	} {
		iv, err := Wilson(tc.k, tc.n, 0.95)
		if err != nil || !near(iv.Lo, tc.lo, 1e-6) || !near(iv.Hi, tc.hi, 1e-6) || iv.Confidence != 0.95 {
			t.Errorf("Wilson(%d, %d) = %+v, %v; want [%g, %g]", tc.k, tc.n, iv, err, tc.lo, tc.hi)
		}
	}
	for _, bad := range [][2]int{{0, 0}, {-1, 2}, {3, 2}} {
		if _, err := Wilson(bad[0], bad[1], 0.95); err == nil {
			t.Errorf("Wilson(%d, %d) has no error", bad[0], bad[1])
		}
	}
	for _, level := range []float64{0, 1, math.NaN()} {
		if _, err := Wilson(1, 2, level); err == nil {
			t.Errorf("level %g has no error", level)
		}
	}
}
