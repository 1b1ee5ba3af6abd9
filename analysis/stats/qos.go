package stats

import (
	"errors"
	"fmt"
	"math"
)

// Mistake is one false verdict of a detector, from its start until it was withdrawn.
type Mistake struct{ Start, End float64 }

// Watch is a period in which a detector watched a healthy guest.
type Watch struct {
	Length   float64
	Mistakes []Mistake // sorted, between 0 and Length, not overlapping
}

// QoS is the accuracy of a failure detector, by the metrics of Chen, Toueg and Aguilera
// (IEEE Transactions on Computers 51, 2002). Times are in the unit of the watches. A value
// that was not observed is NaN.
type QoS struct {
	Exposure float64 // total time watched
	Mistakes int

	Rate   float64   // lambda_M: mistakes per unit of time
	RateCI *Interval // exact Poisson interval of Rate
	Upper  float64   // exact one-sided bound of Rate, at the same level

	Recurrence float64 // T_MR: mean time from one mistake to the next; NaN if no watch has two
	Duration   float64 // T_M: mean time until a mistake is withdrawn
	Good       float64 // T_G: mean time from there to the next mistake
	Accuracy   float64 // P_A: share of the time without a mistake

	Warnings []string
}

// NewQoS combines watches. It is an error if the total time is 0, a length is negative or
// not finite, the level is not in (0, 1), or mistakes overlap, are not sorted or are outside
// their watch.
func NewQoS(watches []Watch, level float64) (*QoS, error) {
	q := &QoS{Recurrence: math.NaN(), Duration: math.NaN(), Good: math.NaN()}
	var wrong, between, good float64
	gaps := 0
	for i, w := range watches {
		if !(w.Length >= 0) || math.IsInf(w.Length, 1) {
			return nil, fmt.Errorf("watch %d is %g long", i, w.Length)
		}
		q.Exposure += w.Length
		at := 0.0
		for j, m := range w.Mistakes {
			if !(m.Start >= at && m.End >= m.Start && m.End <= w.Length) {
				return nil, fmt.Errorf("watch %d: mistake %d, from %g to %g, is out of order", i, j, m.Start, m.End)
			}
			at = m.End
			wrong += m.End - m.Start
			q.Mistakes++
			if j > 0 {
				gaps++
				between += m.Start - w.Mistakes[j-1].Start
				good += m.Start - w.Mistakes[j-1].End
			}
		}
	}
	if q.Exposure == 0 {
		return nil, errors.New("nothing was watched")
	}
	iv, err := Poisson(q.Mistakes, q.Exposure, level)
	if err != nil {
		return nil, err
	}
	q.RateCI = &iv
	if q.Upper, err = PoissonUpper(q.Mistakes, q.Exposure, level); err != nil {
		return nil, err
	}
	q.Rate = float64(q.Mistakes) / q.Exposure
	q.Accuracy = 1 - wrong/q.Exposure
	if q.Mistakes > 0 {
		q.Duration = wrong / float64(q.Mistakes)
	}
	if gaps > 0 {
		q.Recurrence, q.Good = between/float64(gaps), good/float64(gaps)
	} else {
		q.Warnings = append(q.Warnings, fmt.Sprintf("%d mistakes: T_MR and T_G need two in one watch, 1 over lambda_M "+
			"stands for T_MR", q.Mistakes))
	}
	return q, nil
}
