package stats

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// MinResamples is the smallest number of resamples that a Bootstrap accepts. About 50
// resamples are then outside a 95% interval on each side.
const MinResamples = 2000

// minBoots is the number of boots from which there is no warning. Fewer boots say too
// little about how much boots differ.
const minBoots = 5

// minForBootstrap is the number of values from which there is no warning. Fewer values
// give too few different resamples for an interval of the level asked for.
const minForBootstrap = 10

// Bootstrap computes percentile intervals by resampling with replacement. Equal seeds and
// samples give equal intervals.
type Bootstrap struct {
	Resamples int     // at least MinResamples
	Seed      uint64  // of the generator
	Level     float64 // in (0, 1)
}

// Estimate is a number with its interval and warnings.
type Estimate struct {
	N        int       // number of values used
	Value    float64   // of the whole sample
	CI       *Interval // nil if the sample supports none
	Warnings []string  // sentences to print beside the numbers
}

// Statistic computes a number from a sample. It may reorder the sample.
type Statistic func(xs []float64) float64

// MedianOf is the median as a Statistic. It returns NaN for an empty sample.
func MedianOf(xs []float64) float64 {
	n := len(xs)
	if n == 0 {
		return math.NaN()
	}
	upper := selectNth(xs, n/2)
	if n%2 == 1 {
		return upper
	}
	return slices.Max(xs[:n/2])/2 + upper/2
}

// selectNth returns the k-th smallest value of xs, counted from 0. It reorders xs: no value
// before index k is larger and none after it is smaller (Hoare, Algorithm 65: FIND, CACM 4,
// 1961). A bootstrap spends most of its time here. Sorting takes several times as long.
func selectNth(xs []float64, k int) float64 {
	lo, hi := 0, len(xs)-1
	for lo < hi {
		pivot := xs[k]
		i, j := lo, hi
		for i <= j {
			for xs[i] < pivot {
				i++
			}
			for pivot < xs[j] {
				j--
			}
			if i <= j {
				xs[i], xs[j] = xs[j], xs[i]
				i++
				j--
			}
		}
		if j < k {
			lo = i
		}
		if k < i {
			hi = j
		}
	}
	return xs[k]
}

// One estimates a statistic of the values of several boots. A resample draws boots, and
// from each drawn boot as many trials as it has. Trials of one boot resemble each other, so
// an interval of pooled trials would be too short (Davison and Hinkley, Bootstrap Methods
// and their Application, 1997, section 3.8). With one boot only its trials are drawn, and a
// warning says that the interval does not cover other boots. Empty boots are ignored. It is
// an error if there is no value or a field of b is out of range.
func (b Bootstrap) One(boots [][]float64, of Statistic) (*Estimate, error) {
	rng, err := b.generator()
	if err != nil {
		return nil, err
	}
	sample, err := newSample(boots)
	if err != nil {
		return nil, err
	}
	e := &Estimate{N: sample.n, Value: of(sample.all()), Warnings: sample.warnings()}
	draws := make([]float64, 0, b.Resamples)
	var xs []float64
	for range b.Resamples {
		xs = sample.draw(rng, xs[:0])
		draws = append(draws, of(xs))
	}
	e.CI, err = b.interval(draws, sample.units())
	if err != nil {
		e.Warnings = append(e.Warnings, err.Error())
	}
	return e, nil
}

