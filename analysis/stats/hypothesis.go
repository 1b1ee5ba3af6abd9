package stats

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"golang.org/x/perf/benchmath"
	"gonum.org/v1/gonum/stat/combin"
	"gonum.org/v1/gonum/stat/distuv"
)

// MannWhitney returns the two-sided p-value of the hypothesis that two samples have the
// same distribution. golang.org/x/perf/benchmath computes it, exactly for small samples. A
// warning says if the samples are too small for any difference to be significant at alpha.
// It is an error if a sample is empty.
func MannWhitney(a, b []float64, alpha float64) (p float64, warnings []string, err error) {
	if len(a) == 0 || len(b) == 0 {
		return 0, nil, errors.New("a test needs values on both sides")
	}
	t := benchmath.DefaultThresholds
	t.CompareAlpha = alpha
	c := benchmath.AssumeNothing.Compare(benchmath.NewSample(slices.Clone(a), &t), benchmath.NewSample(slices.Clone(b),
		&t))
	for _, w := range c.Warnings {
		warnings = append(warnings, w.Error())
	}
	return min(1, c.P), warnings, nil
}

// Fisher returns the two-sided p-value of Fisher's exact test of the hypothesis that ka of
// na and kb of nb have the same rate. It is the probability of all tables with the same
// sums that are no more probable than this one. It is an error unless 0 <= ka <= na,
// 0 <= kb <= nb and both na and nb are positive.
func Fisher(ka, na, kb, nb int) (float64, error) {
	if na <= 0 || nb <= 0 || ka < 0 || kb < 0 || ka > na || kb > nb {
		return 0, fmt.Errorf("%d of %d and %d of %d are not two rates", ka, na, kb, nb)
	}
	k := ka + kb
	choose := func(n, k int) float64 { return combin.LogGeneralizedBinomial(float64(n), float64(k)) }
	log := func(x int) float64 { return choose(na, x) + choose(nb, k-x) - choose(na+nb, k) }
	seen := log(ka)
	p := 0.0
	for x := max(0, k-nb); x <= min(k, na); x++ {
		if l := log(x); l <= seen+1e-9 { // the margin is for rounding
			p += math.Exp(l)
		}
	}
	return min(1, p), nil
}

// Holm returns the p-values adjusted for multiple tests, in the order given (Holm,
// Scandinavian Journal of Statistics 6, 1979). If all hypotheses below alpha are rejected,
// the probability of any wrong rejection is at most alpha.
func Holm(ps []float64) []float64 {
	order := make([]int, len(ps))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(ps[a], ps[b]) })
	adjusted := make([]float64, len(ps))
	worst := 0.0
	for rank, i := range order {
		worst = max(worst, min(1, float64(len(ps)-rank)*ps[i]))
		adjusted[i] = worst
	}
	return adjusted
}

// Sign returns the two-sided p-value of the sign test: the hypothesis is that a pair is as
// likely to go up as down. up and down are the numbers of pairs; ties are in neither. If
// both are 0, the p-value is 1. It is an error if one is negative.
func Sign(up, down int) (float64, error) {
	if up < 0 || down < 0 {
		return 0, fmt.Errorf("%d up and %d down: a count is negative", up, down)
	}
	coin := distuv.Binomial{N: float64(up + down), P: 0.5}
	return min(1, 2*coin.CDF(float64(min(up, down)))), nil
}
