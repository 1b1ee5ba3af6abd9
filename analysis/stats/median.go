package stats

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Summary describes a sample by its order statistics.
type Summary struct {
	N        int
	Median   float64
	Min, Max float64

	// CI is the confidence interval of the population's median, nil when
	// the sample is too small for one at the level asked for.
	CI *Interval

	// Warnings are sentences to print beside the numbers.
	Warnings []string
}

// Interval is a confidence interval with the confidence it really has, which
// is at least the level asked for and, in small samples, often well above.
type Interval struct {
	Lo, Hi     float64
	Confidence float64 // 0 to 1
}

// Summarize describes xs, which it leaves as they are. It returns nil for an
// empty sample: there is nothing to say about one. The level is in (0, 1).
//
// The interval reaches from the k-th smallest to the k-th largest value for
// the largest k whose confidence 1 - 2 P(B < k), B binomial of n and 1/2, is
// still the level or more (David and Nagaraja, Order Statistics, 2003, section
// 7.1). It assumes nothing but independent draws; with ties it is on the safe
// side. golang.org/x/perf/benchmath computes the same kind of interval but
// may take it lopsided towards small values, which flatters a latency, so the
// equal-tailed one is computed here.
func Summarize(xs []float64, level float64) *Summary {
	n := len(xs)
	if n == 0 {
		return nil
	}
	xs = slices.Sorted(slices.Values(xs))
	s := &Summary{N: n, Min: xs[0], Max: xs[n-1], Median: sortedMedian(xs)}
	coin := distuv.Binomial{N: float64(n), P: 0.5}
	best, below := 0, 0.0 // below is P(B < k)
	for k := 1; k <= n/2; k++ {
		below += coin.Prob(float64(k - 1))
		if 1-2*below < level {
			break
		}
		best = k
		s.CI = &Interval{Lo: xs[k-1], Hi: xs[n-k], Confidence: 1 - 2*below}
	}
	if best == 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("n=%d: an interval of the median at %g%% needs %d values", n,
			level*100, minForCI(level)))
	}
	return s
}

// minForCI is the sample size from which smallest to largest value is an
// interval of the level: 1 - 2^(1-n) >= level.
func minForCI(level float64) int { return 1 + int(math.Ceil(-math.Log2(1-level))) }

// Median returns the median of xs, which it leaves as they are, and false for
// an empty sample. For an even number it is the mean of the middle two.
func Median(xs []float64) (float64, bool) {
	if len(xs) == 0 {
		return 0, false
	}
	return sortedMedian(slices.Sorted(slices.Values(xs))), true
}

func sortedMedian(xs []float64) float64 {
	n := len(xs)
	if n%2 == 1 {
		return xs[n/2]
	}
	return xs[n/2-1]/2 + xs[n/2]/2 // halves first: the sum may overflow
}
