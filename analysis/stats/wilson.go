package stats

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Wilson returns Wilson's score interval of a rate of which k of n were seen
// (Wilson, JASA 22, 1927). Unlike the textbook interval it stays within 0 and
// 1 and says something at k = 0 and k = n. The level is in (0, 1). It is an
// error unless 0 <= k <= n and n > 0.
func Wilson(k, n int, level float64) (Interval, error) {
	if n <= 0 || k < 0 || k > n {
		return Interval{}, fmt.Errorf("rate of %d in %d is none", k, n)
	}
	if !(level > 0 && level < 1) {
		return Interval{}, fmt.Errorf("confidence level %g is not between 0 and 1", level)
	}
	z := distuv.UnitNormal.Quantile((1 + level) / 2) // two-sided
	nn, p := float64(n), float64(k)/float64(n)
	centre := (p + z*z/(2*nn)) / (1 + z*z/nn)
	half := z / (1 + z*z/nn) * math.Sqrt(p*(1-p)/nn+z*z/(4*nn*nn))
	iv := Interval{Lo: max(0, centre-half), Hi: min(1, centre+half), Confidence: level}
	// Exact at the ends, where rounding would leave 1e-17 or so.
	if k == 0 {
		iv.Lo = 0
	}
	if k == n {
		iv.Hi = 1
	}
	return iv, nil
}
