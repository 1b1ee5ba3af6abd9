package plan

import (
	"math/bits"
	"math/rand/v2"
	"slices"

	"hangbench/results"
	"hangbench/scenarios/suites"
)

// Trial is everything that is needed to run one trial. It is the job that is
// sent to dom0. Its cell has no Kind and no GuestKernel yet: the trial itself finds
// them out.
type Trial struct {
	Suite string `json:"suite"`
	Index int    `json:"index"` // place in the plan, from 0
	Block int    `json:"block"` // repetition, from 0
	results.Cell
	Timing suites.Timing `json:"timing"`
	// Observers are programs in dom0 that watch the guest. If one of them has the name of
	// the cell's mechanism, it watches in place of the monitor. The others watch beside
	// it.
	Observers []suites.Observer `json:"observers,omitempty"`
	// Seed moves the instant of the injection. Trials of one block, guest and
	// scenario have it in common, whatever their mechanism, driver, length and thresholds.
	Seed uint64 `json:"seed"`
}

// Expand returns the trials of the suite in the order they are to be run.
// The seed is the run's.
func Expand(s *suites.Suite, seed uint64) []Trial {
	lengths := s.BoundedMS
	if len(lengths) == 0 {
		lengths = []int64{0}
	}
	var cells []Trial
	var pairs []int // of each cell: which guest with which scenario
	for g, guest := range s.Guests {
		for sc, scenario := range s.Scenarios {
			for _, mechanism := range s.Mechanisms {
				for _, driver := range s.Drivers {
					for _, bounded := range lengths {
						for _, thresholds := range s.Settings(scenario) {
							cells = append(cells, Trial{Suite: s.Name, Timing: s.Timing, Observers: observers(s, mechanism), Cell: results.Cell{
								Scenario: scenario, Arm: results.Arm{Mechanism: mechanism, Driver: driver}, Machine: guest,
								BoundedMS: bounded, Watchdogs: s.Baselines, Thresholds: results.NewSettings(thresholds),
							}})
							pairs = append(pairs, g*len(s.Scenarios)+sc)
						}
					}
				}
			}
		}
	}
	// The second word only has to be fixed and not the first: PCG's state
	// is both.
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

// observers are the programs that watch in trials of a mechanism: that one if it is a
// program, and all that are no mechanism of the suite.
func observers(s *suites.Suite, mechanism string) []suites.Observer {
	var all []suites.Observer
	for _, o := range s.Observers {
		if o.Name == mechanism || !slices.Contains(s.Mechanisms, o.Name) {
			all = append(all, o)
		}
	}
	return all
}

// External returns the program that watches in place of the monitor, if there is one.
func (t *Trial) External() (suites.Observer, bool) {
	i := slices.IndexFunc(t.Observers, func(o suites.Observer) bool { return o.Name == t.Mechanism })
	if i < 0 {
		return suites.Observer{}, false
	}
	return t.Observers[i], true
}

// TrialSeed derives the seed of the trials of a block that share guest and
// scenario from the run's seed. pair is the index of the two in the suite,
// guests outermost, from 0; it and block must be below 2^32.
//
// It is output block·2^32 + pair + 1 of Steele, Lea and Flood's SplitMix64
// ("Fast splittable pseudorandom number generators", OOPSLA 2014) started at
// seed. Outputs of one seed never repeat, as the generator's increment is odd
// and its finaliser a bijection; and a suite that grows at its end, or gets
// another number of repetitions, keeps the seeds it had.
func TrialSeed(seed uint64, block, pair int) uint64 {
	z := seed + (uint64(block)<<32+uint64(pair)+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// permutation draws a permutation of 0..n-1, each equally likely: Fisher and
// Yates' shuffle. math/rand/v2's own Shuffle would do the same today, but
// only the output of its generators is promised to stay.
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

// below draws a number from 0 to n-1, each equally likely, by multiplication
// and rejection (Lemire, "Fast random integer generation in an interval",
// 2019).
func below(rng *rand.PCG, n uint64) uint64 {
	reject := -n % n
	for {
		hi, lo := bits.Mul64(rng.Uint64(), n)
		if lo >= reject {
			return hi
		}
	}
}
