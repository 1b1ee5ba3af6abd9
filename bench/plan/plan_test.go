package plan

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"hangbench/results"
	"hangbench/scenarios/suites"
)

func testSuite(scenarios, mechanisms, drivers, guests, reps int) *suites.Suite {
	names := func(prefix string, n int) []string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf("%s%d", prefix, i))
		}
		return list
	}
	s := &suites.Suite{
		Name: "test", Scenarios: names("s", scenarios), Mechanisms: names("m", mechanisms), Drivers: names("d", drivers),
		Repetitions: reps, Timing: suites.DefaultTiming(), Thresholds: map[string]int64{"spin_ms": 50},
	}
	for i := range guests {
		s.Guests = append(s.Guests, suites.Guest{Kernel: "k", VCPUs: i + 1, MemoryMiB: 160})
	}
	return s
}

type cell struct {
	scenario, mechanism, driver string
	guest                       suites.Guest
}

// TestDeclared: every trial of a declared fault has the declaration, and no other trial has
// one. Without declared faults a plan is encoded as before there were any.
func TestDeclared(t *testing.T) {
	t.Parallel()
	s := testSuite(2, 1, 1, 2, 2)
	plain, err := json.Marshal(Expand(s, 9))
	if err != nil || strings.Contains(string(plain), "fault") {
		t.Errorf("%.300s: %v", plain, err)
	}
	const text = `{"do":"hold","args":{"spinlock":"a"},"work":"idle","class":"spin"}`
	s.Declared = map[string]results.Declared{"s1": text}
	trials := Expand(s, 9)
	for _, tr := range trials {
		if want := s.Declared[tr.Scenario]; tr.Declared != want {
			t.Errorf("%s declares %q, want %q", tr.Scenario, tr.Declared, want)
		}
	}
	// The job that dom0 gets has it.
	b, err := json.Marshal(trials)
	var again []Trial
	if err != nil || json.Unmarshal(b, &again) != nil || !reflect.DeepEqual(again, trials) ||
		strings.Count(string(b), text) != len(trials)/2 {
		t.Errorf("%.300s: %v", b, err)
	}
}

// TestSweep: every block holds every value of every sweep once, the trials of one
// scenario with one seed whatever the value.
func TestSweep(t *testing.T) {
	t.Parallel()
	s := testSuite(2, 2, 1, 1, 3)
	s.Sweeps = []suites.Sweep{
		{Threshold: "soft_ms", Values: []int64{1, 2, 3}, Scenarios: []string{"s0"}},
		{Threshold: "io_ms", Values: []int64{4, 5}, Scenarios: []string{"s0", "s1"}},
	}
	trials := Expand(s, 9)
	const cells = 2 * (3 + 2 + 2) // mechanisms x settings
	if len(trials) != 3*cells {
		t.Fatalf("%d trials, want %d", len(trials), 3*cells)
	}
	for b := range 3 {
		seen := make(map[string]bool)
		seeds := make(map[string]uint64)
		for _, tr := range trials[b*cells : (b+1)*cells] {
			if tr.Block != b || len(tr.Thresholds.Map()) != 2 || tr.Thresholds.Map()["spin_ms"] != 50 {
				t.Errorf("%+v", tr)
			}
			seen[fmt.Sprint(tr.Scenario, tr.Mechanism, tr.Thresholds)] = true
			if was, ok := seeds[tr.Scenario]; ok && was != tr.Seed {
				t.Errorf("block %d: %s has the seeds %d and %d", b, tr.Scenario, was, tr.Seed)
			}
			seeds[tr.Scenario] = tr.Seed
		}
		if len(seen) != cells {
			t.Errorf("block %d holds %d of %d cells", b, len(seen), cells)
		}
	}
}

