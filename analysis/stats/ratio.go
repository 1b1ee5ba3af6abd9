package stats

import (
	"errors"
	"fmt"
)

// Pair is one thing measured twice under conditions that are equal but for one.
type Pair struct{ Base, Next float64 }

// PairedRatio summarises Next over Base of the pairs as Summarize does. What is common to a pair (its seed, its
// phase, its guest) cancels. A pair without a ratio, as its base is 0 or less,
// is left out with a warning; it is an error when no pair is left.
func PairedRatio(pairs []Pair, level float64) (*Summary, error) {
	if err := checkLevel(level); err != nil {
		return nil, err
	}
	var ratios []float64
	for _, p := range pairs {
		if p.Base > 0 {
			ratios = append(ratios, p.Next/p.Base)
		}
	}
	s := Summarize(ratios, level)
	if s == nil {
		return nil, errors.New("no pair has a ratio")
	}
	if left := len(pairs) - len(ratios); left > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("%d of %d pairs have no ratio, as their base is 0", left, len(pairs)))
	}
	return s, nil
}
