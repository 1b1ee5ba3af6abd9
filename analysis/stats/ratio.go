package stats

import (
	"errors"
	"fmt"
)

// Pair is two measurements whose conditions differ in one respect only.
type Pair struct{ Base, Next float64 }

// PairedRatio summarises Next divided by Base of the pairs, as Summarize does. Effects that
// both measurements of a pair share (seed, phase, guest) cancel. A pair whose base is 0 or
// less has no ratio: it is left out, with a warning. It is an error if no pair is left or
// the level is not in (0, 1).
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