// Ratio estimates the statistic of next divided by that of base, two independent sets of
// boots. It is an error if the statistic of base is 0, if a side has no value or if a field
// of b is out of range.
func (b Bootstrap) Ratio(base, next [][]float64, of Statistic) (*Estimate, error) {
	rng, err := b.generator()
	if err != nil {
		return nil, err
	}
	old, err := newSample(base)
	if err != nil {
		return nil, fmt.Errorf("base: %w", err)
	}
	now, err := newSample(next)
	if err != nil {
		return nil, fmt.Errorf("next: %w", err)
	}
	below := of(old.all())
	if below == 0 {
		return nil, errors.New("the statistic of base is 0, so there is no ratio")
	}
	e := &Estimate{N: min(old.n, now.n), Value: of(now.all()) / below, Warnings: old.warnings()}
	for _, w := range now.warnings() {
		if !slices.Contains(e.Warnings, w) {
			e.Warnings = append(e.Warnings, w)
		}
	}
	draws := make([]float64, 0, b.Resamples)
	var xs []float64
	for range b.Resamples {
		xs = old.draw(rng, xs[:0])
		below := of(xs)
		xs = now.draw(rng, xs[:0])
		draws = append(draws, of(xs)/below)
	}
	e.CI, err = b.interval(draws, min(old.units(), now.units()))
	if err != nil {
		e.Warnings = append(e.Warnings, err.Error())
	}
	return e, nil
}

func (b Bootstrap) generator() (*rand.Rand, error) {
	if b.Resamples < MinResamples {
		return nil, fmt.Errorf("%d resamples are too few for an interval: take %d or more", b.Resamples, MinResamples)
	}
	if err := checkLevel(b.Level); err != nil {
		return nil, err
	}
	return rand.New(rand.NewPCG(b.Seed, 0)), nil
}

// interval cuts the tails off the resampled statistics. Resamples of n units vary too
// little, by the factor sqrt((n-1)/n), and their tails are those of a normal distribution.
// Less is therefore cut than the level says (Hesterberg's expanded percentiles, The American
// Statistician 69, 2015, section 3.3). For large n the difference vanishes. It is an error
// if a statistic is infinite or NaN.
func (b Bootstrap) interval(draws []float64, n int) (*Interval, error) {
	for _, x := range draws {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, errors.New("no interval: the statistic does not exist for some resamples")
		}
	}
	slices.Sort(draws)
	tail := (1 - b.Level) / 2
	if n > 1 {
		t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(n - 1)}.Quantile(1 - tail)
		tail = distuv.UnitNormal.Survival(t * math.Sqrt(float64(n)/float64(n-1)))
	}
	cut := int(float64(len(draws)) * tail)
	return &Interval{Lo: draws[cut], Hi: draws[len(draws)-1-cut], Confidence: b.Level}, nil
}

// sample holds the values of all boots that have any.
type sample struct {
	boots [][]float64
	n     int // number of values
}

func newSample(boots [][]float64) (*sample, error) {
	var s sample
	for _, b := range boots {
		if len(b) > 0 {
			s.boots = append(s.boots, b)
			s.n += len(b)
		}
	}
	if s.n == 0 {
		return nil, errors.New("there is no value")
	}
	return &s, nil
}

// units returns the number of independent units: boots, or trials if there is one boot.
func (s *sample) units() int {
	if len(s.boots) > 1 {
		return len(s.boots)
	}
	return s.n
}

func (s *sample) all() []float64 { return slices.Concat(s.boots...) }

func (s *sample) warnings() []string {
	var ws []string
	if s.n < minForBootstrap {
		ws = append(ws, fmt.Sprintf("n=%d: a bootstrap interval of fewer than %d values covers less often than it claims",
			s.n, minForBootstrap))
	}
	switch n := len(s.boots); {
	case n == 1:
		ws = append(ws, "all trials are of one boot: the interval says nothing about other boots")
	case n < minBoots:
		ws = append(ws, fmt.Sprintf("%d boots are few: an interval over fewer than %d covers less often than it claims",
			n, minBoots))
	}
	return ws
}

// draw appends a resample to xs.
func (s *sample) draw(rng *rand.Rand, xs []float64) []float64 {
	for range s.boots {
		boot := s.boots[0]
		if len(s.boots) > 1 {
			boot = s.boots[rng.IntN(len(s.boots))]
		}
		for range boot {
			xs = append(xs, boot[rng.IntN(len(boot))])
		}
	}
	return xs
}