func TestExpandProperties(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		s := testSuite(1+rng.IntN(4), 1+rng.IntN(4), 1+rng.IntN(2), 1+rng.IntN(2), 1+rng.IntN(5))
		seed := rng.Uint64()
		trials := Expand(s, seed)
		cells := len(s.Scenarios) * len(s.Mechanisms) * len(s.Drivers) * len(s.Guests)
		if len(trials) != cells*s.Repetitions {
			t.Fatalf("%d trials of %d cells x %d", len(trials), cells, s.Repetitions)
		}
		type pair struct {
			block    int
			guest    suites.Guest
			scenario string
		}
		shared := make(map[pair]uint64)
		owner := make(map[uint64]pair)
		for i, tr := range trials {
			if tr.Index != i || tr.Block != i/cells || tr.Suite != s.Name || tr.Timing != s.Timing ||
				tr.Thresholds != results.NewSettings(s.Thresholds) {
				t.Fatalf("trial %d: %+v", i, tr)
			}
			// One seed for each pair in each block, and for no other.
			p := pair{tr.Block, tr.Machine, tr.Scenario}
			if have, ok := shared[p]; ok && have != tr.Seed {
				t.Fatalf("%+v has the seeds %d and %d", p, have, tr.Seed)
			}
			if who, ok := owner[tr.Seed]; ok && who != p {
				t.Fatalf("%+v and %+v have one seed", who, p)
			}
			shared[p], owner[tr.Seed] = tr.Seed, p
		}
		// Every block holds every cell exactly once.
		for b := range s.Repetitions {
			block := make(map[cell]bool)
			for _, tr := range trials[b*cells : (b+1)*cells] {
				block[cell{tr.Scenario, tr.Mechanism, tr.Driver, tr.Machine}] = true
			}
			if len(block) != cells {
				t.Fatalf("block %d holds %d of %d cells", b, len(block), cells)
			}
		}
		if again := Expand(s, seed); !reflect.DeepEqual(again, trials) {
			t.Fatal("equal seeds gave different plans")
		}
	}
}

// TestBounded: every length is a cell of its own, at one seed with the others;
// and a suite without lengths has the plan, and the hash, that it had before
// there were any.
func TestBounded(t *testing.T) {
	t.Parallel()
	s := testSuite(2, 2, 1, 1, 2)
	plain, err := json.Marshal(Expand(s, 7))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(plain), "bounded") {
		t.Error("the plan of a suite without lengths speaks of them")
	}
	s.BoundedMS = []int64{500, 2000, 8000}
	type arm struct {
		block               int
		scenario, mechanism string
		bounded             int64
	}
	seen, seeds := map[arm]bool{}, map[string]uint64{}
	for _, tr := range Expand(s, 7) {
		seen[arm{tr.Block, tr.Scenario, tr.Mechanism, tr.BoundedMS}] = true
		pair := fmt.Sprint(tr.Block, tr.Scenario)
		if seed, ok := seeds[pair]; ok && seed != tr.Seed {
			t.Errorf("%s has the seeds %d and %d", pair, seed, tr.Seed)
		}
		seeds[pair] = tr.Seed
	}
	if len(seen) != 2*2*2*3 {
		t.Errorf("%d of 24 arms", len(seen))
	}
}

func TestSeedMatters(t *testing.T) {
	t.Parallel()
	s := testSuite(3, 3, 1, 1, 2)
	a, b := Expand(s, 1), Expand(s, 2)
	order := func(trials []Trial) (names []string) {
		for _, tr := range trials {
			names = append(names, tr.Scenario+tr.Mechanism)
		}
		return names
	}
	if slices.Equal(order(a), order(b)) {
		t.Error("seeds 1 and 2 give one order")
	}
	if slices.Equal(order(a[:9]), order(a[9:])) {
		t.Error("both blocks have one order")
	}
}

// TestStable pins the plan of one seed: a change of it would make every
// published run irreproducible.
func TestStable(t *testing.T) {
	t.Parallel()
	var got []string
	for _, tr := range Expand(testSuite(2, 2, 1, 1, 3), 42) {
		got = append(got, tr.Scenario+tr.Mechanism)
	}
	want := []string{"s0m1", "s0m0", "s1m1", "s1m0", "s1m1", "s0m0", "s0m1", "s1m0", "s0m1", "s0m0", "s1m0", "s1m1"}
	if !slices.Equal(got, want) {
		t.Errorf("plan of seed 42 is %q, was %q", got, want)
	}
}

