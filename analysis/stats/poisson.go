package stats

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Poisson returns the exact interval of the rate of rare events of which k were
// seen during an exposure (Garwood, Biometrika 28, 1936), per unit of the
// exposure. With k = 0 the lower end is 0 and the upper one is still two-sided;
// PoissonUpper is the bound for "none was seen". It is an error unless k >= 0
// and the exposure is positive and finite.
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

// PoissonUpper returns the exact upper bound of the rate, per unit of the
// exposure: the true rate is below it with the level's probability at least.
// With k = 0 and level 0.95 it is 3.0 over the exposure. Errors as of Poisson.
func PoissonUpper(k int, exposure, level float64) (float64, error) {
	if err := checkPoisson(k, exposure, level); err != nil {
		return 0, err
	}
	return poissonHi(k, 1-level) / exposure, nil
}

// poissonHi is the mean at which k or fewer events have the probability tail.
func poissonHi(k int, tail float64) float64 {
	if k == 0 {
		return -math.Log(tail)
	}
	return distuv.ChiSquared{K: 2*float64(k) + 2}.Quantile(1-tail) / 2
}

func checkPoisson(k int, exposure, level float64) error {
	if k < 0 || !(exposure > 0) || math.IsInf(exposure, 1) {
		return fmt.Errorf("a rate of %d events in %g is none", k, exposure)
	}
	return checkLevel(level)
}
