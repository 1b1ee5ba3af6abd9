package plan

import (
	"math/bits"
	"math/rand/v2"
	"slices"

	"hangbench/results"
	"hangbench/scenarios/suites"
)

// Trial is everything that is needed to run one trial. It is the job that is sent to
// dom0. Its cell has no Kind and no GuestKernel: the trial itself adds them.
type Trial struct {
	Suite string `json:"suite"`
	Index int    `json:"index"` // place in the plan, from 0
	Block int    `json:"block"` // repetition, from 0
	results.Cell
	Timing suites.Timing `json:"timing"`
	// Observers are programs in dom0 that watch the guest. One with the name of the
	// cell's mechanism watches in place of the monitor. The others watch beside it.
	Observers []suites.Observer `json:"observers,omitempty"`
	// Seed moves the instant of the injection. All trials of one block, guest and
	// scenario have the same seed.
	Seed uint64 `json:"seed"`
}

// Expand returns the trials of the suite in the order in which they run. seed is the
// run's seed.
func Expand(s *suites.Suite, seed uint64) []Trial {
	lengths := s.BoundedMS
	if len(lengths) == 0 {
		lengths = []int64{0}
	}
	var cells []Trial // of the first block, with neither place nor seed
	var pairs []int   // the index of each cell's guest and scenario
	for g, guest := range s.Guests {
		for sc, scenario := range s.Scenarios {
			for _, mechanism := range s.Mechanisms {
				for _, driver := range s.Drivers {
					for _, bounded := range lengths {
						for _, thresholds := range s.Settings(scenario) {
							cell := results.Cell{
								Scenario: scenario, Arm: results.Arm{Mechanism: mechanism, Driver: driver}, Machine: guest,
								BoundedMS: bounded, Watchdogs: s.Baselines, Thresholds: results.NewSettings(thresholds),
								Declared: s.Declared[scenario],
							}
							cells = append(cells, Trial{Suite: s.Name, Cell: cell, Timing: s.Timing, Observers: observers(s, mechanism)})
							pairs = append(pairs, g*len(s.Scenarios)+sc)
						}
					}
				}
			}
		}
	}
	// PCG's state is two words. The second is a constant.
	rng := rand.NewPCG(seed, 0x68616e6762656e63) // "hangbenc"
	trials := make([]Trial, 0, len(cells)*s.Repetitions)
	for block := range s.Repetitions {
		for _, i := range permutation(rng, len(cells)) {
			t := cells[i]
			t.Block = block
			t.Index = len(trials)
			t.Seed = TrialSeed(seed, block, pairs[i])
			trials = append(trials, t)
		}
	}
	return trials
}

// observers returns the programs that watch in trials of a mechanism: the program of
// that name, if there is one, and every program that is not a mechanism of the suite.
func observers(s *suites.Suite, mechanism string) []suites.Observer {
	var all []suites.Observer
	for _, o := range s.Observers {
		if o.Name == mechanism || !slices.Contains(s.Mechanisms, o.Name) {
			all = append(all, o)
		}
	}
	return all
}

// External returns the program that watches in place of the monitor. The result is
// false if the monitor watches, or nobody.
func (t *Trial) External() (suites.Observer, bool) {
	i := slices.IndexFunc(t.Observers, func(o suites.Observer) bool { return o.Name == t.Mechanism })
	if i < 0 {
		return suites.Observer{}, false
	}
	return t.Observers[i], true
}

// DeadlineNS is the time after the fault, in nanoseconds, at which a trial without a
// verdict is a miss. A trial without a fault has none: it does not matter there.
func (t *Trial) DeadlineNS() int64 {
	if t.BoundedMS > 0 {
		return t.BoundedMS * 1e6
	}
	return t.Timing.DeadlineMS * 1e6
}

// TrialSeed returns the seed of the trials of one block, guest and scenario. seed is
// the run's seed. pair is the index of guest and scenario in the suite, from 0, with
// the guests outermost. block and pair must be below 2^32.
//
// The result is output block·2^32 + pair + 1 of Steele, Lea and Flood's SplitMix64
// ("Fast splittable pseudorandom number generators", OOPSLA 2014) started at seed.
// Outputs of one seed never repeat, because the generator's increment is odd and its
// finaliser is a bijection. A suite that grows at its end, or gets another number of
// repetitions, keeps the seeds that it had.
func TrialSeed(seed uint64, block, pair int) uint64 {
	z := seed + (uint64(block)<<32+uint64(pair)+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// permutation draws a permutation of 0..n-1, each with the same probability, by the
// shuffle of Fisher and Yates. It does not call math/rand/v2's Shuffle, because only
// the output of that package's generators is documented as stable.
func permutation(rng *rand.PCG, n int) []int {
	p := make([]int, n)
	for i := range p {
		p[i] = i
	}
	for i := n - 1; i > 0; i-- {
		j := below(rng, uint64(i)+1)
		p[i], p[j] = p[j], p[i]
	}
	return p
}

// below draws a number from 0 to n-1, each with the same probability, by
// multiplication and rejection (Lemire, "Fast random integer generation in an
// interval", 2019).
func below(rng *rand.PCG, n uint64) uint64 {
	reject := -n % n
	for {
		hi, lo := bits.Mul64(rng.Uint64(), n)
		if lo >= reject {
			return hi
		}
	}
}