// TestSeedsStay: a suite that is enlarged keeps the seeds of the trials it had.
func TestSeedsStay(t *testing.T) {
	t.Parallel()
	type key struct {
		block    int
		scenario string
	}
	seeds := func(s *suites.Suite) map[key]uint64 {
		m := map[key]uint64{}
		for _, tr := range Expand(s, 9) {
			m[key{tr.Block, tr.Scenario}] = tr.Seed
		}
		return m
	}
	more := seeds(testSuite(3, 4, 2, 1, 5))
	for k, seed := range seeds(testSuite(2, 2, 1, 1, 2)) {
		if more[k] != seed {
			t.Errorf("%+v had seed %d and has %d in the larger suite", k, seed, more[k])
		}
	}
}

// Block 0 is the generator's published test vectors for the seeds 0 and
// 1234567; the others were computed once with another implementation.
func TestTrialSeed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		seed        uint64
		block, pair int
		want        uint64
	}{
		{0, 0, 0, 0xe220a8397b1dcdaf},
		{0, 0, 1, 0x6e789e6aa1b965f4},
		{0, 0, 2, 0x06c45d188009454f},
		{1234567, 0, 0, 6457827717110365317},
		{1234567, 0, 1, 3203168211198807973},
		{1234567, 0, 2, 9817491932198370423},
		{0, 1, 0, 0x46093cf9861ec2e4},
		{1, 3, 2, 0x7be92a5d48b2feb9},
	} {
		if got := TrialSeed(tc.seed, tc.block, tc.pair); got != tc.want {
			t.Errorf("TrialSeed(%d, %d, %d) = %#x, want %#x", tc.seed, tc.block, tc.pair, got, tc.want)
		}
	}
}

// The phases that the blocks of one pair get must cover their span evenly: ten
// classes of 100 expected; the chi-square bound for 9 degrees of freedom at one
// in a million is 46.7.
func TestPhasesUniform(t *testing.T) {
	t.Parallel()
	const span, blocks = 400_000_000, 1000
	for pair := range 4 {
		var count [10]float64
		for block := range blocks {
			count[TrialSeed(1, block, pair)%span/(span/10)]++
		}
		var chi2 float64
		for _, n := range count {
			d := n - blocks/10
			chi2 += d * d / (blocks / 10)
		}
		if chi2 > 46.7 {
			t.Errorf("pair %d: chi-square %g: phases %v", pair, chi2, count)
		}
	}
}

// Every permutation of four must come up about equally often: 24 classes of
// 1000 expected; the chi-square bound for 23 degrees of freedom at one in a
// million is 70.5, and the seed is fixed.
func TestPermutationUniform(t *testing.T) {
	t.Parallel()
	rng := rand.NewPCG(3, 4)
	count := make(map[string]int)
	const draws = 24000
	for range draws {
		count[fmt.Sprint(permutation(rng, 4))]++
	}
	if len(count) != 24 {
		t.Fatalf("%d of 24 permutations came up", len(count))
	}
	var chi2 float64
	for _, n := range count {
		d := float64(n) - draws/24
		chi2 += d * d / (draws / 24)
	}
	if chi2 > 70.5 {
		t.Errorf("chi-square %g: permutations are not equally likely", chi2)
	}
}

func TestTrialJSON(t *testing.T) {
	t.Parallel()
	for _, tr := range Expand(testSuite(2, 2, 1, 1, 1), 1<<63+12345) {
		data, err := json.Marshal(tr)
		if err != nil {
			t.Fatal(err)
		}
		var back Trial
		if err := json.Unmarshal(data, &back); err != nil || !reflect.DeepEqual(back, tr) {
			t.Errorf("%s reads back as %+v (%v)", data, back, err)
		}
	}
}
