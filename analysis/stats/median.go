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

	// CI is the confidence interval of the population's median. It is nil if the sample is
	// too small for the level asked for.
	CI *Interval

	// Warnings are sentences to print beside the numbers.
	Warnings []string
}

// Interval is a confidence interval. Confidence is the level asked for, or for order
// statistics the exact one, which in small samples can be well above it.
type Interval struct {
	Lo, Hi     float64
	Confidence float64 // 0 to 1
}

// Summarize describes xs and does not change it. It returns nil for an empty sample. The
// level is in (0, 1).
//
// The interval extends from the k-th smallest to the k-th largest value. k is the largest
// number for which the confidence 1 - 2 P(B < k), with B binomial of n and 1/2, is at least
// the level (David and Nagaraja, Order Statistics, 2003, section 7.1). The draws must be
// independent; nothing else is assumed. With ties the confidence is higher than stated.
// golang.org/x/perf/benchmath computes the same kind of interval but may shift it towards
// small values, which makes a latency look better. The interval here has equal tails.
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

// minForCI returns the smallest sample size that has an interval of the level, from the
// smallest to the largest value: 1 - 2^(1-n) >= level.
func minForCI(level float64) int { return 1 + int(math.Ceil(-math.Log2(1-level))) }

// Median returns the median of xs and does not change xs. For an even number of values it
// is the mean of the middle two. It returns false for an empty sample.
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
