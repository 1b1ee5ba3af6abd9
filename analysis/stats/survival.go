package stats

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Lifetime is the time until an event, such as the time until a hang was detected.
type Lifetime struct {
	Time     float64 // not negative
	Censored bool    // observation ended at Time without an event
}

// Survival is Kaplan and Meier's estimate of the share that lasts longer than a given time
// (JASA 53, 1958). It is a step function that is 1 before the first step.
type Survival struct {
	N        int
	Events   int // number of lifetimes that are not censored
	Steps    []SurvivalStep
	Last     float64 // longest time observed; nothing is known beyond
	Warnings []string
}

// SurvivalStep is the curve from Time to the next step.
type SurvivalStep struct {
	Time     float64
	AtRisk   int     // lifetimes that neither ended nor were censored before Time
	Events   int     // ended at Time
	Censored int     // censored from the previous step on, until just before Time
	Share    float64 // lasts longer than Time
	SE       float64 // Greenwood's standard error of Share
	// CI is Greenwood's interval on the log-minus-log scale, which stays within 0 and 1. It
	// is nil if Share is 0, because the formula has no value there.
	CI *Interval
}

// KaplanMeier estimates survival. A lifetime that is censored at the time of an event is at
// risk there. It is an error if there are no lifetimes, one is negative or not finite, or
// the level is not in (0, 1).
func KaplanMeier(lives []Lifetime, level float64) (*Survival, error) {
	if err := checkLevel(level); err != nil {
		return nil, err
	}
	if len(lives) == 0 {
		return nil, errors.New("there are no lifetimes")
	}
	lives = slices.Clone(lives)
	for _, l := range lives {
		if !(l.Time >= 0) || math.IsInf(l.Time, 1) {
			return nil, fmt.Errorf("lifetime %g is negative or not finite", l.Time)
		}
	}
	slices.SortFunc(lives, func(a, b Lifetime) int { return cmp.Compare(a.Time, b.Time) })
	z := distuv.UnitNormal.Quantile((1 + level) / 2)
	s := &Survival{N: len(lives), Last: lives[len(lives)-1].Time}
	share, sum := 1.0, 0.0 // sum is Greenwood's sum of d/(n(n-d))
	censored := 0
	for i := 0; i < len(lives); {
		step := SurvivalStep{Time: lives[i].Time, AtRisk: len(lives) - i}
		late := 0 // censored at this time
		for ; i < len(lives) && lives[i].Time == step.Time; i++ {
			if lives[i].Censored {
				late++
			} else {
				step.Events++
			}
		}
		if step.Events == 0 {
			censored += late
			continue
		}
		n, d := float64(step.AtRisk), float64(step.Events)
		share *= 1 - d/n
		step.Share, step.Censored = share, censored
		if step.Events < step.AtRisk {
			sum += d / (n * (n - d))
			step.SE = share * math.Sqrt(sum)
			// c = log(-log S) has the variance sum / log(S)^2. A larger c is a smaller
			// share, so the upper end of c gives the lower end of the share.
			half := z * math.Sqrt(sum) / math.Abs(math.Log(share))
			step.CI = &Interval{Lo: math.Pow(share, math.Exp(half)), Hi: math.Pow(share, math.Exp(-half)), Confidence: level}
		} else {
			step.Share, share = 0, 0
		}
		s.Events += step.Events
		s.Steps = append(s.Steps, step)
		censored = late
	}
	if s.Events < minForCI(level) {
		s.Warnings = append(s.Warnings, fmt.Sprintf("n=%d, %d of them ended: Greenwood's interval is rough below %d", s.N,
			s.Events, minForCI(level)))
	}
	return s, nil
}

// At returns the share that lasts longer than t. Beyond Last it returns the share at Last,
// which is an upper bound.
func (s *Survival) At(t float64) float64 {
	share := 1.0
	for _, step := range s.Steps {
		if step.Time > t {
			break
		}
		share = step.Share
	}
	return share
}

// Quantile is a time by which a share of the lifetimes has ended.
type Quantile struct {
	Time float64
	// Lo and Hi are the ends of the interval of Brookmeyer and Crowley (Biometrics 38, 1982).
	// It consists of the times at which the interval of the curve contains the share. Hi is
	// infinite if the upper end of the curve's interval never falls to the share.
	Lo, Hi float64
}

// Quantile returns the time by which the share p, in (0, 1), has ended. It returns false if
// fewer have ended: the time is then unknown, but the ends of its interval are still set.
func (s *Survival) Quantile(p float64) (Quantile, bool) {
	q := Quantile{Lo: math.NaN(), Hi: math.Inf(1)}
	found := false
	left := 1 - p
	// Products of fractions have rounding errors. A step at exactly 1-p must still be found.
	const slack = 1e-12
	for _, step := range s.Steps {
		if !found && step.Share <= left+slack {
			q.Time, found = step.Time, true
		}
		lo, hi := 0.0, 0.0 // if the share is 0
		if step.CI != nil {
			lo, hi = step.CI.Lo, step.CI.Hi
		}
		if math.IsNaN(q.Lo) && lo <= left+slack {
			q.Lo = step.Time
		}
		if step.CI != nil && hi <= left+slack {
			q.Hi = step.Time
			break
		}
	}
	if math.IsNaN(q.Lo) {
		q.Lo = s.Last
	}
	return q, found
}
