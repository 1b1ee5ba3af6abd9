package sites

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"hangbench/guests/beat"
	"hangbench/results"
)

// Halves of the places.
const (
	Tune = "tune" // may be looked at while detectors are made
	Test = "test" // is run once, and reported as it comes out
)

// Halves returns the names of the halves.
func Halves() []string { return []string{Tune, Test} }

// Half returns the half that the place is in: by the first bit of the SHA-256 of its name.
func (s *Site) Half() string {
	if sum := sha256.Sum256([]byte(s.Name)); sum[0]&0x80 != 0 {
		return Test
	}
	return Tune
}

// Fault is a kind of fault that can be drawn for a place.
type Fault struct {
	Name    string
	Meaning string
	of      []string // kinds of places that it fits
	declare func(Site) results.Declaration
}

// Faults returns the kinds of faults, in the order in which they are drawn.
func Faults() []Fault {
	function := func(name, meaning, do string, final bool, args ...string) Fault {
		return Fault{name, meaning, []string{Function}, func(s Site) results.Declaration {
			d := results.Declaration{Do: do, Args: map[string]string{}, Final: final}
			for i := 0; i < len(args); i += 2 {
				d.Args[args[i]] = args[i+1]
			}
			key := "function"
			if do == "forget" {
				key = "interrupts"
			}
			d.Args[key] = s.Name
			return d
		}}
	}
	return []Fault{
		{"hold", "a lock is never released", []string{Spinlock, RWLock, Mutex, RWSem}, func(s Site) results.Declaration {
			return results.Declaration{Do: "hold", Args: map[string]string{s.Kind: s.Name}}
		}},
		function("loop", "a function loops, with interrupts on", "loop", false),
		function("masked", "a function loops, with interrupts off", "loop", false, "interrupts", "off"),
		function("skip", "a function returns 0 and does nothing", "skip", false),
		function("refuse", "a function returns -12 (no memory) and does nothing", "skip", false, "returns", "-12"),
		function("linger", "each call of a function computes for 20 ms longer", "delay", false, "ms", "20"),
		function("pause", "each call of a function computes for 1500 ms longer", "delay", false, "ms", "1500"),
		function("mask", "a function leaves interrupts off", "forget", false),
		function("crash", "a function executes an undefined instruction", "crash", true),
	}
}

// FaultNames returns the names of the kinds of faults.
func FaultNames() []string {
	var names []string
	for _, f := range Faults() {
		names = append(names, f.Name)
	}
	return names
}

// Order says what to draw.
type Order struct {
	Number int      // how many faults
	Draw   uint64   // equal numbers draw equal faults
	Half   string   // of the places
	Faults []string // names of the kinds of faults
	Works  []string // what the guest may do meanwhile
	Class  string   // of the declarations
}

// Drawn is a fault that was drawn, and the name that its scenario has.
type Drawn struct {
	Name string
	results.Declaration
}

// Draw draws faults. The kinds of faults take turns. Each gets the next place that it fits
// and that has no fault yet, in the order of the SHA-256 of draw and name, and one of the
// works that reach the place, by the same hash. The error says how many there are if they
// are too few.
func (f *File) Draw(o Order) ([]Drawn, error) {
	var kinds []Fault
	for _, k := range Faults() {
		if slices.Contains(o.Faults, k.Name) {
			kinds = append(kinds, k)
		}
	}
	type place struct {
		Site
		works []string
		hash  [sha256.Size]byte
	}
	var places []place
	for _, s := range f.Sites {
		p := place{Site: s}
		for _, w := range beat.Workloads() {
			if slices.Contains(o.Works, w.Name) && s.reaches(w) {
				p.works = append(p.works, w.Name)
			}
		}
		if s.Half() != o.Half || len(p.works) == 0 {
			continue
		}
		p.hash = sha256.Sum256(append(binary.LittleEndian.AppendUint64(nil, o.Draw), s.Kind+" "+s.Name...))
		places = append(places, p)
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(bytes.Compare(a.hash[:], b.hash[:]), compare(a.Site, b.Site))
	})
	var drawn []Drawn
	names := make(map[string]bool)
	for turn, idle := 0, 0; len(drawn) < o.Number && idle < len(kinds); turn++ {
		k := kinds[turn%len(kinds)]
		i := slices.IndexFunc(places, func(p place) bool { return slices.Contains(k.of, p.Kind) })
		if i < 0 {
			idle++
			continue
		}
		idle = 0
		p := places[i]
		places = slices.Delete(places, i, i+1)
		d := k.declare(p.Site)
		d.Work = p.works[binary.LittleEndian.Uint64(p.hash[8:])%uint64(len(p.works))]
		d.Class = o.Class
		name := scenarioName(k.Name, p.Name, d.Work)
		for n := 2; names[name]; n++ { // names of symbols that differ in signs only
			name = scenarioName(k.Name, fmt.Sprintf("%s-%d", p.Name, n), d.Work)
		}
		names[name] = true
		drawn = append(drawn, Drawn{name, d})
	}
	if len(drawn) < o.Number {
		return nil, fmt.Errorf("the half %s of %s has places for %d faults of these kinds and works, and %d are asked for",
			o.Half, f.Kernel, len(drawn), o.Number)
	}
	return drawn, nil
}

// signs are what a name of a scenario cannot have.
var signs = regexp.MustCompile(`[^a-z0-9]+`)

// scenarioName names the scenario of a fault at a place.
func scenarioName(fault, place, work string) string {
	middle := strings.Trim(signs.ReplaceAllString(strings.ToLower(place), "-"), "-")
	const most = 70 // of 100 letters: fault and work have some too
	return fault + "-" + strings.Trim(middle[:min(len(middle), most)], "-") + "-" + work
}
