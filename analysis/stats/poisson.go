package stats

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Poisson returns the exact interval of the rate of rare events, per unit of the exposure,
// if k were seen during the exposure (Garwood, Biometrika 28, 1936). If k is 0, the lower
// end is 0 and the upper end is still that of a two-sided interval; PoissonUpper gives the
// one-sided bound. It is an error if k is negative, the exposure is not positive and finite,
// or the level is not in (0, 1).
func Poisson(k int, exposure, level float64) (Interval, error) {
	if err := checkPoisson(k, exposure, level); err != nil {
		return Interval{}, err
	}
	tail := (1 - level) / 2
	iv := Interval{Hi: poissonHi(k, tail) / exposure, Confidence: level}
	if k > 0 {
		iv.Lo = distuv.ChiSquared{K: 2 * float64(k)}.Quantile(tail) / 2 / exposure
	}
	return iv, nil
}

// PoissonUpper returns the exact upper bound of the rate, per unit of the exposure. The
// probability that the true rate is below it is at least the level. For k = 0 and level 0.95
// it is 3.0 divided by the exposure. The errors are those of Poisson.
func PoissonUpper(k int, exposure, level float64) (float64, error) {
	if err := checkPoisson(k, exposure, level); err != nil {
		return 0, err
	}
	return poissonHi(k, 1-level) / exposure, nil
}

// poissonHi returns the mean at which k or fewer events have the probability tail.
func poissonHi(k int, tail float64) float64 {
	if k == 0 {
		return -math.Log(tail)
	}
	return distuv.ChiSquared{K: 2*float64(k) + 2}.Quantile(1-tail) / 2
}

func checkPoisson(k int, exposure, level float64) error {
	if k < 0 || !(exposure > 0) || math.IsInf(exposure, 1) {
		return fmt.Errorf("%d events during %g are not a rate", k, exposure)
	}
	return checkLevel(level)
}
