package stats

import (
	"flag"
	"math"
	"math/rand/v2"
	"testing"
)

// simulate draws samples and returns the share whose interval contains the true value.
func simulate(t *testing.T, draws int, seed uint64, truth float64, interval func(rng *rand.Rand) (*Interval,
	error)) float64 {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 99))
	hit := 0
	for range draws {
		iv, err := interval(rng)
		if err != nil {
			t.Fatal(err)
		}
		if iv.Lo <= truth && truth <= iv.Hi {
			hit++
		}
	}
	return float64(hit) / float64(draws)
}

var draws = flag.Int("draws", 250, "`number` of samples TestCoverage simulates for each interval; the figures in "+
	"doc.go are of 4000")

// TestCoverage draws made-up data whose true value is known. The intervals must contain it
// as often as doc.go says, within four standard errors of the simulation. The seed is fixed,
// so the test cannot fail by chance.
func TestCoverage(t *testing.T) {
	boot := Bootstrap{Resamples: MinResamples, Level: 0.95}
	exp := func(rng *rand.Rand, n int) []float64 {
		xs := make([]float64, n)
		for i := range xs {
			xs[i] = rng.ExpFloat64()
		}
		return xs
	}
	for _, tc := range []struct {
		name     string
		truth    float64
		says     float64 // doc.go
		interval func(rng *rand.Rand) (*Interval, error)
	}{
		{"bootstrap of a median, one boot of 20", math.Ln2, 0.957, func(rng *rand.Rand) (*Interval, error) {
			boot.Seed = rng.Uint64()
			e, err := boot.One([][]float64{exp(rng, 20)}, MedianOf)
			return e.CI, err
		}},
		// Boots differ by a normal shift of deviation 1, trials by one of 0.5.
		{"bootstrap of a median, 12 boots of 6", 0, 0.971, func(rng *rand.Rand) (*Interval, error) {
			boot.Seed = rng.Uint64()
			var boots [][]float64
			for range 12 {
				shift := rng.NormFloat64()
				xs := make([]float64, 6)
				for i := range xs {
					xs[i] = shift + 0.5*rng.NormFloat64()
				}
				boots = append(boots, xs)
			}
			e, err := boot.One(boots, MedianOf)
			return e.CI, err
		}},
		{"bootstrap of a ratio of medians, 30 to 30", 1.25, 0.976, func(rng *rand.Rand) (*Interval, error) {
			boot.Seed = rng.Uint64()
			base, next := exp(rng, 30), exp(rng, 30)
			for i := range next {
				base[i], next[i] = 4+base[i], 1.25*(4+next[i])
			}
			e, err := boot.Ratio([][]float64{base}, [][]float64{next}, MedianOf)
			return e.CI, err
		}},
		// 12 pairs: the order-statistic interval covers 0.9614 (TestSummarize).
		{"ratio of 12 pairs", 0.9, 0.965, func(rng *rand.Rand) (*Interval, error) {
			var pairs []Pair
			for range 12 {
				base := 100 * (1 + rng.Float64()) // what the pair has in common
				pairs = append(pairs, Pair{base, base * 0.9 * math.Exp(0.1*rng.NormFloat64())})
			}
			e, err := PairedRatio(pairs, 0.95)
			return e.CI, err
		}},
		// Exponential lifetimes, censored at 1.2: the share that lasts longer than
		// 0.7 is exp(-0.7).
		{"Kaplan-Meier, 40 lifetimes censored at 1.2", math.Exp(-0.7), 0.939, func(rng *rand.Rand) (*Interval, error) {
			var lives []Lifetime
			for _, x := range exp(rng, 40) {
				lives = append(lives, Lifetime{min(x, 1.2), x > 1.2})
			}
			s, err := KaplanMeier(lives, 0.95)
			if err != nil {
				return nil, err
			}
			iv := &Interval{Lo: 1, Hi: 1}
			for _, step := range s.Steps {
				if step.Time <= 0.7 {
					iv = step.CI
				}
			}
			return iv, nil
		}},
		{"median of a survival curve, 40 lifetimes censored at 1.2", math.Ln2, 0.940, func(rng *rand.Rand) (*Interval,
			error) {
			var lives []Lifetime
			for _, x := range exp(rng, 40) {
				lives = append(lives, Lifetime{min(x, 1.2), x > 1.2})
			}
			s, err := KaplanMeier(lives, 0.95)
			if err != nil {
				return nil, err
			}
			q, _ := s.Quantile(0.5) // that fewer than half have ended bounds the median too
			return &Interval{Lo: q.Lo, Hi: q.Hi}, nil
		}},
		{"mistakes of a detector, 5 expected", 0.05, 0.977, func(rng *rand.Rand) (*Interval, error) {
			var ms []Mistake
			for at := rng.ExpFloat64() * 20; at < 100; at += rng.ExpFloat64() * 20 {
				ms = append(ms, Mistake{at, at})
			}
			q, err := NewQoS([]Watch{{100, ms}}, 0.95)
			if err != nil {
				return nil, err
			}
			return q.RateCI, nil
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := simulate(t, *draws, 11, tc.truth, tc.interval)
			t.Logf("covers %.4f of %d", got, *draws)
			if sd := math.Sqrt(tc.says * (1 - tc.says) / float64(*draws)); math.Abs(got-tc.says) > 4*sd {
				t.Errorf("covers %g, doc.go says %g", got, tc.says)
			}
		})
	}
}
