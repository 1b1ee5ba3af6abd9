package suites

import (
	"slices"
	"strings"
	"testing"

	"hangbench/results"
	"hangbench/scenarios"
	"hangbench/scenarios/sites"
)

// campaigning is a suite that draws faults at places of a kernel that was recorded.
func campaigning(t *testing.T) string {
	t.Helper()
	if !slices.Contains(sites.Recorded(), "cloud-6.12") {
		t.Fatal("no places of cloud-6.12 are recorded")
	}
	return `name: x
campaign: {sites: 40}
scenarios: all-declared
mechanisms: [none]
guests:
  - {kernel: cloud-6.12, vcpus: 1, memory_mib: 160}
repetitions: 1
`
}

// TestCampaign: a campaign draws as many faults as it says, of unknown effect, each a
// scenario of the suite; the same ones each time.
func TestCampaign(t *testing.T) {
	t.Parallel()
	text := campaigning(t)
	parse := func(text string) *Suite {
		t.Helper()
		s, err := Parse("x.yaml", []byte(text), vocabulary)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := parse(text)
	if len(s.Declared) != 40 || len(s.Scenarios) != 40 {
		t.Fatalf("%d faults, %d scenarios", len(s.Declared), len(s.Scenarios))
	}
	for _, name := range s.Scenarios {
		sc, err := scenarios.OfCell(results.Cell{Scenario: name, Declared: s.Declared[name]})
		if err != nil || !sc.Unknown() || sc.Control() || sc.Kind() != results.Unknown {
			t.Errorf("%s: %v, class %q", name, err, sc.Class)
		}
	}
	if again := parse(text); !slices.Equal(again.Scenarios, s.Scenarios) {
		t.Error("the same suite draws other faults")
	}
	if other := parse(strings.Replace(text, "sites: 40", "sites: 40, draw: 2", 1)); slices.Equal(other.Scenarios,
		s.Scenarios) {
		t.Error("another draw draws the same faults")
	}
	for _, name := range parse(strings.Replace(text, "sites: 40", "sites: 40, half: test", 1)).Scenarios {
		if slices.Contains(s.Scenarios, name) {
			t.Errorf("%s is of both halves", name)
		}
	}
	few := parse(strings.Replace(text, "sites: 40", "sites: 10, kinds: [skip, loop], works: [opens]", 1))
	for _, name := range few.Scenarios {
		if kind, _, _ := strings.Cut(name, "-"); kind != "skip" && kind != "loop" || !strings.HasSuffix(name, "-opens") {
			t.Errorf("%s was not asked for", name)
		}
	}
}

// TestCampaignMistakes: each mistake is told with line, value and remedy.
func TestCampaignMistakes(t *testing.T) {
	t.Parallel()
	text := campaigning(t)
	for name, tc := range map[string]struct{ old, new, want string }{
		"no sites": {"{sites: 40}", "{draw: 3}", "x.yaml:2: a campaign has no sites: add the key"},
		"range":    {"{sites: 40}", "{sites: 0}", "x.yaml:2: sites is 0"},
		"half":     {"{sites: 40}", "{sites: 4, half: all}", `x.yaml:2: half "all" is unknown`},
		"kind":     {"{sites: 40}", "{sites: 4, kinds: [spin]}", `x.yaml:2: kind of fault "spin" is unknown`},
		"work":     {"{sites: 40}", "{sites: 4, works: [kernel]}", `x.yaml:2: work "kernel" is unknown`},
		"too many": {"{sites: 40}", "{sites: 2000, kinds: [hold]}",
			"are asked for: lower sites, or name more kinds and works"},
		"kernels": {"memory_mib: 160}", "memory_mib: 160}\n  - {kernel: cloud-1.0, vcpus: 1, memory_mib: 160}",
			"x.yaml:2: the guests have several kernels"},
		"kernel": {"kernel: cloud-6.12", "kernel: cloud-1.0",
			`x.yaml:2: no places are recorded of kernel "cloud-1.0": use one of`},
		"not said": {"all-declared", "[control-idle]", "x.yaml:2: the campaign's faults are not among the suite's scenarios"},
	} {
		_, err := Parse("x.yaml", []byte(strings.Replace(text, tc.old, tc.new, 1)), vocabulary)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
}
