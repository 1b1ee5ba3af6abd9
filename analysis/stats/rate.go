package stats

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Wilson returns the score interval of a rate if k of n were seen (Wilson, JASA 22, 1927).
// The normal approximation can leave [0, 1] and has no width at k = 0 and k = n; this
// interval stays within [0, 1] and has a width there too. It is an error unless
// 0 <= k <= n, n > 0 and the level is in (0, 1).
func Wilson(k, n int, level float64) (Interval, error) {
	if n <= 0 || k < 0 || k > n {
		return Interval{}, fmt.Errorf("%d of %d is not a rate", k, n)
	}
	if err := checkLevel(level); err != nil {
		return Interval{}, err
	}
	z := distuv.UnitNormal.Quantile((1 + level) / 2) // two-sided
	nn, p := float64(n), float64(k)/float64(n)
	centre := (p + z*z/(2*nn)) / (1 + z*z/nn)
	half := z / (1 + z*z/nn) * math.Sqrt(p*(1-p)/nn+z*z/(4*nn*nn))
	iv := Interval{Lo: max(0, centre-half), Hi: min(1, centre+half), Confidence: level}
	// The ends are exact here; rounding would leave an error of about 1e-17.
	if k == 0 {
		iv.Lo = 0
	}
	if k == n {
		iv.Hi = 1
	}
	return iv, nil
}

// ClopperPearson returns the exact interval of a rate if k of n were seen (Clopper and
// Pearson, Biometrika 26, 1934). Its coverage is at least the level at every rate, while
// Wilson's is at the level on average. It is therefore wider. The errors are those of Wilson.
func ClopperPearson(k, n int, level float64) (Interval, error) {
	if n <= 0 || k < 0 || k > n {
		return Interval{}, fmt.Errorf("%d of %d is not a rate", k, n)
	}
	if err := checkLevel(level); err != nil {
		return Interval{}, err
	}
	iv := Interval{Lo: 0, Hi: 1, Confidence: level}
	tail := (1 - level) / 2
	if k > 0 {
		iv.Lo = distuv.Beta{Alpha: float64(k), Beta: float64(n - k + 1)}.Quantile(tail)
	}
	if k < n {
		iv.Hi = distuv.Beta{Alpha: float64(k + 1), Beta: float64(n - k)}.Quantile(1 - tail)
	}
	return iv, nil
}

// RateDifference returns the rate of b minus the rate of a, and Newcombe's interval of the
// difference, which combines Wilson's intervals of both (Newcombe, Statistics in Medicine
// 17, 1998, method 10). The errors are those of Wilson for each rate.
func RateDifference(ka, na, kb, nb int, level float64) (float64, Interval, error) {
	a, err := Wilson(ka, na, level)
	if err != nil {
		return 0, Interval{}, err
	}
	b, err := Wilson(kb, nb, level)
	if err != nil {
		return 0, Interval{}, err
	}
	pa, pb := float64(ka)/float64(na), float64(kb)/float64(nb)
	d := pb - pa
	return d, Interval{
		Lo:         max(-1, d-math.Hypot(pb-b.Lo, a.Hi-pa)),
		Hi:         min(1, d+math.Hypot(b.Hi-pb, pa-a.Lo)),
		Confidence: level,
	}, nil
}

// checkLevel returns an error unless the level is in (0, 1).
func checkLevel(level float64) error {
	if !(level > 0 && level < 1) {
		return fmt.Errorf("confidence level %g is not between 0 and 1", level)
	}
	return nil
}
