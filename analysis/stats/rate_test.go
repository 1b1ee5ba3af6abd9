package stats

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

// The ends at 0 of n and n of n are 1 - (0.025)^(1/n) and (0.025)^(1/n); 5 of 10
// and 1 of 10 are those printed in tables of the exact interval.
func TestClopperPearson(t *testing.T) {
	for _, tc := range []struct {
		k, n   int
		lo, hi float64
	}{
		{0, 2, 0, 1 - math.Sqrt(0.025)},
		{2, 2, math.Sqrt(0.025), 1},
		{0, 10, 0, 1 - math.Pow(0.025, 0.1)},
		{1, 10, 0.0025286, 0.4450161},
		{5, 10, 0.1870860, 0.8129140},
		{30, 30, math.Pow(0.025, 1/30.0), 1},
	} {
		iv, err := ClopperPearson(tc.k, tc.n, 0.95)
		if err != nil || !near(iv.Lo, tc.lo, 1e-6) || !near(iv.Hi, tc.hi, 1e-6) {
			t.Errorf("ClopperPearson(%d, %d) = %+v, %v; want [%g, %g]", tc.k, tc.n, iv, err, tc.lo, tc.hi)
		}
	}
	for _, bad := range [][2]int{{0, 0}, {-1, 2}, {3, 2}} {
		if _, err := ClopperPearson(bad[0], bad[1], 0.95); err == nil {
			t.Errorf("ClopperPearson(%d, %d) has no error", bad[0], bad[1])
		}
	}
	if _, err := ClopperPearson(1, 2, 1); err == nil {
		t.Error("level 1 has no error")
	}
}

// rateCoverage returns the probability, summed over all outcomes, that an interval contains
// the true rate.
func rateCoverage(t *testing.T, n int, p float64, interval func(k, n int, level float64) (Interval, error)) float64 {
	t.Helper()
	cover := 0.0
	d := distuv.Binomial{N: float64(n), P: p}
	for k := 0; k <= n; k++ {
		iv, err := interval(k, n, 0.95)
		if err != nil {
			t.Fatal(err)
		}
		if iv.Lo <= p && p <= iv.Hi {
			cover += d.Prob(float64(k))
		}
	}
	return cover
}

// The coverage of Clopper and Pearson's interval is never below the level. That of Wilson's
// is at the level on average over the rates. Both are computed exactly, not simulated.
func TestRateCoverage(t *testing.T) {
	for _, n := range []int{2, 5, 10, 30, 100} {
		least, mean, count := 1.0, 0.0, 0
		for p := 0.005; p < 1; p += 0.005 {
			least = min(least, rateCoverage(t, n, p, ClopperPearson))
			mean += rateCoverage(t, n, p, Wilson)
			count++
		}
		mean /= float64(count)
		t.Logf("n=%d: Clopper-Pearson covers %.4f at least, Wilson %.4f on average", n, least, mean)
		if least < 0.95-1e-9 {
			t.Errorf("n=%d: Clopper and Pearson's interval covers %g at some rate", n, least)
		}
		if !near(mean, 0.95, 0.015) {
			t.Errorf("n=%d: Wilson's interval covers %g on average", n, mean)
		}
	}
}

// 56 of 70 against 48 of 80 is the worked example of Newcombe's paper: 0.2 with
// 0.0524 to 0.3339 by method 10.
func TestRateDifference(t *testing.T) {
	d, iv, err := RateDifference(48, 80, 56, 70, 0.95)
	if err != nil || !near(d, 0.2, 1e-12) || !near(iv.Lo, 0.0524, 1e-4) || !near(iv.Hi, 0.3339, 1e-4) {
		t.Errorf("difference %g %+v, %v", d, iv, err)
	}
	if d, iv, err := RateDifference(2, 2, 2, 2, 0.95); err != nil || d != 0 || !(iv.Lo < 0 && iv.Hi > 0) {
		t.Errorf("equal rates: %g %+v, %v", d, iv, err)
	}
	if _, _, err := RateDifference(1, 2, 3, 2, 0.95); err == nil {
		t.Error("3 of 2 has a difference")
	}
	if _, _, err := RateDifference(3, 2, 1, 2, 0.95); err == nil {
		t.Error("3 of 2 has a difference")
	}
}

// The values are those of tables of exact Poisson limits (k = 0: 3.69, 3.00
// one-sided; k = 1: 0.0253 to 5.57; k = 10: 4.80 to 18.39).
func TestPoisson(t *testing.T) {
	for _, tc := range []struct {
		k             int
		lo, hi, upper float64
	}{
		{0, 0, 3.6889, 2.9957},
		{1, 0.0253, 5.5716, 4.7439},
		{10, 4.7954, 18.3904, 16.9622},
	} {
		iv, err := Poisson(tc.k, 2, 0.95)
		upper, uerr := PoissonUpper(tc.k, 2, 0.95)
		if err != nil || uerr != nil || !near(iv.Lo*2, tc.lo, 1e-4) || !near(iv.Hi*2, tc.hi, 1e-4) || !near(upper*2,
			tc.upper, 1e-4) {
			t.Errorf("k=%d: %+v below %g, %v, %v", tc.k, iv, upper, err, uerr)
		}
	}
	for _, exposure := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if _, err := Poisson(1, exposure, 0.95); err == nil {
			t.Errorf("exposure %g has a rate", exposure)
		}
	}
	if _, err := PoissonUpper(-1, 1, 0.95); err == nil {
		t.Error("-1 events have a bound")
	}
	if _, err := Poisson(1, 1, 0); err == nil {
		t.Error("level 0 has an interval")
	}
}

// The coverage of the interval and of the bound is at least the level at every mean.
func TestPoissonCoverage(t *testing.T) {
	const most = 80 // events: more have no probability at these means
	var ivs [most]Interval
	var uppers [most]float64
	for k := range most {
		var err, uerr error
		ivs[k], err = Poisson(k, 1, 0.95)
		uppers[k], uerr = PoissonUpper(k, 1, 0.95)
		if err != nil || uerr != nil {
			t.Fatal(err, uerr)
		}
	}
	two, one := 1.0, 1.0
	for mean := 0.05; mean < 20; mean += 0.05 {
		d := distuv.Poisson{Lambda: mean}
		both, below := 0.0, 0.0
		for k := range most {
			if ivs[k].Lo <= mean && mean <= ivs[k].Hi {
				both += d.Prob(float64(k))
			}
			if mean <= uppers[k] {
				below += d.Prob(float64(k))
			}
		}
		two, one = min(two, both), min(one, below)
	}
	t.Logf("covers %.4f at least, the bound %.4f", two, one)
	if two < 0.95-1e-6 || one < 0.95-1e-6 || one > 0.96 {
		t.Errorf("the interval covers %g, the bound %g at the worst mean", two, one)
	}
}
